//! The form of operations: known numbers, lengths, valid UTF-8. The form does not depend on the
//! state.

use nucleus_protocol::limits::{MAX_STATE_KEY, MAX_STATE_VALUE};
use nucleus_protocol::session::{Operation, Value, mode, operation, scope, value};

/// Returns whether an operation has a known kind and the form that docs/PROTOCOL.md requires. Does
/// not check whether its entities and peers exist.
pub(super) fn is_well_formed(operation: &Operation) -> bool {
    match operation.kind {
        operation::SET => {
            is_entity(operation) && is_key(&operation.key) && is_value(&operation.value)
        }
        operation::CREATE => is_object(operation) && is_mode(operation.mode),
        operation::DELETE | operation::CLAIM | operation::GIVE => is_object(operation),
        operation::HOST => true,
        _ => false,
    }
}

fn is_entity(operation: &Operation) -> bool {
    match operation.scope {
        scope::ROOM => operation.id == 0,
        scope::PEER | scope::OBJECT => true,
        _ => false,
    }
}

fn is_object(operation: &Operation) -> bool {
    operation.scope == scope::OBJECT
}

fn is_mode(mode: u8) -> bool {
    matches!(mode & !mode::WITH_ROOM, mode::FIXED | mode::ASK | mode::TAKE)
}

/// Returns whether bytes may be the key of a field.
pub fn is_key(key: &[u8]) -> bool {
    (1..=MAX_STATE_KEY).contains(&key.len()) && std::str::from_utf8(key).is_ok()
}

/// Returns whether a value is in its canonical form: fields that its kind does not use must be 0
/// or empty. Otherwise the room would store and send bytes without a meaning.
pub fn is_value(value: &Value) -> bool {
    let Value { kind, bits, bytes } = value;
    match *kind {
        value::NONE => *bits == 0 && bytes.is_empty(),
        value::BOOL => *bits <= 1 && bytes.is_empty(),
        value::INTEGER => bytes.is_empty(),
        value::FLOAT => !f64::from_bits(*bits).is_nan() && bytes.is_empty(),
        value::TEXT => *bits == 0 && fits(bytes) && std::str::from_utf8(bytes).is_ok(),
        value::BYTES => *bits == 0 && fits(bytes),
        _ => false,
    }
}

fn fits(bytes: &[u8]) -> bool {
    bytes.len() <= MAX_STATE_VALUE
}

//! Whether an operation is one at all, whatever the state: known numbers, lengths, text that is text.

use nucleus_protocol::limits::{MAX_STATE_KEY, MAX_STATE_VALUE};
use nucleus_protocol::session::{Operation, Value, mode, operation, scope, value};

/// Known, and in the form that the wire's document asks for. Which peers and entities are there is
/// not asked here.
pub(super) fn is_well_formed(asked: &Operation) -> bool {
    match asked.kind {
        operation::SET => is_entity(asked) && is_key(&asked.key) && is_value(&asked.value),
        operation::CREATE => is_object(asked) && is_mode(asked.mode),
        operation::DELETE | operation::CLAIM | operation::GIVE => is_object(asked),
        operation::HOST => true,
        _ => false,
    }
}

fn is_entity(asked: &Operation) -> bool {
    match asked.scope {
        scope::ROOM => asked.id == 0,
        scope::PEER | scope::OBJECT => true,
        _ => false,
    }
}

fn is_object(asked: &Operation) -> bool {
    asked.scope == scope::OBJECT
}

fn is_mode(of_object: u8) -> bool {
    matches!(of_object & !mode::WITH_ROOM, mode::FIXED | mode::ASK | mode::TAKE)
}

/// Whether it may be the key of a field.
pub fn is_key(key: &[u8]) -> bool {
    (1..=MAX_STATE_KEY).contains(&key.len()) && std::str::from_utf8(key).is_ok()
}

/// One spelling for each value: what its type does not use would be kept and sent on unread.
pub fn is_value(asked: &Value) -> bool {
    let Value { kind, bits, bytes } = asked;
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

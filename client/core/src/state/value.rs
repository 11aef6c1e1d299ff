//! The typed values of fields.

use nucleus_protocol::limits;
use nucleus_protocol::session::{self, value};

use super::StateFault;

/// A typed value of at most 4 KiB. Put larger data on a storage server, and its address here.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// False or true.
    Bool(bool),
    /// A signed integer.
    Integer(i64),
    /// A 64-bit float. Infinity is allowed, NaN is refused.
    Float(f64),
    /// Text, at most 4 KiB of UTF-8.
    Text(String),
    /// A byte string, at most 4 KiB.
    Bytes(Vec<u8>),
}

impl Value {
    /// Returns the boolean, if the value is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(value) = self { Some(*value) } else { None }
    }

    /// Returns the integer, if the value is one.
    pub fn as_integer(&self) -> Option<i64> {
        if let Value::Integer(value) = self { Some(*value) } else { None }
    }

    /// Returns the float, if the value is one.
    pub fn as_float(&self) -> Option<f64> {
        if let Value::Float(value) = self { Some(*value) } else { None }
    }

    /// Returns the text, if the value is one.
    pub fn as_text(&self) -> Option<&str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }

    /// Returns the byte string, if the value is one.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Value::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// Returns the size of a text or byte string in bytes; 0 for other types.
    pub(crate) fn len(&self) -> usize {
        match self {
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            _ => 0,
        }
    }

    /// Converts a value from the wire. Returns `None` for a value without a type, which removes a
    /// field.
    pub fn from_wire(wire: session::Value) -> Result<Option<Value>, StateFault> {
        let session::Value { kind, bits, bytes } = wire;
        let invalid = StateFault::Value(kind);
        if bytes.len() > limits::MAX_STATE_VALUE {
            return Err(invalid);
        }
        Ok(Some(match (kind, bits) {
            (value::NONE, _) => return Ok(None),
            (value::BOOL, 0 | 1) => Value::Bool(bits == 1),
            (value::INTEGER, _) => Value::Integer(bits.cast_signed()),
            (value::FLOAT, _) if !f64::from_bits(bits).is_nan() => {
                Value::Float(f64::from_bits(bits))
            }
            (value::TEXT, _) => Value::Text(String::from_utf8(bytes).map_err(|_| invalid)?),
            (value::BYTES, _) => Value::Bytes(bytes),
            _ => return Err(invalid),
        }))
    }

    /// Returns the type, the bits and the bytes in wire format.
    pub(super) fn parts(&self) -> (u8, u64, &[u8]) {
        match self {
            Value::Bool(value) => (value::BOOL, u64::from(*value), &[]),
            Value::Integer(value) => (value::INTEGER, value.cast_unsigned(), &[]),
            Value::Float(value) => (value::FLOAT, value.to_bits(), &[]),
            Value::Text(text) => (value::TEXT, 0, text.as_bytes()),
            Value::Bytes(bytes) => (value::BYTES, 0, bytes),
        }
    }
}

impl From<Value> for session::Value {
    fn from(value: Value) -> Self {
        let (kind, bits, _) = value.parts();
        let bytes = match value {
            Value::Text(text) => text.into_bytes(),
            Value::Bytes(bytes) => bytes,
            _ => Vec::new(),
        };
        Self { kind, bits, bytes }
    }
}

macro_rules! from {
    ($($type:ty => $variant:ident),*) => {
        $(impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Value::$variant(value.into())
            }
        })*
    };
}
from!(
    bool => Bool, i32 => Integer, u32 => Integer, i64 => Integer, f32 => Float, f64 => Float,
    &str => Text, String => Text, &[u8] => Bytes, Vec<u8> => Bytes
);

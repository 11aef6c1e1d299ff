//! How the vectors write a session message: its fields in JSON, and its bytes.

use nucleus_protocol::session::{ArchivedMessage, Schema};
use serde_json::{Value as Json, json};

use super::hex;

/// A type whose fields can be written in JSON, with byte strings in hexadecimal.
pub(super) trait Fields {
    fn fields(&self) -> Json;
}

pub(super) fn all<T: Fields>(list: &[T]) -> Json {
    list.iter().map(Fields::fields).collect()
}

/// Writes a list of byte strings.
pub(super) fn strings(list: &[Vec<u8>]) -> Json {
    list.iter().map(|bytes| hex(bytes)).collect()
}

pub(super) fn case(name: &str, schema: Schema, message: &impl Fields, bytes: &[u8]) -> Json {
    json!({ "name": name, "schema": schema as u16, "fields": message.fields(),
            "hex": hex(bytes) })
}

macro_rules! archive {
    ($name:literal, $message:expr) => {{
        let message = $message;
        let schema = $crate::fields::schema_of(&message);
        $crate::fields::case($name, schema, &message, &encode(&message))
    }};
}
pub(super) use archive;

pub(super) fn schema_of<T: ArchivedMessage>(_: &T) -> Schema {
    T::SCHEMA
}

pub(super) fn text(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

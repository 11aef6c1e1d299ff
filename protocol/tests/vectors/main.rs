//! The test vectors in `protocol/vectors/v1/*.json`: golden bytes of everything on the wire.
//!
//! These tests encode every vector and compare it with the files, so that a change of the code that
//! changes a byte fails. Then they decode the files' bytes. `protocol/vectors/check.py` checks the
//! same files with code that follows docs/PROTOCOL.md alone. The files of version 1 are frozen. New
//! cases go into a new file, which `NUCLEUS_WRITE_VECTORS=1 cargo test -p nucleus-protocol --test
//! vectors` writes.

mod application;
mod fields;
mod keys;
mod messaging;
mod realtime;
mod refused;
mod rooms;
mod session;
mod social;
mod state;

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;

/// Compares `made` with the file. Writes a file that does not exist if `NUCLEUS_WRITE_VECTORS` asks
/// for it; an existing file never changes. Returns the file's content.
fn golden(file: &str, made: &Value) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/v1").join(file);
    let asked = std::env::var_os("NUCLEUS_WRITE_VECTORS").is_some_and(|value| value == "1");
    if asked && !path.exists() {
        let text = serde_json::to_string_pretty(made).expect("JSON") + "\n";
        std::fs::write(&path, text).expect("a writable vectors directory");
    }
    let text = std::fs::read_to_string(&path).expect("the vectors' file");
    let golden: Value = serde_json::from_str(&text).expect("JSON in the vectors' file");
    assert_same(file, &golden, made);
    golden
}

/// Like `assert_eq`, but names the first value that differs instead of printing both files.
fn assert_same(path: &str, golden: &Value, made: &Value) {
    match (golden, made) {
        (Value::Object(a), Value::Object(b)) => {
            assert!(a.keys().eq(b.keys()), "{path}: the fields differ");
            a.iter().for_each(|(key, value)| assert_same(&format!("{path}.{key}"), value, &b[key]));
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{path}: the lengths differ");
            let pairs = a.iter().zip(b).enumerate();
            pairs.for_each(|(i, (a, b))| assert_same(&format!("{path}[{i}]"), a, b));
        }
        _ => assert_eq!(golden, made, "{path} changed"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String never fails");
        text
    })
}

/// Decodes a hexadecimal string in JSON.
fn unhex(text: &Value) -> Vec<u8> {
    let text = text.as_str().expect("a hexadecimal string");
    assert_eq!(text.len() % 2, 0, "{text}");
    let pairs = (0..text.len()).step_by(2).map(|i| &text[i..i + 2]);
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect(pair)).collect()
}

/// Returns the list with this key.
fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().expect(key)
}

//! The test vectors in `protocol/vectors/*.json`: golden bytes of everything on the wire.
//!
//! They are made here and compared with the files, so that no change of the code moves a byte
//! unseen; then the files' bytes are read back. `protocol/vectors/check.py` reads and writes the
//! same files from docs/PROTOCOL.md alone. After an intended change of the wire, write them anew
//! with `NUCLEUS_WRITE_VECTORS=1 cargo test -p nucleus-protocol --test vectors`.

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

/// Compares `made` with the file, or writes the file when asked to; gives what the file says.
fn golden(file: &str, made: &Value) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(file);
    if std::env::var_os("NUCLEUS_WRITE_VECTORS").is_some_and(|value| value == "1") {
        let text = serde_json::to_string_pretty(made).expect("JSON") + "\n";
        std::fs::write(&path, text).expect("a writable vectors directory");
    }
    let text = std::fs::read_to_string(&path).expect("the vectors' file");
    let golden: Value = serde_json::from_str(&text).expect("JSON in the vectors' file");
    assert_same(file, &golden, made);
    golden
}

/// Like `assert_eq`, but names the first place that differs instead of printing two files.
fn assert_same(place: &str, golden: &Value, made: &Value) {
    match (golden, made) {
        (Value::Object(a), Value::Object(b)) => {
            assert!(a.keys().eq(b.keys()), "{place}: other fields");
            a.iter()
                .for_each(|(key, value)| assert_same(&format!("{place}.{key}"), value, &b[key]));
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{place}: other length");
            let pairs = a.iter().zip(b).enumerate();
            pairs.for_each(|(i, (a, b))| assert_same(&format!("{place}[{i}]"), a, b));
        }
        _ => assert_eq!(golden, made, "{place} changed"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

/// The bytes of a hexadecimal string in JSON.
fn unhex(text: &Value) -> Vec<u8> {
    let text = text.as_str().expect("a hexadecimal string");
    assert_eq!(text.len() % 2, 0, "{text}");
    let pairs = (0..text.len()).step_by(2).map(|i| &text[i..i + 2]);
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect(pair)).collect()
}

/// The list behind a key.
fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().expect(key)
}

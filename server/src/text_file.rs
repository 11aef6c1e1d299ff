//! Text files that operators write, with whatever their editors add.

use std::io;
use std::path::Path;

use nucleus_core::limits::CONFIG_FILE_BYTES;
use zeroize::Zeroizing;

use crate::bounded_file;

/// The byte order mark of UTF-8, which some editors write in front of a text.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Reads a file, without a byte order mark.
///
/// # Errors
///
/// The file cannot be read, is too large, or is UTF-16, as Windows PowerShell writes what a command
/// prints.
pub(crate) fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = bounded_file::read(path, CONFIG_FILE_BYTES)?;
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        let text = "it is UTF-16: save it as UTF-8 or ASCII";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_editors_add_is_no_part_of_the_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            super::read(&path).map(|bytes| bytes.to_vec())
        };
        assert_eq!(read(b"\xef\xbb\xbfkey = 1").unwrap(), b"key = 1");
        assert_eq!(read(b"key = 1").unwrap(), b"key = 1");
        assert_eq!(read(b"").unwrap(), b"");
        for utf_16 in [&b"\xff\xfek\0"[..], b"\xfe\xff\0k"] {
            assert!(read(utf_16).unwrap_err().to_string().contains("UTF-16"));
        }
    }
}

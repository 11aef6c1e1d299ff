//! Files of the data directory. A file is written once, whole, and never changed.

use std::fs;
use std::io;
use std::path::Path;

use aws_lc_rs::rand;
use nucleus_core::limits::CONFIG_FILE_BYTES;
use zeroize::Zeroizing;

use crate::{bounded_file, private_file};

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The path names something that is not a directory.
    #[error("{0} is not a directory: give --data-dir (data_dir in the configuration) a directory")]
    NotADirectory(String),
    /// Reading or writing failed.
    #[error("data directory: cannot {action} {path}: {source}")]
    Io {
        /// The attempted action, as a verb.
        action: &'static str,
        /// The file or directory.
        path: String,
        /// The system's error.
        source: io::Error,
    },
    /// A file exists and its content is wrong. The server never overwrites such a file.
    #[error("{path}: {what}; restore it, or remove it to have a new one made")]
    Corrupt {
        /// The file.
        path: String,
        /// What is wrong with its content.
        what: &'static str,
    },
    /// Another server uses the directory.
    #[error(
        "another server uses the data directory {path}{}: stop it, or give this one its own with \
         --data-dir",
        holder.map_or_else(String::new, |pid| format!(" (process {pid})"))
    )]
    InUse {
        /// The directory.
        path: String,
        /// The id of the other process, if it could be read.
        holder: Option<u32>,
    },
    /// A key or a certificate could not be generated.
    #[error("data directory: cannot generate a key or certificate: {0}")]
    Make(String),
}

/// Makes the directory if it does not exist.
pub(super) fn make_dir(path: &Path) -> Result<(), DataDirError> {
    // `create` would say "File exists".
    if path.exists() && !path.is_dir() {
        return Err(DataDirError::NotADirectory(path.display().to_string()));
    }
    private_file::create_dir(path).map_err(|e| failed("make", path, e))
}

/// Reads a file. `None`: it does not exist.
pub(super) fn read(dir: &Path, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, DataDirError> {
    let path = dir.join(name);
    match bounded_file::read(&path, CONFIG_FILE_BYTES) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", &path, error)),
    }
}

/// Reads a file. If it does not exist, writes what `make` returns first. Two processes that do this
/// at the same time read the same content.
pub(super) fn read_or_make(
    dir: &Path,
    name: &str,
    make: impl FnOnce() -> Result<Vec<u8>, DataDirError>,
) -> Result<Zeroizing<Vec<u8>>, DataDirError> {
    if let Some(bytes) = read(dir, name)? {
        return Ok(bytes);
    }
    let path = dir.join(name);
    let made = Zeroizing::new(make()?);
    let draft = dir.join(format!(".{name}.{}", hex(&random::<8>()?)));
    let result = private_file::create(&draft, &made).and_then(|()| {
        // `AlreadyExists`: another process has made the file meanwhile, and its content is used.
        match private_file::publish(&draft, &path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    });
    // Fails if the draft has become the file. A draft that cannot be removed does no harm.
    let _removed = fs::remove_file(&draft);
    result.map_err(|e| failed("write", &path, e))?;
    bounded_file::read(&path, CONFIG_FILE_BYTES).map_err(|e| failed("read", &path, e))
}

/// Returns the content of a file as text.
pub(super) fn text(
    dir: &Path,
    name: &str,
    bytes: Zeroizing<Vec<u8>>,
) -> Result<Zeroizing<String>, DataDirError> {
    let text = std::str::from_utf8(&bytes).map_err(|_| corrupt(dir, name, "not text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], DataDirError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(make_failed)?;
    Ok(bytes)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(super) fn failed(action: &'static str, path: &Path, source: io::Error) -> DataDirError {
    DataDirError::Io { action, path: path.display().to_string(), source }
}

pub(super) fn corrupt(dir: &Path, name: &str, what: &'static str) -> DataDirError {
    DataDirError::Corrupt { path: dir.join(name).display().to_string(), what }
}

pub(super) fn make_failed(error: impl std::fmt::Display) -> DataDirError {
    DataDirError::Make(error.to_string())
}

//! A copy of the newest snapshot in a file, for a start while the database does not answer. It is void
//! after a day: a key that was revoked meanwhile must not work for ever.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Snapshot;
use super::age::SnapshotAge;
use crate::timestamp::Timestamp;

/// Largest copy, in bytes: a hundred thousand keys.
const MAX_BYTES: u64 = 64 << 20;

/// The content of the file.
#[derive(Serialize, Deserialize)]
struct Copy<S> {
    /// When the database last gave this answer.
    at: Timestamp,
    snapshot: S,
}

/// Why a copy cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    /// There is none, or it cannot be read.
    #[error("there is no copy of them that can be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is damaged.
    #[error("their copy is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    /// It is too old.
    #[error("their copy is of {0}, more than a day ago")]
    Void(Timestamp),
}

/// Reads a copy at `now`, with its age.
///
/// # Errors
///
/// [`CopyError`]
pub(super) fn read(path: &Path, now: Timestamp) -> Result<(Snapshot, SnapshotAge), CopyError> {
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES).read_to_string(&mut text)?;
    let Copy { at, snapshot } = serde_json::from_str::<Copy<Snapshot>>(&text)?;
    // A copy from the future was made while the clock was wrong, and nobody knows its age.
    let steady = Instant::now();
    let age = SnapshotAge::of_copy(at, now, steady).filter(|age| !age.is_void(now, steady));
    age.map(|age| (snapshot, age)).ok_or(CopyError::Void(at))
}

/// Returns whether a file is a copy with anything in it, of whatever age, or holds what cannot be read.
pub(super) fn holds_something(path: &Path) -> bool {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
    match read {
        Err(error) => error.kind() != io::ErrorKind::NotFound,
        Ok(0) => false,
        Ok(_) => serde_json::from_str::<Copy<Snapshot>>(&text).map_or(true, |copy| {
            let Snapshot { tenants, api_keys, issuers, bans, .. } = copy.snapshot;
            !(tenants.is_empty() && api_keys.is_empty() && issuers.is_empty() && bans.is_empty())
        }),
    }
}

/// Writes a copy, which only the owner of the file can read. It replaces the old one at once or not at
/// all.
///
/// # Errors
///
/// The system's.
pub(super) fn write(path: &Path, snapshot: &Snapshot, now: Timestamp) -> io::Result<()> {
    let text = serde_json::to_vec(&Copy { at: now, snapshot })?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("it would have more than {MAX_BYTES} bytes")));
    }
    let unfinished = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&unfinished)?;
    file.write_all(&text)?;
    file.sync_data()?;
    std::fs::rename(unfinished, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    #[test]
    fn a_copy_is_good_for_a_day_and_no_other_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("copy.json");
        let made = Timestamp::from_seconds(2_000_000_000);
        let after = |seconds| read(&path, Timestamp::from_seconds(2_000_000_000 + seconds));
        assert!(matches!(after(0), Err(CopyError::Unreadable(_))));
        write(&path, &Snapshot { revision: 7, ..Snapshot::default() }, made).unwrap();
        assert_eq!(after(DAY - 1).unwrap().0.revision, 7);
        assert!(matches!(after(DAY), Err(CopyError::Void(_))));
        let before = read(&path, Timestamp::from_seconds(1_999_999_999));
        assert!(matches!(before, Err(CopyError::Void(_))));
        assert!(!holds_something(&path), "the copy of an empty database");
        for damage in ["", "{", "[]", "{\"at\": 5, \"snapshot\": {}}"] {
            std::fs::write(&path, damage).unwrap();
            assert_eq!(holds_something(&path), !damage.is_empty(), "{damage}");
            assert!(matches!(after(1), Err(CopyError::Damaged(_))), "{damage}");
        }
    }
}

//! The file `bans.json` of the data directory: its format, and how it is read and written.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nucleus_core::ban_records::{BanRecords, RecordedBan};
use nucleus_core::ids::{Product, ProductKey, RoomKey};
use nucleus_core::{limits, text};
use nucleus_protocol::limits::{MAX_NAME, MAX_ROOM_NAME};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{bounded_file, private_file};

const NAME: &str = "bans.json";
/// The name of a file that could not be read, so that nothing overwrites it. There is only one, so
/// that a server that is started again and again does not fill the disk.
const DAMAGED: &str = "bans.damaged.json";
/// The version of the format. The server sets a file of another version aside.
const VERSION: u32 = 1;

/// The content of the file.
#[derive(Serialize, Deserialize)]
struct BansFile {
    version: u32,
    bans: Vec<BanLine>,
}

/// The version alone, for a file of another version, whose content may be anything.
#[derive(Deserialize)]
struct FileVersion {
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct BanLine {
    tenant: String,
    product: Product,
    room: String,
    user: String,
    /// Seconds since 1970.
    until: u64,
}

/// Why the file was not read.
#[derive(Debug, thiserror::Error)]
enum UnreadableFile {
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("it is no regular file")]
    NoFile,
    #[error("it has more than {} bytes", limits::BANS_FILE_BYTES)]
    TooLarge,
    #[error("it has version {0}, and this server knows version {VERSION}")]
    Version(u32),
    #[error("it is damaged: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it is damaged: a name in it is empty or too long")]
    Name,
}

/// Reads the bans. If the file cannot be read, sets it aside with a warning: a server without the
/// bans is better than none. Also returns whether the file has bans that do not hold any more.
pub(super) fn read(dir: &Path, now: u64) -> (BanRecords, bool) {
    let path = dir.join(NAME);
    match bytes_of(&path).and_then(|bytes| bytes.map_or(Ok(Vec::new()), |bytes| parse(&bytes))) {
        Ok(bans) => {
            let count = bans.len();
            let records = BanRecords::new(now, bans);
            let has_more = records.len() < count;
            (records, has_more)
        }
        Err(why) => {
            let (file, aside) = (path.display(), dir.join(DAMAGED));
            match fs::rename(&path, &aside) {
                Ok(()) => tracing::warn!(
                    "the bans from before the start do not hold: {file}: {why}; it is now {}",
                    aside.display()
                ),
                Err(error) => tracing::warn!(
                    "the bans from before the start do not hold: {file}: {why}; it cannot be \
                     renamed either: {error}"
                ),
            }
            (BanRecords::default(), false)
        }
    }
}

/// Writes the bans.
pub(super) fn write(dir: &Path, bans: &BanRecords) -> io::Result<()> {
    let line =
        |(RoomKey { owner, name }, RecordedBan { user, until }): (&RoomKey, &RecordedBan)| {
            let (tenant, product) = (owner.tenant.clone(), owner.product);
            BanLine { tenant, product, room: name.clone(), user: user.clone(), until: *until }
        };
    let file = BansFile { version: VERSION, bans: bans.iter().map(line).collect() };
    private_file::replace(dir, NAME, &serde_json::to_vec(&file)?)
}

/// Returns the path of the file.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

/// Reads the file. `None`: there is none.
fn bytes_of(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, UnreadableFile> {
    // Not opened before this is known: opening a named pipe waits for a writer.
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
        Ok(found) if !found.is_file() => return Err(UnreadableFile::NoFile),
        Ok(_) => {}
    }
    match bounded_file::read(path, limits::BANS_FILE_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Err(UnreadableFile::TooLarge),
        read => Ok(Some(read?)),
    }
}

fn parse(bytes: &[u8]) -> Result<Vec<(RoomKey, RecordedBan)>, UnreadableFile> {
    let FileVersion { version } = serde_json::from_slice(bytes)?;
    if version != VERSION {
        return Err(UnreadableFile::Version(version));
    }
    let file: BansFile = serde_json::from_slice(bytes)?;
    file.bans.into_iter().map(BanLine::checked).collect()
}

impl BanLine {
    fn checked(self) -> Result<(RoomKey, RecordedBan), UnreadableFile> {
        let Self { tenant, product, room, user, until } = self;
        // An earlier version wrote names that were not in NFC.
        let [tenant, room, user] = [tenant, room, user].map(|name| text::nfc(&name));
        let fits = |text: &str, max| (1..=max).contains(&text.len());
        if !fits(&tenant, MAX_NAME) || !fits(&room, MAX_ROOM_NAME) || !fits(&user, MAX_NAME) {
            return Err(UnreadableFile::Name);
        }
        Ok((ProductKey { tenant, product }.room(room), RecordedBan { user, until }))
    }
}

//! The data directory: the server's identity and keys. They are made on the first run and never
//! replaced, except for the development certificates, which have a schedule.

mod certificates;
mod files;
mod lock;

use std::path::{Path, PathBuf};

use aws_lc_rs::signature::Ed25519KeyPair;
use rcgen::{KeyPair, PKCS_ED25519};
use zeroize::Zeroizing;

pub use self::certificates::{DevelopmentCertificate, DevelopmentCertificates, Pin};
pub use self::files::DataDirError;
use self::files::{corrupt, hex, make_dir, make_failed, random, read_or_make, text};
pub use self::lock::DataDirLock;
use crate::token::{CertificatePins, DevelopmentKey, Minter};
use crate::unix_time::unix_now;

/// The keys and the identity that a server keeps over restarts.
pub struct DataDir {
    path: PathBuf,
    server_id: String,
    /// The key that signs join tokens in development mode, PKCS#8, DER.
    token_key: Zeroizing<Vec<u8>>,
    certificates: DevelopmentCertificates,
    reset_key: Zeroizing<[u8; 64]>,
    address_token_key: Zeroizing<[u8; 64]>,
    ticket_key: Zeroizing<[u8; 64]>,
    webhook_key: Zeroizing<[u8; 64]>,
}

impl DataDir {
    /// Opens the directory, and makes it and the files that are missing in it. Two processes that
    /// do this at the same time end up with the same files.
    ///
    /// # Errors
    ///
    /// The directory cannot be read or written, or a file in it has the wrong content.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        Self::open_at(path, unix_now())
    }

    /// Opens the directory like [`open`](Self::open), with the development certificates of `now`,
    /// in seconds since 1970.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub fn open_at(path: &Path, now: u64) -> Result<Self, DataDirError> {
        make_dir(path)?;
        let id = read_or_make(path, "server-id", || Ok(hex(&random::<16>()?).into_bytes()))?;
        let server_id = String::from_utf8(id.to_vec())
            .ok()
            .filter(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()))
            .ok_or_else(|| corrupt(path, "server-id", "not 32 hexadecimal digits"))?;
        let token_key = read_or_make(path, "token-key.pem", make_token_key)?;
        Ok(Self {
            path: path.to_owned(),
            server_id,
            token_key: token_key_der(path, token_key)?,
            certificates: DevelopmentCertificates::open(path, now)?,
            reset_key: key64(path, "reset-key")?,
            address_token_key: key64(path, "address-token-key")?,
            ticket_key: key64(path, "ticket-key")?,
            webhook_key: key64(path, "webhook-key")?,
        })
    }

    /// Locks the directory for one server. Commands that only read it, or make what is missing, need
    /// no lock.
    ///
    /// # Errors
    ///
    /// [`DataDirError::InUse`] if another server has the lock, or the file of the lock cannot be
    /// opened.
    pub fn lock(&self) -> Result<DataDirLock, DataDirError> {
        DataDirLock::take(&self.path)
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the server id, 32 hexadecimal digits. Tokens name it as their audience.
    pub fn server_id(&self) -> &str {
        &self.server_id
    }

    /// Returns the key that signs join tokens in development mode.
    pub fn development_key(&self) -> DevelopmentKey<'_> {
        DevelopmentKey { signing_key: &self.token_key, server_id: &self.server_id }
    }

    /// Returns a signer of join tokens that the server of this directory accepts in development
    /// mode. Its tokens name the certificates of the time at which the directory was opened.
    pub fn minter(&self) -> Minter {
        let pins = CertificatePins::new(self.certificates.token_pins());
        Minter::new(&self.development_key(), pins)
    }

    /// Returns the development certificates, as they were when the directory was opened.
    pub fn certificates(&self) -> &DevelopmentCertificates {
        &self.certificates
    }

    /// Returns the digest of the development certificate that was in service when the directory was
    /// opened.
    pub fn certificate_pin(&self) -> Pin {
        self.certificates.in_service().pin()
    }

    /// Returns the key of QUIC's stateless resets. The key must survive a restart: otherwise the
    /// clients of a restarted server notice only by their idle time-out.
    pub fn reset_key(&self) -> &[u8; 64] {
        &self.reset_key
    }

    /// Returns the key of QUIC's address validation tokens.
    pub fn address_token_key(&self) -> &[u8; 64] {
        &self.address_token_key
    }

    /// Returns the key that seals resume tickets.
    pub fn ticket_key(&self) -> &[u8; 64] {
        &self.ticket_key
    }

    /// Returns the key from which the secrets of webhooks are made.
    pub fn webhook_key(&self) -> &[u8; 64] {
        &self.webhook_key
    }
}

fn key64(dir: &Path, name: &str) -> Result<Zeroizing<[u8; 64]>, DataDirError> {
    let bytes = read_or_make(dir, name, || Ok(random::<64>()?.to_vec()))?;
    let key = <[u8; 64]>::try_from(&bytes[..]);
    key.map(Zeroizing::new).map_err(|_| corrupt(dir, name, "not 64 bytes long"))
}

/// Makes the key as PKCS#8 version 1, which OpenSSL 3.0 and Python can read. Neither can read
/// version 2.
fn make_token_key() -> Result<Vec<u8>, DataDirError> {
    let key = Ed25519KeyPair::generate().map_err(make_failed)?.to_pkcs8v1().map_err(make_failed)?;
    let pair = KeyPair::try_from(key.as_ref()).map_err(make_failed)?;
    Ok(pair.serialize_pem().into_bytes())
}

fn token_key_der(dir: &Path, pem: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, DataDirError> {
    let name = "token-key.pem";
    let pair = KeyPair::from_pem(&text(dir, name, pem)?);
    let pair = pair.ok().filter(|pair| pair.is_compatible(&PKCS_ED25519));
    let pair = pair.ok_or_else(|| corrupt(dir, name, "not an Ed25519 private key"))?;
    Ok(Zeroizing::new(pair.serialize_der()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use aws_lc_rs::signature::KeyPair as _;
    use nucleus_core::certificates::ServiceWeek;

    use super::*;

    #[test]
    fn two_processes_at_once_agree() {
        let dir = tempfile::tempdir().unwrap();
        let opened: Vec<DataDir> = std::thread::scope(|scope| {
            let open = || DataDir::open(dir.path()).unwrap();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        for other in &opened[1..] {
            assert_eq!(opened[0].server_id(), other.server_id());
            assert_eq!(opened[0].token_key, other.token_key);
            assert_eq!(opened[0].certificates().pins(), other.certificates().pins());
            let key = |dir: &DataDir| dir.certificates().in_service().key_pem().to_owned();
            assert_eq!(key(&opened[0]), key(other));
            assert_eq!(opened[0].reset_key(), other.reset_key());
        }
        let names = fs::read_dir(dir.path()).unwrap();
        assert_eq!(names.count(), 8, "drafts were left behind");
    }

    #[test]
    #[cfg(unix)]
    fn keys_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("data");
        DataDir::open(&dir).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        for file in fs::read_dir(&dir).unwrap() {
            assert_eq!(mode(&file.unwrap().path()), 0o600);
        }
    }

    #[test]
    fn one_server_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let data = DataDir::open(&parent.path().join("data")).unwrap();
        let lock = data.lock().unwrap();
        let error = data.lock().unwrap_err().to_string();
        let own = format!("(process {})", std::process::id());
        assert!(error.contains(&own) && !error.contains('\n'), "{error}");
        drop(lock);
        drop(data.lock().unwrap());
        fs::write(data.path().join("server.lock"), "nonsense").unwrap();
        let _lock = data.lock().unwrap();
        assert!(DataDir::open(data.path()).is_ok(), "commands need no lock");
    }

    /// A server of the administrator would empty whatever file the link names.
    #[cfg(unix)]
    #[test]
    fn a_link_in_the_place_of_the_lock_is_not_followed() {
        let parent = tempfile::tempdir().unwrap();
        let data = DataDir::open(&parent.path().join("data")).unwrap();
        let other = parent.path().join("other");
        fs::write(&other, "content").unwrap();
        std::os::unix::fs::symlink(&other, data.path().join("server.lock")).unwrap();
        assert!(data.lock().is_err());
        assert_eq!(fs::read(&other).unwrap(), b"content");
    }

    #[test]
    fn a_file_in_place_of_the_directory_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("data");
        fs::write(&file, b"").unwrap();
        let error = DataDir::open(&file).err().unwrap().to_string();
        let expected = format!("{} is not a directory: give --data-dir", file.display());
        assert!(error.starts_with(&expected), "{error}");
        let below = DataDir::open(&file.join("below")).err().unwrap().to_string();
        assert!(below.starts_with("data directory: cannot make "), "{below}");
    }

    #[test]
    fn corrupt_files_are_refused_and_kept() {
        let certificate = format!("tls-{}.pem", ServiceWeek::at(unix_now()).number());
        for name in ["server-id", "token-key.pem", &certificate, "reset-key"] {
            let dir = tempfile::tempdir().unwrap();
            DataDir::open(dir.path()).unwrap();
            fs::write(dir.path().join(name), b"nonsense").unwrap();
            let error = DataDir::open(dir.path()).err().unwrap().to_string();
            assert!(error.contains(name), "{error}");
            assert_eq!(fs::read(dir.path().join(name)).unwrap(), b"nonsense");
        }
    }

    #[test]
    fn the_token_key_is_pkcs8_version_1_and_version_2_is_still_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token-key.pem");
        let made = DataDir::open(dir.path()).unwrap();
        // A sequence of 46 bytes, and in it the version: 0 stands for 1.
        assert_eq!(made.token_key[..5], [0x30, 0x2e, 0x02, 0x01, 0x00]);
        let key = Ed25519KeyPair::from_pkcs8(&made.token_key).unwrap();
        // Earlier versions wrote the key so.
        let version_2 = KeyPair::try_from(key.to_pkcs8().unwrap().as_ref()).unwrap();
        fs::write(&file, version_2.serialize_pem()).unwrap();
        let read = DataDir::open(dir.path()).unwrap();
        assert_eq!(read.token_key[4], 1);
        let same = Ed25519KeyPair::from_pkcs8(&read.token_key).unwrap();
        assert_eq!(same.public_key().as_ref(), key.public_key().as_ref());
        assert_eq!(fs::read_to_string(&file).unwrap(), version_2.serialize_pem(), "replaced");
    }
}

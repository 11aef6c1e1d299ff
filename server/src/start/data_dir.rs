//! The data directory: the server's identity and keys. They are made on the first run and never
//! replaced.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

use crate::token::{DevelopmentKey, Minter};

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
    /// A key or a certificate could not be generated.
    #[error("data directory: cannot generate a key or certificate: {0}")]
    Make(String),
}

/// The SHA-256 digest of a certificate, DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin([u8; 32]);

impl Pin {
    /// Returns the digest's 32 bytes.
    pub fn bytes(self) -> [u8; 32] {
        self.0
    }

    fn of_pem(pem: &str) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        let digest = digest::digest(&digest::SHA256, &der);
        <[u8; 32]>::try_from(digest.as_ref()).ok().map(Self)
    }

    /// Returns the digest as tokens carry it: base64url without padding.
    pub fn to_base64url(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// The keys and the identity that a server keeps over restarts.
pub struct DataDir {
    path: PathBuf,
    server_id: String,
    /// The key that signs join tokens in development mode, PKCS#8, DER.
    token_key: Zeroizing<Vec<u8>>,
    cert_pem: String,
    pin: Pin,
    key_pem: Zeroizing<String>,
    reset_key: Zeroizing<[u8; 64]>,
    address_token_key: Zeroizing<[u8; 64]>,
    ticket_key: Zeroizing<[u8; 64]>,
}

impl DataDir {
    /// Opens the directory, and makes it and the files that are missing in it. Two processes that
    /// do this at the same time end up with the same files.
    ///
    /// # Errors
    ///
    /// The directory cannot be read or written, or a file in it has the wrong content.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        make_dir(path)?;
        let id = read_or_make(path, "server-id", || Ok(hex(&random::<16>()?).into_bytes()))?;
        let server_id = String::from_utf8(id.to_vec())
            .ok()
            .filter(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()))
            .ok_or_else(|| corrupt(path, "server-id", "not 32 hexadecimal digits"))?;
        let token_key = read_or_make(path, "token-key.pem", make_token_key)?;
        // Key and certificate belong together, so one file holds both.
        let tls = text(path, "tls.pem", read_or_make(path, "tls.pem", make_certificate)?)?;
        let split = tls.find("-----BEGIN PRIVATE KEY-----");
        let (cert, key) = split
            .map(|at| tls.split_at(at))
            .filter(|(cert, _)| cert.starts_with("-----BEGIN CERTIFICATE-----"))
            .ok_or_else(|| corrupt(path, "tls.pem", "not a certificate and its private key"))?;
        Ok(Self {
            path: path.to_owned(),
            server_id,
            token_key: token_key_der(path, token_key)?,
            cert_pem: cert.to_owned(),
            pin: Pin::of_pem(cert).ok_or_else(|| corrupt(path, "tls.pem", "not a certificate"))?,
            key_pem: Zeroizing::new(key.to_owned()),
            reset_key: key64(path, "reset-key")?,
            address_token_key: key64(path, "address-token-key")?,
            ticket_key: key64(path, "ticket-key")?,
        })
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
    /// mode.
    pub fn minter(&self) -> Minter {
        Minter::new(&self.development_key(), self.pin.to_base64url())
    }

    /// Returns the development certificate, PEM.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// Returns the digest by which clients trust the development certificate.
    pub fn certificate_pin(&self) -> Pin {
        self.pin
    }

    /// Returns the private key of the development certificate, PEM.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
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
}

fn make_dir(path: &Path) -> Result<(), DataDirError> {
    // `create` would say "File exists".
    if path.exists() && !path.is_dir() {
        return Err(DataDirError::NotADirectory(path.display().to_string()));
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|e| failed("make", path, e))
}

fn read_or_make(
    dir: &Path,
    name: &str,
    make: impl FnOnce() -> Result<Vec<u8>, DataDirError>,
) -> Result<Zeroizing<Vec<u8>>, DataDirError> {
    let path = dir.join(name);
    match fs::read(&path) {
        Ok(bytes) => return Ok(Zeroizing::new(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("read", &path, error)),
    }
    let made = Zeroizing::new(make()?);
    let draft = dir.join(format!(".{name}.{}", hex(&random::<8>()?)));
    let result = write_private(&draft, &made).and_then(|()| {
        // `AlreadyExists`: another process has made the file meanwhile, and its content is used.
        match fs::hard_link(&draft, &path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    });
    // A draft that cannot be removed does no harm.
    let _removed = fs::remove_file(&draft);
    result.map_err(|e| failed("write", &path, e))?;
    fs::read(&path).map(Zeroizing::new).map_err(|e| failed("read", &path, e))
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn key64(dir: &Path, name: &str) -> Result<Zeroizing<[u8; 64]>, DataDirError> {
    let bytes = read_or_make(dir, name, || Ok(random::<64>()?.to_vec()))?;
    let key = <[u8; 64]>::try_from(&bytes[..]);
    key.map(Zeroizing::new).map_err(|_| corrupt(dir, name, "not 64 bytes long"))
}

fn make_token_key() -> Result<Vec<u8>, DataDirError> {
    let key = KeyPair::generate_for(&PKCS_ED25519).map_err(make_failed)?;
    Ok(key.serialize_pem().into_bytes())
}

fn token_key_der(dir: &Path, pem: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, DataDirError> {
    let name = "token-key.pem";
    let pair = KeyPair::from_pem(&text(dir, name, pem)?);
    let pair = pair.ok().filter(|pair| pair.is_compatible(&PKCS_ED25519));
    let pair = pair.ok_or_else(|| corrupt(dir, name, "not an Ed25519 private key"))?;
    Ok(Zeroizing::new(pair.serialize_der()))
}

/// Makes a self-signed certificate and its key, PEM. Keeps rcgen's default dates, which never
/// expire in
/// practice: clients pin the digest, so an expiry would only break a server years after its set-up.
fn make_certificate() -> Result<Vec<u8>, DataDirError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(make_failed)?;
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let params = CertificateParams::new(names).map_err(make_failed)?;
    let cert = params.self_signed(&key).map_err(make_failed)?;
    Ok([cert.pem(), key.serialize_pem()].concat().into_bytes())
}

fn text(
    dir: &Path,
    name: &str,
    bytes: Zeroizing<Vec<u8>>,
) -> Result<Zeroizing<String>, DataDirError> {
    let text = std::str::from_utf8(&bytes).map_err(|_| corrupt(dir, name, "not text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn random<const N: usize>() -> Result<[u8; N], DataDirError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|e| DataDirError::Make(e.to_string()))?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> DataDirError {
    DataDirError::Io { action, path: path.display().to_string(), source }
}

fn corrupt(dir: &Path, name: &str, what: &'static str) -> DataDirError {
    DataDirError::Corrupt { path: dir.join(name).display().to_string(), what }
}

fn make_failed(error: rcgen::Error) -> DataDirError {
    DataDirError::Make(error.to_string())
}

#[cfg(test)]
mod tests {
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
            assert_eq!(opened[0].cert_pem(), other.cert_pem());
            assert_eq!(opened[0].key_pem(), other.key_pem());
            assert_eq!(opened[0].reset_key(), other.reset_key());
        }
        let names = fs::read_dir(dir.path()).unwrap();
        assert_eq!(names.count(), 6, "drafts were left behind");
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
        for name in ["server-id", "token-key.pem", "tls.pem", "reset-key"] {
            let dir = tempfile::tempdir().unwrap();
            DataDir::open(dir.path()).unwrap();
            fs::write(dir.path().join(name), b"nonsense").unwrap();
            let error = DataDir::open(dir.path()).err().unwrap().to_string();
            assert!(error.contains(name), "{error}");
            assert_eq!(fs::read(dir.path().join(name)).unwrap(), b"nonsense");
        }
    }
}

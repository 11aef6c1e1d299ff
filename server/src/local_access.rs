//! How commands on the same machine reach the API: a file in the data directory with the address and a
//! key that may do everything. Only the directory's owner can read it. Each start makes a new key.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;
use std::{fs, io, thread};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::private_file;
use crate::random::random;

/// The file in the data directory.
const FILE: &str = "local-api.json";

/// Longest wait for the removal of the file.
const REMOVAL_TIME: Duration = Duration::from_millis(500);

/// The content of the file.
#[derive(Debug, Serialize, Deserialize)]
pub struct LocalApi {
    /// Where the API is, as `http://127.0.0.1:8055`.
    pub url: String,
    /// The key.
    pub key: String,
}

impl LocalApi {
    /// Reads how to reach the server of a data directory.
    ///
    /// # Errors
    ///
    /// The file cannot be read: no server runs there, or it serves no HTTP on loopback.
    pub fn read(dir: &Path) -> io::Result<Self> {
        let text = fs::read(dir.join(FILE))?;
        Ok(serde_json::from_slice(&text)?)
    }
}

/// The file, while the server runs. Dropping this removes it.
pub(crate) struct LocalAccess {
    key: String,
    file: Option<PathBuf>,
}

impl LocalAccess {
    /// Makes a key, and writes it to the file if the API is served at `addr`. Without the file, the
    /// server works, and commands on this machine do not find it.
    pub(crate) fn open(dir: &Path, addr: Option<SocketAddr>) -> Self {
        if addr.is_none() {
            tracing::info!(
                "commands on this machine, such as `nucleus status`, do not find this server: they need \
                 `http` on loopback, as in http = \"127.0.0.1:8055\", or --url and an API key"
            );
        }
        let key = URL_SAFE_NO_PAD.encode(random::<32>());
        let file = match Self::write(&dir.join(FILE), addr, &key) {
            Ok(file) => file,
            Err(error) => {
                let dir = dir.display();
                tracing::warn!(
                    "commands such as `nucleus rooms` cannot find this server: {FILE} in {dir}: {error}"
                );
                None
            }
        };
        Self { key, file }
    }

    /// Writes the file in place of that of an earlier start.
    fn write(path: &Path, addr: Option<SocketAddr>, key: &str) -> io::Result<Option<PathBuf>> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let Some(addr) = addr else { return Ok(None) };
        let content = LocalApi { url: format!("http://{addr}"), key: key.to_owned() };
        private_file::create(path, &serde_json::to_vec(&content)?)?;
        Ok(Some(path.to_owned()))
    }

    /// The key.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }
}

impl Drop for LocalAccess {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        let (done, is_done) = mpsc::channel();
        // A disk that hangs must not hold up the end of the server. A file that stays names a key that no
        // server takes any more.
        let removing = thread::Builder::new().spawn(move || {
            let _removed = fs::remove_file(file);
            let _gone = done.send(());
        });
        if removing.is_ok() {
            let _removed = is_done.recv_timeout(REMOVAL_TIME);
        }
    }
}

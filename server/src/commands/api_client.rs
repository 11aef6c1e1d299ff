//! Sends a request to the API of a running server.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use nucleus_control::fetch::{Fetch, FetchError, StreamedAnswer, fetch, fetch_stream};
use serde_json::Value;

use super::args::ApiArgs;
use crate::local_access::LocalApi;

/// The variable with the API key for another server. A key on the command line could be seen by every
/// user of the machine.
const KEY_VARIABLE: &str = "NUCLEUS_API_KEY";
/// Longest time of a request: that of a test of a webhook, whose receiver has 15 s, with the database before
/// and after it.
const TIME: Duration = Duration::from_secs(30);
/// Largest answer, in bytes: 200 of the longest rows.
const MAX_ANSWER: usize = 4 << 20;

/// Why a command failed. Each text is one line.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No server of this machine serves the API.
    #[error(
        "no running server of the data directory {path} serves the API on loopback: {source}; give \
         --data-dir of a running server whose `http` is on loopback, or --url and an API key",
        path = path.display()
    )]
    NoLocalServer {
        /// The data directory.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The key would travel in the clear.
    #[error("--url must begin with https://: others on the way could read the API key")]
    InTheClear,
    /// There is no key for another server.
    #[error("--url needs an API key in the environment variable NUCLEUS_API_KEY")]
    NoKey,
    /// The server cannot be reached.
    #[error("{url}: {source}")]
    Unreachable {
        /// The address.
        url: String,
        /// Why.
        source: FetchError,
    },
    /// The server refuses the request.
    #[error("{0}")]
    Refused(String),
    /// The answer is no answer of the API.
    #[error("{0} gave an answer that is not one of a Nucleus server")]
    NotNucleus(String),
    /// Nobody has this email address.
    #[error("nobody signs in as {}", nucleus_core::text::printable(.0))]
    NoSuchPerson(String),
    /// The password cannot be read.
    #[error("cannot read the password from stdin: {0}")]
    UnreadablePassword(std::io::Error),
    /// There is no tenant of this name.
    #[error("there is no tenant {}", nucleus_core::text::printable(.0))]
    NoSuchTenant(String),
    /// A file that the command names cannot be read.
    #[error("cannot read {path}: {1}", path = .0.display())]
    UnreadableFile(PathBuf, std::io::Error),
    /// A list has more rows than a command reads.
    #[error("the list has more than 200000 rows")]
    TooLong,
}

/// Why a stream cannot be opened.
#[derive(Debug)]
pub(super) enum OpenStreamError {
    /// It may work later: the server is started again, or has too much to do.
    Passing(ApiError),
    /// It will not work later.
    Final(ApiError),
}

/// The way to one server.
pub struct ApiClient {
    url: String,
    key: String,
}

impl ApiClient {
    /// Finds the server of a command.
    ///
    /// # Errors
    ///
    /// There is none on this machine, or no key for another one.
    pub fn new(args: &ApiArgs) -> Result<Self, ApiError> {
        if let Some(url) = &args.url {
            if !is_safe(url) {
                return Err(ApiError::InTheClear);
            }
            let key = std::env::var(KEY_VARIABLE).map_err(|_| ApiError::NoKey)?;
            return Ok(Self { url: url.trim_end_matches('/').to_owned(), key });
        }
        let path = args.data_dir.clone();
        let local = LocalApi::read(&path);
        let LocalApi { url, key } =
            local.map_err(|source| ApiError::NoLocalServer { path, source })?;
        Ok(Self { url, key })
    }

    /// Opens a stream of server-sent events, behind the event `last`.
    ///
    /// # Errors
    ///
    /// The server cannot be reached or refuses the request.
    pub(super) async fn open_stream(
        &self,
        path: &str,
        last: Option<&str>,
    ) -> Result<StreamedAnswer, OpenStreamError> {
        let mut headers = vec![("authorization", format!("Bearer {}", self.key))];
        headers.extend(last.map(|id| ("last-event-id", id.to_owned())));
        let url = format!("{}/api/v1{path}", self.url);
        let request = Fetch {
            method: "GET",
            url: &url,
            headers: &headers,
            body: Vec::new(),
            time: TIME,
            max_answer: MAX_ANSWER,
            public_only: false,
            tls: None,
        };
        let unreachable = |source| ApiError::Unreachable { url: self.url.clone(), source };
        let mut answer = match fetch_stream(request).await {
            Ok(answer) if answer.status == 200 => return Ok(answer),
            Ok(answer) => answer,
            Err(error) => return Err(OpenStreamError::Passing(unreachable(error))),
        };
        let first = answer.next(TIME).await.ok().flatten().unwrap_or_default();
        let problem: Value = serde_json::from_slice(&first).unwrap_or_default();
        let Some(detail) = problem["detail"].as_str() else {
            return Err(OpenStreamError::Final(ApiError::NotNucleus(self.url.clone())));
        };
        let refused = ApiError::Refused(super::table::plain(&detail.into()));
        Err(match answer.status {
            429 | 500.. => OpenStreamError::Passing(refused),
            _ => OpenStreamError::Final(refused),
        })
    }

    /// Returns the whole address of a link of the server, which may be a path alone.
    pub(super) fn absolute(&self, link: &str) -> String {
        if link.starts_with('/') { format!("{}{link}", self.url) } else { link.to_owned() }
    }

    /// Sends a request, and returns the body of the answer; null if it has none.
    ///
    /// # Errors
    ///
    /// The server cannot be reached or refuses the request.
    pub async fn send(&self, method: &str, path: &str, body: Value) -> Result<Value, ApiError> {
        let mut headers = vec![("authorization", format!("Bearer {}", self.key))];
        let body = match body {
            Value::Null => Vec::new(),
            body => {
                headers.push(("content-type", "application/json".to_owned()));
                body.to_string().into_bytes()
            }
        };
        let url = format!("{}/api/v1{path}", self.url);
        let request = Fetch {
            method,
            url: &url,
            headers: &headers,
            body,
            time: TIME,
            max_answer: MAX_ANSWER,
            public_only: false,
            tls: None,
        };
        let unreachable = |source| ApiError::Unreachable { url: self.url.clone(), source };
        let answer = fetch(request).await.map_err(unreachable)?;
        if answer.status == 204 || (answer.body.is_empty() && answer.status < 300) {
            return Ok(Value::Null);
        }
        let not_nucleus = || ApiError::NotNucleus(self.url.clone());
        let value: Value = serde_json::from_slice(&answer.body).map_err(|_| not_nucleus())?;
        if answer.status < 300 {
            return Ok(value);
        }
        let detail = value["detail"].as_str().ok_or_else(not_nucleus)?;
        Err(ApiError::Refused(super::table::plain(&detail.into())))
    }
}

/// Whether a key may travel to this address: over TLS, or within this machine.
fn is_safe(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return url.starts_with("https://") };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let has_port = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if has_port(port) => host,
        _ => authority,
    };
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

/// Writes a text for the query of an address.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                encoded.push(char::from(byte));
            }
            // Writing to a `String` cannot fail.
            _ => _ = write!(encoded, "%{byte:02X}"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_leaves_the_machine_over_tls_alone() {
        for safe in [
            "https://nucleus.example.com",
            "http://127.0.0.1:8055",
            "http://localhost:1/x",
            "http://[::1]:8055",
        ] {
            assert!(is_safe(safe), "{safe}");
        }
        for unsafe_ in [
            "http://nucleus.example.com",
            "http://127.0.0.1.example.com",
            "http://user@127.0.0.1@example.com",
            "http://localhost:1@example.com",
            "HTTP://127.0.0.1",
            "nucleus.example.com",
            "",
        ] {
            assert!(!is_safe(unsafe_), "{unsafe_}");
        }
    }
}

//! The server that a run joins, and the credentials for it.

use std::fs::File;
use std::io::Read;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nucleus_client::session::{Trust, client_config};
use nucleus_loadgen::embedded::Embedded;
use nucleus_server::start::data_dir::{DataDir, Pin};
use nucleus_server::token::{Minter, Product, TokenRequest};

use crate::args::ServerArgs;

/// How long a minted token is valid: longer than any run.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 3_600);
/// The largest file of tokens, bytes: `nucleus token --batch` writes at most 100,000 tokens of about
/// 520 bytes.
const MAX_TOKEN_FILE: u64 = 128 << 20;
/// The grant to set properties of a room, as `training` does.
const ROOM_FIELDS: &str = "state.room";
/// The tenant of all headsets.
const TENANT: &str = "load";

/// The error of a server that no headset can join, as one line of text.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TargetError(String);

impl TargetError {
    fn because(what: &str, error: impl std::fmt::Display) -> Self {
        TargetError(format!("{what}: {error}"))
    }
}

/// The server that a run joins.
pub(crate) struct ServerTarget {
    pub(crate) address: SocketAddr,
    pub(crate) name: String,
    pub(crate) config: quinn::ClientConfig,
    pub(crate) tokens: TokenSource,
    /// The address of the server's `/metrics`, `host:port`.
    pub(crate) http: Option<String>,
    /// The server's process id, if the server runs on this machine.
    pub(crate) pid: Option<u32>,
}

/// The source of the join tokens.
pub(crate) enum TokenSource {
    /// Tokens minted with the server's key, one for each user.
    Minted(Box<Minter>),
    /// The tokens of a file, at least one. If there is one alone, all headsets are one user.
    Given(Vec<String>),
}

impl ServerTarget {
    /// Returns the server that was started for this run.
    ///
    /// # Errors
    ///
    /// If the server's keys cannot be read.
    pub(crate) fn embedded(server: &Embedded) -> Result<Self, TargetError> {
        let (tokens, pins) = data_dir(server.data_dir())?;
        Ok(ServerTarget {
            address: server.session,
            name: "localhost".into(),
            config: config(&Trust::Pins(pins))?,
            tokens,
            http: Some(server.http.clone()),
            pid: Some(server.pid()),
        })
    }

    /// Returns the server named on the command line.
    ///
    /// # Errors
    ///
    /// If the address, the token source or the certificate cannot be used.
    pub(crate) fn given(host_port: &str, args: &ServerArgs) -> Result<Self, TargetError> {
        let mut addresses =
            host_port.to_socket_addrs().map_err(|e| TargetError::because(host_port, e))?;
        let address =
            addresses.next().ok_or_else(|| TargetError(format!("{host_port} has no address")))?;
        let (tokens, known_pins) = credentials(args)?;
        let trust = trust(args, known_pins)?;
        let name = host_port.rsplit_once(':').map_or(host_port, |(host, _)| host);
        Ok(ServerTarget {
            address: SocketAddr::new(address.ip().to_canonical(), address.port()),
            name: name.trim_matches(['[', ']']).to_owned(),
            config: config(&trust)?,
            tokens,
            http: args.http.clone(),
            pid: args.server_pid,
        })
    }
}

impl TokenSource {
    /// Checks that the source has a token for each headset, or one for all.
    ///
    /// # Errors
    ///
    /// If a batch is too small.
    pub(crate) fn check(&self, headsets: u32) -> Result<(), TargetError> {
        match self {
            TokenSource::Given(tokens) if tokens.len() > 1 && tokens.len() < headsets as usize => {
                Err(TargetError(format!(
                    "--token: the file has {} tokens for {headsets} headsets: make more with \
                     `nucleus token --batch {headsets}`, or give one token for all",
                    tokens.len()
                )))
            }
            _ => Ok(()),
        }
    }

    /// Returns the token of a user.
    ///
    /// # Errors
    ///
    /// If no token can be minted.
    pub(crate) fn token(&self, headset: u32) -> Result<String, TargetError> {
        match self {
            TokenSource::Given(tokens) => Ok(tokens[headset as usize % tokens.len()].clone()),
            TokenSource::Minted(minter) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let user = format!("h{headset}");
                let request = TokenRequest {
                    ttl: TOKEN_TTL,
                    grants: vec![ROOM_FIELDS.to_owned()],
                    ..TokenRequest::new(Product::ATOM, TENANT, user)
                };
                let token = minter.mint(request, now.as_secs());
                token.map_err(|e| TargetError(e.to_string()))
            }
        }
    }
}

/// Returns the source of the join tokens, and the hashes of the server's certificates that the
/// source contains.
fn credentials(args: &ServerArgs) -> Result<(TokenSource, Vec<[u8; 32]>), TargetError> {
    if let Some(path) = &args.data_dir {
        return data_dir(path);
    }
    let Some(path) = &args.token else {
        return Err(TargetError(
            "a server needs a source of join tokens: --data-dir or --token".into(),
        ));
    };
    let tokens = read_tokens(path)?;
    let pins = nucleus_client::token::pins_in(&tokens[0]);
    Ok((TokenSource::Given(tokens), pins))
}

/// Reads the tokens of a file, one a line. Returns at least one.
///
/// # Errors
///
/// If the file cannot be read, is too large, or has no token.
pub(crate) fn read_tokens(path: &Path) -> Result<Vec<String>, TargetError> {
    let name = format!("--token: {}", path.display());
    let mut text = String::new();
    let file = File::open(path).map_err(|e| TargetError::because(&name, e))?;
    let read = file.take(MAX_TOKEN_FILE + 1).read_to_string(&mut text);
    read.map_err(|e| TargetError::because(&name, e))?;
    if text.len() as u64 > MAX_TOKEN_FILE {
        return Err(TargetError(format!("{name} is larger than {} MB", MAX_TOKEN_FILE >> 20)));
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let tokens: Vec<String> = lines.map(str::to_owned).collect();
    if tokens.is_empty() {
        return Err(TargetError(format!("{name} has no token: `nucleus token` prints one")));
    }
    Ok(tokens)
}

fn data_dir(path: &Path) -> Result<(TokenSource, Vec<[u8; 32]>), TargetError> {
    let dir = DataDir::open(path).map_err(|e| TargetError(e.to_string()))?;
    let pins = dir.certificates().pins().into_iter().map(Pin::bytes).collect();
    Ok((TokenSource::Minted(Box::new(dir.minter())), pins))
}

fn trust(args: &ServerArgs, known_pins: Vec<[u8; 32]>) -> Result<Trust, TargetError> {
    if args.insecure_dev {
        return Ok(Trust::InsecureDev);
    }
    if let Some(path) = &args.ca {
        let pem = std::fs::read(path)
            .map_err(|e| TargetError::because(&path.display().to_string(), e))?;
        return Trust::ca_pem(&pem).map_err(|e| TargetError(e.to_string()));
    }
    let pins = if args.pins.is_empty() { known_pins } else { args.pins.clone() };
    if pins.is_empty() {
        let expected = "a server needs a certificate to trust: --pin, --ca or --insecure-dev";
        return Err(TargetError(expected.into()));
    }
    Ok(Trust::Pins(pins))
}

fn config(trust: &Trust) -> Result<quinn::ClientConfig, TargetError> {
    client_config(trust).map_err(|e| TargetError(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, TargetError> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        read_tokens(file.path())
    }

    #[test]
    fn a_file_has_a_token_a_line() {
        assert_eq!(read("one\n").expect("read"), ["one"]);
        assert_eq!(read(" one\r\n\ntwo \n").expect("read"), ["one", "two"]);
        for empty in ["", "\n \n"] {
            let error = read(empty).expect_err("no token").to_string();
            assert!(error.contains("has no token"), "{error}");
        }
    }

    #[test]
    fn each_headset_has_a_token_of_its_own_or_all_have_one() {
        let source = |count: usize| TokenSource::Given(vec!["t".into(); count]);
        assert!(source(1).check(1_000).is_ok());
        assert!(source(10).check(10).is_ok());
        let error = source(10).check(11).expect_err("one is missing").to_string();
        assert!(error.contains("10 tokens for 11 headsets"), "{error}");
        let two = TokenSource::Given(vec!["a".into(), "b".into()]);
        let token = |headset| two.token(headset).expect("a token");
        assert_eq!([token(0), token(1), token(2)], ["a", "b", "a"]);
    }
}

//! From a server's name and a token to a room.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

#[cfg(doc)]
use nucleus_protocol::session::Code;
use nucleus_protocol::session::join_mode;

use crate::realtime::driver::unspecified;
use crate::room::{Room, Way};
use crate::rooms::{Query, RoomOptions, RoomSelection};
use crate::session::{ConnectError, JoinError, Session, SessionOptions, Trust, client_config};
use crate::token;

/// Where a server on this machine listens.
pub const DEFAULT_SERVER: &str = "127.0.0.1:5055";
/// The session plane's port when none is named.
const DEFAULT_PORT: u16 = 5055;
/// The room when neither the options nor the token name one.
const DEFAULT_ROOM: &str = "demo";
/// How long a lost session is tried again where the application says nothing: a server's restart, or
/// the way through a building without Wi-Fi.
pub(crate) const DEFAULT_PATIENCE: Duration = Duration::from_secs(120);
/// Addresses tried of one name: with 10 s each, more would keep a person waiting for nothing.
const MAX_ADDRESSES: usize = 2;

/// What [`connect`] needs to know.
#[derive(Clone)]
pub struct ConnectOptions {
    server: String,
    token: String,
    room: Option<String>,
    name: String,
    selection: RoomSelection,
    agent: String,
    trust: Option<Trust>,
    patience: Duration,
}

impl ConnectOptions {
    /// `server` is `host:port` (port 5055 when left out; see [`DEFAULT_SERVER`]), `token` the join
    /// token from the application's backend or from `nucleus token`.
    pub fn new(server: impl Into<String>, token: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            token: token.into(),
            room: None,
            name: String::new(),
            selection: RoomSelection::default(),
            agent: concat!("nucleus-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            trust: None,
            patience: DEFAULT_PATIENCE,
        }
    }

    /// The room, 1 to 128 bytes. Default: the one the token names, else "demo".
    pub fn room(mut self, room: impl Into<String>) -> Self {
        self.room = Some(room.into());
        self
    }

    /// The name the others see, at most 128 bytes. Default: the token's.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Peers the room shall take if this join makes it. Default: the server's.
    pub fn capacity(mut self, capacity: u16) -> Self {
        self.selection.options = self.selection.options.capacity(capacity);
        self
    }

    /// Makes the room; where there is one of that name, the join is refused ([`Code::RoomExists`]).
    pub fn create(self) -> Self {
        self.mode(join_mode::CREATE, Query::new())
    }

    /// Joins the room and never makes it: where there is none, the join is refused
    /// ([`Code::NoSuchRoom`]), also when a lost session comes back.
    pub fn join_only(self) -> Self {
        self.mode(join_mode::JOIN, Query::new())
    }

    /// Joins any room that fits, the fullest first; where there is none, the join is refused
    /// ([`Code::NoSuchRoom`]). [`Room::name`] says which it is.
    pub fn match_room(self, query: Query) -> Self {
        self.mode(join_mode::MATCH, query)
    }

    /// The same; where no room fits, makes one of the name that the options give, or of one that
    /// nobody guesses. Give it the fields that the query asks for, so that the next one finds it.
    pub fn match_or_create(self, query: Query) -> Self {
        self.mode(join_mode::MATCH_OR_CREATE, query)
    }

    /// The application's version, at most 32 bytes: clients of two versions never meet, and a room of
    /// another one refuses the join ([`Code::Incompatible`]). Default: none, which is one, too.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.selection.version = version.into();
        self
    }

    /// Of the room to join or to make, at most 64 bytes. A room with a password is never matched.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.selection.password = password.into();
        self
    }

    /// Holds seats for these users for a minute, at most 16; they still have to join.
    pub fn expect_users<U: Into<String>>(mut self, users: impl IntoIterator<Item = U>) -> Self {
        self.selection.expected = users.into_iter().map(Into::into).collect();
        self
    }

    /// What the room is made with, if this join makes it.
    pub fn options(mut self, options: RoomOptions) -> Self {
        self.selection.options = options;
        self
    }

    fn mode(mut self, mode: u8, query: Query) -> Self {
        (self.selection.mode, self.selection.query) = (mode, query);
        self
    }

    /// Name and version of the application, for the server's operator; at most 128 bytes.
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = agent.into();
        self
    }

    /// Which certificate to believe. Default: the pin in the token, which development servers put
    /// there.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = Some(trust);
        self
    }

    /// How long a lost session is tried again before the room is closed; zero closes it at once.
    /// Default: two minutes.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn at(&self, server: SocketAddr, server_name: &str) -> SessionOptions {
        let named = self.room.clone();
        let room = if self.selection.matches() {
            named.unwrap_or_default()
        } else {
            let of_token = || token::room_in(&self.token);
            named.or_else(of_token).unwrap_or_else(|| DEFAULT_ROOM.to_owned())
        };
        SessionOptions {
            server,
            server_name: server_name.to_owned(),
            token: self.token.clone(),
            room,
            name: self.name.clone(),
            selection: self.selection.clone(),
            agent: self.agent.clone(),
            resume: None,
        }
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A token is as good as a password: it reaches no log.
        f.debug_struct("ConnectOptions")
            .field("server", &self.server)
            .field("room", &self.room)
            .field("name", &self.name)
            .field("trust", &self.trust)
            .finish_non_exhaustive()
    }
}

/// Joins a room; at most 10 s for each address of the server's name. Must run inside tokio.
pub async fn connect(options: ConnectOptions) -> Result<Room, ConnectError> {
    let config = client_config(&trusted(options.trust.as_ref(), &options.token)?)?;
    let (host, port) = host_and_port(&options.server);
    let mut last = None;
    for address in resolve(&options.server, host, port).await? {
        let endpoint = quinn::Endpoint::client(unspecified(address))?;
        let at = options.at(address, host);
        match Session::join(&endpoint, config.clone(), at.clone()).await {
            Ok(session) => {
                let way = Way { endpoint, config, options: at, patience: options.patience };
                return Room::open(way, session).await;
            }
            // Another address of the same server may be reachable; it would not answer otherwise.
            Err(error @ (JoinError::TimedOut { .. } | JoinError::Connect(_))) => last = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    Err(last.map_or_else(|| unresolved(&options.server, "no address"), ConnectError::from))
}

/// As the application says, else the pin in the token.
pub(crate) fn trusted(trust: Option<&Trust>, token: &str) -> Result<Trust, ConnectError> {
    let pinned = || token::pin_in(token).map(Trust::Pin);
    trust.cloned().or_else(pinned).ok_or(ConnectError::NoTrust)
}

pub(crate) async fn resolve(
    server: &str,
    host: &str,
    port: u16,
) -> Result<Vec<SocketAddr>, ConnectError> {
    let found = tokio::net::lookup_host((host, port)).await;
    let source = |source| ConnectError::Resolve { server: server.to_owned(), source };
    Ok(found.map_err(source)?.take(MAX_ADDRESSES).collect())
}

pub(crate) fn unresolved(server: &str, why: &str) -> ConnectError {
    let source = std::io::Error::new(std::io::ErrorKind::NotFound, why.to_owned());
    ConnectError::Resolve { server: server.to_owned(), source }
}

/// `host`, `host:port`, `192.0.2.1:port`, `::1` or `[::1]:port`.
pub(crate) fn host_and_port(server: &str) -> (&str, u16) {
    let bare = server.parse::<IpAddr>().is_ok();
    let split = server.rsplit_once(':').filter(|_| !bare);
    let with_port = split.and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = with_port.unwrap_or((server, DEFAULT_PORT));
    (host.trim_start_matches('[').trim_end_matches(']'), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_split() {
        for (server, host, port) in [
            ("127.0.0.1:5055", "127.0.0.1", 5055),
            ("127.0.0.1", "127.0.0.1", 5055),
            ("example.com:7", "example.com", 7),
            ("example.com", "example.com", 5055),
            ("::1", "::1", 5055),
            ("[::1]:9", "::1", 9),
            ("[::1]", "::1", 5055),
        ] {
            assert_eq!(host_and_port(server), (host, port), "{server}");
        }
    }

    #[test]
    fn no_token_in_a_log() {
        let options = ConnectOptions::new("h", "s3cret").room("r");
        assert!(
            !format!("{options:?}{:?}", options.at(([0; 4], 1).into(), "h")).contains("s3cret")
        );
    }
}

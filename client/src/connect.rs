//! [`connect`]: connects to a server and joins a room.

use std::fmt;
use std::time::Duration;

use nucleus_protocol::session::{Code, join_mode};
use tokio::time::{Instant, timeout_at};

use crate::address::resolve;
use crate::room::{Room, RoomConnector};
use crate::rooms::{Query, RoomOptions, RoomSelection};
use crate::servers::{NamedServers, ReturnServers};
use crate::session::{
    Capabilities, ConnectError, JoinError, LONGEST_PATIENCE, ResolvedServer, Session,
    SessionOptions, SessionSockets, Trust, client_config, endpoints,
};
use crate::token;

/// Address of a server on this machine.
pub const DEFAULT_SERVER: &str = "127.0.0.1:5055";
/// The room to join if neither the options nor the token name one.
const DEFAULT_ROOM: &str = "demo";
/// How long the client tries to resume a lost session, unless the application sets another limit.
/// Covers a restart of the server, or a walk through a building without Wi-Fi.
pub(crate) const DEFAULT_PATIENCE: Duration = Duration::from_secs(120);

/// Longest time for all the servers that a refusal names: a person waits.
const OTHERS_TIME: Duration = Duration::from_secs(30);

/// Options of [`connect`]: the server, the token, and which room to join.
///
/// By default the client joins the named room, and creates it if it does not exist.
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
    capabilities: Capabilities,
}

impl ConnectOptions {
    /// Creates options for `server` with a join token.
    ///
    /// `server` is `host:port`; without a port, 5055 is used (see [`DEFAULT_SERVER`]). `token`
    /// comes from the application's backend or from `nucleus token`.
    pub fn new(server: impl Into<String>, token: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            token: token::trimmed(&token.into()),
            room: None,
            name: String::new(),
            selection: RoomSelection::default(),
            agent: concat!("nucleus-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            trust: None,
            patience: DEFAULT_PATIENCE,
            capabilities: Capabilities::default(),
        }
    }

    /// Sets the room's name, 1 to 128 bytes. Default: the room that the token names, else "demo".
    pub fn room(mut self, room: impl Into<String>) -> Self {
        self.room = Some(room.into());
        self
    }

    /// Sets the display name, at most 128 bytes. Default: the name in the token.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the room's capacity in peers, used if this join creates the room. Default: the
    /// server's.
    pub fn capacity(mut self, capacity: u16) -> Self {
        self.selection.options = self.selection.options.capacity(capacity);
        self
    }

    /// Creates the room. If a room of that name exists, the join is refused with
    /// [`Code::RoomExists`].
    pub fn create(self) -> Self {
        self.mode(join_mode::CREATE, Query::new())
    }

    /// Joins an existing room and never creates one. If the room does not exist, the join is
    /// refused with [`Code::NoSuchRoom`]. The same holds when the client joins again after a lost
    /// session.
    pub fn join_only(self) -> Self {
        self.mode(join_mode::JOIN, Query::new())
    }

    /// Joins the fullest room that matches `query`. If none matches, the join is refused with
    /// [`Code::NoSuchRoom`]. [`Room::name`] returns the name of the room that was found.
    pub fn match_room(self, query: Query) -> Self {
        self.mode(join_mode::MATCH, query)
    }

    /// Joins the fullest room that matches `query`, or creates one if none matches.
    ///
    /// The new room has the name from [`Self::room`], or a random name. Set the fields that `query`
    /// asks for in [`Self::options`]; otherwise the next client does not find the new room.
    pub fn match_or_create(self, query: Query) -> Self {
        self.mode(join_mode::MATCH_OR_CREATE, query)
    }

    /// Sets the application's version, at most 32 bytes. Clients with different versions are never
    /// in the same room: a room created with another version refuses the join with
    /// [`Code::Incompatible`]. Default: the empty version, which differs from every other.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.selection.version = version.into();
        self
    }

    /// Sets the password of the room to join or create, at most 64 bytes. Rooms with a password are
    /// never matched.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.selection.password = password.into();
        self
    }

    /// Reserves seats in the room for these users, at most 16, for one minute. Each user must still
    /// join.
    pub fn expect_users<U: Into<String>>(mut self, users: impl IntoIterator<Item = U>) -> Self {
        self.selection.expected = users.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the options of the room, used if this join creates the room.
    pub fn options(mut self, options: RoomOptions) -> Self {
        self.selection.options = options;
        self
    }

    fn mode(mut self, mode: u8, query: Query) -> Self {
        (self.selection.mode, self.selection.query) = (mode, query);
        self
    }

    /// Sets the name and version of the application as the server's operator sees them, at most
    /// 128 bytes. Default: the name and version of this crate.
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = agent.into();
        self
    }

    /// Sets which server certificate to trust. Default: the certificate pins in the token.
    /// Development servers put pins into their tokens.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = Some(trust);
        self
    }

    /// Sets how long the client tries to resume a lost session before it closes the room. Zero
    /// closes the room as soon as the session is lost. Default: two minutes.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience.min(LONGEST_PATIENCE);
        self
    }

    /// Sets what this client can do: whether it has a realtime port, how large its datagrams may
    /// be, and which features it offers. Default: everything.
    pub fn capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    fn session_options(&self, server: ResolvedServer) -> SessionOptions {
        let named = self.room.clone();
        let room = if self.selection.matches() {
            named.unwrap_or_default()
        } else {
            let from_token = || token::room_in(&self.token);
            named.or_else(from_token).unwrap_or_else(|| DEFAULT_ROOM.to_owned())
        };
        SessionOptions {
            server,
            token: self.token.clone(),
            room,
            name: self.name.clone(),
            selection: self.selection.clone(),
            agent: self.agent.clone(),
            capabilities: self.capabilities,
            resume: None,
        }
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is as secret as a password and must not reach a log.
        f.debug_struct("ConnectOptions")
            .field("server", &self.server)
            .field("room", &self.room)
            .field("name", &self.name)
            .field("trust", &self.trust)
            .finish_non_exhaustive()
    }
}

/// Connects to a server and joins a room.
///
/// Tries the addresses of the server's name at the same time, a quarter of a second apart, for at
/// most 10 s. If the server refuses the join and names other servers, tries these, for at most 30 s.
/// Must be called inside a tokio runtime.
///
/// # Errors
/// * [`ConnectError::NoTrust`] or [`ConnectError::Trust`] if no usable certificate is trusted.
/// * [`ConnectError::Resolve`] if the server's name has no address.
/// * [`ConnectError::Socket`] if a local UDP socket cannot be opened.
/// * [`ConnectError::Join`] if the server did not answer or refused the join.
/// * [`ConnectError::Link`] if the server's parameters for the realtime plane are unusable.
pub async fn connect(options: ConnectOptions) -> Result<Room, ConnectError> {
    let config = client_config(&trusted(options.trust.as_ref(), &options.token)?)?;
    let (options, config) = (&options, &config);
    let attempt = |server: String| async move { connect_to(options, config, &server).await };
    try_servers(&options.server, attempt).await
}

/// Tries a server, and the servers that its refusals name. `attempt` is called with `host:port`.
pub(crate) async fn try_servers<T, A>(
    first: &str,
    attempt: impl Fn(String) -> A,
) -> Result<T, ConnectError>
where
    A: Future<Output = Result<T, ConnectError>>,
{
    let mut named = NamedServers::default();
    let mut error = match attempt(first.to_owned()).await {
        Ok(joined) => return Ok(joined),
        Err(error) => error,
    };
    if let ConnectError::Join(refused) = &error {
        named.take(refused);
    }
    let deadline = Instant::now() + OTHERS_TIME;
    while let Some(server) = named.pop() {
        let next = match timeout_at(deadline, attempt(server)).await {
            Ok(Ok(joined)) => return Ok(joined),
            Ok(Err(next)) => next,
            Err(_) => return Err(error),
        };
        if let ConnectError::Join(refused) = &next {
            named.take(refused);
        }
        // The first server's reason says most, unless it only names others.
        if matches!(error, ConnectError::Join(JoinError::Refused { code: Some(Code::Moved), .. })) {
            error = next;
        }
    }
    Err(error)
}

/// Connects to one server, at the addresses of its name.
async fn connect_to(
    options: &ConnectOptions,
    config: &quinn::ClientConfig,
    server: &str,
) -> Result<Room, ConnectError> {
    let session_options = options.session_options(resolve(server).await?);
    let sockets = SessionSockets::New;
    let session = Session::join(&sockets, config.clone(), session_options.clone()).await?;
    let connector = RoomConnector {
        config: config.clone(),
        options: session_options,
        patience: options.patience,
        servers: ReturnServers::new(server, endpoints(&session.joined().entries)),
    };
    Room::open(connector, session).await
}

/// Returns the trust that the application chose, or else the pins in the token.
pub(crate) fn trusted(trust: Option<&Trust>, token: &str) -> Result<Trust, ConnectError> {
    let pinned = || Some(token::pins_in(token)).filter(|pins| !pins.is_empty()).map(Trust::Pins);
    trust.cloned().or_else(pinned).ok_or(ConnectError::NoTrust)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_in_a_log() {
        let options = ConnectOptions::new("h", "s3cret").room("r");
        let server = ResolvedServer { name: "h".into(), addresses: Vec::new() };
        assert!(!format!("{options:?}{:?}", options.session_options(server)).contains("s3cret"));
    }
}

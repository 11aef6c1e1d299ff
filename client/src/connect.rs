//! [`connect`]: connects to a server and joins a room.

use std::fmt;
use std::time::Duration;

use nucleus_client_core::room::{RoomClient, RoomJoin};
use nucleus_client_core::session::ClientOptions;
use nucleus_protocol::session::join_mode;

use crate::clock::ClientClock;
use crate::provider::TokenProvider;
use crate::room::{Room, RoomTask};
use crate::rooms::{Query, RoomOptions, RoomSelection};
use crate::session::{
    Capabilities, ConnectError, JoinError, LONGEST_PATIENCE, ReturnTicket, ServerNames,
    SessionDriver, SessionNetwork, SessionSockets, Trust, client_config, offered_suites,
};
use crate::token;

/// Address of a server on this machine.
pub const DEFAULT_SERVER: &str = "127.0.0.1:5055";
/// The room to join if neither the options nor the token name one.
const DEFAULT_ROOM: &str = "demo";
/// How long the client tries to resume a lost session, unless the application sets another limit.
/// Covers a restart of the server, or a walk through a building without Wi-Fi.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(120);

/// The options that rooms and social sessions have in common.
#[derive(Clone)]
pub(crate) struct ServerOptions {
    pub(crate) server: String,
    pub(crate) token: String,
    pub(crate) name: String,
    pub(crate) agent: String,
    pub(crate) trust: Option<Trust>,
    pub(crate) patience: Duration,
    pub(crate) provider: Option<TokenProvider>,
}

impl ServerOptions {
    pub(crate) fn new(server: String, token: &str) -> Self {
        Self {
            server: server.trim().to_owned(),
            token: token::trimmed(token),
            name: String::new(),
            agent: concat!("nucleus-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            trust: None,
            patience: DEFAULT_PATIENCE,
            provider: None,
        }
    }

    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience.min(LONGEST_PATIENCE);
    }

    /// Returns how the client reaches servers, with the trust that the application chose, or else
    /// with the pins in the token, or else with the public roots.
    ///
    /// # Errors
    /// [`ConnectError::Trust`].
    pub(crate) fn network(&self) -> Result<SessionNetwork, ConnectError> {
        let pinned = || Some(token::pins_in(&self.token)).filter(|pins| !pins.is_empty());
        let trust = self.trust.clone().or_else(|| pinned().map(Trust::Pins));
        Ok(SessionNetwork {
            sockets: SessionSockets::New,
            trust: client_config(&trust.unwrap_or(Trust::Public))?,
            names: ServerNames::default(),
        })
    }

    /// Gets the first token from the provider, if there is one and no token was given.
    ///
    /// # Errors
    /// [`JoinError::Options`] if the provider gives none within ten seconds.
    pub(crate) async fn provide_token(&mut self) -> Result<(), JoinError> {
        if let Some(provider) = self.provider.as_ref().filter(|_| self.token.is_empty()) {
            let provided = provider.first().await;
            self.token = provided.ok_or(JoinError::Options("the token provider gave no token"))?;
        }
        Ok(())
    }

    pub(crate) fn debug(&self, mut fields: fmt::DebugStruct<'_, '_>) -> fmt::Result {
        // The token is as secret as a password and must not reach a log.
        fields
            .field("server", &self.server)
            .field("name", &self.name)
            .field("trust", &self.trust)
            .finish_non_exhaustive()
    }
}

/// Options of [`connect`]: the server, the token, and which room to join.
///
/// By default the client joins the named room, and creates it if it does not exist.
#[derive(Clone)]
pub struct ConnectOptions {
    server: ServerOptions,
    room: Option<String>,
    selection: RoomSelection,
    /// Kept apart, so that the order of `capacity` and `options` does not matter.
    capacity: Option<u16>,
    capabilities: Capabilities,
    ticket: Option<ReturnTicket>,
}

impl ConnectOptions {
    /// Creates options for `server` with a join token.
    ///
    /// `server` is `host:port`; without a port, 5055 is used (see [`DEFAULT_SERVER`]). `token`
    /// comes from the application's backend or from `nucleus token`.
    pub fn new(server: impl Into<String>, token: impl Into<String>) -> Self {
        Self {
            server: ServerOptions::new(server.into(), &token.into()),
            room: None,
            selection: RoomSelection::default(),
            capacity: None,
            capabilities: Capabilities::default(),
            ticket: None,
        }
    }

    /// Sets the room's name, 1 to 128 bytes. Default: the room that the token names, else "demo".
    pub fn room(mut self, room: impl Into<String>) -> Self {
        self.room = Some(room.into());
        self
    }

    /// Sets the display name, at most 128 bytes. Default: the name in the token.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.server.name = name.into();
        self
    }

    /// Sets the room's capacity in peers, used if this join creates the room. Default: the capacity
    /// in [`Self::options`], else the server's.
    pub fn capacity(mut self, capacity: u16) -> Self {
        self.capacity = Some(capacity);
        self
    }

    /// Creates the room. If a room of that name exists, the join is refused with
    /// [`Code::RoomExists`](crate::Code::RoomExists).
    pub fn create(self) -> Self {
        self.mode(join_mode::CREATE, Query::new())
    }

    /// Joins an existing room and never creates one. If the room does not exist, the join is
    /// refused with [`Code::NoSuchRoom`](crate::Code::NoSuchRoom). The same holds when the client joins again after a lost
    /// session.
    pub fn join_only(self) -> Self {
        self.mode(join_mode::JOIN, Query::new())
    }

    /// Joins the fullest room that matches `query`. If none matches, the join is refused with
    /// [`Code::NoSuchRoom`](crate::Code::NoSuchRoom). [`Room::name`] returns the name of the room that was found.
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
    /// [`Code::Incompatible`](crate::Code::Incompatible). Default: the empty version, which differs from every other.
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

    /// Reserves seats in the room for these users, at most 16 in all calls, for one minute. Each user
    /// must still join.
    pub fn expect_users<U: Into<String>>(mut self, users: impl IntoIterator<Item = U>) -> Self {
        self.selection.expected.extend(users.into_iter().map(Into::into));
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
        self.server.agent = agent.into();
        self
    }

    /// Sets which server certificate to trust. Default: the certificate pins in the token, which
    /// development servers put there; without pins, [`Trust::Public`]. The pins of fresh tokens are
    /// trusted too, those of the newest two. So take tokens only from where you trust: they decide
    /// which server this client talks to.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.server.trust = Some(trust);
        self
    }

    /// Sets how long the client tries to resume a lost session before it closes the room. Zero
    /// closes the room as soon as the session is lost. Default: two minutes.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.server.set_patience(patience);
        self
    }

    /// Sets where fresh tokens come from, for example a request to the application's backend. The
    /// client asks before the ticket of its session ends, and when a server refuses a token during
    /// a return; also for the first token, if an empty one was given. `None` means that there is no
    /// token now: the client asks again after a pause (in mid-session a minute), during a return as long
    /// as its patience lasts. A provider that takes longer than 30 s counts as without a token. The
    /// first token must come within ten seconds.
    /// Default: the application is asked with [`RoomEvent::TokenWanted`](crate::RoomEvent::TokenWanted).
    pub fn token_provider<F>(mut self, provide: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Option<String>> + Send + 'static,
    {
        self.server.provider = Some(TokenProvider::new(provide));
        self
    }

    /// Resumes the session of a ticket that [`Room::ticket`] exported, for example before the
    /// process was started again. The room is the ticket's, whatever the other options say. If the
    /// server no longer has the participant, the client joins the room as a new peer.
    /// [`RoomEvent::Resumed`](crate::RoomEvent::Resumed) tells that the session was resumed.
    ///
    /// A token is still needed. A ticket is as secret as a password: whoever has it resumes the
    /// session, as the ticket's user. Use a ticket once: the numbers of this process's messages
    /// continue those in the ticket, and the others drop messages with numbers that they know for
    /// up to five seconds. See [`Room::ticket`] for how old a ticket may be.
    pub fn ticket(mut self, ticket: ReturnTicket) -> Self {
        self.ticket = Some(ticket);
        self
    }

    /// Sets what this client can do: whether it has a realtime port, how large its datagrams may
    /// be, and which features it offers. Default: everything.
    pub fn capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    fn join(&self) -> RoomJoin {
        let named = self.room.clone();
        let room = if self.selection.matches() {
            named.unwrap_or_default()
        } else {
            let from_token = || token::room_in(&self.server.token);
            named.or_else(from_token).unwrap_or_else(|| DEFAULT_ROOM.to_owned())
        };
        let mut selection = self.selection.clone();
        if let Some(capacity) = self.capacity {
            selection.options = selection.options.capacity(capacity);
        }
        let (room, selection) = match &self.ticket {
            Some(ticket) => (ticket.room.clone(), selection.for_rejoin()),
            None => (room, selection),
        };
        RoomJoin {
            token: self.server.token.clone(),
            room,
            name: self.server.name.clone(),
            selection,
            agent: self.server.agent.clone(),
            capabilities: self.capabilities,
            suites: offered_suites(),
            ticket: self.ticket.clone(),
        }
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("ConnectOptions");
        fields.field("room", &self.room);
        self.server.debug(fields)
    }
}

/// Connects to a server and joins a room.
///
/// Tries the addresses of the server's name at the same time, a quarter of a second apart, for at
/// most 10 s. If the server refuses the join and names other servers, tries these, for at most 30 s.
/// Must be called inside a tokio runtime.
///
/// # Errors
/// * [`ConnectError::Trust`] if the trusted certificates are unusable.
/// * [`ConnectError::Join`] if the server has no address, cannot be reached, did not answer or
///   refused the join, or if the token provider gave no first token.
/// * [`ConnectError::Socket`] if the socket of the realtime plane cannot be opened.
/// * [`ConnectError::Link`] if the server's parameters for the realtime plane are unusable.
pub async fn connect(mut options: ConnectOptions) -> Result<Room, ConnectError> {
    options.server.provide_token().await?;
    let (join, network) = (options.join(), options.server.network()?);
    join.check().map_err(JoinError::Options)?;
    let clock = ClientClock::start();
    let ServerOptions { server, patience, provider, trust, .. } = options.server;
    let config = ClientOptions {
        has_token_provider: provider.is_some(),
        ..ClientOptions::new(patience, fastrand::u64(..))
    };
    let sent = options.ticket.map(|ticket| ticket.sent).unwrap_or_default();
    let client = RoomClient::new(clock.now(), &server, join, config);
    let mut driver = SessionDriver::new(clock, client, network);
    if trust.is_none() {
        driver = driver.trust_tokens();
    }
    RoomTask::new(driver, provider, sent).join().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_in_a_log() {
        let options = ConnectOptions::new("h", "s3cret").room("r");
        assert!(!format!("{options:?}{:?}", options.join()).contains("s3cret"));
    }

    #[test]
    fn no_option_loses_another() {
        let room = RoomOptions::new().listed(["map"]);
        let first = ConnectOptions::new("h", "t").capacity(7).options(room.clone());
        let second = ConnectOptions::new("h", "t").options(room).capacity(7);
        let sent = |options: &ConnectOptions| options.join().selection.into_join().options;
        assert_eq!(sent(&first), sent(&second));
        let (capacity, listed) = (sent(&first).capacity, sent(&first).listed);
        assert_eq!((capacity, listed), (7, vec![b"map".to_vec()]));
    }
}

//! From a server's name and a token into the hall.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::task::SocialConnector;
use super::{Social, Status};
use crate::connect::{DEFAULT_PATIENCE, host_and_port, resolve, trusted, unresolved};
use crate::realtime::driver::unspecified;
use crate::session::{
    ConnectError, JoinError, SocialSession, SocialSessionOptions, Trust, client_config,
};

/// What [`enter`] needs to know.
#[derive(Clone)]
pub struct EnterOptions {
    server: String,
    token: String,
    name: String,
    status: Status,
    agent: String,
    trust: Option<Trust>,
    patience: Duration,
}

impl EnterOptions {
    /// `server` is `host:port` (port 5055 when left out), `token` the join token from the
    /// application's backend or from `nucleus token`. Which rooms it admits to does not matter here.
    pub fn new(server: impl Into<String>, token: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            token: token.into(),
            name: String::new(),
            status: Status::Online,
            agent: concat!("nucleus-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            trust: None,
            patience: DEFAULT_PATIENCE,
        }
    }

    /// The name the others see, at most 128 bytes. Default: the token's.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The status to begin with. Default: online.
    pub fn status(mut self, status: Status) -> Self {
        self.status = status;
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

    /// How long a lost session is tried again before the hall is closed; zero closes it at once.
    /// Default: two minutes.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn at(&self, server: SocketAddr, server_name: &str) -> SocialSessionOptions {
        SocialSessionOptions {
            server,
            server_name: server_name.to_owned(),
            token: self.token.clone(),
            name: self.name.clone(),
            status: self.status.to_wire(),
            agent: self.agent.clone(),
        }
    }
}

impl fmt::Debug for EnterOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A token is as good as a password: it reaches no log.
        f.debug_struct("EnterOptions")
            .field("server", &self.server)
            .field("name", &self.name)
            .field("trust", &self.trust)
            .finish_non_exhaustive()
    }
}

/// Enters the hall of the token's tenant and product; at most 10 s for each address of the server's name.
/// Must run inside tokio.
pub async fn enter(options: EnterOptions) -> Result<Social, ConnectError> {
    let config = client_config(&trusted(options.trust.as_ref(), &options.token)?)?;
    let (host, port) = host_and_port(&options.server);
    let mut last = None;
    for address in resolve(&options.server, host, port).await? {
        let endpoint = quinn::Endpoint::client(unspecified(address))?;
        let at = options.at(address, host);
        match SocialSession::enter(&endpoint, config.clone(), at.clone()).await {
            Ok(session) => {
                let connector =
                    SocialConnector { endpoint, config, options: at, patience: options.patience };
                return Ok(Social::open(connector, session));
            }
            // Another address of the same server may be reachable; it would not answer otherwise.
            Err(error @ (JoinError::TimedOut { .. } | JoinError::Connect(_))) => last = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    Err(last.map_or_else(|| unresolved(&options.server, "no address"), ConnectError::from))
}

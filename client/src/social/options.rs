//! [`enter`]: connects to a server and opens a social session.

use std::fmt;
use std::time::Duration;

use super::task::SocialConnector;
use super::{Social, Status};
use crate::address::resolve;
use crate::connect::{DEFAULT_PATIENCE, trusted, try_servers};
use crate::servers::ReturnServers;
use crate::session::{
    ConnectError, LONGEST_PATIENCE, ResolvedServer, SessionSockets, SocialSession,
    SocialSessionOptions, Trust, client_config, endpoints,
};
use crate::token;

/// Options of [`enter`]: the server, the token, and how other users see this device.
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
    /// Creates options for `server` with a join token.
    ///
    /// `server` is `host:port`; without a port, 5055 is used. `token` comes from the application's
    /// backend or from `nucleus token`. The room in the token has no effect here.
    pub fn new(server: impl Into<String>, token: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            token: token::trimmed(&token.into()),
            name: String::new(),
            status: Status::Online,
            agent: concat!("nucleus-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            trust: None,
            patience: DEFAULT_PATIENCE,
        }
    }

    /// Sets the display name, at most 128 bytes. Default: the name in the token.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the initial status. Default: online.
    pub fn status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// Sets the name and version of the application as the server's operator sees them, at most
    /// 128 bytes. Default: the name and version of this crate.
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = agent.into();
        self
    }

    /// Sets which server certificate to trust. Default: the certificate pin in the token.
    /// Development servers put a pin into their tokens.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = Some(trust);
        self
    }

    /// Sets how long the client tries to resume a lost session before it closes the social session.
    /// Zero closes the social session as soon as its connection is lost. Default: two minutes.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience.min(LONGEST_PATIENCE);
        self
    }

    fn session_options(&self, server: ResolvedServer) -> SocialSessionOptions {
        SocialSessionOptions {
            server,
            token: self.token.clone(),
            name: self.name.clone(),
            status: self.status.to_wire(),
            agent: self.agent.clone(),
        }
    }
}

impl fmt::Debug for EnterOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is as secret as a password and must not reach a log.
        f.debug_struct("EnterOptions")
            .field("server", &self.server)
            .field("name", &self.name)
            .field("trust", &self.trust)
            .finish_non_exhaustive()
    }
}

/// Connects to a server and opens a social session for the tenant, product and user of the token.
///
/// Tries the addresses of the server's name at the same time, a quarter of a second apart. If the server refuses
/// and names other servers, tries these. Must be called inside a tokio runtime.
///
/// # Errors
/// * [`ConnectError::NoTrust`] or [`ConnectError::Trust`] if no usable certificate is trusted.
/// * [`ConnectError::Resolve`] if the server's name has no address.
/// * [`ConnectError::Socket`] if a local UDP socket cannot be opened.
/// * [`ConnectError::Join`] if the server did not answer or refused the session.
pub async fn enter(options: EnterOptions) -> Result<Social, ConnectError> {
    let config = client_config(&trusted(options.trust.as_ref(), &options.token)?)?;
    let (options, config) = (&options, &config);
    let attempt = |server: String| async move { enter_at(options, config, &server).await };
    try_servers(&options.server, attempt).await
}

/// Enters at one server, at the addresses of its name.
async fn enter_at(
    options: &EnterOptions,
    config: &quinn::ClientConfig,
    server: &str,
) -> Result<Social, ConnectError> {
    let session_options = options.session_options(resolve(server).await?);
    let sockets = SessionSockets::New;
    let session = SocialSession::enter(&sockets, config.clone(), session_options.clone()).await?;
    let connector = SocialConnector {
        config: config.clone(),
        options: session_options,
        patience: options.patience,
        servers: ReturnServers::new(server, endpoints(&session.entered().entries)),
    };
    Ok(Social::open(connector, session))
}

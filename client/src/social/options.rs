//! [`enter`]: connects to a server and opens a social session.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::task::SocialConnector;
use super::{Social, Status};
use crate::address::{host_and_port, resolve, unresolved};
use crate::connect::{DEFAULT_PATIENCE, trusted, try_servers};
use crate::realtime::driver::unspecified;
use crate::servers::ReturnServers;
use crate::session::{
    ConnectError, JoinError, LONGEST_PATIENCE, SocialSession, SocialSessionOptions, Trust,
    client_config, endpoints,
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

    fn session_options(&self, server: SocketAddr, server_name: &str) -> SocialSessionOptions {
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
/// Tries at most two addresses of the server's name, each for at most 10 s. If the server refuses
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
    let (host, port) = host_and_port(server);
    let mut last = None;
    for address in resolve(server, host, port).await? {
        let endpoint = quinn::Endpoint::client(unspecified(address))?;
        let session_options = options.session_options(address, host);
        match SocialSession::enter(&endpoint, config.clone(), session_options.clone()).await {
            Ok(session) => {
                let connector = SocialConnector {
                    endpoint,
                    config: config.clone(),
                    options: session_options,
                    patience: options.patience,
                    servers: ReturnServers::new(server, endpoints(&session.entered().entries)),
                };
                return Ok(Social::open(connector, session));
            }
            // Another address may be reachable. Any other error would be the same at each address.
            Err(error @ (JoinError::TimedOut { .. } | JoinError::Connect(_))) => last = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    Err(last.map_or_else(|| unresolved(server, "no address"), ConnectError::from))
}

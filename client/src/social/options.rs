//! [`enter`]: connects to a server and opens a social session.

use std::fmt;
use std::time::Duration;

use nucleus_client_core::session::{ClientOptions, JoinError};
use nucleus_client_core::social::{SocialClient, SocialEnter, Status};

use super::Social;
use super::task::SocialTask;
use crate::clock::ClientClock;
use crate::connect::ServerOptions;
use crate::provider::TokenProvider;
use crate::session::{ConnectError, SessionDriver, Trust};

/// Options of [`enter`]: the server, the token, and how other users see this device.
#[derive(Clone)]
pub struct EnterOptions {
    server: ServerOptions,
    status: Status,
}

impl EnterOptions {
    /// Creates options for `server` with a join token.
    ///
    /// `server` is `host:port`; without a port, 5055 is used. `token` comes from the application's
    /// backend or from `nucleus token`. The room in the token has no effect here.
    pub fn new(server: impl Into<String>, token: impl Into<String>) -> Self {
        Self { server: ServerOptions::new(server.into(), &token.into()), status: Status::Online }
    }

    /// Sets the display name, at most 128 bytes. Default: the name in the token.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.server.name = name.into();
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
        self.server.agent = agent.into();
        self
    }

    /// Sets which server certificate to trust, as
    /// [`ConnectOptions::trust`](crate::ConnectOptions::trust) does.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.server.trust = Some(trust);
        self
    }

    /// Sets how long the client tries to resume a lost session before it closes the social session.
    /// Zero closes the social session as soon as its connection is lost. Default: two minutes.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.server.set_patience(patience);
        self
    }

    /// Sets where fresh tokens come from. The client asks when a server refuses the token during a
    /// return; also for the first token, if an empty one was given. `None` means that there is no
    /// token now.
    pub fn token_provider<F>(mut self, provide: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Option<String>> + Send + 'static,
    {
        self.server.provider = Some(TokenProvider::new(provide));
        self
    }
}

impl fmt::Debug for EnterOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.server.debug(f.debug_struct("EnterOptions"))
    }
}

/// Connects to a server and opens a social session for the tenant, product and user of the token.
///
/// Tries the addresses of the server's name at the same time, a quarter of a second apart. If the
/// server refuses and names other servers, tries these. Must be called inside a tokio runtime.
///
/// # Errors
/// * [`ConnectError::Trust`] if the trusted certificates are unusable.
/// * [`ConnectError::Join`] if the server has no address, cannot be reached, did not answer or
///   refused the session.
pub async fn enter(mut options: EnterOptions) -> Result<Social, ConnectError> {
    options.server.provide_token().await?;
    let network = options.server.network()?;
    let EnterOptions {
        server: ServerOptions { server, token, name, agent, patience, provider, trust },
        status,
    } = options;
    let enter = SocialEnter { token, name, status, agent };
    enter.check().map_err(JoinError::Options)?;
    let clock = ClientClock::start();
    let config = ClientOptions {
        has_token_provider: provider.is_some(),
        ..ClientOptions::new(patience, fastrand::u64(..))
    };
    let client = SocialClient::new(clock.now(), &server, enter, config);
    let mut driver = SessionDriver::new(clock, client, network);
    if trust.is_none() {
        driver = driver.trust_tokens();
    }
    SocialTask { driver, provider, endpoint: None }.enter().await
}

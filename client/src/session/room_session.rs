//! [`RoomSession`]: a client in a room without the realtime plane.

use aws_lc_rs::rand;
use nucleus_client_core::event::RoomEvent;
use nucleus_client_core::room::{GrantedLink, RoomClient, RoomJoin, RoomOutput};
use nucleus_client_core::session::{ClientOptions, JoinError, LinkError};
use nucleus_protocol::link::LinkConfig;
use nucleus_protocol::session::EXPORTER_LABEL;
use zeroize::Zeroizing;

use super::driver::{DriverStep, SessionDriver, SessionNetwork};
use super::handle::ClientHandle;
use crate::clock::ClientClock;

/// A client that has joined a room. Its session lives as long as the owner calls [`Self::next`].
pub struct RoomSession {
    driver: SessionDriver<RoomClient>,
    link: Option<Box<GrantedLink>>,
}

/// What has happened in a [`RoomSession`].
pub enum RoomSessionStep {
    /// An event for the application.
    Event(RoomEvent),
    /// There is a new session, whose link [`RoomSession::link_config`] returns.
    Link {
        /// Whether the room instance is the same as before.
        same_room: bool,
    },
    /// Something else: the roster or the state may have changed, or a request has a result.
    Progress,
    /// The client is closed for good.
    Closed,
}

impl RoomSession {
    /// Joins a room at `server`, `host:port`.
    ///
    /// # Errors
    /// [`JoinError`] says whether the options, the network, the certificate, the server's answer or
    /// a refusal was the reason.
    pub async fn join(
        network: SessionNetwork,
        server: &str,
        options: RoomJoin,
        config: ClientOptions,
    ) -> Result<Self, JoinError> {
        options.check().map_err(JoinError::Options)?;
        let clock = ClientClock::start();
        let client = RoomClient::new(clock.now(), server, options, config);
        let mut session = Self { driver: SessionDriver::new(clock, client, network), link: None };
        loop {
            if let RoomSessionStep::Closed = session.step().await {
                let failure = session.client().read().take_failure();
                return Err(failure.unwrap_or(JoinError::Options("the client was closed")));
            }
            if session.client().read().has_joined() && session.link.is_some() {
                return Ok(session);
            }
        }
    }

    /// Waits for what happens next. Cancel-safe.
    pub async fn next(&mut self) -> RoomSessionStep {
        if let Some(event) = self.client().take_event() {
            return RoomSessionStep::Event(event);
        }
        self.step().await
    }

    async fn step(&mut self) -> RoomSessionStep {
        match self.driver.step().await {
            DriverStep::Output(RoomOutput::Link { link, same_room }) => {
                self.link = Some(link);
                RoomSessionStep::Link { same_room }
            }
            DriverStep::Output(_) | DriverStep::Progress => RoomSessionStep::Progress,
            DriverStep::Closed => RoomSessionStep::Closed,
        }
    }

    /// Returns the client, which other tasks may use too.
    pub fn client(&self) -> &ClientHandle<RoomClient> {
        self.driver.client()
    }

    /// Returns the driver, to lose connections or change sockets.
    pub fn driver(&mut self) -> &mut SessionDriver<RoomClient> {
        &mut self.driver
    }

    /// Returns the newest connection; `None` while there is no session.
    pub fn connection(&self) -> Option<&quinn::Connection> {
        self.driver.connection()
    }

    /// Returns this client's slot in its room.
    pub fn slot(&self) -> u16 {
        self.link.as_ref().map_or(0, |link| link.slot)
    }

    /// Returns the configuration of the realtime link that the server granted. Use it for one link
    /// only: two links with the same grant would use the same packet numbers with the same key.
    ///
    /// # Errors
    /// [`LinkError`] if the grant is unusable, or if no key material can be exported.
    pub fn link_config(&self) -> Result<LinkConfig, LinkError> {
        let link = self.link.as_ref().ok_or(LinkError::Keys)?;
        link_config(link, self.connection().ok_or(LinkError::Keys)?)
    }

    /// Leaves the room, and waits until the client is closed. Takes at most 2 s.
    pub async fn leave(&mut self) {
        self.client().change(RoomClient::leave);
        while !matches!(self.step().await, RoomSessionStep::Closed) {}
    }
}

/// Returns the configuration of a granted link, with the keying material of this connection.
///
/// # Errors
/// [`LinkError`] if the grant is unusable, or if no key material can be exported.
pub fn link_config(
    link: &GrantedLink,
    connection: &quinn::Connection,
) -> Result<LinkConfig, LinkError> {
    let mut seed = [0; 32];
    rand::fill(&mut seed).map_err(|_| LinkError::Keys)?;
    let exported = match link.exporter_context() {
        None => None,
        Some(context) => {
            let mut out = Zeroizing::new([0; 32]);
            connection
                .export_keying_material(out.as_mut_slice(), EXPORTER_LABEL, &context)
                .map_err(|_| LinkError::Keys)?;
            Some(out)
        }
    };
    link.config(connection.remote_address(), seed, exported.as_deref())
}

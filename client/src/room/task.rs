//! The room's task: drives the session, and passes its links and peers to the realtime plane.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nucleus_client_core::room::{GrantedLink, RoomClient, RoomOutput};
use nucleus_client_core::session::JoinError;
use nucleus_protocol::link::Link;
use tokio::sync::mpsc;

use super::Room;
use crate::provider::TokenProvider;
use crate::realtime::driver::{Driver, DriverShared, NewConnection};
use crate::realtime::{Realtime, SentSequences};
use crate::session::{ConnectError, CurrentEndpoint, DriverStep, SessionDriver, link_config};

/// New connections that may wait for the realtime task, which takes them without delay.
const NEW_CONNECTIONS: usize = 4;

/// The state of the room's task.
pub(crate) struct RoomTask {
    driver: SessionDriver<RoomClient>,
    provider: Option<TokenProvider>,
    /// What an earlier process has sent in the session that the first join resumes.
    sent: SentSequences,
    /// The realtime plane; `None` before the first session.
    realtime: Option<RealtimePart>,
}

/// The task's end of the realtime plane.
struct RealtimePart {
    shared: Arc<DriverShared>,
    endpoint: CurrentEndpoint,
    /// The realtime task ends when this is dropped.
    connections: mpsc::Sender<NewConnection>,
}

impl RoomTask {
    pub(crate) fn new(
        driver: SessionDriver<RoomClient>,
        provider: Option<TokenProvider>,
        sent: SentSequences,
    ) -> Self {
        Self { driver, provider, sent, realtime: None }
    }

    /// Drives the client until it has joined, then in a task of its own.
    pub(crate) async fn join(mut self) -> Result<Room, ConnectError> {
        loop {
            let step = self.driver.step().await;
            match step {
                DriverStep::Closed => {
                    let failure = self.driver.client().read().take_failure();
                    let closed = JoinError::Connection("the session was closed".to_owned());
                    return Err(failure.unwrap_or(closed).into());
                }
                DriverStep::Output(output) => self.carry_out(output).await?,
                // All outputs of the join are carried out.
                DriverStep::Progress => {}
            }
            if let Some(RealtimePart { shared, endpoint, .. }) = &self.realtime {
                let client = self.driver.client().clone();
                let name = client.read().room_name().to_owned();
                let room = Room {
                    name,
                    endpoint: endpoint.clone(),
                    client,
                    realtime: shared.clone(),
                    self_muted: AtomicBool::new(false),
                    is_over: AtomicBool::new(false),
                };
                tokio::spawn(self.run());
                return Ok(room);
            }
        }
    }

    async fn run(mut self) {
        loop {
            match self.driver.step().await {
                DriverStep::Output(output) => {
                    if let Err(error) = self.carry_out(output).await {
                        let client = self.driver.client();
                        client.change(|client, now| client.fail_link(now, error.to_string()));
                    }
                }
                DriverStep::Progress => {}
                DriverStep::Closed => return,
            }
        }
    }

    async fn carry_out(&mut self, output: RoomOutput) -> Result<(), ConnectError> {
        match output {
            RoomOutput::Link { link, same_room } => self.relink(&link, same_room).await?,
            RoomOutput::LinkLost => self.with_realtime(|realtime, _| realtime.disconnect()),
            RoomOutput::PeerJoined(slot, peer) => {
                self.with_realtime(|realtime, now| realtime.add_peer(now, slot, peer));
            }
            RoomOutput::PeerLeft(slot, peer) => {
                self.with_realtime(|realtime, _| realtime.remove_peer(slot, peer));
            }
            RoomOutput::TokenWanted => {
                if let Some(provider) = &self.provider {
                    let client = self.driver.client().clone();
                    provider.provide(move |token| {
                        client.change(|client, now| client.take_token(now, token));
                    });
                }
            }
        }
        Ok(())
    }

    fn with_realtime(&self, change: impl FnOnce(&mut Realtime, nucleus_protocol::time::Time)) {
        if let Some(RealtimePart { shared, .. }) = &self.realtime {
            shared.change(change);
        }
    }

    async fn relink(&mut self, link: &GrantedLink, same_room: bool) -> Result<(), ConnectError> {
        let (Some(connection), Some(endpoint)) = (self.driver.connection(), self.driver.endpoint())
        else {
            // The session is lost again, and its end is on the way.
            return Ok(());
        };
        let config = link_config(link, connection)?;
        let server = connection.remote_address();
        let remote = config.path.map_or(server, |path| path.remote);
        let others = link.other_paths(server, remote);
        let clock_of_server = link.clock();
        let open_link = |now| {
            let mut link = Link::new(now, config);
            others.into_iter().for_each(|path| link.add_path(path));
            link
        };
        let connection = NewConnection { connection: connection.clone(), remote };
        let clock = self.driver.client().clock();
        if let Some(RealtimePart { shared, endpoint: current, connections }) = &self.realtime {
            current.set(endpoint.clone());
            shared.relink(&connection.connection, |realtime, now| {
                realtime.relink(open_link(now), clock_of_server, same_room);
            });
            // Fails only if the realtime task has ended, which it does not before this one.
            let _ = connections.send(connection).await;
            return Ok(());
        }
        let current = CurrentEndpoint::new(endpoint.clone());
        let realtime = Realtime::new(open_link(clock.now()), clock_of_server, &self.sent);
        let shared = Arc::new(DriverShared::new(clock, realtime, &connection.connection));
        let driver = Driver::open(connection, current.clone(), shared.clone()).await?;
        let (connections, new_connections) = mpsc::channel(NEW_CONNECTIONS);
        tokio::spawn(driver.run(new_connections));
        self.realtime = Some(RealtimePart { shared, endpoint: current, connections });
        Ok(())
    }
}

//! Clients without the realtime plane, as load generators use them.

use std::time::Duration;

use nucleus_client::session::{
    Capabilities, ClientHandle, ClientOptions, JoinError, ResolvedServer, ReturnTicket, RoomClient,
    RoomJoin, RoomSession, RoomSessionStep, SendError, ServerNames, SessionNetwork, SessionSockets,
    To, client_config, offered_suites,
};
use nucleus_client::{RoomEvent, RoomSelection};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::support::TestServer;

/// How a test joins the lobby.
pub(crate) struct LobbyJoin {
    pub(crate) token: String,
    pub(crate) ticket: Option<ReturnTicket>,
    pub(crate) capabilities: Capabilities,
    pub(crate) sockets: SessionSockets,
    pub(crate) patience: Duration,
}

impl LobbyJoin {
    /// Joins with `token`, and does not come back after a loss.
    pub(crate) fn new(token: &str) -> Self {
        Self {
            token: token.to_owned(),
            ticket: None,
            capabilities: Capabilities::default(),
            sockets: SessionSockets::New,
            patience: Duration::ZERO,
        }
    }

    /// Joins.
    pub(crate) async fn session(self, server: &TestServer) -> Result<RoomSession, JoinError> {
        let address = server.on.session;
        let resolved = ResolvedServer { name: "localhost".into(), addresses: vec![address] };
        let network = SessionNetwork {
            sockets: self.sockets,
            trust: client_config(&server.trust()).unwrap(),
            names: ServerNames::fixed(resolved),
        };
        let options = RoomJoin {
            token: self.token,
            room: "lobby".into(),
            name: String::new(),
            selection: RoomSelection::default(),
            agent: "test".into(),
            capabilities: self.capabilities,
            suites: offered_suites(),
            ticket: self.ticket,
        };
        let config = ClientOptions::new(self.patience, fastrand::u64(..));
        RoomSession::join(network, &address.to_string(), options, config).await
    }

    /// Joins, and drives the session in a task.
    pub(crate) async fn driven(self, server: &TestServer) -> DrivenSession {
        DrivenSession::start(self.session(server).await.unwrap())
    }
}

/// A session that a task drives. Dropping it drops the session.
pub(crate) struct DrivenSession {
    pub(crate) client: ClientHandle<RoomClient>,
    events: mpsc::UnboundedReceiver<RoomEvent>,
    /// Each message loses the connection.
    loser: mpsc::UnboundedSender<()>,
    /// The task ends when this is dropped.
    stop: oneshot::Sender<()>,
    task: JoinHandle<RoomSession>,
}

impl DrivenSession {
    pub(crate) fn start(mut session: RoomSession) -> Self {
        let client = session.client().clone();
        let (event, events) = mpsc::unbounded_channel();
        let (loser, mut losses) = mpsc::unbounded_channel();
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = &mut stopped => return session,
                    Some(()) = losses.recv() => session.driver().lose_connection(),
                    step = session.next() => match step {
                        // Nobody may wait for the event.
                        RoomSessionStep::Event(next) => _ = event.send(next),
                        RoomSessionStep::Link { .. } | RoomSessionStep::Progress => {}
                        RoomSessionStep::Closed => return session,
                    }
                }
            }
        });
        Self { client, events, loser, stop, task }
    }

    /// Stops to drive the session, which stays open. Nothing is read or written any more.
    pub(crate) async fn pause(self) -> RoomSession {
        drop(self.stop);
        self.task.await.unwrap()
    }

    /// Loses the connection.
    pub(crate) fn lose_connection(&self) {
        self.loser.send(()).unwrap();
    }

    /// Leaves the room.
    pub(crate) async fn leave(self) {
        self.pause().await.leave().await;
    }

    /// Waits for the first event that `wanted` accepts. Panics after ten seconds.
    pub(crate) async fn until<T>(&mut self, mut wanted: impl FnMut(RoomEvent) -> Option<T>) -> T {
        let found = async {
            loop {
                let event = self.events.recv().await.expect("the session has ended");
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), found).await.expect("no such event in 10 s")
    }

    /// Waits for the next reliable event.
    pub(crate) async fn next_event(&mut self) -> Vec<u8> {
        self.until(|event| match event {
            RoomEvent::Event { payload, .. } => Some(payload),
            _ => None,
        })
        .await
    }
}

/// Sends an event to the other peers, as soon as the client takes it.
pub(crate) async fn send_event(client: &ClientHandle<RoomClient>, payload: &[u8]) {
    let send = |client: &mut RoomClient, now| {
        let sent = client.send_event(now, To::Others, 1, payload);
        (sent != Err(SendError::WouldBlock)).then_some(sent)
    };
    client.wait_for(send).await.unwrap();
}

/// Sends a bulk message to the other peers, as soon as the client takes it.
pub(crate) async fn send_bulk(client: &ClientHandle<RoomClient>, payload: &[u8]) {
    let send = |client: &mut RoomClient, now| {
        let sent = client.send_bulk(now, To::Others, 5, payload);
        (sent != Err(SendError::WouldBlock)).then_some(sent)
    };
    client.wait_for(send).await.unwrap();
}

//! The task of the social session: passes events to the application, and resumes a lost session.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use nucleus_protocol::session::Code;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::event::SocialEvent;
use super::requests::SocialRequests;
use crate::address::next_address;
use crate::realtime::driver::unspecified;
use crate::servers::{NextTry, ReturnServers};
use crate::session::{
    Backoff, JoinError, SocialMessage, SocialReceiver, SocialSession, SocialSessionOptions,
    endpoints, may_reconnect,
};

/// Number of waiting events at which the task stops reading the session. About a minute of changes
/// of many watched users.
const MAX_BACKLOG: usize = 1_024;

/// Everything that the client needs to open the social session, also after the session was lost.
pub(super) struct SocialConnector {
    pub(super) endpoint: quinn::Endpoint,
    pub(super) config: quinn::ClientConfig,
    pub(super) options: SocialSessionOptions,
    /// How long the client tries to resume a lost session.
    pub(super) patience: Duration,
    /// The servers to which the client comes back.
    pub(super) servers: ReturnServers,
}

/// The state of the task.
pub(super) struct SocialTask {
    pub(super) connector: SocialConnector,
    pub(super) requests: Arc<SocialRequests>,
    pub(super) receiver: SocialReceiver,
    pub(super) events: mpsc::Sender<SocialEvent>,
    pub(super) backlog: VecDeque<SocialEvent>,
}

/// The task must end: the application dropped its [`Social`](super::Social), or the session is
/// closed for good.
struct SocialEnded;

impl SocialTask {
    /// Runs until the session is closed for good or the application drops its
    /// [`Social`](super::Social).
    pub(super) async fn run(mut self) {
        while self.step().await.is_ok() {}
        self.requests.close();
    }

    async fn step(&mut self) -> Result<(), SocialEnded> {
        let full = self.backlog.len() >= MAX_BACKLOG;
        self.requests.set_behind(full);
        let message = tokio::select! {
            biased;
            permit = self.events.reserve(), if !self.backlog.is_empty() => {
                let permit = permit.map_err(|_| SocialEnded)?;
                if let Some(event) = self.backlog.pop_front() {
                    permit.send(event);
                }
                return Ok(());
            }
            message = self.receiver.next(), if !full => message,
        };
        self.handle(message).await
    }

    async fn handle(&mut self, message: SocialMessage) -> Result<(), SocialEnded> {
        let event = match message {
            SocialMessage::CallReply(reply) => {
                self.requests.state().on_reply(&reply);
                None
            }
            SocialMessage::UserList(users) => self.requests.state().on_user_list(users),
            SocialMessage::Rooms(list) => self.requests.state().on_room_list(list),
            SocialMessage::CallUpdate(update) => {
                self.backlog.extend(self.requests.state().on_call_update(update));
                return Ok(());
            }
            SocialMessage::Closed { code, text } => return self.interrupted(code, text).await,
        };
        self.backlog.extend(event);
        Ok(())
    }

    async fn interrupted(&mut self, code: Option<Code>, text: String) -> Result<(), SocialEnded> {
        self.requests.interrupt();
        let closed = self.requests.state().is_closed();
        if closed || !may_reconnect(code) || self.connector.patience.is_zero() {
            return self.close(code, text).await;
        }
        self.deliver(SocialEvent::Interrupted { code, text }).await?;
        let (events, requests) = (self.events.clone(), self.requests.clone());
        let session = tokio::select! {
            session = self.reenter() => session,
            () = events.closed() => return Err(SocialEnded),
            () = requests.closing() => return self.left().await,
        };
        match session {
            Ok((session, status)) => self.resume_with(session, status).await,
            Err(error) => {
                let code = if let JoinError::Refused { code, .. } = error { code } else { None };
                self.close(code, error.to_string()).await
            }
        }
    }

    /// Opens a session again until an attempt succeeds, [`SocialConnector::patience`] has passed,
    /// or another attempt cannot help. Returns the session with the status that it was opened with.
    async fn reenter(&mut self) -> Result<(SocialSession, u8), JoinError> {
        let deadline = Instant::now() + self.connector.patience;
        let mut backoff = Backoff::default();
        let mut next = NextTry::AfterPause(Duration::ZERO);
        loop {
            if let NextTry::AfterPause(least) = next {
                sleep(backoff.pause(Some(least), fastrand::u64(..))).await;
            }
            let connector = &mut self.connector;
            // Without an address, the one before is tried again: a name service may fail too.
            if let Some((server, name)) = next_address(&mut connector.servers).await {
                (connector.options.server, connector.options.server_name) = (server, name);
            }
            // While a device sleeps, its operating system may close the socket.
            if let Ok(socket) = std::net::UdpSocket::bind(unspecified(connector.options.server)) {
                // If this fails, the old socket stays in use.
                let _ = connector.endpoint.rebind(socket);
            }
            let mut options = connector.options.clone();
            let status = self.requests.state().status.to_wire();
            options.status = status;
            let entering =
                SocialSession::enter(&connector.endpoint, connector.config.clone(), options);
            let error = match entering.await {
                Ok(session) => return Ok((session, status)),
                Err(error) => error,
            };
            tracing::debug!(%error, "the session is not resumed yet");
            next = connector.servers.failed(&error);
            if next == NextTry::Never || Instant::now() >= deadline {
                return Err(error);
            }
        }
    }

    /// Continues with a new session in place of the lost one.
    async fn resume_with(&mut self, session: SocialSession, status: u8) -> Result<(), SocialEnded> {
        let entered = session.entered().clone();
        self.connector.servers.joined(endpoints(&entered.entries));
        let (sender, receiver) = session.split();
        self.receiver = receiver;
        let ended = self.requests.state().attach(sender.clone(), &entered);
        if self.requests.state().is_closed() {
            return self.left().await;
        }
        self.requests.restore(&sender, status).await;
        self.deliver(SocialEvent::Returned).await?;
        self.backlog.extend(ended);
        Ok(())
    }

    /// Delivers all waiting events, and then `event`. Waits as long as the application needs.
    async fn deliver(&mut self, event: SocialEvent) -> Result<(), SocialEnded> {
        self.backlog.push_back(event);
        for event in self.backlog.drain(..) {
            self.events.send(event).await.map_err(|_| SocialEnded)?;
        }
        Ok(())
    }

    /// Ends the task after the application has closed the social session while the client had no
    /// connection to the server.
    async fn left(&mut self) -> Result<(), SocialEnded> {
        self.close(Some(Code::Left), "closed by this client".into()).await
    }

    async fn close(&mut self, code: Option<Code>, text: String) -> Result<(), SocialEnded> {
        // End the pending requests first: the application may never take the last event.
        self.requests.close();
        self.deliver(SocialEvent::Closed { code, text }).await?;
        Err(SocialEnded)
    }
}

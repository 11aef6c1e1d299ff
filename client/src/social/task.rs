//! The task of the social session: passes events to the application, and resumes a lost session.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use nucleus_protocol::session::Code;
use tokio::sync::mpsc;

use super::event::SocialEvent;
use super::requests::SocialRequests;
use crate::come_back::Tries;
use crate::servers::ReturnServers;
use crate::session::{
    CurrentEndpoint, JoinError, SessionSockets, SocialMessage, SocialReceiver, SocialSession,
    SocialSessionOptions, endpoints, may_reconnect,
};

/// Number of waiting events at which the task stops reading the session. About a minute of changes
/// of many watched users.
const MAX_BACKLOG: usize = 1_024;

/// Everything that the client needs to open the social session, also after the session was lost.
pub(super) struct SocialConnector {
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
    pub(super) endpoint: CurrentEndpoint,
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
        if self.backlog.len() >= 2 * MAX_BACKLOG {
            return self.close(code, "the application takes no events".into()).await;
        }
        self.backlog.push_back(SocialEvent::Interrupted { code, text });
        match self.enter_again_while_delivering().await? {
            None => self.left().await,
            Some(Ok((session, status))) => self.resume_with(session, status).await,
            Some(Err(error)) => {
                let code = if let JoinError::Refused { code, .. } = error { code } else { None };
                self.close(code, error.to_string()).await
            }
        }
    }

    /// Opens a session again, and delivers events meanwhile: the application may wait for something
    /// that needs a session before it takes the next event. Returns `None` if the application closes
    /// the session.
    async fn enter_again_while_delivering(
        &mut self,
    ) -> Result<Option<Result<(SocialSession, u8), JoinError>>, SocialEnded> {
        let SocialTask { connector, requests, events, backlog, .. } = self;
        let mut entering = pin!(enter_again(connector, requests));
        loop {
            tokio::select! {
                outcome = &mut entering => return Ok(Some(outcome)),
                permit = events.reserve(), if !backlog.is_empty() => {
                    let permit = permit.map_err(|_| SocialEnded)?;
                    if let Some(event) = backlog.pop_front() {
                        permit.send(event);
                    }
                }
                () = events.closed() => return Err(SocialEnded),
                () = requests.closing() => return Ok(None),
            }
        }
    }

    /// Continues with a new session in place of the lost one.
    async fn resume_with(&mut self, session: SocialSession, status: u8) -> Result<(), SocialEnded> {
        let entered = session.entered().clone();
        self.connector.servers.joined(endpoints(&entered.entries));
        self.endpoint.set(session.endpoint().clone());
        let (sender, receiver) = session.split();
        self.receiver = receiver;
        let ended = self.requests.state().attach(sender.clone(), &entered);
        if self.requests.state().is_closed() {
            return self.left().await;
        }
        self.requests.restore(&sender, status).await;
        self.backlog.push_back(SocialEvent::Returned);
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

/// Opens a session again. Returns it with the status that it was opened with.
async fn enter_again(
    connector: &mut SocialConnector,
    requests: &SocialRequests,
) -> Result<(SocialSession, u8), JoinError> {
    let SocialConnector { config, options, patience, servers } = connector;
    let mut tries = Tries::new(servers, *patience, options.server.clone());
    loop {
        options.server = tries.next().await?;
        let status = requests.state().status.to_wire();
        let now = SocialSessionOptions { status, ..options.clone() };
        let attempt = SocialSession::enter(&SessionSockets::New, config.clone(), now);
        if let Some(session) = tries.outcome(attempt).await? {
            return Ok((session, status));
        }
    }
}

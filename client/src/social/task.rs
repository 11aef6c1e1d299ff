//! The hall's task: hands on what the server says, and takes a lost session up again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use nucleus_protocol::session::Code;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::event::SocialEvent;
use super::requests::SocialRequests;
use crate::realtime::driver::unspecified;
use crate::session::{
    Backoff, JoinError, SocialMessage, SocialReceiver, SocialSession, SocialSessionOptions,
    may_reconnect,
};

/// Events that wait for the application before the session is not read any further: a minute of a busy
/// view of people.
const BACKLOG: usize = 1_024;

/// How the hall is reached.
pub(super) struct SocialConnector {
    pub(super) endpoint: quinn::Endpoint,
    pub(super) config: quinn::ClientConfig,
    pub(super) options: SocialSessionOptions,
    /// How long a lost session is tried again.
    pub(super) patience: Duration,
}

/// See the module.
pub(super) struct SocialTask {
    pub(super) connector: SocialConnector,
    pub(super) requests: Arc<SocialRequests>,
    pub(super) receiver: SocialReceiver,
    pub(super) events: mpsc::Sender<SocialEvent>,
    pub(super) backlog: VecDeque<SocialEvent>,
}

/// Nobody listens any more, or there is nothing left to hear.
struct SocialEnded;

impl SocialTask {
    /// Until the session is over for good, or nobody listens.
    pub(super) async fn run(mut self) {
        while self.step().await.is_ok() {}
        self.requests.close();
    }

    async fn step(&mut self) -> Result<(), SocialEnded> {
        let full = self.backlog.len() >= BACKLOG;
        self.requests.set_behind(full);
        let message = tokio::select! {
            biased;
            place = self.events.reserve(), if !self.backlog.is_empty() => {
                let place = place.map_err(|_| SocialEnded)?;
                if let Some(event) = self.backlog.pop_front() {
                    place.send(event);
                }
                return Ok(());
            }
            message = self.receiver.next(), if !full => message,
        };
        self.take(message).await
    }

    async fn take(&mut self, message: SocialMessage) -> Result<(), SocialEnded> {
        let event = match message {
            SocialMessage::CallReply(reply) => {
                self.requests.state().on_reply(&reply);
                None
            }
            SocialMessage::UserList(users) => self.requests.state().users(users),
            SocialMessage::Rooms(list) => self.requests.state().room_list(list),
            SocialMessage::CallUpdate(update) => {
                self.backlog.extend(self.requests.state().call(update));
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

    /// Tries until it succeeds, patience is over, or trying again cannot help. With the status that the
    /// session began with.
    async fn reenter(&mut self) -> Result<(SocialSession, u8), JoinError> {
        let deadline = Instant::now() + self.connector.patience;
        let mut backoff = Backoff::new(fastrand::u64(..));
        let mut asked = None;
        loop {
            sleep(backoff.pause(asked)).await;
            // What sleeps for long may wake up to a socket that its system has closed.
            if let Ok(socket) =
                std::net::UdpSocket::bind(unspecified(self.connector.options.server))
            {
                // The old socket has to do where this one does not.
                let _ = self.connector.endpoint.rebind(socket);
            }
            let mut options = self.connector.options.clone();
            let status = self.requests.state().status.to_wire();
            options.status = status;
            let entering = SocialSession::enter(
                &self.connector.endpoint,
                self.connector.config.clone(),
                options,
            );
            let error = match entering.await {
                Ok(session) => return Ok((session, status)),
                Err(error) => error,
            };
            tracing::debug!(%error, "the session is not back yet");
            asked = error.retry_delay();
            if asked.is_none() || Instant::now() >= deadline {
                return Err(error);
            }
        }
    }

    /// Takes the new session in place of the lost one.
    async fn resume_with(&mut self, session: SocialSession, status: u8) -> Result<(), SocialEnded> {
        let entered = session.entered().clone();
        let (sender, receiver) = session.split();
        self.receiver = receiver;
        let ended = self.requests.state().attach(sender.clone(), &entered);
        if self.requests.state().is_closed() {
            return self.left().await;
        }
        self.requests.restore_watches(&sender, status).await;
        self.deliver(SocialEvent::Returned).await?;
        self.backlog.extend(ended);
        Ok(())
    }

    /// Tells the application, however long it takes.
    async fn deliver(&mut self, event: SocialEvent) -> Result<(), SocialEnded> {
        self.backlog.push_back(event);
        for event in self.backlog.drain(..) {
            self.events.send(event).await.map_err(|_| SocialEnded)?;
        }
        Ok(())
    }

    /// The application has closed the hall while there was no session.
    async fn left(&mut self) -> Result<(), SocialEnded> {
        self.close(Some(Code::Left), "closed by this client".into()).await
    }

    async fn close(&mut self, code: Option<Code>, text: String) -> Result<(), SocialEnded> {
        // Nothing is under connector any more, whether anybody hears of the end or not.
        self.requests.close();
        self.deliver(SocialEvent::Closed { code, text }).await?;
        Err(SocialEnded)
    }
}

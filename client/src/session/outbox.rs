//! The queue of outgoing events. It keeps events until the server acknowledges them. Events that a
//! lost session did not deliver are sent over the next session, exactly once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nucleus_client_core::session::backlog::{EventBacklog, QueuedEvent, pieces};
use nucleus_protocol::limits;
use nucleus_protocol::session::{EventAck, Joined, Lane, NEW_PEER, SessionSettings};
use tokio::sync::Notify;

use super::{ProtocolError, SendError, SessionSender, To};

/// How long a leave waits until the last events are written.
const FLUSH_TIME: Duration = Duration::from_secs(1);

#[derive(Default)]
struct OutboxState {
    backlog: EventBacklog,
    sender: Option<SessionSender>,
    /// Number of the current session. A writer task of an earlier session must not change the
    /// backlog.
    session: u32,
    max_event: usize,
    closed: bool,
}

/// The outgoing events of one participant over all of its sessions. Clones share the same queue.
#[derive(Clone, Default)]
pub struct EventOutbox(Arc<OutboxShared>);

#[derive(Default)]
struct OutboxShared {
    state: Mutex<OutboxState>,
    changed: Notify,
}

impl EventOutbox {
    /// Starts sending over a new session. Events that the server has not taken are sent first. Must
    /// be called inside a tokio runtime.
    ///
    /// `same_room` says that the room instance is the one of the session before. In another
    /// instance the peer ids belong to other peers, so events for named peers are dropped. If the outbox is
    /// closed, the session is closed too.
    ///
    /// The caller passes each [`SessionEvent::EventAck`](super::SessionEvent::EventAck) of the
    /// session to [`Self::acknowledge`].
    ///
    /// # Errors
    /// [`ProtocolError::EventCount`]: the server's counts are impossible. The outbox keeps all
    /// events, and the caller ends the session
    /// ([`SessionReceiver::fail`](super::SessionReceiver::fail)). Never for the first session.
    pub fn attach(
        &self,
        sender: SessionSender,
        joined: &Joined,
        same_room: bool,
    ) -> Result<(), ProtocolError> {
        let session = {
            let mut state = self.state();
            if state.closed {
                drop(state);
                sender.close();
                return Ok(());
            }
            state.attach(sender.clone(), joined, same_room)?;
            state.session
        };
        self.0.changed.notify_waiters();
        for lane in Lane::ALL {
            tokio::spawn(write_lane(self.clone(), lane, sender.clone(), session));
        }
        Ok(())
    }

    /// Forgets the events that the server acknowledges. The acknowledgement must be from the
    /// session that was attached last.
    ///
    /// # Errors
    /// As [`Self::attach`].
    pub fn acknowledge(&self, ack: &EventAck) -> Result<(), ProtocolError> {
        let mut state = self.state();
        // A closed outbox keeps nothing.
        let forgot = !state.closed && state.backlog.acknowledge(ack)?;
        drop(state);
        if forgot {
            self.0.changed.notify_waiters();
        }
        Ok(())
    }

    /// Returns how many events the server has not acknowledged, those that wait to be written
    /// included. The pieces of a bulk message count separately.
    ///
    /// The server acknowledges within 16 s, and sooner if there are many. An event counts until
    /// then, although it may have arrived long before.
    pub fn unacknowledged(&self) -> usize {
        self.state().backlog.kept()
    }

    /// Sends a reliable, ordered event. Waits while the server or the network is slower than the
    /// application, or while there is no session: at most 512 KiB of each lane are sent without an
    /// acknowledgement, and 64 KiB wait to be sent.
    ///
    /// After this method has returned, the event survives the loss of the session. But if the
    /// client joins again as a new peer, events that were already written are lost.
    ///
    /// # Errors
    /// [`SendError::TooLarge`], [`SendError::TooManyPeers`] or [`SendError::Closed`].
    pub async fn send(&self, to: To, channel: u8, payload: &[u8]) -> Result<(), SendError> {
        to.check(channel, payload.len(), self.largest_piece())?;
        let event = QueuedEvent { to, channel, piece: 0, payload: payload.into() };
        self.queue(Lane::Events, vec![event]).await
    }

    /// Sends a message of at most [`limits::MAX_BULK_MESSAGE`] bytes on the bulk lane, in pieces.
    ///
    /// The message is as reliable as an event, and bulk messages are in order among themselves. No
    /// event waits for a bulk message. Otherwise works like [`Self::send`].
    ///
    /// # Errors
    /// The same as for [`Self::send`], and [`SendError::NotKept`] for [`To::OthersAndLater`].
    pub async fn send_bulk(&self, to: To, channel: u8, payload: &[u8]) -> Result<(), SendError> {
        to.check(channel, payload.len(), limits::MAX_BULK_MESSAGE)?;
        if to == To::OthersAndLater {
            return Err(SendError::NotKept);
        }
        let pieces = pieces(payload, self.largest_piece());
        let event = |(piece, payload): (u8, &[u8])| {
            let (to, payload) = (to.clone(), payload.into());
            QueuedEvent { to, channel, piece, payload }
        };
        self.queue(Lane::Bulk, pieces.map(event).collect()).await
    }

    fn largest_piece(&self) -> usize {
        match self.state().max_event {
            0 => limits::MAX_EVENT_PAYLOAD,
            limit => limit,
        }
    }

    /// Waits until the lane has capacity, then queues all events. If the future is dropped, no
    /// event is queued.
    async fn queue(&self, lane: Lane, events: Vec<QueuedEvent>) -> Result<(), SendError> {
        let mut events = Some(events);
        loop {
            let changed = self.0.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // Register before checking the state, so that no change after the check is missed.
            changed.as_mut().enable();
            let queued = {
                let mut state = self.state();
                if state.closed {
                    return Err(SendError::Closed);
                }
                state.backlog.offer(lane, &mut events)
            };
            if queued {
                self.0.changed.notify_waiters();
                return Ok(());
            }
            changed.await;
        }
    }

    /// Writes the queued events, then leaves the room. Takes at most 2 s.
    pub async fn leave(&self) {
        let flushed = async {
            loop {
                let changed = self.0.changed.notified();
                let mut changed = std::pin::pin!(changed);
                changed.as_mut().enable();
                {
                    let state = self.state();
                    if !state.backlog.has_waiting() || state.sender.is_none() {
                        return;
                    }
                }
                changed.await;
            }
        };
        // After the timeout the session is too slow or lost, and the remaining events are dropped.
        let _ = tokio::time::timeout(FLUSH_TIME, flushed).await;
        let sender = self.state().sender.take();
        self.close();
        if let Some(sender) = sender {
            sender.leave().await;
        }
    }

    /// Closes the outbox and the session at once. Events that are not written are dropped.
    pub fn close(&self) {
        let sender = {
            let mut state = self.state();
            state.closed = true;
            state.backlog.clear();
            state.sender.take()
        };
        self.0.changed.notify_waiters();
        if let Some(sender) = sender {
            sender.close();
        }
    }

    /// Waits until the outbox is closed.
    pub(crate) async fn closed(&self) {
        loop {
            let changed = self.0.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            if self.state().closed {
                return;
            }
            changed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, OutboxState> {
        // No code panics while it holds the lock, and each step leaves the data consistent.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutboxState {
    fn attach(
        &mut self,
        sender: SessionSender,
        joined: &Joined,
        same_room: bool,
    ) -> Result<(), ProtocolError> {
        let taken = [joined.events_taken, joined.bulk_taken];
        self.backlog.attach(taken, joined.resumed == NEW_PEER, same_room)?;
        self.session = self.session.wrapping_add(1);
        let max_event = SessionSettings::from_list(&joined.settings).max_event;
        self.max_event = limits::MAX_EVENT_PAYLOAD.min(max_event as usize);
        self.sender = Some(sender);
        Ok(())
    }
}

/// Writes the waiting events of a lane while `session` is the current session.
async fn write_lane(outbox: EventOutbox, lane: Lane, sender: SessionSender, session: u32) {
    loop {
        let changed = outbox.0.changed.notified();
        let mut changed = std::pin::pin!(changed);
        changed.as_mut().enable();
        let next = {
            let mut state = outbox.state();
            if state.session != session || state.sender.is_none() {
                return;
            }
            state.backlog.begin_write(lane)
        };
        let Some(QueuedEvent { to, channel, piece, payload }) = next else {
            tokio::select! {
                () = changed => continue,
                () = sender.closed() => return,
            }
        };
        if sender.send_piece(lane, to, channel, piece, &payload).await.is_err() {
            return;
        }
        {
            let mut state = outbox.state();
            if state.session != session || state.closed {
                return;
            }
            state.backlog.mark_written(lane);
        }
        outbox.0.changed.notify_waiters();
    }
}

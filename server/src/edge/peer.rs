//! A session in a room: reads its streams and datagrams, lets `writer` write, and reports its end to
//! the room.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use nucleus_core::ids::SessionId;
use nucleus_core::limits;
use nucleus_core::moments::LossCause;
use nucleus_core::room::RoomInput;
use nucleus_protocol::limits as wire_limits;
use nucleus_protocol::session::{self, Code, Features, Renew, Schema};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{sleep, timeout};

use super::SessionContext;
use super::admission::renew;
use super::carrier::{
    Connection, ConnectionClosed, ConnectionEnd, RecvStream, SendStream, StreamError,
};
use super::fallback::{read_datagrams, write_datagrams};
use super::fault::{SessionFault, unreadable};
use super::ingress_limits::{IngressLimits, LimitedStream};
use super::joined::JoinedSession;
use super::lanes::{LaneStreams, read_lanes, until_connection_ends};
use super::wire::{ReadError, read_message};
use super::writer::{ControlWriter, write};
use crate::rooms::{LentBudgets, OutgoingQueues, RoomHandle};

/// A session that has joined a room.
pub(super) struct PeerSession {
    pub(super) connection: Connection,
    /// The halves of the control stream.
    pub(super) send: SendStream,
    pub(super) receive: RecvStream,
    /// `Welcome`, unless it has been written. It is written in front of the first message.
    pub(super) welcome: Option<Bytes>,
    pub(super) queues: OutgoingQueues,
    pub(super) room: RoomHandle,
    pub(super) session: SessionId,
    /// The features that client and server have in common.
    pub(super) features: Features,
    pub(super) budgets: Arc<LentBudgets>,
    /// Keeps the session among those with the full receive window. `None`: it has the small one.
    pub(super) full_window: Option<OwnedSemaphorePermit>,
    /// What the room reads the figures of the connection from, as long as the session runs.
    pub(super) path: Arc<Connection>,
}

/// Why a session ends.
enum SessionEnd {
    /// The room has ended the session.
    Room(Code),
    /// The client has broken a rule, or is too slow.
    Fault(SessionFault),
    /// The connection has ended.
    Connection(ConnectionEnd),
}

impl PeerSession {
    /// Runs the session until its end, which it reports to the room.
    ///
    /// `self` stays on the heap until it is taken apart. Otherwise the future of each call that passes
    /// it on would hold a copy of it.
    pub(super) async fn run(self: Box<Self>, context: Arc<SessionContext>) {
        let (connection, room, session) =
            (self.connection.clone(), self.room.clone(), self.session);
        let fault = match self.until_end(&context).await {
            SessionEnd::Room(code) => code.into(),
            SessionEnd::Fault(fault) if fault.is_loss => {
                let cause = match fault.code {
                    Code::SlowConsumer => LossCause::Slow,
                    Code::TimedOut => LossCause::Silent,
                    _ => LossCause::Broken,
                };
                room.post(RoomInput::SessionLost(session, cause)).await;
                fault
            }
            SessionEnd::Fault(fault) => {
                room.post(RoomInput::Leave(session, fault.code)).await;
                fault
            }
            SessionEnd::Connection(ConnectionEnd::ByClient(code))
                if code == Code::Leaving as u64 =>
            {
                room.post(RoomInput::Leave(session, Code::Left)).await;
                Code::Left.into()
            }
            SessionEnd::Connection(end) => {
                let cause = match end {
                    ConnectionEnd::ByClient(_) => LossCause::Closed,
                    ConnectionEnd::Silent => LossCause::Silent,
                    ConnectionEnd::Lost => LossCause::Broken,
                };
                room.post(RoomInput::SessionLost(session, cause)).await;
                Code::TimedOut.into()
            }
        };
        fault.close(&connection);
        context.counters.count_end(fault.code);
    }

    /// Reads and writes the session's streams and datagrams until the session ends.
    async fn until_end(self: Box<Self>, context: &Arc<SessionContext>) -> SessionEnd {
        let Self {
            connection,
            send,
            mut receive,
            welcome,
            mut queues,
            room,
            session,
            features,
            budgets,
            full_window: _full_window,
            path: _path,
        } = {
            // Frees the memory on the heap at once.
            let boxed = self;
            *boxed
        };
        // The client is polled first, so all that has arrived before `Joined` is sent is found.
        let joined = tokio::select! {
            biased;
            fault = sent_early(&connection, &mut receive) => return SessionEnd::Fault(fault),
            joined = queues.control.pop() => joined,
        };
        let (lanes, open_lanes) = watch::channel(LaneStreams::default());
        // The writer wakes often, so it is a task of its own. Inside `select!`, each of its
        // wake-ups would poll all futures.
        let control =
            ControlWriter { stream: send, first: [welcome, joined], queue: queues.control };
        let mut writing = tokio::spawn(write(
            connection.clone(),
            control,
            queues.lanes,
            queues.state,
            context.clone(),
        ));
        let (connection, room) = (&connection, &room);
        let joined = JoinedSession { id: session, connection, room, budgets: &budgets, context };
        let control = ControlReader { joined, features };
        let end = tokio::select! {
            // The room's code comes first, because the writer also ends when the room has ended the
            // session.
            biased;
            code = ended(queues.end) => SessionEnd::Room(code),
            fault = control.read_all(receive, open_lanes) => SessionEnd::Fault(fault),
            fault = read_lanes(joined, lanes) => SessionEnd::Fault(fault),
            fault = &mut writing => SessionEnd::Fault(fault.unwrap_or_else(|_| Code::Internal.into())),
            code = read_datagrams(joined) => SessionEnd::Fault(code.into()),
            code = write_datagrams(connection, queues.datagrams) => SessionEnd::Fault(code.into()),
            reason = connection.closed() => SessionEnd::Connection(reason),
        };
        if let SessionEnd::Room(Code::Kicked | Code::RoomEnded) = end {
            // A closed connection sends nothing more, so the last messages, such as the moderator's
            // act, must be written first.
            let _in_time = timeout(limits::LAST_ACT_TIME, &mut writing).await;
        }
        writing.abort();
        if !writing.is_finished() {
            // Its streams end when it is dropped.
            let _aborted = (&mut writing).await;
        }
        end
    }
}

/// Waits for anything that the client sends. Called before `Joined` is sent, when the client may
/// send nothing: whether its message was taken would be a matter of chance.
async fn sent_early(connection: &Connection, control: &mut RecvStream) -> SessionFault {
    let message = async {
        match control.read(&mut [0]).await {
            Ok(()) => {}
            Err(StreamError::ConnectionClosed) => until_connection_ends().await,
            Err(StreamError::Ended | StreamError::Reset) => {
                return SessionFault::stream_ended("control stream");
            }
        }
        SessionFault::malformed("the client has sent a message before it received Joined")
    };
    let stream = async {
        match connection.accept_uni().await {
            Ok(_) => {}
            Err(ConnectionClosed) => until_connection_ends().await,
        }
        SessionFault::malformed("the client has opened a stream before it received Joined")
    };
    tokio::select! {
        biased;
        fault = message => fault,
        fault = stream => fault,
    }
}

/// Waits until the session must end, and returns the code.
pub(super) async fn ended(mut end: watch::Receiver<Option<Code>>) -> Code {
    match end.wait_for(Option::is_some).await {
        Ok(code) => code.unwrap_or(Code::Internal),
        // The room's task ended without a code for this session.
        Err(_) => Code::Internal,
    }
}

/// Reads the control stream of a client in a room.
struct ControlReader<'a> {
    joined: JoinedSession<'a>,
    /// The features that client and server have in common.
    features: Features,
}

impl ControlReader<'_> {
    /// Hands the requests of the control stream to the room, within the session's rate. Returns the
    /// fault that ends the session.
    async fn read_all(
        &self,
        mut stream: RecvStream,
        mut lanes: watch::Receiver<LaneStreams>,
    ) -> SessionFault {
        let JoinedSession { id: session, room, budgets, context, .. } = self.joined;
        let mut ingress = IngressLimits::new(budgets, LimitedStream::Requests);
        loop {
            ingress.ready().await;
            let read = read_control(&mut stream, wire_limits::MAX_STATE_REQUEST).await;
            let (schema, body) = match read {
                Ok(message) => message,
                Err(fault) => return fault,
            };
            // The state of this future is on the heap. Otherwise every session would contain it,
            // although most sessions wait above most of the time.
            let handled = Box::pin(async {
                if schema == Schema::Leave {
                    return leave(room, session, &mut lanes).await;
                }
                let waited = ingress.take(body.len());
                // These wait for no room. An act of moderation may be what ends a flood, and acts
                // have a rate of their own.
                if matches!(schema, Schema::Ping | Schema::Renew | Schema::Moderate) {
                    ingress.report(waited, room, session).await;
                    if schema == Schema::Renew {
                        admit_renewal(budgets).await;
                    }
                    let input = match schema {
                        Schema::Ping => RoomInput::Ping(session),
                        _ => self.request(schema, &body).await?,
                    };
                    room.post(input).await;
                    return Ok(());
                }
                // A request may change what all members see.
                let admitted = room.admit_message(budgets.user(), body.len(), None).await;
                ingress.report(waited || admitted.waited, room, session).await;
                let input = self.request(schema, &body).await?;
                let state = matches!(input, RoomInput::State { .. });
                context.counters.state_in.fetch_add(state.into(), Ordering::Relaxed);
                room.post_admitted(input, admitted).await;
                Ok(())
            });
            if let Err(fault) = handled.await {
                return fault;
            }
        }
    }

    /// Makes the room's input of a request.
    ///
    /// # Errors
    ///
    /// The message is malformed, is no request, or belongs to a feature that the client or the
    /// server has not offered.
    async fn request(&self, schema: Schema, body: &[u8]) -> Result<RoomInput, SessionFault> {
        if !self.features.contains(Features::needed_for(schema)) {
            let reason = format!("{schema:?} belongs to a feature that not both ends offer");
            return Err(SessionFault::malformed(reason));
        }
        let JoinedSession { id: from, room, context, .. } = self.joined;
        let bad = |_| unreadable(schema);
        Ok(match schema {
            Schema::StateRequest => {
                RoomInput::State { from, request: session::owned(body).map_err(bad)? }
            }
            Schema::Moderate => {
                RoomInput::Moderate { from, request: session::owned(body).map_err(bad)? }
            }
            Schema::Subscribe => {
                RoomInput::Subscribe { from, request: session::owned(body).map_err(bad)? }
            }
            Schema::Renew => {
                let Renew { token } = session::owned(body).map_err(bad)?;
                let renewal = renew(context, room.key(), &token).await;
                RoomInput::Renew { from, renewal }
            }
            _ => return Err(unreadable(schema)),
        })
    }
}

/// Waits until the user's rate allows another fresh token. The stream is not read meanwhile, so its
/// sender waits.
async fn admit_renewal(budgets: &LentBudgets) {
    sleep(budgets.with(|now, budgets| budgets.renewals.wait_for(now, 1))).await;
    budgets.with(|now, budgets| budgets.renewals.try_take(now));
}

/// Leaves the room, once the messages that the client sent before `Leave` have been read.
async fn leave<T>(
    room: &RoomHandle,
    session: SessionId,
    lanes: &mut watch::Receiver<LaneStreams>,
) -> T {
    // Lets the reader of the lanes take a stream that has already arrived.
    tokio::task::yield_now().await;
    let all_read = async { lanes.wait_for(|lanes| !lanes.any_open()).await.map(drop) };
    let _in_time = timeout(limits::LEAVE_TIME, all_read).await;
    room.post(RoomInput::Leave(session, Code::Left)).await;
    // The room replies by ending the session.
    until_connection_ends().await
}

/// Reads the next message of a control stream, whose body has at most `limit` bytes. Never returns
/// once the connection is closed.
///
/// # Errors
///
/// The fault that ends the session: the client has ended the stream, or the header is invalid or
/// announces a longer body.
pub(super) async fn read_control(
    stream: &mut RecvStream,
    limit: usize,
) -> Result<(Schema, Vec<u8>), SessionFault> {
    match read_message(stream, limit).await {
        Ok(message) => Ok(message),
        Err(ReadError::Header(error)) => Err(error.into()),
        Err(ReadError::Stream(StreamError::ConnectionClosed)) => until_connection_ends().await,
        Err(ReadError::Stream(StreamError::Ended | StreamError::Reset)) => {
            Err(SessionFault::stream_ended("control stream"))
        }
    }
}

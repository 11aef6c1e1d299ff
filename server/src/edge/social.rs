//! A session outside rooms: enters among the users of its tenant's product, hands its requests on
//! and writes its messages.

use std::sync::Arc;

use bytes::Bytes;
use nucleus_core::ids::{DeviceId, ProductKey};
use nucleus_core::limits;
use nucleus_core::social::{
    CallAct, CallSeed, DeviceRequest, EnterRequest, SocialInput, UserFilter,
};
use nucleus_core::text;
use nucleus_protocol::limits as wire_limits;
use nucleus_protocol::session::{
    self, CallRequest, Code, Enter, Schema, SetStatus, WatchUsers, call_act, status,
};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::SessionContext;
use super::admission::{check_licence, check_origin, display_name, verify};
use super::carrier::{Connection, ConnectionEnd, RecvStream, SendStream, WriteError};
use super::fault::{SessionFault, unreadable};
use super::joins::JoinOutcome;
use super::lanes::{refuse_streams, until_connection_ends};
use super::peer::{ended, read_control};
use super::refusal::{Refusal, refuse};
use super::room_lists::{RoomListRequest, RoomLists};
use super::wire::WriteOutcome;
use crate::random::random;
use crate::rooms::{LentBudgets, SessionCount, SocialHandle, SocialQueue, social_outgoing};

/// A device that has entered among the users of its tenant's product.
pub(super) struct AdmittedDevice {
    social: SocialHandle,
    device: DeviceId,
    queue: SocialQueue,
    budgets: Arc<LentBudgets>,
    room_list_requests: watch::Sender<Option<RoomListRequest>>,
    room_lists: RoomLists,
}

/// Checks a client's token and enters its device among the users of its tenant's product.
///
/// # Errors
///
/// The refusal for an invalid token, name or status, for a page of the wrong origin, or for a limit.
pub(super) async fn enter(
    context: &Arc<SessionContext>,
    connection: &Connection,
    enter: &Enter,
) -> Result<AdmittedDevice, Refusal> {
    if !may_choose(enter.status) {
        return Err(Refusal::new(Code::Malformed, "the status is invalid"));
    }
    let token = verify(context, &enter.token).await?;
    check_origin(context, connection, &token.tenant)?;
    let name = display_name(&enter.name, token.name)?;
    let key = ProductKey { tenant: token.tenant, product: token.product };
    check_licence(context, &key, &token.user)?;
    let directory = context.directory.clone();
    let counted = SessionCount::take(directory.tenants(), &key.tenant, &token.user);
    let counted = Arc::new(counted.map_err(refuse)?);
    let (room_list_requests, room_lists) = RoomLists::new(directory, key.clone(), token.room);
    let budgets = context.budgets.lend(&key.tenant, &token.user);
    let enter = EnterRequest { user: token.user, name, role: token.role, status: enter.status };
    let mut queue = None;
    let make_queue = || {
        let permit = Semaphore::try_acquire_owned(context.joined.clone());
        let permit = permit.map_err(|_| Code::ServerFull)?;
        let (outgoing, session_end) = social_outgoing((permit, counted.clone()));
        queue = Some(session_end);
        Ok(outgoing)
    };
    let entered = context.social_directory.enter(&key, &enter, make_queue).await;
    let (social, device) = entered.map_err(refuse)?;
    let queue = queue.ok_or_else(|| Refusal::new(Code::Internal, "no queue"))?;
    context.counters.joins.count(JoinOutcome::Entered);
    Ok(AdmittedDevice { social, device, queue, budgets, room_list_requests, room_lists })
}

/// Whether a client may choose this status.
fn may_choose(status: u8) -> bool {
    matches!(status, status::ONLINE | status::BUSY | status::AWAY)
}

/// A session outside rooms that has entered.
pub(super) struct SocialConnection {
    pub(super) connection: Connection,
    /// The halves of the control stream.
    pub(super) send: SendStream,
    pub(super) receive: RecvStream,
    /// `Welcome`, unless it has been written. It is written in front of the first message.
    pub(super) welcome: Option<Bytes>,
    pub(super) entered: AdmittedDevice,
}

impl SocialConnection {
    /// Runs the session until its end, which it reports to the task of the users.
    pub(super) async fn run(self, context: Arc<SessionContext>) {
        let Self { connection, send, receive, welcome, entered } = self;
        let AdmittedDevice { social, device, mut queue, budgets, room_list_requests, room_lists } =
            entered;
        let end = queue.end.clone();
        let (fault, ended_by_task) = tokio::select! {
            code = ended(end) => (code.into(), true),
            fault = read(receive, &social, device, &room_list_requests, &budgets) => (fault, false),
            fault = write(send, welcome, &mut queue, room_lists) => (fault, false),
            // A session outside rooms has only its control stream. Datagrams that nobody reads would
            // wait in memory, each with its whole packet.
            never = connection.drop_datagrams() => never,
            () = async { refuse_streams(&connection).await; until_connection_ends().await } => (Code::Internal.into(), false),
            end = connection.closed() => (code_of(end).into(), false),
        };
        if fault.is_loss && !ended_by_task {
            // The client enters again and receives the whole state.
            social.post(SocialInput::Lost(device)).await;
        } else if !ended_by_task {
            social.post(SocialInput::Leave(device, fault.code)).await;
        }
        // Drop the queue only after posting `Leave`; otherwise the session counts as lost.
        drop(queue);
        fault.close(&connection);
        context.counters.count_end(fault.code);
    }
}

/// Returns the code for the end of a connection.
fn code_of(end: ConnectionEnd) -> Code {
    match end {
        ConnectionEnd::ByClient(code) if code == Code::Leaving as u64 => Code::Left,
        _ => Code::TimedOut,
    }
}

/// Hands the requests of the control stream on, within the session's rate. Returns the code to end
/// the session with.
async fn read(
    mut stream: RecvStream,
    social: &SocialHandle,
    device: DeviceId,
    room_list_requests: &watch::Sender<Option<RoomListRequest>>,
    budgets: &LentBudgets,
) -> SessionFault {
    loop {
        let read = read_control(&mut stream, wire_limits::MAX_SOCIAL_REQUEST).await;
        let (schema, body) = match read {
            Ok(message) => message,
            Err(fault) => return fault,
        };
        // A stream that is not read makes its sender wait by QUIC's flow control.
        let cost = cost(schema);
        sleep(budgets.with(|now, budgets| budgets.social.wait_for(now, cost))).await;
        budgets.with(|now, budgets| {
            // Adds the tokens of the time that was waited.
            budgets.social.available(now);
            budgets.social.take(cost);
        });
        if schema == Schema::Leave {
            social.post(SocialInput::Leave(device, Code::Left)).await;
            // The task of the users replies by ending the session.
            return until_connection_ends().await;
        }
        if schema == Schema::Ping {
            continue;
        }
        // The lobby, not the task of the users, answers this request.
        if schema == Schema::WatchRooms {
            match RoomListRequest::read(&body) {
                Ok(request) => drop(room_list_requests.send_replace(Some(request))),
                Err(Code::Malformed) => return unreadable(schema),
                Err(code) => return code.into(),
            }
            continue;
        }
        let Some(request) = request(schema, &body) else { return unreadable(schema) };
        social.post(SocialInput::Ask(device, request)).await;
    }
}

/// Returns how many requests a message counts as, for the session's rate.
fn cost(schema: Schema) -> u64 {
    if matches!(schema, Schema::WatchUsers | Schema::WatchRooms) { limits::WATCH_COST } else { 1 }
}

/// Makes a device's request of a message. `None`: the message is malformed or not a request.
fn request(schema: Schema, body: &[u8]) -> Option<DeviceRequest> {
    match schema {
        Schema::SetStatus => {
            let SetStatus { status } = session::owned(body).ok()?;
            may_choose(status).then_some(DeviceRequest::SetStatus(status))
        }
        Schema::WatchUsers => {
            let watch: WatchUsers = session::owned(body).ok()?;
            Some(DeviceRequest::Watch(watch.request, UserFilter::new(&watch)))
        }
        Schema::CallRequest => {
            let call: CallRequest = session::owned(body).ok()?;
            let seed = CallSeed {
                call: u64::from_le_bytes(random()).max(1),
                room: u128::from_le_bytes(random()),
            };
            Some(DeviceRequest::Call(call.request, call_act_of(&call), seed))
        }
        _ => None,
    }
}

/// Returns the action of a request on a call. `None`: a name, the text or the number of users is
/// not allowed.
fn call_act_of(request: &CallRequest) -> Option<CallAct> {
    let call = request.call;
    let names = request.users.iter().map(|user| text::plain(user, 1, wire_limits::MAX_NAME));
    let mut users = Vec::new();
    for user in names.take(wire_limits::MAX_CALL_USERS + 1) {
        let user = user.ok()?;
        if !users.contains(&user) {
            users.push(user);
        }
    }
    if request.act == call_act::START {
        let subject = text::plain(&request.text, 0, wire_limits::MAX_CALL_TEXT).ok()?;
        let valid = (1..=wire_limits::MAX_CALL_USERS).contains(&request.users.len());
        return valid.then_some(CallAct::Start(users, subject));
    }
    match (request.act, users.pop()) {
        (call_act::ADD, Some(user)) if users.is_empty() => Some(CallAct::Add(call, user)),
        (_, Some(_)) => None,
        (call_act::ACCEPT, None) => Some(CallAct::Accept(call)),
        (call_act::REJECT, None) => Some(CallAct::Reject(call)),
        (call_act::CANCEL, None) => Some(CallAct::Cancel(call)),
        (call_act::HANG_UP, None) => Some(CallAct::HangUp(call)),
        _ => None,
    }
}

/// Writes the messages of the queue and the room lists to the control stream. Writes `Welcome`
/// together with the first message, `Entered`. Returns the fault that ends the session.
async fn write(
    mut stream: SendStream,
    mut welcome: Option<Bytes>,
    queue: &mut SocialQueue,
    mut room_lists: RoomLists,
) -> SessionFault {
    let mut entered = false;
    loop {
        let (message, queued) = tokio::select! {
            biased;
            message = queue.messages.pop() => match message {
                Some(message) => (message, true),
                None => return until_connection_ends().await,
            },
            list = room_lists.next(), if entered => (list, false),
        };
        let len = message.len();
        let prefix = welcome.take().unwrap_or_default();
        match write_all(&mut stream, prefix, message).await {
            WriteOutcome::Written if queued => queue.messages.written(len),
            WriteOutcome::Written => {}
            WriteOutcome::Refused => return SessionFault::stream_ended("control stream"),
            WriteOutcome::Closed => return until_connection_ends().await,
            WriteOutcome::TooSlow => return Code::SlowConsumer.into(),
        }
        entered = true;
    }
}

/// Writes `prefix` and a message, in pieces. Each piece has its own time limit, because a long list
/// takes long on a slow network.
async fn write_all(stream: &mut SendStream, mut prefix: Bytes, message: Bytes) -> WriteOutcome {
    for at in (0..message.len()).step_by(limits::STATE_PIECE) {
        let end = message.len().min(at + limits::STATE_PIECE);
        let piece = message.slice(at..end);
        let write = stream.write_piece(std::mem::take(&mut prefix), piece, end == message.len());
        match timeout(limits::SOCIAL_WRITE_TIME, write).await {
            Ok(Ok(())) => {}
            Ok(Err(WriteError::Refused)) => return WriteOutcome::Refused,
            Ok(Err(WriteError::ConnectionClosed)) => return WriteOutcome::Closed,
            Err(_) => return WriteOutcome::TooSlow,
        }
    }
    WriteOutcome::Written
}

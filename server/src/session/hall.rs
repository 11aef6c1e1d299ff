//! A session outside rooms: from its token into its tenant's hall, its requests, its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use nucleus_protocol::limits as wire_limits;
use nucleus_protocol::session::{
    self, CallRequest, Code, Enter, Schema, SetStatus, WatchPeople, call_act, status,
};
use nucleus_protocol::time::Time;
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::SessionContext;
use super::handshake::{Refusal, display_name, random, text_of, token_code};
use super::lanes::{broken, refuse_streams};
use super::peer::ended;
use super::rooms::{Asked, RoomLists};
use super::wire::{ReadError, read_message};
use crate::hall::registry::{HallHandle, HallKey};
use crate::hall::task::HallInput;
use crate::hall::{Act, CallSeed, Device, Filter, HallQueue, HallRequest, Visitor, hall_outgoing};
use crate::limits;
use crate::rate::Bucket;
use crate::tenants::{LobbyKey, SessionPlace};
use crate::token::Admission;
use crate::wish::text;

/// A place in a hall.
pub(super) struct Entrance {
    hall: HallHandle,
    device: Device,
    queue: HallQueue,
    asks: watch::Sender<Option<Asked>>,
    rooms: RoomLists,
}

/// Lets a client into the hall of its tenant and product, where its token is good.
pub(super) async fn enter(
    context: &Arc<SessionContext>,
    enter: &Enter,
) -> Result<Entrance, Refusal> {
    if !is_chosen(enter.status) {
        return Err(Refusal::new(Code::Malformed, "there is no such status"));
    }
    let admission = verify(context, &enter.token)?;
    let name = display_name(&enter.name, &admission)?;
    let refuse = |code| Refusal::new(code, text_of(code));
    let key = HallKey { tenant: admission.tenant, app: admission.app };
    let tenants = context.directory.tenants().clone();
    let counted = SessionPlace::take(&tenants, &key.tenant, &admission.user).map_err(refuse)?;
    let counted = Arc::new(counted);
    let lobby = LobbyKey { tenant: key.tenant.clone(), app: key.app };
    let (asks, rooms) = RoomLists::new(tenants, lobby, admission.room);
    let visitor =
        Visitor { user: admission.user, name, role: admission.role, status: enter.status };
    let mut queue = None;
    let place = || {
        let permit = Semaphore::try_acquire_owned(context.joined.clone());
        let permit = permit.map_err(|_| Code::ServerFull)?;
        let (outgoing, session_end) = hall_outgoing((permit, counted.clone()));
        queue = Some(session_end);
        Ok(outgoing)
    };
    let entered = context.halls.enter(&key, &visitor, place).await;
    let (hall, device) = entered.map_err(refuse)?;
    let queue = queue.ok_or_else(|| Refusal::new(Code::Internal, "no queue"))?;
    context.counters.enters.fetch_add(1, Ordering::Relaxed);
    Ok(Entrance { hall, device, queue, asks, rooms })
}

/// What a token admits to, or why it is refused.
pub(super) fn verify(context: &SessionContext, token: &[u8]) -> Result<Admission, Refusal> {
    let token = std::str::from_utf8(token)
        .map_err(|_| Refusal::new(Code::TokenMalformed, "the token is not a JWT"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let admission = context.verifier.verify(token, now);
    admission.map_err(|error| Refusal::new(token_code(&error), error.to_string()))
}

/// Whether a client may choose this status.
fn is_chosen(chosen: u8) -> bool {
    matches!(chosen, status::ONLINE | status::BUSY | status::AWAY)
}

/// A session that has entered.
pub(super) struct HallSession {
    pub(super) connection: Connection,
    pub(super) control: (SendStream, RecvStream),
    /// To be written in front of the first message, unless the client waited for it.
    pub(super) welcome: Option<Bytes>,
    pub(super) entrance: Entrance,
}

impl HallSession {
    pub(super) async fn run(self, context: Arc<SessionContext>) {
        let Self { connection, control: (send, receive), welcome, entrance } = self;
        let Entrance { hall, device, mut queue, asks, rooms } = entrance;
        let end = queue.end.clone();
        // The code, and whether the hall knows of the end already.
        let (code, told) = tokio::select! {
            code = ended(end) => (code, true),
            code = read(receive, &hall, device, &asks, &context) => (code, false),
            code = write(send, welcome, &mut queue, rooms) => (code, false),
            // A session outside rooms has no other streams.
            () = async { refuse_streams(&connection).await; broken().await } => (Code::Internal, false),
            error = connection.closed() => (why(&error), false),
        };
        match code {
            _ if told => {}
            // It is told everything anew when it comes back.
            Code::TimedOut | Code::SlowConsumer => drop(hall.post(HallInput::Lost(device)).await),
            code => drop(hall.post(HallInput::Leave(device, code)).await),
        }
        // Not before: the hall takes a session whose queue is gone for lost, and a leave would be none.
        drop(queue);
        connection.close((code as u32).into(), code.name().as_bytes());
        context.counters.ended(code);
    }
}

/// The end of a connection, as a code.
fn why(error: &ConnectionError) -> Code {
    match error {
        ConnectionError::ApplicationClosed(close)
            if close.error_code == (Code::Leaving as u32).into() =>
        {
            Code::Left
        }
        _ => Code::TimedOut,
    }
}

async fn read(
    mut stream: RecvStream,
    hall: &HallHandle,
    device: Device,
    asks: &watch::Sender<Option<Asked>>,
    context: &SessionContext,
) -> Code {
    let now = || Time::from_micros(context.clock.now());
    let (average, burst) = (limits::HALL_REQUESTS_PER_SECOND, limits::HALL_REQUESTS_BURST);
    let mut rate = Bucket::new(now(), average.into(), burst.into());
    loop {
        let (schema, body) = match read_message(&mut stream, wire_limits::MAX_HALL_REQUEST).await {
            Ok(message) => message,
            Err(ReadError::Header(_)) => return Code::Malformed,
            // A client may close its half and stay.
            Err(ReadError::Ended | ReadError::Broken(_)) => return broken().await,
        };
        // Not reading on is what tells the sender, by QUIC's flow control.
        sleep(rate.wait_for(now(), cost(schema))).await;
        // What has come in while it waited is there to be taken, and not once more.
        rate.available(now());
        rate.take(cost(schema));
        if schema == Schema::Leave {
            hall.post(HallInput::Leave(device, Code::Left)).await;
            // The hall answers by ending the session.
            return broken().await;
        }
        // The list of rooms is none of the hall's business.
        if schema == Schema::WatchRooms {
            match Asked::read(&body) {
                Ok(asked) => drop(asks.send_replace(Some(asked))),
                Err(code) => return code,
            }
            continue;
        }
        let Some(request) = request(schema, &body) else { return Code::Malformed };
        hall.post(HallInput::Ask(device, request)).await;
    }
}

fn cost(schema: Schema) -> u64 {
    if matches!(schema, Schema::WatchPeople | Schema::WatchRooms) { limits::WATCH_COST } else { 1 }
}

/// What a message asks of the hall; `None` for one that does not belong here.
fn request(schema: Schema, body: &[u8]) -> Option<HallRequest> {
    match schema {
        Schema::SetStatus => {
            let SetStatus { status } = session::owned(body).ok()?;
            is_chosen(status).then_some(HallRequest::SetStatus(status))
        }
        Schema::WatchPeople => {
            let asked: WatchPeople = session::owned(body).ok()?;
            Some(HallRequest::Watch(asked.request, Filter::new(&asked)))
        }
        Schema::CallRequest => {
            let asked: CallRequest = session::owned(body).ok()?;
            let seed = CallSeed {
                call: u64::from_le_bytes(random()).max(1),
                room: u128::from_le_bytes(random()),
            };
            Some(HallRequest::Call(asked.request, act(&asked), seed))
        }
        _ => None,
    }
}

/// What a request does to a call; `None` where it breaks the limits.
fn act(asked: &CallRequest) -> Option<Act> {
    let call = asked.call;
    let names = asked.users.iter().map(|user| text(user, 1, wire_limits::MAX_NAME));
    let mut users = Vec::new();
    for user in names.take(wire_limits::MAX_CALL_USERS + 1) {
        let user = user?;
        if !users.contains(&user) {
            users.push(user);
        }
    }
    if asked.act == call_act::START {
        let about = text(&asked.text, 0, wire_limits::MAX_CALL_TEXT)?;
        let some = (1..=wire_limits::MAX_CALL_USERS).contains(&asked.users.len());
        return some.then_some(Act::Start(users, about));
    }
    match (asked.act, users.pop()) {
        (call_act::ADD, Some(user)) if users.is_empty() => Some(Act::Add(call, user)),
        (_, Some(_)) => None,
        (call_act::ACCEPT, None) => Some(Act::Accept(call)),
        (call_act::REJECT, None) => Some(Act::Reject(call)),
        (call_act::CANCEL, None) => Some(Act::Cancel(call)),
        (call_act::HANG_UP, None) => Some(Act::HangUp(call)),
        _ => None,
    }
}

/// `Welcome` waits for the first message, which is `Entered`.
async fn write(
    mut stream: SendStream,
    mut welcome: Option<Bytes>,
    queue: &mut HallQueue,
    mut rooms: RoomLists,
) -> Code {
    let mut entered = false;
    loop {
        let (message, queued) = tokio::select! {
            biased;
            message = queue.next() => match message {
                Some(message) => (message, true),
                None => return broken().await,
            },
            list = rooms.next(), if entered => (list, false),
        };
        let len = message.len();
        let start = welcome.take().unwrap_or_default();
        match write_all(&mut stream, start, message).await {
            Written::All if queued => queue.written(len),
            Written::All => {}
            Written::Refused => return broken().await,
            Written::TooSlow => return Code::SlowConsumer,
        }
        entered = true;
    }
}

/// How far a message came.
enum Written {
    All,
    /// The connection takes no more.
    Refused,
    TooSlow,
}

/// In pieces, each of which has its time: a long list takes a slow network longer than that.
async fn write_all(stream: &mut SendStream, mut start: Bytes, message: Bytes) -> Written {
    for at in (0..message.len()).step_by(limits::STATE_PIECE) {
        let end = message.len().min(at + limits::STATE_PIECE);
        let mut pieces = [std::mem::take(&mut start), message.slice(at..end)];
        match timeout(limits::HALL_WRITE_TIME, stream.write_all_chunks(&mut pieces)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Written::Refused,
            Err(_) => return Written::TooSlow,
        }
    }
    Written::All
}

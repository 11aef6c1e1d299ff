//! A session outside rooms: from its token among the users of its tenant, its requests, its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use nucleus_core::ids::{DeviceId, ProductKey};
use nucleus_core::limits;
use nucleus_core::rate::Bucket;
use nucleus_core::social::{
    CallAct, CallSeed, DeviceRequest, EnterRequest, SocialInput, UserFilter,
};
use nucleus_core::text;
use nucleus_protocol::limits as wire_limits;
use nucleus_protocol::session::{
    self, CallRequest, Code, Enter, Schema, SetStatus, WatchUsers, call_act, status,
};
use nucleus_protocol::time::Time;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::SessionContext;
use super::admission::{display_name, verify};
use super::lanes::{broken, refuse_streams};
use super::peer::ended;
use super::quic::{Connection, Ended, Gone, RecvStream, SendStream};
use super::refusal::{Refusal, refuse};
use super::room_lists::{Asked, RoomLists};
use super::wire::{ReadError, read_message};
use crate::random::random;
use crate::rooms::{SessionCount, SocialHandle, SocialQueue, social_outgoing};

/// The place of a device that has entered.
pub(super) struct SocialPlace {
    social: SocialHandle,
    device: DeviceId,
    queue: SocialQueue,
    asks: watch::Sender<Option<Asked>>,
    rooms: RoomLists,
}

/// Lets a client in among the users of its tenant's product, where its token is good.
pub(super) async fn enter(
    context: &Arc<SessionContext>,
    enter: &Enter,
) -> Result<SocialPlace, Refusal> {
    if !is_chosen(enter.status) {
        return Err(Refusal::new(Code::Malformed, "there is no such status"));
    }
    let admission = verify(context, &enter.token)?;
    let name = display_name(&enter.name, &admission)?;
    let key = ProductKey { tenant: admission.tenant, product: admission.product };
    let directory = context.directory.clone();
    let counted = SessionCount::take(directory.tenants(), &key.tenant, &admission.user);
    let counted = Arc::new(counted.map_err(refuse)?);
    let (asks, rooms) = RoomLists::new(directory, key.clone(), admission.room);
    let visitor =
        EnterRequest { user: admission.user, name, role: admission.role, status: enter.status };
    let mut queue = None;
    let place = || {
        let permit = Semaphore::try_acquire_owned(context.joined.clone());
        let permit = permit.map_err(|_| Code::ServerFull)?;
        let (outgoing, session_end) = social_outgoing((permit, counted.clone()));
        queue = Some(session_end);
        Ok(outgoing)
    };
    let entered = context.socials.enter(&key, &visitor, place).await;
    let (social, device) = entered.map_err(refuse)?;
    let queue = queue.ok_or_else(|| Refusal::new(Code::Internal, "no queue"))?;
    context.counters.enters.fetch_add(1, Ordering::Relaxed);
    Ok(SocialPlace { social, device, queue, asks, rooms })
}

/// Whether a client may choose this status.
fn is_chosen(chosen: u8) -> bool {
    matches!(chosen, status::ONLINE | status::BUSY | status::AWAY)
}

/// A session that has entered.
pub(super) struct SocialSession {
    pub(super) connection: Connection,
    pub(super) control: (SendStream, RecvStream),
    /// To be written in front of the first message, unless the client waited for it.
    pub(super) welcome: Option<Bytes>,
    pub(super) entered: SocialPlace,
}

impl SocialSession {
    pub(super) async fn run(self, context: Arc<SessionContext>) {
        let Self { connection, control: (send, receive), welcome, entered } = self;
        let SocialPlace { social, device, mut queue, asks, rooms } = entered;
        let end = queue.end.clone();
        // The code, and whether the task of the users knows of the end already.
        let (code, told) = tokio::select! {
            code = ended(end) => (code, true),
            code = read(receive, &social, device, &asks, &context) => (code, false),
            code = write(send, welcome, &mut queue, rooms) => (code, false),
            // A session outside rooms has no other streams.
            () = async { refuse_streams(&connection).await; broken().await } => (Code::Internal, false),
            ended = connection.ended() => (why(ended), false),
        };
        match code {
            _ if told => {}
            // It is told everything anew when it comes back.
            Code::TimedOut | Code::SlowConsumer => {
                social.post(SocialInput::Lost(device)).await;
            }
            code => {
                social.post(SocialInput::Leave(device, code)).await;
            }
        }
        // Drop the queue only after posting `Leave`; otherwise the session counts as lost.
        drop(queue);
        connection.close(code, code.name());
        context.counters.ended(code);
    }
}

/// The end of a connection, as a code.
fn why(ended: Ended) -> Code {
    match ended {
        Ended::ByClient(code) if code == Code::Leaving as u64 => Code::Left,
        _ => Code::TimedOut,
    }
}

async fn read(
    mut stream: RecvStream,
    social: &SocialHandle,
    device: DeviceId,
    asks: &watch::Sender<Option<Asked>>,
    context: &SessionContext,
) -> Code {
    let now = || Time::from_micros(context.clock.now());
    let mut rate = Bucket::new(now(), limits::SOCIAL_REQUESTS_RATE);
    loop {
        let (schema, body) = match read_message(&mut stream, wire_limits::MAX_SOCIAL_REQUEST).await
        {
            Ok(message) => message,
            Err(ReadError::Header(_)) => return Code::Malformed,
            // A client may close its half and stay.
            Err(ReadError::Stream(_)) => return broken().await,
        };
        // Not reading on is what tells the sender, by QUIC's flow control.
        sleep(rate.wait_for(now(), cost(schema))).await;
        // What has come in while it waited is there to be taken, and not once more.
        rate.available(now());
        rate.take(cost(schema));
        if schema == Schema::Leave {
            social.post(SocialInput::Leave(device, Code::Left)).await;
            // The answer is the end of the session.
            return broken().await;
        }
        // The list of rooms comes from the lobby.
        if schema == Schema::WatchRooms {
            match Asked::read(&body) {
                Ok(asked) => drop(asks.send_replace(Some(asked))),
                Err(code) => return code,
            }
            continue;
        }
        let Some(request) = request(schema, &body) else { return Code::Malformed };
        social.post(SocialInput::Ask(device, request)).await;
    }
}

fn cost(schema: Schema) -> u64 {
    if matches!(schema, Schema::WatchUsers | Schema::WatchRooms) { limits::WATCH_COST } else { 1 }
}

/// What a message asks for; `None` for one that does not belong here.
fn request(schema: Schema, body: &[u8]) -> Option<DeviceRequest> {
    match schema {
        Schema::SetStatus => {
            let SetStatus { status } = session::owned(body).ok()?;
            is_chosen(status).then_some(DeviceRequest::SetStatus(status))
        }
        Schema::WatchUsers => {
            let asked: WatchUsers = session::owned(body).ok()?;
            Some(DeviceRequest::Watch(asked.request, UserFilter::new(&asked)))
        }
        Schema::CallRequest => {
            let asked: CallRequest = session::owned(body).ok()?;
            let seed = CallSeed {
                call: u64::from_le_bytes(random()).max(1),
                room: u128::from_le_bytes(random()),
            };
            Some(DeviceRequest::Call(asked.request, act(&asked), seed))
        }
        _ => None,
    }
}

/// What a request does to a call; `None` where it breaks the limits.
fn act(asked: &CallRequest) -> Option<CallAct> {
    let call = asked.call;
    let names = asked.users.iter().map(|user| text::plain(user, 1, wire_limits::MAX_NAME));
    let mut users = Vec::new();
    for user in names.take(wire_limits::MAX_CALL_USERS + 1) {
        let user = user?;
        if !users.contains(&user) {
            users.push(user);
        }
    }
    if asked.act == call_act::START {
        let about = text::plain(&asked.text, 0, wire_limits::MAX_CALL_TEXT)?;
        let some = (1..=wire_limits::MAX_CALL_USERS).contains(&asked.users.len());
        return some.then_some(CallAct::Start(users, about));
    }
    match (asked.act, users.pop()) {
        (call_act::ADD, Some(user)) if users.is_empty() => Some(CallAct::Add(call, user)),
        (_, Some(_)) => None,
        (call_act::ACCEPT, None) => Some(CallAct::Accept(call)),
        (call_act::REJECT, None) => Some(CallAct::Reject(call)),
        (call_act::CANCEL, None) => Some(CallAct::Cancel(call)),
        (call_act::HANG_UP, None) => Some(CallAct::HangUp(call)),
        _ => None,
    }
}

/// `Welcome` waits for the first message, which is `Entered`.
async fn write(
    mut stream: SendStream,
    mut welcome: Option<Bytes>,
    queue: &mut SocialQueue,
    mut rooms: RoomLists,
) -> Code {
    let mut entered = false;
    loop {
        let (message, queued) = tokio::select! {
            biased;
            message = queue.messages.pop() => match message {
                Some(message) => (message, true),
                None => return broken().await,
            },
            list = rooms.next(), if entered => (list, false),
        };
        let len = message.len();
        let start = welcome.take().unwrap_or_default();
        match write_all(&mut stream, start, message).await {
            Written::All if queued => queue.messages.written(len),
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
        let write = stream.write_both(std::mem::take(&mut start), message.slice(at..end));
        match timeout(limits::SOCIAL_WRITE_TIME, write).await {
            Ok(Ok(())) => {}
            Ok(Err(Gone)) => return Written::Refused,
            Err(_) => return Written::TooSlow,
        }
    }
    Written::All
}

//! One of the programs that do the same in Rust, C, C# and a browser, and check each other in one room.
//! `.ci/meeting.py` starts them and compares their reports:
//!
//! ```text
//! meeting SERVER TOKEN FILE UNTIL [OTHERS]
//! ```
//!
//! The program works until the unix time `UNTIL`, in seconds. FILE has what a process needs that
//! continues after this one was killed. OTHERS is how many others come. The program prints its report
//! as one line of JSON.

#![expect(clippy::print_stdout, reason = "this program prints its report")]

mod memory;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use memory::Memory;
use nucleus_client::{
    Batch, Certainty, Code, ConnectOptions, EntityId, ObjectMode, PeerId, Pose, ReturnTicket, Room,
    RoomEvent, RpcError, RpcFault, StateError, Time, To, Transform,
};
use report::Report;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

const FRAMES_PER_SECOND: u32 = 72;
const CHANNEL: u8 = 5;
const EVENT_EVERY: Duration = Duration::from_millis(100);
/// All change the count at the same moments of the server's clock, so that they conflict.
const CHANGE_EVERY: Duration = Duration::from_millis(200);
const ASK_EVERY: Duration = Duration::from_millis(250);
const METHOD: &str = "double";
const COUNT: &str = "count";
/// Seconds before the end at which nothing new is sent or asked.
const QUIET_S: f64 = 4.0;
/// A request ends before the report, which is made [`REPORT_S`] seconds before the end.
const ASK_TIMEOUT: Duration = Duration::from_millis(2_900);
/// Everybody reports before the first one leaves, because a leave changes the state.
const REPORT_S: f64 = 1.0;
/// An error of a shown pose that is counted. Chords between poses of 72 Hz are much nearer.
const LARGE_ERROR_MM: f64 = 60.0;

/// Meets others in a room.
#[derive(Parser)]
struct Options {
    /// Server, host:port
    server: String,
    /// Join token
    token: String,
    /// File for what a later process continues with
    file: PathBuf,
    /// When the meeting ends, in seconds of unix time
    until: f64,
    /// How many others come
    #[arg(default_value_t = 2)]
    others: usize,
}

/// A request that is done.
enum Done {
    Created(Result<u64, StateError>),
    Counted(Result<u64, StateError>),
    Answered { expected: u64, result: Result<Vec<u8>, RpcError> },
}

/// What is known of another peer's movement.
#[derive(Default)]
struct Movement {
    poses: u64,
    shown: Time,
}

struct Meeting {
    room: Arc<Room>,
    file: PathBuf,
    memory: Memory,
    report: Report,
    others: usize,
    users: BTreeMap<PeerId, String>,
    movements: BTreeMap<PeerId, Movement>,
    /// Senders whose next event may come after lost ones.
    may_miss: BTreeSet<String>,
    is_interrupted: bool,
    requests: JoinSet<Done>,
    is_counting: bool,
    last_frame: Option<Instant>,
    next_event: Instant,
    last_change: u128,
    next_ask: Instant,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_env_filter("warn").with_writer(std::io::stderr).init();
    let options = Options::parse();
    let mut memory = Memory::load(&options.file)?;
    memory.run += 1;
    // Before the first event, so that no two processes send the events of one run.
    memory.save(&options.file)?;
    let mut connect = ConnectOptions::new(options.server, options.token);
    if let Some(ticket) = &memory.ticket {
        connect = connect.ticket(ReturnTicket::from_text(ticket).ok_or("the ticket is damaged")?);
    }
    let room = Arc::new(nucleus_client::connect(connect).await?);
    let mut meeting = Meeting::new(room.clone(), options.file, memory, options.others);
    let mut frame = interval(Duration::from_secs(1) / FRAMES_PER_SECOND);
    // A late frame is left out: two poses of the same moment are useless.
    frame.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut is_reported = false;
    loop {
        frame.tick().await;
        let left = options.until - unix_time();
        meeting.frame(left > QUIET_S)?;
        if left <= REPORT_S && !is_reported {
            is_reported = true;
            println!("{}", meeting.report());
        }
        if left <= 0.0 {
            break;
        }
    }
    room.leave().await;
    Ok(())
}

impl Meeting {
    fn new(room: Arc<Room>, file: PathBuf, memory: Memory, others: usize) -> Self {
        let report = Report { resumed: memory.peer == Some(room.me().0), ..Report::default() };
        let users = room.peers().into_iter().map(|peer| (peer.id, peer.user)).collect();
        let now = Instant::now();
        let mut meeting = Self {
            room,
            file,
            memory,
            report,
            others,
            users,
            movements: BTreeMap::new(),
            may_miss: BTreeSet::new(),
            is_interrupted: false,
            requests: JoinSet::new(),
            is_counting: false,
            last_frame: None,
            next_event: now,
            last_change: 0,
            next_ask: now,
        };
        meeting.joined(meeting.report.resumed);
        meeting
    }

    /// Notes the own peer id, and makes this user's object unless it is there.
    fn joined(&mut self, has_object: bool) {
        let me = self.room.me();
        self.memory.peer = Some(me.0);
        if !has_object {
            let (id, user) = (self.room.new_object_id(), self.room.peer(me).map(|me| me.user));
            let batch = Batch::new().create(id, ObjectMode::TAKE.with_room());
            let batch = batch.set(id, "user", user.unwrap_or_default());
            let room = self.room.clone();
            self.requests.spawn(async move { Done::Created(room.change(batch).await) });
        }
    }

    /// The room is a new instance, without the old state.
    fn rejoined(&mut self) {
        self.count_seen();
        self.is_interrupted = false;
        self.report.rejoined += 1;
        self.memory.successes = 0;
        // Events that were on their way to a server that ended are lost.
        self.may_miss.extend(self.memory.records.keys().cloned());
        self.joined(false);
    }

    /// Adds the poses of each peer to those of its user.
    fn count_seen(&mut self) {
        for (peer, movement) in std::mem::take(&mut self.movements) {
            let user = self.users.get(&peer).cloned().unwrap_or_default();
            *self.report.seen.entry(user).or_default() += movement.poses;
        }
    }

    fn frame(&mut self, is_active: bool) -> Result<(), Box<dyn Error>> {
        let room = self.room.clone();
        let now = Instant::now();
        let pause = self.last_frame.replace(now).map_or(Duration::ZERO, |last| now - last);
        self.report.longest_pause = self.report.longest_pause.max(pause);
        let mut has_news = false;
        for event in room.poll() {
            has_news = true;
            self.take_event(event)?;
        }
        while let Some(done) = self.requests.try_join_next() {
            has_news = true;
            self.take_result(done?);
        }
        if has_news {
            // After the events of the frame were taken: the ticket says which ones.
            self.memory.ticket = room.ticket().map(|ticket| ticket.to_text());
            self.memory.save(&self.file)?;
        }
        let position = position(room.server_time());
        let head =
            Transform { position: position.map(|x| x as f32), rotation: [0.0, 0.0, 0.0, 1.0] };
        room.send_pose(&Pose { head, left: None, right: None })?;
        self.look();
        if is_active && !self.is_interrupted {
            self.send()?;
        }
        Ok(())
    }

    fn take_event(&mut self, event: RoomEvent) -> Result<(), Box<dyn Error>> {
        match event {
            RoomEvent::PeerJoined(peer) => {
                self.users.insert(peer.id, peer.user);
            }
            RoomEvent::Event { from, channel: CHANNEL, payload, .. } => {
                let user = self.users.get(&from).ok_or("an event of an unknown peer")?;
                let text = std::str::from_utf8(&payload)?;
                let (run, number) = text.split_once(',').ok_or("an event of another form")?;
                *self.report.received.entry(user.clone()).or_default() += 1;
                let record = self.memory.records.entry(user.clone()).or_default();
                let may_miss = self.may_miss.remove(user);
                self.report.check_event(record, run.parse()?, number.parse()?, may_miss);
            }
            RoomEvent::RpcRequest { id, method, payload, .. } => {
                let answer = doubled(&method, &payload);
                let answer = answer.as_ref().map(String::as_bytes).map_err(Clone::clone);
                // A caller that no longer waits needs no answer.
                let _ = self.room.answer_rpc(id, answer);
            }
            RoomEvent::ClockChanged => {
                self.movements.values_mut().for_each(|m| m.shown = Time::ZERO)
            }
            RoomEvent::Interrupted { .. } => self.is_interrupted = true,
            RoomEvent::Resumed { missed_events } => {
                self.is_interrupted = false;
                self.report.gaps += u64::from(missed_events);
            }
            RoomEvent::Rejoined { .. } => self.rejoined(),
            RoomEvent::Closed { text, .. } => return Err(text.into()),
            _ => {}
        }
        Ok(())
    }

    fn take_result(&mut self, done: Done) {
        match done {
            Done::Created(Ok(_)) => {}
            Done::Counted(Ok(_)) => {
                self.is_counting = false;
                self.memory.successes += 1;
            }
            Done::Counted(Err(StateError::Refused { code: Some(Code::Conflict), .. })) => {
                self.is_counting = false;
                self.report.conflicts += 1;
            }
            Done::Created(Err(error)) | Done::Counted(Err(error)) => {
                tracing::warn!(%error, "a change failed");
                self.is_counting = false;
                self.report.change_failures += 1;
            }
            Done::Answered { expected, result } => self.report.check_answer(expected, result),
        }
    }

    /// Compares the shown poses with the truth at the moment that they show.
    fn look(&mut self) {
        self.report.frames += 1;
        self.room.for_each_shown_pose(|seen| {
            let movement = self.movements.entry(seen.from).or_default();
            movement.poses += 1;
            self.report.backwards += u64::from(seen.shown < movement.shown);
            movement.shown = seen.shown;
            // Where a peer goes while it is not heard is a guess.
            if seen.certainty == Certainty::Interpolated {
                let truth = position(seen.shown);
                let square = |(x, truth): (f32, f64)| (f64::from(x) - truth).powi(2);
                let square: f64 = seen.pose.head.position.into_iter().zip(truth).map(square).sum();
                let error_mm = square.sqrt() * 1_000.0;
                self.report.compared += 1;
                self.report.over_60mm += u64::from(error_mm > LARGE_ERROR_MM);
                self.report.max_error_mm = self.report.max_error_mm.max(error_mm);
            }
        });
    }

    fn send(&mut self) -> Result<(), Box<dyn Error>> {
        let now = Instant::now();
        let others = self.room.peers();
        // Everybody is here before the first event, so that nobody misses the number 0.
        if others.len() >= self.others && now >= self.next_event {
            let text = format!("{},{}", self.memory.run, self.report.sent);
            self.room.try_send_event(To::Others, CHANNEL, text.as_bytes())?;
            self.report.sent += 1;
            self.next_event = (self.next_event + EVENT_EVERY).max(now);
        }
        let change = u128::from(self.room.server_time().as_micros()) / CHANGE_EVERY.as_micros();
        if change != self.last_change && !self.is_counting {
            self.last_change = change;
            self.is_counting = true;
            let field = self.room.field(EntityId::Room, COUNT);
            let version = field.as_ref().map_or(0, |field| field.version);
            let count = field.and_then(|field| field.value.as_integer()).unwrap_or(0);
            let batch = Batch::new().compare_and_set(EntityId::Room, COUNT, version, count + 1);
            let room = self.room.clone();
            self.requests.spawn(async move { Done::Counted(room.change(batch).await) });
        }
        if !others.is_empty() && now >= self.next_ask {
            self.next_ask = (self.next_ask + ASK_EVERY).max(now);
            self.report.asked += 1;
            let (room, peer) = (self.room.clone(), others[fastrand::usize(..others.len())].id);
            let number = fastrand::u64(..1_000_000);
            self.requests.spawn(async move {
                let result =
                    room.rpc(peer, METHOD, number.to_string().as_bytes(), ASK_TIMEOUT).await;
                Done::Answered { expected: 2 * number, result }
            });
        }
        Ok(())
    }

    fn report(&mut self) -> String {
        self.count_seen();
        self.report.to_json(&self.room, &self.memory)
    }
}

/// Answers a request of another peer.
fn doubled(method: &str, payload: &[u8]) -> Result<String, RpcFault> {
    if method != METHOD {
        return Err(RpcFault::no_such_method());
    }
    let number = std::str::from_utf8(payload).ok().and_then(|text| text.parse::<u32>().ok());
    let number = number.ok_or_else(|| RpcFault::new(256, "not a number"))?;
    Ok((2 * u64::from(number)).to_string())
}

/// Returns where the head is at a moment of the server's clock.
fn position(time: Time) -> [f64; 3] {
    let t = (time.as_micros() as f64 / 1e6) % std::f64::consts::TAU;
    [t.cos(), 1.7, t.sin()]
}

fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

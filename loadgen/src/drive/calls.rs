//! Calls and matches during a run: users who call each other, and users who look for a room at the
//! same moment.
//!
//! The users use the client's public API, as an application does. Their thread has a low priority.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use nucleus_client::{
    ConnectOptions, EnterOptions, Query, Room, RoomOptions, Social, SocialEvent, connect, enter,
};
use tokio::runtime::Runtime;
use tokio::sync::Barrier;
use tokio::task::JoinHandle;

use super::context::RunContext;
use super::tasks::low_priority_runtime;
use crate::check::times::Times;
use crate::report;
use crate::report::channels::Latency;
use crate::shared::lock;

/// The number of the first user. No other user of a run has so high a number.
const FIRST_USER: u32 = 1 << 26;
/// The capacity of the rooms that matching fills.
pub(crate) const MATCHED: u32 = 10;
/// In one of this many pairs, both users call at the same time.
const CROSSING: u32 = 4;
/// The time for a call to connect; after that the call has failed.
const CALL_TIME: Duration = Duration::from_secs(20);
/// The time for everybody to leave.
const LEAVE_TIME: Duration = Duration::from_secs(10);

/// The calls and matches of one run.
pub(crate) struct CallLoad {
    runtime: Runtime,
    context: Arc<RunContext>,
    expected: u32,
    results: Arc<Mutex<CallResults>>,
    tasks: Vec<JoinHandle<()>>,
}

/// The users who have reached a room so far.
#[derive(Default)]
struct CallResults {
    /// The time each user took to reach its room, from the moment at which all users began, µs.
    joined: Times,
    /// How many users reached each room, by the room's name.
    rooms: BTreeMap<String, u32>,
    /// The joined rooms. They are kept so that no user leaves before all users have joined.
    joined_rooms: Vec<Room>,
}

impl CallLoad {
    /// Starts the thread, with no calls or matches yet.
    ///
    /// # Errors
    ///
    /// If the system cannot start a thread.
    pub(crate) fn new(context: Arc<RunContext>) -> std::io::Result<Self> {
        Ok(CallLoad {
            runtime: low_priority_runtime("calls")?,
            context,
            expected: 0,
            results: Arc::default(),
            tasks: Vec::new(),
        })
    }

    /// Lets `count` users look for a room at the same time. Each creates one if none matches.
    pub(crate) fn match_up(&mut self, count: u32) {
        let due = self.context.shared.clock.now();
        for number in 0..count {
            let user = self.user(number);
            self.spawn("match", async move { user.match_up(due).await });
        }
    }

    /// Lets `pairs` pairs of users call each other at the same time, after all of these users have
    /// connected.
    pub(crate) fn call(&mut self, pairs: u32) {
        let ready = Barrier::new(2 * pairs as usize);
        let start = Arc::new(CallStart { ready, due: OnceLock::new() });
        for number in 0..2 * pairs {
            let (user, start) = (self.user(number), start.clone());
            self.spawn("call", async move {
                let call = tokio::time::timeout(CALL_TIME, user.call(&start)).await;
                call.unwrap_or_else(|_| Err("no answer in time".into()))
            });
        }
    }

    fn user(&self, number: u32) -> CallUser {
        let (context, results) = (self.context.clone(), self.results.clone());
        CallUser { context, results, number }
    }

    /// Starts the task of a user who is expected to reach a room by this kind of meeting.
    fn spawn(
        &mut self,
        kind: &'static str,
        meeting: impl Future<Output = Result<(), CallFailure>> + Send + 'static,
    ) {
        self.expected += 1;
        let context = self.context.clone();
        self.tasks.push(self.runtime.spawn(async move {
            if let Err(error) = meeting.await {
                context.log.join_failed(format!("a {kind} failed: {error}"));
            }
        }));
    }

    /// Lets everybody leave and returns the figures.
    pub(crate) fn end(self) -> report::CallsReport {
        let (tasks, results) = (self.tasks, self.results.clone());
        self.runtime.block_on(async {
            let leaving = async {
                for task in tasks {
                    // A task that failed has logged its problem.
                    let _ = task.await;
                }
                let rooms = std::mem::take(&mut lock(&results).joined_rooms);
                for room in &rooms {
                    room.leave().await;
                }
            };
            let _in_time = tokio::time::timeout(LEAVE_TIME, leaving).await;
        });
        self.runtime.shutdown_background();
        let results = lock(&self.results);
        report::CallsReport {
            expected: self.expected.into(),
            met: results.joined.len(),
            rooms: results.rooms.len() as u64,
            smallest: results.rooms.values().min().copied().map(u64::from),
            largest: results.rooms.values().max().copied().map(u64::from),
            met_ms: Latency::new(&results.joined),
        }
    }
}

type CallFailure = Box<dyn std::error::Error + Send + Sync>;

/// The moment at which all pairs begin their calls.
struct CallStart {
    /// Passed when all users have connected.
    ready: Barrier,
    /// When the first user passed, µs. From this moment the calls of all users are due.
    due: OnceLock<u64>,
}

/// One user. In a pair, the user with the even number calls the other.
struct CallUser {
    context: Arc<RunContext>,
    results: Arc<Mutex<CallResults>>,
    number: u32,
}

impl CallUser {
    /// Looks for a room, or creates one. `due` is when all users began, µs.
    async fn match_up(&self, due: u64) -> Result<(), CallFailure> {
        let fields = RoomOptions::new().listed(["what"]).field("what", "a match");
        let options = ConnectOptions::new(self.address(), self.token()?)
            .match_or_create(Query::new().equals("what", "a match"))
            .options(fields.capacity(MATCHED as u16));
        self.reach(options, due).await
    }

    /// Calls the other user of the pair, or is called, and joins the room of the call.
    async fn call(&self, start: &CallStart) -> Result<(), CallFailure> {
        let entering = async {
            let options = EnterOptions::new(self.address(), self.token()?);
            Ok::<_, CallFailure>(enter(options).await?)
        };
        // Reach the barrier even after a failure, because the other users wait there for all users.
        let entered = entering.await;
        start.ready.wait().await;
        let due = *start.due.get_or_init(|| self.context.shared.clock.now());
        let social = entered?;
        let both_call = (self.number / 2).is_multiple_of(CROSSING);
        if self.number.is_multiple_of(2) || both_call {
            let other = format!("h{}", FIRST_USER + (self.number ^ 1));
            social.start(&[other.as_str()], "pump 3 leaks").await?;
        }
        let name = room_of_call(&social).await?;
        let options = ConnectOptions::new(self.address(), self.token()?).room(name).join_only();
        self.reach(options, due).await?;
        // Keep the social session: its end would end the call for both.
        self.context.leave.subscribe().wait_for(|leave| *leave).await?;
        social.leave().await;
        Ok(())
    }

    /// Joins a room, and records it with the time since `due` (µs).
    async fn reach(&self, options: ConnectOptions, due: u64) -> Result<(), CallFailure> {
        let room = connect(options).await?;
        let took = self.context.shared.clock.now().saturating_sub(due);
        let mut results = lock(&self.results);
        results.joined.record(took);
        *results.rooms.entry(room.name().to_owned()).or_default() += 1;
        results.joined_rooms.push(room);
        Ok(())
    }

    fn address(&self) -> String {
        self.context.target.address.to_string()
    }

    fn token(&self) -> Result<String, CallFailure> {
        Ok(self.context.target.tokens.token(FIRST_USER + self.number)?)
    }
}

/// Accepts an incoming call, and returns the room of the call that connects.
///
/// # Errors
///
/// If the call or the social session ends first.
async fn room_of_call(social: &Social) -> Result<String, CallFailure> {
    while let Some(event) = social.next().await {
        match event {
            SocialEvent::Incoming { call, .. } => social.accept(call).await?,
            SocialEvent::Accepted { room, .. } => return Ok(room),
            SocialEvent::Ended { code, .. } => {
                return Err(format!("the call ended: {code:?}").into());
            }
            _ => {}
        }
    }
    Err("the social session is closed".into())
}

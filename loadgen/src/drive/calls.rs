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
        self.expected += count;
        let due = self.context.shared.clock.now();
        for number in 0..count {
            let (context, results) = (self.context.clone(), self.results.clone());
            self.tasks.push(self.runtime.spawn(async move {
                if let Err(error) = matched(&context, FIRST_USER + number, due, &results).await {
                    context.log.join_failed(format!("a match failed: {error}"));
                }
            }));
        }
    }

    /// Lets `pairs` pairs of users call each other at the same time, after all of these users have
    /// connected.
    pub(crate) fn call(&mut self, pairs: u32) {
        self.expected += 2 * pairs;
        let ready =
            Arc::new(CallStart { ready: Barrier::new(2 * pairs as usize), due: OnceLock::new() });
        for number in 0..2 * pairs {
            let partner = CallPartner {
                context: self.context.clone(),
                results: self.results.clone(),
                number,
            };
            let ready = ready.clone();
            self.tasks.push(self.runtime.spawn(async move {
                let context = partner.context.clone();
                let joined = tokio::time::timeout(CALL_TIME, partner.meet(&ready)).await;
                let joined = joined.unwrap_or_else(|_| Err("no answer in time".into()));
                if let Err(error) = joined {
                    context.log.join_failed(format!("a call failed: {error}"));
                }
            }));
        }
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

impl CallResults {
    fn record(&mut self, took: u64, room: Room) {
        self.joined.record(took);
        *self.rooms.entry(room.name().to_owned()).or_default() += 1;
        self.joined_rooms.push(room);
    }
}

type CallFailure = Box<dyn std::error::Error + Send + Sync>;

async fn matched(
    context: &RunContext,
    number: u32,
    due: u64,
    results: &Mutex<CallResults>,
) -> Result<(), CallFailure> {
    let options = ConnectOptions::new(context.target.address.to_string(), token(context, number)?)
        .match_or_create(Query::new().equals("what", "a match"))
        .options(
            RoomOptions::new().capacity(MATCHED as u16).listed(["what"]).field("what", "a match"),
        );
    let room = connect(options).await?;
    lock(results).record(context.shared.clock.now().saturating_sub(due), room);
    Ok(())
}

fn token(context: &RunContext, number: u32) -> Result<String, CallFailure> {
    context.target.tokens.token(number).map_err(|error| error.to_string().into())
}

/// The moment at which all pairs begin their calls.
struct CallStart {
    /// Passed when all users have connected.
    ready: Barrier,
    /// When the first user passed, µs. From this moment the calls of all users are due.
    due: OnceLock<u64>,
}

/// One user of a pair. The user with the even number calls the other.
struct CallPartner {
    context: Arc<RunContext>,
    results: Arc<Mutex<CallResults>>,
    number: u32,
}

impl CallPartner {
    async fn meet(self, start: &CallStart) -> Result<(), CallFailure> {
        let address = self.context.target.address.to_string();
        let entering = async {
            let token = token(&self.context, FIRST_USER + self.number)?;
            Ok::<_, CallFailure>(enter(EnterOptions::new(address.as_str(), token)).await?)
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
        let options = ConnectOptions::new(address, token(&self.context, FIRST_USER + self.number)?);
        let room = connect(options.room(name).join_only()).await?;
        let took = self.context.shared.clock.now().saturating_sub(due);
        lock(&self.results).record(took, room);
        // Keep the social session: its end would end the call for both.
        self.context.leave.subscribe().wait_for(|leave| *leave).await?;
        social.leave().await;
        Ok(())
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

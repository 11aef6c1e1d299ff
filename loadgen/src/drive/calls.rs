//! Calls and matches beside a run that is under way: users who call each other, or who look for a room
//! at the same moment.
//!
//! They use the client's own API, as an application would, on a thread of low priority like the storms'.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hdrhistogram::Histogram;
use nucleus_client::{
    ConnectOptions, EnterOptions, Query, Room, RoomOptions, Social, SocialEvent, connect, enter,
};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Barrier;
use tokio::task::JoinHandle;

use super::context::RunContext;
use crate::check::tally;
use crate::report;
use crate::shared::lock;

/// As of those who come in storms.
const THREAD_NICE: i32 = 10;
/// In front of their numbers: nobody else of a run has one so high.
const FIRST_USER: u32 = 1 << 26;
/// Peers of a room that matching fills.
pub(crate) const MATCHED: u32 = 10;
/// In so many pairs both call at once.
const CROSSING: u32 = 4;
/// A call that has not come about in this time has failed.
const CALL_TIME: Duration = Duration::from_secs(20);
/// Until everybody has left.
const LEAVE_TIME: Duration = Duration::from_secs(10);

/// The calls and matches of one run.
pub(crate) struct CallLoad {
    runtime: Runtime,
    context: Arc<RunContext>,
    expected: u32,
    results: Arc<Mutex<CallResults>>,
    tasks: Vec<JoinHandle<()>>,
}

/// Those who have found each other so far.
struct CallResults {
    /// µs that each took to be in its room.
    joined: Histogram<u64>,
    /// Who matching has brought into which room, and the members of each call.
    rooms: BTreeMap<String, u32>,
    /// Of both, so that nobody leaves before everybody has come.
    joined_rooms: Vec<Room>,
}

impl CallLoad {
    /// None yet.
    pub(crate) fn new(context: Arc<RunContext>) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("calls")
            .on_thread_start(|| {
                // At ordinary priority they only cost the generator more.
                let _ = nucleus_net::set_thread_nice(THREAD_NICE);
            })
            .enable_all()
            .build()?;
        let results = CallResults {
            joined: tally::histogram(),
            rooms: BTreeMap::new(),
            joined_rooms: Vec::new(),
        };
        let results = Arc::new(Mutex::new(results));
        Ok(CallLoad { runtime, context, expected: 0, results, tasks: Vec::new() })
    }

    /// So many look for a room at once, or make one.
    pub(crate) fn match_up(&mut self, count: u32) {
        self.expected += count;
        for number in 0..count {
            let (context, results) = (self.context.clone(), self.results.clone());
            self.tasks.push(self.runtime.spawn(async move {
                if let Err(error) = matched(&context, FIRST_USER + number, &results).await {
                    context.log.problem(format!("a match failed: {error}"));
                }
            }));
        }
    }

    /// So many pairs call each other at once, when all are there.
    pub(crate) fn call(&mut self, pairs: u32) {
        self.expected += 2 * pairs;
        let ready = Arc::new(Barrier::new(2 * pairs as usize));
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
                    context.log.problem(format!("a call failed: {error}"));
                }
            }));
        }
    }

    /// Everybody leaves.
    pub(crate) fn end(self) -> report::CallsReport {
        let (tasks, results) = (self.tasks, self.results.clone());
        self.runtime.block_on(async {
            let leaving = async {
                for task in tasks {
                    // One that failed has said so.
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
            smallest: results.rooms.values().min().copied().unwrap_or(0).into(),
            largest: results.rooms.values().max().copied().unwrap_or(0).into(),
            met_ms: report::Latency::new(&results.joined),
        }
    }
}

impl CallResults {
    fn record(&mut self, took: u64, room: Room) {
        self.joined.saturating_record(took);
        *self.rooms.entry(room.name().to_owned()).or_default() += 1;
        self.joined_rooms.push(room);
    }
}

type CallFailure = Box<dyn std::error::Error + Send + Sync>;

async fn matched(
    context: &RunContext,
    number: u32,
    results: &Mutex<CallResults>,
) -> Result<(), CallFailure> {
    let begun = context.shared.clock.now();
    let options = ConnectOptions::new(context.target.address.to_string(), token(context, number)?)
        .match_or_create(Query::new().equals("what", "a match"))
        .options(
            RoomOptions::new().capacity(MATCHED as u16).listed(["what"]).field("what", "a match"),
        );
    let room = connect(options).await?;
    lock(results).record(context.shared.clock.now() - begun, room);
    Ok(())
}

fn token(context: &RunContext, number: u32) -> Result<String, CallFailure> {
    context.target.tokens.token(number).map_err(|error| error.to_string().into())
}

/// One of a pair: the first of them calls, the second is called.
struct CallPartner {
    context: Arc<RunContext>,
    results: Arc<Mutex<CallResults>>,
    number: u32,
}

impl CallPartner {
    async fn meet(self, ready: &Barrier) -> Result<(), CallFailure> {
        let address = self.context.target.address.to_string();
        let entering = async {
            let token = token(&self.context, FIRST_USER + self.number)?;
            Ok::<_, CallFailure>(enter(EnterOptions::new(address.as_str(), token)).await?)
        };
        // The others wait for it, whatever becomes of it.
        let entered = entering.await;
        ready.wait().await;
        let social = entered?;
        let begun = self.context.shared.clock.now();
        let both_call = (self.number / 2).is_multiple_of(CROSSING);
        if self.number.is_multiple_of(2) || both_call {
            let other = format!("h{}", FIRST_USER + (self.number ^ 1));
            social.start(&[other.as_str()], "pump 3 leaks").await?;
        }
        let name = room_of_call(&social).await?;
        let options = ConnectOptions::new(address, token(&self.context, FIRST_USER + self.number)?);
        let room = connect(options.room(name).join_only()).await?;
        lock(&self.results).record(self.context.shared.clock.now() - begun, room);
        // Whoever leaves the hall first would end the call for the other.
        self.context.leave.subscribe().wait_for(|leave| *leave).await?;
        social.leave().await;
        Ok(())
    }
}

/// The room of the call that comes about.
async fn room_of_call(social: &Social) -> Result<String, CallFailure> {
    while let Some(event) = social.next().await {
        match event {
            SocialEvent::Incoming { call, .. } => social.accept(call).await?,
            SocialEvent::Accepted { room, .. } => return Ok(room),
            SocialEvent::Ended { code, .. } => return Err(format!("it ended: {code:?}").into()),
            _ => {}
        }
    }
    Err("the social session is closed".into())
}

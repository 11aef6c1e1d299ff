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

use super::crew::Crew;
use crate::check::tally;
use crate::report;
use crate::shared::lock;

/// As of those who come in storms.
const NICE: i32 = 10;
/// In front of their numbers: nobody else of a run has one so high.
const FIRST: u32 = 1 << 26;
/// Peers of a room that matching fills.
pub(crate) const MATCHED: u32 = 10;
/// In so many pairs both call at once.
const CROSSING: u32 = 4;
/// A call that has not come about in this time has failed.
const CALL_TIME: Duration = Duration::from_secs(20);
/// Until everybody has left.
const LEAVE_TIME: Duration = Duration::from_secs(10);

/// The calls and matches of one run.
pub(crate) struct Calls {
    runtime: Runtime,
    crew: Arc<Crew>,
    expected: u32,
    connected: Arc<Mutex<Connected>>,
    tasks: Vec<JoinHandle<()>>,
}

/// Those who have found each other so far.
struct Connected {
    /// µs that each took to be in its room.
    met: Histogram<u64>,
    /// Who matching has brought into which room, and the members of each call.
    rooms: BTreeMap<String, u32>,
    /// Of both, so that nobody leaves before everybody has come.
    inside: Vec<Room>,
}

impl Calls {
    /// None yet.
    pub(crate) fn new(crew: Arc<Crew>) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("calls")
            .on_thread_start(|| {
                // At ordinary priority they only cost the generator more.
                let _ = nucleus_net::set_thread_nice(NICE);
            })
            .enable_all()
            .build()?;
        let connected =
            Connected { met: tally::histogram(), rooms: BTreeMap::new(), inside: Vec::new() };
        let connected = Arc::new(Mutex::new(connected));
        Ok(Calls { runtime, crew, expected: 0, connected, tasks: Vec::new() })
    }

    /// So many look for a room at once, or make one.
    pub(crate) fn match_up(&mut self, count: u32) {
        self.expected += count;
        for number in 0..count {
            let (crew, connected) = (self.crew.clone(), self.connected.clone());
            self.tasks.push(self.runtime.spawn(async move {
                if let Err(error) = matched(&crew, FIRST + number, &connected).await {
                    crew.log.trouble(format!("a match failed: {error}"));
                }
            }));
        }
    }

    /// So many pairs call each other at once, when all are there.
    pub(crate) fn call(&mut self, pairs: u32) {
        self.expected += 2 * pairs;
        let there = Arc::new(Barrier::new(2 * pairs as usize));
        for number in 0..2 * pairs {
            let party =
                Party { crew: self.crew.clone(), connected: self.connected.clone(), number };
            let there = there.clone();
            self.tasks.push(self.runtime.spawn(async move {
                let crew = party.crew.clone();
                let met = tokio::time::timeout(CALL_TIME, party.meet(&there)).await;
                let met = met.unwrap_or_else(|_| Err("no answer in time".into()));
                if let Err(error) = met {
                    crew.log.trouble(format!("a call failed: {error}"));
                }
            }));
        }
    }

    /// Everybody leaves.
    pub(crate) fn end(self) -> report::Calls {
        let (tasks, connected) = (self.tasks, self.connected.clone());
        self.runtime.block_on(async {
            let leaving = async {
                for task in tasks {
                    // One that failed has said so.
                    let _ = task.await;
                }
                let rooms = std::mem::take(&mut lock(&connected).inside);
                for room in &rooms {
                    room.leave().await;
                }
            };
            let _in_time = tokio::time::timeout(LEAVE_TIME, leaving).await;
        });
        self.runtime.shutdown_background();
        let connected = lock(&self.connected);
        report::Calls {
            expected: self.expected.into(),
            met: connected.met.len(),
            rooms: connected.rooms.len() as u64,
            smallest: connected.rooms.values().min().copied().unwrap_or(0).into(),
            largest: connected.rooms.values().max().copied().unwrap_or(0).into(),
            met_ms: report::Latency::new(&connected.met),
        }
    }
}

impl Connected {
    fn note(&mut self, took: u64, room: Room) {
        self.met.saturating_record(took);
        *self.rooms.entry(room.name().to_owned()).or_default() += 1;
        self.inside.push(room);
    }
}

type Trouble = Box<dyn std::error::Error + Send + Sync>;

async fn matched(crew: &Crew, number: u32, connected: &Mutex<Connected>) -> Result<(), Trouble> {
    let begun = crew.shared.clock.now();
    let options = ConnectOptions::new(crew.target.address.to_string(), token(crew, number)?)
        .match_or_create(Query::new().equals("what", "a match"))
        .options(
            RoomOptions::new().capacity(MATCHED as u16).listed(["what"]).field("what", "a match"),
        );
    let room = connect(options).await?;
    lock(connected).note(crew.shared.clock.now() - begun, room);
    Ok(())
}

fn token(crew: &Crew, number: u32) -> Result<String, Trouble> {
    crew.target.tokens.token(number).map_err(|error| error.to_string().into())
}

/// One of a pair: the first of them calls, the second is called.
struct Party {
    crew: Arc<Crew>,
    connected: Arc<Mutex<Connected>>,
    number: u32,
}

impl Party {
    async fn meet(self, there: &Barrier) -> Result<(), Trouble> {
        let address = self.crew.target.address.to_string();
        let entering = async {
            let token = token(&self.crew, FIRST + self.number)?;
            Ok::<_, Trouble>(enter(EnterOptions::new(address.as_str(), token)).await?)
        };
        // The others wait for it, whatever becomes of it.
        let entered = entering.await;
        there.wait().await;
        let social = entered?;
        let begun = self.crew.shared.clock.now();
        let both = (self.number / 2).is_multiple_of(CROSSING);
        if self.number.is_multiple_of(2) || both {
            let other = format!("h{}", FIRST + (self.number ^ 1));
            social.start(&[other.as_str()], "pump 3 leaks").await?;
        }
        let name = taken(&social).await?;
        let options = ConnectOptions::new(address, token(&self.crew, FIRST + self.number)?);
        let room = connect(options.room(name).join_only()).await?;
        lock(&self.connected).note(self.crew.shared.clock.now() - begun, room);
        // Whoever leaves the hall first would end the call for the other.
        self.crew.leave.subscribe().wait_for(|leave| *leave).await?;
        social.leave().await;
        Ok(())
    }
}

/// The room of the call that comes about.
async fn taken(social: &Social) -> Result<String, Trouble> {
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

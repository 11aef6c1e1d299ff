//! Many who join at once, in rooms of their own, beside a run that is under way: what it does to
//! those who are in already.
//!
//! They run on threads of low priority, so that their half of the handshakes does not stand in
//! the way of the generator's own clocks.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hdrhistogram::Histogram;
use nucleus_client::session::Session;
use nucleus_protocol::session::Code;
use quinn::Endpoint;
use tokio::runtime::{Builder, Runtime};

use super::context::{RunContext, open};
use crate::check::tally;
use crate::report;
use crate::shared::lock;

/// As low as that of the server's own half: lower, and on a machine without an idle core they would run
/// out of their time.
const THREAD_NICE: i32 = 10;
/// Who joins in a storm shares a socket with so many: one each would only cost the generator.
const PER_ENDPOINT: u32 = 50;
/// Of their rooms.
const ROOM_SIZE: u32 = 10;
/// What their closes get to go out.
const CLOSE_TIME: Duration = Duration::from_millis(100);
/// In front of their numbers: nobody of the run itself has one so high.
const FIRST_USER: u32 = 1 << 24;

/// The storms of one run.
pub(crate) struct Storms {
    runtime: Runtime,
    context: Arc<RunContext>,
    attempted: u32,
    tally: Arc<Mutex<StormTally>>,
}

struct StormTally {
    /// µs that each took.
    joins: Histogram<u64>,
    /// Kept: nobody leaves before the run is over.
    sessions: Vec<Session>,
}

impl Storms {
    /// None yet.
    pub(crate) fn new(context: Arc<RunContext>) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("storm")
            .on_thread_start(|| {
                // At ordinary priority they only cost the generator more.
                let _ = nucleus_net::set_thread_nice(THREAD_NICE);
            })
            .enable_all()
            .build()?;
        let tally = StormTally { joins: tally::histogram(), sessions: Vec::new() };
        Ok(Storms { runtime, context, attempted: 0, tally: Arc::new(Mutex::new(tally)) })
    }

    /// So many join at once; they stay.
    pub(crate) fn start(&mut self, joins: u32) {
        let numbers = self.attempted..self.attempted + joins;
        self.attempted += joins;
        let (context, tally) = (self.context.clone(), self.tally.clone());
        self.runtime.spawn(async move {
            let mut endpoint = None;
            for number in numbers {
                if endpoint.is_none() || number.is_multiple_of(PER_ENDPOINT) {
                    endpoint = open(&context, FIRST_USER + number).await.ok();
                }
                // Without a socket it has not joined.
                let Some(endpoint) = endpoint.clone() else { continue };
                tokio::spawn(join(context.clone(), endpoint, number, tally.clone()));
            }
        });
    }

    /// Everybody leaves; how their joins went.
    pub(crate) fn end(self) -> report::Joins {
        let mut tally = lock(&self.tally);
        for session in tally.sessions.drain(..) {
            session.connection().close((Code::Leaving as u32).into(), b"");
        }
        let joins = report::Joins::new(self.attempted.into(), &tally.joins);
        drop(tally);
        self.runtime.block_on(async { tokio::time::sleep(CLOSE_TIME).await });
        self.runtime.shutdown_background();
        joins
    }
}

async fn join(
    context: Arc<RunContext>,
    endpoint: Endpoint,
    number: u32,
    tally: Arc<Mutex<StormTally>>,
) {
    let room = format!("storm-{}", number / ROOM_SIZE);
    let before = context.shared.clock.now();
    let Ok(session) = context.join_room(&endpoint, FIRST_USER + number, room).await else { return };
    let took = context.shared.clock.now() - before;
    let mut tally = lock(&tally);
    tally.joins.saturating_record(took);
    tally.sessions.push(session);
}

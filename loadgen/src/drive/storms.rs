//! Join storms: many clients that join at the same time during a run, in rooms of their own. A
//! storm shows how many joins affect the headsets that joined before.
//!
//! The clients' half of the handshakes runs on a thread of low priority.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nucleus_client::session::RoomSession;
use nucleus_protocol::session::Code;
use quinn::Endpoint;
use tokio::runtime::Runtime;

use super::context::RunContext;
use super::endpoints::SharedEndpoints;
use super::tasks::low_priority_runtime;
use crate::check::times::Times;
use crate::report;
use crate::shared::lock;

/// Clients of a storm that join the same room.
const ROOM_SIZE: u32 = 10;
/// The time for the sessions' closes to be sent.
const CLOSE_TIME: Duration = Duration::from_millis(100);
/// The number of the first user. No headset of the run has so high a number.
const FIRST_USER: u32 = 1 << 24;

/// The join storms of one run.
pub(crate) struct Storms {
    runtime: Runtime,
    context: Arc<RunContext>,
    attempted: u32,
    tally: Arc<Mutex<StormTally>>,
}

/// The joins of all storms so far.
#[derive(Default)]
struct StormTally {
    /// How long each join took, from the start of its storm, µs.
    joins: Times,
    /// The sessions, which are kept until the run ends.
    sessions: Vec<RoomSession>,
}

impl Storms {
    /// Starts the thread, with no storm yet.
    ///
    /// # Errors
    ///
    /// If the system cannot start a thread.
    pub(crate) fn new(context: Arc<RunContext>) -> std::io::Result<Self> {
        let runtime = low_priority_runtime("storm")?;
        Ok(Storms { runtime, context, attempted: 0, tally: Arc::default() })
    }

    /// Lets `joins` clients join at the same time. They stay until the run ends.
    pub(crate) fn start(&mut self, joins: u32) {
        let due = self.context.shared.clock.now();
        let numbers = self.attempted..self.attempted + joins;
        self.attempted += joins;
        let (context, tally) = (self.context.clone(), self.tally.clone());
        self.runtime.spawn(async move {
            let mut endpoints = SharedEndpoints::default();
            for number in numbers {
                // A client without a socket counts as not joined.
                let Ok(endpoint) = endpoints.next(&context, FIRST_USER + number).await else {
                    continue;
                };
                tokio::spawn(join(context.clone(), endpoint, number, due, tally.clone()));
            }
        });
    }

    /// Closes all sessions and returns the figures of their joins.
    pub(crate) fn end(self) -> report::Joins {
        let mut tally = lock(&self.tally);
        for session in tally.sessions.drain(..) {
            if let Some(connection) = session.connection() {
                connection.close((Code::Leaving as u32).into(), b"");
            }
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
    due: u64,
    tally: Arc<Mutex<StormTally>>,
) {
    let room = format!("storm-{}", number / ROOM_SIZE);
    let session = match context.join_room(&endpoint, FIRST_USER + number, room).await {
        Ok(session) => session,
        Err(error) => {
            return context.log.join_failed(format!("a join of a storm failed: {error}"));
        }
    };
    let took = context.shared.clock.now().saturating_sub(due);
    let mut tally = lock(&tally);
    tally.joins.record(took);
    tally.sessions.push(session);
}

//! The small room. One member sends events by a schedule, and another measures how long they take.
//!
//! The schedule is open loop: an event has the time at which it was due, also if it is sent late.
//! An event that does not arrive is counted as missing, not left out.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hdrhistogram::Histogram;
use nucleus_client::RoomEvent;
use nucleus_client::session::{ClientHandle, RoomClient, RoomSession, RoomSessionStep};
use nucleus_net::{Clock, sleep_until};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::rooms::{ClientError, Clients, Received, count, endpoints, send};

/// Members of the small room.
const MEMBERS: usize = 10;
/// Time between two events, µs.
const INTERVAL: u64 = 20_000;
/// How long a measurement waits for events that are late. No event of a server that runs takes so
/// long.
const STRAGGLER_TIME: Duration = Duration::from_secs(10);
/// Longest latency that the histogram holds, µs.
const LONGEST: u64 = 60_000_000;
/// Arrivals that may wait for the measurement: those of 20 s.
const WAITING_ARRIVALS: usize = 1_024;

/// The arrival of an event. Times are those of [`Clock`], µs.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    due: u64,
    at: u64,
}

/// What a measurement of the small room has found.
pub(crate) struct Delays {
    /// The time from when an event was due until it arrived, µs.
    pub(crate) latency: Histogram<u64>,
    /// Events that were due.
    pub(crate) due: u64,
}

impl Delays {
    /// Returns how many events did not arrive.
    pub(crate) fn missing(&self) -> u64 {
        self.due.saturating_sub(self.latency.len())
    }
}

/// A small room.
pub(crate) struct SmallRoom {
    sender: ClientHandle<RoomClient>,
    arrivals: tokio::sync::Mutex<mpsc::Receiver<Arrival>>,
    received: Arc<Received>,
    /// Keep the members in the room.
    _tasks: JoinSet<()>,
}

impl SmallRoom {
    pub(crate) async fn join(clients: &Clients) -> Result<Self, ClientError> {
        let endpoints = endpoints(MEMBERS)?;
        let mut tasks = JoinSet::new();
        let (arrived, arrivals) = mpsc::channel(WAITING_ARRIVALS);
        let received = Arc::new(Received::default());
        let first = clients.join(&endpoints[0], "small").await?;
        let sender = first.client().clone();
        tasks.spawn(count(first, received.clone()));
        for (number, endpoint) in endpoints.iter().enumerate().skip(1) {
            let session = clients.join(endpoint, "small").await?;
            match number == 1 {
                true => tasks.spawn(time(session, received.clone(), arrived.clone())),
                false => tasks.spawn(count(session, received.clone())),
            };
        }
        let arrivals = tokio::sync::Mutex::new(arrivals);
        Ok(Self { sender, arrivals, received, _tasks: tasks })
    }

    /// Measures the events that are due in a time, and waits for those that are late.
    ///
    /// # Errors
    ///
    /// If the system cannot start a thread.
    pub(crate) async fn measure(&self, time: Duration) -> std::io::Result<Delays> {
        let mut delays = Delays { latency: histogram(), due: time.as_micros() as u64 / INTERVAL };
        let mut arrivals = self.arrivals.lock().await;
        let (begin, sender, due) = (Clock::new().now(), self.sender.clone(), delays.due);
        let runtime = Handle::current();
        // A thread wakes when an event is due; a tokio timer would wake up to 1 ms later. The thread
        // is not waited for: if a send hangs, the measurement finds its events missing.
        std::thread::Builder::new().name("small-room".into()).spawn(move || {
            for due in (0..due).map(|number| begin + number * INTERVAL) {
                sleep_until(due);
                if runtime.block_on(send(&sender, &due.to_le_bytes())).is_err() {
                    return;
                }
            }
        })?;
        let deadline = Instant::now() + time + STRAGGLER_TIME;
        while delays.missing() > 0 {
            let Ok(Some(Arrival { due, at })) = timeout_at(deadline, arrivals.recv()).await else {
                break;
            };
            // An event of an earlier measurement may still arrive.
            if due >= begin {
                delays.latency.saturating_record(at.saturating_sub(due));
            }
        }
        Ok(delays)
    }

    /// Returns how many members have lost their session.
    pub(crate) fn closed(&self) -> u64 {
        self.received.closed.load(Relaxed)
    }
}

fn histogram() -> Histogram<u64> {
    // The bounds are valid, so a histogram with the default bounds is never needed.
    Histogram::new_with_bounds(1, LONGEST, 3)
        .unwrap_or_else(|_| unreachable!("1 to 60,000,000 with three digits are valid bounds"))
}

/// Reports when each event was due and when it arrived.
async fn time(mut session: RoomSession, received: Arc<Received>, arrived: mpsc::Sender<Arrival>) {
    loop {
        match session.next().await {
            RoomSessionStep::Event(RoomEvent::Event { payload, .. }) => {
                let at = Clock::new().now();
                if let Some(due) = payload.first_chunk::<8>() {
                    let arrival = Arrival { due: u64::from_le_bytes(*due), at };
                    // If the channel is full, the event counts as missing.
                    let _full = arrived.try_send(arrival);
                }
            }
            RoomSessionStep::Closed => return received.record_closed(),
            _ => {}
        }
    }
}

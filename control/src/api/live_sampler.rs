//! Asks the planes for live figures, once a second for all streams together, and only while there are
//! streams.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use nucleus_core::control::{
    ControlError, ControlReply, ControlRequest, ServerStatus, TenantStatus,
};
use nucleus_core::ids::RoomInstanceId;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::room_figures::LiveRoomFigures;
use crate::planes::PlanesHandle;

/// How often the planes are asked.
const EVERY: Duration = Duration::from_secs(1);
/// Longest wait for an answer: a room that is busy must not hold up the figures of others.
const PATIENCE: Duration = Duration::from_millis(900);

/// The figures of one moment.
#[derive(Debug, Default)]
pub(super) struct LiveSample {
    /// The server's, and when they were read; `None`: nobody wants them, or the server is busy.
    pub(super) server: Option<(Arc<ServerStatus>, Instant)>,
    /// The server's of the sample before.
    pub(super) server_before: Option<(Arc<ServerStatus>, Instant)>,
    /// Those of tenants, by name. One that is missing was not known in time.
    pub(super) tenants: HashMap<String, TenantStatus>,
    /// Those of rooms, each as the event `room`, whose bytes all streams share; `None`: the room has ended. One
    /// that is missing was not known in time.
    pub(super) rooms: HashMap<RoomInstanceId, Option<Bytes>>,
}

/// What one stream wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WantedFigures {
    /// The name of a tenant; `None`: the server.
    pub(super) tenant: Option<String>,
    pub(super) room: Option<RoomInstanceId>,
}

/// What all streams want, each with the number of streams that want it.
#[derive(Debug, Default)]
struct Wanted {
    /// The server under `None`.
    of: HashMap<Option<String>, usize>,
    rooms: HashMap<RoomInstanceId, usize>,
    is_running: bool,
}

/// Samples the figures.
pub(super) struct LiveSampler {
    planes: PlanesHandle,
    wanted: Mutex<Wanted>,
    newest: watch::Sender<Arc<LiveSample>>,
}

/// The samples for one stream, until it is dropped.
pub(super) struct LiveSamples {
    sampler: Arc<LiveSampler>,
    figures: WantedFigures,
    newest: watch::Receiver<Arc<LiveSample>>,
}

impl LiveSampler {
    pub(super) fn new(planes: PlanesHandle) -> Arc<Self> {
        let (newest, _) = watch::channel(Arc::default());
        Arc::new(Self { planes, wanted: Mutex::default(), newest })
    }

    /// Samples for a stream, from the next sample on.
    pub(super) fn watch(self: &Arc<Self>, figures: WantedFigures) -> LiveSamples {
        let mut wanted = self.wanted();
        *wanted.of.entry(figures.tenant.clone()).or_default() += 1;
        if let Some(room) = figures.room {
            *wanted.rooms.entry(room).or_default() += 1;
        }
        if !std::mem::replace(&mut wanted.is_running, true) {
            drop(tokio::spawn(self.clone().run()));
        }
        drop(wanted);
        LiveSamples { sampler: self.clone(), figures, newest: self.newest.subscribe() }
    }

    /// Samples while somebody wants it.
    async fn run(self: Arc<Self>) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut server_before = None;
        loop {
            ticks.tick().await;
            let requests = {
                let mut wanted = self.wanted();
                if wanted.of.is_empty() {
                    wanted.is_running = false;
                    return;
                }
                requests(&wanted)
            };
            let mut sample = LiveSample { server_before, ..LiveSample::default() };
            let mut asking = JoinSet::new();
            for request in requests {
                let planes = self.planes.clone();
                asking.spawn(async move {
                    let answer = timeout(PATIENCE, planes.ask(request.clone())).await;
                    (request, answer.unwrap_or(Err(ControlError::Busy)))
                });
            }
            while let Some(answered) = asking.join_next().await {
                if let Ok((request, answer)) = answered {
                    sample.add(request, answer);
                }
            }
            server_before = sample.server.clone();
            self.newest.send_replace(Arc::new(sample));
        }
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        // No code panics while it holds the lock, so a poisoned lock is still consistent.
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns one request for each thing that is wanted: at most two for each stream.
fn requests(wanted: &Wanted) -> Vec<ControlRequest> {
    let of = wanted.of.keys().map(|tenant| match tenant {
        Some(tenant) => ControlRequest::Tenant { tenant: tenant.clone() },
        None => ControlRequest::Server,
    });
    of.chain(wanted.rooms.keys().map(|room| ControlRequest::RoomStats(*room))).collect()
}

impl LiveSample {
    fn add(&mut self, request: ControlRequest, answer: Result<ControlReply, ControlError>) {
        match (request, answer) {
            (_, Ok(ControlReply::Server(status))) => {
                self.server = Some((Arc::new(*status), Instant::now()));
            }
            (ControlRequest::Tenant { tenant }, Ok(ControlReply::Tenant(status))) => {
                self.tenants.insert(tenant, status);
            }
            (ControlRequest::RoomStats(room), Ok(ControlReply::RoomStats(stats))) => {
                let mut text = String::new();
                event(&mut text, "room", &LiveRoomFigures::new(&stats));
                self.rooms.insert(room, Some(text.into()));
            }
            (ControlRequest::RoomStats(room), Err(ControlError::NoSuchRoom)) => {
                self.rooms.insert(room, None);
            }
            _ => {}
        }
    }
}

impl LiveSamples {
    /// Waits for the next sample. A stream that is slow skips those in between.
    pub(super) async fn next(&mut self) -> Arc<LiveSample> {
        // The sampler lives as long as this.
        let _changed = self.newest.changed().await;
        self.newest.borrow_and_update().clone()
    }

    /// Wants no more figures of the room.
    pub(super) fn forget_room(&mut self) {
        if let Some(room) = self.figures.room.take() {
            count_down(&mut self.sampler.wanted().rooms, &room);
        }
    }
}

impl Drop for LiveSamples {
    fn drop(&mut self) {
        self.forget_room();
        count_down(&mut self.sampler.wanted().of, &self.figures.tenant);
    }
}

/// Appends an event.
pub(super) fn event(text: &mut String, kind: &str, data: &impl Serialize) {
    // These types can always be written, and JSON has no line breaks.
    let data = serde_json::to_string(data).unwrap_or_default();
    let _written = write!(text, "event: {kind}\ndata: {data}\n\n");
}

fn count_down<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

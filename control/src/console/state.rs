//! What the pages share.

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use nucleus_console::screens::ErrorKind;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::answer::PageError;
use super::live_parts::LiveParts;
use crate::api::{self, ApiState};
use crate::timestamp::Timestamp;

/// Files of lists that are made at a time. Each asks the API for up to 50 pages and holds up to some
/// megabytes, so a few buttons that are pressed again and again must not take the database from the others.
const EXPORTS: usize = 2;

/// What the pages say of the server and its surroundings.
#[derive(Clone, Debug)]
pub struct ConsoleSettings {
    /// The name or address under which clients reach the server.
    pub host: String,
    /// The data directory.
    pub data_dir: String,
    /// The UDP port of the session plane.
    pub session_port: u16,
    /// The further UDP ports of the session plane.
    pub session_also: Vec<u16>,
    /// The UDP port of the realtime plane.
    pub realtime_port: u16,
    /// The TCP port of HTTPS; `None`: it is off.
    pub https_port: Option<u16>,
    /// Whether the demo page is served beside the dashboard.
    pub has_demo: bool,
    /// How many days the history is kept.
    pub history_days: u32,
    /// The longest drain, in seconds.
    pub drain_seconds: u64,
}

/// What the pages share.
#[derive(Clone)]
pub struct ConsoleState {
    pub(super) api: ApiState,
    /// The API, which the pages ask inside this process.
    pub(super) router: Router,
    pub(super) settings: Arc<ConsoleSettings>,
    /// What streams share.
    pub(super) parts: Arc<LiveParts>,
    exports: Arc<Semaphore>,
}

impl ConsoleState {
    /// Makes the state of a dashboard.
    pub fn new(api: ApiState, settings: ConsoleSettings) -> Self {
        let (router, settings) = (api::router(api.clone()), Arc::new(settings));
        let (parts, exports) = (Arc::default(), Arc::new(Semaphore::new(EXPORTS)));
        Self { router, api, settings, parts, exports }
    }

    /// Takes a place for making a file of a list. It is free again when the answer is dropped.
    ///
    /// # Errors
    ///
    /// The page that says that there are too many at the moment.
    pub(super) fn export_place(&self) -> Result<SemaphorePermit<'_>, PageError> {
        self.exports.try_acquire().map_err(|_| PageError::Kind(ErrorKind::TooMany))
    }

    /// Returns the time of day.
    pub(super) fn now(&self) -> Timestamp {
        self.api.now()
    }
}

impl FromRef<ConsoleState> for ApiState {
    fn from_ref(state: &ConsoleState) -> Self {
        state.api.clone()
    }
}

//! The control plane: the database of tenants and keys, and the API over HTTP.
//!
//! It runs on threads of its own. The session and realtime planes never wait for it.

pub mod alarms;
pub mod api;
mod api_key;
mod ban_follower;
mod clock_guard;
pub mod console;
pub mod database;
pub mod events;
pub mod fetch;
pub mod forget;
pub mod history;
pub mod http;
mod id;
pub mod issuers;
pub mod people;
mod planes;
mod retention;
mod room_id;
mod scope;
pub mod series;
mod snapshot;
pub mod store;
pub mod streams;
mod timestamp;
pub mod webhooks;

pub use ban_follower::BanFollower;
pub use clock_guard::ClockDoubt;
pub use id::NoRandomness;
pub use planes::{PlanesHandle, PlanesMail};
pub use retention::{RetentionError, RetentionKeeper, RetentionSettings};
pub use snapshot::{Snapshot, SnapshotKeeper, SnapshotSettings};
pub use timestamp::Timestamp;

/// The target of spans for OpenTelemetry. The log leaves them out.
pub const SPANS: &str = "nucleus_spans";

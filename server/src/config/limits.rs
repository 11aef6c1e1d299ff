//! `[limits]`: how much one server, one room and one peer may take, each with its range.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;

use super::value::{ValueError, duration};

/// Bounds of a running server; none of them is unlimited.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Sessions that have joined, at a time: 1 to 1,000,000.
    pub sessions: u32,
    /// Connections whose token has not been accepted yet, at a time: 1 to 65,536.
    pub unjoined: u32,
    /// How long such a connection may stay: 100 ms to 5 s.
    #[serde(deserialize_with = "duration")]
    pub unjoined_timeout: Duration,
    /// Rooms at a time: 1 to 1,000,000.
    pub rooms: u32,
    /// Sessions of one tenant, of all its products: 1 to 1,000,000.
    pub tenant_sessions: u32,
    /// Sessions of one user of a tenant, and rooms that it has made: 1 to 10,000.
    pub user_sessions: u32,
    /// Rooms of one tenant: 1 to 1,000,000.
    pub tenant_rooms: u32,
    /// Rooms of one tenant that do not end when they are empty: 0 to 10,000.
    pub kept_rooms: u32,
    /// The longest that a room may outlive its last peer: 0s to 1 h.
    #[serde(deserialize_with = "duration")]
    pub empty_room_ttl: Duration,
    /// Peers in one room: 2 to 4,000.
    pub room_capacity: u16,
    /// Peers of one room that may speak at once: 1 to 4,000.
    pub speakers: u16,
    /// Objects in one room's shared state: 1 to 4,096.
    pub room_objects: u32,
    /// Objects of these that one peer may own, unless it may moderate: 1 to 4,096.
    pub peer_objects: u32,
    /// Bytes of one room's shared state, as its snapshot: 32,768 to 1,048,576.
    pub room_state_bytes: u32,
    /// Reliable messages that one room takes a second, of all its peers and of both lanes: 1 to 1,000,000.
    pub room_events_per_s: u32,
    /// Bytes of them: 4,096 to 1,073,741,824.
    pub room_event_bytes_per_s: u32,
    /// Reliable events of one peer a second: 1 to 100,000.
    pub peer_events_per_s: u32,
    /// Bytes of them: 1,024 to 16,777,216.
    pub peer_event_bytes_per_s: u32,
    /// Bytes of one peer's bulk lane a second: 1,024 to 16,777,216.
    pub peer_bulk_bytes_per_s: u32,
    /// Requests of one peer a second: 1 to 1,000.
    pub peer_requests_per_s: u32,
    /// Realtime messages of one peer a second: 10 to 100,000.
    pub peer_messages_per_s: u32,
    /// Silence on both planes after which the roster calls a peer away: 10 s (idle clients are heard
    /// every 7.5 s, and get so much longer) to 30 s, after which a silent session is lost.
    #[serde(deserialize_with = "duration")]
    pub away_after: Duration,
    /// How long a peer keeps its place after its session was lost (which takes 30 s of silence): 1 s
    /// to 10 min.
    #[serde(deserialize_with = "duration")]
    pub peer_ttl: Duration,
    /// How long a call rings: 5 s to 5 min.
    #[serde(deserialize_with = "duration")]
    pub ring_time: Duration,
    /// Calls of a tenant's product at a time, ringing ones among them: 1 to 1,000,000.
    pub tenant_calls: u32,
    /// Realtime bits a second to one recipient: 64,000 to 1,000,000,000.
    pub egress_bits_per_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 20_000,
            unjoined: 4096,
            unjoined_timeout: Duration::from_secs(5),
            rooms: 10_000,
            tenant_sessions: 20_000,
            user_sessions: 1_000,
            tenant_rooms: 10_000,
            kept_rooms: 16,
            empty_room_ttl: Duration::from_secs(300),
            room_capacity: 1000,
            speakers: 128,
            room_objects: 4096,
            peer_objects: 1024,
            room_state_bytes: 1 << 20,
            room_events_per_s: 1_000,
            room_event_bytes_per_s: 512 << 10,
            peer_events_per_s: 200,
            peer_event_bytes_per_s: 64 << 10,
            peer_bulk_bytes_per_s: 64 << 10,
            peer_requests_per_s: 30,
            peer_messages_per_s: 1_000,
            away_after: Duration::from_secs(10),
            peer_ttl: Duration::from_secs(30),
            ring_time: Duration::from_secs(30),
            tenant_calls: 2_000,
            egress_bits_per_s: 10_000_000,
        }
    }
}

impl Limits {
    pub(super) fn validate(&self) -> Result<(), ValueError> {
        within("limits.sessions", self.sessions, 1..=1_000_000)?;
        within("limits.unjoined", self.unjoined, 1..=65_536)?;
        within("limits.rooms", self.rooms, 1..=1_000_000)?;
        within("limits.tenant_sessions", self.tenant_sessions, 1..=1_000_000)?;
        within("limits.user_sessions", self.user_sessions, 1..=10_000)?;
        within("limits.tenant_rooms", self.tenant_rooms, 1..=1_000_000)?;
        within("limits.kept_rooms", self.kept_rooms, 0..=10_000)?;
        within("limits.room_capacity", self.room_capacity, 2..=4000)?;
        within("limits.speakers", self.speakers, 1..=4000)?;
        within("limits.room_objects", self.room_objects, 1..=4096)?;
        within("limits.peer_objects", self.peer_objects, 1..=4096)?;
        within("limits.room_state_bytes", self.room_state_bytes, 32_768..=1_048_576)?;
        within("limits.tenant_calls", self.tenant_calls, 1..=1_000_000)?;
        within("limits.egress_bits_per_s", self.egress_bits_per_s, 64_000..=1_000_000_000)?;
        self.validate_rates()?;
        self.validate_times()
    }

    fn validate_rates(&self) -> Result<(), ValueError> {
        within("limits.room_events_per_s", self.room_events_per_s, 1..=1_000_000)?;
        let bytes = self.room_event_bytes_per_s;
        within("limits.room_event_bytes_per_s", bytes, 4_096..=1_073_741_824)?;
        within("limits.peer_events_per_s", self.peer_events_per_s, 1..=100_000)?;
        let bytes = self.peer_event_bytes_per_s;
        within("limits.peer_event_bytes_per_s", bytes, 1_024..=16_777_216)?;
        within("limits.peer_bulk_bytes_per_s", self.peer_bulk_bytes_per_s, 1_024..=16_777_216)?;
        within("limits.peer_requests_per_s", self.peer_requests_per_s, 1..=1_000)?;
        within("limits.peer_messages_per_s", self.peer_messages_per_s, 10..=100_000)
    }

    fn validate_times(&self) -> Result<(), ValueError> {
        within_ms("limits.unjoined_timeout", self.unjoined_timeout, 100..=5_000)?;
        within_ms("limits.empty_room_ttl", self.empty_room_ttl, 0..=3_600_000)?;
        within_ms("limits.away_after", self.away_after, 10_000..=30_000)?;
        within_ms("limits.ring_time", self.ring_time, 5_000..=300_000)?;
        within_ms("limits.peer_ttl", self.peer_ttl, 1_000..=600_000)
    }
}

pub(super) fn within<T: PartialOrd + Display>(
    key: &str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<(), ValueError> {
    if range.contains(&value) {
        return Ok(());
    }
    let (low, high) = (range.start(), range.end());
    Err(ValueError::new(format!("{key} = {value} is out of range: write {low} to {high}")))
}

fn within_ms(key: &str, value: Duration, range: RangeInclusive<u128>) -> Result<(), ValueError> {
    if range.contains(&value.as_millis()) {
        return Ok(());
    }
    let (low, high) = (in_units(*range.start()), in_units(*range.end()));
    let value = in_units(value.as_millis());
    Err(ValueError::new(format!("{key} = {value} is out of range: write {low} to {high}")))
}

/// As it is written in the file.
fn in_units(millis: u128) -> String {
    if millis.is_multiple_of(1_000) {
        format!("{}s", millis / 1_000)
    } else {
        format!("{millis}ms")
    }
}

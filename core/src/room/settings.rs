//! What holds for a session in this room, as `Joined` tells it.

use nucleus_protocol::limits::{MAX_BULK_MESSAGE, MAX_EVENT_PAYLOAD};
use nucleus_protocol::session::SessionSettings;

use super::RoomConfig;
use crate::limits;
use crate::stream_rates::StreamRates;

/// Returns the settings of a session whose datagrams have at most `max_body` bytes of frames, and
/// whose ticket admits to another instance of the room for `ticket_ttl_s` seconds.
pub(super) fn session_settings(
    config: &RoomConfig,
    max_body: usize,
    ticket_ttl_s: u64,
) -> SessionSettings {
    let RoomConfig { limits, capacity, options, .. } = config;
    let (events, bulk) = (StreamRates::events(limits), StreamRates::bulk(limits));
    let requests = StreamRates::requests(limits);
    SessionSettings {
        capacity: u64::from(*capacity),
        empty_ttl_ms: options.empty_ttl.as_millis() as u64,
        peer_ttl_ms: limits.peer_ttl.as_millis() as u64,
        away_after_ms: limits.away_after.as_millis() as u64,
        report_interval_ms: limits::REPORT_INTERVAL.as_millis() as u64,
        max_body: max_body as u64,
        max_event: MAX_EVENT_PAYLOAD as u64,
        max_bulk: MAX_BULK_MESSAGE as u64,
        max_state: u64::from(limits.room_state_bytes),
        max_objects: u64::from(limits.room_objects),
        max_user_objects: u64::from(limits.user_objects),
        events_per_s: events.messages.per_second,
        event_burst: events.messages.burst,
        event_bytes_per_s: events.bytes.per_second,
        event_bytes_burst: events.bytes.burst,
        bulk_per_s: bulk.messages.per_second,
        bulk_burst: bulk.messages.burst,
        bulk_bytes_per_s: bulk.bytes.per_second,
        bulk_bytes_burst: bulk.bytes.burst,
        requests_per_s: requests.messages.per_second,
        request_burst: requests.messages.burst,
        request_bytes_per_s: requests.bytes.per_second,
        request_bytes_burst: requests.bytes.burst,
        messages_per_s: limits::message_rate(limits).per_second,
        message_burst: limits::message_rate(limits).burst,
        message_bytes_per_s: limits::MESSAGE_BYTES_RATE.per_second,
        message_bytes_burst: limits::MESSAGE_BYTES_RATE.burst,
        speakers: u64::from(limits.speakers),
        egress_bits_per_s: limits.egress_bits_per_s,
        ticket_ttl_s,
    }
}

//! Takes the messages of a link. Decides whether each may be relayed, and notes that the peer is
//! active.

use nucleus_protocol::limits::CAPTURE_AGE;
use nucleus_protocol::link::{Messages, Route};
use nucleus_protocol::realtime::pose::Pose;
use nucleus_protocol::realtime::voice::VOICE_FIELDS_BYTES;
use nucleus_protocol::realtime::{Message, MessageKind};
use nucleus_protocol::session::throttled;
use nucleus_protocol::time::Time;

use super::Fanout;
use super::counters::FanoutCounters;
use super::entry::LinkEntry;
use super::input::LinkEvent;
use super::room::RoomFanout;
use crate::limits;

impl Fanout {
    /// Takes the messages of an authentic datagram of link `index`. `age_known` is false if they may
    /// have waited in a buffer for any time.
    pub(super) fn take(&mut self, now: Time, index: u32, messages: Messages<'_>, age_known: bool) {
        let Some(entry) = self.links[index as usize].as_mut() else { return };
        self.counters.false_figures += entry.note_figures(now);
        let room = &mut self.rooms[entry.room];
        let (mut throttled, is_watched) = (None, room.watch.is_some());
        for message in messages {
            entry.last_message = now;
            self.counters.messages_in += 1;
            if !age_known {
                self.counters.too_old += 1;
                continue;
            }
            let speakers = self.config.limits.speakers;
            if let Err(what) = admit(now, entry, room, &mut self.counters, &message, speakers) {
                throttled = what.or(throttled);
                continue;
            }
            if !room.push(now, entry.recipient.slot, &message) {
                self.counters.refused_messages += 1;
                continue;
            }
            if is_watched && message.kind == MessageKind::Pose {
                room.note_pose(now, entry.recipient.peer, message.payload);
            }
            if let Some(at) = room.flush_by(now + self.tick.max_wait(message.kind)) {
                self.due.push(at, entry.room as u32);
            }
        }
        if let Some(what) = throttled.filter(|_| entry.next_throttled_report <= now) {
            entry.next_throttled_report = now + limits::THROTTLED_INTERVAL;
            self.outputs.push_back(entry.event(room.id, LinkEvent::Throttled(what)));
        }
        let fallback = matches!(entry.link.route(), Some((Route::Session, _)));
        if fallback != entry.on_fallback {
            entry.on_fallback = fallback;
            entry.note_fallback(now);
            if fallback {
                self.on_fallback += 1
            } else {
                self.on_fallback -= 1
            }
            entry.note_route(now);
        } else if entry.has_other_path() {
            entry.note_route(now);
        }
        self.mark_active(now, index);
    }

    /// Notes that the peer of link `index` is active at `now`.
    pub(super) fn mark_active(&mut self, now: Time, index: u32) {
        let Some(entry) = self.links[index as usize].as_mut() else { return };
        entry.last_received = entry.last_received.max(now);
        if entry.reported_silent != Some(false) {
            entry.reported_silent = Some(false);
            let room = self.rooms[entry.room].id;
            self.outputs.push_back(entry.event(room, LinkEvent::Active));
        }
        self.after_link(now, index);
    }
}

/// Decides whether a message may be relayed.
///
/// # Errors
///
/// The reason for which the sender is throttled, one of [`throttled`]. `None`: the message is
/// dropped for its content, of which the sender is not told.
fn admit(
    now: Time,
    entry: &mut LinkEntry,
    room: &mut RoomFanout,
    counters: &mut FanoutCounters,
    message: &Message<'_>,
    speakers: u16,
) -> Result<(), Option<u8>> {
    let bytes = message.encoded_len() as u64;
    let within_rate =
        entry.ingress.bytes.available(now) >= bytes && entry.ingress.messages.try_take(now);
    if !within_rate {
        counters.over_rate += 1;
        return Err(Some(throttled::REALTIME));
    }
    entry.ingress.bytes.take(bytes);
    if !is_whole(message) {
        counters.incomplete += 1;
        return Err(None);
    }
    if is_too_old(now, message) {
        counters.too_old += 1;
        return Err(None);
    }
    if message.kind == MessageKind::Voice && entry.muted {
        counters.muted += 1;
        return Err(Some(throttled::MUTED));
    }
    if message.kind == MessageKind::Voice && !room.may_speak(now, entry.recipient.slot, speakers) {
        counters.over_speakers += 1;
        return Err(Some(throttled::SPEAKERS));
    }
    Ok(())
}

/// Returns whether a message was captured so long before its arrival at `now` that it is worth
/// nothing. It waited in a buffer that nobody read, and comes with many others.
fn is_too_old(now: Time, message: &Message<'_>) -> bool {
    message.time.is_some_and(|captured| now.capture_age(captured) > CAPTURE_AGE)
}

/// Returns whether the payload has all fields of its kind. Receivers would drop other poses and
/// voice packets, each by itself. Does not read what stands behind these fields.
fn is_whole(message: &Message<'_>) -> bool {
    match message.kind {
        MessageKind::Pose => Pose::is_whole(message.payload),
        MessageKind::Voice => message.payload.len() >= VOICE_FIELDS_BYTES,
        MessageKind::Unreliable | MessageKind::Pointer => true,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn message(kind: MessageKind, time: Option<u16>, payload: &[u8]) -> Message<'_> {
        Message { kind, flags: 0, peer: 0, channel: 0, key: 0, sequence: 0, time, payload }
    }

    #[test]
    fn what_waited_for_more_than_a_second_is_too_old() {
        // Also where the field wraps.
        for now in [Time::from_millis(70_000), Time::from_millis(65_536 + 500)] {
            let too_old = |time| is_too_old(now, &message(MessageKind::Pose, time, &[]));
            assert!(!too_old(None), "without a claim the arrival counts");
            let at = |time: Time| Some(time.as_wire_millis());
            for age in [0, 400, 1_000] {
                assert!(!too_old(at(now - Duration::from_millis(age))), "{age} ms");
            }
            for age in [1_001, 3_000, 14_000, 40_000, 61_000] {
                assert!(too_old(at(now - Duration::from_millis(age))), "{age} ms");
            }
            for ahead in [1, 50, 4_000] {
                assert!(!too_old(at(now + Duration::from_millis(ahead))), "{ahead} ms ahead");
            }
        }
    }

    #[test]
    fn poses_and_voice_must_be_whole() {
        let whole = |kind, payload: &[u8]| is_whole(&message(kind, None, payload));
        for (hands, least) in [(0, 15), (1, 24), (2, 24), (3, 33)] {
            for len in 0..40 {
                let mut payload = vec![0; len];
                payload.iter_mut().take(1).for_each(|flags| *flags = hands);
                assert_eq!(whole(MessageKind::Pose, &payload), len >= least, "{hands} {len}");
            }
        }
        for len in 0..4 {
            assert_eq!(whole(MessageKind::Voice, &vec![0; len]), len >= 2);
            assert!(whole(MessageKind::Unreliable, &vec![0; len]));
            assert!(whole(MessageKind::Pointer, &vec![0; len]));
        }
    }
}

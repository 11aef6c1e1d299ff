//! What the program has counted.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use nucleus_client::{EntityId, Room, RpcError};

use crate::COUNT;
use crate::memory::{Memory, Record};

/// The counters of one process.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) resumed: bool,
    pub(crate) frames: u64,
    /// Longest time from one frame to the next. A long one tells of a machine that is too busy.
    pub(crate) longest_pause: Duration,
    /// Shown poses by their user.
    pub(crate) seen: BTreeMap<String, u64>,
    /// Interpolated poses, which were compared with the truth.
    pub(crate) compared: u64,
    pub(crate) over_60mm: u64,
    pub(crate) max_error_mm: f64,
    /// Frames in which a pose showed an earlier moment than in the frame before.
    pub(crate) backwards: u64,
    /// Events that this run has sent.
    pub(crate) sent: u64,
    /// Events by their sender's user.
    pub(crate) received: BTreeMap<String, u64>,
    pub(crate) gaps: u64,
    pub(crate) repeats: u64,
    pub(crate) asked: u64,
    pub(crate) answered: u64,
    pub(crate) wrong: u64,
    /// Requests to peers that failed, by the kind of failure.
    pub(crate) ask_failures: BTreeMap<&'static str, u64>,
    /// Changes of the count that came after one of another user.
    pub(crate) conflicts: u64,
    pub(crate) change_failures: u64,
    /// How often the client came back as a new peer.
    pub(crate) rejoined: u64,
}

impl Report {
    /// Checks that an event is the next one of its sender. A later run begins at 0; the end of a
    /// run that was killed may be missing, and so may events before this one if `may_miss`.
    pub(crate) fn check_event(
        &mut self,
        record: &mut Record,
        run: u64,
        number: u64,
        may_miss: bool,
    ) {
        if run > record.run {
            *record = Record { run, next: 0 };
        }
        if run < record.run || number < record.next {
            self.repeats += 1;
            return;
        }
        self.gaps += u64::from(number > record.next && !may_miss);
        record.next = number + 1;
    }

    pub(crate) fn check_answer(&mut self, expected: u64, result: Result<Vec<u8>, RpcError>) {
        match result {
            Ok(answer) if answer == expected.to_string().as_bytes() => self.answered += 1,
            Ok(_) => self.wrong += 1,
            Err(error) => {
                let kind = match error {
                    RpcError::TimedOut => "timed_out",
                    RpcError::Interrupted => "interrupted",
                    RpcError::NoSuchMethod => "no_such_method",
                    RpcError::Fault(_) => "failed",
                    RpcError::Busy => "busy",
                    _ => "other",
                };
                *self.ask_failures.entry(kind).or_default() += 1;
            }
        }
    }

    /// Returns the report as one line.
    pub(crate) fn to_json(&self, room: &Room, memory: &Memory) -> String {
        let count = room.field(EntityId::Room, COUNT).and_then(|field| field.value.as_integer());
        let (version, digest) = (room.state_version(), room.state_digest());
        let digest = digest.iter().fold(String::new(), |mut text, byte| {
            // Writing to a text cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        let record = |(user, record): (&String, &Record)| (user.clone(), [record.run, record.next]);
        let records: BTreeMap<_, _> = memory.records.iter().map(record).collect();
        serde_json::json!({
            "user": room.peer(room.me()).map(|me| me.user),
            "peer": room.me().0,
            "run": memory.run,
            "resumed": self.resumed,
            "frames": self.frames,
            "longest_pause_ms": self.longest_pause.as_millis() as u64,
            "seen": self.seen,
            "compared": self.compared,
            "over_60mm": self.over_60mm,
            "max_error_mm": self.max_error_mm,
            "backwards": self.backwards,
            "sent": self.sent,
            "received": self.received,
            "records": records,
            "gaps": self.gaps,
            "repeats": self.repeats,
            "asked": self.asked,
            "answered": self.answered,
            "wrong": self.wrong,
            "ask_failures": self.ask_failures,
            "successes": memory.successes,
            "conflicts": self.conflicts,
            "change_failures": self.change_failures,
            "rejoined": self.rejoined,
            "objects": room.objects().len(),
            "version": version,
            "digest": digest,
            "count": count.unwrap_or(0),
            "on_fallback": room.stats().on_fallback,
        })
        .to_string()
    }
}

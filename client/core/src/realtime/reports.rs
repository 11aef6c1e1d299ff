//! What the realtime plane reports besides messages: who speaks, and which path messages take.

use std::collections::VecDeque;

use nucleus_protocol::realtime::voice::Voice;
use nucleus_protocol::time::Time;

use super::quality::ConnectionQuality;
use super::speaking::{Speaking, SpeakingChange};
use crate::roster::PeerId;

/// Speaking changes that may wait for the application. When the queue is full, the oldest is
/// dropped.
const SPEAKING_CHANGES: usize = 512;

/// A report for the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RealtimeReport {
    /// A peer started or stopped speaking.
    Speaking(SpeakingChange),
    /// Messages changed their path: whether they travel inside the session now, because the
    /// realtime port does not answer.
    Fallback(bool),
    /// The connection became better or worse.
    Quality(ConnectionQuality),
}

/// The reports that wait for the application.
#[derive(Default)]
pub(super) struct RealtimeReports {
    speaking: Speaking,
    changes: VecDeque<SpeakingChange>,
    on_fallback: bool,
    /// Whether `on_fallback` has changed since the application was told.
    fallback_changed: bool,
    /// The newest quality that the application was not told.
    quality: Option<ConnectionQuality>,
}

impl RealtimeReports {
    pub(super) fn speaking(&self) -> &Speaking {
        &self.speaking
    }

    pub(super) fn on_fallback(&self) -> bool {
        self.on_fallback
    }

    /// Handles a voice packet.
    pub(super) fn on_voice(&mut self, now: Time, from: PeerId, voice: &Voice<'_>) {
        if let Some(change) = self.speaking.on_voice(now, from, voice.level, voice.speaking) {
            self.push(change);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Time) {
        if self.speaking.deadline().is_none_or(|at| at > now) {
            return;
        }
        let stopped: Vec<SpeakingChange> = self.speaking.handle_timeout(now).collect();
        stopped.into_iter().for_each(|change| self.push(change));
    }

    fn push(&mut self, change: SpeakingChange) {
        if self.changes.len() >= SPEAKING_CHANGES {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
    }

    /// Removes a peer that left, without a report.
    pub(super) fn forget(&mut self, peer: PeerId) {
        self.speaking.forget(peer);
        self.changes.retain(|change| change.peer != peer);
    }

    /// Forgets all peers.
    pub(super) fn forget_all(&mut self) {
        self.speaking = Speaking::default();
        self.changes.clear();
    }

    pub(super) fn set_on_fallback(&mut self, on_fallback: bool) {
        // A change that is undone before the application asks is no change.
        self.fallback_changed ^= self.on_fallback != on_fallback;
        self.on_fallback = on_fallback;
    }

    pub(super) fn set_quality(&mut self, quality: ConnectionQuality) {
        self.quality = Some(quality);
    }

    pub(super) fn take(&mut self) -> Option<RealtimeReport> {
        if std::mem::take(&mut self.fallback_changed) {
            return Some(RealtimeReport::Fallback(self.on_fallback));
        }
        if let Some(quality) = self.quality.take() {
            return Some(RealtimeReport::Quality(quality));
        }
        self.changes.pop_front().map(RealtimeReport::Speaking)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty() && !self.fallback_changed && self.quality.is_none()
    }
}

//! Key phases: when a sender starts the next phase, and which phase's key a receiver uses.

use std::time::Duration;

use super::counters::{Exhausted, Rejected};
use super::keys::{PacketKey, PhaseSecret};
use super::replay::{Freshness, ReplayWindow};
use crate::limits;
use crate::realtime::{ConnectionId, Header, frame};
use crate::time::Time;

/// The limits of a key phase. The defaults are the protocol's; tests use smaller ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhaseLimits {
    /// Packets after which a sender starts the next phase.
    pub packets: u32,
    /// Time after which a sender starts the next phase.
    pub time: Duration,
    /// Shortest time from the first acknowledgement of a phase to the next phase, whatever the
    /// limits above. A receiver refuses a change of phase within half of this time after the last.
    pub min_time: Duration,
    /// How long a receiver keeps the previous phase.
    pub overlap: Duration,
    /// Most packets that a link may send in all phases together.
    pub max_packets: u32,
}

impl Default for PhaseLimits {
    fn default() -> Self {
        Self {
            packets: limits::PHASE_PACKETS,
            time: limits::PHASE_TIME,
            min_time: limits::PHASE_MIN_TIME,
            overlap: limits::PHASE_OVERLAP,
            max_packets: limits::MAX_PACKETS,
        }
    }
}

/// The keys with which this end sends.
pub(super) struct SendKeys {
    secret: PhaseSecret,
    key: PacketKey,
    limits: PhaseLimits,
    next_number: u32,
    phase_began: Time,
    phase_first: u32,
    /// When this end learned that the peer has received a packet of the present phase.
    acknowledged: Option<Time>,
}

impl SendKeys {
    pub(super) fn new(now: Time, secret: PhaseSecret, limits: PhaseLimits) -> Self {
        let key = secret.key();
        Self {
            secret,
            key,
            limits,
            next_number: 0,
            phase_began: now,
            phase_first: 0,
            acknowledged: None,
        }
    }

    /// Notes that the peer has received the packet with this number. Ignores a number that was not
    /// sent in the present phase.
    pub(super) fn acknowledge(&mut self, now: Time, number: u32) {
        if (self.phase_first..self.next_number).contains(&number) {
            self.acknowledged.get_or_insert(now);
        }
    }

    /// Takes a report of the peer: the largest number that it has received, and how many packets.
    pub(super) fn acknowledge_reported(&mut self, now: Time, largest: u32, received: u32) {
        if received > 0 {
            self.acknowledge(now, largest);
        }
    }

    /// Notes that the peer has received a packet that this end began to write at `at`.
    pub(super) fn acknowledge_sent_at(&mut self, now: Time, at: Time) {
        // A packet begun at the very moment of the change may still belong to the phase before.
        if at > self.phase_began {
            self.acknowledged.get_or_insert(now);
        }
    }

    /// Returns whether every packet number has been used.
    pub(super) fn exhausted(&self) -> bool {
        self.next_number >= self.limits.max_packets
    }

    /// Returns the number of the next packet.
    pub(super) fn next_number(&self) -> u32 {
        self.next_number
    }

    /// Returns the phase of the last sealed packet, counted from 0.
    #[cfg(test)]
    pub(super) fn phase(&self) -> u32 {
        self.secret.phase()
    }

    /// Seals the datagram that begins at `start` with a placeholder for its header, and appends the
    /// tag. On `Err` cuts the datagram off, so that it cannot be sent unsealed.
    pub(super) fn seal(
        &mut self,
        now: Time,
        connection_id: ConnectionId,
        out: &mut Vec<u8>,
        start: usize,
    ) -> Result<(), Exhausted> {
        // A receiver refuses shorter datagrams.
        let least = start + limits::MIN_DATAGRAM - limits::TAG;
        if out.len() < least {
            out.resize(least, frame::PADDING);
        }
        let sealed = self.seal_at(now, connection_id, &mut out[start..]);
        match sealed {
            Some(tag) => out.extend_from_slice(&tag),
            None => out.truncate(start),
        }
        sealed.map(drop).ok_or(Exhausted)
    }

    fn seal_at(
        &mut self,
        now: Time,
        connection_id: ConnectionId,
        datagram: &mut [u8],
    ) -> Option<[u8; limits::TAG]> {
        if self.exhausted() {
            return None;
        }
        self.start_phase_when_due(now);
        let number = self.next_number;
        let header = Header { phase: self.secret.phase() as u8 & 3, connection_id, number };
        let (head, body) = datagram.split_first_chunk_mut::<{ limits::HEADER }>()?;
        *head = header.to_bytes();
        // Incremented before sealing, so that no number is used twice even if sealing fails.
        self.next_number += 1;
        self.key.seal(number, head, body)
    }

    /// Starts the next phase if it is due and the peer has followed into the present one for long
    /// enough. The peer opens datagrams of its present phase and of the next one. If this end
    /// changed its phase while the peer receives nothing, the two ends would be phases apart, and
    /// the peer would refuse every datagram from then on.
    fn start_phase_when_due(&mut self, now: Time) {
        let full = self.next_number - self.phase_first >= self.limits.packets;
        let due = full || now.since(self.phase_began) >= self.limits.time;
        let settled = self.acknowledged.is_some_and(|at| now.since(at) >= self.limits.min_time);
        if !due || !settled {
            return;
        }
        self.secret = self.secret.next();
        self.key = self.secret.key();
        self.phase_began = now;
        self.phase_first = self.next_number;
        self.acknowledged = None;
    }
}

/// A phase's key and the packet numbers received under it.
struct Phase {
    key: PacketKey,
    window: ReplayWindow,
}

impl Phase {
    fn new(key: PacketKey) -> Self {
        Self { key, window: ReplayWindow::default() }
    }

    /// Opens a datagram. Moves the window only if the datagram is authentic.
    fn open<'d>(
        &mut self,
        header: &Header,
        head: &[u8; limits::HEADER],
        sealed: &'d mut [u8],
    ) -> Result<&'d mut [u8], Rejected> {
        match self.window.check(header.number) {
            Freshness::Fresh => {}
            Freshness::Replayed => return Err(Rejected::Replayed),
            Freshness::TooOld => return Err(Rejected::TooOld),
        }
        let body = self.key.open(header.number, head, sealed).ok_or(Rejected::Tag)?;
        self.window.insert(header.number);
        Ok(body)
    }
}

/// An authentic datagram.
pub(super) struct Opened<'d> {
    pub(super) body: &'d [u8],
    /// Whether the packet number is larger than all before.
    pub(super) highest: bool,
}

/// The phase after the current one, and its secret.
struct NextPhase {
    secret: PhaseSecret,
    phase: Phase,
}

/// The phase before the current one.
struct PreviousPhase {
    phase: Phase,
    erase_at: Time,
}

/// The keys with which this end receives.
pub(super) struct RecvKeys {
    secret: PhaseSecret,
    current: Phase,
    /// The next phase, derived for the first datagram that claims to be of this phase. Kept, so
    /// that further such datagrams cost no derivation. Boxed, as `previous` is, because a link has
    /// these phases only for seconds in an hour.
    next: Option<Box<NextPhase>>,
    previous: Option<Box<PreviousPhase>>,
    /// When the current phase began: its first authentic datagram, or the link's creation.
    phase_began: Time,
    /// Shortest time from there to the next phase.
    min_time: Duration,
    overlap: Duration,
    largest: u32,
    received: u32,
}

impl RecvKeys {
    pub(super) fn new(now: Time, secret: PhaseSecret, limits: PhaseLimits) -> Self {
        Self {
            current: Phase::new(secret.key()),
            secret,
            next: None,
            previous: None,
            phase_began: now,
            min_time: limits.min_time / 2,
            overlap: limits.overlap,
            largest: 0,
            received: 0,
        }
    }

    /// Returns the largest packet number received; 0 before the first.
    pub(super) fn largest(&self) -> u32 {
        self.largest
    }

    /// Returns the number of authentic datagrams received; 0 before the first. After `u32::MAX` the
    /// number continues at 1.
    pub(super) fn received(&self) -> u32 {
        self.received
    }

    /// Returns the newest phase of an authentic datagram, counted from 0.
    #[cfg(test)]
    pub(super) fn phase(&self) -> u32 {
        self.secret.phase()
    }

    /// Opens a datagram in place. On `Err` neither keys nor windows have changed.
    pub(super) fn open<'d>(
        &mut self,
        now: Time,
        header: &Header,
        datagram: &'d mut [u8],
    ) -> Result<Opened<'d>, Rejected> {
        let (head, sealed) = datagram.split_first_chunk_mut().ok_or(Rejected::Header)?;
        let body = match header.phase.wrapping_sub(self.secret.phase() as u8) & 3 {
            0 => self.current.open(header, head, sealed),
            1 => self.open_next(now, header, head, sealed),
            3 => self.open_previous(now, header, head, sealed),
            _ => Err(Rejected::Phase),
        }?;
        let highest = self.received == 0 || header.number > self.largest;
        self.largest = self.largest.max(header.number);
        // Does not wrap to 0, which stands for "none yet".
        self.received = self.received.checked_add(1).unwrap_or(1);
        Ok(Opened { body, highest })
    }

    fn open_next<'d>(
        &mut self,
        now: Time,
        header: &Header,
        head: &[u8; limits::HEADER],
        sealed: &'d mut [u8],
    ) -> Result<&'d mut [u8], Rejected> {
        // A sender does neither. Checked first, because a new phase costs two derivations of keys.
        if now.since(self.phase_began) < self.min_time || header.number <= self.largest {
            return Err(Rejected::Phase);
        }
        let mut next = self.next.take().unwrap_or_else(|| {
            let secret = self.secret.next();
            let key = secret.key();
            Box::new(NextPhase { secret, phase: Phase::new(key) })
        });
        let opened = next.phase.open(header, head, sealed);
        if opened.is_ok() {
            // A swap moves the old secret into the box, which erases it when it is dropped. No copy
            // of the secret remains elsewhere.
            std::mem::swap(&mut self.secret, &mut next.secret);
            std::mem::swap(&mut self.current, &mut next.phase);
            let previous = PreviousPhase { phase: next.phase, erase_at: now + self.overlap };
            self.previous = Some(Box::new(previous));
            self.phase_began = now;
        } else {
            self.next = Some(next);
        }
        opened
    }

    fn open_previous<'d>(
        &mut self,
        now: Time,
        header: &Header,
        head: &[u8; limits::HEADER],
        sealed: &'d mut [u8],
    ) -> Result<&'d mut [u8], Rejected> {
        match self.previous.as_deref_mut() {
            Some(PreviousPhase { phase, erase_at }) if now < *erase_at => {
                phase.open(header, head, sealed)
            }
            _ => Err(Rejected::Phase),
        }
    }

    /// Erases the previous phase when its time is over.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        self.previous.take_if(|previous| previous.erase_at <= now);
    }

    /// Returns when to erase the previous phase.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.previous.as_ref().map(|previous| previous.erase_at)
    }
}

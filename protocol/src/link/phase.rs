//! Key phases: when a sender moves on, and which keys a receiver tries.

use std::time::Duration;

use super::counters::{Exhausted, Rejected};
use super::keys::{PacketKey, PhaseSecret};
use super::replay::{Freshness, ReplayWindow};
use crate::limits;
use crate::realtime::{ConnectionId, Header, frame};
use crate::time::Time;

/// When phases change. The defaults are the protocol's; tests take smaller ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhaseLimits {
    /// A sender moves on after this many packets of a phase ...
    pub packets: u32,
    /// ... or after this long ...
    pub time: Duration,
    /// ... but never sooner than this after the last time.
    pub min_time: Duration,
    /// How long a receiver keeps the phase before.
    pub overlap: Duration,
    /// Packets a link may send in all.
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

/// The keys of the direction in which this end sends.
pub(super) struct SendKeys {
    secret: PhaseSecret,
    key: PacketKey,
    limits: PhaseLimits,
    next_number: u32,
    phase_began: Time,
    phase_first: u32,
}

impl SendKeys {
    pub(super) fn new(now: Time, secret: PhaseSecret, limits: PhaseLimits) -> Self {
        let key = secret.key();
        Self { secret, key, limits, next_number: 0, phase_began: now, phase_first: 0 }
    }

    /// Whether every packet number has been used.
    pub(super) fn exhausted(&self) -> bool {
        self.next_number >= self.limits.max_packets
    }

    /// The number that the next packet will have.
    pub(super) fn next_number(&self) -> u32 {
        self.next_number
    }

    /// The phase of the last packet sealed, counted from 0.
    #[cfg(test)]
    pub(super) fn phase(&self) -> u32 {
        self.secret.phase()
    }

    /// Seals the datagram that begins at `start` with a placeholder for its header, and appends the
    /// tag. On `Err` the datagram is cut off: it must not leave unsealed.
    pub(super) fn seal(
        &mut self,
        now: Time,
        connection_id: ConnectionId,
        out: &mut Vec<u8>,
        start: usize,
    ) -> Result<(), Exhausted> {
        // The least datagram that a receiver takes for one.
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
        self.move_on(now);
        let number = self.next_number;
        let header = Header { phase: self.secret.phase() as u8 & 3, connection_id, number };
        let (head, body) = datagram.split_first_chunk_mut::<{ limits::HEADER }>()?;
        *head = header.to_bytes();
        // Taken before the seal: whatever happens, no number is used twice.
        self.next_number += 1;
        self.key.seal(number, head, body)
    }

    fn move_on(&mut self, now: Time) {
        let age = now.since(self.phase_began);
        let full = self.next_number - self.phase_first >= self.limits.packets;
        if !(full || age >= self.limits.time) || age < self.limits.min_time {
            return;
        }
        self.secret = self.secret.next();
        self.key = self.secret.key();
        self.phase_began = now;
        self.phase_first = self.next_number;
    }
}

/// A phase's key with the numbers received under it.
struct Phase {
    key: PacketKey,
    window: ReplayWindow,
}

impl Phase {
    fn new(key: PacketKey) -> Self {
        Self { key, window: ReplayWindow::default() }
    }

    /// Opens a datagram; the window moves only when it was genuine.
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

/// A datagram that proved genuine.
pub(super) struct Opened<'d> {
    pub(super) body: &'d [u8],
    /// Its number is larger than every one before it.
    pub(super) highest: bool,
}

/// The keys of the direction in which this end receives.
pub(super) struct RecvKeys {
    secret: PhaseSecret,
    current: Phase,
    /// Derived when the first datagram claims it, so that a flood of such claims costs once. Boxed,
    /// like the one before: a link has them for seconds an hour.
    next: Option<Box<(PhaseSecret, Phase)>>,
    previous: Option<Box<(Phase, Time)>>,
    overlap: Duration,
    largest: u32,
    received: u32,
}

impl RecvKeys {
    pub(super) fn new(secret: PhaseSecret, limits: PhaseLimits) -> Self {
        let current = Phase::new(secret.key());
        let (next, previous) = (None, None);
        Self { secret, current, next, previous, overlap: limits.overlap, largest: 0, received: 0 }
    }

    /// Largest packet number received; 0 before the first.
    pub(super) fn largest(&self) -> u32 {
        self.largest
    }

    /// Genuine datagrams received, wrapping.
    pub(super) fn received(&self) -> u32 {
        self.received
    }

    /// The newest phase that something genuine came in, counted from 0.
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
        // Never back to 0, which stands for "none yet".
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
        let mut next = self.next.take().unwrap_or_else(|| {
            let secret = self.secret.next();
            let key = secret.key();
            Box::new((secret, Phase::new(key)))
        });
        let opened = next.1.open(header, head, sealed);
        if opened.is_ok() {
            // By swaps: the old secret is erased where it then lies, and no copy stays behind.
            let (secret, phase) = &mut *next;
            std::mem::swap(&mut self.secret, secret);
            std::mem::swap(&mut self.current, phase);
            let (_, old) = *next;
            self.previous = Some(Box::new((old, now + self.overlap)));
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
            Some((phase, until)) if now < *until => phase.open(header, head, sealed),
            _ => Err(Rejected::Phase),
        }
    }

    /// Erases the phase before when its time is over.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        self.previous.take_if(|previous| previous.1 <= now);
    }

    /// When the phase before must be erased.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.previous.as_ref().map(|previous| previous.1)
    }
}

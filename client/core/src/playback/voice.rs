//! [`VoicePlayer`]: which voice packet of a speaker is played next, and when one is concealed.
//!
//! A packet is played as late as nearly all packets of its speaker arrive: [`Lateness`] after its
//! capture. An application asks for a packet every 20 ms, by the clock of its sound device. That
//! clock differs from the speaker's, so now and then a packet is dropped, or one more is concealed.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use nucleus_protocol::realtime::voice::{END_TO_END, Voice};
use nucleus_protocol::time::Time;

use super::lateness::Lateness;
use crate::roster::PeerId;

/// Length of a voice packet.
pub const VOICE_PACKET: Duration = Duration::from_millis(20);
/// Time after which voice is sent again: three packets later. A longer burst of losses is seldom, and
/// whoever hears the voice must wait so much longer for every packet.
pub const VOICE_AGAIN: Duration = Duration::from_millis(60);
/// Waiting packets of one speaker: 640 ms. The usual lateness is far below.
const WAITING: usize = 32;
/// Speakers whose packets are kept. By default, a server lets at most 128 peers speak at a time.
const MAX_SPEAKERS: usize = 256;
/// Time without a packet after which a speaker makes room for a new one: longer than the network
/// delays a packet. Otherwise 257 speakers would displace each other all the time.
const REPLACEABLE: Duration = Duration::from_secs(1);
/// Packets whose lateness is remembered: those of ten seconds. A packet that is lost and arrives when it
/// is sent again is late, and on a bad network there is one every few seconds.
const REMEMBERED: usize = 512;
/// Packets in a row that are concealed when nothing arrives. A decoder fades out in this time.
const CONCEALED: u32 = 5;
/// While the lateness becomes smaller, each packet is played this much sooner. So one packet in 0.4 s
/// is dropped.
const CATCH_UP: Duration = Duration::from_millis(1);
/// If playback is behind by more than this, because the application has played nothing for a while, it
/// jumps ahead.
const LARGEST_CATCH_UP: Duration = Duration::from_millis(200);
/// A packet that arrives later than this after its time is dropped.
const TOO_LATE: Duration = Duration::from_millis(40);

/// What to play for the next 20 ms of a speaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VoiceStep {
    /// The Opus packet that was handed out.
    Packet {
        /// Whether the application must decrypt it, because its sender has encrypted it end to end.
        is_encrypted: bool,
    },
    /// A packet is missing: let the decoder conceal it.
    Conceal,
    /// Nothing: the speaker is silent.
    Silence,
}

/// A packet that has arrived.
#[derive(Debug, Default)]
struct WaitingPacket {
    sequence: u16,
    captured: Time,
    is_encrypted: bool,
    opus: Vec<u8>,
}

/// The voice of one speaker.
#[derive(Debug)]
struct VoiceTrack {
    /// In the order of the sequence numbers.
    waiting: VecDeque<WaitingPacket>,
    /// Packets that were played or dropped, for their buffers.
    free: Vec<WaitingPacket>,
    lateness: Lateness<REMEMBERED>,
    /// When the newest packet arrived, by the server's clock.
    arrived: Time,
    /// The moment that was played last, by the server's clock.
    moment: Time,
    /// The sequence number of the next packet, and its capture time unless the speaker pauses before;
    /// `None` before the first packet.
    next: Option<(u16, Time)>,
    /// Whether the speaker speaks, as far as is known.
    is_speaking: bool,
    /// Packets that were concealed in a row.
    concealed: u32,
}

/// Returns whether a sequence number comes before another one.
fn is_before(a: u16, b: u16) -> bool {
    (a.wrapping_sub(b) as i16) < 0
}

impl VoiceTrack {
    fn new() -> Self {
        Self {
            waiting: VecDeque::with_capacity(WAITING),
            free: Vec::with_capacity(WAITING),
            lateness: Lateness::new(),
            arrived: Time::ZERO,
            moment: Time::ZERO,
            next: None,
            is_speaking: false,
            concealed: 0,
        }
    }

    fn add(&mut self, sequence: u16, captured: Time, arrived: Time, voice: &Voice<'_>) {
        self.lateness.add(arrived.since(captured));
        self.arrived = self.arrived.max(arrived);
        if captured + TOO_LATE < self.moment {
            return;
        }
        if let Some((next, due)) = self.next
            && is_before(sequence, next)
        {
            if captured < due {
                // It was played or concealed already.
                return;
            }
            // The numbers have wrapped while nothing arrived, or begin anew.
            self.free.extend(self.waiting.drain(..));
            (self.next, self.is_speaking, self.concealed) = (None, false, 0);
        }
        if self.waiting.len() == WAITING {
            let first = self.take_first();
            self.free.extend(first);
        }
        let mut packet = self.free.pop().unwrap_or_default();
        (packet.sequence, packet.captured) = (sequence, captured);
        packet.is_encrypted = voice.flags & END_TO_END != 0;
        packet.opus.clear();
        packet.opus.extend_from_slice(voice.opus);
        let later = self.waiting.partition_point(|other| is_before(other.sequence, sequence));
        self.waiting.insert(later, packet);
    }

    /// Returns what to play in the 20 ms that begin at the server's time `frame`.
    fn play(&mut self, frame: Time, opus: &mut Vec<u8>) -> VoiceStep {
        opus.clear();
        let moment = self.next_moment(frame);
        // The lateness has become smaller, or nothing was played for a while.
        let is_over = |packet: &WaitingPacket| moment.since(packet.captured) >= 2 * VOICE_PACKET;
        while self.waiting.len() > 1 && self.waiting.front().is_some_and(is_over) {
            let packet = self.take_first();
            self.free.extend(packet);
        }
        let expected = self.next.filter(|_| self.is_speaking);
        let Some(first) = self.waiting.front() else {
            return expected.map_or(VoiceStep::Silence, |(_, due)| self.play_none(moment, due));
        };
        let missing = expected.map_or(0, |(next, _)| first.sequence.wrapping_sub(next));
        let due = first.captured - VOICE_PACKET * u32::from(missing);
        if moment < due {
            // In mid-speech, the lateness has become larger.
            let goes_on = expected.is_some_and(|(_, expected)| due <= expected + VOICE_PACKET);
            return if goes_on { VoiceStep::Conceal } else { VoiceStep::Silence };
        }
        if missing > 0 && self.concealed < CONCEALED {
            return self.conceal(due);
        }
        let Some(mut packet) = self.take_first() else { return VoiceStep::Silence };
        std::mem::swap(opus, &mut packet.opus);
        (self.is_speaking, self.concealed) = (true, 0);
        let is_encrypted = packet.is_encrypted;
        self.free.push(packet);
        VoiceStep::Packet { is_encrypted }
    }

    /// Takes the first packet, whether it is played or dropped.
    fn take_first(&mut self) -> Option<WaitingPacket> {
        let packet = self.waiting.pop_front()?;
        self.next = Some((packet.sequence.wrapping_add(1), packet.captured + VOICE_PACKET));
        Some(packet)
    }

    /// Returns the moment to play now. It stands still while the lateness becomes larger.
    fn next_moment(&mut self, frame: Time) -> Time {
        let target = frame - self.lateness.usual();
        let next = self.moment + VOICE_PACKET + CATCH_UP;
        // Nobody hears a change of the lateness in a pause.
        let is_evened = self.is_speaking && target > next && target.since(next) < LARGEST_CATCH_UP;
        self.moment = if is_evened { next } else { target.max(self.moment) };
        self.moment
    }

    /// Returns what to play while no packet waits and one is due at `due`.
    fn play_none(&mut self, moment: Time, due: Time) -> VoiceStep {
        if moment < due {
            VoiceStep::Conceal
        } else if self.concealed < CONCEALED {
            self.conceal(due)
        } else {
            // They may not have been sent at all.
            let concealed = self.concealed as u16;
            self.next = self.next.map(|(next, due)| (next.wrapping_sub(concealed), due));
            (self.is_speaking, self.concealed) = (false, 0);
            VoiceStep::Silence
        }
    }

    /// Gives up the next packet, which was captured at `due`.
    fn conceal(&mut self, due: Time) -> VoiceStep {
        self.concealed += 1;
        self.next = self.next.map(|(next, _)| (next.wrapping_add(1), due + VOICE_PACKET));
        VoiceStep::Conceal
    }
}

/// The voices of a room, as they are to be played. At most 256 speakers are kept: a new one replaces
/// the one that has been silent longest.
#[derive(Debug, Default)]
pub struct VoicePlayer(HashMap<PeerId, VoiceTrack>);

impl VoicePlayer {
    /// Adds a packet that was captured and has arrived at these times of the server's clock.
    pub fn add(
        &mut self,
        speaker: PeerId,
        sequence: u16,
        captured: Time,
        arrived: Time,
        voice: &Voice<'_>,
    ) {
        if self.0.contains_key(&speaker) || self.has_space(arrived) {
            let track = self.0.entry(speaker).or_insert_with(VoiceTrack::new);
            track.add(sequence, captured, arrived, voice);
        }
    }

    /// Returns whether a new speaker may be added at this time. Makes room if one is silent.
    fn has_space(&mut self, now: Time) -> bool {
        if self.0.len() < MAX_SPEAKERS {
            return true;
        }
        let first = self.0.iter().min_by_key(|(speaker, track)| (track.arrived, speaker.0));
        let silent = first.filter(|(_, track)| track.arrived + REPLACEABLE <= now);
        let silent = silent.map(|(speaker, _)| *speaker);
        silent.is_some_and(|speaker| self.0.remove(&speaker).is_some())
    }

    /// Returns what to play in the 20 ms that begin at the server's time `frame`, and writes the
    /// packet to `opus`.
    pub fn play(&mut self, speaker: PeerId, frame: Time, opus: &mut Vec<u8>) -> VoiceStep {
        let track = self.0.get_mut(&speaker);
        track.map_or(VoiceStep::Silence, |track| track.play(frame, opus))
    }

    /// Forgets the voice of a peer that has left.
    pub fn remove_peer(&mut self, peer: PeerId) {
        self.0.remove(&peer);
    }

    /// Forgets all voices.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

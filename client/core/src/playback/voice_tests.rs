//! What a listener hears on bad networks.

use std::collections::VecDeque;
use std::time::Duration;

use nucleus_netsim::{Conditions, Loss, Pipe};
use nucleus_protocol::realtime::voice::Voice;
use nucleus_protocol::time::Time;

use super::{VOICE_AGAIN, VOICE_PACKET, VoicePlayer, VoiceStep};
use crate::roster::PeerId;

const MS: Duration = Duration::from_millis(1);
const START: Time = Time::from_millis(100_000);
const SPEAKER: PeerId = PeerId(1);

/// What happened in a minute.
#[derive(Default)]
struct Heard {
    sent: u32,
    lost: u32,
    played: u32,
    /// Times from the capture to the begin of the packet's 20 ms, in ms.
    delays: Vec<u32>,
    /// Changes between sound and silence.
    changes: u32,
    /// Times that the packets were under way, in ms.
    network: Vec<u32>,
}

/// Returns what a listener hears of a speaker whose speech lasts 3 s and who then pauses for 1 s. The
/// listener's sound device is slower by `drift` parts in a million. If it `hangs`, it plays nothing for
/// two seconds.
fn listen(seed: u64, conditions: &Conditions, drift: u32, hangs: bool) -> Heard {
    listen_to(seed, conditions, drift, hangs, None)
}

/// If `again` is set, each packet is sent again after this time.
fn listen_to(
    seed: u64,
    conditions: &Conditions,
    drift: u32,
    hangs: bool,
    again: Option<Duration>,
) -> Heard {
    let mut pipes = [0, 1].map(|way| Pipe::new(2 * seed + way, conditions.clone()));
    let (mut player, mut heard) = (VoicePlayer::default(), Heard::default());
    let (mut next, mut sequence) = (START, 65_000u16);
    let mut next_frame = START;
    let (mut last, mut opus, mut was_silent) = (None, Vec::new(), true);
    let mut captures = VecDeque::new();
    let (mut repeats, mut seen) = (VecDeque::new(), std::collections::HashSet::new());
    for ms in 0..60_000u32 {
        let now = START + ms * MS;
        if next <= now {
            if ms % 4_000 < 3_000 {
                pipes[0].handle_input(now, 100, (sequence, now));
                captures.push_back((sequence, now));
                repeats.extend(again.map(|again| (now + again, (sequence, now))));
                heard.sent += 1;
                sequence = sequence.wrapping_add(1);
            }
            next += VOICE_PACKET;
        }
        while let Some((_, packet)) = repeats.pop_front_if(|(due, _)| *due <= now) {
            pipes[0].handle_input(now, 100, packet);
        }
        while let Some(packet) = pipes[0].poll_output(now) {
            pipes[1].handle_input(now, 100, packet);
        }
        while let Some((sequence, captured)) = pipes[1].poll_output(now) {
            if !seen.insert((sequence, captured)) {
                continue;
            }
            heard.network.push(now.since(captured).as_millis() as u32);
            let opus = &sequence.to_le_bytes();
            let voice = Voice { level: 30, speaking: true, flags: 0, opus };
            player.add(SPEAKER, sequence, captured, now, &voice);
        }
        // The application hangs for two seconds.
        if next_frame > now || (20_500..22_500).contains(&ms) && hangs {
            continue;
        }
        next_frame = next_frame.max(now - VOICE_PACKET);
        next_frame += VOICE_PACKET + VOICE_PACKET * drift / 1_000_000;
        let step = player.play(SPEAKER, now, &mut opus);
        heard.changes += u32::from((step == VoiceStep::Silence) != was_silent);
        was_silent = step == VoiceStep::Silence;
        if !matches!(step, VoiceStep::Packet { is_encrypted: false }) {
            assert!(opus.is_empty());
            continue;
        }
        let played = u16::from_le_bytes(opus[..].try_into().unwrap());
        if let Some(last) = last.replace(played) {
            assert!((played.wrapping_sub(last) as i16) > 0, "{seed}: {played} after {last}");
        }
        while captures.pop_front_if(|(sequence, _)| *sequence != played).is_some() {}
        let (_, captured) = captures.pop_front().unwrap();
        heard.delays.push(now.since(captured).as_millis() as u32);
        heard.played += 1;
    }
    heard.lost = pipes.iter().map(|pipe| pipe.counters().lost as u32).sum();
    heard.delays.sort_unstable();
    heard.network.sort_unstable();
    heard
}

/// A sender that knows of the losses sends its voice again, as [`VOICE_AGAIN`] says.
#[test]
fn on_wifi_hardly_a_packet_is_concealed() {
    let wifi = Conditions::preset("wifi").unwrap();
    let (mut sent, mut concealed) = (0, 0);
    for seed in 0..200 {
        let heard = listen_to(seed, &wifi, 100, false, Some(VOICE_AGAIN));
        let missing = heard.sent - heard.played;
        let share = f64::from(missing) / f64::from(heard.sent);
        assert!(share <= 0.015, "seed {seed}: {share} of a minute's packets were concealed");
        let median = |sorted: &[u32]| sorted[sorted.len() / 2];
        let more = median(&heard.delays) - median(&heard.network);
        assert!(more <= 100, "seed {seed}: heard {more} ms later than the network's median");
        (sent, concealed) = (sent + heard.sent, concealed + missing);
    }
    assert!(concealed * 100 <= sent, "{concealed} of {sent}");
}

#[test]
fn on_wifi_nearly_everything_that_arrives_is_played_and_not_late() {
    let wifi = Conditions::preset("wifi").unwrap();
    for seed in 0..100 {
        let Heard { sent, lost, played, delays, changes, .. } = listen(seed, &wifi, 100, false);
        let too_late = f64::from(sent - lost - played) / f64::from(sent);
        assert!(too_late <= 0.01, "seed {seed}: {too_late} of the packets came too late");
        let delay = delays[delays.len() / 2];
        assert!(delay <= 100, "seed {seed}: {delay} ms; the network takes 10 to 60 ms");
        // Fifteen pauses, and losses of more than 100 ms.
        assert!(changes <= 2 * 15 + 20, "seed {seed}: the voice was cut {changes} times");
    }
}

#[test]
fn on_a_good_network_everything_is_played_although_the_clocks_differ() {
    let clean = Conditions::delayed(10, 12, Loss::NONE);
    for drift in [0, 50, 500] {
        let Heard { sent, played, delays, changes, .. } = listen(1, &clean, drift, false);
        // A slow sound device plays less.
        assert!(played + sent * drift / 1_000_000 + 16 >= sent, "{played} of {sent}");
        assert!(delays.iter().all(|delay| *delay <= 90), "{:?}", delays.last());
        assert!(changes <= 30, "{changes}");
    }
}

/// The numbers may have wrapped while the listener got nothing, or a new process begins at 0.
#[test]
fn a_speaker_whose_numbers_begin_anew_is_heard() {
    let (mut player, mut opus, mut now) = (VoicePlayer::default(), Vec::new(), START);
    for first in [40_000, 20_000, 0, 30_000] {
        let mut played = 0;
        for number in 0..50u16 {
            let voice = Voice { level: 30, speaking: true, flags: 0, opus: &[7] };
            player.add(SPEAKER, first + number, now - 10 * MS, now, &voice);
            let step = player.play(SPEAKER, now, &mut opus);
            played += u32::from(matches!(step, VoiceStep::Packet { .. }));
            now += VOICE_PACKET;
        }
        assert!(played >= 48, "{played} of 50 from {first}");
        now += 300 * VOICE_PACKET;
    }
}

#[test]
fn after_a_hitch_nobody_hears_the_past() {
    let clean = Conditions::delayed(10, 12, Loss::NONE);
    let Heard { sent, played, delays, .. } = listen(1, &clean, 0, true);
    assert!(delays.iter().all(|delay| *delay <= 60), "{:?}", delays.last());
    assert!((90..130).contains(&(sent - played)), "{played} of {sent}");
}

/// Would catch a player that hears nobody new after 256 speakers, and one whose speakers displace each
/// other while they speak.
#[test]
fn a_new_speaker_replaces_the_one_that_was_silent_longest() {
    let voice = Voice { level: 30, speaking: true, flags: 0, opus: &[1] };
    let mut player = VoicePlayer::default();
    let mut add = |speaker: u32, at: Time| player.add(PeerId(speaker), 0, at, at, &voice);
    for speaker in 1..=256 {
        add(speaker, START + 10 * MS * (speaker % 100));
    }
    add(300, START + 500 * MS);
    add(301, START + 1_000 * MS);
    add(302, START + 5_000 * MS);
    let mut opus = Vec::new();
    let mut is_kept =
        |speaker| player.play(PeerId(speaker), START + 5_000 * MS, &mut opus) != VoiceStep::Silence;
    assert!(!is_kept(300), "everybody speaks");
    assert!(is_kept(301) && is_kept(302));
    // 100 and 200 began first.
    assert!(!is_kept(100) && !is_kept(200));
    assert!(is_kept(1) && is_kept(99) && is_kept(256));
}

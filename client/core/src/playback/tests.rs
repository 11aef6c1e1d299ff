//! How true the shown poses are on bad networks.

use std::collections::HashSet;
use std::time::Duration;

use nucleus_netsim::{Conditions, Pipe};
use nucleus_protocol::realtime::pose::{Pose, Transform};
use nucleus_protocol::time::Time;

use super::{Certainty, PoseInterpolator};
use crate::roster::PeerId;

const MS: Duration = Duration::from_millis(1);
const START: Time = Time::from_millis(100_000);

/// Where a head is that walks in a circle of 1 m at 1 m/s, and looks ahead.
fn truth(at: Time) -> Pose {
    let angle = at.since(START).as_secs_f32() % std::f32::consts::TAU;
    let rotation = [0.0, (angle / 2.0).sin(), 0.0, (angle / 2.0).cos()];
    let at = |x: f32, y: f32, z: f32| Transform { position: [x, y, z], rotation };
    let (sin, cos) = angle.sin_cos();
    Pose { head: at(cos, 1.7, sin), left: Some(at(cos + 0.3, 1.2, sin)), right: None }
}

/// How a minute of poses was shown.
struct Shown {
    /// Distances from the truth at the shown moment, in mm, sorted.
    errors: Vec<f32>,
    /// How long ago the shown moment was, in ms, sorted.
    delays: Vec<f32>,
    /// Frames whose pose was not found between two poses.
    guessed: usize,
}

fn quantile(sorted: &[f32], share: f64) -> f32 {
    sorted[(sorted.len() as f64 * share) as usize]
}

/// Shows the poses of one sender over a network, in both directions, at this rate.
fn show(seed: u64, conditions: &Conditions, hertz: u32) -> Shown {
    let mut pipes = [0, 1].map(|way| Pipe::new(2 * seed + way, conditions.clone()));
    let mut interpolator = PoseInterpolator::default();
    let interval = Duration::from_secs(1) / hertz;
    let (mut next, mut next_frame, mut before) = (START, START, None);
    let mut shown = Shown { errors: Vec::new(), delays: Vec::new(), guessed: 0 };
    let mut newest = Time::ZERO;
    for ms in 0..60_000 {
        let now = START + ms * MS;
        if next <= now {
            let mut payload = Vec::new();
            truth(now).encode(&mut payload);
            pipes[0].handle_input(now, 100, (now, payload));
            next += interval;
        }
        while let Some(datagram) = pipes[0].poll_output(now) {
            pipes[1].handle_input(now, 100, datagram);
        }
        while let Some((captured, payload)) = pipes[1].poll_output(now) {
            // The realtime plane drops what is older than the newest.
            if captured > newest {
                newest = captured;
                let (pose, _) = Pose::parse(&payload).unwrap();
                interpolator.add(PeerId(1), (0, 0), captured, now, pose);
            }
        }
        if next_frame > now {
            continue;
        }
        next_frame += Duration::from_micros(11_111);
        let Some(pose) = interpolator.poses_at(now, now).next() else { continue };
        assert!(before.replace(pose.shown).is_none_or(|before| before <= pose.shown), "{seed}");
        // In the first seconds the delay is measured.
        if ms < 5_000 {
            continue;
        }
        let (found, right) = (pose.pose.head.position, truth(pose.shown).head.position);
        let error: f32 = (0..3).map(|axis| (found[axis] - right[axis]).powi(2)).sum();
        shown.errors.push(1_000.0 * error.sqrt());
        shown.delays.push(1_000.0 * now.since(pose.shown).as_secs_f32());
        shown.guessed += usize::from(pose.certainty != Certainty::Interpolated);
    }
    shown.errors.sort_unstable_by(f32::total_cmp);
    shown.delays.sort_unstable_by(f32::total_cmp);
    shown
}

/// A head that moves at 1 m/s is shown within 10 mm of the truth in 99 of 100 frames, over Wi-Fi in
/// both directions.
#[test]
fn a_shown_head_is_where_it_was() {
    let wifi = Conditions::preset("wifi").unwrap();
    for hertz in [30, 72, 90] {
        let mut errors = Vec::new();
        for seed in 0..20 {
            let shown = show(seed, &wifi, hertz);
            let delay = quantile(&shown.delays, 0.5);
            // The network takes 10 to 60 ms, and a lost pose is replaced by the next one.
            let most = 60.0 + 2_000.0 / hertz as f32;
            assert!(delay <= most, "{hertz} Hz, seed {seed}: {delay} ms");
            let guessed = shown.guessed as f32 / shown.errors.len() as f32;
            assert!(guessed < 0.05, "{hertz} Hz, seed {seed}: {guessed} of the frames");
            errors.extend(shown.errors);
        }
        errors.sort_unstable_by(f32::total_cmp);
        let error = quantile(&errors, 0.99);
        assert!(error <= 10.0, "{hertz} Hz: {error} mm");
    }
}

/// On a network without loss and jitter, the delay is that of the network and one interval.
#[test]
fn a_good_network_costs_no_more_than_one_interval() {
    let clean = Conditions::delayed(10, 10, nucleus_netsim::Loss::NONE);
    let shown = show(1, &clean, 50);
    assert!(quantile(&shown.errors, 0.999) < 2.0);
    let delay = quantile(&shown.delays, 0.99);
    assert!((20.0..=42.0).contains(&delay), "{delay} ms");
}

/// Shows which keys of which senders are kept.
fn kept(interpolator: &mut PoseInterpolator) -> HashSet<(u32, u16)> {
    interpolator.poses_at(START, START).map(|shown| (shown.from.0, shown.key)).collect()
}

/// Would catch a sender that takes the tracks of all others.
#[test]
fn a_sender_with_all_keys_hides_nobody() {
    let mut interpolator = PoseInterpolator::default();
    let mut add = |from: u32, key: u16| {
        interpolator.add(PeerId(from), (0, key), START, START, truth(START));
    };
    for key in 0..5_000 {
        // Its body is in use all the time.
        add(66, 0);
        add(66, key);
    }
    add(7, 0);
    let shown = kept(&mut interpolator);
    let expected = (4_937..5_000).map(|key| (66, key)).chain([(66, 0), (7, 0)]);
    assert_eq!(shown, expected.collect::<HashSet<_>>());
}

/// Would catch many senders that together take all tracks.
#[test]
fn senders_with_many_keys_make_room_for_new_senders() {
    let mut interpolator = PoseInterpolator::default();
    for (from, key) in (0..70).flat_map(|from| (0..64).map(move |key| (from, key))) {
        interpolator.add(PeerId(from), (0, key), START, START, truth(START));
    }
    let shown = kept(&mut interpolator);
    assert_eq!(shown.len(), 4_096);
    assert!((0..70).all(|from| shown.contains(&(from, 63))));
    interpolator.remove_peer(PeerId(69));
    for from in 100..4_400 {
        interpolator.add(PeerId(from), (0, 0), START, START, truth(START));
    }
    // Each sender has one track, and nobody loses its last one.
    let shown = kept(&mut interpolator);
    assert_eq!(shown.len(), 4_096);
    assert!((0..69).all(|from| shown.contains(&(from, 63))));
    interpolator.clear();
    interpolator.add(PeerId(1), (0, 0), START, START, truth(START));
    assert_eq!(kept(&mut interpolator), HashSet::from([(1, 0)]));
}

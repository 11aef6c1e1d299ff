//! What the realtime plane shows and plays in each frame.

use std::time::Duration;

use nucleus_protocol::link::LinkSide;
use nucleus_protocol::realtime::pose::{Pose, Transform};
use nucleus_protocol::realtime::voice::Voice;
use nucleus_protocol::realtime::{Message, MessageKind};
use nucleus_protocol::time::Time;

use super::{ADA, CLOCK, MS, Pair, link, message};
use crate::playback::{Certainty, ShownPose, VoiceStep};

/// Where Ada's head is: she moves at 1 m/s.
fn position(at: Time) -> f32 {
    at.since(Time::from_millis(100_000)).as_secs_f32()
}

impl Pair {
    /// Lets Ada send poses every 30 ms for this time. Returns what was shown in frames of 10 ms.
    fn watch_ada(&mut self, time: Duration) -> Vec<Vec<ShownPose>> {
        let frames = 0..time.as_millis() as u16 / 10;
        let shown = frames.map(|frame| {
            self.advance(10 * MS);
            if frame % 3 == 0 {
                let head = Transform {
                    position: [position(self.now), 1.7, 0.0],
                    rotation: [0.0, 0.0, 0.0, 1.0],
                };
                let mut payload = Vec::new();
                Pose { head, left: None, right: None }.encode(&mut payload);
                let time = Some(self.now.as_wire_millis());
                self.deliver(&[Message { time, ..message(frame, &payload) }]);
            }
            self.exchange();
            self.client.shown_poses(self.now).collect()
        });
        shown.collect()
    }
}

#[test]
fn poses_are_shown_evenly_until_the_peer_leaves() {
    let mut pair = Pair::new();
    pair.client.add_peer(pair.now, ADA.0, ADA.1);
    assert_eq!(pair.client.shown_poses(pair.now).count(), 0);
    let frames = pair.watch_ada(Duration::from_secs(10));
    let mut before = None;
    for frame in &frames[100..] {
        let [shown] = &frame[..] else { panic!("{frame:?}") };
        let x = shown.pose.head.position[0];
        assert!((x - position(shown.shown)).abs() < 0.002, "{shown:?}");
        assert_eq!((shown.from, shown.certainty), (ADA.1, Certainty::Interpolated));
        let step = x - before.replace(x).unwrap_or(x - 0.01);
        assert!((0.007..0.013).contains(&step), "{step}");
    }
    pair.client.remove_peer(ADA.0, ADA.1);
    assert_eq!(pair.client.shown_poses(pair.now).count(), 0);

    // In another room instance the slot belongs to another peer.
    pair.client.add_peer(pair.now, ADA.0, ADA.1);
    pair.watch_ada(Duration::from_secs(1));
    assert_eq!(pair.client.shown_poses(pair.now).count(), 1);
    pair.client.relink(link(pair.now, LinkSide::Client), CLOCK, true);
    assert_eq!(pair.client.shown_poses(pair.now).count(), 1, "a resume hides nobody");
    pair.client.relink(link(pair.now, LinkSide::Client), CLOCK, false);
    assert_eq!(pair.client.shown_poses(pair.now).count(), 0);
}

#[test]
fn voice_is_played_in_order_once_the_application_asks_for_it() {
    let mut pair = Pair::new();
    pair.client.add_peer(pair.now, ADA.0, ADA.1);
    let (mut opus, mut played) = (Vec::new(), Vec::new());
    for number in 0..100u16 {
        let mut payload = Vec::new();
        let packet = Voice { level: 30, speaking: true, flags: 0, opus: &number.to_le_bytes() };
        packet.encode(&mut payload);
        let time = Some(pair.now.as_wire_millis());
        let message =
            Message { kind: MessageKind::Voice, flags: 0, time, ..message(number, &payload) };
        // Before, voice is a message as all others.
        let expected = usize::from(number < 50);
        assert_eq!(pair.deliver(&[message]).len(), expected, "{number}");
        if number >= 49 {
            let step = pair.client.play_voice(pair.now, ADA.1, &mut opus);
            let is_packet = matches!(step, VoiceStep::Packet { is_encrypted: false });
            played.extend(is_packet.then(|| u16::from_le_bytes(opus[..].try_into().unwrap())));
        }
        pair.exchange();
        pair.advance(20 * MS);
    }
    assert_eq!(played, (50..100).collect::<Vec<u16>>());
    // Voice of another key is none of this stream.
    let other = Message { kind: MessageKind::Voice, flags: 0, key: 1, ..message(0, &[0x9e, 0, 7]) };
    assert_eq!(pair.deliver(&[other]).len(), 1);
    assert_eq!(pair.client.speaking().speakers().count(), 1);
}

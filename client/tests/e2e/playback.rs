//! What an application shows and plays of another peer, over a real server.

use std::time::Duration;

use nucleus_client::{Certainty, Pose, Room, Transform, Voice, VoiceStep};
use tokio::time::{Instant, interval_at};

use super::support::TestServer;

/// Where a head is that moves at 1 m/s by the server's clock.
fn position(room: &Room) -> f32 {
    (room.server_time().as_micros() % 1_000_000_000) as f32 / 1_000_000.0
}

fn send(room: &Room, number: u32) {
    let at = [position(room), 1.7, 0.0];
    let head = Transform { position: at, rotation: [0.0, 0.0, 0.0, 1.0] };
    room.send_pose(&Pose { head, left: None, right: None }).unwrap();
    let opus = &number.to_le_bytes();
    room.send_voice(&Voice { level: 30, speaking: true, flags: 0, opus }).unwrap();
}

/// Counts, not times: a busy machine may stop both programs for a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_is_seen_between_its_poses_and_heard_in_order() {
    let server = TestServer::start().await;
    let (speaker, listener) = (server.join("speaker").await, server.join("listener").await);
    let mut ticks = interval_at(Instant::now(), Duration::from_millis(20));
    let (mut opus, mut heard, mut interpolated, mut before) = (Vec::new(), Vec::new(), 0, None);
    for number in 0..1_000 {
        ticks.tick().await;
        send(&speaker, number);
        if let VoiceStep::Packet { .. } = listener.play_voice(speaker.me(), &mut opus) {
            heard.push(u32::from_le_bytes(opus[..].try_into().unwrap()));
        }
        listener.for_each_shown_pose(|pose| {
            assert_eq!(pose.from, speaker.me());
            assert!(before.replace(pose.shown).is_none_or(|before| before <= pose.shown));
            interpolated += u32::from(pose.certainty == Certainty::Interpolated);
        });
        if heard.len() >= 100 && interpolated >= 100 {
            break;
        }
    }
    assert!(heard.len() >= 100, "{} packets were played", heard.len());
    assert!(heard.is_sorted_by(|a, b| a < b), "{heard:?}");
    assert!(interpolated >= 100, "{interpolated} poses were interpolated");
}

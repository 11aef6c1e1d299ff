//! Tests what a visit's moments tell. The simulated server itself checks the moments of each visit for
//! sense, in all tests.

use std::time::Duration;

use nucleus_core::control::RoomAct;
use nucleus_core::ids::RequestId;
use nucleus_core::limits::SESSION_IDLE;
use nucleus_core::moments::{LossCause, MAX_MOMENTS, MomentActor, MomentKind};
use nucleus_core::plane_event::Visit;
use nucleus_core::room::RoomInput;
use nucleus_protocol::realtime::{MessageKind, TARGET_OTHERS};
use nucleus_protocol::session::{Code, act};
use nucleus_sim::World;
use nucleus_sim::seeds::for_seeds;
use nucleus_sim::world::ROOM;

use super::moderation::{HOST, MEMBER, OBSERVER, four, moderate};
use super::preset;

/// Lets a client send poses for some time.
fn send_for(world: &mut World, from: usize, time: Duration) {
    let end = world.now() + time;
    while world.now() < end {
        world.send_pose(from);
        world.run(Duration::from_millis(50));
    }
}

/// Returns the visit of a client that has ended.
fn visit(world: &World, of: usize) -> Visit {
    let peer = world.clients[of].peer.unwrap();
    world.server.history.visits[&(ROOM, peer)].clone()
}

/// Returns the names of a visit's moments.
fn names(visit: &Visit) -> Vec<&'static str> {
    let name = |kind| match kind {
        MomentKind::Joined { .. } => "joined",
        MomentKind::Realtime(_) => "realtime",
        MomentKind::Fallback => "fallback",
        MomentKind::Moved(_) => "moved",
        MomentKind::Away => "away",
        MomentKind::Back => "back",
        MomentKind::Muted(_) => "muted",
        MomentKind::Unmuted(_) => "unmuted",
        MomentKind::Lost(_) => "lost",
        MomentKind::Resumed { .. } => "resumed",
        MomentKind::Removed(_) => "removed",
    };
    visit.moments.moments().iter().map(|moment| name(moment.kind)).collect()
}

#[test]
fn the_moments_of_a_session_tell_its_life() {
    let mut world = four();
    let seconds = Duration::from_secs;
    send_for(&mut world, MEMBER, seconds(1));
    world.clients[MEMBER].blocked = true;
    send_for(&mut world, MEMBER, seconds(10));
    world.clients[MEMBER].blocked = false;
    send_for(&mut world, MEMBER, seconds(60));
    world.clients[MEMBER].net.change_address();
    send_for(&mut world, MEMBER, seconds(5));
    assert_eq!(moderate(&mut world, HOST, act::MUTE, Some(MEMBER), 0), Some(Ok(())));
    assert_eq!(moderate(&mut world, HOST, act::UNMUTE_ALL, None, 0), Some(Ok(())));
    assert_eq!(moderate(&mut world, MEMBER, act::MUTE_SELF, None, 0), Some(Ok(())));
    world.sleep(MEMBER, true);
    world.run(seconds(1));
    world.wake(MEMBER);
    send_for(&mut world, MEMBER, seconds(2));
    assert_eq!(moderate(&mut world, HOST, act::KICK, Some(MEMBER), 60), Some(Ok(())));
    let visit = visit(&world, MEMBER);
    let expected = [
        "joined", "realtime", "fallback", "realtime", "moved", "muted", "unmuted", "muted", "lost",
        "resumed", "moved", "removed",
    ];
    assert_eq!(names(&visit), expected, "{visit:#?}");
    let host = MomentActor::Peer(world.clients[HOST].peer.unwrap());
    let kinds: Vec<_> = visit.moments.moments().iter().map(|moment| moment.kind).collect();
    assert_eq!(kinds[5], MomentKind::Muted(host));
    assert_eq!(kinds[6], MomentKind::Unmuted(host));
    assert_eq!(kinds[7], MomentKind::Muted(MomentActor::Itself));
    assert_eq!(kinds[8], MomentKind::Lost(LossCause::Silent));
    assert_eq!(kinds[11], MomentKind::Removed(host));
    assert_eq!((visit.code, visit.resumes), (Code::Kicked, 1));
}

#[test]
fn a_client_that_is_killed_is_away_then_lost_then_gone() {
    let mut world = four();
    send_for(&mut world, MEMBER, Duration::from_secs(2));
    world.sleep(MEMBER, false);
    world.run(SESSION_IDLE);
    world.lose(MEMBER);
    world.run(Duration::from_secs(600));
    let visit = visit(&world, MEMBER);
    assert_eq!(names(&visit), ["joined", "realtime", "away", "lost"], "{visit:#?}");
    assert_eq!(visit.code, Code::TimedOut);
}

/// A room's task may find out of a loss before the session says why.
#[test]
fn a_loss_is_explained_by_a_later_report() {
    let mut world = four();
    for cause in [LossCause::Broken, LossCause::Closed, LossCause::Silent] {
        world.post_from(MEMBER, |session| RoomInput::SessionLost(session, cause));
    }
    world.run(Duration::from_secs(600));
    let visit = visit(&world, MEMBER);
    let losses = visit.moments.moments().iter().filter(|m| matches!(m.kind, MomentKind::Lost(_)));
    let losses: Vec<_> = losses.map(|moment| moment.kind).collect();
    assert_eq!(losses, [MomentKind::Lost(LossCause::Closed)]);
}

#[test]
fn a_room_that_is_closed_says_by_whom() {
    let mut world = four();
    world.post(ROOM, RoomInput::Operate(RequestId(1), RoomAct::Close));
    world.run(Duration::from_secs(1));
    for client in [MEMBER, HOST, OBSERVER] {
        let visit = visit(&world, client);
        let newest = visit.moments.moments().last().unwrap().kind;
        assert_eq!(newest, MomentKind::Removed(MomentActor::Operator), "{visit:#?}");
    }
}

/// A client that mutes and unmutes itself all the time fills its list, and no more.
#[test]
fn the_moments_of_a_session_are_bounded() {
    let mut world = four();
    for number in 0..300 {
        let wanted = if number % 2 == 0 { act::MUTE_SELF } else { act::UNMUTE_SELF };
        assert_eq!(moderate(&mut world, MEMBER, wanted, None, 0), Some(Ok(())));
    }
    world.leave(MEMBER);
    world.run(Duration::from_secs(1));
    let visit = visit(&world, MEMBER);
    let count = visit.moments.moments().len();
    // The join, the first route, and 300 mutes.
    assert_eq!((count, visit.moments.left_out()), (MAX_MOMENTS, 302 - MAX_MOMENTS as u32));
    assert_eq!(names(&visit)[..2], ["joined", "realtime"]);
}

/// Clients whose ports are blocked, whose addresses change, who sleep, speak and are muted: each visit's
/// moments make sense, see the check of the simulated server.
#[test]
fn moments_follow_from_each_other() {
    for_seeds(20, |seed| {
        let mut world = World::new(seed, 8);
        let network = || preset("wifi");
        (0..5).for_each(|_| _ = world.join(network(), network()));
        world.run(Duration::from_secs(2));
        for _ in 0..40 {
            let one = world.rng.usize(..5);
            match world.rng.u8(..8) {
                0 if world.awake().contains(&one) => world.sleep(one, true),
                1 => world.wake(one),
                2 => world.clients[one].net.change_address(),
                3 => world.clients[one].blocked ^= true,
                4 if world.awake().contains(&one) => _ = world.resume(one),
                5 => {
                    let muted = world.rng.bool();
                    if let Some(peer) = world.clients[one].peer {
                        let act = RoomAct::Mute(peer, muted);
                        world.post(ROOM, RoomInput::Operate(RequestId(1), act));
                    }
                }
                6 => world.send(one, MessageKind::Voice, TARGET_OTHERS, 40),
                _ => world.send_pose(one),
            }
            let pause = Duration::from_millis(world.rng.u64(10..5_000));
            world.run(pause);
        }
        world.shut_down(Code::ShuttingDown);
        world.run(Duration::from_secs(1));
        assert!(world.server.history.visits.len() >= 5, "seed {seed}");
    });
}

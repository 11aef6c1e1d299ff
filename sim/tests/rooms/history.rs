//! Tests what rooms report for the history. The simulated server itself checks each report against
//! those before it, in all tests.

use std::time::Duration;

use nucleus_core::ids::RoomId;
use nucleus_core::room::RoomOptions;
use nucleus_netsim::{Conditions, Loss};
use nucleus_protocol::realtime::{MessageKind, TARGET_OTHERS};
use nucleus_protocol::session::Code;
use nucleus_sim::seeds::for_seeds;
use nucleus_sim::world::ROOM;
use nucleus_sim::{ReportCounts, World, WorldConfig};

fn join(world: &mut World) -> usize {
    let network = Conditions::delayed(0, 20, Loss::NONE);
    world.join(network.clone(), network)
}

/// Clients join, lose their sessions, resume or never come back, and leave, until the server stops.
#[test]
fn each_start_has_one_end_and_each_join_one_leave() {
    for_seeds(40, |seed| {
        let mut world = World::new(seed, 8);
        (0..6).for_each(|_| _ = join(&mut world));
        world.run(Duration::from_secs(1));
        for _ in 0..30 {
            let one = world.rng.usize(..6);
            match world.rng.u8(..4) {
                0 if world.awake().contains(&one) => world.sleep(one, true),
                1 if !world.awake().contains(&one) => world.wake(one),
                2 if world.awake().len() > 3 && world.awake().contains(&one) => world.leave(one),
                _ => {}
            }
            let pause = Duration::from_millis(world.rng.u64(10..4_000));
            world.run(pause);
        }
        world.shut_down(Code::ShuttingDown);
        let ReportCounts { started, ended, joined, left, .. } = world.server.history.counts;
        assert!(world.is_over());
        assert_eq!((started, ended, left), (1, 1, joined), "seed {seed}");
        assert!(joined >= 6, "seed {seed}");
    });
}

#[test]
fn a_resume_is_no_join() {
    let mut world = World::new(3, 8);
    let (one, _) = (join(&mut world), join(&mut world));
    world.run(Duration::from_secs(1));
    for _ in 0..3 {
        world.sleep(one, true);
        world.run(Duration::from_secs(1));
        world.wake(one);
        world.run(Duration::from_secs(1));
    }
    world.shut_down(Code::RoomEnded);
    let expected = ReportCounts { started: 1, ended: 1, joined: 2, left: 2, resumes: 3 };
    assert_eq!(world.server.history.counts, expected);
}

#[test]
fn a_room_that_was_made_to_be_joined_has_a_start_and_an_end_without_joins() {
    let first_within = Some(Duration::from_secs(30));
    let options = RoomOptions { first_within, ..RoomOptions::default() };
    let mut world = World::with(4, WorldConfig { options, ..WorldConfig::default() });
    world.run(Duration::from_secs(31));
    assert!(world.is_over());
    let expected = ReportCounts { started: 1, ended: 1, ..ReportCounts::default() };
    assert_eq!(world.server.history.counts, expected);

    // Nobody joins the room of a join that is refused.
    let mut world = World::new(5, 8);
    world.shut_down(Code::ShuttingDown);
    assert_eq!(world.server.history.counts, ReportCounts::default());
}

/// The figures of a peer's links go on over a resume. What was not measured is absent.
#[test]
fn the_figures_of_links_go_on_over_a_resume() {
    let mut world = World::new(6, 8);
    let (one, _) = (join(&mut world), join(&mut world));
    world.run(Duration::from_secs(1));
    let peer = world.clients[one].peer.unwrap();
    let totals = |world: &World| world.shard().peer_links(world.now(), ROOM, peer).unwrap().totals;
    let send = |world: &mut World| {
        for _ in 0..50 {
            world.send_pose(one);
            world.run(Duration::from_millis(20));
        }
    };
    send(&mut world);
    let before = totals(&world);
    assert!(before.bytes_in > 50 * 15 && before.bytes_out > 0, "{before:?}");
    assert_eq!((before.loss_ppm, before.rtt_p50), (Some(0), None));
    world.sleep(one, true);
    world.run(Duration::from_secs(1));
    world.wake(one);
    world.run(Duration::from_secs(1));
    send(&mut world);
    let after = totals(&world);
    assert!(after.bytes_in > before.bytes_in + 50 * 15, "{before:?} {after:?}");
    world.leave(one);
    world.run(Duration::from_secs(1));
    assert_eq!(world.shard().peer_links(world.now(), ROOM, peer), None);
}

/// The figures of a live room: both directions, who speaks, and nothing that was not measured.
#[test]
fn the_figures_of_a_live_room_say_who_speaks_and_what_was_lost() {
    let mut world = World::new(7, 8);
    let (one, two) = (join(&mut world), join(&mut world));
    world.run(Duration::from_secs(1));
    for _ in 0..150 {
        world.send_pose(one);
        world.send_pose(two);
        world.send(one, MessageKind::Voice, TARGET_OTHERS, 40);
        world.run(Duration::from_millis(20));
    }
    let [first, second] = [one, two].map(|client| world.clients[client].peer.unwrap());
    let figures = |world: &World, peer| {
        let links = world.shard().room_links(world.now(), ROOM);
        *links.iter().find(|link| link.peer == peer).unwrap()
    };
    let (speaker, listener) = (figures(&world, first), figures(&world, second));
    assert!(speaker.speaking && !listener.speaking);
    for link in [speaker, listener] {
        let known = (link.on_fallback, link.loss_in_ppm, link.loss_out_ppm);
        assert_eq!(known, (Some(false), Some(0), Some(0)), "{link:?}");
        assert!(link.datagrams_in >= 150 && link.bytes_in > link.datagrams_in, "{link:?}");
        assert!(link.datagrams_out >= 100 && link.bytes_out > link.datagrams_out, "{link:?}");
        assert!(link.jitter.is_some_and(|jitter| jitter < Duration::from_millis(20)), "{link:?}");
    }
    let totals = world.shard().peer_links(world.now(), ROOM, first).unwrap().totals;
    let same = (totals.bytes_in, totals.bytes_out, totals.withheld);
    assert_eq!((speaker.bytes_in, speaker.bytes_out, speaker.withheld), same);
    world.run(Duration::from_millis(600));
    assert!(!figures(&world, first).speaking, "a pause of 600 ms");
    // Somebody new, of whom nothing has been measured yet.
    let late = join(&mut world);
    while world.clients[late].peer.is_none() {
        world.run(Duration::from_millis(5));
    }
    let new = figures(&world, world.clients[late].peer.unwrap());
    assert_eq!((new.loss_out_ppm, new.jitter, new.speaking), (None, None, false));
    assert!(world.shard().room_links(world.now(), RoomId(99)).is_empty(), "no such room");
}

/// Poses of a room are kept while somebody asks for them, and forgotten with those who leave.
#[test]
fn the_poses_of_a_room_are_kept_only_while_somebody_looks() {
    let mut world = World::new(8, 8);
    let (one, two) = (join(&mut world), join(&mut world));
    world.run(Duration::from_secs(1));
    let send = |world: &mut World, from: usize| {
        world.send_pose(from);
        world.run(Duration::from_millis(200));
    };
    let look = |world: &mut World| {
        let now = world.now();
        world.shard_mut().head_poses(now, ROOM, "acme").unwrap()
    };
    send(&mut world, one);
    assert_eq!(look(&mut world), [], "nobody has looked before");
    send(&mut world, one);
    let poses = look(&mut world);
    let first = world.clients[one].peer.unwrap();
    assert_eq!(poses.iter().map(|pose| pose.peer).collect::<Vec<_>>(), [first]);
    assert!(poses[0].age <= Duration::from_millis(200), "{poses:?}");
    send(&mut world, two);
    assert_eq!(look(&mut world).len(), 2);
    world.leave(one);
    world.run(Duration::from_millis(500));
    let second = world.clients[two].peer.unwrap();
    assert_eq!(look(&mut world).iter().map(|pose| pose.peer).collect::<Vec<_>>(), [second]);
    world.run(Duration::from_secs(11));
    send(&mut world, two);
    assert_eq!(look(&mut world), [], "nobody has looked for ten seconds");
    let now = world.now();
    assert_eq!(world.shard_mut().head_poses(now, RoomId(99), "acme"), None, "no such room");
}

/// The places of rooms whose poses are kept are shared fairly by the tenants.
#[test]
fn one_tenant_cannot_take_all_places_of_plans() {
    let mut world = World::with(10, WorldConfig { rooms: 40, ..WorldConfig::default() });
    (1..=40).for_each(|room| _ = world.join_room(RoomId(room), Conditions::CLEAN));
    world.run(Duration::from_secs(1));
    let look = |world: &mut World, room: u64, tenant: &str| {
        world.run(Duration::from_millis(10));
        let now = world.now();
        world.shard_mut().head_poses(now, RoomId(room), tenant).is_some()
    };
    for room in 1..=20 {
        assert_eq!(look(&mut world, room, "greedy"), room <= 16, "room {room}");
    }
    for room in 21..=40 {
        assert_eq!(look(&mut world, room, "modest"), room <= 28, "room {room}");
    }
    // Of the first tenant, those that have waited for a question the longest are gone.
    for room in 9..=16 {
        assert!(look(&mut world, room, "greedy"), "room {room}");
    }
    assert!(!look(&mut world, 1, "greedy"));
    assert!(look(&mut world, 40, "third"));
}

/// What was lost is counted over all links, also of those who have left.
#[test]
fn lost_datagrams_are_counted_over_all_links() {
    let mut world = World::new(9, 8);
    let lossy = || Conditions::delayed(5, 20, Loss::independent(0.2));
    let (one, two) = (world.join(lossy(), lossy()), world.join(lossy(), lossy()));
    world.run(Duration::from_secs(2));
    let send = |world: &mut World, count: u32| {
        for _ in 0..count {
            world.send_pose(one);
            world.send_pose(two);
            world.run(Duration::from_millis(20));
        }
    };
    send(&mut world, 300);
    let sums = |world: &World| {
        let slice = world.shard().traffic(world.now(), 0);
        let mut losses = slice.left;
        slice.links.iter().for_each(|link| losses.add(link.losses));
        (slice.links.len(), losses)
    };
    let (links, before) = sums(&world);
    let share = |lost: u64, sent: u64| lost as f64 / sent as f64;
    assert_eq!(links, 2);
    assert!(before.sent_in > 500 && before.sent_out > 200, "{before:?}");
    for share in [share(before.lost_in, before.sent_in), share(before.lost_out, before.sent_out)] {
        assert!((0.1..0.3).contains(&share), "{share}: {before:?}");
    }
    world.leave(one);
    world.run(Duration::from_secs(1));
    let (links, after) = sums(&world);
    assert_eq!(links, 1);
    assert!(after.sent_in >= before.sent_in && after.lost_in >= before.lost_in, "{after:?}");
}

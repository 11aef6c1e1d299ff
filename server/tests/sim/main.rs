//! Whole rooms on the simulated network, seed by seed. `NUCLEUS_SEEDS=100000` runs more of them,
//! `NUCLEUS_SEED=17` one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking and says why"
)]

mod client;
mod life;
mod moderation;
#[path = "../../src/room/state/tests/replica.rs"]
mod replica;
mod state;
mod talk;
mod voices;
mod world;

use std::time::Duration;

use nucleus_netsim::Conditions;
use nucleus_protocol::groups::Group;
use nucleus_protocol::session::{AWAY, Code, Lane, PRESENT};
use nucleus_server::room::EventTarget;
use world::{ROOM, World};

fn seeds(default: u64) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|v| v.parse::<u64>().unwrap());
    match number("NUCLEUS_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("NUCLEUS_SEEDS").unwrap_or(default)).collect(),
    }
}

/// Runs `test` for every seed; a failure prints its own.
fn for_seeds(default: u64, test: impl Fn(u64) + std::panic::RefUnwindSafe) {
    for seed in seeds(default) {
        if let Err(panic) = std::panic::catch_unwind(|| test(seed)) {
            eprintln!("failed with NUCLEUS_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

fn preset(name: &str) -> Conditions {
    Conditions::preset(name).unwrap()
}

/// Peers come, go, sleep, resume, lose the realtime port, send and speak at random on networks of
/// every kind; afterwards everybody who is left has the same roster and exactly the events that a
/// plain model says, also those who slept; and the shared state that the room has.
#[test]
fn rooms_converge_under_churn() {
    for_seeds(1_000, |seed| {
        let mut world = World::new(seed, 8);
        let networks = ["clean", "wifi", "lossy", "awful", "roaming"];
        for _ in 0..400 {
            churn(&mut world, &networks);
            world.step();
        }
        (0..world.clients.len()).for_each(|one| world.wake(one));
        settle(&mut world);
        check_rosters(&world);
        check_events(&world);
        state::check(&world);
    });
}

fn churn(world: &mut World, networks: &[&str]) {
    let alive = world.awake();
    let pick =
        |world: &mut World| (!alive.is_empty()).then(|| alive[world.rng.usize(..alive.len())]);
    match world.rng.u32(..100) {
        0..4 if world.clients.len() < 14 => {
            let name = networks[world.rng.usize(..networks.len())];
            world.join(preset(name), preset(name));
        }
        4..6 => {
            if let Some(one) = pick(world) {
                world.leave(one);
            }
        }
        6..20 => {
            if let Some(from) = pick(world) {
                let target = target(world);
                let payload = (0..world.rng.usize(..40)).map(|_| world.rng.u8(..)).collect();
                let lane = Lane::ALL[world.rng.usize(..2)];
                world.say(from, lane, &target, payload);
            }
        }
        90..92 => {
            if let Some(one) = pick(world) {
                let told = world.rng.bool();
                world.sleep(one, told);
            }
        }
        92..95 if !world.clients.is_empty() => {
            let one = world.rng.usize(..world.clients.len());
            world.wake(one);
        }
        95..97 => {
            if let Some(one) = pick(world) {
                world.clients[one].blocked ^= true;
            }
        }
        80..90 => {
            if let Some(one) = pick(world) {
                state::ask_something(world, one);
            }
        }
        20..24 => {
            if let Some(one) = pick(world) {
                let groups = [world.rng.u8(..3), world.rng.u8(..3)];
                world.subscribe(one, &groups);
            }
        }
        24..80 => alive.iter().for_each(|one| world.send_pose(*one)),
        _ => {}
    }
}

fn target(world: &mut World) -> EventTarget {
    match world.rng.u32(..5) {
        0 => EventTarget::All,
        1 => EventTarget::Others,
        2 => EventTarget::Host,
        3 => EventTarget::Group(Group::new(world.rng.u8(..3)).unwrap()),
        _ => {
            let listed = world.clients.iter().filter_map(|c| c.peer).filter(|p| p.0 % 2 == 0);
            EventTarget::Listed(listed.collect())
        }
    }
}

/// Long enough for every reliable delivery and roster batch.
fn settle(world: &mut World) {
    world.run(Duration::from_millis(400));
}

fn check_rosters(world: &World) {
    let members = world.members();
    for one in &members {
        let client = &world.clients[*one];
        let known: Vec<u32> = client.roster.keys().copied().collect();
        let mut real: Vec<u32> =
            members.iter().map(|i| world.clients[*i].peer.unwrap().0).collect();
        real.sort_unstable();
        assert_eq!(known, real, "client {one} has another roster");
    }
}

fn check_events(world: &World) {
    for (one, client) in world.clients.iter().enumerate() {
        let lanes = [
            (&world.expected_events[one], &client.events),
            (&world.expected_bulk[one], &client.bulk),
        ];
        for (expected, got) in lanes {
            // Who has left may have missed what was under way to it at that moment.
            if client.ended.is_some() {
                assert!(expected.starts_with(got), "client {one} got other events");
            } else {
                assert_eq!(got, expected, "client {one} got other events");
            }
        }
    }
}

/// On a clean network every message arrives, once, at everybody else: nothing is withheld from
/// those within their budget.
#[test]
fn nothing_is_lost_without_loss() {
    for_seeds(100, |seed| {
        let mut world = World::new(seed, 16);
        let count = 2 + world.rng.usize(..6);
        for _ in 0..count {
            world.join(Conditions::CLEAN, Conditions::CLEAN);
        }
        world.run(Duration::from_secs(1));
        for _ in 0..200 {
            for one in 0..count {
                if world.rng.bool() {
                    world.send_pose(one);
                }
            }
            world.step();
        }
        settle(&mut world);
        let sent: usize = world.clients.iter().map(|c| usize::from(c.sent)).sum();
        let got: usize = world.clients.iter().map(|c| c.messages.len()).sum();
        assert_eq!(got, sent * (count - 1));
        let withheld = |c: &client::Client| {
            let report = c.link.as_ref().and_then(|l| l.server_report()).unwrap_or_default();
            report.kinds.iter().map(|k| k.superseded + k.suppressed + k.dropped).sum::<u32>()
        };
        assert!(world.clients.iter().all(|c| withheld(c) == 0));
    });
}

/// A flush that takes several turns reaches everybody once, whoever comes and goes meanwhile.
#[test]
fn a_large_room_is_flushed_in_pieces() {
    for_seeds(10, |seed| {
        let mut world = World::new(seed, 64);
        let count = 48;
        for _ in 0..count {
            world.join(Conditions::CLEAN, Conditions::CLEAN);
        }
        world.run(Duration::from_secs(1));
        let (mut turns, mut left) = (0, 0);
        for round in 0..4 {
            (0..count - left).for_each(|one| world.send_message(one, 1_000));
            for _ in 0..60 {
                let before = world.shard.counters.datagrams_out;
                world.step();
                turns += u32::from(world.shard.counters.datagrams_out > before + 100);
                if round == 2 && left < 3 && world.rng.u8(..8) == 0 {
                    left += 1;
                    world.leave(count - left);
                }
            }
            settle(&mut world);
        }
        assert!(turns >= 4 * 4, "only {turns} turns with a piece");
        for one in 0..count - 3 {
            // Who leaves may or may not have been heard in its last round.
            let got = world.clients[one].messages.len();
            let least = 2 * (count - 1) + 2 * (count - 4);
            assert!((least..=4 * (count - 1)).contains(&got), "{got} messages at {one}");
        }
    });
}

/// Loss costs what the network loses and not much more, and an address change costs a moment.
#[test]
fn bad_networks_cost_what_they_lose() {
    for_seeds(100, |seed| {
        let mut world = World::new(seed, 8);
        let name = ["wifi", "lossy", "roaming"][world.rng.usize(..3)];
        for _ in 0..4 {
            world.join(preset(name), preset(name));
        }
        world.run(Duration::from_secs(3));
        for _ in 0..1_200 {
            if world.rng.u8(..6) == 0 {
                (0..4).for_each(|one| world.send_pose(one));
            }
            world.step();
        }
        settle(&mut world);
        let sent: usize = world.clients.iter().map(|c| usize::from(c.sent)).sum();
        let got: usize = world.clients.iter().map(|c| c.messages.len()).sum();
        let share = got as f64 / (sent * 3) as f64;
        assert!(share > 0.7, "{name}: only {share:.3} of the messages arrived");
    });
}

/// A link without traffic keeps its path and its clock for four datagrams a minute on each plane, not
/// by probing for answers that never come; those inside QUIC need none.
#[test]
fn an_idle_link_is_answered() {
    let mut world = World::new(5, 4);
    world.join(Conditions::CLEAN, Conditions::CLEAN);
    world.run(Duration::from_secs(5));
    let counters = |world: &World| world.clients[0].link.as_ref().unwrap().counters();
    let settled = counters(&world);
    world.run(Duration::from_secs(60));
    let later = counters(&world);
    let sent = later.datagrams_out - settled.datagrams_out;
    let heard = later.datagrams_in - settled.datagrams_in;
    assert!((7..=10).contains(&sent), "{sent} datagrams a minute");
    assert!(heard >= sent / 2, "{sent} sent, only {heard} answered");
}

/// Who has nothing to say for minutes is not away: the planes take turns in keeping it alive, and one
/// word may be lost.
#[test]
fn an_idle_peer_is_present() {
    let mut world = World::new(3, 4);
    world.join(Conditions::CLEAN, Conditions::CLEAN);
    world.join(Conditions::CLEAN, Conditions::CLEAN);
    for tenth in 0..1_200 {
        // Every fifth sign of life inside QUIC is lost.
        if tenth / 150 % 5 == 1 {
            world.clients[1].quic.clear();
        }
        world.run(Duration::from_millis(100));
        let roster = &world.clients[0].roster;
        assert!(roster.values().all(|peer| peer.presence & AWAY == PRESENT), "{:?}", world.now);
    }
}

#[test]
fn silence_is_away_and_a_word_is_back() {
    let mut world = World::new(1, 4);
    let (a, b) = (world.join(Conditions::CLEAN, Conditions::CLEAN), 1);
    world.join(Conditions::CLEAN, Conditions::CLEAN);
    world.run(Duration::from_secs(3));
    let seat = world.clients[b].seat.unwrap();
    let silent = seat.peer;
    let presence = |world: &World| world.clients[a].roster[&silent.0].presence & AWAY;
    assert_eq!(presence(&world), PRESENT);
    let link = world.clients[b].link.take();
    world.run(Duration::from_secs(15));
    assert_eq!(presence(&world), PRESENT, "away too early");
    world.run(Duration::from_secs(4));
    assert_eq!(presence(&world), AWAY, "who was idle may miss one word");
    world.clients[b].link = link;
    world.send_pose(b);
    world.run(Duration::from_millis(300));
    assert_eq!(presence(&world), PRESENT);
    // Who talked is missed sooner.
    let link = world.clients[b].link.take();
    world.run(Duration::from_secs(9));
    assert_eq!(presence(&world), PRESENT, "away too early");
    world.run(Duration::from_secs(2));
    assert_eq!(presence(&world), AWAY);
    // An event is a word, too.
    drop(link);
    world.shard.handle_alive(world.now, ROOM, seat);
    world.run(Duration::from_millis(300));
    assert_eq!(presence(&world), PRESENT);
}

#[test]
fn a_lost_session_keeps_its_place_for_its_time() {
    let mut world = World::new(2, 4);
    let (a, b) = (world.join(Conditions::CLEAN, Conditions::CLEAN), 1);
    world.join(Conditions::CLEAN, Conditions::CLEAN);
    world.run(Duration::from_secs(1));
    let seat = world.clients[b].seat.unwrap();
    let lost = seat.peer;
    world.room.handle_session_lost(world.now, seat);
    world.run(Duration::from_secs(1));
    assert_eq!(world.clients[a].roster[&lost.0].presence & AWAY, AWAY);
    world.run(Duration::from_secs(28));
    assert!(world.clients[a].roster.contains_key(&lost.0));
    world.run(Duration::from_secs(2));
    assert!(!world.clients[a].roster.contains_key(&lost.0));
    assert_eq!(world.clients[b].ended, Some(Code::TimedOut));
}

/// Two resumes of one peer before the shard has answered the first: the link that the second one asked
/// for is the one that counts.
#[test]
fn a_link_of_a_replaced_session_is_not_taken_for_the_new_one() {
    use nucleus_protocol::realtime::ConnectionId;
    use nucleus_server::room::RoomOutput;
    use nucleus_server::shard::LinkNews;
    let mut world = World::new(6, 4);
    let one = world.join(Conditions::CLEAN, Conditions::CLEAN);
    world.run(Duration::from_secs(1));
    let seats: Vec<_> = (0..2).map(|_| world.resume_unanswered(one)).collect();
    assert_eq!(seats[0].session + 1, seats[1].session);
    let opened =
        |n| LinkNews::Opened { connection_id: ConnectionId([n; 8]), spare: ConnectionId([n; 8]) };
    let mut joined = Vec::new();
    for (seat, n) in [(seats[0], 1), (seats[1], 2)] {
        world.room.handle_link(world.now, seat, opened(n));
        while let Some(output) = world.room.poll_output() {
            if let RoomOutput::Joined(seat, joined_as, _) = output {
                joined.push((seat, joined_as.grant.connection_id));
            }
        }
    }
    assert_eq!(joined, [(seats[1], [2; 8])]);
}

#[test]
fn a_full_room_refuses_and_an_empty_one_ends() {
    let mut world = World::new(3, 2);
    let first = world.join(Conditions::CLEAN, Conditions::CLEAN);
    let second = world.join(Conditions::CLEAN, Conditions::CLEAN);
    let third = world.join(Conditions::CLEAN, Conditions::CLEAN);
    assert_eq!(world.clients[third].ended, Some(Code::RoomFull));
    world.leave(first);
    assert!(!world.room_closed);
    world.leave(second);
    assert!(world.room_closed);
    assert_eq!(world.shard.links(), 0);
    let late = world.join(Conditions::CLEAN, Conditions::CLEAN);
    assert_eq!(world.clients[late].ended, Some(Code::ShuttingDown));
}

#[test]
fn shutdown_tells_everybody_why() {
    let mut world = World::new(4, 8);
    for _ in 0..5 {
        world.join(Conditions::CLEAN, Conditions::CLEAN);
    }
    world.run(Duration::from_millis(500));
    world.room.handle_shutdown(world.now, Code::ShuttingDown);
    settle(&mut world);
    assert!(world.room_closed);
    assert!(world.clients.iter().all(|c| c.ended == Some(Code::ShuttingDown)));
}

/// Random and mutated datagrams at a live shard: no panic, no lost link, nothing relayed.
#[test]
fn garbage_moves_nothing() {
    for_seeds(50, |seed| {
        let mut world = World::new(seed, 4);
        world.join(Conditions::CLEAN, Conditions::CLEAN);
        world.join(Conditions::CLEAN, Conditions::CLEAN);
        world.run(Duration::from_millis(500));
        let id = world.clients[0].joined.as_ref().unwrap().grant.connection_id;
        let relayed = world.shard.counters.messages_in;
        for _ in 0..500 {
            let len = world.rng.usize(..1_300);
            let mut bytes: Vec<u8> = (0..len).map(|_| world.rng.u8(..)).collect();
            if len > 9 && world.rng.bool() {
                bytes[0] = 8 | world.rng.u8(..4);
                bytes[1..9].copy_from_slice(&id);
            }
            let from = "203.0.113.9:9".parse().unwrap();
            let path = nucleus_protocol::link::Path { remote: from, local: None };
            world.shard.handle_input(world.now, path, 0, &mut bytes);
        }
        world.step();
        assert_eq!(world.shard.counters.messages_in, relayed);
        world.send_pose(0);
        settle(&mut world);
        assert_eq!(world.clients[1].messages.len(), 1, "a live link was hurt");
    });
}

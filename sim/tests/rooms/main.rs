//! Tests of whole rooms on the simulated network, seed by seed. `NUCLEUS_SEEDS=100000` runs that
//! many seeds, `NUCLEUS_SEED=17` only that one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test reports a failure by a panic with a message"
)]

mod accounts;
mod acknowledgements;
mod bans;
mod false_figures;
mod floods;
mod history;
mod life;
mod long;
mod moderation;
mod moments;
mod muting;
mod state;
mod stopped;
mod talk;

use std::time::Duration;

use nucleus_core::ids::RoomId;
use nucleus_core::room::EventTarget;
use nucleus_netsim::Conditions;
use nucleus_protocol::groups::Group;
use nucleus_protocol::realtime::ConnectionId;
use nucleus_protocol::session::{AWAY, Code, Lane, LinkGrant, PRESENT};
use nucleus_sim::client::Client;
use nucleus_sim::seeds::for_seeds;
use nucleus_sim::world::ROOM;
use nucleus_sim::{World, WorldConfig};

fn preset(name: &str) -> Conditions {
    Conditions::preset(name).unwrap()
}

/// At random, peers join, leave, sleep, resume, lose the realtime port and send messages, on
/// networks of every kind. In the end all remaining peers, including those that slept, have the
/// same roster, exactly the events that the model says, and the shared state of the room.
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
        state::check(&world, ROOM);
    });
}

/// Like [`rooms_converge_under_churn`], but with several rooms on one shard. After all peers have
/// left, the shard has no link and no connection id.
#[test]
fn several_rooms_share_a_shard() {
    for_seeds(300, |seed| {
        let rooms = 3 + seed % 4;
        let mut world = World::with(seed, WorldConfig { rooms, ..WorldConfig::default() });
        let networks = ["clean", "wifi", "lossy", "awful", "roaming"];
        for _ in 0..300 {
            (0..rooms).for_each(|_| churn(&mut world, &networks));
            world.step();
        }
        (0..world.clients.len()).for_each(|one| world.wake(one));
        settle(&mut world);
        check_rosters(&world);
        check_events(&world);
        let rooms: Vec<RoomId> = (1..=rooms).map(RoomId).collect();
        rooms.iter().for_each(|room| state::check(&world, *room));
        assert_eq!(world.shard().links(), world.server.links().count());
        assert_eq!(world.server.connection_ids(), 2 * world.shard().links());
        (0..world.clients.len()).for_each(|one| world.leave(one));
        settle(&mut world);
        assert_eq!((world.shard().links(), world.server.links().count()), (0, 0));
        assert!(world.server.connection_ids_made() > 0);
        assert_eq!(world.server.connection_ids(), 0, "some ids name a link that is closed");
        for room in rooms {
            let used = world.clients.iter().any(|client| client.room == room);
            assert_eq!(world.server.is_over(room), used, "{room:?}");
        }
    });
}

fn churn(world: &mut World, networks: &[&str]) {
    let rooms = world.server.room_count();
    let alive = world.awake();
    let pick =
        |world: &mut World| (!alive.is_empty()).then(|| alive[world.rng.usize(..alive.len())]);
    match world.rng.u32(..100) {
        0..4 if world.clients.len() < 14 * rooms => {
            let name = networks[world.rng.usize(..networks.len())];
            let room = RoomId(world.rng.u64(1..=rooms as u64));
            world.join_room(room, preset(name));
        }
        4..6 => {
            if let Some(one) = pick(world) {
                world.leave(one);
            }
        }
        6..20 => {
            if let Some(from) = pick(world) {
                let target = target(world, from);
                let payload = (0..world.rng.usize(..40)).map(|_| world.rng.u8(..)).collect();
                let lane = Lane::ALL[world.rng.usize(..2)];
                world.send_event(from, lane, &target, payload);
            }
        }
        90..92 => {
            if let Some(one) = pick(world) {
                let noticed = world.rng.bool();
                world.sleep(one, noticed);
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
                state::request_something(world, one);
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

fn target(world: &mut World, from: usize) -> EventTarget {
    let room = world.clients[from].room;
    match world.rng.u32(..5) {
        0 => EventTarget::All,
        1 => EventTarget::Others,
        2 => EventTarget::Host,
        3 => EventTarget::Group(Group::new(world.rng.u8(..3)).unwrap()),
        _ => {
            let members = world.clients.iter().filter(|client| client.room == room);
            let listed = members.filter_map(|client| client.peer).filter(|peer| peer.0 % 2 == 0);
            EventTarget::Listed(listed.collect())
        }
    }
}

/// Advances time until every reliable message and roster batch has arrived.
fn settle(world: &mut World) {
    world.run(Duration::from_millis(400));
}

fn check_rosters(world: &World) {
    for one in world.members() {
        let client = &world.clients[one];
        let members = world.members_of(client.room);
        let known: Vec<(u32, Vec<u8>)> =
            client.roster.values().map(|peer| (peer.peer, peer.user.clone())).collect();
        let expected = |one: &usize| {
            let Client { peer, user, .. } = &world.clients[*one];
            (peer.unwrap().0, format!("user-{user}").into_bytes())
        };
        let mut expected: Vec<_> = members.iter().map(expected).collect();
        expected.sort_unstable();
        assert_eq!(known, expected, "client {one} has another roster");
    }
}

fn check_events(world: &World) {
    for (one, client) in world.clients.iter().enumerate() {
        let lanes = [(&client.expected[0], &client.events), (&client.expected[1], &client.bulk)];
        for (expected, got) in lanes {
            // A client that has left may have missed the events on their way to it.
            if client.ended.is_some() {
                assert!(expected.starts_with(got), "client {one} got other events");
            } else {
                assert_eq!(got, expected, "client {one} got other events");
            }
        }
    }
}

/// On a clean network every message arrives exactly once at every other peer. The server withholds
/// nothing from recipients within their budget.
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
        let withheld = |c: &Client| {
            let report = c.link.as_ref().and_then(|l| l.server_report()).unwrap_or_default();
            report.kinds.iter().map(|k| k.superseded + k.suppressed + k.dropped).sum::<u32>()
        };
        assert!(world.clients.iter().all(|c| withheld(c) == 0));
    });
}

/// A flush that takes several turns reaches every peer once, even if peers leave meanwhile.
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
            (0..count - left).for_each(|one| world.send_message(one, 900));
            for _ in 0..60 {
                let before = world.shard().counters.datagrams_out;
                world.step();
                turns += u32::from(world.shard().counters.datagrams_out > before + 100);
                if round == 2 && left < 3 && world.rng.u8(..8) == 0 {
                    left += 1;
                    world.leave(count - left);
                }
            }
            settle(&mut world);
        }
        assert!(turns >= 4 * 4, "only {turns} turns with a piece");
        for one in 0..count - 3 {
            // The messages of a leaving peer's last round may or may not have been relayed.
            let got = world.clients[one].messages.len();
            let least = 2 * (count - 1) + 2 * (count - 4);
            assert!((least..=4 * (count - 1)).contains(&got), "{got} messages at {one}");
        }
    });
}

/// The server and the clients lose few messages in addition to those that the network loses, even
/// when addresses change.
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

/// A link without traffic keeps its path and its clock with four datagrams a minute on each plane.
/// The server answers the datagrams on the realtime port, so the client need not probe. The
/// datagrams inside QUIC need no answer.
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
    let received = later.datagrams_in - settled.datagrams_in;
    assert!((7..=10).contains(&sent), "{sent} datagrams a minute");
    assert!(received >= sent / 2, "{sent} sent, only {received} answered");
}

/// A peer that sends nothing for minutes is not away: its client sends keep-alives on the two
/// planes in turn, and one of them may be lost.
#[test]
fn an_idle_peer_is_present() {
    let mut world = World::new(3, 4);
    world.join(Conditions::CLEAN, Conditions::CLEAN);
    world.join(Conditions::CLEAN, Conditions::CLEAN);
    for tenth in 0..1_200 {
        // Every fifth keep-alive inside QUIC is lost.
        if tenth / 150 % 5 == 1 {
            world.clients[1].lose_quic();
        }
        world.run(Duration::from_millis(100));
        let roster = &world.clients[0].roster;
        assert!(roster.values().all(|peer| peer.presence & AWAY == PRESENT), "{:?}", world.now());
    }
}

#[test]
fn silence_is_away_and_a_word_is_back() {
    let mut world = World::new(1, 4);
    let (a, b) = (world.join(Conditions::CLEAN, Conditions::CLEAN), 1);
    world.join(Conditions::CLEAN, Conditions::CLEAN);
    world.run(Duration::from_secs(3));
    let silent = world.clients[b].peer.unwrap();
    let presence = |world: &World| world.clients[a].roster[&silent.0].presence & AWAY;
    assert_eq!(presence(&world), PRESENT);
    let link = world.clients[b].link.take();
    world.run(Duration::from_secs(15));
    assert_eq!(presence(&world), PRESENT, "away too early");
    world.run(Duration::from_secs(4));
    assert_eq!(
        presence(&world),
        AWAY,
        "an idle peer is away after one lost keep-alive and the usual time"
    );
    world.clients[b].link = link;
    world.send_pose(b);
    world.run(Duration::from_millis(300));
    assert_eq!(presence(&world), PRESENT);
    // A peer that has sent messages becomes away sooner.
    let link = world.clients[b].link.take();
    world.run(Duration::from_secs(9));
    assert_eq!(presence(&world), PRESENT, "away too early");
    world.run(Duration::from_secs(2));
    assert_eq!(presence(&world), AWAY);
    // An event also shows that the peer is active.
    drop(link);
    world.report_active(b);
    world.run(Duration::from_millis(300));
    assert_eq!(presence(&world), PRESENT);
}

#[test]
fn a_lost_session_keeps_its_place_for_its_time() {
    let mut world = World::new(2, 4);
    let (a, b) = (world.join(Conditions::CLEAN, Conditions::CLEAN), 1);
    world.join(Conditions::CLEAN, Conditions::CLEAN);
    world.run(Duration::from_secs(1));
    let lost = world.clients[b].peer.unwrap();
    world.lose(b);
    world.run(Duration::from_secs(1));
    assert_eq!(world.clients[a].roster[&lost.0].presence & AWAY, AWAY);
    world.run(Duration::from_secs(28));
    assert!(world.clients[a].roster.contains_key(&lost.0));
    world.run(Duration::from_secs(2));
    assert!(!world.clients[a].roster.contains_key(&lost.0));
    assert_eq!(world.clients[b].ended, Some(Code::TimedOut));
}

/// A peer resumes twice before the shard has opened the first link. The new session gets the link
/// that the second resume requested.
#[test]
fn a_link_of_a_replaced_session_is_not_taken_for_the_new_one() {
    let mut world = World::new(6, 4);
    let one = world.join(Conditions::CLEAN, Conditions::CLEAN);
    world.run(Duration::from_secs(1));
    world.server.shards_are_late = true;
    let sessions = [(); 2].map(|()| world.resume(one).unwrap());
    assert_eq!(sessions[0].session + 1, sessions[1].session);
    world.run(Duration::from_secs(1));
    assert_eq!(world.clients[one].joins, 1, "no link is open yet");
    world.server.shards_are_late = false;
    world.run(Duration::from_secs(1));
    let client = &world.clients[one];
    assert_eq!((client.joins, client.session), (2, Some(sessions[1])));
    let &LinkGrant { connection_id, spare, .. } = &client.joined.as_ref().unwrap().grant[0];
    let [id, spare] = [connection_id, spare].map(ConnectionId);
    assert!(
        world.server.is_alive(id) && world.server.is_alive(spare),
        "the grant names the first link"
    );
    assert_eq!((world.server.connection_ids(), world.server.connection_ids_made()), (2, 6));
}

#[test]
fn a_full_room_refuses_and_an_empty_one_ends() {
    let mut world = World::new(3, 2);
    let first = world.join(Conditions::CLEAN, Conditions::CLEAN);
    let second = world.join(Conditions::CLEAN, Conditions::CLEAN);
    let third = world.join(Conditions::CLEAN, Conditions::CLEAN);
    assert_eq!(world.clients[third].ended, Some(Code::RoomFull));
    world.leave(first);
    assert!(!world.is_over());
    world.leave(second);
    assert!(world.is_over());
    assert_eq!(world.shard().links(), 0);
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
    world.shut_down(Code::ShuttingDown);
    settle(&mut world);
    assert!(world.is_over());
    assert!(world.clients.iter().all(|c| c.ended == Some(Code::ShuttingDown)));
}

/// A running shard gets random and mutated datagrams. It does not panic, loses no link and relays
/// nothing.
#[test]
fn garbage_moves_nothing() {
    for_seeds(50, |seed| {
        let mut world = World::new(seed, 4);
        world.join(Conditions::CLEAN, Conditions::CLEAN);
        world.join(Conditions::CLEAN, Conditions::CLEAN);
        world.run(Duration::from_millis(500));
        let id = world.clients[0].joined.as_ref().unwrap().grant[0].connection_id;
        let relayed = world.shard().counters.messages_in;
        for _ in 0..500 {
            let len = world.rng.usize(..1_300);
            let mut bytes: Vec<u8> = (0..len).map(|_| world.rng.u8(..)).collect();
            if len > 9 && world.rng.bool() {
                bytes[0] = 8 | world.rng.u8(..4);
                bytes[1..9].copy_from_slice(&id);
            }
            let from = "203.0.113.9:9".parse().unwrap();
            let path = nucleus_protocol::link::Path { remote: from, local: None };
            let now = world.now();
            world.shard_mut().handle_datagram(now, path, 0, &mut bytes);
        }
        world.step();
        assert_eq!(world.shard().counters.messages_in, relayed);
        world.send_pose(0);
        settle(&mut world);
        assert_eq!(world.clients[1].messages.len(), 1, "a message on a live link was lost");
    });
}

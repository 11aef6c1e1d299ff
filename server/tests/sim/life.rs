//! How long a room lives, whom it holds seats for and whom it lets in, on the simulated network.

use std::collections::HashSet;
use std::time::Duration;

use nucleus_netsim::Conditions;
use nucleus_protocol::session::{Code, StateSnapshot, Value, value};
use nucleus_server::room::{Asks, Password, Terms};

use super::world::World;

fn join(world: &mut World) -> usize {
    let index = world.join(Conditions::CLEAN, Conditions::CLEAN);
    world.run(Duration::from_millis(300));
    index
}

fn is_in(world: &World, index: usize) -> bool {
    world.members().contains(&index)
}

#[test]
fn a_room_outlives_its_last_peer_with_all_it_has() {
    let value = Value { kind: value::INTEGER, bits: 7, bytes: Vec::new() };
    let terms = Terms {
        empty_ttl: Duration::from_secs(60),
        listed: vec![b"level".to_vec()],
        fields: vec![(b"level".to_vec(), value.clone())],
        ..Terms::default()
    };
    let mut world = World::with_terms(1, 8, terms);
    let first = join(&mut world);
    let epoch = world.clients[first].joined.as_ref().unwrap().room_epoch;
    let state: StateSnapshot = world.room.shared_state();
    assert_eq!((state.version, state.entities[0].fields[0].value.clone()), (1, value.clone()));
    world.leave(first);
    world.run(Duration::from_secs(59));
    assert!(!world.room_closed);
    let listing = world.listing.clone().unwrap();
    assert_eq!((listing.peers, listing.fields), (0, vec![(b"level".to_vec(), value)]));
    let second = join(&mut world);
    assert_eq!(world.clients[second].joined.as_ref().unwrap().room_epoch, epoch);
    assert_eq!(world.room.shared_state().version, 1);
    world.run(Duration::from_secs(5));
    assert!(!world.room_closed, "somebody is there");
    world.leave(second);
    world.run(Duration::from_secs(61));
    assert!(world.room_closed);
}

#[test]
fn without_a_time_the_last_leave_ends_it_and_kept_nothing_does() {
    let mut world = World::new(2, 8);
    let only = join(&mut world);
    world.leave(only);
    assert!(world.room_closed);

    let mut world = World::with_terms(3, 8, Terms { kept: true, ..Terms::default() });
    let only = join(&mut world);
    world.leave(only);
    world.run(Duration::from_secs(120));
    assert!(!world.room_closed && world.room.deadline().is_none(), "it waits for nothing");
    world.room.handle_shutdown(world.now, Code::ShuttingDown);
    world.run(Duration::from_millis(10));
    assert!(world.room_closed);
}

/// The one who made it never came, its session died on the way.
#[test]
fn nobody_waits_for_a_first_join_that_does_not_come() {
    let mut world = World::with_terms(4, 8, Terms { kept: true, ..Terms::default() });
    world.run(Duration::from_secs(11));
    assert!(world.room_closed);
    let invited = Terms {
        guests: Some(vec!["user-0".into()]),
        first_within: Some(Duration::from_secs(40)),
        empty_ttl: Duration::from_secs(40),
        ..Terms::default()
    };
    let mut world = World::with_terms(5, 8, invited);
    world.run(Duration::from_secs(39));
    let guest = join(&mut world);
    assert!(is_in(&world, guest) && !world.room_closed);
}

/// A room that nobody can get into takes no place among the rooms.
#[test]
fn a_room_by_invitation_is_over_when_nobody_has_one() {
    let ttl = Duration::from_secs(40);
    let guests = Some(vec!["user-0".into(), "user-1".into()]);
    let terms = Terms { guests, first_within: Some(ttl), empty_ttl: ttl, ..Terms::default() };
    let mut world = World::with_terms(11, 8, terms.clone());
    world.room.handle_uninvite(world.now, "user-0");
    world.run(Duration::from_secs(1));
    assert!(!world.room_closed);
    world.room.handle_uninvite(world.now, "user-1");
    world.run(Duration::from_secs(1));
    assert!(world.room_closed, "nobody had come");

    let mut world = World::with_terms(12, 8, terms);
    let guest = join(&mut world);
    ["user-0", "user-1"].into_iter().for_each(|user| world.room.handle_uninvite(world.now, user));
    world.run(Duration::from_secs(1));
    assert!(is_in(&world, guest) && !world.room_closed, "who is in stays");
    world.leave(guest);
    world.run(Duration::from_secs(1));
    assert!(world.room_closed);
}

#[test]
fn a_held_seat_is_kept_for_its_user_and_for_its_time() {
    let mut world = World::new(6, 3);
    let expects = |users: &[&str]| Asks {
        expected: users.iter().map(|user| (*user).to_owned()).collect(),
        ..Asks::default()
    };
    world.next_asks = expects(&["user-2"]);
    let first = join(&mut world);
    world.next_asks = expects(&["user-2", "user-7"]);
    let second = join(&mut world);
    assert!(is_in(&world, first));
    assert_eq!(world.clients[second].ended, Some(Code::RoomFull), "it asks for too many");
    world.next_asks = Asks::default();
    let third = join(&mut world);
    assert!(is_in(&world, third), "its seat was held");
    let (fourth, fifth) = (join(&mut world), join(&mut world));
    assert!(is_in(&world, fourth), "no seat is held any more");
    assert_eq!(world.clients[fifth].ended, Some(Code::RoomFull));

    let mut world = World::new(7, 2);
    world.next_asks = expects(&["somebody"]);
    join(&mut world);
    world.next_asks = Asks::default();
    assert_eq!(world.listing.as_ref().map(|l| (l.peers, l.held)), Some((1, 1)));
    let early = join(&mut world);
    assert_eq!(world.clients[early].ended, Some(Code::RoomFull));
    world.run(Duration::from_secs(60));
    assert_eq!(world.listing.as_ref().map(|l| (l.peers, l.held)), Some((1, 0)));
    let late = join(&mut world);
    assert!(is_in(&world, late));
}

/// The join that finds a held seat's time over is refused itself: the lobby hears of the seat all the same.
#[test]
fn a_seat_is_shown_as_free_whoever_finds_it_so() {
    let expects = |users: &[&str]| Asks {
        expected: users.iter().map(|user| (*user).to_owned()).collect(),
        ..Asks::default()
    };
    let mut world = World::new(11, 2);
    world.next_asks = expects(&["somebody"]);
    join(&mut world);
    world.run(Duration::from_millis(59_600));
    assert_eq!(world.listing.as_ref().map(|l| (l.peers, l.held)), Some((1, 1)));
    world.now += Duration::from_millis(100);
    world.next_asks = expects(&["a", "b"]);
    let greedy = world.join(Conditions::CLEAN, Conditions::CLEAN);
    assert_eq!(world.clients[greedy].ended, Some(Code::RoomFull));
    world.run(Duration::from_secs(1));
    assert_eq!(world.listing.as_ref().map(|l| (l.peers, l.held)), Some((1, 0)));
}

/// Guests are invited and uninvited, come, go, sleep and come back; a stranger never gets in.
#[test]
fn guests_get_in_under_churn_and_strangers_never() {
    super::for_seeds(20, |seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut invited: HashSet<usize> = (0..4).collect();
        let (name, ttl) = (|n: usize| format!("user-{n}"), Duration::from_secs(30));
        // One of them never comes: without any guest the room would be over.
        let guests = Some((0..4).map(name).chain(["nobody".to_owned()]).collect());
        let terms = Terms { guests, empty_ttl: ttl, first_within: Some(ttl), ..Terms::default() };
        let mut world = World::with_terms(seed, 40, terms);
        for next in 0..16 {
            if rng.bool() && invited.insert(next) {
                world.room.handle_invite(world.now, &name(next)).unwrap();
            }
            if rng.u8(..4) == 0 && invited.remove(&next) {
                world.room.handle_uninvite(world.now, &name(next));
            }
            let index = join(&mut world);
            let expected = (!invited.contains(&next)).then_some(Code::NotInvited);
            assert_eq!((index, world.clients[index].ended), (next, expected));
            let Some(member) = rng.choice(world.awake()) else { continue };
            if rng.bool() {
                world.leave(member);
                continue;
            }
            // Also without its invitation: it has a place.
            world.room.handle_uninvite(world.now, &name(member));
            invited.remove(&member);
            world.sleep(member, true);
            world.run(Duration::from_secs(rng.u64(0..5)));
            world.wake(member);
            world.run(Duration::from_millis(500));
            assert!(is_in(&world, member));
        }
        assert!(!world.room_closed);
        assert!(world.listing.as_ref().unwrap().hidden, "strangers do not see it");
    });
}

#[test]
fn passwords_versions_and_a_refusal_that_ends_what_it_made() {
    let terms = || Terms {
        version: "2".into(),
        password: Password::of(b"sesame"),
        empty_ttl: Duration::from_secs(60),
        ..Terms::default()
    };
    let asks = |version: &str, password: &str| Asks {
        version: version.into(),
        password: Password::of(password.as_bytes()),
        expected: Vec::new(),
    };
    let mut world = World::with_terms(8, 8, terms());
    world.next_asks = asks("2", "sesame");
    let first = join(&mut world);
    for (version, password, code) in [
        ("1", "sesame", Code::Incompatible),
        ("", "", Code::Incompatible),
        ("2", "", Code::WrongPassword),
        ("2", "sesame ", Code::WrongPassword),
    ] {
        world.next_asks = asks(version, password);
        let other = join(&mut world);
        assert_eq!(world.clients[other].ended, Some(code));
    }
    assert!(is_in(&world, first) && !world.room_closed);
    // Who has a place needs no password to come back to it.
    world.sleep(first, true);
    world.next_asks = Asks::default();
    world.wake(first);
    world.run(Duration::from_secs(1));
    assert!(is_in(&world, first));

    let mut world = World::with_terms(9, 8, terms());
    world.next_asks = asks("1", "sesame");
    join(&mut world);
    assert!(world.room_closed, "nobody else knows of it");
}

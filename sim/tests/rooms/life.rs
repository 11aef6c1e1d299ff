//! Tests of the lifetime, the reserved seats and the admission of a room, on the simulated network.

use std::collections::HashSet;
use std::time::Duration;

use nucleus_core::Machine;
use nucleus_core::room::{JoinConditions, Password, RoomOptions};
use nucleus_netsim::Conditions;
use nucleus_protocol::session::{Code, StateSnapshot, Value, value};
use nucleus_sim::seeds::for_seeds;
use nucleus_sim::{World, WorldConfig};

fn world_with(seed: u64, capacity: u16, options: RoomOptions) -> World {
    World::with(seed, WorldConfig { capacity, options, ..WorldConfig::default() })
}

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
    let options = RoomOptions {
        empty_ttl: Duration::from_secs(60),
        listed: vec![b"level".to_vec()],
        fields: vec![(b"level".to_vec(), value.clone())],
        ..RoomOptions::default()
    };
    let mut world = world_with(1, 8, options);
    let first = join(&mut world);
    let instance = world.clients[first].joined.as_ref().unwrap().room_instance;
    let state: StateSnapshot = world.room().shared_state();
    assert_eq!((state.version, state.entities[0].fields[0].value.clone()), (1, value.clone()));
    world.leave(first);
    world.run(Duration::from_secs(59));
    assert!(!world.is_over());
    let listing = world.listing().unwrap().clone();
    assert_eq!((listing.peers, listing.fields), (0, vec![(b"level".to_vec(), value)]));
    let second = join(&mut world);
    assert_eq!(world.clients[second].joined.as_ref().unwrap().room_instance, instance);
    assert_eq!(world.room().shared_state().version, 1);
    world.run(Duration::from_secs(5));
    assert!(!world.is_over(), "a peer is in the room");
    world.leave(second);
    world.run(Duration::from_secs(61));
    assert!(world.is_over());
}

#[test]
fn without_a_time_the_last_leave_ends_it_and_kept_nothing_does() {
    let mut world = World::new(2, 8);
    let only = join(&mut world);
    world.leave(only);
    assert!(world.is_over());

    let mut world = world_with(3, 8, RoomOptions { kept: true, ..RoomOptions::default() });
    let only = join(&mut world);
    world.leave(only);
    world.run(Duration::from_secs(120));
    assert!(!world.is_over() && world.room().deadline().is_none(), "a kept room has no deadline");
    world.shut_down(Code::ShuttingDown);
    world.run(Duration::from_millis(10));
    assert!(world.is_over());
}

/// The join that creates a room never arrives, because its session is lost.
#[test]
fn nobody_waits_for_a_first_join_that_does_not_come() {
    let mut world = world_with(4, 8, RoomOptions { kept: true, ..RoomOptions::default() });
    world.run(Duration::from_secs(11));
    assert!(world.is_over());
    let options = RoomOptions {
        invited: Some(vec!["user-0".into()]),
        first_within: Some(Duration::from_secs(40)),
        empty_ttl: Duration::from_secs(40),
        ..RoomOptions::default()
    };
    let mut world = world_with(5, 8, options);
    world.run(Duration::from_secs(39));
    let invited = join(&mut world);
    assert!(is_in(&world, invited) && !world.is_over());
}

/// A room that nobody can join ends, so that it does not count against the limit of rooms.
#[test]
fn a_room_by_invitation_is_over_when_nobody_has_one() {
    let ttl = Duration::from_secs(40);
    let invited = Some(vec!["user-0".into(), "user-1".into()]);
    let options =
        RoomOptions { invited, first_within: Some(ttl), empty_ttl: ttl, ..RoomOptions::default() };
    let mut world = world_with(11, 8, options.clone());
    world.uninvite("user-0").unwrap();
    world.run(Duration::from_secs(1));
    assert!(!world.is_over());
    world.uninvite("user-1").unwrap();
    world.run(Duration::from_secs(1));
    assert!(world.is_over(), "no user is invited, and none has joined");

    let mut world = world_with(12, 8, options);
    let invited = join(&mut world);
    ["user-0", "user-1"].into_iter().for_each(|user| world.uninvite(user).unwrap());
    world.run(Duration::from_secs(1));
    assert!(is_in(&world, invited) && !world.is_over(), "a user who has joined stays");
    world.leave(invited);
    world.run(Duration::from_secs(1));
    assert!(world.is_over());
}

#[test]
fn a_held_seat_is_kept_for_its_user_and_for_its_time() {
    let mut world = World::new(6, 3);
    let expects = |users: &[&str]| JoinConditions {
        expected: users.iter().map(|user| (*user).to_owned()).collect(),
        ..JoinConditions::default()
    };
    world.next_conditions = expects(&["user-2"]);
    let first = join(&mut world);
    world.next_conditions = expects(&["user-2", "user-7"]);
    let second = join(&mut world);
    assert!(is_in(&world, first));
    assert_eq!(
        world.clients[second].ended,
        Some(Code::RoomFull),
        "the join expects too many users"
    );
    world.next_conditions = JoinConditions::default();
    let third = join(&mut world);
    assert!(is_in(&world, third), "its seat was reserved");
    let (fourth, fifth) = (join(&mut world), join(&mut world));
    assert!(is_in(&world, fourth), "no seat is reserved any more");
    assert_eq!(world.clients[fifth].ended, Some(Code::RoomFull));

    let mut world = World::new(7, 2);
    world.next_conditions = expects(&["somebody"]);
    join(&mut world);
    world.next_conditions = JoinConditions::default();
    assert_eq!(world.listing().map(|l| (l.peers, l.reserved)), Some((1, 1)));
    let early = join(&mut world);
    assert_eq!(world.clients[early].ended, Some(Code::RoomFull));
    world.run(Duration::from_secs(60));
    assert_eq!(world.listing().map(|l| (l.peers, l.reserved)), Some((1, 0)));
    let late = join(&mut world);
    assert!(is_in(&world, late));
}

/// A join is refused after the time of a reserved seat has ended. The lobby is told nevertheless
/// that the seat is free.
#[test]
fn a_seat_is_shown_as_free_whoever_finds_it_so() {
    let expects = |users: &[&str]| JoinConditions {
        expected: users.iter().map(|user| (*user).to_owned()).collect(),
        ..JoinConditions::default()
    };
    let mut world = World::new(11, 2);
    world.next_conditions = expects(&["somebody"]);
    join(&mut world);
    world.run(Duration::from_millis(59_600));
    assert_eq!(world.listing().map(|l| (l.peers, l.reserved)), Some((1, 1)));
    world.set_now(world.now() + Duration::from_millis(100));
    world.next_conditions = expects(&["a", "b"]);
    let greedy = world.join(Conditions::CLEAN, Conditions::CLEAN);
    assert_eq!(world.clients[greedy].ended, Some(Code::RoomFull));
    world.run(Duration::from_secs(1));
    assert_eq!(world.listing().map(|l| (l.peers, l.reserved)), Some((1, 0)));
}

/// Users are invited and uninvited, join, leave, sleep and resume. A user without an invitation
/// never joins.
#[test]
fn invited_users_get_in_under_churn_and_strangers_never() {
    for_seeds(20, |seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut invited: HashSet<usize> = (0..4).collect();
        let (name, ttl) = (|n: usize| format!("user-{n}"), Duration::from_secs(30));
        // The user "nobody" never joins, but keeps the room alive when no other user is invited.
        let users = Some((0..4).map(name).chain(["nobody".to_owned()]).collect());
        let options = RoomOptions {
            invited: users,
            empty_ttl: ttl,
            first_within: Some(ttl),
            ..RoomOptions::default()
        };
        let mut world = world_with(seed, 40, options);
        for next in 0..16 {
            if rng.bool() && invited.insert(next) {
                world.invite(&name(next)).unwrap();
            }
            if rng.u8(..4) == 0 && invited.remove(&next) {
                world.uninvite(&name(next)).unwrap();
            }
            let index = join(&mut world);
            let expected = (!invited.contains(&next)).then_some(Code::NotInvited);
            assert_eq!((index, world.clients[index].ended), (next, expected));
            let Some(member) = rng.choice(world.awake()) else { continue };
            if rng.bool() {
                world.leave(member);
                continue;
            }
            // A participant may resume without an invitation.
            world.uninvite(&name(member)).unwrap();
            invited.remove(&member);
            world.sleep(member, true);
            world.run(Duration::from_secs(rng.u64(0..5)));
            world.wake(member);
            world.run(Duration::from_millis(500));
            assert!(is_in(&world, member));
        }
        assert!(!world.is_over());
        assert!(world.listing().unwrap().hidden, "a room by invitation is hidden");
    });
}

#[test]
fn passwords_versions_and_a_refusal_that_ends_what_it_made() {
    let options = || RoomOptions {
        version: "2".into(),
        password: Password::of(b"sesame"),
        empty_ttl: Duration::from_secs(60),
        ..RoomOptions::default()
    };
    let conditions = |version: &str, password: &str| JoinConditions {
        version: version.into(),
        password: Password::of(password.as_bytes()),
        expected: Vec::new(),
    };
    let mut world = world_with(8, 8, options());
    world.next_conditions = conditions("2", "sesame");
    let first = join(&mut world);
    for (version, password, code) in [
        ("1", "sesame", Code::Incompatible),
        ("", "", Code::Incompatible),
        ("2", "", Code::WrongPassword),
        ("2", "sesame ", Code::WrongPassword),
    ] {
        world.next_conditions = conditions(version, password);
        let other = join(&mut world);
        assert_eq!(world.clients[other].ended, Some(code));
    }
    assert!(is_in(&world, first) && !world.is_over());
    // A participant needs no password to resume.
    world.sleep(first, true);
    world.next_conditions = JoinConditions::default();
    world.wake(first);
    world.run(Duration::from_secs(1));
    assert!(is_in(&world, first));

    let mut world = world_with(9, 8, options());
    world.next_conditions = conditions("1", "sesame");
    join(&mut world);
    assert!(world.is_over(), "a room ends if the join that made it is refused");
}

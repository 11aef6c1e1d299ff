//! Operations with a wrong form, and requests beyond the limits.

use nucleus_protocol::limits::{
    MAX_STATE, MAX_STATE_FIELDS, MAX_STATE_KEY, MAX_STATE_OBJECTS, MAX_STATE_OWNED,
    MAX_STATE_VALUE, STATE_RESERVE,
};
use nucleus_protocol::session::{Operation, SESSION_HEADER_BYTES, Value, encode, operation, value};

use super::*;

#[test]
fn values_have_one_spelling() {
    let good = [
        bytes(value::NONE, b""),
        Value { kind: value::BOOL, ..number(1) },
        number(u64::MAX),
        Value { kind: value::FLOAT, ..number(f64::INFINITY.to_bits()) },
        bytes(value::TEXT, "Zoë".as_bytes()),
        bytes(value::TEXT, b""),
        bytes(value::BYTES, &[0xff; MAX_STATE_VALUE]),
    ];
    let bad = [
        bytes(value::NONE, b"x"),
        Value { kind: value::NONE, ..number(1) },
        Value { kind: value::BOOL, ..number(2) },
        bytes(value::BOOL, b"x"),
        bytes(value::INTEGER, b"x"),
        Value { kind: value::FLOAT, ..number(f64::NAN.to_bits()) },
        bytes(value::FLOAT, b"x"),
        bytes(value::TEXT, &[0xff]),
        bytes(value::TEXT, &[b'x'; MAX_STATE_VALUE + 1]),
        Value { bits: 1, ..bytes(value::TEXT, b"x") },
        bytes(value::BYTES, &[0; MAX_STATE_VALUE + 1]),
        Value { bits: 1, ..bytes(value::BYTES, b"x") },
        bytes(6, b""),
    ];
    let mut fixture = StateFixture::new();
    for value in good {
        assert_eq!(fixture.apply(1, set(scope::PEER, 1, value.clone())), Ok(()), "{value:?}");
        fixture.check();
    }
    for value in bad {
        let refused = fixture.apply(1, set(scope::PEER, 1, value.clone()));
        assert_eq!(refused, Err(Code::BadState), "{value:?}");
    }
}

#[test]
fn what_is_no_operation_is_refused() {
    let key = |key: &[u8]| Operation { key: key.to_vec(), ..set(scope::PEER, 1, number(1)) };
    let bad = [
        op(0, scope::OBJECT, OBJECT),
        op(7, scope::OBJECT, OBJECT),
        op(operation::DELETE, scope::PEER, 1),
        op(operation::CLAIM, scope::ROOM, 0),
        op(operation::GIVE, 3, 0),
        op(operation::CREATE, scope::PEER, 4),
        create(OBJECT, 3),
        create(OBJECT, 0x20),
        set(scope::ROOM, 1, number(1)),
        set(3, 0, number(1)),
        key(b""),
        key(&[b'k'; MAX_STATE_KEY + 1]),
        key(&[0xff]),
    ];
    let mut fixture = StateFixture::new();
    for operation in bad {
        assert_eq!(
            fixture.apply_as(1, Rights::ALL, operation.clone()),
            Err(Code::BadState),
            "{operation:?}"
        );
    }
    assert_eq!(fixture.apply_as(1, Rights::ALL, key(&[b'k'; MAX_STATE_KEY])), Ok(()));
}

#[test]
fn an_entity_has_so_many_fields() {
    let mut fixture = StateFixture::new();
    let field = |n: usize, value| {
        let key = n.to_string().into_bytes();
        Operation { key, ..set(scope::PEER, 1, value) }
    };
    for n in 0..MAX_STATE_FIELDS {
        assert_eq!(fixture.apply(1, field(n, number(0))), Ok(()));
    }
    assert_eq!(fixture.apply(1, field(MAX_STATE_FIELDS, number(0))), Err(Code::EntityFields));
    assert_eq!(fixture.apply(1, field(0, number(1))), Ok(()), "a field that exists");
    assert_eq!(fixture.apply(1, field(0, Value::default())), Ok(()));
    assert_eq!(fixture.apply(1, field(MAX_STATE_FIELDS, number(0))), Ok(()));
    fixture.check();
}

#[test]
fn a_room_has_so_many_objects() {
    let mut fixture = StateFixture::new();
    for id in 0..MAX_STATE_OBJECTS as u64 {
        assert_eq!(fixture.apply_as(1, Rights::ALL, create(id, 0)), Ok(()));
    }
    let one_more = create(MAX_STATE_OBJECTS as u64, 0);
    assert_eq!(fixture.apply(1, one_more.clone()), Err(Code::RoomObjects));
    assert_eq!(fixture.request(1, Rights::ALL, vec![delete(0), one_more]), Ok(()));
    fixture.check();
}

#[test]
fn one_user_cannot_fill_the_room() {
    let mut fixture = StateFixture::new();
    for id in 0..MAX_STATE_OWNED as u64 {
        assert_eq!(fixture.apply(1, create(id, mode::TAKE)), Ok(()));
    }
    let more = MAX_STATE_OWNED as u64;
    assert_eq!(fixture.apply(1, create(more, 0)), Err(Code::PeerObjects));
    assert_eq!(fixture.apply(2, create(more, mode::TAKE)), Ok(()));
    assert_eq!(fixture.apply(1, claim(more)), Err(Code::PeerObjects));
    assert_eq!(fixture.apply(2, give(more, 1)), Err(Code::PeerObjects));
    // A peer may claim its own object again, and claim another after it has given one away.
    assert_eq!(fixture.apply(1, claim(0)), Ok(()));
    assert_eq!(fixture.apply(1, give(0, 2)), Ok(()));
    assert_eq!(fixture.apply(1, claim(more)), Ok(()));
    assert_eq!(
        fixture.apply_as(1, Rights::ALL, claim(0)),
        Ok(()),
        "a moderator has no limit of its own"
    );
    fixture.check();
}

/// A room in which a user may have two objects, with the peers 1 and 4 of one user, and 2 and 3 of
/// others.
fn two_objects_a_user() -> StateFixture {
    let mut fixture = StateFixture::new();
    fixture.present.insert(4, true);
    let limits = Limits { user_objects: 2, ..Limits::default() };
    fixture.state = SharedState::new(limits, &[]);
    fixture
}

#[test]
fn all_sessions_of_a_user_share_its_limit_of_objects() {
    let mut fixture = two_objects_a_user();
    assert_eq!(fixture.apply(1, create(1, mode::TAKE)), Ok(()));
    assert_eq!(fixture.apply(4, create(2, mode::TAKE)), Ok(()));
    for peer in [1, 4] {
        assert_eq!(fixture.apply(peer, create(3, 0)), Err(Code::PeerObjects), "{peer}");
    }
    // Objects that pass between the devices of one user count once.
    assert_eq!(fixture.apply(4, claim(1)), Ok(()));
    assert_eq!(fixture.apply(4, give(2, 1)), Ok(()));
    assert_eq!(fixture.apply(4, give(1, 4)), Ok(()), "to itself");
    assert_eq!(fixture.objects_of(1), 2);
    // Another user's object counts to the one who takes it.
    assert_eq!(fixture.apply(2, create(3, mode::TAKE)), Ok(()));
    assert_eq!(fixture.apply(4, claim(3)), Err(Code::PeerObjects));
    assert_eq!(fixture.apply(2, give(3, 1)), Err(Code::PeerObjects));
    assert_eq!(fixture.apply_as(3, Rights::ALL, give(3, 1)), Ok(()), "a moderator may");
    assert_eq!((fixture.objects_of(1), fixture.objects_of(2)), (3, 0));
    assert_eq!(fixture.apply(1, give(2, 2)), Ok(()));
    assert_eq!(fixture.apply(4, delete(1)), Ok(()));
    assert_eq!((fixture.objects_of(1), fixture.objects_of(2)), (1, 1));
    fixture.check();
}

#[test]
fn who_leaves_and_joins_again_does_not_fill_the_room() {
    let mut fixture = two_objects_a_user();
    let stays = mode::FIXED | mode::WITH_ROOM;
    let operations = vec![create(1, stays), create(2, stays)];
    assert_eq!(fixture.request(1, Rights::PARTICIPANT, operations), Ok(()));
    fixture.leave(1);
    assert_eq!((fixture.owner(1), fixture.objects_of(1)), (Some(0), 2));
    assert_eq!(fixture.apply(4, create(3, 0)), Err(Code::PeerObjects));
    // The same user claims its objects although it is at its limit, and may delete them then.
    assert_eq!(fixture.request(4, Rights::PARTICIPANT, vec![claim(1), delete(1)]), Ok(()));
    assert_eq!(fixture.apply(4, create(3, 0)), Ok(()));
    // What somebody else claims counts to that user.
    assert_eq!(fixture.apply(2, claim(2)), Ok(()));
    assert_eq!((fixture.objects_of(1), fixture.objects_of(2)), (1, 1));
    // Objects that do not outlive their owner do not count any more.
    fixture.leave(4);
    assert_eq!(fixture.objects_of(1), 0);
    // A clear ends the counts of all, of objects without an owner too.
    fixture.leave(2);
    assert_eq!(fixture.objects_of(2), 1);
    let update = fixture.state.clear(3).unwrap();
    fixture.replica.apply(update);
    assert_eq!(fixture.objects_of(2), 0);
    fixture.check();
}

/// The fixture compares the whole state, with its counts, before and after a refused request.
#[test]
fn a_refused_request_leaves_the_counts_as_they_were() {
    let mut fixture = two_objects_a_user();
    let released = create(1, mode::TAKE | mode::WITH_ROOM);
    assert_eq!(fixture.apply(1, released), Ok(()));
    fixture.leave(1);
    assert_eq!(fixture.apply(2, create(2, mode::TAKE)), Ok(()));
    let operations = vec![
        claim(1),
        claim(2),
        give(1, 4),
        claim(1),
        create(3, 0),
        delete(1),
        create(1, mode::WITH_ROOM),
        give(1, 2),
        delete(9),
    ];
    let refused = fixture.request(3, Rights::ALL, operations);
    assert_eq!(refused, Err(RequestRefused { code: Code::NoSuchEntity, failed: 8 }));
    assert_eq!([1, 2, 3].map(|peer| fixture.objects_of(peer)), [1, 1, 0]);
    fixture.check();
}

#[test]
fn the_last_part_of_the_state_is_for_those_who_answer_for_the_room() {
    let mut fixture = StateFixture::new();
    let full = bytes(value::BYTES, &[7; MAX_STATE_VALUE]);
    let both = |id| vec![create(id, 0), set(scope::OBJECT, id, full.clone())];
    let mut id = 0;
    while fixture.request(1, Rights::PARTICIPANT, both(id)).is_ok() {
        id += 1;
    }
    let limit = MAX_STATE - MAX_STATE / STATE_RESERVE;
    assert!((limit - 2 * MAX_STATE_VALUE..=limit).contains(&fixture.state.store.bytes()));
    let room = bytes(value::BYTES, &[7; MAX_STATE_VALUE]);
    assert_eq!(fixture.apply_as(2, Rights::PRESENTER, set(scope::ROOM, 0, room)), Ok(()));
    assert_eq!(fixture.apply(1, set(scope::OBJECT, 0, number(1))), Ok(()), "a smaller state");
    fixture.check();
}

#[test]
fn a_full_state_takes_nothing_but_less() {
    let mut fixture = StateFixture::new();
    let full = bytes(value::BYTES, &[7; MAX_STATE_VALUE]);
    let mut refused = Ok(());
    let mut id = 0;
    while refused.is_ok() {
        id += 1;
        let operations = vec![create(id, 0), set(scope::OBJECT, id, full.clone())];
        refused = fixture.request(1, Rights::ALL, operations);
    }
    assert_eq!(refused, Err(RequestRefused { code: Code::StateFull, failed: 1 }));
    assert!(fixture.state.store.bytes() > MAX_STATE - 2 * MAX_STATE_VALUE);
    assert!(encode(&fixture.state.snapshot()).len() <= MAX_STATE + SESSION_HEADER_BYTES);
    assert_eq!(fixture.apply(1, set(scope::OBJECT, 1, number(1))), Ok(()));
    let operations = vec![create(id, 0), set(scope::OBJECT, id, full.clone())];
    assert_eq!(fixture.request(1, Rights::ALL, operations), Ok(()));
    assert_eq!(fixture.apply(1, set(scope::OBJECT, 1, full)), Err(Code::StateFull));
    fixture.check();
}

#[test]
fn an_operator_may_set_less() {
    let mut fixture = StateFixture::new();
    fixture.state = SharedState::new(
        Limits { room_objects: 3, user_objects: 2, room_state_bytes: 4_000, ..Limits::default() },
        &[],
    );
    assert_eq!(fixture.apply(1, create(1, 0)), Ok(()));
    assert_eq!(fixture.apply(1, create(2, 0)), Ok(()));
    assert_eq!(fixture.apply(1, create(3, 0)), Err(Code::PeerObjects));
    assert_eq!(fixture.apply(2, create(3, 0)), Ok(()));
    assert_eq!(fixture.apply(2, create(4, 0)), Err(Code::RoomObjects));
    let large = |len| set(scope::OBJECT, 3, bytes(value::BYTES, &vec![7; len]));
    assert_eq!(fixture.apply(2, large(3_500)), Err(Code::StateFull));
    assert_eq!(fixture.apply(2, large(2_000)), Ok(()));
    fixture.check();
}

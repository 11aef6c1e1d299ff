//! Compares a room with a simple reference model. After any sequence of operations both must have
//! sent the same to every session. If a sequence fails, proptest shortens the sequence as far as
//! possible and prints it.
//!
//! `PROPTEST_CASES=100000` runs that many cases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test reports a failure by a panic with a message"
)]

mod model;
mod real;
mod records;
#[path = "../../../core/src/room/state/tests/model.rs"]
mod state_model;

use nucleus_core::room::Rights;
use nucleus_protocol::session::{ANY_VERSION, Operation, Value, mode, operation, scope, value};
use proptest::prelude::*;

use model::RoomModel;
use real::RealRoom;

/// Number of users. Each may join with several devices.
pub(crate) const USERS: u8 = 4;
/// The largest number of peers in the room.
pub(crate) const CAPACITY: usize = 6;
/// Most objects of a user who may not moderate.
pub(crate) const USER_OBJECTS: usize = 2;
/// How long a participant outlives its session, in ms.
pub(crate) const PEER_TTL: u64 = 30_000;
/// Number of cases unless `PROPTEST_CASES` gives another.
const CASES: u32 = 4_000;

/// An operation on the room. `who` selects a participant: its index, modulo the number of
/// participants.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Join {
        user: u8,
        role: usize,
    },
    /// The peer's link becomes active or idle.
    Link {
        who: usize,
        active: bool,
    },
    Lost {
        who: usize,
    },
    /// A client resumes with a ticket. Of the events sent to it, the client lacks the newest
    /// `behind` of each lane.
    Resume {
        ticket: usize,
        behind: [u64; 2],
    },
    Leave {
        who: usize,
    },
    Event {
        who: usize,
        target: ModelTarget,
        lane: usize,
        /// The flags of a piece of a larger message; always 0 on the events lane.
        piece: u8,
        /// Whether the sender is a replaced session.
        stale: bool,
    },
    /// Subscribes to these groups and no others.
    Subscribe {
        who: usize,
        groups: Vec<u8>,
    },
    State {
        who: usize,
        operations: Vec<Operation>,
        stale: bool,
    },
    Moderate {
        who: usize,
        act: u8,
        target: usize,
        seconds: u32,
    },
    Wait {
        ms: u64,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum ModelTarget {
    All,
    Others,
    Listed(Vec<u32>),
    Host,
    Group(u8),
    OthersAndLater,
}

fn op() -> impl Strategy<Value = Op> {
    let who = 0..12usize;
    let waits = prop_oneof![Just(50u64), Just(150), Just(2_000), Just(9_000), Just(31_000)];
    prop_oneof![
        6 => (0..USERS, 0..ROLES.len()).prop_map(|(user, role)| Op::Join { user, role }),
        3 => (who.clone(), any::<bool>()).prop_map(|(who, active)| Op::Link { who, active }),
        3 => who.clone().prop_map(|who| Op::Lost { who }),
        4 => (0..20usize, [0..4u64, 0..4u64]).prop_map(|(ticket, behind)| Op::Resume { ticket, behind }),
        2 => who.clone().prop_map(|who| Op::Leave { who }),
        8 => (who.clone(), to(), 0..2usize, 0..4u8, stale())
            .prop_map(|(who, target, lane, piece, stale)| {
                Op::Event { who, target, lane, piece: piece * lane as u8, stale }
            }),
        3 => (who.clone(), prop::collection::vec(0..3u8, 0..3))
            .prop_map(|(who, groups)| Op::Subscribe { who, groups }),
        8 => (who.clone(), prop::collection::vec(operation(), 0..4), stale())
            .prop_map(|(who, operations, stale)| Op::State { who, operations, stale }),
        5 => (who, 0..15u8, 0..12usize, prop_oneof![4 => Just(0u32), 1 => Just(5), 1 => Just(90_000)])
            .prop_map(|(who, act, target, seconds)| Op::Moderate { who, act, target, seconds }),
        4 => waits.prop_map(|ms| Op::Wait { ms }),
    ]
}

/// Draws whether the sender is a session that has been replaced: true in one of ten cases.
fn stale() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.1)
}

fn to() -> impl Strategy<Value = ModelTarget> {
    prop_oneof![
        Just(ModelTarget::All),
        Just(ModelTarget::Others),
        prop::collection::vec(0..10u32, 0..4).prop_map(ModelTarget::Listed),
        Just(ModelTarget::Host),
        (0..3u8).prop_map(ModelTarget::Group),
        Just(ModelTarget::OthersAndLater),
    ]
}

/// Draws operations on few objects and fields, so that peers conflict.
fn operation() -> impl Strategy<Value = Operation> {
    let kind = prop_oneof![4 => Just(operation::SET), 1 => 1..8u8];
    let modes = prop_oneof![0..3u8, (0..3u8).prop_map(|m| m | mode::WITH_ROOM), Just(9u8)];
    let expected = prop_oneof![3 => Just(ANY_VERSION), 1 => Just(0u64), 1 => 1..20u64];
    let number = (0..4u64).prop_map(|bits| Value { kind: value::INTEGER, bits, bytes: vec![] });
    let value = prop_oneof![3 => number, 1 => Just(Value::default())];
    let (scope, id) = (scope::ROOM..4u8, (0..4u64, 0..3u64));
    let field = (0..2u8).prop_map(|key| vec![b'a' + key]);
    (kind, scope, id, modes, 0..8u32, field, value, expected).prop_map(
        |(kind, scope, (maker, number), mode, peer, key, value, expected)| {
            let of_objects = kind != operation::SET && kind != operation::HOST;
            let scope = if of_objects { scope::OBJECT } else { scope };
            let id = match scope {
                scope::ROOM => 0,
                scope::PEER => number + 1,
                _ => maker << 32 | number,
            };
            Operation { kind, scope, id, mode, peer, key, value, expected }
        },
    )
}

/// The roles of the test, each with its rights.
pub(crate) const ROLES: [(&str, Rights); 4] = [
    ("host", Rights::ALL),
    ("presenter", Rights::PRESENTER),
    ("participant", Rights::PARTICIPANT),
    ("observer", Rights::NONE),
];

fn check(empty_ttl: u64, ops: &[Op]) {
    let (mut real, mut model) = (RealRoom::new(empty_ttl), RoomModel::new(empty_ttl));
    for op in ops {
        real.apply(op, &model);
        model.apply(op);
        real.check(&model);
    }
    // Rosters are sent in batches.
    let settle = Op::Wait { ms: 200 };
    real.apply(&settle, &model);
    model.apply(&settle);
    real.check(&model);
    real.check_rosters_and_states(&model);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_room_does_what_the_model_says(
        empty_ttl in prop_oneof![Just(0), Just(5_000u64)],
        ops in prop::collection::vec(op(), 1..50),
    ) {
        check(empty_ttl, &ops);
    }
}

fn cases() -> u32 {
    let cases = std::env::var("PROPTEST_CASES").ok();
    cases.and_then(|cases| cases.parse().ok()).unwrap_or(CASES)
}

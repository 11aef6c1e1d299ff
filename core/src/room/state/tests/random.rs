//! Random requests, leaves, and changes of presence. The state and the refusals must equal those of
//! the model.

use nucleus_protocol::session::{ANY_VERSION, Operation, Value, mode, operation, scope};

use super::model::StateModel;
use super::*;

/// Runs thousands of seeds. `NUCLEUS_SEEDS=100000` runs that many, `NUCLEUS_SEED=17` that seed
/// alone.
#[test]
fn the_state_is_what_the_model_says() {
    let variable = |name: &str| std::env::var(name).ok().map(|n| n.parse::<u64>().unwrap());
    let seeds = match variable("NUCLEUS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("NUCLEUS_SEEDS").unwrap_or(4_000),
    };
    for seed in seeds {
        let run = std::panic::catch_unwind(|| against_the_model(seed));
        assert!(run.is_ok(), "failed as above with NUCLEUS_SEED={seed}");
    }
}

fn against_the_model(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let user_objects = rng.u32(1..6);
    let (mut fixture, mut model) = (StateFixture::new(), StateModel::new(user_objects as usize));
    fixture.state = SharedState::new(Limits { user_objects, ..Limits::default() }, &[]);
    let mut newest = 3;
    model.users = (1..=newest).map(|peer| (peer, user_of(peer) as u8)).collect();
    for step in 0..60 {
        if step == 30 {
            // From here on the replica starts from a snapshot.
            fixture.replica = Replica::new(fixture.state.snapshot());
        }
        let peers: Vec<u32> = fixture.present.keys().copied().collect();
        match rng.u32(..22) {
            0 => {
                newest += 1;
                fixture.present.insert(newest, true);
                model.users.insert(newest, user_of(newest) as u8);
            }
            1 if !peers.is_empty() => {
                let peer = peers[rng.usize(..peers.len())];
                assert_eq!(fixture.leave(peer).is_some(), model.leave(peer));
            }
            // A peer becomes away or present. That may change the host and nothing else.
            2..4 if !peers.is_empty() => {
                fixture.present.insert(peers[rng.usize(..peers.len())], rng.bool());
            }
            20 if !peers.is_empty() => {
                let by = peers[rng.usize(..peers.len())];
                model.clear();
                if let Some(update) = fixture.state.clear(by) {
                    fixture.replica.apply(update);
                }
            }
            21 if !peers.is_empty() => {
                let host = peers[rng.usize(..peers.len())];
                model.choose(host);
                let update = fixture.state.choose_host(host, host);
                fixture.replica.apply(update);
            }
            _ if !peers.is_empty() => {
                let actor = peers[rng.usize(..peers.len())];
                let rights = rights_of(actor);
                let count = rng.usize(1..5);
                let operations: Vec<_> =
                    (0..count).map(|_| random(&mut rng, actor, newest)).collect();
                let present = fixture.present.clone();
                let expected = model.request((actor, rights), &present, &operations);
                let got = fixture
                    .request(actor, rights, operations.clone())
                    .map_err(|r| (r.code, r.failed));
                assert_eq!(got, expected, "{actor} requested {operations:?}");
            }
            _ => {}
        }
        assert_eq!(fixture.state.host(&fixture.present), model.host(&fixture.present));
        for (number, user) in (0..).zip(USERS) {
            assert_eq!(fixture.state.store.objects_of(user), model.objects_of(number), "{user}");
        }
    }
    assert_eq!(fixture.state.snapshot(), model.snapshot());
    fixture.check();
}

fn rights_of(peer: u32) -> Rights {
    let single = Rights { objects: true, ..Rights::NONE };
    let all = [Rights::ALL, Rights::PARTICIPANT, Rights::PRESENTER, single, Rights::NONE];
    all[peer as usize % all.len()]
}

/// Returns a random operation. Most are valid, and there are few objects, so that peers conflict.
fn random(rng: &mut fastrand::Rng, actor: u32, newest: u32) -> Operation {
    let kinds = [1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 4, 4, 4, 5, 5, 6, rng.u8(..9)];
    let kind = kinds[rng.usize(..kinds.len())];
    let makers = [0, u64::from(actor), rng.u64(..6)];
    let object = (makers[rng.usize(..3)] << 32) | rng.u64(..3);
    let scope = match kind {
        operation::SET => rng.u8(..4),
        operation::HOST => 0,
        _ => {
            if rng.u8(..30) == 0 {
                rng.u8(..4)
            } else {
                scope::OBJECT
            }
        }
    };
    let id = match scope {
        scope::ROOM => u64::from(rng.u8(..20) == 0),
        scope::PEER => {
            if rng.bool() {
                actor.into()
            } else {
                rng.u64(..u64::from(newest) + 2)
            }
        }
        _ => object,
    };
    let mode = [rng.u8(..3), rng.u8(..3) | mode::WITH_ROOM, rng.u8(..)][rng.usize(..3)];
    let expected = [ANY_VERSION, ANY_VERSION, 0, rng.u64(..20)][rng.usize(..4)];
    let value = if rng.u8(..4) == 0 { Value::default() } else { number(rng.u64(..9)) };
    let (peer, key) = (rng.u32(..newest + 2), vec![b'a' + rng.u8(..3)]);
    Operation { kind, scope, id, mode, peer, key, value, expected }
}

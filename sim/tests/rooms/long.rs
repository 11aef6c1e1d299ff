//! Tests a room that exists for hours: its links use several key phases.

use std::time::Duration;

use nucleus_netsim::{Conditions, Loss};
use nucleus_protocol::limits::PHASE_TIME;
use nucleus_protocol::session::{AWAY, PRESENT};
use nucleus_sim::World;
use nucleus_sim::seeds::for_seeds;

/// Runs for more than three hours, with a few messages about every ten minutes. The world itself
/// checks that no packet number is used twice in one phase.
#[test]
fn links_outlive_their_key_phases() {
    for_seeds(4, |seed| {
        let mut world = World::new(seed, 8);
        let count = 2 + seed as usize % 3;
        for one in 0..count {
            let network = Conditions::delayed(0, 20 * one as u64, Loss::NONE);
            world.join(network.clone(), network);
        }
        world.run(Duration::from_secs(2));
        let end = world.now() + 3 * PHASE_TIME + PHASE_TIME / 4;
        while world.now() < end {
            let pause = Duration::from_secs(world.rng.u64(300..900));
            let next = (world.now() + pause).min(end);
            while world.now() < next {
                world.step_to_deadline(next);
                check_presence(&world);
            }
            for _ in 0..world.rng.u32(1..100) {
                let one = world.rng.usize(..count);
                world.send_pose(one);
                world.step();
            }
            super::settle(&mut world);
            check_messages(&world);
            check_presence(&world);
        }
        for client in world.clients.iter() {
            assert_eq!(client.phases(), [4, 4], "phases upwards and downwards");
            assert_eq!(client.joins, 1);
            let link = client.link.as_ref().unwrap();
            assert_eq!(link.counters().rejected.iter().sum::<u64>(), 0);
        }
        let counters = world.shard().counters;
        assert_eq!((counters.rejected, counters.unknown_id, counters.not_ours), (0, 0, 0));
    });
}

fn check_presence(world: &World) {
    for client in world.clients.iter() {
        let present = client.roster.values().all(|peer| peer.presence & AWAY == PRESENT);
        assert!(present && client.roster.len() == world.clients.len(), "{:?}", world.now());
    }
}

/// Checks that every client has received all messages of the others.
fn check_messages(world: &World) {
    let sent: usize = world.clients.iter().map(|client| usize::from(client.sent)).sum();
    for client in world.clients.iter() {
        assert_eq!(client.messages.len(), sent - usize::from(client.sent), "{:?}", world.now());
    }
}

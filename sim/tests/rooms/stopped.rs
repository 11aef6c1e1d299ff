//! A server whose process stands still: what waits in the sockets meanwhile is read afterwards, and
//! is worth nothing.

use std::collections::HashMap;
use std::time::Duration;

use nucleus_core::fanout::FanoutInput;
use nucleus_core::limits::age_limit;
use nucleus_netsim::Conditions;
use nucleus_protocol::limits::{CAPTURE_AGE, RETURN_PROBE};
use nucleus_protocol::realtime::{MessageKind, TARGET_OTHERS};
use nucleus_protocol::time::Time;
use nucleus_sim::World;
use nucleus_sim::seeds::for_seeds;
use nucleus_sim::world::{Arrival, STEP};

/// Stops, in seconds. Capture times wrap after 65 s, so after 63 s the oldest look like new ones.
const STOPS: [u64; 6] = [3, 12, 15, 40, 63, 65];
/// Most datagrams that a client's socket buffer at the server holds. Further ones are dropped.
const BUFFER: usize = 400;

/// A server, its clients, and what waits in the sockets of the server.
struct Stopped {
    world: World,
    /// When each message was sent, by sender and sequence.
    sent: HashMap<(u32, u16), Time>,
    /// What waits in the sockets, each with its arrival.
    waiting: Vec<(Time, Arrival)>,
    /// Whether the kernel stamps the datagrams of the realtime port.
    stamped: bool,
}

impl Stopped {
    /// Lets every client send a message, every 20 ms.
    fn talk(&mut self) {
        let world = &mut self.world;
        if !world.now().as_micros().is_multiple_of(20_000) {
            return;
        }
        for one in 0..world.clients.len() {
            let kind = MessageKind::ALL[one % MessageKind::ALL.len()];
            world.send(one, kind, TARGET_OTHERS, 34);
            let client = &world.clients[one];
            let peer = client.peer.unwrap().0;
            self.sent.insert((peer, client.sent), world.now());
        }
    }

    fn run(&mut self, span: Duration) {
        let end = self.world.now() + span;
        while self.world.now() < end {
            self.world.step();
            self.talk();
        }
    }

    /// Stops the server for this time. The clients and the network go on.
    fn stop(&mut self, span: Duration) {
        let end = self.world.now() + span;
        while self.world.now() < end {
            let now = self.world.now() + STEP;
            self.world.set_now(now);
            for arrival in self.world.arrivals() {
                let held = self.waiting.iter().filter(|(_, a)| a.from == arrival.from).count();
                if held < BUFFER {
                    self.waiting.push((now, arrival));
                }
            }
            self.world.receive();
            self.talk();
        }
    }

    /// Lets the server read everything that waits: first the realtime port, whose datagrams may have
    /// the kernel's time stamp.
    fn go_on(&mut self) {
        let now = self.world.now();
        let (port, inside): (Vec<_>, Vec<_>) =
            self.waiting.drain(..).partition(|(_, arrival)| arrival.path.is_some());
        self.world.shard_mut().handle(now, FanoutInput::StoodStill { stamped: self.stamped });
        for (arrived, Arrival { path, mut bytes, .. }) in port {
            let arrived = if self.stamped { arrived } else { now };
            self.world.shard_mut().handle_datagram(arrived, path.unwrap(), 0, &mut bytes);
        }
        inside.into_iter().for_each(|(_, arrival)| self.world.take(arrival));
    }
}

#[test]
fn nothing_that_waited_is_relayed() {
    for_seeds(120, |seed| {
        let stop = Duration::from_secs(STOPS[seed as usize % STOPS.len()]);
        let mut world = World::new(seed, 8);
        for one in 0..4 {
            world.join(Conditions::CLEAN, Conditions::CLEAN);
            // Half of the clients are on the fallback.
            world.clients[one].blocked = one % 2 == 1;
        }
        world.run(4 * RETURN_PROBE);
        let mut stopped =
            Stopped { world, sent: HashMap::new(), waiting: Vec::new(), stamped: seed < 60 };
        stopped.run(Duration::from_secs(3));
        assert_eq!(stopped.world.shard().on_fallback(), 2, "seed {seed}");
        stopped.stop(stop);
        let known: Vec<_> =
            stopped.world.clients.iter().map(|client| client.messages.clone()).collect();
        stopped.go_on();
        // What is relayed arrives within a few steps, and after the time in which the server drops
        // what has no time stamp.
        let mut relayed = 0;
        for _ in 0..200 {
            stopped.world.step();
            let now = stopped.world.now();
            for (client, known) in stopped.world.clients.iter().zip(&known) {
                for message in client.messages.difference(known) {
                    let sent = stopped.sent[message];
                    let limit = Duration::from_millis(CAPTURE_AGE.into());
                    let oldest = limit + age_limit(MessageKind::Voice) + 200 * STEP;
                    assert!(now.since(sent) <= oldest, "{:?} old", now.since(sent));
                    relayed += 1;
                }
            }
            stopped.talk();
        }
        assert!(relayed > 0, "the room goes on");
        stopped.run(Duration::from_secs(5));
        check_round_trips(&stopped.world);
    });
}

/// The networks of these tests take no time, and a server answers within its tick.
fn check_round_trips(world: &World) {
    for client in world.clients.iter() {
        let round_trip = client.link.as_ref().unwrap().rtt().unwrap();
        assert!(round_trip < Duration::from_millis(150), "{round_trip:?}");
    }
}

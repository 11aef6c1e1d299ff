//! When a room acknowledges events, and what that costs.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use nucleus_core::ids::{PeerId, RequestId, RoomId, RoomInstanceId, ServerInstanceId, SessionId};
use nucleus_core::limits::{EVENT_ACK_GRID, Limits};
use nucleus_core::room::{
    Event, EventTarget, RoomConfig, RoomInput, RoomOptions, SecondDevice, TicketClaim,
};
use nucleus_netsim::Conditions;
use nucleus_protocol::limits::{EVENT_ACK_COUNT, EVENT_ACK_LATEST};
use nucleus_protocol::session::{self, Code, EventAck, Joined, Lane};
use nucleus_protocol::time::Time;
use nucleus_sim::client::parts;
use nucleus_sim::join::join_request;
use nucleus_sim::seeds::for_seeds;
use nucleus_sim::world::ROOM;
use nucleus_sim::{Clients, InstantLinks, Server, SessionAddress, World};

/// Counts the messages of a room.
#[derive(Default)]
struct Counts {
    sessions: Vec<SessionId>,
    /// The session whose event the room is handling.
    handling: Option<SessionId>,
    /// Acknowledgements of the event that has just come.
    prompt_acks: u64,
    /// Acknowledgements that come by themselves.
    late_acks: u64,
    /// The newest acknowledgement of each peer.
    newest: HashMap<PeerId, EventAck>,
}

impl Clients for Counts {
    fn join_reply(&mut self, _: RoomId, _: RequestId, result: Result<SessionId, Code>) {
        self.sessions.push(result.unwrap());
    }

    fn joined(&mut self, _: SessionAddress, _: Box<Joined>, _: TicketClaim) {}

    fn control(&mut self, _: SessionAddress, _: Bytes) {}

    fn event_ack(&mut self, to: SessionAddress, message: Bytes) {
        match self.handling == Some(to.session) {
            true => self.prompt_acks += 1,
            false => self.late_acks += 1,
        }
        self.newest.insert(to.session.peer, session::owned(parts(&message).1).unwrap());
    }

    fn event(&mut self, _: SessionAddress, _: Lane, _: Bytes) {}

    fn state(&mut self, _: SessionAddress, _: Bytes) {}

    fn disconnect(&mut self, _: SessionAddress, _: Code) {}
}

/// What a run counted.
struct Cost {
    events: u64,
    prompt_acks: u64,
    late_acks: u64,
    /// Times at which the room ran without an event.
    wake_ups: u64,
}

impl Cost {
    /// Returns the share of datagrams that acknowledgements add to those of the events alone: each
    /// event, and QUIC's acknowledgement of its packet. A prompt acknowledgement travels with the
    /// latter and is acknowledged by QUIC in a datagram of its own. A late one takes two.
    fn added_datagrams(&self) -> f64 {
        let added = self.prompt_acks + 2 * self.late_acks;
        added as f64 / (2 * self.events) as f64
    }
}

/// Lets a thousand sessions send an event each after every pause that `pause` draws, for a minute.
/// Each event is for one other peer, so that nothing else is sent to most of them.
fn thousand_senders(pause: impl Fn(&mut fastrand::Rng) -> Duration) -> Cost {
    let config = RoomConfig {
        limits: Limits::default(),
        capacity: 1_000,
        second_device: SecondDevice::Allow,
        instance: RoomInstanceId([1; 8]),
        server_instance: ServerInstanceId([1; 8]),
        clock_epoch: 1,
        options: RoomOptions::default(),
        bans: Vec::new(),
    };
    let start = Time::from_millis(777);
    let mut server = Server::new(start, vec![InstantLinks::default()]);
    server.open_room(ROOM, config);
    let (mut counts, mut rng) = (Counts::default(), fastrand::Rng::with_seed(1));
    for user in 0..1_000 {
        let join = Box::new(join_request(format!("user-{user}"), "member", &[0; 32]));
        let join = RoomInput::Join { request: RequestId(user), join };
        server.post(ROOM, join, &mut counts);
    }
    let sessions = counts.sessions.clone();
    let mut due: Vec<(Time, SessionId)> =
        sessions.iter().map(|session| (start + pause(&mut rng), *session)).collect();
    let end = start + Duration::from_secs(60);
    let (mut events, mut wake_ups) = (0, 0);
    let mut sent: HashMap<PeerId, u32> = HashMap::new();
    loop {
        let next = due.iter_mut().min_by_key(|(at, _)| *at).unwrap();
        while let Some(at) = server.deadline().filter(|at| *at <= next.0.min(end)) {
            server.now = at;
            server.settle(&mut counts);
            wake_ups += 1;
        }
        if next.0 > end {
            break;
        }
        (server.now, counts.handling) = (next.0, Some(next.1));
        next.0 += pause(&mut rng);
        let (from, to) = (next.1, PeerId(next.1.peer.0 % 1_000 + 1));
        let (lane, target) = (Lane::Events, EventTarget::Listed(vec![to]));
        let event = Event { lane, target, channel: 0, piece: 0, payload: vec![0; 100] };
        server.post(ROOM, RoomInput::Event { from, event }, &mut counts);
        counts.handling = None;
        events += 1;
        *sent.entry(from.peer).or_default() += 1;
    }
    let last = end + EVENT_ACK_LATEST + EVENT_ACK_GRID;
    let Counts { prompt_acks, late_acks, .. } = counts;
    while let Some(at) = server.deadline().filter(|at| *at <= last) {
        server.now = at;
        server.settle(&mut counts);
    }
    for (peer, events_taken) in sent {
        let all = EventAck { events_taken, bulk_taken: 0 };
        assert_eq!(
            counts.newest.get(&peer),
            Some(&all),
            "{peer:?} does not know of all its events"
        );
    }
    Cost { events, prompt_acks, late_acks, wake_ups }
}

/// The figures in docs/PROTOCOL.md.
#[test]
fn acknowledgements_cost_few_messages_and_fewer_datagrams() {
    // An event every 3 s, more or less.
    let steady = thousand_senders(|rng| Duration::from_millis(rng.u64(2_500..3_500)));
    let acks = steady.prompt_acks + steady.late_acks;
    assert!(steady.events > 19_000 && acks > 3_000, "{} events, {acks} acks", steady.events);
    assert!(acks * 9 < steady.events * 2, "{acks} acks for {} events", steady.events);
    assert!(steady.late_acks * 100 < acks, "{} of {acks} late", steady.late_acks);
    let added = steady.added_datagrams();
    assert!(added < 0.12, "{added:.3} more datagrams");
    // One event in 3 s on average, at random times.
    let random = thousand_senders(|rng| Duration::from_secs_f64(-3.0 * (1.0 - rng.f64()).ln()));
    let added = random.added_datagrams();
    assert!(added < 0.12, "{added:.3} more datagrams");
    // A deadline of one peer is also that of many others.
    assert!(random.wake_ups < 2 * 60, "{} wake-ups in a minute", random.wake_ups);
}

fn room_of_two(seed: u64) -> World {
    let mut world = World::new(seed, 4);
    for _ in 0..2 {
        world.join(Conditions::CLEAN, Conditions::CLEAN);
    }
    world.run(Duration::from_secs(1));
    world
}

fn acks(world: &World, one: usize) -> Vec<[u32; 2]> {
    let acks = world.clients[one].event_acks.iter();
    acks.map(|ack| [ack.events_taken, ack.bulk_taken]).collect()
}

#[test]
fn a_single_event_is_acknowledged_later_and_silence_never() {
    let mut world = room_of_two(1);
    world.event(0, &EventTarget::Others, vec![1]);
    world.run(EVENT_ACK_LATEST - Duration::from_millis(100));
    assert!(acks(&world, 0).is_empty());
    world.run(EVENT_ACK_GRID + Duration::from_millis(300));
    assert_eq!(acks(&world, 0), [[1, 0]]);
    world.run(Duration::from_secs(60));
    assert_eq!((acks(&world, 0), acks(&world, 1)), (vec![[1, 0]], vec![]), "nothing new has come");
}

#[test]
fn a_burst_is_acknowledged_while_it_lasts() {
    let mut world = room_of_two(2);
    for _ in 0..4 * EVENT_ACK_COUNT {
        world.event(0, &EventTarget::Others, vec![1]);
    }
    let large = vec![0; 16 << 10];
    (0..4).for_each(|_| world.send_event(0, Lane::Bulk, &EventTarget::Others, large.clone()));
    super::settle(&mut world);
    let taken = 4 * EVENT_ACK_COUNT;
    let bytes = [[taken, 2], [taken, 4]];
    let expected: Vec<_> = (1..=4).map(|n| [n * EVENT_ACK_COUNT, 0]).chain(bytes).collect();
    assert_eq!(acks(&world, 0), expected);
}

/// A client whose session is lost learns the counts from `Joined`, and nothing is acknowledged
/// twice.
#[test]
fn a_resume_takes_the_place_of_an_acknowledgement() {
    for_seeds(100, |seed| {
        let mut world = room_of_two(seed);
        for _ in 0..3 {
            world.event(0, &EventTarget::Others, vec![1]);
        }
        world.send_event(0, Lane::Bulk, &EventTarget::Others, vec![1]);
        let noticed = world.rng.bool();
        world.sleep(0, noticed);
        let pause = Duration::from_millis(world.rng.u64(100..28_000));
        world.run(pause);
        world.wake(0);
        world.run(Duration::from_secs(20));
        let Joined { events_taken, bulk_taken, .. } = world.clients[0].joined.clone().unwrap();
        assert_eq!((events_taken, bulk_taken, acks(&world, 0)), (3, 1, vec![]));
        world.event(0, &EventTarget::Others, vec![1]);
        world.run(Duration::from_secs(20));
        assert_eq!(acks(&world, 0), [[4, 1]]);
    });
}

/// Participants come, send an event and go: nothing of them is left.
#[test]
fn who_has_left_is_not_acknowledged() {
    let mut world = room_of_two(3);
    for _ in 0..20 {
        let one = world.join(Conditions::CLEAN, Conditions::CLEAN);
        world.run(Duration::from_millis(300));
        world.event(one, &EventTarget::Others, vec![1]);
        world.leave(one);
        world.run(Duration::from_millis(300));
        assert!(acks(&world, one).is_empty());
    }
    world.run(Duration::from_secs(20));
    (2..22).for_each(|one| assert!(acks(&world, one).is_empty()));
}

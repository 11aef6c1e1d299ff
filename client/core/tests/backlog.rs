//! The outbox's backlog against real rooms on the simulated network: sessions are lost and resumed,
//! and with them events and acknowledgements on their way.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nucleus_client_core::session::To;
use nucleus_client_core::session::backlog::{EventBacklog, QueuedEvent};
use nucleus_core::ids::SessionId;
use nucleus_core::room::{Event, EventTarget, RoomInput};
use nucleus_netsim::Conditions;
use nucleus_protocol::session::{Joined, Lane, NEW_PEER};
use nucleus_protocol::time::Time;
use nucleus_sim::World;
use nucleus_sim::seeds::for_seeds;
use nucleus_sim::world::ROOM;

/// The length of a step. Events and acknowledgements are a few steps on their way.
const STEP: Duration = Duration::from_millis(50);
/// Clients that send. Client 0 watches.
const SENDERS: usize = 3;

/// A client that sends events.
#[derive(Default)]
struct Sender {
    backlog: EventBacklog,
    /// The events on their way, with their arrival and their session.
    on_the_way: [VecDeque<(Time, SessionId, u32)>; 2],
    /// The number of `Joined` that the client has handled.
    joins: u32,
    /// The session over which the client writes.
    session: Option<SessionId>,
    /// Events queued so far, by lane.
    queued: [u32; 2],
    /// Events written so far, repeated ones included.
    written: u32,
}

impl Sender {
    /// Queues an event, which carries its number.
    fn queue(&mut self, lane: Lane) {
        let number = &mut self.queued[lane.index()];
        let payload = number.to_le_bytes().into();
        *number += 1;
        let event = QueuedEvent { to: To::Others, channel: 0, piece: 0, payload };
        assert!(self.backlog.has_capacity(lane), "the events are small");
        self.backlog.queue(lane, vec![event]);
    }

    /// Writes an event to the current session, if one waits. Its write ends at once, or at the next
    /// call: then it may arrive while it still counts as being written.
    fn write(&mut self, lane: Lane, arrives: Time) {
        let Some(session) = self.session else { return };
        self.backlog.mark_written(lane);
        let Some(event) = self.backlog.begin_write(lane) else { return };
        let number =
            u32::from_le_bytes(event.payload[..].try_into().expect("an event has 4 bytes"));
        let on_the_way = &mut self.on_the_way[lane.index()];
        let arrives = on_the_way.back().map_or(arrives, |(last, ..)| arrives.max(*last));
        on_the_way.push_back((arrives, session, number));
        self.written += 1;
    }

    /// Handles what the client has received: `Joined` of a new session, and acknowledgements.
    fn receive(&mut self, world: &mut World, index: usize) {
        let client = &mut world.clients[index];
        if client.joins > self.joins
            && let Some(Joined { resumed, events_taken, bulk_taken, .. }) = client.joined
        {
            assert!(self.joins == 0 || resumed != NEW_PEER, "the participant must not be gone");
            self.joins = client.joins;
            self.session = client.session;
            let taken = [events_taken, bulk_taken];
            assert_eq!(self.backlog.attach(taken, resumed == NEW_PEER, true), Ok(()));
        }
        for ack in client.event_acks.drain(..) {
            assert!(self.backlog.acknowledge(&ack).is_ok(), "an impossible count: {ack:?}");
        }
    }
}

/// Three clients whose sessions are lost and resumed, and one that watches.
struct Meeting {
    world: World,
    senders: Vec<Sender>,
}

impl Meeting {
    fn new(seed: u64) -> Self {
        let mut world = World::new(seed, 8);
        for _ in 0..=SENDERS {
            world.join(Conditions::CLEAN, Conditions::CLEAN);
        }
        // A participant whose client was never heard of would not outlive its session.
        world.run(Duration::from_secs(1));
        Self { world, senders: (0..SENDERS).map(|_| Sender::default()).collect() }
    }

    fn step(&mut self) {
        let now = self.world.now() + STEP;
        self.world.advance(now);
        for (at, sender) in self.senders.iter_mut().enumerate() {
            for lane in Lane::ALL {
                while let Some((_, from, number)) =
                    sender.on_the_way[lane.index()].pop_front_if(|(arrives, ..)| *arrives <= now)
                {
                    let payload = [&[at as u8][..], &number.to_le_bytes()].concat();
                    let target = EventTarget::Others;
                    let event = Event { lane, target, channel: 0, piece: 0, payload };
                    self.world.post(ROOM, RoomInput::Event { from, event });
                }
            }
        }
        for (at, sender) in self.senders.iter_mut().enumerate() {
            let index = at + 1;
            sender.receive(&mut self.world, index);
            if self.world.clients[index].asleep {
                continue;
            }
            for lane in Lane::ALL {
                let delay = Duration::from_millis(self.world.rng.u64(5..300));
                sender.write(lane, now + delay);
            }
        }
    }

    /// Lets one client queue an event, lose its session, or come back.
    fn churn(&mut self) {
        let at = self.world.rng.usize(..SENDERS);
        let index = at + 1;
        match self.world.rng.u8(..100) {
            0..60 => {
                let lane = Lane::ALL[self.world.rng.usize(..2)];
                let count = if self.world.rng.u8(..10) == 0 { 40 } else { 1 };
                (0..count).for_each(|_| self.senders[at].queue(lane));
            }
            60..63 => {
                let noticed = self.world.rng.bool();
                self.world.sleep(index, noticed);
            }
            63..75 => self.world.wake(index),
            // The client comes back at once, and a second time before it has received `Joined`.
            75..78 => {
                for _ in 0..self.world.rng.u8(1..3) {
                    let noticed = self.world.rng.bool();
                    self.world.sleep(index, noticed);
                    self.world.wake(index);
                }
            }
            _ => {}
        }
    }

    /// Checks that the watcher has each event of each sender once, in order.
    fn check_delivery(&self) {
        let watcher = &self.world.clients[0];
        for (lane, payloads) in [(Lane::Events, &watcher.events), (Lane::Bulk, &watcher.bulk)] {
            for (at, sender) in self.senders.iter().enumerate() {
                let of_sender = payloads.iter().filter(|payload| payload[0] == at as u8);
                let numbers: Vec<u32> = of_sender
                    .map(|payload| {
                        u32::from_le_bytes(payload[1..].try_into().expect("an event has 4 bytes"))
                    })
                    .collect();
                let expected: Vec<u32> = (0..sender.queued[lane.index()]).collect();
                assert_eq!(numbers, expected, "sender {at}, {lane:?}");
            }
        }
    }
}

/// However often sessions are lost and resumed, each event arrives exactly once, and in the end the
/// server has acknowledged all of them.
#[test]
fn each_event_arrives_once_and_the_outbox_empties() {
    let (repeated, acknowledged) = (AtomicU32::new(0), AtomicU32::new(0));
    for_seeds(2_000, |seed| {
        let mut meeting = Meeting::new(seed);
        for _ in 0..200 {
            meeting.churn();
            meeting.step();
            let kept = |sender: &Sender| sender.backlog.kept() as u32;
            let before: u32 = meeting.senders.iter().map(|s| s.queued.iter().sum::<u32>()).sum();
            let forgotten = before - meeting.senders.iter().map(kept).sum::<u32>();
            acknowledged.fetch_max(forgotten, Ordering::Relaxed);
        }
        (1..=SENDERS).for_each(|index| meeting.world.wake(index));
        // All waiting events are written within 30 s, and acknowledged 16 s later at the latest.
        for _ in 0..1_000 {
            if meeting.senders.iter().all(|sender| sender.backlog.kept() == 0) {
                break;
            }
            meeting.step();
        }
        // The watcher receives the last of them.
        (0..20).for_each(|_| meeting.step());
        meeting.check_delivery();
        for (at, sender) in meeting.senders.iter().enumerate() {
            assert_eq!(sender.backlog.kept(), 0, "sender {at} keeps what has arrived");
            let more = sender.written - sender.queued.iter().sum::<u32>();
            repeated.fetch_add(more, Ordering::Relaxed);
        }
    });
    let (repeated, acknowledged) = (repeated.into_inner(), acknowledged.into_inner());
    assert!(repeated > 0 && acknowledged > 0, "no event was written twice or acknowledged early");
}

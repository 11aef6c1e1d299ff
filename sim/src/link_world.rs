//! One fan-out and its clients' ends of the links, without rooms and without a network. Benchmarks
//! use it to measure the cost of a datagram at the server.
//!
//! Each method is the work of one side, so that a caller can measure the server alone:
//!
//! | method | side | work |
//! |---|---|---|
//! | [`LinkWorld::send`], [`LinkWorld::seal_datagrams`] | clients | seal datagrams into the uplink |
//! | [`LinkWorld::take`] | **server** | takes the datagrams of the uplink |
//! | [`LinkWorld::flush`] | **server** | seals everything that is due into the outbox |
//! | [`LinkWorld::receive`] | clients | open the datagrams of the outbox |
//!
//! All buffers are reused. Once they are large enough, the world itself allocates nothing in the
//! server's part.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use nucleus_core::fanout::{
    Fanout, FanoutConfig, FanoutInput, FanoutOutput, LinkEvent, LinkParameters, OpenLink, Outbox,
};
use nucleus_core::ids::{PeerId, RoomId, SessionId};
use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::limits;
use nucleus_protocol::link::{
    Link, LinkConfig, LinkSide, Path, Planes, Rejected, RootSecret, Suite,
};
use nucleus_protocol::realtime::{Message, MessageKind};
use nucleus_protocol::time::Time;

/// The port of client 0. The other clients have the following ports.
const FIRST_PORT: u16 = 10_000;

/// One fan-out with clients in rooms of one size.
pub struct LinkWorld {
    /// The current time.
    pub now: Time,
    /// The fan-out to be measured.
    pub fanout: Fanout,
    room_size: u32,
    /// Most bytes of frames in a datagram to a client.
    max_body: usize,
    clients: Vec<LinkClient>,
    uplink: Uplink,
    outbox: Outbox,
    datagram: Vec<u8>,
}

/// The buffer of datagrams on their way to the server, one after another.
#[derive(Default)]
struct Uplink {
    bytes: Vec<u8>,
    datagrams: Vec<UplinkDatagram>,
}

struct UplinkDatagram {
    client: usize,
    /// Index after the datagram's last byte.
    end: usize,
}

impl LinkWorld {
    /// Creates a world with this many clients. Their links are open and have sent nothing yet.
    pub fn new(config: FanoutConfig, clients: u32, room_size: u32) -> Self {
        Self::with_max_body(config, clients, room_size, limits::MAX_BODY)
    }

    /// Creates a world whose datagrams to the clients have at most `max_body` bytes of frames.
    pub fn with_max_body(
        config: FanoutConfig,
        clients: u32,
        room_size: u32,
        max_body: usize,
    ) -> Self {
        let mut world = Self {
            now: Time::from_millis(1_000),
            fanout: Fanout::new(config),
            room_size,
            max_body,
            clients: Vec::new(),
            uplink: Uplink::default(),
            outbox: Outbox::default(),
            datagram: Vec::new(),
        };
        (0..clients).for_each(|number| world.open(number));
        world
    }

    fn open(&mut self, number: u32) {
        let mut open = Box::new(open_link(number, self.room_size));
        open.link.max_body = self.max_body;
        self.fanout.handle(self.now, FanoutInput::OpenLink(open));
        let address = (Ipv4Addr::LOCALHOST, FIRST_PORT + number as u16);
        while let Some(output) = self.fanout.poll() {
            if let FanoutOutput::Link { event, .. } = output {
                let client = LinkClient::new(self.now, number, event, address.into());
                self.clients.push(client);
            }
        }
    }

    /// Subscribes a client's link to these groups and no others.
    pub fn subscribe(&mut self, client: u32, groups: GroupSet) {
        let OpenLink { room, session, .. } = open_link(client, self.room_size);
        self.fanout.handle(self.now, FanoutInput::Subscribe { room, session, groups });
    }

    /// Returns the number of clients.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Lets a client send one message in one datagram.
    pub fn send(&mut self, client: usize, kind: MessageKind, target: u16, payload: &[u8]) {
        let Uplink { bytes, datagrams } = &mut self.uplink;
        self.clients[client].send(self.now, kind, target, payload, bytes);
        datagrams.push(UplinkDatagram { client, end: bytes.len() });
    }

    /// Lets the clients' links handle their timers and send their own output.
    pub fn seal_datagrams(&mut self) {
        let Uplink { bytes, datagrams } = &mut self.uplink;
        for (index, client) in self.clients.iter_mut().enumerate() {
            while client.speak(self.now, bytes) {
                datagrams.push(UplinkDatagram { client: index, end: bytes.len() });
            }
        }
    }

    /// Passes the datagrams of the uplink to the fan-out.
    pub fn take(&mut self) {
        let mut start = 0;
        for UplinkDatagram { client, end } in self.uplink.datagrams.drain(..) {
            let (path, datagram) = (self.clients[client].path, &mut self.uplink.bytes[start..end]);
            self.fanout.handle_datagram(self.now, path, 0, datagram);
            start = end;
        }
        self.uplink.bytes.clear();
    }

    /// Returns true if the fan-out has something to flush at the current time.
    pub fn is_due(&self) -> bool {
        self.fanout.deadline().is_some_and(|at| at <= self.now)
    }

    /// Lets the fan-out write everything that is due into the outbox. Drops its events of links.
    pub fn flush(&mut self) {
        self.fanout.flush(self.now, &mut self.outbox);
        while self.fanout.poll().is_some() {}
    }

    /// Passes the datagrams of the outbox to the clients, and returns the number of messages
    /// received.
    pub fn receive(&mut self) -> usize {
        self.fanout.note_sent(self.now, &self.outbox);
        let mut received = 0;
        for (path, bytes) in self.outbox.datagrams() {
            self.datagram.clear();
            self.datagram.extend_from_slice(bytes);
            let client = &mut self.clients[usize::from(path.remote.port() - FIRST_PORT)];
            // The client's end of the link may reject a late datagram.
            received += client.receive(self.now, &mut self.datagram).unwrap_or(0);
        }
        self.outbox.clear();
        received
    }

    /// Advances time. Nothing else happens.
    pub fn pass(&mut self, span: Duration) {
        self.now += span;
    }
}

/// Returns the data of a client's link. Each room has `room_size` clients.
pub fn open_link(number: u32, room_size: u32) -> OpenLink {
    OpenLink {
        room: RoomId((number / room_size).into()),
        session: SessionId { peer: PeerId(number), session: 1 },
        slot: (number % room_size) as u16,
        link: LinkParameters {
            link_id: 1,
            suite: Suite::Aes128Gcm,
            root: root(number),
            seed: secret(number),
            max_body: limits::MAX_BODY,
        },
    }
}

fn root(number: u32) -> RootSecret {
    RootSecret::new(&secret(number), None)
}

fn secret(number: u32) -> [u8; 32] {
    let mut secret = [7; 32];
    secret[..4].copy_from_slice(&number.to_le_bytes());
    secret
}

/// A client's end of a link that [`open_link`] describes.
pub struct LinkClient {
    link: Link,
    path: Path,
    sequence: u16,
}

impl LinkClient {
    /// Creates client `number`'s end of a link that the fan-out has opened. `remote` is the address
    /// on its path.
    pub fn new(now: Time, number: u32, opened: LinkEvent, remote: SocketAddr) -> Self {
        let LinkEvent::Opened { connection_id, spare } = opened else { panic!("{opened:?}") };
        let path = Path { remote, local: None };
        let config = LinkConfig {
            side: LinkSide::Client,
            link_id: 1,
            suite: Suite::Aes128Gcm,
            root: root(number),
            connection_id,
            spare,
            path: Some(path),
            planes: Planes::PortOnly,
            max_body: limits::MAX_BODY,
            report_interval: limits::REPORT_INTERVAL_MAX,
            clock_epoch: 0,
            seed: [0; 32],
        };
        Self { link: Link::new(now, config), path, sequence: 0 }
    }

    /// Appends a datagram with one message.
    pub fn send(
        &mut self,
        now: Time,
        kind: MessageKind,
        target: u16,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) {
        let start = self.link.begin(now, out);
        self.sequence = self.sequence.wrapping_add(1);
        let (peer, sequence, time) = (target, self.sequence, now.as_wire_millis());
        Message { kind, flags: 1, peer, channel: 0, key: 0, sequence, time: Some(time), payload }
            .encode(out);
        self.link.finish(now, out, start).unwrap();
    }

    /// Appends the next datagram of the link's own output. Returns false if there is none.
    pub fn speak(&mut self, now: Time, out: &mut Vec<u8>) -> bool {
        self.link.handle_timeout(now);
        self.link.poll_output(now, out).is_some()
    }

    /// Opens a datagram and returns the number of its messages.
    ///
    /// # Errors
    ///
    /// The reason for which the link rejects it.
    pub fn receive(&mut self, now: Time, datagram: &mut [u8]) -> Result<usize, Rejected> {
        self.link.handle_input(now, self.path, 0, datagram).map(Iterator::count)
    }
}

#[cfg(test)]
mod tests {
    use nucleus_core::fanout::Tick;
    use nucleus_core::histogram::Histogram;
    use nucleus_core::limits::Limits;
    use nucleus_protocol::limits::{HEADER, MAX_BODY, MIN_BODY, TAG};
    use nucleus_protocol::realtime::TARGET_OTHERS;

    use super::*;

    #[test]
    fn everybody_hears_the_others_of_the_room() {
        let (tick, limits) = (Tick::default(), Limits::default());
        let config = FanoutConfig { index: 0, tick, limits, clock_epoch: 1 };
        let mut world = LinkWorld::new(config, 12, 4);
        let mut run = |steps: u32, speak: bool| {
            let mut received = 0;
            for step in 0..steps {
                world.pass(Duration::from_millis(1));
                if speak && step.is_multiple_of(20) {
                    (0..12).for_each(|one| {
                        world.send(one, MessageKind::Pose, TARGET_OTHERS, &[0; 20])
                    });
                }
                world.seal_datagrams();
                world.take();
                if world.is_due() {
                    world.flush();
                }
                received += world.receive();
            }
            received
        };
        run(1_000, true);
        assert_eq!(run(100, false), 0);
        assert_eq!(run(100, true), 5 * 12 * 3);
    }

    /// A message waits for the tick, and is counted once however many recipients it has.
    #[test]
    fn the_histograms_tell_how_long_a_message_took() {
        let tick = Tick::Fixed(Duration::from_millis(10));
        let config = FanoutConfig { index: 0, tick, limits: Limits::default(), clock_epoch: 1 };
        let mut world = LinkWorld::new(config, 3, 3);
        let step = |world: &mut LinkWorld| {
            world.pass(Duration::from_millis(1));
            world.seal_datagrams();
            world.take();
            if world.is_due() {
                world.flush();
            }
            world.receive()
        };
        let pose = |world: &mut LinkWorld, client| {
            world.send(client, MessageKind::Pose, TARGET_OTHERS, &[0; 20]);
        };
        // The server learns the clients' addresses.
        (0..3).for_each(|client| pose(&mut world, client));
        for _ in 0..100 {
            step(&mut world);
        }
        let before = world.fanout.counters.histograms;
        pose(&mut world, 0);
        let received: usize = (0..20).map(|_| step(&mut world)).sum();
        assert_eq!(received, 2);
        let after = world.fanout.counters.histograms;
        let latency = after.relay_latency.sum() - before.relay_latency.sum();
        assert!((9_000..=10_000).contains(&latency), "{latency} µs");
        let count = |histogram: &Histogram| histogram.counts().iter().sum::<u64>();
        assert_eq!(count(&after.relay_latency) - count(&before.relay_latency), 1);
        let [before, after] = [before, after].map(|all| all.messages_per_datagram);
        assert_eq!((count(&after) - count(&before), after.sum() - before.sum()), (2, 2));
    }

    #[test]
    fn datagrams_are_filled_up_to_what_the_client_can_take() {
        let tick = Tick::Fixed(Duration::from_millis(10));
        for max_body in [MIN_BODY, 1_077, MAX_BODY] {
            let limits = Limits { egress_bits_per_s: 1_000_000_000, ..Limits::default() };
            let config = FanoutConfig { index: 0, tick, limits, clock_epoch: 1 };
            let mut world = LinkWorld::with_max_body(config, 40, 40, max_body);
            let largest = HEADER + max_body + TAG;
            let (mut received, mut full) = (0, 0);
            for step in 0..2_000 {
                world.pass(Duration::from_millis(1));
                if step % 20 == 0 {
                    let other = MessageKind::Unreliable;
                    (0..40).for_each(|one| world.send(one, other, TARGET_OTHERS, &[0; 200]));
                }
                world.seal_datagrams();
                world.take();
                if world.is_due() {
                    world.flush();
                    let lengths = world.outbox.datagrams().map(|(_, bytes)| bytes.len());
                    for len in lengths {
                        assert!(len <= largest, "{len} bytes in a datagram for {max_body}");
                        full += usize::from(len == largest);
                    }
                }
                received += world.receive();
            }
            // The first rounds are lost: the server does not know the clients' addresses yet.
            assert!(received > 95 * 40 * 39, "{received}");
            assert!(full > received / 10, "{full} full datagrams for {received} messages");
        }
    }
}

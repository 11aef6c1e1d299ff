//! Tests of two connected links over a seeded network.

mod blocked;
mod capabilities;
mod endpoints;
mod fallback;
mod hostile;
mod paths;
mod phases;
mod reports;
mod timers;

use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::limits;
use crate::realtime::{Frame, Frames, Header, Message};

pub(super) fn ms(millis: u64) -> Time {
    Time::from_millis(millis)
}

pub(super) fn from(port: u16) -> Path {
    Path { remote: SocketAddr::from(([192, 0, 2, 1], port)), local: None }
}

pub(super) const SERVER: u16 = 5056;
pub(super) const HOME: u16 = 1_000;

pub(super) fn config(side: LinkSide) -> LinkConfig {
    LinkConfig {
        side,
        link_id: 3,
        suite: Suite::Aes128Gcm,
        root: RootSecret::new(&[4; 32], None),
        connection_id: ConnectionId([1; 8]),
        spare: ConnectionId([2; 8]),
        path: (side == LinkSide::Client).then(|| from(SERVER)),
        planes: Planes::PortOnly,
        max_body: limits::MAX_BODY,
        report_interval: limits::REPORT_INTERVAL_MAX,
        clock_epoch: 9,
        seed: [5; 32],
    }
}

pub(super) fn pair(limits: PhaseLimits) -> (Link, Link) {
    let end = |side| Link::with_phase_limits(Time::ZERO, config(side), limits);
    (end(LinkSide::Client), end(LinkSide::Server))
}

pub(super) fn put_message(out: &mut Vec<u8>, key: u16, payload: &[u8]) {
    let kind = MessageKind::Pose;
    Message { kind, flags: 1, peer: 0, channel: 0, key, sequence: 0, time: Some(0), payload }
        .encode(out);
}

/// Returns a datagram with one message, identified by `key`.
pub(super) fn data(link: &mut Link, now: Time, key: u16) -> Vec<u8> {
    let mut out = Vec::new();
    let start = link.begin(now, &mut out);
    put_message(&mut out, key, &[7; 20]);
    link.finish(now, &mut out, start).unwrap();
    out
}

/// Hands a copy of a datagram to a link. Returns the keys of its messages.
pub(super) fn give(
    link: &mut Link,
    now: Time,
    path: Path,
    datagram: &[u8],
) -> Result<Vec<u16>, Rejected> {
    let mut copy = datagram.to_vec();
    link.handle_input(now, path, 0, &mut copy).map(|messages| messages.map(|m| m.key).collect())
}

pub(super) fn drain(link: &mut Link, now: Time) -> Vec<(Path, Vec<u8>)> {
    let next = || {
        let mut out = Vec::new();
        link.poll_output(now, &mut out).map(|route| (path(route), out))
    };
    std::iter::from_fn(next).take(100).collect()
}

/// Returns the path of a route on the realtime port. Panics for the session's route.
pub(super) fn path(route: Route) -> Path {
    match route {
        Route::Realtime(path) => path,
        Route::Session => panic!("a link without a fallback fell back"),
    }
}

/// Returns the types of a datagram's frames, opened with the receiver's keys.
pub(super) fn types(receiver: &mut Link, now: Time, datagram: &[u8]) -> Vec<u8> {
    let mut copy = datagram.to_vec();
    let header = Header::parse(&copy).unwrap();
    let opened = receiver.recv.open(now, &header, &mut copy).ok().unwrap();
    let kind = |frame| match frame {
        Frame::Message(message) => message.kind as u8,
        Frame::Other(kind, _) => kind,
    };
    Frames::new(opened.body).map(|frame| kind(frame.unwrap())).collect()
}

struct DatagramInFlight {
    arrives: Time,
    /// Whether the client sent it.
    up: bool,
    /// The client's port: the one it was sent from, or the one it was sent to.
    port: u16,
    bytes: Vec<u8>,
}

pub(super) struct SentDatagram {
    /// Whether the client sent it.
    pub(super) up: bool,
    pub(super) at: Time,
    pub(super) bytes: Vec<u8>,
}

/// Two links and the network between them.
pub(super) struct LinkNetwork {
    pub(super) client: Link,
    pub(super) server: Link,
    pub(super) now: Time,
    /// The client's port as the server sees it. Datagrams to other ports are lost.
    pub(super) port: u16,
    /// The server's clock minus the client's.
    pub(super) offset: Duration,
    pub(super) delay: Duration,
    pub(super) jitter: Duration,
    /// Whether the network loses every datagram.
    pub(super) cut: bool,
    /// Every datagram that was sent, lost ones included.
    pub(super) log: Vec<SentDatagram>,
    in_flight: Vec<DatagramInFlight>,
    rng: fastrand::Rng,
}

impl LinkNetwork {
    pub(super) fn new(seed: u64) -> LinkNetwork {
        let (client, server) = pair(PhaseLimits::default());
        LinkNetwork {
            client,
            server,
            now: Time::ZERO,
            port: HOME,
            offset: Duration::from_secs(5_000),
            delay: Duration::from_millis(20),
            jitter: Duration::ZERO,
            cut: false,
            log: Vec::new(),
            in_flight: Vec::new(),
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    fn launch(&mut self, up: bool, port: u16, bytes: Vec<u8>) {
        self.log.push(SentDatagram { up, at: self.now, bytes: bytes.clone() });
        let jitter = self.rng.u64(0..=self.jitter.as_micros() as u64);
        let arrives = self.now + self.delay + Duration::from_micros(jitter);
        if !self.cut {
            self.in_flight.push(DatagramInFlight { arrives, up, port, bytes });
        }
    }

    pub(super) fn client_data(&mut self) {
        let bytes = data(&mut self.client, self.now, 1);
        self.launch(true, self.port, bytes);
    }

    /// Sends data if the path's budget permits.
    pub(super) fn server_data(&mut self) {
        let Some((route, budget)) = self.server.route() else { return };
        if budget > 200 {
            let bytes = data(&mut self.server, self.now + self.offset, 1);
            self.launch(false, path(route).remote.port(), bytes);
        }
    }

    fn pump(&mut self) {
        for (_, bytes) in drain(&mut self.client, self.now) {
            self.launch(true, self.port, bytes);
        }
        for (path, bytes) in drain(&mut self.server, self.now + self.offset) {
            self.launch(false, path.remote.port(), bytes);
        }
    }

    fn arrive(&mut self, datagram: DatagramInFlight) {
        let DatagramInFlight { up, port, bytes, .. } = datagram;
        if up {
            give(&mut self.server, self.now + self.offset, from(port), &bytes).unwrap();
        } else if port == self.port {
            give(&mut self.client, self.now, from(SERVER), &bytes).unwrap();
        }
    }

    /// Runs until `end`. Wakes only for arrivals and for the links' deadlines.
    pub(super) fn run_until(&mut self, end: Time) {
        loop {
            self.pump();
            let server = self.server.deadline().map(|at| at - self.offset);
            let arrival = self.in_flight.iter().map(|datagram| datagram.arrives).min();
            let next = [self.client.deadline(), server, arrival].into_iter().flatten().min();
            let next = next.unwrap_or(Time::MAX);
            if next > end {
                self.now = end;
                return;
            }
            assert!(next > self.now, "a timer stays due at {:?}", self.now);
            self.now = next;
            self.client.handle_timeout(self.now);
            self.server.handle_timeout(self.now + self.offset);
            let (arrived, rest): (Vec<_>, _) =
                self.in_flight.drain(..).partition(|datagram| datagram.arrives <= self.now);
            self.in_flight = rest;
            arrived.into_iter().for_each(|datagram| self.arrive(datagram));
        }
    }

    /// Runs until `end`, with application data in both directions every 20 ms.
    pub(super) fn run_with_traffic_until(&mut self, end: Time) {
        while self.now < end {
            self.client_data();
            self.server_data();
            self.run_until(self.now + Duration::from_millis(20));
        }
    }

    pub(super) fn sent(&self, up: bool) -> usize {
        self.log.iter().filter(|datagram| datagram.up == up).count()
    }
}

#[test]
fn the_largest_message_fits_behind_every_control_frame() {
    let (mut client, mut server) = pair(PhaseLimits::default());
    // After an answer and a long silence, every control frame of the client is due.
    for (_, hello) in drain(&mut client, Time::ZERO) {
        give(&mut server, Time::ZERO, from(HOME), &hello).unwrap();
    }
    for (_, answer) in drain(&mut server, Time::ZERO) {
        give(&mut client, ms(10), from(SERVER), &answer).unwrap();
    }
    for (_, response) in drain(&mut client, ms(10)) {
        give(&mut server, ms(20), from(HOME), &response).unwrap();
    }
    let largest = |link: &mut Link, now| {
        let mut out = vec![1, 2, 3];
        let start = link.begin(now, &mut out);
        put_message(&mut out, 1, &[0; MAX_PAYLOAD]);
        assert!(out.len() - start <= HEADER + MAX_BODY);
        link.finish(now, &mut out, start).unwrap();
        assert_eq!((start, &out[..3]), (3, &[1, 2, 3][..]));
        out.split_off(start)
    };
    let up = largest(&mut client, ms(60_000));
    let wanted = [control::KEEP_ALIVE, control::CLOCK, control::REPORT, frame::POSE];
    assert_eq!(types(&mut Link::new(Time::ZERO, config(LinkSide::Server)), ms(0), &up), wanted);
    assert_eq!(give(&mut server, ms(60_010), from(HOME), &up), Ok(vec![1]));
    let down = largest(&mut server, ms(60_010));
    let wanted = [control::SEND_TIME, control::CLOCK, frame::POSE];
    assert_eq!(types(&mut Link::new(Time::ZERO, config(LinkSide::Client)), ms(0), &down), wanted);
    assert_eq!(give(&mut client, ms(60_020), from(SERVER), &down), Ok(vec![1]));
    assert!(up.len() <= crate::limits::MAX_DATAGRAM && down.len() <= crate::limits::MAX_DATAGRAM);
}

#[test]
fn both_suites_and_both_ids_work() {
    for suite in [Suite::Aes128Gcm, Suite::ChaCha20Poly1305] {
        let end = |side| Link::new(Time::ZERO, LinkConfig { suite, ..config(side) });
        let (mut client, mut server) = (end(LinkSide::Client), end(LinkSide::Server));
        assert_eq!(Suite::from_wire(suite as u8), Some(suite));
        let up = data(&mut client, ms(1), 1);
        assert_eq!(give(&mut server, ms(1), from(HOME), &up), Ok(vec![1]));
        assert!(client.use_spare() && !client.use_spare());
        let up = data(&mut client, ms(1), 2);
        assert_eq!(give(&mut server, ms(1), from(HOME), &up), Ok(vec![2]));
        // The server uses the spare too.
        let down = data(&mut server, ms(1), 3);
        assert_eq!(Header::parse(&down).unwrap().connection_id, ConnectionId([2; 8]));
        assert_eq!(give(&mut client, ms(1), from(SERVER), &down), Ok(vec![3]));
    }
}

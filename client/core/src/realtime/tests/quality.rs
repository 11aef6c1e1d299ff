//! The quality of a connection whose server falls silent.

use nucleus_protocol::link::Route;

use super::*;
use crate::realtime::ConnectionQuality::{self, Excellent, Good, Unknown};
use crate::realtime::RealtimeReport;

/// A client and a server's link, of which each plane may lose everything.
struct Network {
    now: Time,
    client: Realtime,
    server: Link,
    /// Whether the realtime port and the session bring datagrams to the client.
    port: bool,
    session: bool,
    /// How many of the server's next datagrams are lost.
    lost: u32,
}

impl Network {
    /// Returns a network whose client has not sent anything yet.
    fn new(planes: Planes, is_open: bool) -> Self {
        let now = Time::from_millis(100_000);
        let client = link_on(now, LinkSide::Client, planes);
        Self {
            now,
            client: Realtime::new(client, CLOCK, &SentSequences::default()),
            server: link_on(now, LinkSide::Server, planes),
            port: is_open,
            session: is_open,
            lost: 0,
        }
    }

    fn set_open(&mut self, is_open: bool) {
        (self.port, self.session) = (is_open, is_open);
    }

    fn exchange(&mut self) {
        let (now, mut datagram) = (self.now, Vec::new());
        while let Some(route) = self.client.poll_output(now, &mut datagram) {
            match route {
                Route::Realtime(_) => {
                    self.server.handle_input(now, path(9), 0, &mut datagram).unwrap();
                }
                Route::Session => {
                    self.server.handle_session_input(now, route.wire(&datagram)).unwrap();
                }
            }
            datagram.clear();
        }
        while let Some(route) = self.server.poll_output(now, &mut datagram) {
            match route {
                _ if self.lost > 0 => self.lost -= 1,
                Route::Realtime(_) if self.port => {
                    self.client.handle_input(now, path(5056), 0, &mut datagram);
                }
                Route::Session if self.session => {
                    self.client.handle_session_input(now, route.wire(&datagram));
                }
                _ => {}
            }
            datagram.clear();
        }
    }

    /// Lets time pass. Returns the qualities that the application was told. With `sends` the client
    /// sends poses; with `hears` the server sends poses of others, which always arrive.
    fn run(&mut self, seconds: u64, sends: bool, hears: bool) -> Vec<ConnectionQuality> {
        let mut told = Vec::new();
        for step in 0..seconds * 50 {
            self.now += 20 * MS;
            self.client.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
            if sends {
                self.client.send(pose(b"p"));
            }
            if hears {
                let mut datagram = Vec::new();
                let start = self.server.begin(self.now, &mut datagram);
                message(step as u16, b"p").encode(&mut datagram);
                self.server.finish(self.now, &mut datagram, start).unwrap();
                self.client.handle_input(self.now, path(5056), 0, &mut datagram);
            }
            self.exchange();
            while let Some(report) = self.client.take_report() {
                told.extend(match report {
                    RealtimeReport::Quality(quality) => Some(quality),
                    _ => None,
                });
            }
        }
        told
    }

    fn idle(&mut self, seconds: u64) -> Vec<ConnectionQuality> {
        self.run(seconds, false, false)
    }
}

const ALL: [Planes; 3] = [Planes::Both, Planes::PortOnly, Planes::SessionOnly];

#[test]
fn without_datagrams_of_the_server_the_quality_is_unknown_and_never_excellent() {
    for planes in ALL {
        let mut network = Network::new(planes, false);
        assert_eq!(network.idle(1), [], "{planes:?}");
        assert_eq!(network.idle(2), [Unknown], "{planes:?}");
        assert_eq!(network.idle(20), [], "it is told once");
        let figures = network.client.connection();
        assert_eq!((figures.quality, figures.round_trip), (Unknown, None));
        network.set_open(true);
        let told = network.idle(60);
        assert_eq!(told.last(), Some(expected(planes)), "{planes:?}: {told:?}");
    }
}

/// Returns the quality of a network without losses and delay.
fn expected(planes: Planes) -> &'static ConnectionQuality {
    if planes == Planes::SessionOnly { &Good } else { &Excellent }
}

#[test]
fn datagrams_that_stop_make_the_quality_unknown_until_they_come_again() {
    for planes in ALL {
        let mut network = Network::new(planes, true);
        let start = network.run(10, true, false);
        assert!(matches!(start[..], [] | [Good]), "{planes:?}: {start:?}");
        network.set_open(false);
        let silent = network.run(15, true, false);
        assert_eq!(silent.last(), Some(&Unknown), "{planes:?}: {silent:?}");
        assert_eq!(network.client.connection().round_trip, None);
        network.set_open(true);
        let again = network.run(60, true, false);
        assert_eq!(again.last(), Some(expected(planes)), "{planes:?}: {again:?}");
        assert_eq!(network.client.connection().round_trip, Some(Duration::ZERO));
    }
}

/// Answers to clock requests are not the only sign of a server.
#[test]
fn while_the_poses_of_others_come_the_server_is_not_silent() {
    let mut network = Network::new(Planes::PortOnly, true);
    assert_eq!(network.run(10, true, true), []);
    network.set_open(false);
    assert_eq!(network.run(15, true, true), []);
}

#[test]
fn a_lost_answer_of_an_idle_link_is_no_silence() {
    for planes in ALL {
        let mut network = Network::new(planes, true);
        network.idle(40);
        for _ in 0..5 {
            network.lost = 1;
            let told = network.idle(40);
            assert!(!told.contains(&Unknown), "{planes:?}: {told:?}");
            assert_eq!(network.lost, 0);
        }
        network.set_open(false);
        // At its next keep-alive, and within nine seconds from that.
        let silent = network.idle(limits::KEEP_ALIVE.as_secs() + 9);
        assert_eq!(silent.last(), Some(&Unknown), "{planes:?}: {silent:?}");
    }
}

/// The session carries the datagrams while the realtime port does not answer.
#[test]
fn a_fallback_is_good_while_the_session_answers_and_else_unknown() {
    let mut network = Network::new(Planes::Both, true);
    assert_eq!(network.run(10, true, false), []);
    network.port = false;
    assert_eq!(network.run(15, true, false), [Good]);
    assert!(network.client.on_fallback());
    network.session = false;
    assert_eq!(network.run(15, true, false), [Unknown]);
    network.session = true;
    assert_eq!(network.run(15, true, false), [Good]);
}

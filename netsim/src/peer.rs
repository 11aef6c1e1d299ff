//! A peer behind a NAT.

use std::net::SocketAddr;
use std::time::Duration;

use nucleus_protocol::time::Time;

use super::{Conditions, Pipe, PipeCounters};

/// The lowest port that a NAT assigns.
const FIRST_PORT: u16 = 1_024;

/// A peer behind a NAT: a pipe to the server, a pipe from the server, and the peer's address as the
/// server sees it. The address changes at an interval or on request.
///
/// Datagrams on their way to an old address are lost. Datagrams from the peer keep the address from
/// which they were sent. A new address has the same IP address and the next port, so each peer
/// whose address changes needs an IP address of its own. Times must not decrease.
#[derive(Clone, Debug)]
pub struct SimPeer {
    up: Pipe<(SocketAddr, Vec<u8>)>,
    down: Pipe<(SocketAddr, Vec<u8>)>,
    address: SocketAddr,
    /// When the address changes next; set by the first call with a time.
    next_change: Option<Time>,
    unroutable: u64,
}

/// The counters of a [`SimPeer`]'s two directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SimPeerCounters {
    /// The counters of the direction from the peer to the server.
    pub up: PipeCounters,
    /// The counters of the direction from the server to the peer.
    pub down: PipeCounters,
}

impl SimPeer {
    /// Creates a peer at `address`. `seed` determines the randomness of both directions.
    pub fn new(seed: u64, address: SocketAddr, up: Conditions, down: Conditions) -> Self {
        let mut seeds = fastrand::Rng::with_seed(seed);
        Self {
            up: Pipe::new(seeds.u64(..), up),
            down: Pipe::new(seeds.u64(..), down),
            address,
            next_change: None,
            unroutable: 0,
        }
    }

    /// Sends a datagram from the peer to the server.
    pub fn send(&mut self, now: Time, bytes: Vec<u8>) {
        self.change_address_when_due(now);
        self.up.handle_input(now, bytes.len(), (self.address, bytes));
    }

    /// Returns the next datagram that has arrived at the server by `now`, with its source address.
    pub fn poll_server_side(&mut self, now: Time) -> Option<(SocketAddr, Vec<u8>)> {
        self.up.poll_output(now)
    }

    /// Sends a datagram from the server to `to`, which may be an old address of the peer.
    pub fn deliver(&mut self, now: Time, to: SocketAddr, bytes: Vec<u8>) {
        self.change_address_when_due(now);
        self.down.handle_input(now, bytes.len(), (to, bytes));
    }

    /// Returns the next datagram that has arrived at the peer by `now`.
    pub fn poll_client_side(&mut self, now: Time) -> Option<Vec<u8>> {
        self.change_address_when_due(now);
        while let Some((to, bytes)) = self.down.poll_output(now) {
            if to == self.address {
                return Some(bytes);
            }
            self.unroutable += 1;
        }
        None
    }

    /// Returns when the next datagram arrives at either side; `None` if no datagram is on its way.
    pub fn deadline(&self) -> Option<Time> {
        self.up.deadline().into_iter().chain(self.down.deadline()).min()
    }

    /// Returns the peer's address as the server sees it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives the peer a new address, as a NAT does when its binding has expired.
    pub fn change_address(&mut self) {
        let next = self.address.port().checked_add(1).unwrap_or(FIRST_PORT);
        self.address.set_port(next.max(FIRST_PORT));
    }

    /// Changes the conditions of both directions for datagrams sent from now on.
    pub fn set_conditions(&mut self, up: Conditions, down: Conditions) {
        self.next_change = None;
        self.up.set_conditions(up);
        self.down.set_conditions(down);
    }

    /// Returns the counters of both directions.
    pub fn counters(&self) -> SimPeerCounters {
        SimPeerCounters { up: self.up.counters(), down: self.down.counters() }
    }

    /// Returns the number of datagrams that arrived at an address which was not the peer's.
    pub fn unroutable(&self) -> u64 {
        self.unroutable
    }

    fn change_address_when_due(&mut self, now: Time) {
        let Some(interval) = self.up.conditions().new_address_every else { return };
        let interval = interval.max(Duration::from_millis(1));
        let due = *self.next_change.get_or_insert(now + interval);
        if now >= due {
            self.change_address();
            self.next_change = Some(now + interval);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Loss;
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn clean_peer() -> SimPeer {
        SimPeer::new(1, address(4_000), Conditions::CLEAN, Conditions::CLEAN)
    }

    #[test]
    fn both_ways_carry() {
        let mut peer = clean_peer();
        peer.send(Time::ZERO, vec![1]);
        let (from, bytes) = peer.poll_server_side(Time::ZERO).expect("a datagram");
        assert_eq!((from, bytes), (address(4_000), vec![1]));
        peer.deliver(Time::ZERO, from, vec![2]);
        assert_eq!(peer.deadline(), Some(Time::ZERO));
        assert_eq!(peer.poll_client_side(Time::ZERO), Some(vec![2]));
        assert_eq!(peer.deadline(), None);
    }

    #[test]
    fn what_goes_to_an_old_address_is_gone() {
        let delayed = Conditions::delayed(10, 10, Loss::NONE);
        let mut peer = SimPeer::new(1, address(u16::MAX), delayed.clone(), delayed);
        peer.send(Time::ZERO, vec![1]);
        peer.deliver(Time::ZERO, address(u16::MAX), vec![2]);
        peer.change_address();
        assert_eq!(peer.address(), address(FIRST_PORT));
        peer.deliver(Time::ZERO, address(u16::MAX), vec![3]);
        peer.deliver(Time::ZERO, address(FIRST_PORT), vec![4]);
        let now = Time::from_millis(10);
        assert_eq!(peer.poll_client_side(now), Some(vec![4]));
        assert_eq!((peer.poll_client_side(now), peer.unroutable()), (None, 2));
        assert_eq!(peer.poll_server_side(now), Some((address(u16::MAX), vec![1])));
    }

    #[test]
    fn roaming_changes_the_port_every_five_seconds() {
        let roaming = Conditions::preset("roaming").expect("a preset");
        let mut peer = SimPeer::new(1, address(4_000), roaming.clone(), roaming);
        let mut ports = Vec::new();
        for tenths in 0..200 {
            let now = Time::from_millis(tenths * 100);
            peer.send(now, vec![0]);
            while let Some((from, _)) = peer.poll_server_side(now) {
                ports.push(from.port());
            }
        }
        ports.dedup();
        assert_eq!(ports, [4_000, 4_001, 4_002, 4_003]);
    }

    #[test]
    fn the_seed_decides() {
        let outcome = |seed| {
            let wifi = Conditions::preset("wifi").expect("a preset");
            let mut peer = SimPeer::new(seed, address(4_000), wifi.clone(), wifi);
            let mut out = Vec::new();
            for millis in 0..3_000 {
                let now = Time::from_millis(millis);
                peer.send(now, vec![(millis % 251) as u8]);
                peer.deliver(now, address(4_000), vec![(millis % 241) as u8]);
                out.push((peer.poll_server_side(now), peer.poll_client_side(now)));
            }
            out
        };
        assert!(outcome(3) == outcome(3));
        assert!(outcome(3) != outcome(4));
    }
}

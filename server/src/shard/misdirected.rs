//! Misdirected datagrams: those that the kernel delivers to the wrong shard. This happens where the
//! steering program is missing, and at the moment a group of sockets changes.
//!
//! Handing a datagram over costs a copy and a wake-up. So a shard hands over only datagrams of live
//! links: a flood of invented connection ids cannot fill a mailbox.

use std::sync::Arc;

use dashmap::DashSet;
use nucleus_core::limits;
use nucleus_net::{ReceivedDatagram, Waker};
use nucleus_protocol::link::Path;
use nucleus_protocol::realtime::{ConnectionId, Header};
use nucleus_protocol::time::Time;
use tokio::sync::mpsc;

/// A datagram for the shard that its connection id names, with the path, time and ECN bits of its
/// arrival.
pub(super) struct Misdirected {
    pub(super) arrived: Time,
    pub(super) path: Path,
    pub(super) ecn: u8,
    pub(super) bytes: Vec<u8>,
}

/// Hands misdirected datagrams over to the right shard. Shared by all shards.
pub struct MisdirectedRouter {
    /// The connection ids of all live links.
    live: DashSet<ConnectionId>,
    shards: Vec<ShardAddress>,
}

/// The address of one shard: the mailbox for misdirected datagrams, and the waker of its thread.
struct ShardAddress {
    mailbox: mpsc::Sender<Misdirected>,
    waker: Waker,
}

/// One shard's end: the datagrams that other shards hand over, and the waker of its thread.
pub struct MisdirectedMailbox {
    pub(super) misdirected: mpsc::Receiver<Misdirected>,
    pub(super) waker: Waker,
}

/// What happened to a datagram that a shard has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Routing {
    /// The datagram stays: the shard's own fan-out must handle or reject it.
    Local,
    /// The datagram is in the mailbox of the shard that its connection id names.
    HandedOver,
    /// The datagram is dropped: it names another shard, but no live link of that shard, or the
    /// mailbox is full.
    Dropped,
}

impl MisdirectedRouter {
    /// Makes the router of `count` shards, and the mailbox of each.
    ///
    /// # Errors
    ///
    /// The process is out of file descriptors.
    pub fn new(count: usize) -> std::io::Result<(Arc<Self>, Vec<MisdirectedMailbox>)> {
        let (mut shards, mut mailboxes) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (mailbox, misdirected) = mpsc::channel(limits::MISDIRECTED);
            let waker = Waker::new()?;
            shards.push(ShardAddress { mailbox, waker: waker.clone() });
            mailboxes.push(MisdirectedMailbox { misdirected, waker });
        }
        Ok((Arc::new(Self { live: DashSet::new(), shards }), mailboxes))
    }

    /// Adds the connection ids of a new link.
    pub(super) fn add_link(&self, ids: [ConnectionId; 2]) {
        for id in ids {
            self.live.insert(id);
        }
    }

    /// Removes the connection ids of a link that has ended.
    pub(super) fn remove_link(&self, ids: [ConnectionId; 2]) {
        for id in ids {
            self.live.remove(&id);
        }
    }

    /// Hands a datagram that shard `receiver` has received over to the shard that its connection id
    /// names, if this is another shard and the id is a live link's.
    pub(super) fn route(&self, receiver: u8, datagram: &ReceivedDatagram<'_>) -> Routing {
        let Some(Header { connection_id, .. }) = Header::parse(datagram.data) else {
            return Routing::Local;
        };
        let shard = connection_id.shard();
        let Some(ShardAddress { mailbox, waker }) = self.shards.get(usize::from(shard)) else {
            return Routing::Local;
        };
        if shard == receiver {
            return Routing::Local;
        }
        if !self.live.contains(&connection_id) {
            return Routing::Dropped;
        }
        let misdirected = Misdirected {
            arrived: Time::from_micros(datagram.received),
            path: Path { remote: datagram.remote, local: datagram.local },
            ecn: datagram.ecn,
            bytes: datagram.data.to_vec(),
        };
        if mailbox.try_send(misdirected).is_err() {
            return Routing::Dropped;
        }
        waker.wake();
        Routing::HandedOver
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn route(router: &MisdirectedRouter, receiver: u8, id: ConnectionId) -> Routing {
        let mut data = [0; 40];
        let header = Header { phase: 0, connection_id: id, number: 7 }.to_bytes();
        data[..header.len()].copy_from_slice(&header);
        let remote = SocketAddr::from(([127, 0, 0, 1], 9));
        let data = &mut data[..];
        router.route(receiver, &ReceivedDatagram { remote, local: None, ecn: 1, received: 5, data })
    }

    #[test]
    fn only_what_lives_elsewhere_is_handed_over_and_only_while_there_is_room() {
        let (router, mut mailboxes) = MisdirectedRouter::new(2).unwrap();
        let [local, remote, ended] =
            [(0, 1), (1, 2), (1, 3)].map(|(shard, n)| ConnectionId::new(shard, n, n));
        router.add_link([local, remote]);
        router.add_link([ended, ended]);
        router.remove_link([ended, ended]);
        assert_eq!(route(&router, 0, local), Routing::Local);
        assert_eq!(route(&router, 0, ended), Routing::Dropped);
        assert_eq!(route(&router, 0, ConnectionId::new(9, 1, 1)), Routing::Local, "no such shard");
        for _ in 0..limits::MISDIRECTED {
            assert_eq!(route(&router, 0, remote), Routing::HandedOver);
        }
        assert_eq!(route(&router, 0, remote), Routing::Dropped, "the mailbox is full");
        let misdirected = mailboxes[1].misdirected.try_recv().unwrap();
        assert_eq!(
            (misdirected.ecn, misdirected.arrived, misdirected.bytes.len()),
            (1, Time::from_micros(5), 40)
        );
        assert!(mailboxes[0].misdirected.try_recv().is_err());
    }
}

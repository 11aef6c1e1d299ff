//! Misdirected datagrams: the kernel delivers some to the wrong shard where the steering program is missing,
//! and in the moment in which a group of sockets changes.
//!
//! Handing one over costs a copy and a wake-up, so it is done only for the id of a living link: a flood
//! of invented ids fills nobody's mailbox.

use std::sync::Arc;

use dashmap::DashSet;
use nucleus_core::limits;
use nucleus_net::{ReceivedDatagram, Waker};
use nucleus_protocol::link::Path;
use nucleus_protocol::realtime::{ConnectionId, Header};
use nucleus_protocol::time::Time;
use tokio::sync::mpsc;

/// A datagram on its way to the shard that its connection id names.
pub(super) struct Misdirected {
    pub(super) arrived: Time,
    pub(super) path: Path,
    pub(super) ecn: u8,
    pub(super) bytes: Vec<u8>,
}

/// The ids of all shards' links, and a way to each shard.
pub struct Neighbours {
    living: DashSet<ConnectionId>,
    mailboxes: Vec<(mpsc::Sender<Misdirected>, Waker)>,
}

/// What is handed over to one shard, and its waker.
pub struct Mailbox {
    pub(super) misdirected: mpsc::Receiver<Misdirected>,
    pub(super) waker: Waker,
}

/// What becomes of a datagram that one shard has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Belongs {
    /// Here, or nowhere: the shard's fan-out says which.
    Here,
    /// To another shard, which has it now.
    HandedOver,
    /// To another shard, or so it says; dropped.
    Dropped,
}

impl Neighbours {
    /// For `shards` threads, with a mailbox for each.
    ///
    /// # Errors
    ///
    /// When the process is out of file descriptors.
    pub fn new(shards: usize) -> std::io::Result<(Arc<Self>, Vec<Mailbox>)> {
        let (mut senders, mut mailboxes) = (Vec::new(), Vec::new());
        for _ in 0..shards {
            let (sender, misdirected) = mpsc::channel(limits::MISDIRECTED);
            let waker = Waker::new()?;
            senders.push((sender, waker.clone()));
            mailboxes.push(Mailbox { misdirected, waker });
        }
        Ok((Arc::new(Self { living: DashSet::new(), mailboxes: senders }), mailboxes))
    }

    /// Ids that lead to a link from now on.
    pub(super) fn born(&self, ids: [ConnectionId; 2]) {
        for id in ids {
            self.living.insert(id);
        }
    }

    /// Ids that lead nowhere any more.
    pub(super) fn died(&self, ids: [ConnectionId; 2]) {
        for id in ids {
            self.living.remove(&id);
        }
    }

    /// Where a datagram belongs that came to shard `here`; hands it over where that is another.
    pub(super) fn sort(&self, here: u8, datagram: &ReceivedDatagram<'_>) -> Belongs {
        let Some(Header { connection_id, .. }) = Header::parse(datagram.data) else {
            return Belongs::Here;
        };
        let shard = connection_id.shard();
        let Some((mailbox, waker)) = self.mailboxes.get(usize::from(shard)) else {
            return Belongs::Here;
        };
        if shard == here {
            return Belongs::Here;
        }
        if !self.living.contains(&connection_id) {
            return Belongs::Dropped;
        }
        let misdirected = Misdirected {
            arrived: Time::from_micros(datagram.received),
            path: Path { remote: datagram.remote, local: datagram.local },
            ecn: datagram.ecn,
            bytes: datagram.data.to_vec(),
        };
        if mailbox.try_send(misdirected).is_err() {
            return Belongs::Dropped;
        }
        waker.wake();
        Belongs::HandedOver
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn sort(neighbours: &Neighbours, here: u8, id: ConnectionId) -> Belongs {
        let mut data = [0; 40];
        let header = Header { phase: 0, connection_id: id, number: 7 }.to_bytes();
        data[..header.len()].copy_from_slice(&header);
        let remote = SocketAddr::from(([127, 0, 0, 1], 9));
        let data = &mut data[..];
        neighbours.sort(here, &ReceivedDatagram { remote, local: None, ecn: 1, received: 5, data })
    }

    #[test]
    fn only_what_lives_elsewhere_is_handed_over_and_only_while_there_is_room() {
        let (neighbours, mut mailboxes) = Neighbours::new(2).unwrap();
        let [mine, theirs, dead] =
            [(0, 1), (1, 2), (1, 3)].map(|(shard, n)| ConnectionId::new(shard, n, n));
        neighbours.born([mine, theirs]);
        neighbours.born([dead, dead]);
        neighbours.died([dead, dead]);
        assert_eq!(sort(&neighbours, 0, mine), Belongs::Here);
        assert_eq!(sort(&neighbours, 0, dead), Belongs::Dropped);
        assert_eq!(
            sort(&neighbours, 0, ConnectionId::new(9, 1, 1)),
            Belongs::Here,
            "no such shard"
        );
        for _ in 0..limits::MISDIRECTED {
            assert_eq!(sort(&neighbours, 0, theirs), Belongs::HandedOver);
        }
        assert_eq!(sort(&neighbours, 0, theirs), Belongs::Dropped, "the mailbox is full");
        let misdirected = mailboxes[1].misdirected.try_recv().unwrap();
        assert_eq!(
            (misdirected.ecn, misdirected.arrived, misdirected.bytes.len()),
            (1, Time::from_micros(5), 40)
        );
        assert!(mailboxes[0].misdirected.try_recv().is_err());
    }
}

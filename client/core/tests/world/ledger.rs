//! The ledger of all events: which were sent, and which may be missing at whom. It checks each event
//! that an application takes.

use std::collections::BTreeMap;

use nucleus_protocol::session::Lane;

/// The recipients of an event, as its payload names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SentTo {
    /// All others. Each of them must receive the event, or be told of a loss.
    Others,
    /// All, the sender included. Each of the others must receive the event or be told of a loss.
    All,
    /// The device with this index.
    Device(u8),
    /// A group, the host, or all others and those that join later. Nobody must receive the event.
    Anybody,
    /// The same, and the room repeats the event for those that join later.
    Later,
}

/// Bytes of [`SentEvent`] in front of the filling.
const HEAD: usize = 19;

/// What the payload of an event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SentEvent {
    sender: u8,
    lineage: u32,
    to: SentTo,
    /// The event's number among all of its sender on its lane.
    number: u32,
    /// Its number among those that everybody must receive.
    everybody: u32,
    /// Bytes of filling behind the head.
    filling: u32,
}

impl SentEvent {
    fn encode(self) -> Vec<u8> {
        let (kind, device) = match self.to {
            SentTo::Others => (0, 0),
            SentTo::All => (1, 0),
            SentTo::Device(device) => (2, device),
            SentTo::Anybody => (3, 0),
            SentTo::Later => (4, 0),
        };
        let mut out = vec![self.sender, kind, device];
        for number in [self.lineage, self.number, self.everybody, self.filling] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.resize(HEAD + self.filling as usize, self.number as u8);
        out
    }

    /// Reads a payload, and checks that it is whole.
    fn decode(payload: &[u8]) -> Self {
        let number = |at: usize| u32::from_le_bytes(*payload[at..].first_chunk().unwrap());
        let to = match (payload[1], payload[2]) {
            (0, _) => SentTo::Others,
            (1, _) => SentTo::All,
            (2, device) => SentTo::Device(device),
            (3, _) => SentTo::Anybody,
            _ => SentTo::Later,
        };
        let (sender, filling) = (payload[0], number(15));
        let (lineage, everybody) = (number(3), number(11));
        let event = Self { sender, lineage, to, number: number(7), everybody, filling };
        assert_eq!(payload.len(), HEAD + filling as usize, "{event:?} is not whole");
        let filled = payload[HEAD..].iter().all(|byte| *byte == event.number as u8);
        assert!(filled, "{event:?} has parts of another message");
        event
    }
}

/// A device as a sender.
#[derive(Clone, Copy, Default)]
struct SenderRecord {
    /// Grows when a process starts that does not continue an earlier one.
    lineage: u32,
    /// By lane: the number of the next event, and of the next one for everybody.
    next: [u32; 2],
    next_everybody: [u32; 2],
    /// By lane: events for everybody before this one may be lost, because their sender came back as
    /// a new peer or has ended.
    lossy_until: [u32; 2],
}

/// What a receiver has of one lineage of a sender on a lane.
#[derive(Clone, Copy, Default)]
struct ReceivedRecord {
    /// The newest number ever.
    newest: Option<u32>,
    /// The newest number, and the newest one for everybody, since the receiver is its present peer.
    as_peer: Option<u32>,
    everybody: Option<u32>,
    /// Whether the receiver was told of a loss since.
    was_told: bool,
}

/// Receiver, sender, lineage of the sender, and index of the lane.
type RecordKey = (usize, u8, u32, usize);

/// The events of all devices.
pub(crate) struct Ledger {
    senders: Vec<SenderRecord>,
    received: BTreeMap<RecordKey, ReceivedRecord>,
    /// Events that applications took, and events that were missing although a receiver was told or
    /// the sender may lose them.
    pub(crate) taken: u64,
    pub(crate) told_losses: u64,
}

impl Ledger {
    pub(crate) fn new(devices: usize) -> Self {
        let senders = vec![SenderRecord::default(); devices];
        Self { senders, received: BTreeMap::new(), taken: 0, told_losses: 0 }
    }

    /// Returns the payload of a device's next event.
    pub(crate) fn next_payload(
        &self,
        sender: usize,
        lane: Lane,
        to: SentTo,
        size: usize,
    ) -> Vec<u8> {
        let SenderRecord { lineage, next, next_everybody, .. } = self.senders[sender];
        let (number, everybody) = (next[lane.index()], next_everybody[lane.index()]);
        let filling = size as u32;
        SentEvent { sender: sender as u8, lineage, to, number, everybody, filling }.encode()
    }

    /// Notes that the client has queued the event.
    pub(crate) fn note_sent(&mut self, sender: usize, lane: Lane, to: SentTo) {
        let record = &mut self.senders[sender];
        record.next[lane.index()] += 1;
        if matches!(to, SentTo::Others | SentTo::All) {
            record.next_everybody[lane.index()] += 1;
        }
    }

    /// Notes that the sender is a new peer, or has ended: what it has queued may be lost.
    pub(crate) fn may_lose(&mut self, sender: usize) {
        let record = &mut self.senders[sender];
        record.lossy_until = record.next_everybody;
    }

    /// Notes that a device starts a process that continues no earlier one.
    pub(crate) fn start_lineage(&mut self, device: usize) {
        self.may_lose(device);
        self.senders[device].lineage += 1;
        self.become_new_peer(device);
    }

    /// Notes that a receiver is told that it is a new peer.
    pub(crate) fn become_new_peer(&mut self, receiver: usize) {
        for record in self.records_of(receiver) {
            (record.as_peer, record.everybody) = (None, None);
        }
    }

    /// Notes that a receiver is told that it has missed events.
    pub(crate) fn tell_loss(&mut self, receiver: usize) {
        self.records_of(receiver).for_each(|record| record.was_told = true);
    }

    fn records_of(&mut self, receiver: usize) -> impl Iterator<Item = &mut ReceivedRecord> {
        let all = self.received.range_mut((receiver, 0, 0, 0)..(receiver + 1, 0, 0, 0));
        all.map(|(_, record)| record)
    }

    /// Checks an event that a receiver's application has taken.
    pub(crate) fn receive(&mut self, receiver: usize, lane: Lane, payload: &[u8]) {
        let event = SentEvent::decode(payload);
        let SentEvent { sender, lineage, to, number, everybody, .. } = event;
        let is_own = usize::from(sender) == receiver;
        let record = self.received.entry((receiver, sender, lineage, lane.index())).or_default();
        let about = || format!("{event:?} at {receiver} on {lane:?}");
        match to {
            SentTo::Device(device) => {
                assert_eq!(usize::from(device), receiver, "misdirected: {}", about());
            }
            // The device's earlier process may have sent it.
            SentTo::Others => {
                let is_present = lineage == self.senders[receiver].lineage;
                assert!(!is_own || !is_present, "came back: {}", about());
            }
            // The room repeats a later one for its sender, too, if that is a new peer.
            SentTo::All | SentTo::Anybody | SentTo::Later => {}
        }
        let is_newer = |before: Option<u32>| before.is_none_or(|before| number > before);
        assert!(is_newer(record.as_peer), "doubled or reordered: {}", about());
        assert!(is_newer(record.newest) || to == SentTo::Later, "doubled: {}", about());
        record.as_peer = Some(number);
        record.newest = record.newest.max(Some(number));
        self.taken += 1;
        if is_own || !matches!(to, SentTo::Others | SentTo::All) {
            return;
        }
        if let Some(before) = record.everybody.replace(everybody) {
            let lossy_until = self.senders[usize::from(sender)].lossy_until[lane.index()];
            let missing = everybody - before - 1;
            let may_be_lost = record.was_told || everybody <= lossy_until;
            // The newest lost one is the one before this one.
            assert!(missing == 0 || may_be_lost, "{missing} lost before {}", about());
            self.told_losses += u64::from(missing > 0);
        }
        record.was_told = false;
    }

    /// Checks that a receiver has the newest event for everybody of a sender.
    pub(crate) fn check_newest(&self, receiver: usize, sender: usize, lane: Lane) {
        let SenderRecord { lineage, next_everybody, .. } = self.senders[sender];
        let key = (receiver, sender as u8, lineage, lane.index());
        let newest = self.received.get(&key).and_then(|record| record.everybody);
        let sent = next_everybody[lane.index()].checked_sub(1);
        assert_eq!(newest, sent, "{receiver} has not all of {sender} on {lane:?}");
    }
}

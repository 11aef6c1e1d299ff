//! Which events of the lanes the application has taken: what a ticket of this client says.

use nucleus_protocol::session::Lane;

use crate::event::RoomEvent;

/// Lane and sequence of an event, or of the last piece of a bulk message.
pub(super) type LanePosition = (Lane, u64);

/// The positions up to which the application has taken the events of each lane.
///
/// Some events of the events lane are for the client itself, such as the answers to requests. They
/// count as taken when no earlier event waits for the application: otherwise a ticket would claim
/// that they were lost.
#[derive(Default)]
pub(super) struct TakenEvents {
    /// Largest sequence of an event that the application has taken, by lane.
    taken: [u64; 2],
    /// Largest sequence on the events lane of an event that is not for the application.
    passed: u64,
    /// Events of the events lane that the application has not taken.
    waiting: usize,
    /// [`RoomEvent::Rejoined`] events that the application has not taken.
    new_peers: usize,
}

impl TakenEvents {
    /// The application has taken everything up to these positions, in an earlier process.
    pub(super) fn new(taken: [u64; 2]) -> Self {
        Self { taken, ..Self::default() }
    }

    /// Notes that an event waits for the application.
    pub(super) fn queue(&mut self, event: &RoomEvent, position: Option<LanePosition>) {
        self.waiting += usize::from(is_on_events_lane(position));
        if let RoomEvent::Rejoined { .. } = event {
            self.new_peers += 1;
            // The sequences begin anew.
            self.passed = 0;
        }
    }

    /// Notes that an event of the events lane is not for the application.
    pub(super) fn pass(&mut self, sequence: u64) {
        self.passed = sequence.max(self.passed);
        self.advance();
    }

    /// Notes that the application has taken an event.
    pub(super) fn take(&mut self, event: &RoomEvent, position: Option<LanePosition>) {
        if let Some((lane, sequence)) = position {
            self.taken[lane.index()] = sequence;
        }
        self.waiting -= usize::from(is_on_events_lane(position));
        if let RoomEvent::Rejoined { .. } = event {
            self.taken = [0; 2];
            self.new_peers -= 1;
        }
        self.advance();
    }

    fn advance(&mut self) {
        if self.waiting == 0 && self.new_peers == 0 {
            self.taken[0] = self.taken[0].max(self.passed);
        }
    }

    /// Returns the positions that a resume must name. The application of a new peer that has not
    /// taken [`RoomEvent::Rejoined`] has nothing of that peer.
    pub(super) fn last_sequences(&self) -> [u64; 2] {
        if self.new_peers > 0 { [0; 2] } else { self.taken }
    }
}

fn is_on_events_lane(position: Option<LanePosition>) -> bool {
    matches!(position, Some((Lane::Events, _)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::PeerId;

    const REJOINED: RoomEvent = RoomEvent::Rejoined { me: PeerId(2) };
    const OTHER: RoomEvent = RoomEvent::Fallback(true);

    fn queue(taken: &mut TakenEvents, sequence: u64) {
        taken.queue(&OTHER, Some((Lane::Events, sequence)));
    }

    fn take(taken: &mut TakenEvents, sequence: u64) {
        taken.take(&OTHER, Some((Lane::Events, sequence)));
    }

    #[test]
    fn an_event_of_the_client_counts_when_no_earlier_one_waits() {
        let mut taken = TakenEvents::new([3, 1]);
        taken.pass(4);
        assert_eq!(taken.last_sequences(), [4, 1]);
        queue(&mut taken, 5);
        taken.pass(6);
        queue(&mut taken, 7);
        taken.pass(8);
        assert_eq!(taken.last_sequences(), [4, 1]);
        take(&mut taken, 5);
        assert_eq!(taken.last_sequences(), [5, 1], "the event before the next one comes again");
        take(&mut taken, 7);
        assert_eq!(taken.last_sequences(), [8, 1]);
        taken.queue(&OTHER, Some((Lane::Bulk, 9)));
        taken.take(&OTHER, Some((Lane::Bulk, 9)));
        taken.queue(&OTHER, None);
        taken.take(&OTHER, None);
        assert_eq!(taken.last_sequences(), [8, 9]);
    }

    #[test]
    fn a_new_peer_begins_anew() {
        let mut taken = TakenEvents::new([30, 40]);
        queue(&mut taken, 50);
        taken.pass(60);
        taken.queue(&REJOINED, None);
        assert_eq!(taken.last_sequences(), [0, 0]);
        taken.pass(2);
        take(&mut taken, 50);
        assert_eq!(taken.last_sequences(), [0, 0]);
        taken.take(&REJOINED, None);
        assert_eq!(taken.last_sequences(), [2, 0]);
    }
}

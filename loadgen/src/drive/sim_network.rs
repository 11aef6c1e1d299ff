//! The simulated network between a headset's realtime link and its socket.

use nucleus_netsim::Pipe;
use nucleus_protocol::link::Path;
use nucleus_protocol::time::Time;

use crate::load::payload::{Source, Stream};
use crate::load::plan::{AddressSchedule, Plan};
use crate::shared::RunShared;

/// A datagram on the simulated network, with its path.
#[derive(Clone)]
pub(super) struct PathDatagram {
    pub(super) path: Path,
    pub(super) data: Vec<u8>,
}

/// The simulated network between the link and the socket.
pub(super) struct SimNetwork {
    pub(super) up: Pipe<PathDatagram>,
    pub(super) down: Pipe<PathDatagram>,
    /// When the source port changes; `None` if the network does not roam.
    roaming: Option<AddressSchedule>,
    /// Number of address changes of the run's faults that this network has carried out.
    faults_followed: u32,
}

impl SimNetwork {
    /// Creates the network of a headset, from `now` (µs) on; `None` if the plan has no network.
    pub(super) fn new(plan: &Plan, shared: &RunShared, source: Source, now: u64) -> Option<Self> {
        plan.network.as_ref().map(|conditions| SimNetwork {
            up: Pipe::new(source.mix(Stream::Up, 0), conditions.clone()),
            down: Pipe::new(source.mix(Stream::Down, 0), conditions.clone()),
            roaming: plan.address_schedule(source, now),
            faults_followed: shared.faults.address_changes(),
        })
    }

    /// Returns when the next datagram or address change is due.
    pub(super) fn deadline(&self) -> Option<Time> {
        let address = self.roaming.map(|roaming| roaming.next);
        let pipes = self.up.deadline().into_iter().chain(self.down.deadline());
        pipes.chain(address).min()
    }

    /// Returns the next datagram that has arrived by `now`, and when it arrived.
    pub(super) fn arrived(&mut self, now: Time) -> Option<(Time, PathDatagram)> {
        let due = self.down.deadline().filter(|due| *due <= now)?;
        Some((due, self.down.poll_output(due)?))
    }

    /// Returns whether the address must change now. `address_changes` counts those of the run's
    /// faults.
    pub(super) fn needs_new_address(&mut self, now: Time, address_changes: u32) -> bool {
        if address_changes > self.faults_followed {
            self.faults_followed = address_changes;
            return true;
        }
        self.roaming.as_mut().is_some_and(|roaming| roaming.take(now))
    }
}

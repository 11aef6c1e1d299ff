//! The simulated network between a headset's realtime link and its socket.

use std::net::SocketAddr;
use std::sync::Arc;

use nucleus_netsim::Pipe;
use nucleus_protocol::time::Time;

use crate::load::payload::{Source, Stream};
use crate::load::plan::{AddressSchedule, Plan};
use crate::shared::RunShared;

/// A datagram on a simulated network, and the address that it comes from or goes to.
#[derive(Clone)]
pub(super) struct SimDatagram {
    pub(super) remote: SocketAddr,
    pub(super) data: Vec<u8>,
}

/// When the address of a headset changes: by the schedule of a roaming network, and by the faults
/// of the run.
pub(super) struct AddressChanges {
    run: Arc<RunShared>,
    /// Whether the run's faults affect the headset.
    is_affected: bool,
    /// `None` if the network does not roam.
    roaming: Option<AddressSchedule>,
    /// Number of address changes of the run's faults that were carried out.
    faults_followed: u32,
}

impl AddressChanges {
    /// Creates the changes of a headset's address from `now` (µs) on.
    pub(super) fn new(plan: &Plan, run: &Arc<RunShared>, source: Source, now: u64) -> Self {
        AddressChanges {
            run: run.clone(),
            is_affected: plan.is_affected(plan.headset(source)),
            roaming: plan.address_schedule(source, now),
            faults_followed: run.faults.address_changes(),
        }
    }

    /// Returns when the next change of the schedule is due.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.roaming.map(|roaming| roaming.next)
    }

    /// Returns whether the address must change now.
    pub(super) fn take(&mut self, now: Time) -> bool {
        let faults = self.run.faults.address_changes();
        if self.is_affected && faults > self.faults_followed {
            self.faults_followed = faults;
            return true;
        }
        self.roaming.as_mut().is_some_and(|roaming| roaming.take(now))
    }
}

/// The simulated network between the link and the socket.
pub(super) struct SimNetwork {
    pub(super) up: Pipe<SimDatagram>,
    pub(super) down: Pipe<SimDatagram>,
    pub(super) address_changes: AddressChanges,
}

impl SimNetwork {
    /// Creates the network of a headset, from `now` (µs) on; `None` if the plan has no network.
    pub(super) fn new(plan: &Plan, run: &Arc<RunShared>, source: Source, now: u64) -> Option<Self> {
        plan.network.as_ref().map(|conditions| SimNetwork {
            up: Pipe::new(source.mix(Stream::Up, 0), conditions.clone()),
            down: Pipe::new(source.mix(Stream::Down, 0), conditions.clone()),
            address_changes: AddressChanges::new(plan, run, source, now),
        })
    }

    /// Returns when the next datagram or address change is due.
    pub(super) fn deadline(&self) -> Option<Time> {
        let deadlines = [self.up.deadline(), self.down.deadline(), self.address_changes.deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// Returns the next datagram that has arrived by `now`, and when it arrived.
    pub(super) fn arrived(&mut self, now: Time) -> Option<(Time, SimDatagram)> {
        let due = self.down.deadline().filter(|due| *due <= now)?;
        Some((due, self.down.poll_output(due)?))
    }
}

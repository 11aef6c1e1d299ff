//! The faults that a run causes on purpose: a blocked realtime port, an outage, a killed or paused
//! server, many joins at the same time.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

/// What happens to received messages that the load generator distorts, to test itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Distortion {
    /// They are lost.
    Drop,
    /// They arrive at a headset of another room, and not at their own receiver.
    Misroute,
    /// They arrive 100 ms later.
    Delay,
}

/// A fault, or another event that a run causes on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Blocks (`true`) or opens the realtime port of the plan's share of headsets.
    BlockRealtime(bool),
    /// Starts (`true`) or ends an outage: no datagram of the plan's share of headsets gets through
    /// on either plane. The start kills the process of every second affected headset. The end
    /// starts that process again with its resume ticket.
    Outage(bool),
    /// Changes the address of the plan's share of headsets, on both planes at the same time.
    Move,
    /// Kills the server's process and starts it again.
    RestartServer,
    /// Stops (`true`) the server's process with SIGSTOP, or continues it with SIGCONT.
    PauseServer(bool),
    /// Lets this many additional clients join at the same time, in rooms of their own. They stay.
    JoinStorm(u32),
    /// Lets a late joiner join the first room and create this many objects in it.
    AddObjects(u32),
    /// Lets this many late joiners join the first room, evenly spread over this time. They stay.
    LateJoiners(u32, Duration),
    /// Lets this many additional clients look for a room at the same time. A client creates a room
    /// if none matches.
    Match(u32),
    /// Lets this many pairs of additional clients call each other at the same time.
    Calls(u32),
    /// Collects the rosters that all members of the first room have at this moment.
    CollectRosters,
}

/// The faults of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct FaultPlan {
    /// Share of the headsets that a blocked realtime port, an outage or an address change affects,
    /// 0 to 1.
    pub(crate) fault_share: f64,
    /// Whether the realtime port of that share is blocked from the start.
    pub(crate) realtime_blocked: bool,
    /// The faults in order, each with its time after the window's start.
    pub(crate) script: Vec<(Duration, Fault)>,
}

impl FaultPlan {
    /// Returns the plan with this script.
    pub(crate) fn new(script: Vec<(Duration, Fault)>) -> Self {
        FaultPlan { script, ..FaultPlan::default() }
    }

    /// Returns whether any fault is one that headsets have to recover from.
    pub(crate) fn breaks(&self) -> bool {
        use Fault::{BlockRealtime, Move, Outage, PauseServer, RestartServer};
        let breaks = |fault| {
            matches!(fault, BlockRealtime(_) | Outage(_) | Move | RestartServer | PauseServer(_))
        };
        self.script.iter().any(|(_, fault)| breaks(*fault))
    }

    /// Returns how many late joiners will join the first room.
    pub(crate) fn late_joiners(&self) -> u32 {
        let count = |fault: &Fault| match fault {
            Fault::AddObjects(_) => 1,
            Fault::LateJoiners(count, _) => *count,
            _ => 0,
        };
        self.script.iter().map(|(_, fault)| count(fault)).sum()
    }

    /// Returns how many additional clients will look for a room or call each other.
    pub(crate) fn callers(&self) -> u32 {
        let count = |fault: &Fault| match fault {
            Fault::Match(count) => *count,
            Fault::Calls(pairs) => 2 * pairs,
            _ => 0,
        };
        self.script.iter().map(|(_, fault)| count(fault)).sum()
    }

    /// Returns whether there will be a join storm.
    pub(crate) fn storms(&self) -> bool {
        self.script.iter().any(|(_, fault)| matches!(fault, Fault::JoinStorm(_)))
    }

    /// Returns whether any fault needs the simulated network.
    pub(crate) fn needs_network(&self) -> bool {
        self.script.iter().any(|(_, fault)| matches!(fault, Fault::Outage(true) | Fault::Move))
    }
}

/// The faults in force now. Each atomic stands alone: no code relies on the order of writes to two
/// of them.
#[derive(Debug, Default)]
pub(crate) struct FaultState {
    realtime_blocked: AtomicBool,
    in_outage: AtomicBool,
    address_changes: AtomicU32,
    /// When the last fault ended, µs; 0 before the first end. An address change and the
    /// kill of the server end when they start.
    last_fault_end: AtomicU64,
}

impl FaultState {
    pub(crate) fn new(realtime_blocked: bool) -> Self {
        FaultState { realtime_blocked: realtime_blocked.into(), ..FaultState::default() }
    }

    /// Returns whether the realtime port is blocked for the plan's share of headsets.
    pub(crate) fn realtime_blocked(&self) -> bool {
        self.realtime_blocked.load(Relaxed)
    }

    /// Returns whether the plan's share of headsets has an outage.
    pub(crate) fn in_outage(&self) -> bool {
        self.in_outage.load(Relaxed)
    }

    /// Returns how often the plan's share of headsets has changed its address.
    pub(crate) fn address_changes(&self) -> u32 {
        self.address_changes.load(Relaxed)
    }

    /// Returns when the last fault ended, µs; `None` if none has ended yet.
    pub(crate) fn last_fault_end(&self) -> Option<u64> {
        Some(self.last_fault_end.load(Relaxed)).filter(|last_fault_end| *last_fault_end > 0)
    }

    /// Records a fault that starts or ends at `now` (µs). Some faults
    /// need more than this record, such as the kill of the server: the caller carries them out.
    pub(crate) fn apply(&self, now: u64, fault: Fault) {
        match fault {
            Fault::BlockRealtime(on) => self.realtime_blocked.store(on, Relaxed),
            Fault::Outage(on) => self.in_outage.store(on, Relaxed),
            Fault::Move => _ = self.address_changes.fetch_add(1, Relaxed),
            _ => {}
        }
        let starts = matches!(
            fault,
            Fault::BlockRealtime(true) | Fault::Outage(true) | Fault::PauseServer(true)
        );
        if !starts {
            self.last_fault_end.store(now, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_ends_with_its_second_half_and_not_with_its_first() {
        type Halves = fn(bool) -> Fault;
        for fault in [Fault::BlockRealtime as Halves, Fault::Outage, Fault::PauseServer] {
            let state = FaultState::new(false);
            state.apply(1, fault(true));
            assert_eq!(state.last_fault_end(), None, "{:?}", fault(true));
            state.apply(2, fault(false));
            assert_eq!(state.last_fault_end(), Some(2), "{:?}", fault(false));
            assert!(FaultPlan::new(vec![(Duration::ZERO, fault(true))]).breaks());
        }
    }
}

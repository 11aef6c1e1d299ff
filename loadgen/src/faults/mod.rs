//! What happens on purpose: a blocked realtime port, a dark network, a killed server, many who come.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Something that happens to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The headsets of the plan's share lose the realtime port, or have it back.
    BlockRealtime(bool),
    /// No datagrams of the plan's share of headsets get through on either plane, or again they do. When it
    /// gets dark, the process of every second of these dies; when it is over, it is started again with
    /// its ticket.
    Outage(bool),
    /// The plan's share of headsets take another address, on both planes at once.
    Move,
    /// The server's process is killed and started again.
    RestartServer,
    /// So many others join at once, in rooms of their own, and stay.
    JoinStorm(u32),
    /// A late joiner comes into the first room and puts so many objects into it.
    AddObjects(u32),
    /// So many late joiners come into the first room, evenly spread over the time, and stay.
    LateJoiners(u32, Duration),
    /// So many others look for a room at once, or make one.
    Match(u32),
    /// So many pairs of others call each other at once.
    Calls(u32),
    /// Everybody in the first room hands in the roster that he has at this moment.
    CollectRosters,
}

/// What goes wrong in a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct FaultPlan {
    /// Share of the headsets that a blocked realtime port, the dark or a move concerns, 0 to 1.
    pub(crate) fault_share: f64,
    /// It is blocked from the beginning.
    pub(crate) realtime_blocked: bool,
    /// What happens when, from the window's start on, in order.
    pub(crate) script: Vec<(Duration, Fault)>,
}

impl FaultPlan {
    /// Whether there is anything to recover from.
    pub(crate) fn breaks(&self) -> bool {
        use Fault::{BlockRealtime, Move, Outage, RestartServer};
        let breaks = |fault| matches!(fault, BlockRealtime(_) | Outage(_) | Move | RestartServer);
        self.script.iter().any(|(_, fault)| breaks(*fault))
    }

    /// Late joiners that will come into the first room.
    pub(crate) fn late_joiners(&self) -> u32 {
        let count = |fault: &Fault| match fault {
            Fault::AddObjects(_) => 1,
            Fault::LateJoiners(count, _) => *count,
            _ => 0,
        };
        self.script.iter().map(|(_, fault)| count(fault)).sum()
    }

    /// Others who will look for rooms or call each other.
    pub(crate) fn callers(&self) -> u32 {
        let count = |fault: &Fault| match fault {
            Fault::Match(count) => *count,
            Fault::Calls(pairs) => 2 * pairs,
            _ => 0,
        };
        self.script.iter().map(|(_, fault)| count(fault)).sum()
    }

    /// Whether others will join at once.
    pub(crate) fn storms(&self) -> bool {
        self.script.iter().any(|(_, fault)| matches!(fault, Fault::JoinStorm(_)))
    }

    /// Whether something is to happen that only the simulated network can do.
    pub(crate) fn needs_network(&self) -> bool {
        self.script.iter().any(|(_, fault)| matches!(fault, Fault::Outage(true) | Fault::Move))
    }
}

/// What is broken now. Single words, each a fact of its own.
#[derive(Debug)]
pub(crate) struct FaultState {
    realtime_blocked: AtomicBool,
    in_outage: AtomicBool,
    address_changes: AtomicU32,
    /// Times that it got dark.
    pub(crate) outages: AtomicU32,
    /// When the last fault was over (the server's kill is over at once), µs; `u64::MAX` before.
    last_fault_end: AtomicU64,
}

impl FaultState {
    pub(crate) fn new(realtime_blocked: bool) -> Self {
        FaultState {
            realtime_blocked: AtomicBool::new(realtime_blocked),
            in_outage: AtomicBool::new(false),
            address_changes: AtomicU32::new(0),
            outages: AtomicU32::new(0),
            last_fault_end: AtomicU64::new(u64::MAX),
        }
    }

    /// The realtime port is blocked for the plan's share of headsets.
    pub(crate) fn realtime_blocked(&self) -> bool {
        self.realtime_blocked.load(Relaxed)
    }

    /// It is dark for the plan's share of headsets.
    pub(crate) fn in_outage(&self) -> bool {
        self.in_outage.load(Relaxed)
    }

    /// How often the plan's share of headsets have taken another address.
    pub(crate) fn address_changes(&self) -> u32 {
        self.address_changes.load(Relaxed)
    }

    /// When the last fault was over, µs.
    pub(crate) fn last_fault_end(&self) -> Option<u64> {
        Some(self.last_fault_end.load(Relaxed)).filter(|last_fault_end| *last_fault_end < u64::MAX)
    }

    /// It happens at `now` (µs). What cannot be done from here is the caller's.
    pub(crate) fn start(&self, now: u64, fault: Fault) {
        match fault {
            Fault::BlockRealtime(on) => self.realtime_blocked.store(on, Relaxed),
            Fault::Outage(on) => {
                self.in_outage.store(on, Relaxed);
                self.outages.fetch_add(u32::from(on), Relaxed);
            }
            Fault::Move => {
                self.address_changes.fetch_add(1, Relaxed);
            }
            _ => {}
        }
        if !matches!(fault, Fault::BlockRealtime(true) | Fault::Outage(true)) {
            self.last_fault_end.store(now, Relaxed);
        }
    }
}

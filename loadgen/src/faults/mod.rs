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
    Dark(bool),
    /// The plan's share of headsets take another address, on both planes at once.
    Move,
    /// The server's process is killed and started again.
    RestartServer,
    /// So many others join at once, in rooms of their own, and stay.
    JoinStorm(u32),
    /// A late joiner comes into the first room and puts so many objects into it.
    Furnish(u32),
    /// So many late joiners come into the first room, evenly spread over the time, and stay.
    LateJoiners(u32, Duration),
    /// So many others look for a room at once, or make one.
    Match(u32),
    /// So many pairs of others call each other at once.
    Calls(u32),
    /// Everybody in the first room hands in the roster that he has at this moment.
    Inspect,
}

/// What goes wrong in a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trouble {
    /// Share of the headsets that a blocked realtime port, the dark or a move concerns, 0 to 1.
    pub(crate) share: f64,
    /// It is blocked from the beginning.
    pub(crate) blocked: bool,
    /// What happens when, from the window's start on, in order.
    pub(crate) script: Vec<(Duration, Fault)>,
}

impl Trouble {
    /// Whether there is anything to recover from.
    pub(crate) fn breaks(&self) -> bool {
        use Fault::{BlockRealtime, Dark, Move, RestartServer};
        let breaks = |fault| matches!(fault, BlockRealtime(_) | Dark(_) | Move | RestartServer);
        self.script.iter().any(|(_, fault)| breaks(*fault))
    }

    /// Late joiners that will come into the first room.
    pub(crate) fn late_joiners(&self) -> u32 {
        let come = |fault: &Fault| match fault {
            Fault::Furnish(_) => 1,
            Fault::LateJoiners(count, _) => *count,
            _ => 0,
        };
        self.script.iter().map(|(_, fault)| come(fault)).sum()
    }

    /// Others who will look for rooms or call each other.
    pub(crate) fn callers(&self) -> u32 {
        let come = |fault: &Fault| match fault {
            Fault::Match(count) => *count,
            Fault::Calls(pairs) => 2 * pairs,
            _ => 0,
        };
        self.script.iter().map(|(_, fault)| come(fault)).sum()
    }

    /// Whether others will join at once.
    pub(crate) fn storms(&self) -> bool {
        self.script.iter().any(|(_, fault)| matches!(fault, Fault::JoinStorm(_)))
    }

    /// Whether something is to happen that only the simulated network can do.
    pub(crate) fn needs_network(&self) -> bool {
        self.script.iter().any(|(_, fault)| matches!(fault, Fault::Dark(true) | Fault::Move))
    }
}

/// What is broken now. Single words, each a fact of its own.
#[derive(Debug)]
pub(crate) struct Faults {
    realtime_blocked: AtomicBool,
    dark: AtomicBool,
    moves: AtomicU32,
    /// Times that it got dark.
    pub(crate) darknesses: AtomicU32,
    /// When the last fault was over (the server's kill is over at once), µs; `u64::MAX` before.
    over: AtomicU64,
}

impl Faults {
    pub(crate) fn new(realtime_blocked: bool) -> Self {
        Faults {
            realtime_blocked: AtomicBool::new(realtime_blocked),
            dark: AtomicBool::new(false),
            moves: AtomicU32::new(0),
            darknesses: AtomicU32::new(0),
            over: AtomicU64::new(u64::MAX),
        }
    }

    /// The realtime port is blocked for the plan's share of headsets.
    pub(crate) fn realtime_blocked(&self) -> bool {
        self.realtime_blocked.load(Relaxed)
    }

    /// It is dark for the plan's share of headsets.
    pub(crate) fn dark(&self) -> bool {
        self.dark.load(Relaxed)
    }

    /// How often the plan's share of headsets have taken another address.
    pub(crate) fn moves(&self) -> u32 {
        self.moves.load(Relaxed)
    }

    /// When the last fault was over, µs.
    pub(crate) fn over(&self) -> Option<u64> {
        Some(self.over.load(Relaxed)).filter(|over| *over < u64::MAX)
    }

    /// It happens at `now` (µs). What cannot be done from here is the caller's.
    pub(crate) fn happen(&self, now: u64, fault: Fault) {
        match fault {
            Fault::BlockRealtime(on) => self.realtime_blocked.store(on, Relaxed),
            Fault::Dark(on) => {
                self.dark.store(on, Relaxed);
                self.darknesses.fetch_add(u32::from(on), Relaxed);
            }
            Fault::Move => {
                self.moves.fetch_add(1, Relaxed);
            }
            _ => {}
        }
        if !matches!(fault, Fault::BlockRealtime(true) | Fault::Dark(true)) {
            self.over.store(now, Relaxed);
        }
    }
}

//! A plain thread that drives the realtime side of many headsets.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use nucleus_net::RecvBatch;

use super::headset::{Headset, HeadsetStart, Wire};
use crate::check::ledger::Ledger;
use crate::check::outcome::WorkerOutcome;
use crate::check::times::Times;
use crate::load::channel::Channel;
use crate::load::plan::Plan;
use crate::shared::RunShared;

/// Returns the time between two reads of a headset's socket, µs. The time is 40 ms at least: if the
/// server flushes every 10 ms, a read then returns four datagrams. Rare reads cost no accuracy,
/// because the kernel stamps the arrival. The time is 100 ms at most, because each link waits for
/// answers. In between, the thread makes 25,000 reads a second.
fn read_interval(headsets: u64) -> u64 {
    (40 * headsets).clamp(40_000, 100_000)
}
/// Largest number of sockets that are read in one turn.
const READS_PER_TURN: u64 = 16;
/// Longest time that a turn of reads continues after a send has become due, µs. One read takes 5 µs
/// in a small room and 100 µs in a large one.
const MAX_TURN: u64 = 150;
/// The time from a fault's end until the headsets' round-trip times are recorded, µs.
const ROUND_TRIP_WAIT: u64 = 5_000_000;
/// The longest and the shortest sleep, µs. A thousand headsets are driven in steps of 1 ms: shorter
/// steps would cost a context switch for every send or two.
const LONGEST_SLEEP: u64 = 1_000;
const SHORTEST_SLEEP: u64 = 50;

/// A command of the session side to a realtime thread.
pub(crate) enum WorkerCommand {
    /// Starts a headset that has a new session.
    Start(Box<HeadsetStart>),
    /// Stops a headset whose process has died, until its next start.
    Died(u32),
    /// Handles a realtime datagram that arrived inside a headset's session.
    Datagram {
        headset: u32,
        /// µs.
        arrival: u64,
        bytes: Bytes,
    },
}

/// Commands that may wait for the thread. Further datagrams are dropped, as in a full socket
/// buffer.
const COMMAND_QUEUE: usize = 1 << 16;

/// The state of a realtime thread: its headsets, and the ledger of their messages.
pub(crate) struct Worker {
    plan: Arc<Plan>,
    shared: Arc<RunShared>,
    commands: mpsc::Receiver<WorkerCommand>,
    headsets: Vec<Headset>,
    /// The index in `headsets`, by the headset's number.
    indices: HashMap<u32, u32>,
    wire: Wire,
    input: RecvBatch,
    /// The times at which headsets are due, µs, each with the headset's index. An entry whose time
    /// differs from the headset's `wake` is void.
    queue: BinaryHeap<Reverse<(u64, u32)>>,
    /// The index of the headset whose socket was read last.
    cursor: usize,
    /// When credit for reads was last added, µs.
    credited_at: u64,
    /// The credit for reads, in sockets times µs.
    credit: u64,
    open_failures: BTreeMap<String, u64>,
    /// Headsets on the fallback at the window's end, after which no headset sends messages.
    on_fallback: Option<u64>,
    /// The round-trip times of the headsets, µs, and the end of the fault after which they were
    /// recorded; `None` until they are.
    round_trips: Option<(u64, Times)>,
}

impl Worker {
    /// Starts the thread with this number, which runs until the run is finished. Returns its command
    /// queue and its handle.
    ///
    /// # Errors
    ///
    /// If the system cannot start a thread.
    pub(crate) fn start(
        number: u32,
        plan: &Arc<Plan>,
        shared: &Arc<RunShared>,
    ) -> io::Result<(mpsc::SyncSender<WorkerCommand>, JoinHandle<WorkerOutcome>)> {
        let (sender, commands) = mpsc::sync_channel(COMMAND_QUEUE);
        let worker = Worker {
            plan: plan.clone(),
            shared: shared.clone(),
            commands,
            headsets: Vec::new(),
            indices: HashMap::new(),
            wire: Wire::new(Ledger::new(shared.window(), plan.clone()), plan.time_slots),
            input: RecvBatch::new(true),
            queue: BinaryHeap::new(),
            cursor: 0,
            credited_at: shared.clock.now(),
            credit: 0,
            open_failures: BTreeMap::new(),
            on_fallback: None,
            round_trips: None,
        };
        let name = format!("realtime-{number}");
        let thread = thread::Builder::new().name(name).spawn(move || worker.run())?;
        Ok((sender, thread))
    }

    /// Runs until the run is finished, and returns the measurements.
    fn run(mut self) -> WorkerOutcome {
        while !self.shared.finished() {
            let now = self.shared.clock.now();
            self.wire.ledger.window = self.shared.window();
            self.handle_commands(now);
            self.send_due(now);
            self.receive_due(now);
            self.publish();
            if now >= self.wire.ledger.window.end && self.on_fallback.is_none() {
                self.on_fallback = Some(self.count_fallback(now));
            }
            self.record_round_trips(now);
            if self.credit < read_interval(self.headsets.len() as u64) {
                let quantum = (self.headsets.len() as u64).clamp(SHORTEST_SLEEP, LONGEST_SLEEP);
                nucleus_net::sleep_until(self.next_due().clamp(now + quantum, now + LONGEST_SLEEP));
            }
        }
        self.outcome()
    }

    fn handle_commands(&mut self, now: u64) {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                WorkerCommand::Start(start) => self.admit(*start, now),
                WorkerCommand::Died(headset) => {
                    if let Some(index) = self.indices.get(&headset) {
                        self.headsets[*index as usize].dead = true;
                    }
                }
                WorkerCommand::Datagram { headset, arrival, bytes } => {
                    let Some(index) = self.indices.get(&headset).copied() else { continue };
                    let headset = &mut self.headsets[index as usize];
                    headset.handle_session_datagram(arrival, &bytes, &mut self.wire);
                    self.requeue(index, 0);
                }
            }
        }
    }

    fn admit(&mut self, start: HeadsetStart, now: u64) {
        let (number, slot) = (start.headset, start.slot);
        let opened = if let Some(index) = self.indices.get(&number).copied() {
            self.wire.ledger.readmit(index, slot);
            self.headsets[index as usize].replace_link(start, now).map(|()| index)
        } else {
            let index = self.headsets.len() as u32;
            Headset::open(&self.plan, self.shared.clone(), start, index, now).map(|headset| {
                self.wire.ledger.admit(self.plan.source(number), slot, now);
                self.headsets.push(headset);
                self.indices.insert(number, index);
                index
            })
        };
        match opened {
            Ok(index) => self.requeue(index, 0),
            Err(error) => *self.open_failures.entry(error.to_string()).or_default() += 1,
        }
    }

    fn send_due(&mut self, now: u64) {
        while let Some(Reverse((at, index))) = self.queue.peek().copied() {
            if at > now {
                break;
            }
            self.queue.pop();
            let headset = &mut self.headsets[index as usize];
            if headset.wake != at {
                continue;
            }
            // Read the clock for each headset, because a turn of a thousand headsets takes
            // milliseconds.
            let now = self.shared.clock.now();
            headset.run_due(now, &mut self.wire, &mut self.input);
            headset.wake = u64::MAX;
            // Wait at least 1 µs, so that a timer that stays due cannot block the loop.
            self.requeue(index, now + 1);
        }
    }

    fn receive_due(&mut self, now: u64) {
        let all = self.headsets.len() as u64;
        // The credit is limited, so that even a late turn reads each socket at most once.
        let earned = self.credit + now.saturating_sub(self.credited_at) * all;
        let interval = read_interval(all);
        self.credit = earned.min(all * interval);
        self.credited_at = now;
        let count = (self.credit / interval).min(READS_PER_TURN);
        let mut end = u64::MAX;
        for _ in 0..count {
            let at = self.shared.clock.now();
            end = end.min(at + MAX_TURN);
            if at >= end && self.next_due() <= at {
                break;
            }
            self.credit -= interval;
            self.cursor = (self.cursor + 1) % self.headsets.len();
            let headset = &mut self.headsets[self.cursor];
            headset.receive(at, &mut self.wire, &mut self.input);
            self.requeue(self.cursor as u32, 0);
        }
    }

    /// Returns when the first headset is due, µs.
    fn next_due(&self) -> u64 {
        self.queue.peek().map_or(u64::MAX, |Reverse((at, _))| *at)
    }

    /// Queues a headset again if it is due sooner than its entry in the queue says, for `earliest`
    /// (µs) at the earliest.
    fn requeue(&mut self, index: u32, earliest: u64) {
        let headset = &mut self.headsets[index as usize];
        let due = headset.next_due(self.wire.ledger.window.end).max(earliest);
        if due < headset.wake {
            headset.wake = due;
            self.queue.push(Reverse((due, index)));
        }
    }

    fn count_fallback(&self, now: u64) -> u64 {
        self.headsets.iter().filter(|headset| headset.on_fallback(now)).count() as u64
    }

    /// Records the round-trip times that headsets have measured since a fault's end, once after each
    /// fault.
    fn record_round_trips(&mut self, now: u64) {
        let Some(fault_end) = self.shared.faults.last_fault_end() else { return };
        let is_recorded = self.round_trips.as_ref().is_some_and(|(after, _)| *after == fault_end);
        if is_recorded || now < fault_end + ROUND_TRIP_WAIT {
            return;
        }
        let mut round_trips = Times::default();
        let known = |headset: &Headset| headset.round_trip_since(fault_end);
        for round_trip in self.headsets.iter().filter_map(known) {
            round_trips.record(round_trip.as_micros() as u64);
        }
        self.round_trips = Some((fault_end, round_trips));
    }

    fn publish(&mut self) {
        let progress = &self.shared.progress;
        progress.sent.fetch_add(std::mem::take(&mut self.wire.ledger.sent), Relaxed);
        progress.delivered.fetch_add(std::mem::take(&mut self.wire.ledger.delivered), Relaxed);
    }

    fn outcome(mut self) -> WorkerOutcome {
        let window = self.shared.window();
        self.wire.ledger.window = window;
        let now = self.shared.clock.now();
        let fault_end = self.shared.faults.last_fault_end().unwrap_or(u64::MAX);
        let mut outcome = WorkerOutcome {
            on_fallback: self.on_fallback.unwrap_or_else(|| self.count_fallback(now)),
            round_trips: self.round_trips.map(|(_, found)| found).unwrap_or_default(),
            kernel_drops: self.headsets.iter().map(Headset::kernel_drops).sum(),
            open_failures: self.open_failures,
            sockets: self.wire.counts,
            messages: self.wire.ledger.close(),
            ..WorkerOutcome::default()
        };
        for headset in &self.headsets {
            if let Some(at) = headset.realtime_back_at.filter(|at| *at >= fault_end) {
                outcome.realtime_back.record(at - fault_end);
            }
            let scheduled = headset.scheduled(window);
            for channel in Channel::ALL {
                let withheld = headset.withheld.since_start(channel);
                let tally = &mut outcome.messages.channels[channel as usize];
                tally.superseded += withheld.superseded;
                tally.suppressed += withheld.suppressed;
                outcome.scheduled[channel as usize] += scheduled[channel as usize];
            }
            outcome.fallbacks += headset.fallbacks();
            outcome.fell_back += u64::from(headset.fallbacks() > 0);
            outcome.moved += u64::from(headset.moved);
        }
        outcome
    }
}

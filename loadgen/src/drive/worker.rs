//! A plain thread that drives the realtime side of many headsets.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use nucleus_net::RecvBatch;

use super::headset::{Headset, HeadsetStart, Wire};
use crate::check::ledger::Ledger;
use crate::check::outcome::WorkerOutcome;
use crate::check::tally;
use crate::load::channel::Channel;
use crate::load::plan::Plan;
use crate::shared::RunShared;

/// µs between two looks at a headset's socket: four datagrams a call at a server's tick of 10 ms. The
/// arrival is the kernel's stamp, so coming by rarely costs no accuracy. Where there are many sockets,
/// each is looked at as often as 25,000 looks a second allow, but not more rarely than is good for its
/// link, which waits for answers.
fn listen_interval(headsets: u64) -> u64 {
    (40 * headsets).clamp(40_000, 100_000)
}
/// Sockets that are looked at in one turn.
const LISTENS_PER_TURN: u64 = 16;
/// µs after which a send that has become due ends a turn: one look takes 5 µs in a small room and 100 µs
/// in a large one.
const TURN: u64 = 150;
/// Longest and shortest sleep in µs. A thousand headsets are served in steps of 1 ms: finer ones
/// would cost a context switch for every send or two.
const LONGEST_SLEEP: u64 = 1_000;
const SHORTEST_SLEEP: u64 = 50;

/// What the session side tells a thread.
pub(crate) enum WorkerCommand {
    /// A headset has joined or come back.
    Start(Box<HeadsetStart>),
    /// A headset's process has died; it says and hears nothing until it starts again.
    Died(u32),
    /// A realtime datagram came inside a headset's session, at this time (µs).
    Datagram(u32, u64, Bytes),
}

/// Orders that may wait: beyond it datagrams are dropped, as a full socket buffer would.
pub(crate) const COMMAND_QUEUE: usize = 1 << 16;

/// The thread's state: its headsets, and what they have sent and received.
pub(crate) struct Worker {
    plan: Arc<Plan>,
    shared: Arc<RunShared>,
    commands: mpsc::Receiver<WorkerCommand>,
    headsets: Vec<Headset>,
    /// Place in `headsets` by headset.
    indices: HashMap<u32, u32>,
    ledger: Ledger,
    wire: Wire,
    input: RecvBatch,
    /// When each headset has something to do; entries that disagree with its `wake` are void.
    queue: BinaryHeap<Reverse<(u64, u32)>>,
    /// The socket that was looked at last, when looks were last earned, and those earned and not yet
    /// spent, in sockets times µs.
    cursor: usize,
    listened: u64,
    credit: u64,
    open_failures: BTreeMap<String, u64>,
    /// Headsets on the fallback at the window's end; afterwards everybody is silent.
    on_fallback: Option<u64>,
}

impl Worker {
    pub(crate) fn new(
        plan: Arc<Plan>,
        shared: Arc<RunShared>,
        commands: mpsc::Receiver<WorkerCommand>,
    ) -> Self {
        let ledger = Ledger::new(shared.window(), plan.clone());
        let listened = shared.clock.now();
        Worker {
            plan,
            shared,
            commands,
            headsets: Vec::new(),
            indices: HashMap::new(),
            ledger,
            wire: Wire::new(),
            input: RecvBatch::new(true),
            queue: BinaryHeap::new(),
            cursor: 0,
            listened,
            credit: 0,
            open_failures: BTreeMap::new(),
            on_fallback: None,
        }
    }

    /// Until the run is finished.
    pub(crate) fn run(mut self) -> WorkerOutcome {
        while !self.shared.finished() {
            let now = self.shared.clock.now();
            self.ledger.window = self.shared.window();
            self.handle_commands(now);
            self.send_due(now);
            self.receive_due(now);
            self.publish();
            if now >= self.ledger.window.end && self.on_fallback.is_none() {
                self.on_fallback = Some(self.count_fallback(now));
            }
            if self.credit < listen_interval(self.headsets.len() as u64) {
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
                WorkerCommand::Datagram(headset, arrival, bytes) => {
                    let Some(index) = self.indices.get(&headset).copied() else { continue };
                    let headset = &mut self.headsets[index as usize];
                    headset.handle_session_datagram(
                        arrival,
                        &bytes,
                        &mut self.ledger,
                        &mut self.wire,
                    );
                    self.requeue(index);
                }
            }
        }
    }

    fn admit(&mut self, start: HeadsetStart, now: u64) {
        let (number, slot) = (start.headset, start.slot);
        let opened = if let Some(index) = self.indices.get(&number).copied() {
            self.ledger.readmit(index, slot);
            self.headsets[index as usize].replace_link(start, now).map(|()| index)
        } else {
            let index = self.headsets.len() as u32;
            Headset::open(&self.plan, self.shared.clone(), start, index, now).map(|headset| {
                self.ledger.admit(self.plan.source(number), slot, now);
                self.headsets.push(headset);
                self.indices.insert(number, index);
                index
            })
        };
        match opened {
            Ok(index) => self.requeue(index),
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
            // A turn of a thousand takes milliseconds: each send is stamped for itself.
            let now = self.shared.clock.now();
            headset.run_due(now, &mut self.ledger, &mut self.wire, &mut self.input);
            headset.wake = u64::MAX;
            self.requeue_after(now, index);
        }
    }

    fn receive_due(&mut self, now: u64) {
        let all = self.headsets.len() as u64;
        // Once round is enough, however late it is.
        let earned = self.credit + now.saturating_sub(self.listened) * all;
        let interval = listen_interval(all);
        self.credit = earned.min(all * interval);
        self.listened = now;
        let count = (self.credit / interval).min(LISTENS_PER_TURN);
        let mut end = u64::MAX;
        for _ in 0..count {
            let at = self.shared.clock.now();
            end = end.min(at + TURN);
            if at >= end && self.next_due() <= at {
                break;
            }
            self.credit -= interval;
            self.cursor = (self.cursor + 1) % self.headsets.len();
            let headset = &mut self.headsets[self.cursor];
            headset.receive(at, &mut self.ledger, &mut self.wire, &mut self.input);
            self.requeue(self.cursor as u32);
        }
    }

    /// When the first headset has something to do, µs.
    fn next_due(&self) -> u64 {
        self.queue.peek().map_or(u64::MAX, |Reverse((at, _))| *at)
    }

    /// Puts a headset into the queue where it has become due sooner than the queue knows.
    fn requeue(&mut self, index: u32) {
        let headset = &mut self.headsets[index as usize];
        let due = headset.next_due(self.ledger.window.end);
        if due < headset.wake {
            headset.wake = due;
            self.queue.push(Reverse((due, index)));
        }
    }

    /// The same after its turn: a timer that insists waits a little, so that it cannot spin.
    fn requeue_after(&mut self, now: u64, index: u32) {
        let headset = &mut self.headsets[index as usize];
        let due = headset.next_due(self.ledger.window.end).max(now + 1);
        if due < u64::MAX {
            headset.wake = due;
            self.queue.push(Reverse((due, index)));
        }
    }

    fn count_fallback(&self, now: u64) -> u64 {
        self.headsets.iter().filter(|headset| headset.on_fallback(now)).count() as u64
    }

    fn publish(&mut self) {
        let progress = &self.shared.progress;
        progress.sent.fetch_add(std::mem::take(&mut self.ledger.sent), Relaxed);
        progress.delivered.fetch_add(std::mem::take(&mut self.ledger.delivered), Relaxed);
    }

    fn outcome(mut self) -> WorkerOutcome {
        for channel in Channel::ALL {
            let tally = &mut self.ledger.channels[channel as usize];
            for headset in &self.headsets {
                let withheld = headset.withheld.since_start(channel);
                tally.superseded += withheld.superseded;
                tally.suppressed += withheld.suppressed;
            }
        }
        let mut realtime_back = tally::histogram();
        let fault_end = self.shared.faults.last_fault_end().unwrap_or(u64::MAX);
        for headset in &self.headsets {
            if let Some(at) = headset.realtime_back_at.filter(|at| *at >= fault_end) {
                realtime_back.saturating_record(at - fault_end);
            }
        }
        let now = self.shared.clock.now();
        WorkerOutcome {
            realtime_back,
            on_fallback: self.on_fallback.unwrap_or_else(|| self.count_fallback(now)),
            fallbacks: self.headsets.iter().map(Headset::fallbacks).sum(),
            fell_back: self.headsets.iter().filter(|h| h.fallbacks() > 0).count() as u64,
            moved: self.headsets.iter().filter(|h| h.moved).count() as u64,
            gaps: self.ledger.gaps(),
            near_poses: self.ledger.near_poses,
            unaffected_latency: self.ledger.unaffected_latency,
            channels: self.ledger.channels,
            send_lag: self.ledger.send_lag,
            datagrams_in: self.wire.datagrams_in,
            unsent: self.wire.unsent,
            rejected: self.wire.rejected,
            kernel_drops: self.headsets.iter().map(Headset::kernel_drops).sum(),
            open_failures: self.open_failures,
        }
    }
}

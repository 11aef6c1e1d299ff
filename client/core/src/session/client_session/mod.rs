//! [`ClientSession`]: all sessions of one client with its servers, one after the other. It joins,
//! reads and writes the streams, and comes back after a loss. Rooms and social sessions use it.
//!
//! The owner passes what has arrived to [`ClientSession::handle`]. It carries out the
//! [`SessionOutput`]s, and applies the [`SessionStep`]s to what it knows.

mod joining;
mod streams;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use nucleus_protocol::session::{Code, Features, Lane, Leave, Schema, encode};
use nucleus_protocol::time::Time;

use super::end::ConnectionEnd;
use super::incoming::StreamSource;
use super::opening::{endpoints, hello};
use super::step::{SessionInput, SessionOutput, SessionPurpose, SessionStep};
use super::tries::Tries;
use super::{
    Capabilities, ClientOptions, JoinError, LONGEST_PATIENCE, ProtocolError, may_reconnect,
};
use joining::{Attempt, Joining};
use streams::SessionStreams;

/// Longest time from the end of one of the server's streams to the close that gives the reason. The
/// server sends both at once, so this allows for lost packets.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest time that a leave waits for the server's confirmation.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// Where the client is.
#[derive(Debug)]
enum Phase {
    /// Before the first join.
    Idle,
    /// Between two tries; until then nothing is to be done.
    Pausing(Time),
    Joining(Joining),
    Running,
    /// The client has said that it leaves, and waits for the close.
    Leaving(Time),
    Closed,
}

/// All sessions of one client with its servers, one after the other.
///
/// The owner passes what has arrived to [`Self::handle`] and calls [`Self::handle_timeout`] at
/// [`Self::deadline`]. It carries out the outputs of [`Self::poll_output`], and applies the steps of
/// [`Self::next_step`] to what it knows.
pub struct ClientSession {
    purpose: SessionPurpose,
    agent: String,
    capabilities: Capabilities,
    patience: Duration,
    /// Random numbers for pauses are derived from it.
    seed: u64,
    phase: Phase,
    tries: Tries,
    /// The address that an error names: the newest that was tried.
    server_address: SocketAddr,
    streams: Option<SessionStreams>,
    /// Largest sequence of an event that was handed on, by lane, at the end of the newest session.
    last_sequences: [u64; 2],
    /// Whether messages are wanted. Otherwise they stay at the server, and QUIC's flow control
    /// makes the senders wait.
    is_reading: bool,
    steps: VecDeque<SessionStep>,
    outputs: VecDeque<SessionOutput>,
}

impl ClientSession {
    /// Creates a client that is at no server yet. Its patience is at most [`LONGEST_PATIENCE`].
    pub fn new(
        purpose: SessionPurpose,
        server: &str,
        agent: String,
        capabilities: Capabilities,
        config: ClientOptions,
    ) -> Self {
        Self {
            purpose,
            agent,
            capabilities,
            patience: config.patience.min(LONGEST_PATIENCE),
            seed: config.seed,
            phase: Phase::Idle,
            tries: Tries::first(server),
            server_address: ([0; 4], 0).into(),
            streams: None,
            last_sequences: [0; 2],
            is_reading: true,
            steps: VecDeque::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Begins the first join.
    pub fn start(&mut self, now: Time) {
        if matches!(self.phase, Phase::Idle) {
            self.next_try(now);
        }
    }

    /// Handles an input.
    pub fn handle(&mut self, now: Time, input: SessionInput<'_>) {
        match input {
            SessionInput::Resolved { first, count } => self.resolved(now, first, count),
            SessionInput::Connected(facts) => self.connected(facts),
            SessionInput::NotConnected(error) => {
                if matches!(&self.phase, Phase::Joining(_)) {
                    self.attempt_failed(now, error);
                }
            }
            SessionInput::Ending { is_final } => {
                if let Some(streams) = &mut self.streams {
                    streams.is_draining |= is_final;
                }
            }
            SessionInput::Closed(end) => self.closed(now, end),
            input => {
                let written = self.streams.as_mut().and_then(|streams| streams.handle(input));
                self.steps.extend(written.map(SessionStep::Written));
                self.read_answer(now);
            }
        }
    }

    /// Does the work that is due at `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        match &self.phase {
            Phase::Pausing(until) if *until <= now => self.next_try(now),
            Phase::Joining(joining) => {
                let over =
                    self.tries.deadline().map_or(joining.deadline, |d| d.min(joining.deadline));
                if matches!(joining.attempt, Attempt::Decided) {
                    return;
                }
                if over <= now {
                    let server = self.server_address;
                    self.give_up_attempt(JoinError::TimedOut { server });
                } else {
                    self.attempt_timeout(now);
                }
            }
            Phase::Running => {
                let is_lost = |s: &SessionStreams| s.lost_at.is_some_and(|at| at <= now);
                if self.is_reading && self.streams.as_ref().is_some_and(is_lost) {
                    self.stream_ended(now);
                }
            }
            Phase::Leaving(until) if *until <= now => self.close(),
            _ => {}
        }
    }

    /// Returns when [`Self::handle_timeout`] must be called next.
    pub fn deadline(&self) -> Option<Time> {
        match &self.phase {
            Phase::Pausing(until) | Phase::Leaving(until) => Some(*until),
            Phase::Joining(joining) => {
                let attempt = match joining.attempt {
                    Attempt::Pausing(until)
                    | Attempt::Connecting { until, .. }
                    | Attempt::Opening { until, .. } => Some(until),
                    // The owner waits for a token, as long as the tries last.
                    Attempt::Decided => return self.tries.deadline(),
                };
                let all = [Some(joining.deadline), attempt, self.tries.deadline()];
                all.into_iter().flatten().min()
            }
            // While nothing is read, the close may wait behind other bytes.
            Phase::Running if self.is_reading => self.streams.as_ref()?.lost_at,
            Phase::Running => None,
            Phase::Idle | Phase::Closed => None,
        }
    }

    /// Returns the next output.
    pub fn poll_output(&mut self) -> Option<SessionOutput> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        let streams = self.streams.as_mut()?;
        if let Some(number) = streams.incoming.take_refused() {
            return Some(SessionOutput::Refuse(number));
        }
        streams.outgoing.poll().map(|(target, action)| SessionOutput::Stream(target, action))
    }

    /// Returns the next step. The owner must apply each step before it asks for the next one.
    pub fn next_step(&mut self, now: Time) -> Option<SessionStep> {
        if let Some(step) = self.steps.pop_front() {
            return Some(step);
        }
        let reads = self.reads();
        let streams = match self.phase {
            Phase::Running | Phase::Leaving(_) => self.streams.as_mut()?,
            _ => return None,
        };
        if !reads {
            // What was not read comes again with the resume.
            let (code, text) = streams.end.take()?.reason();
            self.lost(now, code, text);
            return self.steps.pop_front();
        }
        match streams.incoming.next() {
            Ok(Some(item)) => return Some(SessionStep::Received(item)),
            Ok(None) => {}
            Err(error) => {
                self.fail(error);
                return self.steps.pop_front();
            }
        }
        if streams.incoming.has_ended_stream {
            streams.lost_at.get_or_insert(now + CLOSE_TIMEOUT);
        }
        let (code, text) = streams.end.take()?.reason();
        self.lost(now, code, text);
        self.steps.pop_front()
    }

    /// Sets whether messages are wanted.
    pub fn set_reading(&mut self, is_reading: bool) {
        self.is_reading = is_reading;
    }

    /// Returns whether bytes of the stream are wanted now. The caller reads a stream only then.
    pub fn wants(&self, source: StreamSource) -> bool {
        match (&self.phase, &self.streams) {
            (Phase::Joining(_), Some(_)) => source == StreamSource::Control,
            (_, Some(streams)) => self.reads() && streams.incoming.wants(source),
            (_, None) => false,
        }
    }

    /// Returns whether the caller should accept a stream that the server opens.
    pub fn wants_stream(&self) -> bool {
        self.reads() && self.streams.as_ref().is_some_and(|s| s.incoming.wants_stream())
    }

    fn reads(&self) -> bool {
        let is_draining = self.streams.as_ref().is_some_and(|streams| streams.is_draining);
        self.is_reading
            || is_draining
            || matches!(self.phase, Phase::Joining(_) | Phase::Leaving(_))
    }

    /// Returns in which order the caller should read the streams: the smallest number first.
    pub fn rank(&self, source: StreamSource) -> u8 {
        self.streams.as_ref().map_or(0, |streams| streams.incoming.rank(source))
    }

    /// Answers [`SessionStep::Open`] with the encoded `Join` or `Enter`.
    pub fn open(&mut self, message: &[u8]) {
        let bytes = [&hello(&self.agent, &self.capabilities)[..], message].concat();
        if let Some(streams) = &mut self.streams {
            streams.outgoing.push_control(bytes.into());
        }
    }

    /// Answers [`SessionStep::Answered`]: the session has begun. `last_sequences` are those of
    /// earlier sessions, by lane; 0 for a new peer. `entries` is where clients enter again.
    pub fn begin(
        &mut self,
        features: Features,
        roster_version: u32,
        last_sequences: [u64; 2],
        entries: &[Vec<u8>],
    ) {
        self.phase = Phase::Running;
        self.tries.joined(endpoints(entries));
        if let Some(streams) = &mut self.streams {
            streams.incoming.features = features;
            streams.incoming.roster_version = roster_version;
            streams.incoming.last_sequences = last_sequences;
        }
    }

    /// Closes the session for good, because the server has broken the protocol.
    pub fn fail(&mut self, error: ProtocolError) {
        self.end(Code::Malformed, error.to_string());
    }

    /// Closes the session for good, with a reason for the server and the application.
    pub fn end(&mut self, code: Code, text: String) {
        if !matches!(self.phase, Phase::Closed) {
            self.outputs.push_back(SessionOutput::Close { code, text: text.clone() });
            self.steps.push_back(SessionStep::Closed { code: Some(code), text });
            self.end_session(Phase::Closed);
        }
    }

    /// Closes the session for good, because the application does not take its events. `code` is the
    /// server's reason for the loss before.
    pub fn end_untaken(&mut self, code: Option<Code>) {
        let text = "the application takes no events".to_owned();
        self.end(code.unwrap_or(Code::SlowConsumer), text);
    }

    /// Leaves by closing the connection at once, without waiting for an answer.
    pub fn close(&mut self) {
        if !matches!(self.phase, Phase::Closed) {
            let (code, text) = (Code::Leaving, String::new());
            self.outputs.push_back(SessionOutput::Close { code, text });
            let (code, text) = (Some(Code::Left), "closed by this client".to_owned());
            self.steps.push_back(SessionStep::Closed { code, text });
            self.end_session(Phase::Closed);
        }
    }

    /// Drops the streams, and keeps how far the events were handed on.
    fn end_session(&mut self, next: Phase) {
        if let Phase::Running | Phase::Leaving(_) = std::mem::replace(&mut self.phase, next)
            && let Some(streams) = self.streams.take()
        {
            self.last_sequences = streams.incoming.last_sequences;
        }
        self.streams = None;
    }

    /// Leaves: what was written before still arrives. [`SessionStep::Closed`] follows within 1 s.
    pub fn leave(&mut self, now: Time) {
        match (&self.phase, &mut self.streams) {
            (Phase::Running, Some(streams)) => {
                streams.outgoing.leave(encode(&Leave { code: Code::Left as u16 }).into());
                self.phase = Phase::Leaving(now + LEAVE_TIMEOUT);
            }
            (Phase::Leaving(_), _) => {}
            _ => self.close(),
        }
    }

    /// Returns whether the time to come back after a loss is over.
    pub fn is_return_over(&self, now: Time) -> bool {
        self.tries.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// Returns whether there is a session, and no leave of it.
    pub fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// Returns whether the client has said that it leaves, and waits for the close.
    pub fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving(_))
    }

    /// Returns whether the session is closed for good.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Returns whether a message of this schema may travel in this session.
    pub fn allows(&self, schema: Schema) -> bool {
        let features = self.streams.as_ref().map_or(Features::NONE, |s| s.incoming.features);
        features.contains(Features::needed_for(schema))
    }

    /// Sets the version of the roster. Events that waited for it are handed on.
    pub fn set_roster_version(&mut self, version: u32) {
        if let Some(streams) = &mut self.streams {
            streams.incoming.roster_version = version;
        }
    }

    /// Returns the largest sequence of an event that was handed on in this session or those that it
    /// resumes, by lane. Without a session, those of the newest one.
    pub fn last_sequences(&self) -> [u64; 2] {
        match (&self.phase, &self.streams) {
            (Phase::Running | Phase::Leaving(_), Some(streams)) => streams.incoming.last_sequences,
            _ => self.last_sequences,
        }
    }

    /// Returns whether few enough messages wait for the control stream.
    pub fn can_send(&self) -> bool {
        self.is_running() && self.streams.as_ref().is_some_and(|s| s.outgoing.can_push_control())
    }

    /// Sends a message on the control stream, after all earlier ones, see [`Self::can_send`].
    pub fn send(&mut self, message: Vec<u8>) {
        if let Some(streams) =
            self.streams.as_mut().filter(|_| matches!(self.phase, Phase::Running))
        {
            streams.outgoing.push_control(message.into());
        }
    }

    /// Returns whether a message may be written to a lane now.
    pub fn can_write(&self, lane: Lane) -> bool {
        let is_free = |streams: &SessionStreams| streams.outgoing.can_write(lane);
        self.is_running() && self.streams.as_ref().is_some_and(is_free)
    }

    /// Writes a message to a lane. [`SessionStep::Written`] follows.
    pub fn write(&mut self, lane: Lane, message: &[u8]) {
        if let Some(streams) = &mut self.streams {
            streams.outgoing.write(lane, message);
        }
    }

    fn closed(&mut self, now: Time, end: ConnectionEnd) {
        let is_opening =
            |phase: &Phase| matches!(phase, Phase::Joining(joining) if joining.is_opening());
        // The answer may have come together with the end.
        self.read_answer(now);
        if is_opening(&self.phase) {
            return self.attempt_failed(now, end.into_join_error(self.server_address));
        }
        if let Some(streams) = &mut self.streams {
            streams.end = Some(end);
        }
    }

    /// Handles a stream that the server has ended without closing the connection in time.
    fn stream_ended(&mut self, now: Time) {
        let end = self.streams.as_mut().and_then(|streams| streams.end.take());
        let (code, text) = end.map_or_else(
            || (None, "the server ended a stream without closing the session".to_owned()),
            ConnectionEnd::reason,
        );
        // To the server, a close with code 0 is a lost session, so the client can resume.
        self.outputs.push_back(SessionOutput::Close { code: Code::Left, text: text.clone() });
        self.lost(now, code, text);
    }

    /// Handles the end of a session.
    fn lost(&mut self, now: Time, code: Option<Code>, text: String) {
        let is_leaving = matches!(self.phase, Phase::Leaving(_));
        self.end_session(Phase::Closed);
        if is_leaving || !may_reconnect(code) || self.patience.is_zero() {
            self.steps.push_back(SessionStep::Closed { code, text });
            return;
        }
        let server = self.server_address;
        self.tries.begin_return(now, self.patience, JoinError::TimedOut { server });
        self.steps.push_back(SessionStep::Lost { code, text });
        self.next_try(now);
    }

    /// Returns the next random number (SplitMix64).
    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

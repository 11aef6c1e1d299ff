//! How a [`ClientSession`] joins: the attempts at one server, and the next server.

use std::net::SocketAddr;
use std::time::Duration;

use nucleus_protocol::limits;
use nucleus_protocol::session::{Code, Features, Schema};
use nucleus_protocol::time::Time;

use super::streams::SessionStreams;
use super::{ClientSession, Phase};
use crate::session::opening::{expect, welcome};
use crate::session::step::{ConnectionFacts, SessionOutput, SessionPurpose, SessionStep};
use crate::session::tries::{Tries, TryStep};
use crate::session::{AddressRace, JoinError, ProtocolError};

/// Longest time from the first packet to the server's answer. Allows for several lost packets on a
/// bad network, and ends before a user gives up.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time of one attempt to join. If a NAT changes the client's address before the QUIC
/// handshake is confirmed, the connection cannot continue; the next attempt starts from the new
/// address.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(4);
/// Longest time to look up a server's name. The resolvers of operating systems try another name
/// server after five seconds.
const LOOKUP_TIMEOUT: Duration = JOIN_TIMEOUT;
/// Pause before the next attempt if the server still counts the abandoned one.
const ABANDONED_JOIN_PAUSE: Duration = Duration::from_millis(500);

/// A join at one server, with one or more attempts.
#[derive(Clone, Debug)]
pub(super) struct Joining {
    pub(super) server: String,
    /// When the join has failed.
    pub(super) deadline: Time,
    pub(super) attempt: Attempt,
    /// Whether an attempt was given up. The server may still count it as a participant.
    pub(super) has_abandoned: bool,
    /// Whether the room exists, most likely because the abandoned attempt created it.
    pub(super) may_have_created: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Attempt {
    /// The next attempt begins at this time.
    Pausing(Time),
    /// There is no connection yet. The attempt ends at `until`; its time begins anew when the name
    /// is looked up.
    Connecting { began: Time, until: Time },
    /// The connection stands.
    Opening { until: Time, features: Option<Features> },
    /// The owner decides about the outcome.
    Decided,
}

impl Joining {
    pub(super) fn is_opening(&self) -> bool {
        matches!(self.attempt, Attempt::Opening { .. })
    }
}

impl ClientSession {
    /// Answers [`SessionStep::NotJoined`]: the same server is asked again at once. The owner may
    /// have waited for long before, for example for a token, so the time for the join begins anew.
    pub fn join_again(&mut self, now: Time) {
        if let Phase::Joining(joining) = &mut self.phase {
            joining.attempt = Attempt::Pausing(now);
            joining.deadline = now + JOIN_TIMEOUT;
            self.attempt_timeout(now);
        }
    }

    /// Answers [`SessionStep::NotJoined`]: the join has failed, and a later try may help although the
    /// error says otherwise.
    pub fn join_failed_for_now(&mut self, now: Time, error: JoinError) {
        self.after_failure(now, |tries| tries.failed_for_now(now, error));
    }

    /// Answers [`SessionStep::NotJoined`]: the join at this server has failed.
    pub fn join_failed(&mut self, now: Time, error: JoinError) {
        self.after_failure(now, |tries| tries.failed(now, error));
    }

    fn after_failure(&mut self, now: Time, note: impl FnOnce(&mut Tries)) {
        // The owner may have closed the session while it waited for a token.
        if matches!(self.phase, Phase::Joining(_)) {
            self.streams = None;
            note(&mut self.tries);
            self.next_try(now);
        }
    }

    pub(super) fn resolved(&mut self, now: Time, first: SocketAddr, count: usize) {
        self.server_address = first;
        if let Phase::Joining(joining) = &mut self.phase
            && let Attempt::Connecting { began, until } = &mut joining.attempt
        {
            // A slow name service takes nothing from the time to join.
            joining.deadline += now.since(*began);
            (*began, *until) = (now, now + ATTEMPT_TIMEOUT + AddressRace::longest(count));
        }
    }

    pub(super) fn connected(&mut self, facts: ConnectionFacts) {
        let Phase::Joining(joining) = &mut self.phase else { return };
        let Attempt::Connecting { until, .. } = joining.attempt else { return };
        joining.attempt = Attempt::Opening { until, features: None };
        self.server_address = facts.server;
        self.streams = Some(SessionStreams::new());
        let may_have_created = joining.may_have_created;
        self.steps.push_back(SessionStep::Open { facts, may_have_created });
    }

    /// Reads the server's answers to the join.
    pub(super) fn read_answer(&mut self, now: Time) {
        let Phase::Joining(joining) = &mut self.phase else { return };
        let (Attempt::Opening { features, .. }, Some(streams)) =
            (&mut joining.attempt, &mut self.streams)
        else {
            return;
        };
        let control = &mut streams.incoming.control;
        let answer = match *features {
            Some(_) => Ok(*features),
            None => welcome(control),
        };
        let answer = answer.and_then(|offered| {
            *features = offered;
            let Some(features) = offered else { return Ok(None) };
            let due = match self.purpose {
                SessionPurpose::Room => Schema::Joined,
                SessionPurpose::Social => Schema::Entered,
            };
            let body = expect(control, due, limits::MAX_CONTROL_MESSAGE)?;
            Ok(body.map(|body| (features, body)))
        });
        match answer {
            Ok(Some((features, body))) => {
                joining.attempt = Attempt::Decided;
                self.steps.push_back(SessionStep::Answered { features, body });
            }
            Ok(None) if streams.is_answer_over => {
                self.attempt_failed(now, ProtocolError::Ended.into());
            }
            Ok(None) => {}
            Err(error) => self.attempt_failed(now, error),
        }
    }

    /// Handles the failure of an attempt: another one may help within the same join.
    pub(super) fn attempt_failed(&mut self, now: Time, error: JoinError) {
        let Phase::Joining(joining) = &mut self.phase else { return };
        self.streams = None;
        let code = if let JoinError::Refused { code, .. } = &error { *code } else { None };
        joining.attempt = match code {
            // On a bad network a join can take longer than the five seconds that the server allows.
            Some(Code::JoinTimeout) => Attempt::Pausing(now + ABANDONED_JOIN_PAUSE),
            // The server still counts the abandoned attempt as a participant.
            Some(Code::RoomFull | Code::AlreadyJoined) if joining.has_abandoned => {
                Attempt::Pausing(now + ABANDONED_JOIN_PAUSE)
            }
            // Most likely the abandoned attempt created the room.
            Some(Code::RoomExists) if joining.has_abandoned && !joining.may_have_created => {
                joining.may_have_created = true;
                Attempt::Pausing(now)
            }
            _ => return self.give_up_attempt(error),
        };
        self.attempt_timeout(now);
    }

    /// Ends the join with an error, about which the owner decides.
    pub(super) fn give_up_attempt(&mut self, error: JoinError) {
        if let Phase::Joining(joining) = &mut self.phase {
            joining.attempt = Attempt::Decided;
            self.streams = None;
            self.steps.push_back(SessionStep::NotJoined(error));
        }
    }

    pub(super) fn attempt_timeout(&mut self, now: Time) {
        let Phase::Joining(joining) = &mut self.phase else { return };
        match joining.attempt {
            Attempt::Pausing(until) | Attempt::Connecting { until, .. } if until <= now => {}
            // The server may have taken the join.
            Attempt::Opening { until, .. } if until <= now => joining.has_abandoned = true,
            _ => return,
        }
        joining.attempt = Attempt::Connecting { began: now, until: now + LOOKUP_TIMEOUT };
        self.outputs.push_back(SessionOutput::Connect(joining.server.clone()));
        self.streams = None;
    }

    /// Does what comes next to get a session.
    pub(super) fn next_try(&mut self, now: Time) {
        let random = self.random();
        match self.tries.next(now, random) {
            TryStep::Join(server) => {
                self.phase = Phase::Joining(Joining {
                    server,
                    deadline: now + JOIN_TIMEOUT,
                    attempt: Attempt::Pausing(now),
                    has_abandoned: false,
                    may_have_created: false,
                });
                self.attempt_timeout(now);
            }
            TryStep::Pause(pause) => self.phase = Phase::Pausing(now + pause),
            TryStep::GiveUp(error) => {
                (self.phase, self.streams) = (Phase::Closed, None);
                self.outputs
                    .push_back(SessionOutput::Close { code: Code::Left, text: String::new() });
                self.steps.push_back(match self.tries {
                    Tries::First(_) => SessionStep::Failed(error),
                    Tries::Return(..) => {
                        let code =
                            if let JoinError::Refused { code, .. } = error { code } else { None };
                        SessionStep::Closed { code, text: error.to_string() }
                    }
                });
            }
        }
    }
}

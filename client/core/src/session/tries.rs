//! Where and when a client joins: the first time, and again after its session was lost.

use std::time::Duration;

use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;

use super::servers::{NamedServers, NextTry, ReturnServers};
use super::{Backoff, JoinError};

/// Longest time for all the servers that a refusal of the first join names: a person waits.
const OTHERS_TIME: Duration = Duration::from_secs(30);
/// If less than this is left to come back, another try is not worth a connection.
const SHORTEST_TRY: Duration = Duration::from_secs(1);

/// What a client does next to get a session.
#[derive(Debug)]
pub(super) enum TryStep {
    /// Join at this server, `host:port`.
    Join(String),
    /// Ask again after a pause.
    Pause(Duration),
    /// Another try cannot help, or the time is over.
    GiveUp(JoinError),
}

/// The servers of a client, and its tries to get a session.
pub(super) enum Tries {
    /// The first join. Only servers that a refusal names are tried further.
    First(FirstJoin),
    /// The client has had a session, and comes back to these servers.
    Return(ReturnServers, Option<ComeBack>),
}

pub(super) struct FirstJoin {
    /// The server of the newest try.
    server: String,
    named: NamedServers,
    /// The reason that is told if no server lets the client in.
    error: Option<JoinError>,
    /// When the tries end.
    deadline: Option<Time>,
}

/// The tries after one loss.
pub(super) struct ComeBack {
    deadline: Time,
    backoff: Backoff,
    /// The error of the newest try that had one.
    error: JoinError,
    /// Whether the pause before the next try is over.
    has_paused: bool,
    has_tried: bool,
    next: NextTry,
}

impl Tries {
    pub(super) fn first(server: &str) -> Self {
        let (server, named) = (server.to_owned(), NamedServers::default());
        Tries::First(FirstJoin { server, named, error: None, deadline: None })
    }

    /// Notes that the newest try succeeded, and where its server wants clients to enter again.
    pub(super) fn joined(&mut self, entries: Vec<String>) {
        match self {
            Tries::First(first) => {
                *self = Tries::Return(ReturnServers::new(&first.server, entries), None);
            }
            Tries::Return(servers, tries) => {
                servers.joined(entries);
                *tries = None;
            }
        }
    }

    /// Begins to come back after a loss. `lost` is the error if no try has another one.
    pub(super) fn begin_return(&mut self, now: Time, patience: Duration, lost: JoinError) {
        if let Tries::Return(_, tries) = self {
            *tries = Some(ComeBack {
                deadline: now + patience,
                backoff: Backoff::default(),
                error: lost,
                has_paused: false,
                has_tried: false,
                next: NextTry::AfterPause(Duration::ZERO),
            });
        }
    }

    /// Returns when the tries end, whatever they have reached.
    pub(super) fn deadline(&self) -> Option<Time> {
        match self {
            Tries::First(first) => first.deadline,
            Tries::Return(_, tries) => tries.as_ref().map(|tries| tries.deadline),
        }
    }

    /// Takes the error of a try.
    pub(super) fn failed(&mut self, now: Time, error: JoinError) {
        match self {
            Tries::First(first) => first.failed(now, error),
            Tries::Return(servers, Some(tries)) => {
                (tries.next, tries.has_paused) = (servers.failed(&error), false);
                // A try that the end has cut short says less than the one before.
                let is_cut = tries.deadline <= now && matches!(error, JoinError::TimedOut { .. });
                if !is_cut {
                    tries.error = error;
                }
            }
            Tries::Return(_, None) => {}
        }
    }

    /// Takes the error of a try after which a later one may help.
    pub(super) fn failed_for_now(&mut self, now: Time, error: JoinError) {
        self.failed(now, error);
        if let Tries::Return(_, Some(tries)) = self {
            tries.next = NextTry::AfterPause(Duration::ZERO);
        }
    }

    /// Returns what the client does next. `random` spreads the pauses of many clients.
    pub(super) fn next(&mut self, now: Time, random: u64) -> TryStep {
        match self {
            Tries::First(first) => first.next(now),
            Tries::Return(servers, Some(tries)) => tries.next(now, random, servers),
            Tries::Return(_, None) => TryStep::GiveUp(JoinError::Options("there is no session")),
        }
    }
}

impl FirstJoin {
    fn failed(&mut self, now: Time, error: JoinError) {
        self.named.take(&error);
        self.deadline.get_or_insert(now + OTHERS_TIME);
        // The first server's reason says most, unless it only names others.
        let is_known = self.error.as_ref().is_some_and(|known| {
            !matches!(known, JoinError::Refused { code: Some(Code::Moved), .. })
        });
        if !is_known {
            self.error = Some(error);
        }
    }

    fn next(&mut self, now: Time) -> TryStep {
        let Some(error) = &self.error else { return TryStep::Join(self.server.clone()) };
        match self.named.pop().filter(|_| self.deadline.is_none_or(|deadline| now < deadline)) {
            Some(server) => {
                self.server.clone_from(&server);
                TryStep::Join(server)
            }
            None => TryStep::GiveUp(error.clone()),
        }
    }
}

impl ComeBack {
    fn next(&mut self, now: Time, random: u64, servers: &mut ReturnServers) -> TryStep {
        let left = self.deadline.since(now);
        match self.next {
            _ if left.is_zero() => TryStep::GiveUp(self.error.clone()),
            NextTry::AfterPause(least) if !self.has_paused => {
                if least >= left || self.has_tried && left < SHORTEST_TRY {
                    return TryStep::GiveUp(self.error.clone());
                }
                self.has_paused = true;
                let pause = self.backoff.pause(Some(least), random);
                // The last try needs time too.
                TryStep::Pause(pause.min(least.max(left / 2)))
            }
            NextTry::AtOnce | NextTry::AfterPause(_) => {
                self.has_tried = true;
                TryStep::Join(servers.next_server())
            }
            NextTry::Never => TryStep::GiveUp(self.error.clone()),
        }
    }
}

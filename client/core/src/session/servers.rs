//! Which server a client tries next: at the first connect, and after a lost session.

use std::collections::VecDeque;
use std::time::Duration;

use nucleus_protocol::limits::{MAX_ENDPOINTS, MAX_MOVES};
use nucleus_protocol::session::Code;

use super::JoinError;

/// The servers that refusals have named. They are tried before all others.
#[derive(Clone, Debug, Default)]
pub struct NamedServers {
    waiting: VecDeque<String>,
    /// Refusals in a row that named servers.
    moves: usize,
}

impl NamedServers {
    /// Returns the next server, as `host:port`.
    pub fn pop(&mut self) -> Option<String> {
        self.waiting.pop_front()
    }

    /// Takes the servers that a refusal names. Returns whether there are any. Ignores them after
    /// [`MAX_MOVES`] such refusals in a row: the servers then name each other.
    pub fn take(&mut self, error: &JoinError) -> bool {
        let named = named_by(error);
        if named.is_empty() {
            self.moves = 0;
            return false;
        }
        if self.moves >= MAX_MOVES {
            return false;
        }
        self.moves += 1;
        self.waiting = named.iter().take(MAX_ENDPOINTS).cloned().collect();
        true
    }
}

/// Returns the servers that the error of a join names, if it is one after which others may help.
fn named_by(error: &JoinError) -> &[String] {
    match error {
        JoinError::Refused {
            code: Some(Code::Moved | Code::ServerFull | Code::ShuttingDown),
            endpoints,
            ..
        } => endpoints,
        _ => &[],
    }
}

/// What a client does after a failed try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextTry {
    /// At once, at the next server.
    AtOnce,
    /// After a pause of at least this length.
    AfterPause(Duration),
    /// Another try cannot help.
    Never,
}

/// The servers to which a client with a lost session comes back.
#[derive(Clone, Debug)]
pub struct ReturnServers {
    /// The server that the client was at last, as `host:port`.
    home: String,
    /// The server of the newest try.
    tried: String,
    /// Where the server wants its clients to enter again, each as `host:port`.
    entries: Vec<String>,
    named: NamedServers,
    tries: usize,
}

impl ReturnServers {
    /// Creates the list of a client that is at `home`, whose server names `entries`.
    pub fn new(home: &str, entries: Vec<String>) -> Self {
        let (home, tried) = (home.to_owned(), home.to_owned());
        Self { home, tried, entries, named: NamedServers::default(), tries: 0 }
    }

    /// Notes that the newest try succeeded, and where its server wants clients to enter again.
    pub fn joined(&mut self, entries: Vec<String>) {
        *self = Self::new(&self.tried, entries);
    }

    /// Returns the server of the next try: one that a refusal has named, else the entries and then
    /// the server of the lost session, in turn.
    pub fn next_server(&mut self) -> String {
        self.tried = self.named.pop().unwrap_or_else(|| self.next_in_turn());
        self.tried.clone()
    }

    fn next_in_turn(&mut self) -> String {
        let others = self.entries.iter().filter(|entry| **entry != self.home);
        let all: Vec<&String> = others.chain([&self.home]).collect();
        let next = all[self.tries % all.len()].clone();
        self.tries += 1;
        next
    }

    /// Takes the error of a try.
    pub fn failed(&mut self, error: &JoinError) -> NextTry {
        let named = self.named.take(error);
        match error {
            JoinError::Refused { code: Some(Code::Moved), .. } if named => NextTry::AtOnce,
            _ if named => NextTry::AfterPause(error.retry_delay().unwrap_or_default()),
            _ => error.retry_delay().map_or(NextTry::Never, NextTry::AfterPause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: Code, endpoints: &[&str]) -> JoinError {
        JoinError::Refused {
            code: Some(code),
            number: code as u16,
            text: String::new(),
            retry_after: None,
            endpoints: endpoints.iter().map(|&endpoint| endpoint.to_owned()).collect(),
        }
    }

    #[test]
    fn entries_and_the_first_server_take_turns() {
        let mut servers = ReturnServers::new("home:1", vec!["a:1".into(), "home:1".into()]);
        let tried: Vec<String> = (0..4).map(|_| servers.next_server()).collect();
        assert_eq!(tried, ["a:1", "home:1", "a:1", "home:1"]);
    }

    #[test]
    fn a_move_is_followed_at_once_and_three_times_at_most() {
        let mut servers = ReturnServers::new("home:1", Vec::new());
        for _ in 0..MAX_MOVES {
            assert_eq!(servers.failed(&refused(Code::Moved, &["b:1"])), NextTry::AtOnce);
            assert_eq!(servers.next_server(), "b:1");
        }
        assert_eq!(servers.failed(&refused(Code::Moved, &["b:1"])), NextTry::Never);
        servers.joined(Vec::new());
        assert_eq!(servers.failed(&refused(Code::Moved, &["c:1"])), NextTry::AtOnce);
    }

    #[test]
    fn moves_count_only_in_a_row() {
        let mut servers = ReturnServers::new("home:1", Vec::new());
        let lost = JoinError::TimedOut { server: ([192, 0, 2, 1], 1).into() };
        for _ in 0..3 * MAX_MOVES {
            assert_eq!(servers.failed(&refused(Code::Moved, &["b:1"])), NextTry::AtOnce);
            assert_eq!(servers.next_server(), "b:1");
            assert_eq!(servers.failed(&lost), NextTry::AfterPause(Duration::ZERO));
            assert_eq!(servers.next_server(), "home:1");
        }
    }

    #[test]
    fn a_client_that_was_moved_comes_back_to_the_new_server() {
        let mut servers = ReturnServers::new("old:1", Vec::new());
        assert_eq!(servers.next_server(), "old:1");
        servers.failed(&refused(Code::Moved, &["new:1"]));
        assert_eq!(servers.next_server(), "new:1");
        servers.joined(Vec::new());
        assert_eq!(servers.next_server(), "new:1");
    }

    #[test]
    fn other_servers_are_tried_after_the_pause() {
        let mut servers = ReturnServers::new("home:1", Vec::new());
        let mut full = refused(Code::ServerFull, &["b:1", "c:1"]);
        if let JoinError::Refused { retry_after, .. } = &mut full {
            *retry_after = Some(Duration::from_secs(2));
        }
        assert_eq!(servers.failed(&full), NextTry::AfterPause(Duration::from_secs(2)));
        let tried: Vec<String> = (0..3).map(|_| servers.next_server()).collect();
        assert_eq!(tried, ["b:1", "c:1", "home:1"]);
    }

    #[test]
    fn a_refusal_for_good_names_nobody() {
        let mut servers = ReturnServers::new("home:1", Vec::new());
        assert_eq!(servers.failed(&refused(Code::TokenExpired, &["b:1"])), NextTry::Never);
        assert_eq!(servers.failed(&refused(Code::Moved, &[])), NextTry::Never);
    }
}

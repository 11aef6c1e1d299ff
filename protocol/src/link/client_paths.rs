//! A client's paths to the server: one in use, and others to try.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::Path;
use crate::limits::MAX_ENDPOINTS;

/// The paths of one client, in the order in which they are tried.
#[derive(Default)]
pub(super) struct ClientPaths {
    current: Option<Path>,
    /// At most [`MAX_ENDPOINTS`].
    others: VecDeque<Path>,
    /// Whether something has come since the last [`Self::rotate`].
    has_answered: bool,
}

impl ClientPaths {
    pub(super) fn new(current: Option<Path>) -> Self {
        Self { current, others: VecDeque::new(), has_answered: false }
    }

    pub(super) fn add(&mut self, path: Path) {
        if self.others.len() < MAX_ENDPOINTS {
            self.others.push_back(path);
        }
    }

    /// Returns the number of paths.
    pub(super) fn count(&self) -> u32 {
        1 + self.others.len() as u32
    }

    /// Returns the path in use.
    pub(super) fn current(&self) -> Option<Path> {
        self.current
    }

    /// Returns whether the server may send from this address.
    pub(super) fn contain(&self, remote: SocketAddr) -> bool {
        self.current.iter().chain(&self.others).any(|path| path.remote == remote)
    }

    /// Uses the path with this address, on which something has come.
    pub(super) fn choose(&mut self, remote: SocketAddr) {
        self.has_answered = true;
        let chosen = self.others.iter_mut().find(|path| path.remote == remote);
        if let (Some(current), Some(chosen)) = (&mut self.current, chosen) {
            std::mem::swap(current, chosen);
        }
    }

    /// Uses the next path, unless this one has answered since the last call.
    pub(super) fn rotate(&mut self) {
        if !std::mem::take(&mut self.has_answered)
            && let (Some(current), Some(next)) = (&mut self.current, self.others.pop_front())
        {
            self.others.push_back(std::mem::replace(current, next));
        }
    }
}

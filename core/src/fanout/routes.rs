//! Notes by which routes the realtime messages of a peer come, for the history of its session.

use std::net::SocketAddr;
use std::time::Duration;

use nucleus_protocol::link::{Link, Route};
use nucleus_protocol::time::Time;

use crate::moments::{Moment, MomentKind, MomentLog};

/// How long a new link may use the session before that counts as the fallback: its client tries whether
/// UDP 5056 answers, and sends inside the session until then.
const UNDECIDED: Duration = Duration::from_secs(5);

/// The route of a peer's messages to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum PeerRoute {
    /// Nothing has come yet.
    #[default]
    Unknown,
    /// Inside the session.
    Fallback,
    /// On UDP 5056, from this address.
    Realtime(SocketAddr),
}

/// The routes of a peer's messages, over all of its links.
#[derive(Debug, Default)]
pub(super) struct RouteLog {
    newest: PeerRoute,
    /// Since when the messages of the present link come inside the session; `None`: they do not.
    session_since: Option<Time>,
    log: MomentLog,
}

impl RouteLog {
    /// Notes by which route a link's messages come at `now`. `is_new`: nothing was noted of this link yet.
    /// Returns false if the link has no route yet.
    pub(super) fn note(&mut self, now: Time, link: &Link, is_new: bool) -> bool {
        let (at, route) = match link.route() {
            None => return false,
            Some((Route::Session, _)) => {
                let since = *self.session_since.get_or_insert(now);
                if is_new && now.since(since) < UNDECIDED {
                    return false;
                }
                (since, PeerRoute::Fallback)
            }
            Some((Route::Realtime(path), _)) => {
                self.session_since = None;
                (now, PeerRoute::Realtime(path.remote))
            }
        };
        let before = std::mem::replace(&mut self.newest, route);
        let kind = match (before, route) {
            (PeerRoute::Realtime(before), PeerRoute::Realtime(address)) if before != address => {
                MomentKind::Moved(address)
            }
            (PeerRoute::Unknown | PeerRoute::Fallback, PeerRoute::Realtime(address)) => {
                MomentKind::Realtime(address)
            }
            (PeerRoute::Unknown | PeerRoute::Realtime(_), PeerRoute::Fallback) => {
                MomentKind::Fallback
            }
            _ => return true,
        };
        self.log.push(Moment { after: at.since(Time::ZERO), kind });
        true
    }

    /// Notes that the present link is closed.
    pub(super) fn end_link(&mut self) {
        self.session_since = None;
    }

    /// Returns what was noted, by the server's clock.
    pub(super) fn moments(&self) -> &MomentLog {
        &self.log
    }
}

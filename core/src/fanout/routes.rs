//! Notes by which ways the realtime messages of a peer come, for the history of its session.

use std::net::SocketAddr;

use nucleus_protocol::link::{Link, Route};
use nucleus_protocol::time::Time;

use crate::moments::{Moment, MomentKind, MomentLog};

/// The way of a peer's messages.
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

/// The ways of a peer's messages, over all of its links.
#[derive(Debug, Default)]
pub(super) struct RouteLog {
    newest: PeerRoute,
    log: MomentLog,
}

impl RouteLog {
    /// Notes by which way a link's messages come at `now`. Returns false if the link has no way yet.
    pub(super) fn note(&mut self, now: Time, link: &Link) -> bool {
        let route = match link.route() {
            None => return false,
            Some((Route::Session, _)) => PeerRoute::Fallback,
            Some((Route::Realtime(path), _)) => PeerRoute::Realtime(path.remote),
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
        self.log.push(Moment { after: now.since(Time::ZERO), kind });
        true
    }

    /// Returns what was noted, by the server's clock.
    pub(super) fn moments(&self) -> &MomentLog {
        &self.log
    }
}

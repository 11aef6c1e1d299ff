//! Somebody who looks at a lobby: pulls what has changed, at most so often.

use std::sync::Arc;

use nucleus_protocol::session::RoomList;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::{LobbyKey, Tenants};
use crate::limits;
use crate::lobby::{Query, View};
use crate::token::RoomPattern;

/// See the module.
pub struct Watcher {
    tenants: Arc<Tenants>,
    at: LobbyKey,
    view: View,
    changed: watch::Receiver<u64>,
    /// Not before.
    next: Instant,
}

impl Watcher {
    /// Looks at the rooms of a lobby that fit `query` and that `admitted` admits to.
    pub fn new(tenants: &Arc<Tenants>, at: LobbyKey, query: Query, admitted: RoomPattern) -> Self {
        let changed = tenants.with(&at.tenant, |tenant| {
            tenant.lobbies.entry(at.app).or_default().changed.subscribe()
        });
        let view = View::new(query, admitted);
        Self { tenants: tenants.clone(), at, view, changed, next: Instant::now() }
    }

    /// The whole list at first, then what has changed since. Nothing is lost when it is not waited
    /// for to the end.
    pub async fn next(&mut self) -> RoomList {
        loop {
            sleep_until(self.next).await;
            let (view, app, changed) = (&mut self.view, self.at.app, &mut self.changed);
            let update = self.tenants.with(&self.at.tenant, |tenant| {
                changed.mark_unchanged();
                tenant.lobby(app).and_then(|lobby| view.update(lobby))
            });
            if let Some(update) = update {
                self.next = Instant::now() + limits::LOBBY_INTERVAL;
                return update;
            }
            // The sender lives as long as somebody looks.
            if self.changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            self.next = self.next.max(Instant::now());
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // The lobby may have been there for this one alone.
        let (unwatched, _) = watch::channel(0);
        self.changed = unwatched.subscribe();
        self.tenants.with(&self.at.tenant, |_| ());
    }
}

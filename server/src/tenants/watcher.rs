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
            let (seen, app, changed) = (self.view.seen(), self.at.app, &mut self.changed);
            let news = self.tenants.with(&self.at.tenant, |tenant| {
                changed.mark_unchanged();
                tenant.lobby(app).map(|lobby| lobby.news(seen))
            });
            // Whether there is anything to tell or not: looking is what costs.
            self.next = Instant::now() + limits::LOBBY_INTERVAL;
            if let Some(update) = news.and_then(|news| self.view.update(news)) {
                return update;
            }
            // The sender lives as long as somebody looks.
            if self.changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::room::Listing;
    use crate::shard::RoomId;
    use crate::tenants::{Counted, TenantLimits};
    use crate::token::App;

    /// A tenant's other rooms may change a thousand times a second: nobody looks as often as that.
    #[tokio::test]
    async fn it_looks_no_more_often_for_seeing_nothing() {
        let limits = TenantLimits { rooms: 9, kept_rooms: 0, sessions: 9, user_sessions: 9 };
        let tenants = Tenants::new(limits);
        let at = LobbyKey { tenant: "a".into(), app: App::Atom };
        let hidden = |peers| Listing { peers, capacity: 9, hidden: true, ..Listing::default() };
        tenants.with("a", |tenant| {
            tenant.opened(&Counted::default());
            tenant.change(App::Atom, |lobby| lobby.open(RoomId(1), "den", "", hidden(0)));
        });
        let (query, all) = (Query::default(), RoomPattern::Any);
        let mut watcher = Watcher::new(&tenants, at.clone(), query, all);
        assert_eq!(watcher.next().await.total, 0);
        let start = Instant::now();
        let mut looks = std::collections::BTreeSet::new();
        for n in 0..200 {
            tenants.show(&at, RoomId(1), hidden(n % 9));
            tokio::select! {
                biased;
                list = watcher.next() => panic!("{list:?}"),
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
            looks.insert(watcher.view.seen());
        }
        let most = start.elapsed().as_millis() / limits::LOBBY_INTERVAL.as_millis() + 2;
        assert!(looks.len() as u128 <= most, "{} looks in {:?}", looks.len(), start.elapsed());
        tenants.show(&at, RoomId(1), Listing { hidden: false, ..hidden(1) });
        assert_eq!(watcher.next().await.total, 1);
    }
}

//! Somebody who watches a lobby: pulls what has changed, at most so often.

use nucleus_core::ids::RoomPattern;
use nucleus_core::limits;
use nucleus_core::lobby::{ListingChanges, LobbyInput, Query, RoomListView};
use nucleus_protocol::session::RoomList;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::lobby_address::LobbyAddress;
use super::mail::LobbyMail;

/// A watcher of one lobby.
pub struct LobbyWatcher {
    lobby: LobbyAddress,
    /// Empty while this is being dropped.
    changed: Option<watch::Receiver<u64>>,
    view: RoomListView,
    /// An answer that is on its way.
    asked: Option<oneshot::Receiver<ListingChanges>>,
    /// Not asked before.
    next: Instant,
}

impl LobbyWatcher {
    pub(super) fn new(
        lobby: LobbyAddress,
        changed: watch::Receiver<u64>,
        query: Query,
        admitted: RoomPattern,
    ) -> Self {
        let view = RoomListView::new(query, admitted);
        Self { lobby, changed: Some(changed), view, asked: None, next: Instant::now() }
    }

    /// The whole list at first, then what has changed since. Cancel-safe.
    pub async fn next(&mut self) -> RoomList {
        loop {
            let news = self.news().await;
            // Whether there is anything to tell or not: looking is what costs.
            self.next = Instant::now() + limits::LOBBY_INTERVAL;
            if let Some(update) = news.and_then(|news| self.view.update(news)) {
                return update;
            }
            // The lobby lives as long as somebody watches.
            let Some(changed) = &mut self.changed else { return std::future::pending().await };
            if changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    async fn news(&mut self) -> Option<ListingChanges> {
        let asked = match &mut self.asked {
            Some(asked) => asked,
            None => {
                sleep_until(self.next).await;
                if let Some(changed) = &mut self.changed {
                    changed.mark_unchanged();
                }
                let seen = self.view.seen();
                self.asked.insert(self.lobby.ask(|asker| LobbyMail::News(seen, asker)).await)
            }
        };
        let news = asked.await.ok();
        self.asked = None;
        news
    }
}

impl Drop for LobbyWatcher {
    fn drop(&mut self) {
        self.changed = None;
        // This watcher may have been all that kept the lobby alive, so the lobby must check whether it is
        // over. With a full mailbox it will anyway.
        let _busy = self.lobby.mailbox().try_send(LobbyMail::Input(LobbyInput::Timeout));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use nucleus_core::ids::RoomId;
    use nucleus_core::room::Listing;
    use tokio::sync::mpsc;

    use super::*;

    /// A tenant's other rooms may change a thousand times a second: nobody looks as often as that.
    #[tokio::test]
    async fn it_looks_no_more_often_for_seeing_nothing() {
        let (mailbox, mut lobby) = mpsc::channel(8);
        let changed = watch::Sender::new(0);
        let mut watcher = LobbyWatcher::new(
            LobbyAddress::new(mailbox),
            changed.subscribe(),
            Query::default(),
            RoomPattern::Any,
        );
        let start = Instant::now();
        // A lobby of one room, hidden at first and then not.
        let asked = tokio::spawn(async move {
            use nucleus_core::lobby::{Lobby, LobbyOutput, RoomSelection};
            use nucleus_core::{Machine, ids::RequestId, room::RoomOptions};
            use nucleus_protocol::time::Time;
            let mut machine = Lobby::new(9);
            let options = RoomOptions { hidden: true, ..RoomOptions::default() };
            let find = nucleus_core::lobby::Find {
                name: "den".into(),
                selection: Arc::new(RoomSelection::by_server(options)),
                random: [0; 16],
                passed: Vec::new(),
            };
            machine.handle(Time::ZERO, LobbyInput::Find { request: RequestId(0), find });
            machine.handle(Time::ZERO, LobbyInput::RoomOpened(Ok(RoomId(1))));
            let (mut looks, mut peers) = (0, 0);
            while let Some(LobbyMail::News(seen, asker)) = lobby.recv().await {
                looks += 1;
                peers += 1;
                let hidden = start.elapsed() < Duration::from_millis(600);
                let listing = Listing { peers, capacity: 9, hidden, ..Listing::default() };
                machine.handle(Time::ZERO, LobbyInput::Listing(RoomId(1), Box::new(listing)));
                let request = RequestId(looks);
                machine.handle(Time::ZERO, LobbyInput::ListingChanges { request, seen });
                while let Some(output) = machine.poll() {
                    if let LobbyOutput::ListingChanges { changes: news, .. } = output {
                        return_news(asker.reply, news);
                        break;
                    }
                }
            }
            looks
        });
        assert_eq!(watcher.next().await.total, 0);
        let changing = async {
            for n in 1.. {
                changed.send_replace(n);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let list = tokio::select! {
            list = watcher.next() => list,
            () = changing => unreachable!(),
        };
        assert_eq!(list.total, 1);
        let elapsed = start.elapsed();
        drop(watcher);
        let looks = asked.await.unwrap();
        let most = elapsed.as_millis() / limits::LOBBY_INTERVAL.as_millis() + 2;
        assert!(u128::from(looks) <= most, "{looks} looks in {elapsed:?}");
    }

    fn return_news(reply: oneshot::Sender<ListingChanges>, news: ListingChanges) {
        assert!(reply.send(news).is_ok());
    }
}

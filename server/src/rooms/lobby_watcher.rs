//! The watcher of a lobby, which pulls the changes at a limited rate.

use nucleus_core::ids::RoomPattern;
use nucleus_core::limits;
use nucleus_core::lobby::{ListingChanges, LobbyInput, Query, RoomListView};
use nucleus_protocol::session::RoomList;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::lobby_address::LobbyAddress;
use super::mail::LobbyMail;

/// Watches the rooms of one lobby for one session.
pub struct LobbyWatcher {
    lobby: LobbyAddress,
    /// The number of the lobby's newest change. `None` only while the watcher is being dropped.
    changed: Option<watch::Receiver<u64>>,
    view: RoomListView,
    /// The reply to a request that the lobby has not answered yet.
    pending_reply: Option<oneshot::Receiver<ListingChanges>>,
    /// When the next request may be made.
    next_request: Instant,
}

impl LobbyWatcher {
    pub(super) fn new(
        lobby: LobbyAddress,
        changed: watch::Receiver<u64>,
        query: Query,
        admitted: RoomPattern,
    ) -> Self {
        let view = RoomListView::new(query, admitted);
        Self {
            lobby,
            changed: Some(changed),
            view,
            pending_reply: None,
            next_request: Instant::now(),
        }
    }

    /// Waits for the next list: first the whole list, then the changes since the last one.
    /// Cancel-safe.
    pub async fn next(&mut self) -> RoomList {
        loop {
            let changes = self.changes().await;
            // The pause applies even if the view did not change, because the search through the
            // changes is the expensive part.
            self.next_request = Instant::now() + limits::LOBBY_INTERVAL;
            if let Some(update) = changes.and_then(|changes| self.view.update(changes)) {
                return update;
            }
            // The lobby does not end before its watchers, so `changed` does not fail.
            let Some(changed) = &mut self.changed else { return std::future::pending().await };
            if changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    async fn changes(&mut self) -> Option<ListingChanges> {
        let reply = match &mut self.pending_reply {
            Some(reply) => reply,
            None => {
                sleep_until(self.next_request).await;
                if let Some(changed) = &mut self.changed {
                    changed.mark_unchanged();
                }
                let seen = self.view.seen();
                let mail = |reply_to| LobbyMail::Changes(seen, reply_to);
                self.pending_reply.insert(self.lobby.request(mail).await)
            }
        };
        let changes = reply.await.ok();
        self.pending_reply = None;
        changes
    }
}

impl Drop for LobbyWatcher {
    fn drop(&mut self) {
        self.changed = None;
        // This may have been the last watcher, so the lobby must check whether the lobby itself is
        // over. A lobby with a full mailbox checks anyway.
        let _full = self.lobby.mailbox().try_send(LobbyMail::Input(LobbyInput::Timeout));
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

    /// The other rooms of a tenant may change a thousand times a second. A watcher looks at its own
    /// rate.
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
        // A lobby of one room, which is hidden for the first 600 ms.
        let lobby_task = tokio::spawn(async move {
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
            while let Some(LobbyMail::Changes(seen, reply_to)) = lobby.recv().await {
                looks += 1;
                peers += 1;
                let hidden = start.elapsed() < Duration::from_millis(600);
                let listing = Listing { peers, capacity: 9, hidden, ..Listing::default() };
                machine.handle(Time::ZERO, LobbyInput::Listing(RoomId(1), Box::new(listing)));
                let request = RequestId(looks);
                machine.handle(Time::ZERO, LobbyInput::ListingChanges { request, seen });
                while let Some(output) = machine.poll() {
                    if let LobbyOutput::ListingChanges { changes, .. } = output {
                        return_changes(reply_to.reply, changes);
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
        let looks = lobby_task.await.unwrap();
        let most = elapsed.as_millis() / limits::LOBBY_INTERVAL.as_millis() + 2;
        assert!(u128::from(looks) <= most, "{looks} looks in {elapsed:?}");
    }

    fn return_changes(reply: oneshot::Sender<ListingChanges>, changes: ListingChanges) {
        assert!(reply.send(changes).is_ok());
    }
}

//! The list of rooms for a session outside rooms: its request, and the lists that answer it.

use std::sync::Arc;

use bytes::Bytes;
use nucleus_core::ids::{ProductKey, RoomPattern};
use nucleus_core::lobby::Query;
use nucleus_core::text;
use nucleus_protocol::limits::MAX_APPLICATION_VERSION;
use nucleus_protocol::session::{self, Code, RoomList, WatchRooms};
use tokio::sync::watch;

use crate::rooms::{LobbyWatcher, RoomDirectory};

/// A client's request to watch the list of rooms. A new request replaces the one before.
#[derive(Clone)]
pub(super) struct RoomListRequest {
    /// The client's number for the request, which each list repeats.
    request: u32,
    query: Query,
}

impl RoomListRequest {
    /// Parses the body of a `WatchRooms` message.
    ///
    /// # Errors
    ///
    /// The code to end the session with.
    pub(super) fn read(body: &[u8]) -> Result<Self, Code> {
        let message = session::owned::<WatchRooms>(body).map_err(|_| Code::Malformed)?;
        let version = text::plain(&message.version, 0, MAX_APPLICATION_VERSION)
            .map_err(|_| Code::BadState)?;
        Ok(Self { request: message.request, query: Query::new(version, message.filters)? })
    }
}

/// The source of a session's room lists. The session pulls each list when it can write it, so a
/// client that reads slowly gets fewer lists, and the lobby never waits for a client.
pub(super) struct RoomLists {
    directory: Arc<RoomDirectory>,
    lobby: ProductKey,
    /// The rooms that the token admits to.
    admitted: RoomPattern,
    requests: watch::Receiver<Option<RoomListRequest>>,
    watch: Option<ActiveWatch>,
}

/// The request that is being answered.
struct ActiveWatch {
    request: u32,
    watcher: LobbyWatcher,
}

impl RoomLists {
    /// Makes a source without lists. Each request that arrives on the channel starts a new list and
    /// its changes.
    pub(super) fn new(
        directory: Arc<RoomDirectory>,
        lobby: ProductKey,
        admitted: RoomPattern,
    ) -> (watch::Sender<Option<RoomListRequest>>, Self) {
        let (sender, requests) = watch::channel(None);
        (sender, Self { directory, lobby, admitted, requests, watch: None })
    }

    /// Waits for the next list and returns it encoded. Cancel-safe.
    pub(super) async fn next(&mut self) -> Bytes {
        loop {
            let list = async {
                match &mut self.watch {
                    Some(ActiveWatch { request, watcher }) => (*request, watcher.next().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                changed = self.requests.changed() => {
                    if changed.is_err() {
                        // The session is about to end.
                        return std::future::pending().await;
                    }
                }
                (request, list) = list => {
                    return session::encode(&RoomList { request, ..list }).into();
                }
            }
            let request = self.requests.borrow_and_update().clone();
            self.watch = request.map(|RoomListRequest { request, query }| {
                let watcher = self.directory.watch(&self.lobby, query, self.admitted.clone());
                ActiveWatch { request, watcher }
            });
        }
    }
}

//! The list of rooms for a session outside rooms: what it room_list_requests to see, and what there is to tell.

use std::sync::Arc;

use bytes::Bytes;
use nucleus_core::ids::{ProductKey, RoomPattern};
use nucleus_core::lobby::Query;
use nucleus_core::text;
use nucleus_protocol::limits::MAX_APPLICATION_VERSION;
use nucleus_protocol::session::{self, Code, RoomList, WatchRooms};
use tokio::sync::watch;

use crate::rooms::{Directory, LobbyWatcher};

/// What a session last asked to see: its number for that, and the question.
#[derive(Clone)]
pub(super) struct RoomListRequest(u32, Query);

impl RoomListRequest {
    /// As the client wrote it.
    ///
    /// # Errors
    ///
    /// What to end the session with.
    pub(super) fn read(body: &[u8]) -> Result<Self, Code> {
        let asked = session::owned::<WatchRooms>(body).map_err(|_| Code::Malformed)?;
        let version =
            text::plain(&asked.version, 0, MAX_APPLICATION_VERSION).ok_or(Code::BadState)?;
        Ok(Self(asked.request, Query::new(version, asked.filters)?))
    }
}

/// The source of a session's lists. It pulls: a client that reads slowly is told less often, and nothing
/// waits for it.
pub(super) struct RoomLists {
    directory: Arc<Directory>,
    lobby: ProductKey,
    /// The rooms that the token admits to.
    admitted: RoomPattern,
    asked: watch::Receiver<Option<RoomListRequest>>,
    watching: Option<(u32, LobbyWatcher)>,
}

impl RoomLists {
    /// Shows nothing until something is asked by the other end.
    pub(super) fn new(
        directory: Arc<Directory>,
        lobby: ProductKey,
        admitted: RoomPattern,
    ) -> (watch::Sender<Option<RoomListRequest>>, Self) {
        let (room_list_requests, asked) = watch::channel(None);
        (room_list_requests, Self { directory, lobby, admitted, asked, watching: None })
    }

    /// The next list, encoded. Cancel-safe.
    pub(super) async fn next(&mut self) -> Bytes {
        loop {
            let list = async {
                match &mut self.watching {
                    Some((request, watcher)) => (*request, watcher.next().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                changed = self.asked.changed() => {
                    if changed.is_err() {
                        // The session is about to end.
                        return std::future::pending().await;
                    }
                }
                (request, list) = list => {
                    return session::encode(&RoomList { request, ..list }).into();
                }
            }
            let asked = self.asked.borrow_and_update().clone();
            self.watching = asked.map(|RoomListRequest(request, query)| {
                (request, self.directory.watch(&self.lobby, query, self.admitted.clone()))
            });
        }
    }
}

//! The address to which joins and watchers send their requests to a lobby.

use std::sync::Arc;

use nucleus_core::limits;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::mail::{LobbyMail, ReplyTo};

/// The address to which joins and watchers send their requests to a lobby. These requests may fill
/// half of the mailbox ([`limits::LOBBY_QUESTIONS`]), so the other half stays free for messages of
/// rooms.
#[derive(Clone)]
pub(super) struct LobbyAddress {
    mailbox: mpsc::Sender<LobbyMail>,
    requests: Arc<Semaphore>,
}

impl LobbyAddress {
    pub(super) fn new(mailbox: mpsc::Sender<LobbyMail>) -> Self {
        Self { mailbox, requests: Arc::new(Semaphore::new(limits::LOBBY_QUESTIONS)) }
    }

    /// Returns the mailbox, for messages that no join and no watcher sends.
    pub(super) fn mailbox(&self) -> &mpsc::Sender<LobbyMail> {
        &self.mailbox
    }

    /// Posts a request. The channel that is returned closes without a reply if the lobby has ended.
    pub(super) async fn request<T>(
        &self,
        make_mail: impl FnOnce(ReplyTo<T>) -> LobbyMail,
    ) -> oneshot::Receiver<T> {
        let (reply, receiver) = oneshot::channel();
        // Tries without waiting first: an `await` may pause even when a permit is free. A caller
        // that is dropped in such a pause would leave a new lobby without any mail, and such a
        // lobby never ends.
        let permit = match self.requests.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => match self.requests.clone().acquire_owned().await {
                Ok(permit) => permit,
                Err(_closed) => return receiver,
            },
        };
        let sent = self.mailbox.try_send(make_mail(ReplyTo { reply, permit }));
        if let Err(TrySendError::Full(mail)) = sent {
            let _ended = self.mailbox.send(mail).await;
        }
        receiver
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nucleus_core::ids::RoomId;
    use nucleus_core::lobby::LobbyInput;
    use tokio::time::timeout;

    use super::*;

    /// Abandoned joins fill their half of the mailbox of a busy lobby. Its rooms can still post to
    /// it.
    #[tokio::test]
    async fn rooms_have_half_of_the_mailbox() {
        let (mailbox, mut lobby) = mpsc::channel(limits::LOBBY_MAILBOX);
        let address = LobbyAddress::new(mailbox);
        let short = Duration::from_millis(1);
        for number in 0..limits::LOBBY_QUESTIONS + 8 {
            let posting = address.request(|reply_to| LobbyMail::Changes(None, reply_to));
            let in_time = timeout(short, posting).await.is_ok();
            assert_eq!(in_time, number < limits::LOBBY_QUESTIONS, "request {number}");
        }
        for taken in limits::LOBBY_QUESTIONS..limits::LOBBY_MAILBOX {
            let mail = LobbyMail::Input(LobbyInput::NotAdmitted(RoomId(1), taken));
            assert!(address.mailbox().try_send(mail).is_ok(), "{taken}");
        }
        assert!(lobby.recv().await.is_some(), "the lobby takes a request");
        assert!(timeout(short, address.requests.acquire()).await.is_ok(), "the next is let in");
    }
}

//! Where a lobby is reached by those who ask it something.

use std::sync::Arc;

use nucleus_core::limits;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::mail::{Asker, LobbyMail};

/// Where joins and watchers ask a lobby. Their questions have half of its mailbox
/// ([`limits::LOBBY_QUESTIONS`]), so a room that tells it something waits behind no more of them.
#[derive(Clone)]
pub(super) struct LobbyAddress {
    mailbox: mpsc::Sender<LobbyMail>,
    places: Arc<Semaphore>,
}

impl LobbyAddress {
    pub(super) fn new(mailbox: mpsc::Sender<LobbyMail>) -> Self {
        Self { mailbox, places: Arc::new(Semaphore::new(limits::LOBBY_QUESTIONS)) }
    }

    /// For what is no question.
    pub(super) fn mailbox(&self) -> &mpsc::Sender<LobbyMail> {
        &self.mailbox
    }

    /// Asks; the answer does not come where the lobby is over.
    pub(super) async fn ask<T>(
        &self,
        question: impl FnOnce(Asker<T>) -> LobbyMail,
    ) -> oneshot::Receiver<T> {
        let (reply, answer) = oneshot::channel();
        // Waiting may pause even where there is a place. Whoever gave up in that pause would leave a new
        // lobby behind that nothing wakes, and that so never ends.
        let place = match self.places.clone().try_acquire_owned() {
            Ok(place) => place,
            Err(_) => match self.places.clone().acquire_owned().await {
                Ok(place) => place,
                Err(_closed) => return answer,
            },
        };
        let asked = self.mailbox.try_send(question(Asker { reply, place }));
        if let Err(TrySendError::Full(mail)) = asked {
            let _over = self.mailbox.send(mail).await;
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nucleus_core::ids::RoomId;
    use nucleus_core::lobby::LobbyInput;
    use tokio::time::timeout;

    use super::*;

    /// A thousand joins that nobody waits for any more, at a lobby that is busy elsewhere: its rooms can
    /// tell it how they are all the same.
    #[tokio::test]
    async fn rooms_have_half_of_the_mailbox() {
        let (mailbox, mut lobby) = mpsc::channel(limits::LOBBY_MAILBOX);
        let address = LobbyAddress::new(mailbox);
        let short = Duration::from_millis(1);
        for asked in 0..limits::LOBBY_QUESTIONS + 8 {
            let question = address.ask(|asker| LobbyMail::News(None, asker));
            let in_time = timeout(short, question).await.is_ok();
            assert_eq!(in_time, asked < limits::LOBBY_QUESTIONS, "question {asked}");
        }
        for taken in limits::LOBBY_QUESTIONS..limits::LOBBY_MAILBOX {
            let told = LobbyMail::Input(LobbyInput::Seats(RoomId(1), taken));
            assert!(address.mailbox().try_send(told).is_ok(), "{taken}");
        }
        assert!(lobby.recv().await.is_some(), "a question is taken");
        assert!(timeout(short, address.places.acquire()).await.is_ok(), "the next may ask");
    }
}

//! Which hall a token leads to. Read when somebody enters, never for a message.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dashmap::DashMap;
use nucleus_net::Clock;
use nucleus_protocol::session::Code;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::task::{HallInput, HallTask};
use super::{Device, HallConfig, HallOutgoing, Visitor};
use crate::directory::Directory;
use crate::limits;
use crate::token::App;

/// A hall's identity: tenants and products never meet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HallKey {
    /// From the token.
    pub tenant: String,
    /// From the token.
    pub app: App,
}

/// A live hall.
#[derive(Clone)]
pub struct HallHandle {
    id: u64,
    mailbox: mpsc::Sender<HallInput>,
}

impl HallHandle {
    async fn enter(&self, visitor: Visitor, outgoing: HallOutgoing) -> Result<Device, Code> {
        let (reply, answer) = oneshot::channel();
        self.post(HallInput::Enter(visitor, outgoing, reply)).await;
        answer.await.unwrap_or(Err(Code::ShuttingDown))
    }

    /// Posts to the hall; waits while its mailbox is full. False when the hall is over.
    pub async fn post(&self, input: HallInput) -> bool {
        self.mailbox.send(input).await.is_ok()
    }
}

/// See the module. A hall is made by whoever enters first and goes with the last one.
pub struct Halls {
    halls: DashMap<HallKey, HallHandle>,
    config: HallConfig,
    clock: Clock,
    /// Where the rooms of calls are made.
    rooms: Arc<Directory>,
    /// Where halls run.
    sessions: Handle,
    next_id: AtomicU64,
    closing: AtomicBool,
}

impl Halls {
    /// No halls; they will run in the runtime which this is called in. There are never more than joined
    /// sessions.
    pub fn new(config: HallConfig, clock: Clock, rooms: Arc<Directory>) -> Arc<Self> {
        Arc::new(Self {
            halls: DashMap::new(),
            config,
            clock,
            rooms,
            sessions: Handle::current(),
            next_id: AtomicU64::new(1),
            closing: AtomicBool::new(false),
        })
    }

    /// Halls alive.
    pub fn len(&self) -> usize {
        self.halls.len()
    }

    /// No hall is alive.
    pub fn is_empty(&self) -> bool {
        self.halls.is_empty()
    }

    /// Enters the hall, making it if there is none. `outgoing` is asked for again when a hall died
    /// under the session's feet.
    ///
    /// # Errors
    ///
    /// The code to refuse with.
    pub async fn enter(
        self: &Arc<Self>,
        key: &HallKey,
        visitor: &Visitor,
        mut outgoing: impl FnMut() -> Result<HallOutgoing, Code>,
    ) -> Result<(HallHandle, Device), Code> {
        for _ in 0..limits::JOIN_TRIES {
            if self.closing.load(Ordering::SeqCst) {
                return Err(Code::ShuttingDown);
            }
            let outgoing = outgoing()?;
            let hall = self.halls.entry(key.clone()).or_insert_with(|| self.open(key)).clone();
            match hall.enter(visitor.clone(), outgoing).await {
                Ok(device) => return Ok((hall, device)),
                Err(Code::ShuttingDown) => self.forget(key, hall.id),
                Err(code) => return Err(code),
            }
        }
        Err(Code::Internal)
    }

    /// Ends every hall and opens no more; returns when all are gone.
    pub async fn shut_down(&self, code: Code) {
        self.closing.store(true, Ordering::SeqCst);
        // Again and again: somebody who was entering may have opened one more.
        while !self.halls.is_empty() {
            let halls: Vec<HallHandle> = self.halls.iter().map(|h| h.value().clone()).collect();
            for hall in halls {
                hall.post(HallInput::Shutdown(code)).await;
            }
            tokio::time::sleep(limits::CLOSING_PAUSE).await;
        }
    }

    fn open(self: &Arc<Self>, key: &HallKey) -> HallHandle {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (mailbox, receiver) = mpsc::channel(limits::ROOM_MAILBOX);
        let own = mailbox.clone();
        let (halls, key, config) = (self.clone(), key.clone(), self.config.clone());
        self.sessions.spawn(async move {
            let place = (halls.clock, halls.rooms.clone());
            HallTask::run(key.clone(), config, place, (own, receiver)).await;
            halls.forget(&key, id);
        });
        HallHandle { id, mailbox }
    }

    fn forget(&self, key: &HallKey, id: u64) {
        self.halls.remove_if(key, |_, hall| hall.id == id);
    }
}

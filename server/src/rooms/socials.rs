//! The users outside rooms, by whose they are. Read when somebody enters, never for a message.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dashmap::DashMap;
use nucleus_core::ids::{DeviceId, ProductKey};
use nucleus_core::limits;
use nucleus_core::social::{EnterRequest, Social, SocialConfig, SocialInput};
use nucleus_protocol::session::Code;
use tokio::sync::{mpsc, oneshot};

use super::directory::Directory;
use super::mail::SocialMail;
use super::social::SocialTask;
use super::social_outgoing::SocialOutgoing;
use super::task;

/// The users outside rooms of one tenant's product.
#[derive(Clone)]
pub struct SocialHandle {
    id: u64,
    mailbox: mpsc::Sender<SocialMail>,
}

impl SocialHandle {
    async fn enter(
        &self,
        visitor: EnterRequest,
        outgoing: SocialOutgoing,
    ) -> Result<DeviceId, Code> {
        let (reply, answer) = oneshot::channel();
        let _over = self.mailbox.send(SocialMail::Enter(visitor, outgoing, reply)).await;
        answer.await.unwrap_or(Err(Code::ShuttingDown))
    }

    /// Posts an input; waits while the mailbox is full. False when it is over.
    pub async fn post(&self, input: SocialInput) -> bool {
        self.mailbox.send(SocialMail::Input(input)).await.is_ok()
    }
}

/// The users outside rooms of all tenants. A machine is made for whoever enters first and goes with the
/// last one.
pub struct Socials {
    socials: DashMap<ProductKey, SocialHandle>,
    config: SocialConfig,
    /// Where the rooms of calls are made.
    rooms: Arc<Directory>,
    next_id: AtomicU64,
    closing: AtomicBool,
}

impl Socials {
    /// Nobody is there. There are never more than joined sessions.
    pub fn new(config: SocialConfig, rooms: Arc<Directory>) -> Arc<Self> {
        Arc::new(Self {
            socials: DashMap::new(),
            config,
            rooms,
            next_id: AtomicU64::new(1),
            closing: AtomicBool::new(false),
        })
    }

    /// Products of tenants with somebody outside rooms.
    pub fn count(&self) -> usize {
        self.socials.len()
    }

    /// Enters. `outgoing` is called again when a task ended meanwhile.
    ///
    /// # Errors
    ///
    /// The code to refuse with.
    pub async fn enter(
        self: &Arc<Self>,
        key: &ProductKey,
        visitor: &EnterRequest,
        mut outgoing: impl FnMut() -> Result<SocialOutgoing, Code>,
    ) -> Result<(SocialHandle, DeviceId), Code> {
        for _ in 0..limits::JOIN_TRIES {
            if self.closing.load(Ordering::SeqCst) {
                return Err(Code::ShuttingDown);
            }
            let outgoing = outgoing()?;
            let social = self.socials.entry(key.clone()).or_insert_with(|| self.open(key)).clone();
            match social.enter(visitor.clone(), outgoing).await {
                Ok(device) => return Ok((social, device)),
                Err(Code::ShuttingDown) => self.forget(key, social.id),
                Err(code) => return Err(code),
            }
        }
        Err(Code::Internal)
    }

    /// Puts everybody out and lets nobody in; returns when all are gone.
    pub async fn shut_down(&self, code: Code) {
        self.closing.store(true, Ordering::SeqCst);
        // Again and again: somebody who was entering may have opened one more.
        while !self.socials.is_empty() {
            let all: Vec<SocialHandle> = self.socials.iter().map(|s| s.value().clone()).collect();
            for social in all {
                social.post(SocialInput::Shutdown(code)).await;
            }
            tokio::time::sleep(limits::CLOSING_PAUSE).await;
        }
    }

    fn open(self: &Arc<Self>, key: &ProductKey) -> SocialHandle {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (mailbox, receiver) = mpsc::channel(limits::LOBBY_MAILBOX);
        let task = SocialTask {
            key: key.clone(),
            rooms: self.rooms.clone(),
            mailbox: mailbox.clone(),
            sessions: HashMap::new(),
            newest_request: 0,
            enters: HashMap::new(),
        };
        let (socials, key, machine) = (self.clone(), key.clone(), Social::new(self.config.clone()));
        let registry = self.rooms.registry();
        let clock = registry.clock;
        registry.runtime.spawn(async move {
            task::run(machine, task, clock, receiver).await;
            socials.forget(&key, id);
        });
        SocialHandle { id, mailbox }
    }

    fn forget(&self, key: &ProductKey, id: u64) {
        self.socials.remove_if(key, |_, social| social.id == id);
    }
}

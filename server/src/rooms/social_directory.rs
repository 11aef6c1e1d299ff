//! The directory of the users outside rooms: finds or makes their task, by tenant and product. Used
//! when a session enters, never for a message.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dashmap::DashMap;
use nucleus_core::control::{CallSummary, ControlError, ProductCalls};
use nucleus_core::ids::{DeviceId, ProductKey};
use nucleus_core::limits;
use nucleus_core::social::{EnterRequest, Social, SocialConfig, SocialInput};
use nucleus_protocol::session::Code;
use tokio::sync::{mpsc, oneshot};

use super::directory::RoomDirectory;
use super::mail::SocialMail;
use super::social::SocialShell;
use super::social_outgoing::SocialOutgoing;
use super::task;

/// A handle of the task of the users outside rooms of one tenant's product.
#[derive(Clone)]
pub struct SocialHandle {
    id: u64,
    mailbox: mpsc::Sender<SocialMail>,
}

impl SocialHandle {
    async fn enter(&self, enter: EnterRequest, outgoing: SocialOutgoing) -> Result<DeviceId, Code> {
        let (reply, receiver) = oneshot::channel();
        let _ended = self.mailbox.send(SocialMail::Enter(enter, outgoing, reply)).await;
        receiver.await.unwrap_or(Err(Code::ShuttingDown))
    }

    /// Asks which calls there are. A task that has ended has none.
    async fn calls(&self) -> Vec<CallSummary> {
        let (reply, receiver) = oneshot::channel();
        let _ended = self.mailbox.send(SocialMail::Calls(reply)).await;
        receiver.await.unwrap_or_default()
    }

    /// Ends a call. Returns whether there was such a call.
    async fn end_call(&self, call: u64) -> bool {
        let (reply, receiver) = oneshot::channel();
        let _ended = self.mailbox.send(SocialMail::EndCall(call, reply)).await;
        receiver.await.is_ok_and(|ended| !ended.is_empty())
    }

    /// Posts an input; waits while the mailbox is full. Returns false if the task has ended.
    pub async fn post(&self, input: SocialInput) -> bool {
        self.mailbox.send(SocialMail::Input(input)).await.is_ok()
    }
}

/// The tasks of the users outside rooms. A task is made when the first session of its tenant's
/// product enters, and ends with the last one.
pub struct SocialDirectory {
    tasks: DashMap<ProductKey, SocialHandle>,
    config: SocialConfig,
    /// Makes the rooms of calls.
    rooms: Arc<RoomDirectory>,
    next_id: AtomicU64,
    closing: AtomicBool,
}

impl SocialDirectory {
    /// Makes an empty directory. There are at most as many tasks as joined sessions.
    pub fn new(config: SocialConfig, rooms: Arc<RoomDirectory>) -> Arc<Self> {
        Arc::new(Self {
            tasks: DashMap::new(),
            config,
            rooms,
            next_id: AtomicU64::new(1),
            closing: AtomicBool::new(false),
        })
    }

    /// Returns the number of tasks: one for each product of a tenant with a user outside rooms.
    pub fn count(&self) -> usize {
        self.tasks.len()
    }

    /// Enters a session among the users of `key`. Calls `outgoing` for each try, and tries again if
    /// the task has ended meanwhile.
    ///
    /// # Errors
    ///
    /// The code to refuse the client with.
    pub async fn enter(
        self: &Arc<Self>,
        key: &ProductKey,
        enter: &EnterRequest,
        mut outgoing: impl FnMut() -> Result<SocialOutgoing, Code>,
    ) -> Result<(SocialHandle, DeviceId), Code> {
        for _ in 0..limits::JOIN_TRIES {
            if self.closing.load(Ordering::SeqCst) {
                return Err(Code::ShuttingDown);
            }
            let outgoing = outgoing()?;
            let social = self.tasks.entry(key.clone()).or_insert_with(|| self.open(key)).clone();
            match social.enter(enter.clone(), outgoing).await {
                Ok(device) => return Ok((social, device)),
                Err(Code::ShuttingDown) => self.forget(key, social.id),
                Err(code) => return Err(code),
            }
        }
        Err(Code::Internal)
    }

    /// Returns the live calls of a tenant, or of all.
    pub async fn calls(&self, tenant: Option<&str>) -> Vec<ProductCalls> {
        let tasks =
            self.tasks.iter().filter(|task| tenant.is_none_or(|own| task.key().tenant == own));
        let tasks: Vec<_> =
            tasks.map(|task| (Arc::new(task.key().clone()), task.value().clone())).collect();
        let mut found = Vec::new();
        for (owner, social) in tasks {
            let calls = social.calls().await;
            found.push(ProductCalls { owner, calls });
        }
        found
    }

    /// Ends a call of a tenant for everybody.
    ///
    /// # Errors
    ///
    /// [`ControlError::NoSuchCall`].
    pub async fn end_call(&self, tenant: &str, call: u64) -> Result<(), ControlError> {
        let of_tenant = self.tasks.iter().filter(|task| task.key().tenant == tenant);
        let tasks: Vec<SocialHandle> = of_tenant.map(|task| task.value().clone()).collect();
        for social in tasks {
            if social.end_call(call).await {
                return Ok(());
            }
        }
        Err(ControlError::NoSuchCall)
    }

    /// Ends all sessions of a user outside rooms, in all products of a tenant.
    pub async fn remove_user(&self, tenant: &str, user: &str) {
        let of_tenant = self.tasks.iter().filter(|task| task.key().tenant == tenant);
        let tasks: Vec<SocialHandle> = of_tenant.map(|task| task.value().clone()).collect();
        for social in tasks {
            social.post(SocialInput::Remove(user.to_owned(), Code::Kicked)).await;
        }
    }

    /// Ends all sessions with `code` and refuses new ones. Returns when all tasks have ended.
    pub async fn shut_down(&self, code: Code) {
        self.closing.store(true, Ordering::SeqCst);
        // Repeats, because a session that was entering may have made another task.
        while !self.tasks.is_empty() {
            let all: Vec<SocialHandle> = self.tasks.iter().map(|s| s.value().clone()).collect();
            for social in all {
                social.post(SocialInput::Shutdown(code)).await;
            }
            tokio::time::sleep(limits::CLOSING_PAUSE).await;
        }
    }

    fn open(self: &Arc<Self>, key: &ProductKey) -> SocialHandle {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (mailbox, receiver) = mpsc::channel(limits::LOBBY_MAILBOX);
        let task = SocialShell {
            key: Arc::new(key.clone()),
            rooms: self.rooms.clone(),
            mailbox: mailbox.clone(),
            sessions: HashMap::new(),
            newest_request: 0,
            enters: HashMap::new(),
            asked: HashMap::new(),
        };
        let (directory, key, machine) =
            (self.clone(), key.clone(), Social::new(self.config.clone()));
        let registry = self.rooms.registry();
        let clock = registry.clock;
        registry.runtime.spawn(async move {
            task::run(machine, task, clock, receiver).await;
            directory.forget(&key, id);
        });
        SocialHandle { id, mailbox }
    }

    fn forget(&self, key: &ProductKey, id: u64) {
        self.tasks.remove_if(key, |_, social| social.id == id);
    }
}

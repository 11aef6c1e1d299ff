//! The task of the users outside rooms: carries out what their machine wants done, to sessions and rooms.

use std::collections::HashMap;
use std::sync::Arc;

use nucleus_core::ids::{DeviceId, ProductKey, RequestId};
use nucleus_core::limits;
use nucleus_core::room::RoomOptions;
use nucleus_core::social::{Social, SocialInput, SocialOutput};
use nucleus_protocol::session::Code;
use tokio::sync::{mpsc, oneshot};

use super::directory::Directory;
use super::mail::SocialMail;
use super::social_outgoing::SocialOutgoing;
use super::task::Task;
use crate::queue::Pushed;

/// What surrounds the users outside rooms.
pub(super) struct SocialTask {
    pub(super) key: ProductKey,
    pub(super) rooms: Arc<Directory>,
    /// Its own, for rooms to say that they are over.
    pub(super) mailbox: mpsc::Sender<SocialMail>,
    pub(super) sessions: HashMap<DeviceId, SocialOutgoing>,
    pub(super) newest_request: u64,
    pub(super) enters: HashMap<RequestId, PendingEnter>,
}

/// A session that wants in.
pub(super) struct PendingEnter {
    outgoing: SocialOutgoing,
    reply: oneshot::Sender<Result<DeviceId, Code>>,
}

impl Task for SocialTask {
    type Machine = Social;
    type Mail = SocialMail;

    fn accept(&mut self, mail: SocialMail) -> SocialInput {
        match mail {
            SocialMail::Input(input) => input,
            SocialMail::Enter(visitor, outgoing, reply) => {
                self.newest_request += 1;
                let request = RequestId(self.newest_request);
                self.enters.insert(request, PendingEnter { outgoing, reply });
                SocialInput::Enter { request, enter: visitor }
            }
        }
    }

    async fn carry_out(&mut self, output: SocialOutput) -> Option<SocialInput> {
        match output {
            SocialOutput::EnterReply { request, result } => {
                return self.enter_reply(request, result);
            }
            SocialOutput::Send(device, message) => {
                match self.sessions.get(&device).map(|out| out.push(message))? {
                    Pushed::Queued => {}
                    Pushed::Behind => return Some(self.cut(device)),
                    // A session reports its own end, but one that gave up just as it entered cannot.
                    Pushed::Gone => return Some(self.lost(device)),
                }
            }
            SocialOutput::Disconnect(device, code) => {
                if let Some(outgoing) = self.sessions.remove(&device) {
                    outgoing.disconnect(code);
                }
            }
            SocialOutput::OpenRoom { call, room, users } => {
                let result = self.open_room(call, room, users).await;
                return Some(SocialInput::RoomOpened { call, result });
            }
            // A room that is over says so itself, and so ends the call.
            SocialOutput::Invite { room, user, invited } => {
                let _over = self.rooms.invite(&self.key.room(room), &user, invited).await;
            }
            SocialOutput::Audit { call, users, ended } => {
                let tenant = &self.key.tenant;
                match ended {
                    None => tracing::info!(target: "audit", tenant, call, ?users, "call"),
                    Some(code) => {
                        tracing::info!(target: "audit", tenant, call, ?users, %code, "call ended");
                    }
                }
            }
        }
        None
    }
}

impl SocialTask {
    fn enter_reply(
        &mut self,
        request: RequestId,
        result: Result<DeviceId, Code>,
    ) -> Option<SocialInput> {
        let PendingEnter { outgoing, reply } = self.enters.remove(&request)?;
        match result {
            Ok(device) => drop(self.sessions.insert(device, outgoing)),
            // Before the answer: whoever is refused has given its place back by then.
            Err(_) => drop(outgoing),
        }
        let Err(Ok(device)) = reply.send(result) else { return None };
        // The session gave up while it waited. Its user has not: it may be in a call, and tries again.
        Some(self.lost(device))
    }

    async fn open_room(&self, call: u64, room: String, users: Vec<String>) -> Result<(), Code> {
        let options = RoomOptions {
            hidden: true,
            invited: Some(users),
            empty_ttl: limits::CALL_GRACE,
            first_within: Some(limits::CALL_GRACE),
            ..RoomOptions::default()
        };
        let room = self.rooms.open_private(&self.key.room(room), options).await?;
        let mailbox = self.mailbox.clone();
        tokio::spawn(async move {
            room.closed().await;
            // Nobody is left where it is gone.
            let _gone = mailbox.send(SocialMail::Input(SocialInput::RoomOver(call))).await;
        });
        Ok(())
    }

    /// A session that cannot keep up is cut: what it is told is reliable. It comes again and is told
    /// everything anew.
    fn cut(&mut self, device: DeviceId) -> SocialInput {
        if let Some(outgoing) = self.sessions.remove(&device) {
            outgoing.disconnect(Code::SlowConsumer);
        }
        SocialInput::Lost(device)
    }

    fn lost(&mut self, device: DeviceId) -> SocialInput {
        self.sessions.remove(&device);
        SocialInput::Lost(device)
    }
}

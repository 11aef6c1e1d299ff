//! The task of the users outside rooms of one tenant's product: carries out the outputs of their
//! machine.

use std::collections::HashMap;
use std::sync::Arc;

use nucleus_control::events::EventFeed;
use nucleus_core::control::CallSummary;
use nucleus_core::ids::{DeviceId, ProductKey, RequestId};
use nucleus_core::limits;
use nucleus_core::plane_event::{CallRef, PlaneEvent};
use nucleus_core::room::RoomOptions;
use nucleus_core::social::{Social, SocialInput, SocialOutput};
use nucleus_protocol::session::Code;
use tokio::sync::{mpsc, oneshot};

use super::directory::RoomDirectory;
use super::mail::SocialMail;
use super::social_outgoing::SocialOutgoing;
use super::task::Task;
use crate::queue::PushOutcome;

/// The shell of the users outside rooms.
pub(super) struct SocialShell {
    pub(super) key: Arc<ProductKey>,
    pub(super) rooms: Arc<RoomDirectory>,
    /// The mailbox of this task, by which it learns that the room of a call has ended.
    pub(super) mailbox: mpsc::Sender<SocialMail>,
    pub(super) sessions: HashMap<DeviceId, SocialOutgoing>,
    pub(super) newest_request: u64,
    pub(super) enters: HashMap<RequestId, PendingEnter>,
    /// Who asked which calls there are, or for the end of one.
    pub(super) asked: HashMap<RequestId, oneshot::Sender<Vec<CallSummary>>>,
}

/// A session whose request to enter has no reply yet.
pub(super) struct PendingEnter {
    outgoing: SocialOutgoing,
    reply: oneshot::Sender<Result<DeviceId, Code>>,
}

impl Task for SocialShell {
    type Machine = Social;
    type Mail = SocialMail;

    fn accept(&mut self, mail: SocialMail) -> SocialInput {
        match mail {
            SocialMail::Input(input) => input,
            SocialMail::Calls(reply) => {
                self.newest_request += 1;
                let request = RequestId(self.newest_request);
                self.asked.insert(request, reply);
                SocialInput::Calls(request)
            }
            SocialMail::EndCall(call, reply) => {
                self.newest_request += 1;
                let request = RequestId(self.newest_request);
                self.asked.insert(request, reply);
                SocialInput::EndCall(request, call)
            }
            SocialMail::Enter(enter, outgoing, reply) => {
                self.newest_request += 1;
                let request = RequestId(self.newest_request);
                self.enters.insert(request, PendingEnter { outgoing, reply });
                SocialInput::Enter { request, enter }
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
                    PushOutcome::Queued => {}
                    PushOutcome::Full => return Some(self.end_slow(device)),
                    // A session reports its own end, unless the client gave up at the moment when
                    // it entered.
                    PushOutcome::Closed => return Some(self.lost(device)),
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
            // Fails if the room has ended. The end of the room also ends the call.
            SocialOutput::Invite { room, user, invited } => {
                let _ended = self.rooms.invite(&self.key.room(room), &user, invited).await;
            }
            SocialOutput::Calls(request, calls) => {
                if let Some(reply) = self.asked.remove(&request) {
                    // Fails if the control plane has given up.
                    let _ = reply.send(calls);
                }
            }
            SocialOutput::CallStarted { call, caller } => {
                self.events().post(PlaneEvent::CallStarted(self.call_ref(call, caller)));
            }
            SocialOutput::CallEnded { call, caller, totals } => {
                self.events().post(PlaneEvent::CallEnded(self.call_ref(call, caller), totals));
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

impl SocialShell {
    fn events(&self) -> &EventFeed {
        &self.rooms.registry().template.events
    }

    fn call_ref(&self, call: u64, caller: String) -> CallRef {
        CallRef { call, owner: self.key.clone(), caller }
    }

    fn enter_reply(
        &mut self,
        request: RequestId,
        result: Result<DeviceId, Code>,
    ) -> Option<SocialInput> {
        let PendingEnter { outgoing, reply } = self.enters.remove(&request)?;
        match result {
            Ok(device) => drop(self.sessions.insert(device, outgoing)),
            // The queue is dropped before the reply: a refused client must not count as a session
            // any more.
            Err(_) => drop(outgoing),
        }
        let Err(Ok(device)) = reply.send(result) else { return None };
        // The session gave up while it waited. Counts it as lost, not as left: its user may be in a
        // call.
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
            // Fails if the task has ended, which has no calls then.
            let _ended = mailbox.send(SocialMail::Input(SocialInput::RoomOver(call))).await;
        });
        Ok(())
    }

    /// Ends a session that cannot keep up, because no message may be skipped. The client enters
    /// again and receives the whole state.
    fn end_slow(&mut self, device: DeviceId) -> SocialInput {
        if let Some(outgoing) = self.sessions.remove(&device) {
            outgoing.disconnect(Code::SlowConsumer);
        }
        SocialInput::Lost(device)
    }

    /// Removes a session that has ended, which then no longer counts as a joined session.
    fn lost(&mut self, device: DeviceId) -> SocialInput {
        self.sessions.remove(&device);
        SocialInput::Lost(device)
    }
}

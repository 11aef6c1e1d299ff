//! What a device knows of its user's call.

use nucleus_protocol::session::{CallReply, CallUpdate, Code, call_act, call_update};

use super::event::{CallId, SocialEvent, call_event};

/// A request without a reply.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingSocialRequest {
    /// One of [`call_act`], or 0 for a request that is not about a call.
    pub(super) act: u8,
    /// Whether the caller waits for the result. The reply counts even if not: it says what this
    /// device has done.
    pub(super) is_wanted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CurrentCall {
    call: u64,
    /// Whether the call still rings on this device.
    rings: bool,
}

/// The call of this device's user.
#[derive(Default)]
pub(super) struct CallState {
    /// The call that was reported to the application.
    current: Option<CurrentCall>,
    /// The call that this device started or accepted.
    own: Option<u64>,
    /// Whether the session was lost before the reply to a request that starts or accepts a call.
    is_own_unknown: bool,
}

impl CallState {
    pub(super) fn is_own(&self, call: CallId) -> bool {
        self.own == Some(call.0)
    }

    /// Begins a session whose server knows of `call`, 0 for none. Returns the end of the current
    /// call, if it no longer exists.
    pub(super) fn begin(&mut self, call: u64) -> Option<SocialEvent> {
        self.is_own_unknown &= call != 0;
        let ended = self.current.take_if(|current| current.call != call);
        ended.map(|CurrentCall { call, rings }| {
            let (call, code) = (CallId(call), None);
            if rings {
                SocialEvent::RingingEnded { call, code }
            } else {
                SocialEvent::Ended { call, code }
            }
        })
    }

    /// Handles the reply to a request about a call.
    pub(super) fn on_reply(&mut self, act: u8, reply: &CallReply) {
        match act {
            _ if reply.code != 0 => {}
            call_act::START | call_act::ACCEPT => {
                self.own = Some(reply.call);
                self.current = Some(CurrentCall { call: reply.call, rings: false });
            }
            // This device receives no more events of the call.
            call_act::REJECT | call_act::CANCEL | call_act::HANG_UP => self.current = None,
            _ => {}
        }
    }

    /// Notes that no reply to a request will come.
    pub(super) fn on_loss(&mut self, act: u8) {
        self.is_own_unknown |= matches!(act, call_act::START | call_act::ACCEPT);
    }

    /// Handles an update of a call and returns the events for the application.
    pub(super) fn on_update(&mut self, update: CallUpdate) -> Vec<SocialEvent> {
        let call = update.call;
        let mut events = Vec::new();
        match update.kind {
            call_update::INCOMING => {
                self.current = Some(CurrentCall { call, rings: true });
                self.is_own_unknown = false;
            }
            call_update::CALLING | call_update::ACCEPTED => {
                if std::mem::take(&mut self.is_own_unknown) {
                    self.own = Some(call);
                }
                // Another device accepted the call while the session was lost.
                if self.current == Some(CurrentCall { call, rings: true }) && self.own != Some(call)
                {
                    let code = Some(Code::Answered);
                    events.push(SocialEvent::RingingEnded { call: CallId(call), code });
                }
                self.current = Some(CurrentCall { call, rings: false });
            }
            call_update::RINGING_ENDED | call_update::ENDED => {
                self.current.take_if(|current| current.call == call);
            }
            _ => {}
        }
        events.extend(call_event(update, self.own == Some(call)));
        events
    }

    /// Returns the current call, and whether it rings on this device.
    #[cfg(test)]
    pub(super) fn current(&self) -> Option<(u64, bool)> {
        self.current.map(|current| (current.call, current.rings))
    }
}

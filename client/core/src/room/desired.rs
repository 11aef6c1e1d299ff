//! The state that the application desires in every session: whether this client is muted, and its
//! groups. What no server has confirmed is sent again with the next session.

use super::requests::{RoomRequests, StateError};

/// Names one setting of a desired value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettingNumber(u32);

/// A value that the application has set, if it has.
pub(super) struct Desired<T> {
    value: Option<T>,
    /// The number of the newest setting.
    newest: u32,
    state: DesiredState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DesiredState {
    /// No server knows the value.
    Unsent,
    /// The request with this number is pending.
    Sent(u32),
    /// A server has taken the value, for the peer that this client is.
    Confirmed,
    /// A server has refused the value. It is not sent again.
    Refused(StateError),
}

impl<T: Copy> Desired<T> {
    pub(super) fn new() -> Self {
        Self { value: None, newest: 0, state: DesiredState::Confirmed }
    }

    pub(super) fn set(&mut self, value: T, requests: &mut RoomRequests) -> SettingNumber {
        // The reply to a value that this one replaces has no meaning any more.
        if let DesiredState::Sent(replaced) = self.state {
            requests.forget(replaced);
        }
        self.value = Some(value);
        self.newest = self.newest.wrapping_add(1);
        self.state = DesiredState::Unsent;
        SettingNumber(self.newest)
    }

    /// Returns the value if a server must be told.
    pub(super) fn unsent(&self) -> Option<T> {
        self.value.filter(|_| self.state == DesiredState::Unsent)
    }

    /// Notes that the request with this number carries the value.
    pub(super) fn sent(&mut self, request: u32) {
        self.state = DesiredState::Sent(request);
    }

    /// Takes the result of the pending request, if there is one. Without a reply the value is sent
    /// again.
    pub(super) fn settle(&mut self, requests: &mut RoomRequests) {
        let DesiredState::Sent(request) = self.state else { return };
        let Some(result) = requests.take(request) else { return };
        self.state = match result {
            Ok(_) => DesiredState::Confirmed,
            Err(StateError::Interrupted) => DesiredState::Unsent,
            Err(error) => {
                self.value = None;
                DesiredState::Refused(error)
            }
        };
    }

    /// Notes that this client is a new peer, of which the server knows nothing.
    pub(super) fn become_new_peer(&mut self) {
        if self.value.is_some() {
            self.state = DesiredState::Unsent;
        }
    }

    /// Returns the outcome of a setting; `None`: the server has not answered. A newer setting
    /// replaces an older one, and `is_blocked` says that the value cannot be sent now: it is sent
    /// later, so both are no errors.
    pub(super) fn outcome(
        &self,
        setting: SettingNumber,
        is_blocked: bool,
    ) -> Option<Result<(), StateError>> {
        match self.state {
            _ if setting.0 != self.newest => Some(Ok(())),
            DesiredState::Confirmed => Some(Ok(())),
            DesiredState::Refused(error) => Some(Err(error)),
            DesiredState::Unsent if is_blocked => Some(Ok(())),
            DesiredState::Unsent | DesiredState::Sent(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use nucleus_protocol::session::StateReply;

    use super::super::explain::RequestedAction;
    use super::*;

    /// Lets the server answer the request, with 0 or a code.
    fn reply(requests: &mut RoomRequests, request: u32, code: u16) {
        requests.on_reply(StateReply { request, code, failed: 0, version: 0 }, 0);
    }

    #[test]
    fn a_value_is_sent_until_a_server_takes_it() {
        let (mut desired, mut requests) = (Desired::new(), RoomRequests::new());
        assert_eq!(desired.unsent(), None);
        let first = desired.set(true, &mut requests);
        assert_eq!((desired.unsent(), desired.outcome(first, false)), (Some(true), None));
        assert_eq!(desired.outcome(first, true), Some(Ok(())), "it is sent later");
        desired.sent(requests.start(RequestedAction::Subscribe));
        desired.settle(&mut requests);
        assert_eq!((desired.unsent(), desired.outcome(first, false)), (None, None));
        requests.end_all();
        desired.settle(&mut requests);
        assert_eq!(desired.unsent(), Some(true));
        let second = requests.start(RequestedAction::Subscribe);
        desired.sent(second);
        reply(&mut requests, second, 0);
        desired.settle(&mut requests);
        assert_eq!((desired.unsent(), desired.outcome(first, false)), (None, Some(Ok(()))));
        desired.become_new_peer();
        assert_eq!(desired.unsent(), Some(true));
    }

    #[test]
    fn a_refused_value_is_not_sent_again() {
        let (mut desired, mut requests) = (Desired::new(), RoomRequests::new());
        let setting = desired.set(true, &mut requests);
        let request = requests.start(RequestedAction::Subscribe);
        desired.sent(request);
        reply(&mut requests, request, 9);
        desired.settle(&mut requests);
        let refused = |error| matches!(error, StateError::Refused { number: 9, .. });
        assert!(desired.outcome(setting, false).unwrap().is_err_and(refused));
        desired.become_new_peer();
        assert_eq!(desired.unsent(), None);
    }

    #[test]
    fn a_newer_setting_replaces_an_older_one() {
        let (mut desired, mut requests) = (Desired::new(), RoomRequests::new());
        let older = desired.set(true, &mut requests);
        let request = requests.start(RequestedAction::Subscribe);
        desired.sent(request);
        let newer = desired.set(false, &mut requests);
        reply(&mut requests, request, 9);
        desired.settle(&mut requests);
        assert_eq!(desired.outcome(older, false), Some(Ok(())));
        assert_eq!((desired.unsent(), desired.outcome(newer, false)), (Some(false), None));
    }
}

//! How an entry of the library ends: with a result, and a text for a person.

use std::borrow::Cow;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::AccessError;

use nucleus_client::state::BatchError;
use nucleus_client::{
    AnswerError, Code, ConnectError, JoinError, RenewError, RpcError, SendError, SocialError,
    StateError,
};

use crate::types::NcResult;

thread_local! {
    /// The text of the newest failure of this thread.
    static LAST: RefCell<Cow<'static, str>> = const { RefCell::new(Cow::Borrowed("")) };
}

/// Why a call failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) result: NcResult,
    pub(crate) text: Cow<'static, str>,
    /// The server's reason, or the number of an RPC's error; 0 if there is none.
    pub(crate) code: u16,
    /// The pause that the server wants before another attempt, in ms.
    pub(crate) retry_after_ms: u64,
}

impl Failure {
    pub(crate) fn new(result: NcResult, text: impl Into<Cow<'static, str>>) -> Self {
        Self { result, text: text.into(), code: 0, retry_after_ms: 0 }
    }

    pub(crate) fn argument(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(NcResult::InvalidArgument, text)
    }

    /// A task of the library has panicked.
    pub(crate) fn panicked(error: &tokio::task::JoinError) -> Self {
        Self::new(NcResult::Internal, format!("a fault in the library: {error}"))
    }

    fn refused(code: u16, text: String) -> Self {
        Self { code, ..Self::new(NcResult::Refused, text) }
    }
}

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Runs an entry. No panic leaves it, because the caller is not Rust.
pub(crate) fn entry(run: impl FnOnce() -> Outcome) -> NcResult {
    match caught(run) {
        Ok(()) => NcResult::Ok,
        Err(result) => result,
    }
}

/// Runs an entry that returns a number; a failure is a negative one.
pub(crate) fn counted(run: impl FnOnce() -> Outcome<usize>) -> i32 {
    match caught(run) {
        Ok(count) => i32::try_from(count).unwrap_or(i32::MAX),
        Err(result) => result as i32,
    }
}

fn caught<T>(run: impl FnOnce() -> Outcome<T>) -> Result<T, NcResult> {
    let outcome = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        let text = format!("a fault in the library: {}", text.unwrap_or_default());
        Err(Failure::new(NcResult::Internal, text))
    });
    outcome.map_err(|failure| {
        // A thread that ends has no place for the text any more.
        let _ = LAST.try_with(|last| last.replace(failure.text));
        failure.result
    })
}

/// Reads the text of the newest failure of this thread. Fails in a thread that ends.
pub(crate) fn last_error<R>(read: impl FnOnce(&str) -> R) -> Result<R, AccessError> {
    LAST.try_with(|last| read(&last.borrow()))
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        let result = match error {
            SendError::TooLarge { .. } => NcResult::TooLarge,
            SendError::NotOffered(_) => NcResult::NotOffered,
            SendError::WouldBlock => NcResult::WouldBlock,
            SendError::UnknownPeer => NcResult::UnknownPeer,
            SendError::Closed => NcResult::Closed,
            _ => NcResult::InvalidArgument,
        };
        Failure::new(result, error.to_string())
    }
}

impl From<BatchError> for Failure {
    fn from(error: BatchError) -> Self {
        Failure::argument(error.to_string())
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        let text = error.to_string();
        let result = match error {
            StateError::Refused { number, .. } => return Failure::refused(number, text),
            StateError::Interrupted => NcResult::Interrupted,
            StateError::NotConnected => NcResult::NotConnected,
            StateError::Behind | StateError::TooMany => NcResult::WouldBlock,
            StateError::NotOffered(_) => NcResult::NotOffered,
            StateError::Closed => NcResult::Closed,
            _ => NcResult::InvalidArgument,
        };
        Failure::new(result, text)
    }
}

impl From<RpcError> for Failure {
    fn from(error: RpcError) -> Self {
        let text = error.to_string();
        let result = match error {
            RpcError::Fault(fault) => {
                let code = fault.code;
                return Failure { code, ..Failure::new(NcResult::RpcFailed, fault.text) };
            }
            RpcError::Send(error) => return error.into(),
            RpcError::NoSuchMethod => NcResult::NoSuchMethod,
            RpcError::Busy => NcResult::Busy,
            RpcError::TimedOut => NcResult::TimedOut,
            RpcError::PeerLeft | RpcError::UnknownPeer => NcResult::UnknownPeer,
            RpcError::Interrupted => NcResult::Interrupted,
            RpcError::TooMany => NcResult::WouldBlock,
            RpcError::Closed => NcResult::Closed,
            _ => NcResult::InvalidArgument,
        };
        Failure::new(result, text)
    }
}

impl From<AnswerError> for Failure {
    fn from(error: AnswerError) -> Self {
        let text = error.to_string();
        match error {
            AnswerError::NotWaiting => Failure::new(NcResult::NotFound, text),
            AnswerError::Send(error) => error.into(),
            _ => Failure::argument(text),
        }
    }
}

impl From<RenewError> for Failure {
    fn from(error: RenewError) -> Self {
        let text = error.to_string();
        let result = match error {
            RenewError::Refused { number, .. } => return Failure::refused(number, text),
            RenewError::Interrupted => NcResult::Interrupted,
            RenewError::NotOffered => NcResult::NotOffered,
            RenewError::Invalid(_) => NcResult::InvalidArgument,
            RenewError::Closed => NcResult::Closed,
            _ => NcResult::WouldBlock,
        };
        Failure::new(result, text)
    }
}

impl From<SocialError> for Failure {
    fn from(error: SocialError) -> Self {
        let text = error.to_string();
        let result = match error {
            SocialError::Refused { number, .. } => return Failure::refused(number, text),
            SocialError::Interrupted => NcResult::Interrupted,
            SocialError::NotConnected => NcResult::NotConnected,
            SocialError::TooMany => NcResult::WouldBlock,
            SocialError::Closed => NcResult::Closed,
            _ => NcResult::InvalidArgument,
        };
        Failure::new(result, text)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let text = error.to_string();
        let ConnectError::Join(error) = error else {
            let result = match error {
                ConnectError::Socket(_) => NcResult::System,
                ConnectError::Trust(_) => NcResult::InvalidArgument,
                _ => NcResult::Protocol,
            };
            return Failure::new(result, text);
        };
        let result = match error {
            JoinError::Refused { number, retry_after, .. } => {
                let pause = retry_after.map_or(0, |pause| pause.as_millis());
                let retry_after_ms = u64::try_from(pause).unwrap_or(u64::MAX);
                return Failure { retry_after_ms, ..Failure::refused(number, text) };
            }
            JoinError::Options(_) => NcResult::InvalidArgument,
            JoinError::Tls(_) => NcResult::Untrusted,
            JoinError::Protocol(_) => NcResult::Protocol,
            JoinError::TimedOut { .. } => NcResult::TimedOut,
            _ => NcResult::Unreachable,
        };
        Failure::new(result, text)
    }
}

/// Returns a reason's number for an event; -1 if the reason is not known, or there was none.
pub(crate) fn code_number(code: Option<Code>) -> i32 {
    code.map_or(-1, |code| code as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_result() {
        assert_eq!(entry(|| panic!("broken")), NcResult::Internal);
        assert!(last_error(|text| text.contains("broken")).unwrap());
        assert_eq!(counted(|| panic!("{} again", "broken")), NcResult::Internal as i32);
        assert!(last_error(|text| text.contains("broken again")).unwrap());
        assert_eq!(entry(|| Err(Failure::argument("wrong"))), NcResult::InvalidArgument);
        assert_eq!(
            (entry(|| Ok(())), last_error(str::to_owned).unwrap()),
            (NcResult::Ok, "wrong".into())
        );
    }
}

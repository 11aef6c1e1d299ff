//! The reasons for which the server ends a session because of its client.

use std::borrow::Cow;

use nucleus_protocol::session::{BadHeader, Code, Schema};

use super::carrier::Connection;

/// A fault of a client that ends its session: the code, and the reason in words for the developer
/// of the client. The close of the connection carries both.
#[derive(Debug)]
pub(super) struct SessionFault {
    pub(super) code: Code,
    pub(super) reason: Cow<'static, str>,
    /// Whether the session counts as lost, so that the client can come back to what it had.
    pub(super) is_loss: bool,
}

impl SessionFault {
    /// Makes a fault with [`Code::Malformed`].
    pub(super) fn malformed(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code: Code::Malformed, reason: reason.into(), is_loss: false }
    }

    /// Makes the fault of a client that has ended a stream without which its session cannot go on.
    /// A library may do so on its own while a program is stopped, so the session counts as lost.
    pub(super) fn stream_ended(stream: &str) -> Self {
        let reason = format!("the client has ended the {stream}");
        Self { is_loss: true, ..Self::malformed(reason) }
    }
}

impl SessionFault {
    /// Closes the connection with the code and the reason, and logs both for the operator.
    pub(super) fn close(&self, connection: &Connection) {
        let Self { code, reason, .. } = self;
        tracing::debug!(remote = %connection.remote(), %code, %reason, "session ended");
        connection.close(*code, reason);
    }
}

/// The fault of a client that sent a message which the server cannot read, or which does not belong
/// on its stream.
pub(super) fn unreadable(schema: Schema) -> SessionFault {
    SessionFault::malformed(format!("{schema:?} is malformed, or does not belong on this stream"))
}

impl From<Code> for SessionFault {
    fn from(code: Code) -> Self {
        // A client that was too slow for a while gets what it missed when it resumes.
        let is_loss = matches!(code, Code::SlowConsumer | Code::TimedOut);
        Self { code, reason: code.name().into(), is_loss }
    }
}

impl From<BadHeader> for SessionFault {
    fn from(error: BadHeader) -> Self {
        Self::malformed(error.to_string())
    }
}

//! The servers that clients are told of, as `Refuse`, `Joined` and `Entered` carry them.

use std::sync::Arc;

use nucleus_protocol::session::Code;

/// Lists of endpoints, each as `host:port`. Each list has at most
/// [`MAX_ENDPOINTS`](nucleus_protocol::limits::MAX_ENDPOINTS).
#[derive(Clone, Debug, Default)]
pub struct ServerEndpoints {
    /// Where clients that lost their session may enter again.
    pub entries: Arc<[Vec<u8>]>,
    /// Servers to try while this one is full or shuts down.
    pub others: Vec<Vec<u8>>,
    /// If not empty, the servers that take the joins of this one.
    pub moved_to: Vec<Vec<u8>>,
}

impl ServerEndpoints {
    /// Returns the servers that a client may try after a refusal with `code`.
    pub(super) fn to_try_after(&self, code: Code) -> &[Vec<u8>] {
        match code {
            Code::Moved => &self.moved_to,
            Code::ServerFull | Code::ShuttingDown => &self.others,
            _ => &[],
        }
    }
}

//! What a client can do, as it tells the server in `Hello` and `Join`.

use nucleus_protocol::limits;
use nucleus_protocol::session::{Features, HAS_EXPORTER, NO_REALTIME_PORT};

/// What a client can do. The default is everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether the client has a realtime port. Without one, its realtime messages travel inside the
    /// session for good.
    pub realtime_port: bool,
    /// Most bytes of frames in one datagram, 1,000 to 1,150. Choose less than the default for a
    /// network whose packets must be small.
    pub largest_body: u16,
    /// The features of the protocol that the client offers.
    pub features: Features,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            realtime_port: true,
            largest_body: limits::MAX_BODY as u16,
            features: Features::SUPPORTED,
        }
    }
}

impl Capabilities {
    /// Returns the flags of `Hello`.
    pub fn flags(&self) -> u8 {
        HAS_EXPORTER | if self.realtime_port { 0 } else { NO_REALTIME_PORT }
    }

    /// Returns `largest_body` of `Join` for a session whose QUIC datagrams hold `datagram` bytes;
    /// `None`: it carries no datagrams. The second value is whether the session can carry realtime
    /// messages.
    pub fn largest_body(&self, datagram: Option<usize>) -> (u16, bool) {
        let range = limits::MIN_BODY..=limits::MAX_BODY;
        let wanted = usize::from(self.largest_body).clamp(*range.start(), *range.end());
        let carried = datagram.unwrap_or(0).saturating_sub(limits::LINK_ID);
        match (carried >= limits::MIN_BODY, self.realtime_port) {
            (true, _) => (wanted.min(carried) as u16, true),
            (false, true) => (limits::MIN_BODY as u16, false),
            (false, false) => (0, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_fits_the_sessions_datagrams() {
        let both = Capabilities::default();
        assert_eq!(both.largest_body(Some(5_000)), (1_150, true));
        assert_eq!(both.largest_body(Some(1_154)), (1_150, true));
        assert_eq!(both.largest_body(Some(1_100)), (1_096, true));
        assert_eq!(both.largest_body(Some(1_003)), (1_000, false));
        assert_eq!(both.largest_body(None), (1_000, false));
        let small = Capabilities { largest_body: 7, ..both };
        assert_eq!(small.largest_body(Some(1_154)), (1_000, true));
        let session_only = Capabilities { realtime_port: false, ..both };
        assert_eq!(session_only.largest_body(Some(1_154)), (1_150, true));
        assert_eq!(session_only.largest_body(None), (0, false));
    }
}

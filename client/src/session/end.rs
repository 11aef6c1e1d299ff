//! Names the ends of QUIC connections.

use nucleus_client_core::session::ConnectionEnd;

/// Returns how a connection has ended.
pub(super) fn connection_end(error: quinn::ConnectionError) -> ConnectionEnd {
    use quinn::ConnectionError::{
        ApplicationClosed, ConnectionClosed, LocallyClosed, TimedOut, TransportError,
    };
    let text = |reason: &[u8]| String::from_utf8_lossy(reason).into_owned();
    match error {
        TransportError(ref local) if is_tls(local.code) => ConnectionEnd::Tls(error.to_string()),
        TimedOut => ConnectionEnd::TimedOut,
        LocallyClosed => ConnectionEnd::ByClient,
        ApplicationClosed(close) => ConnectionEnd::ByServer {
            number: close.error_code.into_inner(),
            text: text(&close.reason),
        },
        ConnectionClosed(close)
            if close.error_code == quinn::TransportErrorCode::APPLICATION_ERROR =>
        {
            ConnectionEnd::BeforeHandshake { text: text(&close.reason) }
        }
        other => ConnectionEnd::Other(other.to_string()),
    }
}

/// Returns whether the code is a TLS alert: 0x100 plus the alert's number (RFC 9001, section 4.8).
fn is_tls(code: quinn::TransportErrorCode) -> bool {
    (0x100..0x200).contains(&u64::from(code))
}

//! A connection of HTTP/3 with a WebTransport session.

use std::sync::Arc;

use nucleus_protocol::session::Schema;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, RecvStream, SendStream};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use web_transport_proto::{Capsule, ConnectError, ConnectResponse, Http3CapsuleReader, Settings};

use crate::messages::read_message;
use crate::{BIDIRECTIONAL, WebError};

/// The halves of a session's control stream.
pub type WebControlStream = (SendStream, RecvStream);

/// Returns the configuration of connections with ALPN `h3`. Trusts the certificates in `pem` as roots.
///
/// # Errors
///
/// [`WebError::Tls`].
pub fn client_config(pem: &str) -> Result<quinn::ClientConfig, WebError> {
    let tls_error = |error: &dyn std::fmt::Display| WebError::Tls(error.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.map_err(|e| tls_error(&e))?).map_err(|e| tls_error(&e))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| tls_error(&e))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let tls = QuicClientConfig::try_from(tls).map_err(|e| tls_error(&e))?;
    Ok(quinn::ClientConfig::new(Arc::new(tls)))
}

/// A browser's connection. HTTP/3's own streams stay open as long as this lives.
pub struct Browser {
    /// The connection of QUIC.
    pub connection: Connection,
    _settings: SendStream,
    /// The streams of the compression of headers. As in Chromium, they stay silent.
    pub compression: [SendStream; 2],
}

impl Browser {
    /// Begins HTTP/3 on a connection with the configuration of [`client_config`]: sends the settings.
    ///
    /// # Errors
    ///
    /// The connection was lost.
    pub async fn new(connection: Connection) -> Result<Self, WebError> {
        let mut settings = Settings::default();
        settings.enable_webtransport(1);
        let mut stream = connection.open_uni().await?;
        settings.write(&mut stream).await.map_err(WebError::stream)?;
        let compression = [connection.open_uni().await?, connection.open_uni().await?];
        Ok(Self { connection, _settings: stream, compression })
    }

    /// Asks for a session, and waits for it.
    ///
    /// # Errors
    ///
    /// [`WebError::Refused`], or the connection was lost.
    pub async fn open(self, path: &str, origins: &[&str]) -> Result<WebSession, WebError> {
        let mut request = self.request(path, origins).await?;
        match ConnectResponse::read(&mut request.1).await {
            Ok(_) => Ok(WebSession { browser: self, request }),
            // The library reads only statuses of success.
            Err(ConnectError::WrongStatus(Some(status))) => Err(WebError::Refused(status.as_u16())),
            Err(error) => Err(WebError::answer(error)),
        }
    }

    /// Sends a request for a session, with a header `origin` for each of `origins`. Returns the stream of
    /// the request.
    ///
    /// # Errors
    ///
    /// The connection was lost.
    pub async fn request(
        &self,
        path: &str,
        origins: &[&str],
    ) -> Result<(SendStream, RecvStream), WebError> {
        let (mut send, receive) = self.connection.open_bi().await?;
        let fields = [
            (":method", "CONNECT"),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", path),
            (":protocol", "webtransport"),
        ];
        let origins = origins.iter().map(|origin| ("origin", *origin));
        let frame = headers(fields.into_iter().chain(origins));
        send.write_all(&frame).await.map_err(WebError::stream)?;
        Ok((send, receive))
    }
}

/// Makes a HEADERS frame whose fields are all literals (RFC 9204, 4.5.6). The library of the server
/// cannot write a field twice.
fn headers<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut block = vec![0, 0];
    for (name, value) in fields {
        put_prefixed(&mut block, 0x20, 3, name.len());
        block.extend(name.bytes());
        put_prefixed(&mut block, 0, 7, value.len());
        block.extend(value.bytes());
    }
    // The length of a frame in four bytes (RFC 9000, 16).
    let length = 0x8000_0000 | block.len() as u32;
    [&[1], &length.to_be_bytes()[..], &block].concat()
}

/// Appends an integer whose first `bits` bits are in a byte with these `flags` (RFC 7541, 5.1).
fn put_prefixed(block: &mut Vec<u8>, flags: u8, bits: u32, integer: usize) {
    let most = (1 << bits) - 1;
    if integer < most {
        return block.push(flags | integer as u8);
    }
    block.push(flags | most as u8);
    let mut rest = integer - most;
    while rest >= 0x80 {
        block.push(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    block.push(rest as u8);
}

/// A WebTransport session, which ends when this is dropped.
pub struct WebSession {
    /// The connection of the session.
    pub browser: Browser,
    /// The stream of the request, which must stay open.
    pub request: (SendStream, RecvStream),
}

impl WebSession {
    /// Returns the connection of QUIC.
    pub fn connection(&self) -> &Connection {
        &self.browser.connection
    }

    /// Opens the control stream and sends `opening`. Returns the stream, which must stay open, and the
    /// first two messages.
    ///
    /// # Errors
    ///
    /// The session ended first.
    pub async fn control(
        &self,
        opening: &[u8],
    ) -> Result<(WebControlStream, [(Schema, Vec<u8>); 2]), WebError> {
        let (mut send, mut receive) = self.connection().open_bi().await?;
        let bytes = [&BIDIRECTIONAL[..], opening].concat();
        send.write_all(&bytes).await.map_err(WebError::stream)?;
        let first = read_message(&mut receive).await?;
        let second = read_message(&mut receive).await?;
        Ok(((send, receive), [first, second]))
    }

    /// Waits until the server closes the session. Returns the number of its code, and its text.
    ///
    /// # Errors
    ///
    /// The connection was closed before the session, so that a page would learn no code.
    pub async fn closed(self) -> Result<(u32, String), WebError> {
        let mut capsules = Http3CapsuleReader::new(self.request.1);
        match capsules.read().await.map_err(WebError::stream)? {
            Some(Capsule::CloseWebTransportSession { code, reason }) => Ok((code, reason)),
            other => Err(WebError::Answer(format!("{other:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 7541, C.1, and the limits of a prefix of 7 bits.
    #[test]
    fn long_integers_go_on_behind_their_prefix() {
        for (flags, bits, integer, expected) in [
            (0, 5, 10, &[10][..]),
            (0, 5, 1_337, &[0x1f, 0x9a, 0x0a]),
            (0x20, 3, 6, &[0x26]),
            (0x20, 3, 7, &[0x27, 0]),
            (0, 7, 126, &[126]),
            (0, 7, 127, &[127, 0]),
            (0, 7, 255, &[127, 0x80, 1]),
        ] {
            let mut block = Vec::new();
            put_prefixed(&mut block, flags, bits, integer);
            assert_eq!(block, expected, "{integer}");
        }
    }

    #[test]
    fn a_header_may_be_long() {
        let origin = "o".repeat(20_000);
        let frame = headers([("origin", &*origin)].into_iter());
        assert_eq!(frame[..5], [1, 0x80, 0, 0x4e, 0x2d]);
        assert_eq!(frame.len() - 5, 0x4e2d);
        assert_eq!(frame[5..14], *b"\0\0\x26origin");
    }
}

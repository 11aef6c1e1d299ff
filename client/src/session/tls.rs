//! TLS configuration and QUIC transport parameters of the session plane.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use nucleus_protocol::link::Suite;
use nucleus_protocol::session::ALPN;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{AckFrequencyConfig, TransportConfig, VarInt};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, CipherSuite, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};

use super::ConnectError;
use super::suites::best_suite;
use nucleus_protocol::congestion::SparseCubic;

/// Interval of QUIC keep-alives. Normally the realtime link keeps the session alive
/// (`limits::KEEP_ALIVE`). This interval is for a link that cannot, and is shorter than the
/// server's idle timeout.
const KEEP_ALIVE: Duration = Duration::from_secs(17);
/// Idle timeout of a connection, in ms; the same as the server's. After this time without a packet
/// the connection is lost, and the client resumes the session with its ticket.
const IDLE_TIMEOUT_MS: u32 = 30_000;
/// Receive window of a stream, in bytes: one control message of the largest size. Data that the
/// application has not taken stays at the server.
const STREAM_WINDOW: u32 = 1 << 20;
/// Receive window of the connection, in bytes, for the control, event, bulk and state streams
/// together. A full backlog of the application stops all of them.
const CONNECTION_WINDOW: u32 = 2 << 20;
/// Largest number of bytes that this client sends without an acknowledgement. Events are small, so
/// more bytes mean that the connection is stalled.
const SEND_WINDOW: u64 = 256 << 10;
/// Streams that the server may open: events, bulk, state, and two of unknown types, which are
/// refused.
const SERVER_STREAMS: u32 = 5;
/// Bytes of datagrams that may wait to be read: about 50 datagrams of the largest size.
const DATAGRAM_INBOX: usize = 64 << 10;
/// Bytes of datagrams that may wait to be sent: two datagrams of the largest size. On a slow path,
/// more datagrams would only wait longer and arrive too late to be useful.
const DATAGRAM_OUTBOX: usize = 2_560;

/// CA certificates that [`Trust::ca_pem`] has read.
#[derive(Clone)]
pub struct TrustedRoots(Arc<RootCertStore>);

/// The server certificates that the client trusts.
#[derive(Clone)]
#[non_exhaustive]
pub enum Trust {
    /// A certificate with one of these SHA-256 digests of its DER encoding; its name and its dates
    /// do not matter. Development servers make their own certificates. They put the pins of the
    /// one they have now and of the next one into their join tokens.
    Pins(Vec<[u8; 32]>),
    /// A certificate for the server's name, with a chain to one of the public roots: those of
    /// Mozilla, and those that this machine's administrator has added.
    Public,
    /// A certificate for the server's name, with a chain to one of these roots.
    Roots(TrustedRoots),
    /// Any certificate. Gives no protection against an attacker on the network. Only for the load
    /// generator's flag.
    #[cfg(feature = "insecure-dev")]
    InsecureDev,
}

impl Trust {
    /// Trusts the CA certificates in the content of a PEM file.
    ///
    /// # Errors
    /// [`ConnectError::Trust`] if a certificate is invalid or there is none.
    pub fn ca_pem(pem: &[u8]) -> Result<Trust, ConnectError> {
        let unusable = |error: &dyn fmt::Display| ConnectError::Trust(error.to_string());
        let mut roots = RootCertStore::empty();
        // Some editors write a byte order mark in front of a text.
        let pem = pem.strip_prefix("\u{feff}".as_bytes()).unwrap_or(pem);
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| unusable(&error))?;
            roots.add(certificate).map_err(|error| unusable(&error))?;
        }
        if roots.is_empty() {
            Err(unusable(&"no certificate in the file"))
        } else {
            Ok(Trust::Roots(TrustedRoots(Arc::new(roots))))
        }
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trust::Pins(pins) => write!(f, "Pins({})", PinList(pins)),
            Trust::Public => f.write_str("Public"),
            Trust::Roots(roots) => write!(f, "Roots({})", roots.0.len()),
            #[cfg(feature = "insecure-dev")]
            Trust::InsecureDev => f.write_str("InsecureDev"),
        }
    }
}

/// The QUIC configuration of a client that trusts certain certificates, see [`client_config`].
pub type TrustConfig = quinn::ClientConfig;

/// Returns the QUIC configuration of a client: TLS 1.3, no early data, small windows.
///
/// # Errors
/// [`ConnectError::Trust`] if rustls cannot use the trust, or if a list of pins is empty.
pub fn client_config(trust: &Trust) -> Result<quinn::ClientConfig, ConnectError> {
    let unusable = |error: &dyn fmt::Display| ConnectError::Trust(error.to_string());
    let quic = QuicClientConfig::try_from(tls_config(trust)?).map_err(|e| unusable(&e))?;
    let mut config = quinn::ClientConfig::new(Arc::new(quic));
    config.transport_config(Arc::new(transport()));
    Ok(config)
}

fn tls_config(trust: &Trust) -> Result<rustls::ClientConfig, ConnectError> {
    let provider = Arc::new(provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| ConnectError::Trust(error.to_string()))?;
    let mut config = match trust {
        Trust::Public => builder.with_root_certificates(public_roots()).with_no_client_auth(),
        Trust::Roots(roots) => {
            builder.with_root_certificates(roots.0.clone()).with_no_client_auth()
        }
        Trust::Pins(pins) if pins.is_empty() => {
            return Err(ConnectError::Trust("the list of certificate pins is empty".to_owned()));
        }
        Trust::Pins(pins) => {
            custom(builder, CertificateVerifier::new(&provider, Some(pins.clone())))
        }
        #[cfg(feature = "insecure-dev")]
        Trust::InsecureDev => custom(builder, CertificateVerifier::new(&provider, None)),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A join in early data could be replayed. Without early data, TLS resumption saves no round
    // trip, and its tickets would let an observer link a user's sessions.
    config.enable_early_data = false;
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// Returns Mozilla's roots, and those of this machine: a company's own CA is only there.
fn public_roots() -> RootCertStore {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::debug!(%error, "a root certificate of this machine");
    }
    let (_added, unusable) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(unusable, "root certificates");
    roots
}

/// Returns the cryptography provider. It is explicit, so that a process-wide provider of another
/// crate has no effect here.
///
/// The first cipher suite is the fastest one for this machine. It uses SHA-256, which most machines
/// have in hardware, unlike SHA-384.
fn provider() -> CryptoProvider {
    let first = match best_suite() {
        Suite::Aes128Gcm => CipherSuite::TLS13_AES_128_GCM_SHA256,
        Suite::ChaCha20Poly1305 => CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    };
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != first);
    provider
}

fn custom(
    builder: rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier>,
    verifier: CertificateVerifier,
) -> rustls::ClientConfig {
    builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    // Ask the server to acknowledge every packet without delay. A client sends rarely, so waiting
    // for more packets would save no datagram and would cost a timer.
    let mut at_once = AckFrequencyConfig::default();
    at_once.ack_eliciting_threshold(VarInt::from_u32(0));
    transport
        // The first retransmission comes after 0.3 s instead of 1 s. The server allows five seconds
        // for a join, and on bad Wi-Fi two or three flights are lost in a row.
        .initial_rtt(Duration::from_millis(100))
        .ack_frequency_config(Some(at_once))
        .congestion_controller_factory(Arc::new(SparseCubic::default()))
        // A session's packets fit the smallest MTU. With MTU discovery, its five probes and their
        // acknowledgements were half of all datagrams of a join.
        .mtu_discovery_config(None)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(VarInt::from_u32(IDLE_TIMEOUT_MS).into()))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(SEND_WINDOW)
        // The server opens no bidirectional streams.
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(SERVER_STREAMS))
        .datagram_receive_buffer_size(Some(DATAGRAM_INBOX))
        .datagram_send_buffer_size(DATAGRAM_OUTBOX);
    transport
}

/// Trusts certificates by their hashes, and ignores their names and dates. Still checks the
/// signature of the handshake: otherwise an attacker could use a copy of the public certificate.
#[derive(Debug)]
struct CertificateVerifier {
    /// `None` trusts every certificate.
    pins: Option<Vec<[u8; 32]>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl CertificateVerifier {
    fn new(provider: &CryptoProvider, pins: Option<Vec<[u8; 32]>>) -> Self {
        Self { pins, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for CertificateVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = digest::digest(&digest::SHA256, end_entity);
        let is_found = |pin: &[u8; 32]| verify_slices_are_equal(pin, found.as_ref()).is_ok();
        match &self.pins {
            Some(pins) if !pins.iter().any(is_found) => {
                let found = found.as_ref().to_vec();
                let mismatch = PinMismatch { pinned: pins.clone(), found };
                Err(CertificateError::Other(OtherError(Arc::new(mismatch))).into())
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls13RequiredForQuic.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[derive(thiserror::Error)]
#[error("the certificate's SHA-256 is {}, pinned is {}", Hex(.found), PinList(.pinned))]
struct PinMismatch {
    pinned: Vec<[u8; 32]>,
    found: Vec<u8>,
}

/// Formats like `Display`, because rustls and quinn print this error with `Debug`.
impl fmt::Debug for PinMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

struct PinList<'a>(&'a [[u8; 32]]);

impl fmt::Display for PinList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, pin) in self.0.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { ", " }, Hex(pin))?;
        }
        Ok(())
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

//! The HTTP server: its limits and its end, over plain HTTP and over TLS.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking and says why")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use nucleus_control::http::{HttpServer, Listener, Serving};
use nucleus_core::limits;
use rustls::pki_types::PrivatePkcs8KeyDer;

async fn start(tls: bool) -> (HttpServer, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    let router = Router::new().route("/hello", get(async || "hello\n"));
    let tls = tls.then(|| Arc::new(certificate()));
    let setup = async move {
        let listeners = vec![Listener { socket, tls, router }];
        Ok::<_, std::io::Error>(Serving { listeners, ..Serving::default() })
    };
    (HttpServer::start(setup).await.unwrap(), addr)
}

fn certificate() -> rustls::ServerConfig {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap()
}

fn connect(addr: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(addr).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client
}

/// Sends a request on a connection that stays, and returns the head and the body of the answer.
fn ask(client: &mut TcpStream) -> String {
    client.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    let mut byte = [0];
    while !answer.ends_with("hello\n") {
        client.read_exact(&mut byte).unwrap();
        answer.push(char::from(byte[0]));
    }
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_serves_one_request_after_the_other() {
    let (_server, addr) = start(false).await;
    let mut client = connect(addr);
    for _ in 0..3 {
        assert!(ask(&mut client).starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_head_is_refused() {
    let (_server, addr) = start(false).await;
    let mut client = connect(addr);
    let head = format!("GET / HTTP/1.1\r\nx: {}\r\n", "a".repeat(limits::HTTP_HEAD_BYTES));
    client.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
}

/// Four times as many clients as there are connections are half-open, with and without TLS. Each
/// request is answered at once, and the oldest of the silent clients are closed.
#[tokio::test(flavor = "multi_thread")]
async fn silent_clients_hold_nobody_up() {
    // Both ends of the connections are in this process.
    let _raised = nucleus_net::raise_file_limit();
    for tls in [false, true] {
        let (_server, addr) = start(tls).await;
        let mut kept = connect(addr);
        if !tls {
            ask(&mut kept);
        }
        let mut silent = Vec::new();
        for number in 0..4 * limits::HTTP_CONNECTIONS {
            // A connection without a request for 5 s is closed, whoever else there is.
            if !tls && number % 100 == 0 {
                assert!(ask(&mut kept).starts_with("HTTP/1.1 200"), "who is served stays");
            }
            let mut client = connect(addr);
            let begun: &[u8] = if tls { &[0x16, 3, 1] } else { b"GET /hello HTTP/1.1\r\n" };
            // Fails if the server has closed it already.
            let _sent = client.write_all(begun);
            silent.push(client);
        }
        let start = Instant::now();
        if tls {
            let connected = tokio::task::spawn_blocking(move || handshake(addr)).await.unwrap();
            assert!(connected.starts_with("HTTP/1.1 200"), "{connected}");
        } else {
            assert!(ask(&mut connect(addr)).starts_with("HTTP/1.1 200"));
            assert!(ask(&mut kept).starts_with("HTTP/1.1 200"), "who is served stays");
        }
        assert!(start.elapsed() < limits::HTTP_HEAD_TIME, "{:?}", start.elapsed());
        let oldest = &mut silent[0];
        oldest.set_read_timeout(Some(limits::HTTP_HEAD_TIME / 2)).unwrap();
        let read = oldest.read(&mut [0]);
        assert!(!matches!(&read, Err(error) if error.kind() == ErrorKind::WouldBlock), "{read:?}");
    }
}

/// Asks over TLS, without a check of the certificate, which is the test's own.
fn handshake(addr: SocketAddr) -> String {
    #[derive(Debug)]
    struct Anybody(Arc<rustls::crypto::CryptoProvider>);
    impl rustls::client::danger::ServerCertVerifier for Anybody {
        fn verify_server_cert(
            &self,
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &[rustls::pki_types::CertificateDer<'_>],
            _: &rustls::pki_types::ServerName<'_>,
            _: &[u8],
            _: rustls::pki_types::UnixTime,
        ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
            Ok(rustls::client::danger::ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &rustls::pki_types::CertificateDer<'_>,
            signed: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            let algorithms = &self.0.signature_verification_algorithms;
            rustls::crypto::verify_tls12_signature(message, cert, signed, algorithms)
        }
        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &rustls::pki_types::CertificateDer<'_>,
            signed: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            let algorithms = &self.0.signature_verification_algorithms;
            rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let mut tls = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut tcp = connect(addr);
    let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
    stream.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // The server may end without a TLS alert.
    let _ended = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_client_is_cut() {
    let (_server, addr) = start(false).await;
    let mut silent = connect(addr);
    silent.set_read_timeout(Some(limits::HTTP_HEAD_TIME + Duration::from_secs(5))).unwrap();
    silent.read_to_end(&mut Vec::new()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_closes_the_port_even_with_a_client_on_it() {
    let (server, addr) = start(false).await;
    let _client = connect(addr);
    drop(server);
    assert!(TcpStream::connect(addr).is_err());
}

//! A client of HTTP/1.1 for what this server asks others: few requests, none of them for people. It
//! follows no redirects, and both the time and the size of an answer are limited.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::uri::Scheme;
use axum::http::{HeaderMap, Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

/// A request.
#[derive(Debug)]
pub struct Fetch<'a> {
    /// The method, such as `POST`.
    pub method: &'a str,
    /// Where to, `http` or `https`.
    pub url: &'a str,
    /// Further headers.
    pub headers: &'a [(&'a str, String)],
    /// The body; empty: none.
    pub body: Vec<u8>,
    /// Longest time until the answer is whole.
    pub time: Duration,
    /// Largest body of the answer, in bytes.
    pub max_answer: usize,
    /// Whether the address must be one of the public internet: it comes from somebody who must not
    /// reach this network.
    pub public_only: bool,
    /// By what the peer's certificate is verified; `None`: the roots of the machine and of Mozilla.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

/// An answer.
#[derive(Debug)]
pub struct Fetched {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address is none.
    #[error("this is no address of the form https://host/path")]
    BadUrl,
    /// The host's name has no address.
    #[error("the host {0} is not found")]
    NoHost(String),
    /// The host is not on the public internet.
    #[error("the host is not on the public internet")]
    NotPublic,
    /// No connection could be made, or it broke.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The peer speaks no HTTP, or its answer is too large.
    #[error("the answer is no HTTP, or too large: {0}")]
    Http(String),
    /// The answer took too long.
    #[error("no answer within {0:?}")]
    Late(Duration),
}

/// Sends a request and reads the answer.
///
/// # Errors
///
/// [`FetchError`]. An answer that says that something failed is no error.
pub async fn fetch(request: Fetch<'_>) -> Result<Fetched, FetchError> {
    let time = request.time;
    tokio::time::timeout(time, exchange(request)).await.map_err(|_| FetchError::Late(time))?
}

/// An answer that is read while it comes.
pub struct StreamedAnswer {
    /// The HTTP status.
    pub status: u16,
    body: Incoming,
    connection: AbortHandle,
}

impl StreamedAnswer {
    /// Waits for the next bytes of the body, for so long at most. `None`: it has ended.
    ///
    /// # Errors
    ///
    /// The connection broke, or nothing came.
    pub async fn next(&mut self, time: Duration) -> Result<Option<Bytes>, FetchError> {
        loop {
            let frame = tokio::time::timeout(time, self.body.frame()).await;
            let Some(frame) = frame.map_err(|_| FetchError::Late(time))? else { return Ok(None) };
            let frame = frame.map_err(|error| FetchError::Http(error.to_string()))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }
}

impl Drop for StreamedAnswer {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Sends a request, and returns the answer while its body comes. Must be called in a tokio runtime.
/// [`Fetch::time`] is for the head of the answer, and [`Fetch::max_answer`] is not used.
///
/// # Errors
///
/// [`FetchError`]. An answer that says that something failed is no error.
pub async fn fetch_stream(request: Fetch<'_>) -> Result<StreamedAnswer, FetchError> {
    let time = request.time;
    let opening = async {
        let (stream, uri) = open(&request).await?;
        let failed = |error: hyper::Error| FetchError::Http(error.to_string());
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let connection = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        let answer = sender.send_request(message(&uri, request)?).await;
        let answer = answer.inspect_err(|_| connection.abort()).map_err(failed)?;
        let status = answer.status().as_u16();
        Ok(StreamedAnswer { status, body: answer.into_body(), connection })
    };
    tokio::time::timeout(time, opening).await.map_err(|_| FetchError::Late(time))?
}

/// A connection, with or without TLS.
trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for S {}

async fn exchange(request: Fetch<'_>) -> Result<Fetched, FetchError> {
    let (stream, uri) = open(&request).await?;
    send(stream, &uri, request).await
}

/// Connects to the host of a request.
async fn open(request: &Fetch<'_>) -> Result<(Box<dyn ByteStream>, Uri), FetchError> {
    let uri: Uri = request.url.parse().map_err(|_| FetchError::BadUrl)?;
    let is_tls = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        Some(scheme) if *scheme == Scheme::HTTP => false,
        _ => return Err(FetchError::BadUrl),
    };
    let host = uri.host().ok_or(FetchError::BadUrl)?.trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let stream = connect(&host, port, request.public_only).await?;
    if !is_tls {
        return Ok((Box::new(stream), uri));
    }
    let name = ServerName::try_from(host).map_err(|_| FetchError::BadUrl)?;
    let connector = TlsConnector::from(request.tls.clone().map_or_else(tls, Ok)?);
    Ok((Box::new(connector.connect(name, stream).await?), uri))
}

/// Connects to the first address of a host that answers. The addresses are looked at here and used
/// here, so that no second look-up can give another one.
async fn connect(host: &str, port: u16, public_only: bool) -> Result<TcpStream, FetchError> {
    let no_host = || FetchError::NoHost(host.to_owned());
    let found: Vec<SocketAddr> =
        tokio::net::lookup_host((host, port)).await.map_err(|_| no_host())?.collect();
    let mut error = no_host();
    for addr in found {
        if public_only && !is_public(addr.ip()) {
            error = FetchError::NotPublic;
            continue;
        }
        match TcpStream::connect(addr).await {
            Ok(stream) => return Ok(stream),
            Err(source) => error = source.into(),
        }
    }
    Err(error)
}

/// Makes the request.
fn message(uri: &Uri, request: Fetch<'_>) -> Result<Request<Full<Bytes>>, FetchError> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let mut head = Request::builder()
        .method(request.method)
        .uri(path)
        .header(header::HOST, host)
        .header(header::CONNECTION, "close")
        .header(header::USER_AGENT, concat!("nucleus/", env!("CARGO_PKG_VERSION")));
    for (name, value) in request.headers {
        head = head.header(*name, value);
    }
    let body = Full::new(Bytes::from(request.body));
    head.body(body).map_err(|error| FetchError::Http(error.to_string()))
}

async fn send(
    stream: Box<dyn ByteStream>,
    uri: &Uri,
    request: Fetch<'_>,
) -> Result<Fetched, FetchError> {
    let failed = |error: &dyn std::fmt::Display| FetchError::Http(error.to_string());
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    let max = request.max_answer;
    let message = message(uri, request)?;
    let answering = async {
        let answer = sender.send_request(message).await.map_err(|error| failed(&error))?;
        let status = answer.status().as_u16();
        let headers = answer.headers().clone();
        let body = Limited::new(answer.into_body(), max).collect().await;
        let body = body.map_err(|error| failed(&error))?.to_bytes().to_vec();
        Ok(Fetched { status, headers, body })
    };
    tokio::pin!(answering);
    tokio::select! {
        answer = &mut answering => answer,
        // The connection ends with the answer, or before it.
        ended = connection => match ended {
            Ok(()) => answering.await,
            Err(error) => Err(failed(&error)),
        },
    }
}

/// The roots of the machine and of Mozilla. They are read once, because that takes milliseconds.
fn tls() -> Result<Arc<rustls::ClientConfig>, FetchError> {
    static CONFIG: OnceLock<Arc<rustls::ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let config = client_config(Vec::new())?;
    Ok(CONFIG.get_or_init(|| config).clone())
}

/// Makes a configuration that verifies by the roots of the machine, of Mozilla, and by `more`.
///
/// # Errors
///
/// The TLS library refuses one of `more`.
pub fn client_config(
    more: Vec<CertificateDer<'static>>,
) -> Result<Arc<rustls::ClientConfig>, FetchError> {
    let refused = |error: rustls::Error| FetchError::Http(error.to_string());
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let _skipped = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for root in more {
        roots.add(root).map_err(refused)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(refused)?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// Whether an address is one of the public internet.
fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_broadcast()
                || ip.is_documentation()
                || ip.is_multicast()
                || a == 0
                || a >= 240
                // Shared by providers (RFC 6598), and benchmarks (RFC 2544).
                || (a == 100 && (64..128).contains(&b))
                || (a == 198 && (18..20).contains(&b))
                || (a == 192 && b == 0 && c == 0))
        }
        IpAddr::V6(ip) => {
            let [first, second, ..] = ip.segments();
            // Only 2000::/3 is assigned to the public internet; tunnels hide an IPv4 address in it.
            (first & 0xe000) == 0x2000
                && first != 0x2002
                && !(first == 0x2001 && (second == 0 || second == 0xdb8))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_inside_a_network_are_not_public() {
        for inside in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "198.18.0.1",
            "192.0.0.8",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2001:db8::1",
            "2001::1",
            "2002:a00:1::",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1"] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }

    #[tokio::test]
    async fn wrong_addresses_are_named() {
        let get = async |url: &str, public_only| {
            let time = Duration::from_secs(2);
            let request = Fetch {
                method: "GET",
                url,
                headers: &[],
                body: Vec::new(),
                time,
                max_answer: 1_000,
                public_only,
                tls: None,
            };
            fetch(request).await.map(drop).map_err(|error| error.to_string())
        };
        for wrong in ["", "nucleus.example.com", "ftp://a/b", "https://", "http://a b/"] {
            assert!(get(wrong, false).await.unwrap_err().contains("https://host/path"), "{wrong}");
        }
        let inside = get("http://127.0.0.1:9/", true).await.unwrap_err();
        assert!(inside.contains("not on the public internet"), "{inside}");
    }
}

//! A client of HTTP/1.1 for what this server asks others: few requests, none of them for people. It
//! follows no redirects, and both the time and the size of an answer are limited.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::uri::Scheme;
use axum::http::{Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A request.
#[derive(Debug)]
pub struct Fetch<'a> {
    /// The method, such as `POST`.
    pub method: &'a str,
    /// Where to, `http` or `https`.
    pub url: &'a str,
    /// Further headers.
    pub headers: &'a [(&'static str, String)],
    /// The body; empty: none.
    pub body: Vec<u8>,
    /// Longest time until the answer is whole.
    pub time: Duration,
    /// Largest body of the answer, in bytes.
    pub max_answer: usize,
    /// Whether the address must be one of the public internet: it comes from somebody who must not
    /// reach this network.
    pub public_only: bool,
}

/// An answer.
#[derive(Debug)]
pub struct Fetched {
    /// The HTTP status.
    pub status: u16,
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

/// As [`fetch`], on the connection that an earlier request to the same address has left in `kept`, and leaves
/// its own there. If the kept one has been closed meanwhile, a new one is made. The request may then arrive
/// twice.
///
/// # Errors
///
/// As for [`fetch`]. No connection is kept then.
pub async fn fetch_kept(
    request: Fetch<'_>,
    kept: &mut Option<KeptConnection>,
) -> Result<Fetched, FetchError> {
    let time = request.time;
    let exchanged = tokio::time::timeout(time, exchange_kept(request, kept)).await;
    exchanged.map_err(|_| FetchError::Late(time))?
}

/// A connection for further requests to the same address. It is closed when it is dropped.
#[derive(Debug)]
pub struct KeptConnection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: tokio::task::JoinHandle<()>,
}

impl Drop for KeptConnection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn exchange(request: Fetch<'_>) -> Result<Fetched, FetchError> {
    let uri: Uri = request.url.parse().map_err(|_| FetchError::BadUrl)?;
    let mut connection = open(&uri, request.public_only).await?;
    let sent = connection.send(&uri, &request, false).await;
    sent.map_err(UnansweredRequest::into_error)
}

async fn exchange_kept(
    request: Fetch<'_>,
    kept: &mut Option<KeptConnection>,
) -> Result<Fetched, FetchError> {
    let uri: Uri = request.url.parse().map_err(|_| FetchError::BadUrl)?;
    // A request that is given up leaves no connection.
    if let Some(mut connection) = kept.take() {
        match connection.send(&uri, &request, true).await {
            Ok(answer) => {
                *kept = Some(connection);
                return Ok(answer);
            }
            // The host has closed it.
            Err(UnansweredRequest::NotSent(_)) => {}
            Err(error) => return Err(error.into_error()),
        }
    }
    let mut connection = open(&uri, request.public_only).await?;
    let sent = connection.send(&uri, &request, true).await;
    let answer = sent.map_err(UnansweredRequest::into_error)?;
    *kept = Some(connection);
    Ok(answer)
}

/// Opens a connection to the host of an address.
async fn open(uri: &Uri, public_only: bool) -> Result<KeptConnection, FetchError> {
    let is_tls = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        Some(scheme) if *scheme == Scheme::HTTP => false,
        _ => return Err(FetchError::BadUrl),
    };
    let host = uri.host().ok_or(FetchError::BadUrl)?.trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let stream = connect(&host, port, public_only).await?;
    if !is_tls {
        return KeptConnection::on(stream).await;
    }
    let name = ServerName::try_from(host).map_err(|_| FetchError::BadUrl)?;
    let connector = TlsConnector::from(tls()?);
    KeptConnection::on(connector.connect(name, stream).await?).await
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

/// Why a request has no answer.
enum UnansweredRequest {
    /// The connection broke before an answer began. A kept one may have been closed before the request.
    NotSent(FetchError),
    /// The answer is wrong or too large.
    WrongAnswer(FetchError),
}

impl UnansweredRequest {
    fn into_error(self) -> FetchError {
        match self {
            Self::NotSent(error) | Self::WrongAnswer(error) => error,
        }
    }
}

fn no_http(error: impl std::fmt::Display) -> FetchError {
    FetchError::Http(error.to_string())
}

impl KeptConnection {
    async fn on<S>(stream: S) -> Result<Self, FetchError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(no_http)?;
        // The sender tells how it has ended.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, driver })
    }

    /// Sends a request and reads the answer. `is_kept`: further requests may follow.
    async fn send(
        &mut self,
        uri: &Uri,
        request: &Fetch<'_>,
        is_kept: bool,
    ) -> Result<Fetched, UnansweredRequest> {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let mut head = Request::builder()
            .method(request.method)
            .uri(path)
            .header(header::HOST, host)
            .header(header::USER_AGENT, concat!("nucleus/", env!("CARGO_PKG_VERSION")));
        if !is_kept {
            head = head.header(header::CONNECTION, "close");
        }
        for (name, value) in request.headers {
            head = head.header(*name, value);
        }
        let message = head
            .body(Full::new(Bytes::from(request.body.clone())))
            .map_err(|error| UnansweredRequest::WrongAnswer(no_http(error)))?;
        let not_sent = |error| UnansweredRequest::NotSent(no_http(error));
        self.sender.ready().await.map_err(not_sent)?;
        let answer = self.sender.send_request(message).await.map_err(not_sent)?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), request.max_answer).collect().await;
        let body = body.map_err(|error| UnansweredRequest::WrongAnswer(no_http(error)))?;
        Ok(Fetched { status, body: body.to_bytes().to_vec() })
    }
}

/// The roots of the machine and of Mozilla. They are read once, because that takes milliseconds.
fn tls() -> Result<Arc<rustls::ClientConfig>, FetchError> {
    static CONFIG: OnceLock<Arc<rustls::ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let _skipped = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| FetchError::Http(error.to_string()))?;
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    Ok(CONFIG.get_or_init(|| config).clone())
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

//! A connection to another server, with or without TLS.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use axum::http::uri::Scheme;
use axum::http::{Request, Response, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::public::is_public;
use super::{Fetch, FetchError, Fetched};

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

/// Why a request has no answer.
pub(super) enum UnansweredRequest {
    /// The connection broke before an answer began. A kept one may have been closed before the request.
    NotSent(FetchError),
    /// The answer is wrong or too large.
    WrongAnswer(FetchError),
}

impl UnansweredRequest {
    pub(super) fn into_error(self) -> FetchError {
        match self {
            Self::NotSent(error) | Self::WrongAnswer(error) => error,
        }
    }
}

pub(super) fn no_http(error: impl std::fmt::Display) -> FetchError {
    FetchError::Http(error.to_string())
}

impl KeptConnection {
    /// Opens a connection to the host of an address, for a request.
    pub(super) async fn open(uri: &Uri, request: &Fetch<'_>) -> Result<Self, FetchError> {
        let is_tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(FetchError::BadUrl),
        };
        let host = uri.host().ok_or(FetchError::BadUrl)?.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let stream = connect(&host, port, request.public_only).await?;
        if !is_tls {
            return Self::on(stream).await;
        }
        let name = ServerName::try_from(host).map_err(|_| FetchError::BadUrl)?;
        let connector = TlsConnector::from(request.tls.clone().map_or_else(tls, Ok)?);
        Self::on(connector.connect(name, stream).await.map_err(no_tls)?).await
    }

    async fn on<S>(stream: S) -> Result<Self, FetchError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(no_http)?;
        // The sender tells how it has ended.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, driver })
    }

    /// Sends a request, and returns the answer as soon as its head has come. `is_kept`: further requests may
    /// follow.
    pub(super) async fn begin(
        &mut self,
        uri: &Uri,
        request: &Fetch<'_>,
        is_kept: bool,
    ) -> Result<Response<Incoming>, UnansweredRequest> {
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
        self.sender.send_request(message).await.map_err(not_sent)
    }

    /// Sends a request and reads the answer.
    pub(super) async fn send(
        &mut self,
        uri: &Uri,
        request: &Fetch<'_>,
        is_kept: bool,
    ) -> Result<Fetched, UnansweredRequest> {
        let (head, body) = self.begin(uri, request, is_kept).await?.into_parts();
        let body = Limited::new(body, request.max_answer).collect().await;
        let body = body.map_err(|error| UnansweredRequest::WrongAnswer(no_http(error)))?;
        let (status, headers) = (head.status.as_u16(), head.headers);
        Ok(Fetched { status, headers, body: body.to_bytes().to_vec() })
    }
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

/// Explains a handshake that failed. The words of the TLS library name no remedy.
fn no_tls(error: std::io::Error) -> FetchError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(fault)) = inner else { return error.into() };
    let name = format!("{fault:?}");
    FetchError::Certificate(match fault {
        CertificateError::UnknownIssuer => {
            "its authority is not known: if it is your own, name a file with the authority's \
             certificate in the environment variable SSL_CERT_FILE"
                .to_owned()
        }
        _ if name.contains("CaUsedAsEndEntity") => {
            "it is that of an authority (CA:TRUE), which no server may use: let the authority sign \
             one for the host"
                .to_owned()
        }
        _ => fault.to_string(),
    })
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

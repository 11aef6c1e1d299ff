//! A client of HTTP/1.1 for what this server asks others: few requests, none of them for people. It
//! follows no redirects, and both the time and the size of an answer are limited.

mod connection;
mod host;
mod public;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use connection::UnansweredRequest;
pub use connection::{KeptConnection, client_config};
pub(crate) use host::{HostPlace, is_known_by_itself, look_up};

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
    /// The certificate of the host cannot be verified.
    #[error("the host's certificate is refused: {0}")]
    Certificate(String),
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

/// An answer that is read while it comes.
pub struct StreamedAnswer {
    /// The HTTP status.
    pub status: u16,
    body: Incoming,
    /// Closed with the answer.
    _connection: KeptConnection,
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

/// Sends a request, and returns the answer while its body comes. Must be called in a tokio runtime.
/// [`Fetch::time`] is for the head of the answer, and [`Fetch::max_answer`] is not used.
///
/// # Errors
///
/// [`FetchError`]. An answer that says that something failed is no error.
pub async fn fetch_stream(request: Fetch<'_>) -> Result<StreamedAnswer, FetchError> {
    let time = request.time;
    let opening = async {
        let uri: Uri = request.url.parse().map_err(|_| FetchError::BadUrl)?;
        let mut connection = KeptConnection::open(&uri, &request).await?;
        let answer = connection.begin(&uri, &request, false).await;
        let answer = answer.map_err(UnansweredRequest::into_error)?;
        let status = answer.status().as_u16();
        Ok(StreamedAnswer { status, body: answer.into_body(), _connection: connection })
    };
    tokio::time::timeout(time, opening).await.map_err(|_| FetchError::Late(time))?
}

async fn exchange(request: Fetch<'_>) -> Result<Fetched, FetchError> {
    let uri: Uri = request.url.parse().map_err(|_| FetchError::BadUrl)?;
    let mut connection = KeptConnection::open(&uri, &request).await?;
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
    let mut connection = KeptConnection::open(&uri, &request).await?;
    let sent = connection.send(&uri, &request, true).await;
    let answer = sent.map_err(UnansweredRequest::into_error)?;
    *kept = Some(connection);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

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

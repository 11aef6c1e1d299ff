//! The beginning of a WebTransport session: HTTP/3's settings, and the request for the session.

use nucleus_core::limits;
use nucleus_core::text::printable;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use web_transport_proto::{ConnectRequest, ConnectResponse, Settings, http};

use super::super::quic::{QuicConnection, QuicRecvStream, SendStream};
use super::code;
use super::connection::WebConnection;
use super::ending::ClosingPages;
use super::streams::ClientStreams;

/// HTTP/3 in TLS.
pub const ALPN: &[u8] = b"h3";

/// The path of the session.
const PATH: &str = "/nucleus";

/// How many bidirectional streams a client may have open: the request for the session, and the
/// control stream.
const BIDIRECTIONAL: u32 = 2;

/// How many unidirectional streams a client may have open: three of HTTP/3 (control, and two of the
/// compression of headers), two lanes, and one that the server can refuse with a code.
const UNIDIRECTIONAL: u32 = 6;

/// Why a connection got no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSession {
    /// The client does not keep to HTTP/3 or WebTransport, or the connection was lost.
    Broken,
    /// The client was answered with a status: its path is wrong, or pages of its origin may hold no
    /// sessions.
    Refused,
}

/// Opens the session of a new connection. `admits` tells whether pages of an origin may hold sessions.
///
/// # Errors
///
/// The client broke the protocol, or was refused. The connection is closed then.
pub(crate) async fn open(
    connection: QuicConnection,
    closing: ClosingPages,
    admits: impl Fn(&str) -> bool,
) -> Result<WebConnection, NoSession> {
    connection.set_streams(BIDIRECTIONAL, UNIDIRECTIONAL);
    let opening = async {
        tokio::try_join!(
            send_settings(&connection),
            receive_settings(&connection),
            receive_request(&connection)
        )
    };
    let (settings, streams, Request { request, mut send, receive }) = tokio::select! {
        opened = opening => opened?,
        // A client that has not joined may send none. Otherwise they would wait in memory.
        never = connection.drop_datagrams() => never,
    };
    let origin = request.headers.get(http::header::ORIGIN);
    let origin = origin.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let status = if request.url.path() != PATH {
        http::StatusCode::NOT_FOUND
    } else if origin.as_deref().is_some_and(|origin| !admits(origin)) {
        http::StatusCode::FORBIDDEN
    } else {
        http::StatusCode::OK
    };
    ConnectResponse::new(status).write(&mut send).await.map_err(|_| NoSession::Broken)?;
    if status != http::StatusCode::OK {
        let (remote, origin) = (connection.remote(), origin.unwrap_or_default());
        let (path, origin) = (printable(request.url.path()), printable(&origin));
        tracing::debug!(%remote, %status, path, origin, "a page was refused a session");
        // The answer must arrive before the connection is closed.
        let _in_time = timeout(limits::REFUSAL_TIME, send.finish()).await;
        connection.close_raw(code::NO_ERROR, "");
        return Err(NoSession::Refused);
    }
    Ok(WebConnection::new(connection, origin, settings, streams, (send, receive), closing))
}

/// The client's request for a session, and the two halves of its stream.
struct Request {
    request: ConnectRequest,
    send: SendStream,
    receive: QuicRecvStream,
}

/// Opens the server's HTTP/3 control stream. It must stay open.
async fn send_settings(connection: &QuicConnection) -> Result<SendStream, NoSession> {
    let mut stream = connection.open(0).await.map_err(|_| NoSession::Broken)?;
    let mut settings = Settings::default();
    settings.enable_webtransport(1);
    settings.write(&mut stream).await.map_err(|_| NoSession::Broken)?;
    Ok(stream)
}

/// Reads the client's settings, which may stand on any of its first streams.
async fn receive_settings(connection: &QuicConnection) -> Result<ClientStreams, NoSession> {
    let mut streams = ClientStreams::default();
    let mut control = streams.control(connection).await.map_err(|_| NoSession::Broken)?;
    // The library wants to read the type of the stream, too.
    let mut with_type = (&[0u8][..]).chain(&mut control);
    Settings::read(&mut with_type).await.map_err(|_| NoSession::Broken)?;
    streams.keep_control(control);
    Ok(streams)
}

async fn receive_request(connection: &QuicConnection) -> Result<Request, NoSession> {
    let (send, mut receive) = connection.accept_bi().await.map_err(|_| NoSession::Broken)?;
    let request = ConnectRequest::read(&mut receive).await.map_err(|_| NoSession::Broken)?;
    Ok(Request { request, send, receive })
}

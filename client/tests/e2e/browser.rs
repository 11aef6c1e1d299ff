//! Browsers at the server of a test.

use std::net::SocketAddr;

use nucleus_client::Code;
use nucleus_protocol::session::{self, Join, Joined, Refuse, Schema};
use nucleus_webclient::{Browser, WebControlStream, WebSession, client_config};

use super::support::TestServer;

/// The origin of a page that development mode admits.
pub(crate) const LOCAL: &str = "http://localhost:8055";

/// The configuration of a browser that trusts the server's certificate as a root.
pub(crate) fn config(server: &TestServer) -> quinn::ClientConfig {
    client_config(server.data().certificates().in_service().cert_pem()).unwrap()
}

/// Opens a connection with ALPN `h3`. Trusts the server's certificate as a root.
pub(crate) async fn connect(server: &TestServer, to: SocketAddr) -> quinn::Connection {
    connect_with(config(server), to).await
}

/// Opens a connection with this configuration.
pub(crate) async fn connect_with(config: quinn::ClientConfig, to: SocketAddr) -> quinn::Connection {
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint.connect_with(config, to, "localhost").unwrap().await.unwrap()
}

/// Connects as a browser does: by ALPN `h3`, with HTTP/3's settings.
pub(crate) async fn browser(server: &TestServer) -> Browser {
    browser_at(server, server.on.session).await
}

/// Connects as a browser does, to this address.
pub(crate) async fn browser_at(server: &TestServer, to: SocketAddr) -> Browser {
    Browser::new(connect(server, to).await).await.unwrap()
}

/// Opens a session of a page of this machine.
pub(crate) async fn open(server: &TestServer) -> WebSession {
    open_at(server, server.on.session).await
}

/// Opens a session of a page of this machine, at this address.
pub(crate) async fn open_at(server: &TestServer, to: SocketAddr) -> WebSession {
    browser_at(server, to).await.open(nucleus_webclient::PATH, &[LOCAL]).await.unwrap()
}

/// The opening of a browser's session in the lobby.
pub(crate) fn opening(token: String, largest_body: u16) -> Vec<u8> {
    lobby(Join { largest_body, token: token.into_bytes(), ..Join::default() })
}

fn lobby(join: Join) -> Vec<u8> {
    nucleus_webclient::opening(&Join { room: b"lobby".to_vec(), ..join }, vec![7])
}

/// Joins the lobby. Returns the control stream too, which must stay open.
pub(crate) async fn join(
    web: &WebSession,
    server: &TestServer,
    token: String,
) -> (WebControlStream, Joined) {
    let (control, [welcome, joined]) = web.control(&opening(token, 1_150)).await.unwrap();
    assert_eq!((welcome.0, joined.0), (Schema::Welcome, Schema::Joined));
    assert_eq!(server.metric("nucleus_session_pages_refused_total"), 0.0);
    (control, session::owned(&joined.1).unwrap())
}

/// Joins the lobby with a ticket. Returns the body of `Joined`, or the code of the refusal.
pub(crate) async fn join_as(
    web: &WebSession,
    token: String,
    ticket: Vec<u8>,
) -> (WebControlStream, Result<Vec<u8>, Option<Code>>) {
    let join = Join { token: token.into_bytes(), ticket, ..Join::default() };
    let (control, [_, (schema, body)]) = web.control(&lobby(join)).await.unwrap();
    let answer = match schema {
        Schema::Joined => Ok(body),
        _ => Err(Code::from_number(Refuse::parse(&body).unwrap().code.into())),
    };
    (control, answer)
}

/// Returns the code and the text with which the server closes the session.
pub(crate) async fn closed(web: WebSession) -> (Option<Code>, String) {
    let (code, text) = web.closed().await.unwrap();
    (Code::from_number(code.into()), text)
}

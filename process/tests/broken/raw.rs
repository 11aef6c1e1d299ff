//! Clients that send the protocol's bytes themselves, from networks of their own.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use nucleus_client::Trust;
use nucleus_client::session::client_config;
use nucleus_client::token::pins_in;
use nucleus_protocol::session::{self, Hello, Join, stream};
use nucleus_webclient::{Browser, PATH, UNIDIRECTIONAL, WebSession};
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use tokio::time::timeout;

use crate::server::Server;

/// How long a stream must accept nothing until flow control counts as the reason.
const STOPPED: Duration = Duration::from_millis(300);

/// Endpoints of clients, each with an address of another /24 of the loopback network.
pub(crate) struct RawClients {
    endpoints: Vec<Endpoint>,
    pub(crate) config: quinn::ClientConfig,
    /// The configuration of browsers.
    web: quinn::ClientConfig,
    pub(crate) server: SocketAddr,
    pub(crate) token: String,
}

/// How a client reaches the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    Quic,
    WebTransport,
}

/// A connection on which a client may open the streams of a session.
pub(crate) struct RawConnection {
    pub(crate) quic: Connection,
    /// The session of a browser, which ends when this is dropped.
    web: Option<WebSession>,
}

impl RawConnection {
    /// Opens the control stream. `opening` is its first bytes.
    pub(crate) async fn control(&self, opening: &[u8]) -> Option<(SendStream, RecvStream)> {
        let (mut control, answers) = self.quic.open_bi().await.ok()?;
        let prefix: &[u8] =
            if self.web.is_some() { &nucleus_webclient::BIDIRECTIONAL } else { &[] };
        control.write_all(&[prefix, opening].concat()).await.ok()?;
        Some((control, answers))
    }

    /// Opens a stream of this type. Returns it with the number of bytes that it has sent.
    pub(crate) async fn open(&self, kind: u8) -> Option<(SendStream, usize)> {
        let mut stream = self.quic.open_uni().await.ok()?;
        let prefix: &[u8] = if self.web.is_some() { &UNIDIRECTIONAL } else { &[] };
        let bytes = [prefix, &[kind]].concat();
        stream.write_all(&bytes).await.ok()?;
        Some((stream, bytes.len()))
    }
}

impl RawClients {
    /// Opens endpoints on 127.0.`n`.1 for each `n` of `networks`.
    pub(crate) fn new(server: &Server, networks: RangeInclusive<u8>) -> Self {
        let token = server.token("raw", "participant");
        let config = client_config(&Trust::Pins(pins_in(&token))).unwrap();
        let endpoint = |network| {
            let address = SocketAddr::from((Ipv4Addr::new(127, 0, network, 1), 0));
            let mut endpoint = Endpoint::client(address).unwrap();
            endpoint.set_default_client_config(config.clone());
            endpoint
        };
        let endpoints = networks.map(endpoint).collect();
        let web = nucleus_webclient::client_config(&server.certificates()).unwrap();
        Self { endpoints, config, web, server: server.session().parse().unwrap(), token }
    }

    /// Returns the endpoint of client `n`. The clients use the networks in turn.
    pub(crate) fn endpoint(&self, n: usize) -> &Endpoint {
        &self.endpoints[n % self.endpoints.len()]
    }

    /// Completes the TLS handshake of client `n`.
    pub(crate) async fn connect(&self, n: usize) -> Result<Connection, ConnectionError> {
        self.endpoint(n).connect(self.server, "localhost").unwrap().await
    }

    /// Connects client `n`. A browser opens its session too.
    pub(crate) async fn open(&self, n: usize, carrier: Carrier) -> Option<RawConnection> {
        if carrier == Carrier::Quic {
            return Some(RawConnection { quic: self.connect(n).await.ok()?, web: None });
        }
        let connecting = self.endpoint(n).connect_with(self.web.clone(), self.server, "localhost");
        let quic = connecting.unwrap().await.ok()?;
        let web = Browser::new(quic.clone()).await.ok()?.open(PATH, &[]).await.ok()?;
        Some(RawConnection { quic, web: Some(web) })
    }

    /// Connects client `n` and joins a room. Returns the connection and its control stream.
    pub(crate) async fn join(
        &self,
        n: usize,
        room: &str,
        carrier: Carrier,
    ) -> (RawConnection, SendStream, RecvStream) {
        let connection = self.open(n, carrier).await.unwrap();
        let join = session::encode(&Join {
            token: self.token.clone().into_bytes(),
            room: room.as_bytes().to_vec(),
            suites: vec![1],
            largest_body: 1_150,
            ..Join::default()
        });
        let opening = [hello(), join].concat();
        let (control, mut answers) = connection.control(&opening).await.unwrap();
        // `Welcome` and the start of `Joined`.
        answers.read_exact(&mut [0; 200]).await.unwrap();
        (connection, control, answers)
    }
}

/// Returns the type of the control stream and `Hello`.
pub(crate) fn hello() -> Vec<u8> {
    let hello = Hello { oldest: 1, newest: 1, flags: 0, agent: b"raw".to_vec(), features: vec![7] };
    [&[stream::CONTROL][..], &hello.encode()].concat()
}

/// Writes `bytes` again and again until flow control stops the stream. Returns the number of bytes
/// that the stream has accepted.
pub(crate) async fn fill(stream: &mut SendStream, bytes: &[u8]) -> usize {
    let mut accepted = 0;
    while let Ok(written) = timeout(STOPPED, stream.write(&bytes[accepted % bytes.len()..])).await {
        let Ok(written) = written else { break };
        accepted += written;
    }
    accepted
}

//! Clients that send the protocol's bytes themselves, from networks of their own.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use nucleus_client::Trust;
use nucleus_client::session::client_config;
use nucleus_client::token::pins_in;
use nucleus_protocol::session::{self, Hello, Join, stream};
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use tokio::time::timeout;

use crate::server::Server;

/// How long a stream must accept nothing until flow control counts as the reason.
const STOPPED: Duration = Duration::from_millis(300);

/// Endpoints of clients, each with an address of another /24 of the loopback network.
pub(crate) struct RawClients {
    endpoints: Vec<Endpoint>,
    pub(crate) config: quinn::ClientConfig,
    pub(crate) server: SocketAddr,
    pub(crate) token: String,
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
        Self { endpoints, config, server: server.session().parse().unwrap(), token }
    }

    /// Returns the endpoint of client `n`. The clients use the networks in turn.
    pub(crate) fn endpoint(&self, n: usize) -> &Endpoint {
        &self.endpoints[n % self.endpoints.len()]
    }

    /// Completes the TLS handshake of client `n`.
    pub(crate) async fn connect(&self, n: usize) -> Result<Connection, ConnectionError> {
        self.endpoint(n).connect(self.server, "localhost").unwrap().await
    }

    /// Connects client `n` and joins a room. Returns the connection and its control stream.
    pub(crate) async fn join(&self, n: usize, room: &str) -> (Connection, SendStream, RecvStream) {
        let connection = self.connect(n).await.unwrap();
        let (mut control, mut answers) = connection.open_bi().await.unwrap();
        let join = session::encode(&Join {
            token: self.token.clone().into_bytes(),
            room: room.as_bytes().to_vec(),
            suites: vec![1],
            largest_body: 1_150,
            ..Join::default()
        });
        control.write_all(&[hello(), join].concat()).await.unwrap();
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

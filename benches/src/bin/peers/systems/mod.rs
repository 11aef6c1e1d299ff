//! The systems that are compared: how each one's server is started and what a peer of it is.

mod child;
mod enet;
mod limit;
mod naive;
mod nucleus;
mod quinn;
mod quinn_client;
mod renet;
mod sealed;

use std::io;
use std::net::SocketAddr;

use clap::ValueEnum;
use nucleus_loadgen::embedded::EmbeddedError;

use crate::client::Client;
use crate::cores::Cores;
use crate::relay::Task;
use child::ChildServer;
use enet::EnetClient;
use naive::Wait;
use quinn_client::QuinnClient;
use renet::NetcodePeer;
use sealed::SealedClient;

/// A relay server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum System {
    /// The server of this repository.
    Nucleus,
    /// A bare relay on the same sockets and cipher, coalescing at the same tick: the machine's limit.
    Limit,
    /// A datagram for every message and recipient as soon as it has come, on the same sockets and
    /// cipher.
    Naive,
    /// The same, but it looks at its socket every 2 ms only.
    NaiveDrained,
    /// QUIC datagrams by quinn, coalesced by the application at the same tick.
    Quinn,
    /// renet over its netcode transport, encrypted.
    Renet,
    /// ENet; it does not encrypt.
    Enet,
}

/// A server process. It ends when this is dropped.
pub(crate) trait Server {
    /// Its process id.
    fn pid(&self) -> u32;

    /// What became of it when it has ended by itself.
    fn died(&mut self) -> Option<String>;
}

/// A server and one client for each peer, with the address to speak to.
pub(crate) struct Running {
    pub(crate) server: Box<dyn Server>,
    pub(crate) clients: Vec<(SocketAddr, Box<dyn Client>)>,
}

/// Why a system is not to be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    #[error("the server cannot be started: {0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Client(String),
}

impl StartError {
    /// A peer that cannot be made.
    fn client(error: impl std::fmt::Display) -> Self {
        StartError::Client(error.to_string())
    }
}

impl System {
    /// All that are compared when none are named.
    pub(crate) const ALL: [System; 6] =
        [System::Nucleus, System::Limit, System::Naive, System::Quinn, System::Renet, System::Enet];

    /// As on the command line and in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            System::Nucleus => "nucleus",
            System::Limit => "limit",
            System::Naive => "naive",
            System::NaiveDrained => "naive-drained",
            System::Quinn => "quinn",
            System::Renet => "renet",
            System::Enet => "enet",
        }
    }

    /// Peers that it takes at most, where it has a limit.
    pub(crate) fn max_peers(self) -> Option<u32> {
        match self {
            System::Renet => Some(renet::MAX_PEERS),
            System::Enet => Some(enet::MAX_PEERS),
            _ => None,
        }
    }

    /// Starts the server on its core and makes the clients.
    pub(crate) fn start(self, task: Task, cores: Cores) -> Result<Running, StartError> {
        if self == System::Nucleus {
            return nucleus::start(task, cores);
        }
        let server = cores.start_server(|| ChildServer::start(self, task))?;
        let client = |peer| Ok((server.address, self.client(&server, task, peer)?));
        let clients: Result<_, StartError> = (0..task.rooms.peers).map(client).collect();
        Ok(Running { clients: clients?, server: Box::new(server) })
    }

    fn client(
        self,
        server: &ChildServer,
        task: Task,
        peer: u32,
    ) -> Result<Box<dyn Client>, StartError> {
        let (slot, address) = (task.rooms.slot(peer), server.address);
        Ok(match self {
            System::Limit | System::Naive | System::NaiveDrained => {
                Box::new(SealedClient::new(peer, slot))
            }
            System::Quinn => Box::new(QuinnClient::new(peer, slot, address, &server.secret)?),
            System::Renet => Box::new(NetcodePeer::new(peer, slot, address)?),
            System::Enet => Box::new(EnetClient::new(peer, slot, address)?),
            System::Nucleus => return Err(StartError::client("its peers join by sessions")),
        })
    }

    /// Is that server, until the process ends.
    pub(crate) fn serve(self, task: Task) -> io::Result<()> {
        match self {
            System::Nucleus => Err(io::Error::other("it is a program of its own")),
            System::Limit => limit::serve(task),
            System::Naive => naive::serve(task, Wait::Readable),
            System::NaiveDrained => naive::serve(task, Wait::Drain),
            System::Quinn => quinn::serve(task),
            System::Renet => renet::serve(task),
            System::Enet => enet::serve(task),
        }
    }
}

//! The systems that are compared: starts the server of each, and creates its clients.

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
use crate::relay::RelayTask;
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
    /// A bare relay on the same sockets and cipher, gathering by the same rule. Its CPU time
    /// is the least possible.
    Limit,
    /// A relay on the same sockets and cipher that immediately sends a datagram for every message
    /// and recipient.
    Naive,
    /// Like `naive`, but the relay reads its socket only every 2 ms.
    NaiveDrained,
    /// QUIC datagrams with quinn, gathered by the application by the same rule.
    Quinn,
    /// renet over its netcode transport, encrypted.
    Renet,
    /// ENet, which does not encrypt.
    Enet,
}

/// A server process. Dropping this ends the process.
pub(crate) trait Server {
    /// Returns the process id.
    fn pid(&self) -> u32;

    /// Returns an error text if the process has ended by itself.
    fn died(&mut self) -> Option<String>;
}

/// A running server, and a client for each peer with the address to send to.
pub(crate) struct Running {
    pub(crate) server: Box<dyn Server>,
    pub(crate) clients: Vec<(SocketAddr, Box<dyn Client>)>,
}

/// The error of starting a system.
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
    /// Returns the error of a peer that cannot be created.
    fn client(error: impl std::fmt::Display) -> Self {
        StartError::Client(error.to_string())
    }
}

impl System {
    /// The systems that are compared if the command line names none.
    pub(crate) const ALL: [System; 6] =
        [System::Nucleus, System::Limit, System::Naive, System::Quinn, System::Renet, System::Enet];

    /// Returns the name on the command line and in the report.
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

    /// Returns the largest number of peers that the system allows; `None` if it has no limit.
    pub(crate) fn max_peers(self) -> Option<u32> {
        match self {
            System::Renet => Some(renet::MAX_PEERS),
            System::Enet => Some(enet::MAX_PEERS),
            _ => None,
        }
    }

    /// Starts the server on its core and creates the clients.
    ///
    /// # Errors
    ///
    /// If the server or a client cannot be started.
    pub(crate) fn start(self, task: RelayTask, cores: Cores) -> Result<Running, StartError> {
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
        task: RelayTask,
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
            System::Nucleus => return Err(StartError::client("peers of nucleus join by sessions")),
        })
    }

    /// Runs the server in this process until the process ends.
    ///
    /// # Errors
    ///
    /// If the server cannot start, or its socket fails.
    pub(crate) fn serve(self, task: RelayTask) -> io::Result<()> {
        match self {
            System::Nucleus => Err(io::Error::other("nucleus is a separate program")),
            System::Limit => limit::serve(task),
            System::Naive => naive::serve(task, Wait::Readable),
            System::NaiveDrained => naive::serve(task, Wait::Drain),
            System::Quinn => quinn::serve(task),
            System::Renet => renet::serve(task),
            System::Enet => enet::serve(task),
        }
    }
}

//! [`SessionDriver`]: drives a client with quinn and tokio.

use std::future::poll_fn;

use nucleus_client_core::session::{
    ClientOutput, ConnectionEnd, ConnectionFacts, DrivenClient, JoinError, MAX_ADDRESSES,
    SessionInput, SessionOutput,
};
use quinn::VarInt;

use super::dial::{DialedConnection, ServerNames, SessionSockets, dial};
use super::end::connection_end;
use super::handle::ClientHandle;
use super::io::ConnectionIo;
use super::tls::{Trust, client_config};
use crate::clock::ClientClock;
use crate::token;
use crate::until::until;

/// What a step of a [`SessionDriver`] has done.
pub enum DriverStep<O> {
    /// The owner carries out this output.
    Output(O),
    /// Something has arrived or was sent.
    Progress,
    /// The client is closed for good. Nothing follows.
    Closed,
}

/// How a driver reaches servers.
#[derive(Clone)]
pub struct SessionNetwork {
    /// The sockets of the sessions.
    pub sockets: SessionSockets,
    /// Which certificates are trusted.
    pub trust: super::TrustConfig,
    /// How names become addresses.
    pub names: ServerNames,
}

type Connecting =
    std::pin::Pin<Box<dyn Future<Output = Result<DialedConnection, JoinError>> + Send>>;

/// Drives a client: connects, reads and writes streams, and waits for its deadlines. The owner calls
/// [`Self::step`] again and again.
pub struct SessionDriver<C: DrivenClient> {
    client: ClientHandle<C>,
    network: SessionNetwork,
    /// The pins of the newest token and of the one before, if they say which certificates are trusted
    /// (see [`Trust::Pins`]). Nobody may have checked the newest token, so the one before counts too.
    token_pins: Option<[Vec<[u8; 32]>; 2]>,
    connecting: Option<Connecting>,
    io: Option<ConnectionIo>,
}

impl<C: DrivenClient + Send + 'static> SessionDriver<C> {
    /// Creates the driver of a new client.
    pub fn new(clock: ClientClock, client: C, network: SessionNetwork) -> Self {
        let client = ClientHandle::new(clock, client);
        Self { client, network, token_pins: None, connecting: None, io: None }
    }

    /// Lets each session trust the certificates that its token and the one before name. A token that
    /// names none changes nothing.
    pub(crate) fn trust_tokens(mut self) -> Self {
        let first = token::pins_in(self.client.read().join_token());
        self.token_pins = Some([first, Vec::new()]);
        self
    }

    fn follow_token(&mut self) {
        let Some([newest, before]) = &mut self.token_pins else { return };
        let pins = token::pins_in(self.client.read().join_token());
        if pins.is_empty() || pins == *newest {
            return;
        }
        *before = std::mem::replace(newest, pins);
        // Fails only without pins.
        if let Ok(trust) = client_config(&Trust::Pins([&newest[..], before].concat())) {
            self.network.trust = trust;
        }
    }

    /// Returns the client.
    pub fn client(&self) -> &ClientHandle<C> {
        &self.client
    }

    /// Replaces the sockets for further sessions.
    pub fn set_sockets(&mut self, sockets: SessionSockets) {
        self.network.sockets = sockets;
    }

    /// Returns the connection of the newest session, if there is one.
    pub fn connection(&self) -> Option<&quinn::Connection> {
        self.io.as_ref().map(|io| &io.connection)
    }

    /// Returns the endpoint of the newest session, if there is one.
    pub(crate) fn endpoint(&self) -> Option<&quinn::Endpoint> {
        self.io.as_ref().map(|io| &io.endpoint)
    }

    /// Loses the connection, as if this device had been switched off. The client tries to come
    /// back.
    pub fn lose_connection(&mut self) {
        if let Some(io) = self.io.take() {
            io.connection.close(VarInt::from_u32(0), b"");
            let end = ConnectionEnd::Other("the device was switched off".to_owned());
            self.client.change(|client, now| client.handle(now, SessionInput::Closed(end)));
        }
    }

    /// Carries out an output of the client, or waits for something to arrive. Cancel-safe.
    pub async fn step(&mut self) -> DriverStep<C::Output> {
        loop {
            let (output, is_closed) = {
                let mut client = self.client.read();
                (client.poll(), client.session().is_closed())
            };
            match output {
                Some(ClientOutput::Own(output)) => return DriverStep::Output(output),
                Some(ClientOutput::Session(output)) => self.carry_out(output),
                None if is_closed => {
                    self.client.wake_callers();
                    return DriverStep::Closed;
                }
                None => break,
            }
        }
        self.wait().await;
        self.client.wake_callers();
        DriverStep::Progress
    }

    fn carry_out(&mut self, output: SessionOutput) {
        match output {
            SessionOutput::Connect(server) => {
                // Dropping the handles of a connection closes it.
                self.io = None;
                self.connecting = Some(self.connect(server));
            }
            SessionOutput::Stream(target, action) => {
                if let Some(io) = &mut self.io {
                    io.begin(target, action);
                }
            }
            SessionOutput::Refuse(number) => {
                if let Some(io) = &mut self.io {
                    io.refuse(number);
                }
            }
            SessionOutput::Close { code, text } => {
                self.connecting = None;
                if let Some(io) = &self.io {
                    io.connection.close(VarInt::from_u32(code as u32), text.as_bytes());
                }
            }
        }
    }

    fn connect(&mut self, server: String) -> Connecting {
        self.follow_token();
        let (network, client) = (self.network.clone(), self.client.clone());
        Box::pin(async move {
            let server = network.names.resolve(&server).await?;
            let first = server.first();
            let count = server.addresses.len().min(MAX_ADDRESSES);
            client.change(|client, now| {
                client.handle(now, SessionInput::Resolved { first, count });
            });
            dial(&network.sockets, &network.trust, &server).await
        })
    }

    /// Waits until something arrives, and passes it to the client.
    async fn wait(&mut self) {
        let Self { client, connecting, io, .. } = self;
        let clock = client.clock();
        let (deadline, wants_stream) = {
            let client = client.read();
            (client.deadline(), client.session().wants_stream())
        };
        let due = deadline.and_then(|at| clock.instant(at));
        if let Some(io) = io {
            let connection = io.connection.clone();
            let has_ended = io.end.is_some();
            tokio::select! {
                biased;
                // On an error, continue. The connection's end says why.
                Ok(stream) = connection.accept_uni(), if wants_stream && !has_ended => {
                    let number = io.accept(stream);
                    client.read().handle(clock.now(), SessionInput::StreamOpened(number));
                }
                () = poll_fn(|cx| io.poll(cx, clock.now(), &mut *client.read())) => {}
                () = client.changed() => {}
                // The streams are read once more after the end, so that everything that arrived
                // before counts.
                end = connection.closed(), if !has_ended => {
                    let end = connection_end(end);
                    let is_final = !end.may_reconnect();
                    client.read().handle(clock.now(), SessionInput::Ending { is_final });
                    io.end = Some(end);
                }
                () = std::future::ready(()), if has_ended => {
                    if let Some(end) = self.io.take().and_then(|io| io.end) {
                        client.read().handle(clock.now(), SessionInput::Closed(end));
                    }
                }
                () = until(due) => client.read().handle_timeout(clock.now()),
            }
            return;
        }
        tokio::select! {
            biased;
            () = client.changed() => {}
            dialed = connected(connecting) => {
                *connecting = None;
                let input = match dialed {
                    Ok(dialed) => {
                        let DialedConnection { endpoint, connection, control } = dialed;
                        let facts = ConnectionFacts {
                            server: connection.remote_address(),
                            datagram: connection.max_datagram_size(),
                        };
                        *io = Some(ConnectionIo::new(endpoint, connection, control));
                        SessionInput::Connected(facts)
                    }
                    Err(error) => SessionInput::NotConnected(error),
                };
                client.read().handle(clock.now(), input);
            }
            () = until(due) => client.read().handle_timeout(clock.now()),
        }
    }
}

/// Waits for the connection; for ever if none is being made.
async fn connected(connecting: &mut Option<Connecting>) -> Result<DialedConnection, JoinError> {
    match connecting {
        Some(connecting) => connecting.await,
        None => std::future::pending().await,
    }
}

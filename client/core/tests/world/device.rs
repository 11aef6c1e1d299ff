//! A device: it runs one client after the other, each in a process with an application.

use std::net::SocketAddr;
use std::time::Duration;

use nucleus_client_core::room::{RoomClient, RoomJoin, RoomOutput};
use nucleus_client_core::session::{
    ClientOptions, ClientOutput, ConnectionEnd, ConnectionFacts, DrivenClient, JoinError,
    ReturnTicket, SessionInput, SessionOutput, StreamAction,
};
use nucleus_protocol::time::Time;

use crate::application::{Application, PeerIdentity, Records};
use crate::arrivals::Arrivals;
use crate::delivery::SERVER_NAMES;
use crate::network::{ConnectionNumber, Happening, Network, ToClient};

/// Most steps of a client at one point in time.
const MAX_STEPS: usize = 100_000;

/// The server's address.
fn server_address() -> SocketAddr {
    ([192, 0, 2, 1], 5_055).into()
}

/// A process: a client and its application.
pub(crate) struct Process {
    pub(crate) client: RoomClient,
    pub(crate) application: Application,
    /// Whether the caller of the client provides fresh tokens. Otherwise the application does.
    pub(crate) has_token_provider: bool,
    arrivals: Option<Arrivals>,
    /// Whether the newest try to connect has not ended.
    is_connecting: bool,
}

/// A session that another process continues.
pub(crate) struct ExportedSession {
    pub(crate) ticket: ReturnTicket,
    pub(crate) identity: PeerIdentity,
}

/// A device and its present process.
pub(crate) struct Device {
    pub(crate) index: usize,
    pub(crate) process: Option<Process>,
    /// Number of processes so far.
    pub(crate) processes: u64,
    /// Number of tries to connect so far.
    attempts: u64,
    /// While the device sleeps, nothing happens on it.
    pub(crate) sleeps_until: Time,
    /// What has happened meanwhile, in this order.
    pub(crate) missed: Vec<Happening>,
    /// What the next process resumes.
    pub(crate) export: Option<ExportedSession>,
}

impl Device {
    pub(crate) fn new(index: usize) -> Self {
        let (processes, attempts, missed) = (0, 0, Vec::new());
        let sleeps_until = Time::ZERO;
        Self { index, process: None, processes, attempts, sleeps_until, missed, export: None }
    }

    /// Starts a process.
    pub(crate) fn start(
        &mut self,
        network: &mut Network,
        records: &mut Records,
        join: RoomJoin,
        config: ClientOptions,
    ) {
        self.processes += 1;
        let export = self.export.take();
        let continues = export.as_ref().map(|export| export.identity);
        if continues.is_none() {
            records.ledger.start_lineage(self.index);
        }
        let join = RoomJoin { ticket: export.map(|export| export.ticket), ..join };
        let client = RoomClient::new(network.now, SERVER_NAMES[0], join, config);
        let application = Application::new(self.index, self.processes, continues);
        let (has_token_provider, arrivals) = (config.has_token_provider, None);
        let is_connecting = false;
        self.process =
            Some(Process { client, application, has_token_provider, arrivals, is_connecting });
    }

    /// Ends the process, without a word to its client.
    pub(crate) fn kill(&mut self, network: &mut Network, records: &mut Records) {
        let Some(mut process) = self.process.take() else { return };
        process.application.abandon(&mut process.client, records);
        if let Some(arrivals) = process.arrivals {
            // The system may close the connection or not.
            match network.rng.bool() {
                true => network.close_by_client(arrivals.connection, 0),
                false => network.break_connection(arrivals.connection, Duration::from_secs(8)),
            }
        }
    }

    /// Ends a process whose client is closed for good, and checks that the client does nothing any
    /// more.
    pub(crate) fn end(&mut self, now: Time) {
        let Some(Process { mut client, .. }) = self.process.take() else { return };
        assert_eq!(client.deadline(), None, "a closed client has a deadline");
        client.take_token(now, None);
        client.handle_timeout(now + Duration::from_secs(3_600));
        assert!(client.poll().is_none() && client.take_event(now).is_none());
        assert!(client.deadline().is_none());
    }

    /// Returns the connection, if there is one.
    pub(crate) fn connection(&self) -> Option<ConnectionNumber> {
        self.process.as_ref()?.arrivals.as_ref().map(|arrivals| arrivals.connection)
    }

    /// Returns when the client must be driven.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let process = self.process.as_ref()?;
        let at = process.client.deadline()?;
        Some(at.max(self.sleeps_until))
    }

    /// Does what is due at the client.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        if let Some(Process { client, .. }) = &mut self.process {
            client.handle_timeout(now);
            let next = client.deadline();
            assert!(next.is_none_or(|at| at > now), "a deadline that stays due");
        }
    }

    /// Handles the end of a try to connect. Returns whether the client wanted the connection.
    pub(crate) fn connect_ends(
        &mut self,
        now: Time,
        attempt: u64,
        connection: Result<ConnectionNumber, JoinError>,
    ) -> bool {
        let Some(process) = &mut self.process else { return false };
        if attempt != self.attempts || !std::mem::take(&mut process.is_connecting) {
            return false;
        }
        let input = match connection {
            Ok(connection) => {
                process.arrivals = Some(Arrivals::new(connection));
                let (server, datagram) = (server_address(), Some(1_200));
                SessionInput::Connected(ConnectionFacts { server, datagram })
            }
            Err(error) => SessionInput::NotConnected(error),
        };
        process.client.handle(now, input);
        true
    }

    /// Takes what has arrived on a connection.
    pub(crate) fn receive(&mut self, now: Time, connection: ConnectionNumber, what: ToClient) {
        let Some(Process { client, arrivals: Some(arrivals), .. }) = &mut self.process else {
            return;
        };
        if arrivals.connection == connection
            && let Some(input) = arrivals.push(what)
        {
            client.handle(now, input);
        }
    }

    /// Carries out what the client wants, and passes it what has arrived, until nothing is left.
    pub(crate) fn pump(&mut self, network: &mut Network, records: &mut Records) {
        let Self { index, process, attempts, .. } = self;
        let Some(process) = process else { return };
        for _ in 0..MAX_STEPS {
            process.application.note_identity(&process.client, records);
            let device = DeviceNumbers { device: *index, process: self.processes, attempts };
            process.carry_out(network, device);
            let Process { client, application, arrivals, .. } = process;
            let is_delivered = match arrivals {
                Some(arrivals) => arrivals.deliver(network, client),
                None => false,
            };
            application.note_identity(client, records);
            if !is_delivered && !application.take_events(network, client, records) {
                return;
            }
        }
        panic!("the client never rests");
    }
}

/// The numbers by which the network names a process.
struct DeviceNumbers<'a> {
    device: usize,
    process: u64,
    attempts: &'a mut u64,
}

impl Process {
    fn carry_out(&mut self, network: &mut Network, numbers: DeviceNumbers<'_>) {
        let DeviceNumbers { device, process, attempts } = numbers;
        for _ in 0..MAX_STEPS {
            let Some(output) = self.client.poll() else { return };
            match output {
                ClientOutput::Own(RoomOutput::TokenWanted) => {
                    let after = network.random_time(Duration::from_secs(12));
                    network.schedule(after, Happening::TokenComes { device, process });
                }
                ClientOutput::Own(RoomOutput::Link { link, .. }) => {
                    link.config(server_address(), [1; 32], Some(&[2; 32])).unwrap();
                    if let Some(arrivals) = &self.arrivals {
                        let after = network.delay + network.random_time(Duration::from_secs(1));
                        network.schedule(after, Happening::LinkSpeaks(arrivals.connection));
                    }
                }
                ClientOutput::Own(_) => {}
                ClientOutput::Session(SessionOutput::Connect(_)) => {
                    *attempts += 1;
                    self.connect(network, device, *attempts);
                }
                ClientOutput::Session(output) => self.carry_out_on_connection(network, output),
            }
        }
        panic!("the client's outputs never end");
    }

    /// Drops the connection, and connects to the server.
    fn connect(&mut self, network: &mut Network, device: usize, attempt: u64) {
        if let Some(arrivals) = self.arrivals.take() {
            network.close_by_client(arrivals.connection, 0);
        }
        self.is_connecting = true;
        let answers = network.is_healed || !network.chance(12);
        let after = network.delay * 2 + network.random_time(Duration::from_millis(400));
        network.schedule(after, Happening::ConnectEnds { device, attempt, answers });
        let count = network.rng.usize(1..3);
        let first = server_address();
        self.client.handle(network.now, SessionInput::Resolved { first, count });
    }

    fn carry_out_on_connection(&mut self, network: &mut Network, output: SessionOutput) {
        let is_closing = matches!(output, SessionOutput::Close { .. });
        self.is_connecting &= !is_closing;
        let Some(arrivals) = &mut self.arrivals else { return };
        match output {
            SessionOutput::Stream(target, StreamAction::Write(bytes)) => {
                network.write(arrivals.connection, target, &bytes);
            }
            SessionOutput::Stream(target, StreamAction::Finish) => {
                network.finish(arrivals.connection, target);
            }
            SessionOutput::Refuse(number) => arrivals.refuse(number),
            SessionOutput::Close { code, .. } => {
                network.close_by_client(arrivals.connection, code as u64);
                arrivals.push(ToClient::Closed(ConnectionEnd::ByClient));
            }
            SessionOutput::Connect(_) => {}
        }
    }
}

//! A server, its clients and the network between them, driven by one clock.

use std::time::Duration;

use nucleus_client_core::room::RoomJoin;
use nucleus_client_core::rooms::RoomSelection;
use nucleus_client_core::session::ClientOptions;
use nucleus_client_core::session::{Capabilities, DrivenClient, JoinError};
use nucleus_core::limits::Limits;
use nucleus_protocol::link::Suite;
use nucleus_protocol::session::Features;
use nucleus_protocol::time::Time;

use crate::application::{Records, user_of};
use crate::counter::CountRequests;
use crate::delivery::ROOM_NAME;
use crate::device::Device;
use crate::ledger::Ledger;
use crate::network::{ConnectionNumber, Happening, Network, ToClient, ToServer};
use crate::server::{ServerVersion, SimulatedServer};
use crate::tickets::{token, unix};

/// Most happenings at one point in time.
const MAX_AT_ONCE: u32 = 100_000;

/// A seed with which a client's requests to peers begin five numbers before the numbers wrap.
const SEED_OF_LAST_NUMBERS: u64 = 0x1ea_bfcf_0000_0000;

/// Bytes of waiting events at which a client stops reading: so few that an application which pauses
/// reaches them.
const EVENT_BYTES: usize = 256 << 10;

/// What goes wrong in a simulation, and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Troubles {
    pub(crate) devices: usize,
    /// Longest time between two acts of an application; `None`: applications do nothing.
    pub(crate) acts_within: Option<Duration>,
    /// Longest time between two faults.
    pub(crate) faults_within: Duration,
    /// Whether only connections break and servers restart.
    pub(crate) is_calm: bool,
    /// How long a token is valid.
    pub(crate) token_time: Duration,
    pub(crate) ticket_ttl: Duration,
    pub(crate) peer_ttl: Duration,
    /// How often a fresh token is provided, in percent.
    pub(crate) provides_tokens: u32,
}

impl Troubles {
    /// Faults every few hundred milliseconds.
    pub(crate) fn of_seconds(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(!seed);
        let short = rng.u8(..4) == 0;
        Self {
            devices: rng.usize(2..6),
            acts_within: Some(Duration::from_millis(rng.u64(100..800))),
            faults_within: Duration::from_millis(rng.u64(300..4_000)),
            is_calm: false,
            token_time: Duration::from_secs(if short { rng.u64(3..20) } else { 3_600 }),
            ticket_ttl: Duration::from_secs(if short { rng.u64(2..60) } else { 43_200 }),
            peer_ttl: Duration::from_secs(rng.u64(1..40)),
            provides_tokens: if short { 60 } else { 95 },
        }
    }

    /// Requests now and then, over hours, with a fault now and then.
    pub(crate) fn of_slow_requests(seed: u64) -> Self {
        Self { acts_within: Some(Duration::from_secs(40)), ..Self::of_hours(seed) }
    }

    /// A fault now and then.
    pub(crate) fn of_hours(seed: u64) -> Self {
        Self {
            devices: 3,
            acts_within: None,
            faults_within: Duration::from_secs(3_000),
            is_calm: true,
            token_time: Duration::from_secs(3_600),
            ticket_ttl: Duration::from_secs(7_200),
            peer_ttl: Duration::from_secs(30),
            provides_tokens: if seed.is_multiple_of(2) { 100 } else { 50 },
        }
    }
}

/// A server, its clients and the network.
pub(crate) struct Simulation {
    pub(crate) network: Network,
    pub(crate) server: SimulatedServer,
    pub(crate) devices: Vec<Device>,
    pub(crate) records: Records,
    pub(crate) troubles: Troubles,
    /// Number of faults so far.
    pub(crate) faults: u64,
}

impl Simulation {
    pub(crate) fn new(seed: u64, troubles: Troubles) -> Self {
        let mut network = Network::new(seed, Time::from_millis(1_000));
        let limits = Limits { peer_ttl: troubles.peer_ttl, ..Limits::default() };
        let version = random_version(&mut network);
        let server = SimulatedServer::new(limits, version, troubles.ticket_ttl);
        let devices: Vec<Device> = (0..troubles.devices).map(Device::new).collect();
        for index in 0..troubles.devices {
            let after = network.random_time(Duration::from_secs(2));
            network.schedule(after, Happening::Start(index));
            if troubles.acts_within.is_some() {
                network.schedule(after, Happening::Act(index));
            }
        }
        network.schedule(Duration::from_secs(1), Happening::Fault);
        let (ledger, counts) = (Ledger::new(troubles.devices), CountRequests::default());
        let (rpcs, sightings) = Default::default();
        let records = Records { ledger, counts, rpcs, sightings };
        Self { network, server, devices, records, troubles, faults: 0 }
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.network.now + time;
        let mut at_once = 0;
        loop {
            let devices = self.devices.iter().filter_map(Device::deadline);
            let others = [self.network.next_time(), self.server.deadline()];
            let next = devices.chain(others.into_iter().flatten()).min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            at_once = if next <= self.network.now { at_once + 1 } else { 0 };
            assert!(at_once < MAX_AT_ONCE, "something stays due");
            self.network.now = next.max(self.network.now);
            self.step();
        }
        self.network.now = end;
    }

    fn step(&mut self) {
        let now = self.network.now;
        if let Some(happening) = self.network.take_due() {
            return self.happen(happening);
        }
        if self.server.deadline().is_some_and(|at| at <= now) {
            return self.server.run(&mut self.network);
        }
        let is_due = |device: &Device| device.deadline().is_some_and(|at| at <= now);
        if let Some(index) = self.devices.iter().position(is_due) {
            self.devices[index].handle_timeout(now);
            self.pump(index);
        }
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.network.now;
        match happening {
            Happening::AtServer(connection, what) => {
                let arrives = matches!(what, ToServer::Silent) || self.network.is_whole(connection);
                if arrives {
                    self.server.receive(&mut self.network, connection, what);
                }
            }
            Happening::AtClient(connection, what) => self.arrive(connection, what),
            Happening::ConnectEnds { device, attempt, answers } => {
                if self.sleeps(device) {
                    return self.devices[device].missed.push(happening);
                }
                self.connect(device, attempt, answers);
            }
            Happening::Act(device) => self.act(device),
            Happening::TokenComes { device, process } => {
                if self.sleeps(device) {
                    return self.devices[device].missed.push(happening);
                }
                self.provide_token(device, process);
            }
            Happening::Start(device) => self.start(device),
            Happening::Fault => self.fault(),
            Happening::Break(device) => self.break_connection(device),
            Happening::LinkSpeaks(connection) => {
                self.server.hear_link(&mut self.network, connection)
            }
            Happening::ServerStarts => {
                self.server.is_up = true;
                self.server.version = random_version(&mut self.network);
            }
            Happening::Wake(device) => self.wake(device),
            Happening::MustBeClosed { device, process } => {
                let device = &self.devices[device];
                if device.processes == process
                    && device.sleeps_until + Duration::from_secs(2) < now
                    && let Some(process) = &device.process
                {
                    assert!(process.client.session().is_closed(), "a leave takes too long");
                }
            }
        }
    }

    /// Returns whether the device sleeps.
    pub(crate) fn sleeps(&self, device: usize) -> bool {
        self.network.now < self.devices[device].sleeps_until
    }

    /// Lets everything happen that a device has missed while it slept.
    pub(crate) fn wake(&mut self, index: usize) {
        if !self.sleeps(index) {
            let missed = std::mem::take(&mut self.devices[index].missed);
            missed.into_iter().for_each(|happening| self.happen(happening));
        }
        self.pump(index);
    }

    /// Lets something arrive at a client.
    fn arrive(&mut self, connection: ConnectionNumber, what: ToClient) {
        let Some(index) = self.network.device_of(connection) else { return };
        let is_from_server =
            matches!(what, ToClient::Bytes(..) | ToClient::StreamEnds(_) | ToClient::Finished(_));
        if is_from_server && !self.network.is_whole(connection) {
            return;
        }
        if self.sleeps(index) {
            let happening = Happening::AtClient(connection, what);
            return self.devices[index].missed.push(happening);
        }
        self.devices[index].receive(self.network.now, connection, what);
        self.pump(index);
    }

    fn connect(&mut self, device: usize, attempt: u64, answers: bool) {
        let connection = if answers && self.server.is_up {
            Ok(self.network.connect(device))
        } else {
            let (server, reason) = (ROOM_NAME.to_owned(), "none".to_owned());
            Err(match self.network.rng.u8(..4) {
                0 => JoinError::NoAddress { server, reason },
                1 => JoinError::Connect("no route".to_owned()),
                2 => JoinError::Connection("refused".to_owned()),
                // Nobody answers. The client stops to wait by itself.
                _ => return,
            })
        };
        let number = connection.as_ref().ok().copied();
        let is_wanted = self.devices[device].connect_ends(self.network.now, attempt, connection);
        if let Some(number) = number.filter(|_| is_wanted) {
            self.server.accept(&mut self.network, number);
        }
        self.pump(device);
    }

    fn act(&mut self, index: usize) {
        if self.network.is_healed {
            return;
        }
        if let Some(within) = self.troubles.acts_within {
            let after = self.network.random_time(within);
            self.network.schedule(after, Happening::Act(index));
        }
        if !self.sleeps(index)
            && let Some(process) = &mut self.devices[index].process
        {
            process.application.act(&mut self.network, &mut process.client, &mut self.records);
            self.pump(index);
        }
    }

    /// Answers that a token is wanted: with a fresh one, or with none.
    fn provide_token(&mut self, index: usize, process: u64) {
        let now = self.network.now;
        let percent = self.troubles.provides_tokens;
        let is_provided = self.network.is_healed || self.network.chance(percent);
        let fresh = is_provided.then(|| self.fresh_token(index));
        if self.devices[index].processes != process {
            return;
        }
        if let Some(process) = &mut self.devices[index].process {
            let is_late = process.client.deadline().is_some_and(|at| at <= now);
            match (process.has_token_provider, fresh) {
                (true, fresh) => process.client.take_token(now, fresh),
                (false, Some(fresh)) => process.application.renew(&mut process.client, fresh),
                (false, None) => {}
            }
            let next = process.client.deadline();
            let is_due = next.is_some_and(|at| at <= now);
            assert!(is_late || !is_due, "the token comes too late for its join");
            self.pump(index);
        }
    }

    fn fresh_token(&self, index: usize) -> String {
        token(&user_of(index), unix(self.network.now) + self.troubles.token_time.as_secs())
    }

    /// Starts a process on a device, if it runs none.
    pub(crate) fn start(&mut self, index: usize) {
        if self.devices[index].process.is_some() {
            return;
        }
        let network = &mut self.network;
        let capabilities = Capabilities {
            realtime_port: network.rng.bool(),
            features: random_features(network),
            ..Capabilities::default()
        };
        let patience = match self.troubles.is_calm {
            true => Duration::from_secs(600),
            false => Duration::from_secs(network.rng.u64(5..120)),
        };
        // The numbers of requests to peers often wrap soon. Those of a process that continues another
        // one must differ, so they are random.
        let seed = match self.devices[index].export {
            None if network.rng.bool() => SEED_OF_LAST_NUMBERS,
            _ => network.rng.u64(..),
        };
        let config = ClientOptions {
            has_token_provider: self.troubles.is_calm || network.rng.bool(),
            event_bytes: EVENT_BYTES,
            ..ClientOptions::new(patience, seed)
        };
        let is_expired = !network.is_healed && !self.troubles.is_calm && network.chance(4);
        let join = RoomJoin {
            token: if is_expired { token(&user_of(index), 1) } else { self.fresh_token(index) },
            room: ROOM_NAME.to_owned(),
            name: String::new(),
            selection: RoomSelection::default(),
            agent: "simulated".to_owned(),
            capabilities,
            suites: [Suite::Aes128Gcm, Suite::ChaCha20Poly1305],
            ticket: None,
        };
        self.devices[index].start(&mut self.network, &mut self.records, join, config);
        self.pump(index);
    }

    /// Drives a device. A process whose client is closed for good ends, and another one starts.
    pub(crate) fn pump(&mut self, index: usize) {
        if self.sleeps(index) {
            return;
        }
        let device = &mut self.devices[index];
        device.pump(&mut self.network, &mut self.records);
        let Some(process) = &mut device.process else { return };
        let failure = process.client.take_failure();
        if let Some(failure) = &failure {
            let text = failure.to_string();
            let reason = text.split([':', '.']).next().unwrap_or_default();
            self.records.sightings.note(format!("failed: {reason}"));
        }
        if process.application.is_closed || failure.is_some() {
            process.application.check_answers(&mut process.client, &mut self.records);
            device.end(self.network.now);
            let after = self.network.random_time(Duration::from_secs(3));
            self.network.schedule(after, Happening::Start(index));
        }
    }
}

/// Returns the version of a server.
fn random_version(network: &mut Network) -> ServerVersion {
    ServerVersion { features: random_features(network), is_newer: network.rng.bool() }
}

fn random_features(network: &mut Network) -> Features {
    let all = [Features::STATE, Features::NOTICES, Features::RENEW];
    let lacks = |features: Features, one| match network.chance(12) {
        true => features.without(one),
        false => features,
    };
    all.into_iter().fold(Features::SUPPORTED, lacks)
}

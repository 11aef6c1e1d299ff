//! What must hold after the faults.

use std::sync::Mutex;
use std::time::Duration;

use nucleus_client_core::roster::{PeerId, PeerInfo};
use nucleus_client_core::session::DrivenClient;
use nucleus_client_core::state::{EntityId, Replica, StateViews};
use nucleus_protocol::groups::GroupSet;
use nucleus_protocol::session::{Lane, Schema};

use crate::application::Records;
use crate::sightings::Sightings;
use crate::simulation::Simulation;

impl Simulation {
    /// Lets the healed network be quiet, and checks that all clients are in the room and agree.
    pub(crate) fn check_quiet(&mut self) {
        self.run(Duration::from_secs(120));
        self.check_everybody_is_back();
        for index in 0..self.devices.len() {
            let process = self.devices[index].process.as_mut().unwrap();
            for lane in Lane::ALL {
                let (client, application) = (&mut process.client, &mut process.application);
                application.send_to_everybody(self.network.now, client, &mut self.records, lane);
            }
            let (client, application) = (&mut process.client, &mut process.application);
            application.ask_everybody(self.network.now, client, &mut self.records);
            self.pump(index);
        }
        self.run(Duration::from_secs(30));
        self.check_everybody_is_back();
        self.check_events();
        self.check_rosters();
        self.check_states();
        self.check_links();
    }

    /// Adds what has occurred to the counts of all seeds.
    pub(crate) fn report(mut self, all: &Mutex<Sightings>) {
        let Records { ledger, sightings, .. } = &mut self.records;
        sightings.add("faults", self.faults);
        sightings.add("events taken", ledger.taken);
        sightings.add("losses that were told", ledger.told_losses);
        sightings.merge_into(all);
    }

    fn check_everybody_is_back(&mut self) {
        for device in &mut self.devices {
            let index = device.index;
            let process = device.process.as_mut().unwrap_or_else(|| panic!("{index} is closed"));
            let is_back = process.application.is_in_room(&process.client);
            assert!(is_back, "{index} has not come back");
            process.application.check_answers(&mut process.client, &mut self.records);
            let client = &process.client;
            assert_eq!(client.waiting_rpcs(self.network.now), (0, 0), "{index}");
            assert_eq!(client.malformed_events(), 0, "{index}");
        }
    }

    /// Checks that every outbox is empty, and that everybody has the newest events of all others.
    fn check_events(&mut self) {
        for device in &mut self.devices {
            let client = &mut device.process.as_mut().unwrap().client;
            assert_eq!(client.unacknowledged(), 0, "{} keeps events", device.index);
        }
        let count = self.devices.len();
        for (receiver, sender) in (0..count).flat_map(|one| (0..count).map(move |two| (one, two))) {
            for lane in Lane::ALL.into_iter().filter(|_| receiver != sender) {
                self.records.ledger.check_newest(receiver, sender, lane);
            }
        }
    }

    /// Checks that all rosters are the room's.
    fn check_rosters(&self) {
        let rosters = self.devices.iter().map(|device| {
            let client = &device.process.as_ref().unwrap().client;
            let peers: Vec<PeerInfo> = client.roster().iter().cloned().collect();
            assert!(peers.iter().any(|peer| peer.id == client.me()));
            peers
        });
        let rosters: Vec<Vec<PeerInfo>> = rosters.collect();
        for roster in &rosters {
            assert_eq!(roster, &rosters[0], "the rosters differ");
        }
        let room = self.server.host.as_ref().unwrap().room();
        assert_eq!(rosters[0].len(), room.seats_taken());
        assert_eq!(rosters[0].len(), self.devices.len(), "peers without a client stay");
    }

    /// Checks that all replicas are the room's state, and that nothing was counted twice.
    fn check_states(&self) {
        let host = self.server.host.as_ref().unwrap();
        let mut expected = Replica::new();
        let _changes = expected.apply_snapshot(host.room().shared_state()).unwrap();
        self.records.counts.check(host.instance, &expected);
        for device in &self.devices {
            let process = device.process.as_ref().unwrap();
            let client = &process.client;
            assert_eq!(client.instance(), Some(host.instance));
            check_views(&process.application.views, client.replica());
            if client.session().allows(Schema::StateUpdate) {
                let replica = client.replica();
                assert_eq!(replica.version(), expected.version(), "{}", device.index);
                assert_eq!(replica.digest(), expected.digest(), "{}", device.index);
            }
        }
    }

    /// Checks that the links have the settings that the applications have set last.
    fn check_links(&self) {
        let host = self.server.host.as_ref().unwrap();
        for device in &self.devices {
            let session = self.server.session_of(device.connection().unwrap()).unwrap();
            let link = host.link(session).unwrap();
            let application = &device.process.as_ref().unwrap().application;
            if let Some((muted, _)) = application.muted {
                assert_eq!(link.muted, muted, "{}", device.index);
            }
            let groups: Option<GroupSet> = application.groups.map(|(groups, _)| groups);
            if let Some(groups) = groups {
                assert_eq!(link.groups, groups, "{}", device.index);
            }
        }
    }

    /// Checks that a long silence had as many happenings as its faults explain, and that no process
    /// had to end while fresh tokens came.
    pub(crate) fn check_silence(&self) {
        let happenings = self.network.happenings();
        let most = 2_000 + 400 * self.faults;
        assert!(happenings < most, "{happenings} happenings with {} faults", self.faults);
        if self.troubles.provides_tokens == 100 {
            assert_eq!(self.records.sightings.count("closed"), 0);
        }
    }
}

/// Checks that the events have told the whole state.
fn check_views(views: &StateViews, replica: &Replica) {
    assert!(views.objects().eq(replica.objects()));
    let objects = replica.objects().map(|object| EntityId::Object(object.id));
    let peers = (1..100).map(|peer| EntityId::Peer(PeerId(peer)));
    for entity in objects.chain(peers).chain([EntityId::Room]) {
        let fields = replica.fields(entity).map(|(key, field)| (key, &field.value));
        assert!(views.fields(entity).eq(fields), "{entity:?}");
    }
}

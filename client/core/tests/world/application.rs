//! The application on a device: what it does at random, and what it expects.

use std::collections::BTreeSet;
use std::time::Duration;

use nucleus_client_core::RequestNumber;
use nucleus_client_core::event::RoomEvent;
use nucleus_client_core::room::{
    RenewalNumber, RequestResult, RoomClient, SettingNumber, StateError,
};
use nucleus_client_core::session::{DrivenClient, SendError, To};
use nucleus_client_core::state::{Batch, EntityId, ObjectMode, StateViews};
use nucleus_protocol::groups::{Group, GroupSet};
use nucleus_protocol::ids::{PeerId, RoomInstanceId};
use nucleus_protocol::session::{Lane, RESERVED_CHANNELS, act};
use nucleus_protocol::time::Time;

use crate::counter::{CountRequests, count_up};
use crate::ledger::{Ledger, SentTo};
use crate::network::{Happening, Network};
use crate::rpcs::{ApplicationRpcs, RpcRecords};
use crate::sightings::Sightings;

/// The type of the events that name one.
const EVENT_TYPE: &str = "ledger";

/// What all applications share: the checks of what they see.
pub(crate) struct Records {
    pub(crate) ledger: Ledger,
    pub(crate) counts: CountRequests,
    pub(crate) rpcs: RpcRecords,
    pub(crate) sightings: Sightings,
}

/// A peer in an instance of the room.
pub(crate) type PeerIdentity = (RoomInstanceId, PeerId);

/// The application of one process.
pub(crate) struct Application {
    device: usize,
    /// The number of the process on its device.
    process: u64,
    /// Until then it takes no events.
    pub(crate) pauses_until: Time,
    /// Whether the client has told that the room is closed.
    pub(crate) is_closed: bool,
    /// The peer that the client was at last.
    identity: Option<PeerIdentity>,
    /// This peer, as far as the application has taken its events.
    me: Option<PeerId>,
    /// The peer of the process that this one continues.
    continues: Option<PeerIdentity>,
    /// The peers that the application has heard of, and others of which it has events: those have
    /// joined and left while this client had no session, or within one update of the roster.
    known: BTreeSet<PeerId>,
    strangers: BTreeSet<PeerId>,
    /// Requests without a result; with the instance, if the request counts.
    requests: Vec<(RequestNumber, Option<RoomInstanceId>)>,
    renewals: Vec<RenewalNumber>,
    rpcs: ApplicationRpcs,
    /// The state as its events tell it.
    pub(crate) views: StateViews,
    /// What was set last.
    pub(crate) muted: Option<(bool, SettingNumber)>,
    pub(crate) groups: Option<(GroupSet, SettingNumber)>,
}

/// Returns the user of a device.
pub(crate) fn user_of(device: usize) -> String {
    format!("user{device}")
}

/// Returns the device of a user.
fn device_of(user: &str) -> Option<u8> {
    user.strip_prefix("user")?.parse().ok()
}

impl Application {
    pub(crate) fn new(device: usize, process: u64, continues: Option<PeerIdentity>) -> Self {
        Self {
            device,
            process,
            pauses_until: Time::ZERO,
            is_closed: false,
            identity: None,
            me: None,
            continues,
            known: BTreeSet::new(),
            strangers: BTreeSet::new(),
            requests: Vec::new(),
            renewals: Vec::new(),
            views: StateViews::default(),
            rpcs: ApplicationRpcs::default(),
            muted: None,
            groups: None,
        }
    }

    /// Notes whether the client has become another peer. Called after each input of the client.
    pub(crate) fn note_identity(&mut self, client: &RoomClient, records: &mut Records) {
        let identity = client.instance().map(|instance| (instance, client.me()));
        if identity == self.identity {
            return;
        }
        match (self.identity, self.continues) {
            (Some(_), _) => records.ledger.may_lose(self.device),
            (None, before) if before == identity => records.sightings.note("handed over"),
            (None, _) => records.ledger.become_new_peer(self.device),
        }
        if self.identity.is_none() {
            // The peers that were in the room before are not reported.
            self.known.extend(client.roster().iter().map(|peer| peer.id));
            self.me = identity.map(|(_, me)| me);
        }
        self.identity = identity;
    }

    /// Takes all events, unless the application pauses. Returns whether there were any.
    pub(crate) fn take_events(
        &mut self,
        network: &mut Network,
        client: &mut RoomClient,
        records: &mut Records,
    ) -> bool {
        if network.now < self.pauses_until {
            return false;
        }
        let mut has_events = false;
        while let Some(event) = client.take_event(network.now) {
            has_events = true;
            self.take_event(network, event, records);
        }
        if has_events {
            self.rpcs.answer(network, client, &mut records.sightings);
        }
        has_events
    }

    fn take_event(&mut self, network: &mut Network, event: RoomEvent, records: &mut Records) {
        if let RoomEvent::State(change) = &event {
            self.views.apply(change);
        }
        assert!(!self.is_closed, "an event behind the last one: {event:?}");
        records.sightings.note(kind_of(&event));
        let ledger = &mut records.ledger;
        match event {
            RoomEvent::PeerJoined(peer) => {
                assert!(!self.strangers.contains(&peer.id), "{peer:?} comes behind its events");
                self.known.insert(peer.id);
            }
            RoomEvent::Event { from, channel, payload, .. } => {
                assert!(channel < RESERVED_CHANNELS);
                self.note_sender(from);
                ledger.receive(self.device, Lane::Events, &payload);
            }
            RoomEvent::TypedEvent { from, event_type, payload, .. } => {
                assert_eq!(event_type, EVENT_TYPE);
                self.note_sender(from);
                ledger.receive(self.device, Lane::Events, &payload);
            }
            RoomEvent::RpcRequest { .. } => self.rpcs.take(event, &mut records.rpcs),
            RoomEvent::Bulk { from, channel, payload } => {
                assert!(channel < RESERVED_CHANNELS);
                self.note_sender(from);
                ledger.receive(self.device, Lane::Bulk, &payload);
            }
            RoomEvent::Resumed { missed_events: true } => ledger.tell_loss(self.device),
            RoomEvent::Rejoined { me } => {
                self.me = Some(me);
                self.known.insert(me);
                self.strangers.clear();
                ledger.become_new_peer(self.device);
            }
            RoomEvent::TokenWanted { .. } => {
                let (device, process) = (self.device, self.process);
                let after = network.random_time(Duration::from_secs(8));
                network.schedule(after, Happening::TokenComes { device, process });
            }
            RoomEvent::Closed { .. } => {
                self.is_closed = true;
                ledger.may_lose(self.device);
            }
            _ => {}
        }
    }

    fn note_sender(&mut self, from: PeerId) {
        if !self.known.contains(&from) {
            self.strangers.insert(from);
        }
    }

    /// Does something at random.
    pub(crate) fn act(
        &mut self,
        network: &mut Network,
        client: &mut RoomClient,
        records: &mut Records,
    ) {
        // Some applications look at their results late.
        if !self.device.is_multiple_of(3) || network.chance(5) {
            self.take_results(client, records);
        }
        if client.is_behind() {
            records.sightings.note("behind");
        }
        self.rpcs.answer(network, client, &mut records.sightings);
        self.rpcs.forget_one(network, client);
        let now = network.now;
        match network.rng.u8(..100) {
            0..48 => {
                for _ in 0..network.rng.u8(1..4) {
                    let size = if network.chance(5) { network.rng.usize(..9_000) } else { 20 };
                    self.send(network, client, records, Lane::Events, size);
                }
            }
            48..58 => {
                let size = network.rng.usize(..60_000);
                self.send(network, client, records, Lane::Bulk, size);
            }
            58..66 => {
                let batch = random_batch(network, client);
                self.change(now, client, None, batch);
            }
            66..76 => {
                let counted = client.instance();
                self.change(now, client, counted, count_up(client.replica()));
            }
            76..84 => {
                // Several times in a row, as a user does who presses a button.
                for _ in 0..network.rng.u8(1..4) {
                    let muted = network.rng.bool();
                    self.muted = Some((muted, client.set_muted(now, muted)));
                }
            }
            84..90 => {
                let groups: GroupSet = random_groups(network).collect();
                self.groups = Some((groups, client.subscribe(now, groups)));
            }
            90..93 => {
                let act = if network.rng.bool() { act::HIDE } else { act::SHOW };
                let request = client.moderate(now, act, 0, 0);
                self.requests.extend(request.ok().map(|number| (number, None)));
            }
            93 => client.ping(),
            _ => self.rpcs.ask_somebody(network, client, &mut records.rpcs),
        }
    }

    /// Sends an event or a message of the bulk lane to everybody.
    pub(crate) fn send_to_everybody(
        &mut self,
        now: Time,
        client: &mut RoomClient,
        records: &mut Records,
        lane: Lane,
    ) {
        let to = (To::Others, SentTo::Others);
        let sent = self.send_to(now, client, records, lane, to, 100);
        assert_eq!(sent, Ok(()));
    }

    fn send(
        &mut self,
        network: &mut Network,
        client: &mut RoomClient,
        records: &mut Records,
        lane: Lane,
        size: usize,
    ) {
        let to = random_target(network, client, lane);
        let sent = self.send_to(network.now, client, records, lane, to, size);
        assert!(
            matches!(sent, Ok(()) | Err(SendError::WouldBlock | SendError::Closed)),
            "{sent:?}"
        );
    }

    fn send_to(
        &mut self,
        now: Time,
        client: &mut RoomClient,
        records: &mut Records,
        lane: Lane,
        (to, sent_to): (To, SentTo),
        size: usize,
    ) -> Result<(), SendError> {
        let ledger = &mut records.ledger;
        let payload = ledger.next_payload(self.device, lane, sent_to, size);
        match lane {
            Lane::Events if payload[7].is_multiple_of(4) => {
                client.send_typed_event(now, to, EVENT_TYPE, &payload)
            }
            Lane::Events => client.send_event(now, to, 1, &payload),
            Lane::Bulk => client.send_bulk(now, to, 2, &payload),
        }?;
        ledger.note_sent(self.device, lane, sent_to);
        Ok(())
    }

    fn change(
        &mut self,
        now: Time,
        client: &mut RoomClient,
        counted: Option<RoomInstanceId>,
        batch: Batch,
    ) {
        let request = client.change(now, batch.into_operations().unwrap());
        self.requests.extend(request.ok().map(|number| (number, counted)));
    }

    /// Asks all others, while nothing goes wrong.
    pub(crate) fn ask_everybody(
        &mut self,
        now: Time,
        client: &mut RoomClient,
        records: &mut Records,
    ) {
        self.rpcs.ask_everybody(now, client, &mut records.rpcs);
    }

    /// Takes the results of requests. Each has one result.
    pub(crate) fn take_results(&mut self, client: &mut RoomClient, records: &mut Records) {
        self.rpcs.take_results(client, &records.rpcs, &mut records.sightings);
        self.requests.retain(|(number, counted)| {
            let Some(result) = client.take_result(*number) else { return true };
            assert_eq!(client.take_result(*number), None, "a second result");
            records.sightings.note(format!("request: {}", result_kind(&result)));
            if let Some(instance) = counted {
                match result {
                    Ok(_) => records.counts.note_confirmed(*instance),
                    Err(StateError::Interrupted) => records.counts.note_unknown(*instance),
                    Err(_) => {}
                }
            }
            false
        });
        self.renewals.retain(|number| {
            let Some(outcome) = client.take_renewal(*number) else { return true };
            records.sightings.note(format!("renewal: {outcome:?}"));
            false
        });
    }

    /// Hands in a fresh token.
    pub(crate) fn renew(&mut self, client: &mut RoomClient, token: String) {
        self.renewals.extend(client.renew(token).ok());
    }

    /// Checks that nothing waits for the client's answer.
    pub(crate) fn check_answers(&mut self, client: &mut RoomClient, records: &mut Records) {
        self.take_results(client, records);
        assert!(self.requests.is_empty(), "{:?} have no result", self.requests);
        assert!(self.renewals.is_empty(), "{:?} have no result", self.renewals);
        self.rpcs.check_results();
        let muted = self.muted.map(|(_, setting)| client.muted_outcome(setting));
        let groups = self.groups.map(|(_, setting)| client.groups_outcome(setting));
        if !client.is_closed() {
            assert_eq!(client.can_request(), Ok(()), "requests leak");
        }
        assert!(muted != Some(None) && groups != Some(None), "{muted:?}, {groups:?}");
    }

    /// Returns the peer that another process continues.
    pub(crate) fn hand_over(&mut self, records: &mut Records) -> Option<PeerIdentity> {
        let identity = self.identity?;
        if self.me != Some(identity.1) {
            // The application has not taken the event that tells so.
            records.ledger.become_new_peer(self.device);
        }
        Some(identity)
    }

    /// Notes that the process ends without an answer to its requests.
    pub(crate) fn abandon(&mut self, client: &mut RoomClient, records: &mut Records) {
        self.take_results(client, records);
        let counted = self.requests.drain(..).filter_map(|(_, counted)| counted);
        counted.for_each(|instance| records.counts.note_unknown(instance));
        records.ledger.may_lose(self.device);
    }

    /// Returns whether the client is in its room.
    pub(crate) fn is_in_room(&self, client: &RoomClient) -> bool {
        !self.is_closed && client.session().is_running()
    }
}

/// Returns a name for what an event tells.
fn kind_of(event: &RoomEvent) -> String {
    match event {
        RoomEvent::Closed { code, .. } => format!("closed: {code:?}"),
        RoomEvent::Interrupted { code, .. } => format!("interrupted: {code:?}"),
        RoomEvent::Resumed { missed_events } => format!("resumed, loss: {missed_events}"),
        other => {
            let text = format!("{other:?}");
            let name = text.split(|letter: char| !letter.is_alphanumeric()).next();
            format!("event: {}", name.unwrap_or_default())
        }
    }
}

fn result_kind(result: &RequestResult) -> String {
    match result {
        Ok(_) => "done".to_owned(),
        Err(StateError::Refused { code, .. }) => format!("refused: {code:?}"),
        Err(error) => format!("{error:?}"),
    }
}

fn random_groups(network: &mut Network) -> impl Iterator<Item = Group> {
    let chosen = network.rng.u8(..);
    (0..4).filter(move |number| chosen >> number & 1 == 1).filter_map(Group::new)
}

fn random_target(network: &mut Network, client: &RoomClient, lane: Lane) -> (To, SentTo) {
    let peers = client.roster().iter().count();
    match network.rng.u8(..20) {
        0..10 => (To::Others, SentTo::Others),
        10..12 => (To::All, SentTo::All),
        12 => (To::Host, SentTo::Anybody),
        13 => (To::Group(Group::new(network.rng.u8(..4)).unwrap()), SentTo::Anybody),
        14 if lane == Lane::Events => (To::OthersAndLater, SentTo::Later),
        number if peers > 0 => {
            let peer = client.roster().iter().nth(network.rng.usize(..peers)).unwrap();
            let to = device_of(&peer.user).map_or(SentTo::Anybody, SentTo::Device);
            (if number % 2 == 0 { To::Peer(peer.id) } else { To::Peers(vec![peer.id]) }, to)
        }
        _ => (To::Others, SentTo::Others),
    }
}

/// Returns a change that the device's role may or may not allow.
fn random_batch(network: &mut Network, client: &mut RoomClient) -> Batch {
    let number = network.rng.i64(..1_000);
    let me = EntityId::Peer(client.me());
    match network.rng.u8(..6) {
        0 => Batch::new().set(me, "pose", number),
        1 => Batch::new().set(EntityId::Room, "topic", "x".repeat(network.rng.usize(..2_000))),
        2 => Batch::new().remove(EntityId::Room, "topic"),
        3 => {
            let object = client.new_object_id();
            Batch::new().create(object, ObjectMode::TAKE).set(object, "color", number)
        }
        4 => match client.replica().objects().next() {
            Some(object) => Batch::new().delete(object.id),
            None => Batch::new().set(me, "mood", true),
        },
        _ => match client.replica().objects().last() {
            Some(object) => Batch::new().claim(object.id),
            None => Batch::new().set(me, "mood", false),
        },
    }
}

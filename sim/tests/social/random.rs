//! Tests the social machine: runs random steps on the machine and on the model, and compares the
//! two.

use std::collections::BTreeMap;
use std::time::Duration;

use nucleus_core::ids::DeviceId;
use nucleus_core::social::{CallAct, DeviceRequest, SocialInput, UserFilter};
use nucleus_protocol::session::{Code, status};
use nucleus_protocol::time::Time;
use nucleus_sim::social::SocialWorld as World;
use proptest::prelude::*;

use super::model::{CallPart, SocialModel};

const USERS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// The largest number of devices of a user.
const DEVICES: usize = 3;

#[derive(Clone, Debug)]
enum SocialStep {
    Enter(usize, u8),
    Leave(usize, usize),
    Lose(usize, usize),
    Status(usize, usize, u8),
    Start(usize, usize, Vec<usize>),
    /// Accepts (0), rejects (1), cancels (2) or leaves (3) the call of a user.
    Call {
        user: usize,
        device: usize,
        act: u8,
        call_of: usize,
    },
    Add(usize, usize, usize),
    Wait(u64),
    RoomOver(usize),
    Rooms(bool),
}

fn steps() -> impl Strategy<Value = Vec<SocialStep>> {
    let user = 0..USERS.len();
    let at = || (0..USERS.len(), 0..DEVICES);
    // Mostly the first three users act, so that their calls concern each other.
    let near = || prop_oneof![3 => 0..3usize, 1 => 0..USERS.len()];
    let status =
        || prop::sample::select(vec![status::ONLINE, status::ONLINE, status::AWAY, status::BUSY]);
    let times = prop::sample::select(vec![1, 99, 100, 1_000, 4_999, 5_000, 25_001, 29_999, 30_000]);
    let step = prop_oneof![
        5 => (near(), status()).prop_map(|(u, s)| SocialStep::Enter(u, s)),
        1 => at().prop_map(|(u, d)| SocialStep::Leave(u, d)),
        2 => at().prop_map(|(u, d)| SocialStep::Lose(u, d)),
        1 => (at(), status()).prop_map(|((u, d), s)| SocialStep::Status(u, d, s)),
        6 => (near(), 0..DEVICES, prop::collection::btree_set(near(), 1..4))
            .prop_map(|(u, d, t)| SocialStep::Start(u, d, t.into_iter().collect())),
        8 => (near(), 0..DEVICES, prop::sample::select(vec![0u8, 0, 0, 1, 2, 3]), near(), 0..4u8)
            .prop_map(|(user, device, act, other, own)| {
                let call_of = if own > 0 { user } else { other };
                SocialStep::Call { user, device, act, call_of }
            }),
        3 => (near(), 0..DEVICES, user).prop_map(|(u, d, t)| SocialStep::Add(u, d, t)),
        4 => times.prop_map(SocialStep::Wait),
        1 => near().prop_map(SocialStep::RoomOver),
        1 => any::<bool>().prop_map(SocialStep::Rooms),
    ];
    prop::collection::vec(step, 1..60)
}

struct Comparison {
    world: World,
    model: SocialModel,
    /// A device that watches all users.
    watcher: DeviceId,
    /// The users in the watcher's list, with their statuses.
    seen: BTreeMap<String, u8>,
}

impl Comparison {
    fn new() -> Self {
        let mut world = World::new();
        let watcher = world.enter("watcher");
        world.ask(watcher, DeviceRequest::Watch(1, Some(UserFilter::default())));
        world.log.messages.clear();
        let model = SocialModel::new(&USERS, 1_000);
        Self { world, model, watcher, seen: BTreeMap::new() }
    }

    fn device(&self, user: usize, nth: usize) -> Option<DeviceId> {
        let devices = &self.model.users[user].devices;
        (!devices.is_empty()).then(|| devices[nth % devices.len()].0)
    }

    fn step(&mut self, step: &SocialStep) {
        let Self { world, model, .. } = self;
        match step {
            SocialStep::Enter(user, chosen) if model.users[*user].devices.len() < DEVICES => {
                let device = world.enter_as(USERS[*user], "technician", *chosen);
                model.enter(*user, device, *chosen);
            }
            SocialStep::Enter(..) => {}
            SocialStep::Wait(ms) => {
                world.wait(*ms);
                model.wait(*ms);
            }
            SocialStep::RoomOver(user) => {
                let call = model.call_of(*user);
                if matches!(model.users[*user].part, CallPart::In(_)) {
                    world.post(SocialInput::RoomOver(call));
                    model.finish(call, Code::Left);
                }
            }
            SocialStep::Rooms(rooms) => (world.log.no_rooms, model.rooms) = (!rooms, *rooms),
            SocialStep::Leave(user, nth)
            | SocialStep::Lose(user, nth)
            | SocialStep::Status(user, nth, _)
            | SocialStep::Start(user, nth, _)
            | SocialStep::Call { user, device: nth, .. }
            | SocialStep::Add(user, nth, _) => {
                if let Some(device) = self.device(*user, *nth) {
                    self.at_device(*user, device, step);
                }
            }
        }
    }

    fn at_device(&mut self, user: usize, device: DeviceId, step: &SocialStep) {
        let Self { world, model, .. } = self;
        let act = match step {
            SocialStep::Leave(..) => {
                world.leave(device);
                return model.leave(user, device);
            }
            SocialStep::Lose(..) => {
                world.lose(device);
                return model.lose(user, device);
            }
            SocialStep::Status(_, _, chosen) => {
                world.ask(device, DeviceRequest::SetStatus(*chosen));
                let user = model.users[user].devices.iter_mut().find(|(at, _)| *at == device);
                user.unwrap().1 = *chosen;
                return;
            }
            SocialStep::Start(_, _, users) => CallAct::Start(
                users.iter().map(|u| USERS[*u].to_owned()).collect(),
                "why".to_owned(),
            ),
            SocialStep::Call { act, call_of, .. } => {
                let call = model.call_of(*call_of);
                [CallAct::Accept, CallAct::Reject, CallAct::Cancel, CallAct::HangUp]
                    [usize::from(*act)](call)
            }
            SocialStep::Add(_, _, added) => {
                CallAct::Add(model.call_of(user), USERS[*added].to_owned())
            }
            _ => return,
        };
        let seed = world.next_call;
        world.act(device, act.clone());
        model.act(user, device, &act, seed);
    }

    fn compare(&mut self) {
        // Sort the messages, because the order may differ when several users' calls end at the same
        // time.
        let sorted = |mut messages: Vec<(DeviceId, String)>| {
            messages.sort();
            messages
        };
        let messages = std::mem::take(&mut self.world.log.messages);
        assert_eq!(sorted(messages), sorted(std::mem::take(&mut self.model.messages)));
        for (device, list) in self.world.log.user_lists.drain(..) {
            assert_eq!(device, self.watcher);
            for gone in list.gone {
                self.seen.remove(&String::from_utf8(gone).unwrap());
            }
            for user in list.users {
                self.seen.insert(String::from_utf8(user.user).unwrap(), user.status);
            }
            assert_eq!(list.total as usize, self.seen.len());
        }
        self.invariants();
    }

    fn invariants(&self) {
        let model = &self.model;
        let mut expected = Vec::new();
        for call in model.calls() {
            let (members, ringing) = (model.members(call), model.ringing(call));
            assert!(!members.is_empty() && members.len() + ringing.len() >= 2, "{call}");
            let open = members.iter().filter(|m| matches!(model.users[**m].part, CallPart::In(_)));
            expected.extend(open.map(|member| USERS[*member].to_owned()));
        }
        let mut invited = self.world.log.invited.clone();
        invited.sort();
        expected.sort();
        assert_eq!(invited, expected, "exactly the members of open calls are invited to the rooms");
        assert_eq!(self.world.log.audits, model.calls().len());
        assert_eq!(self.world.log.calls.len(), model.calls().len());
    }

    /// Checks the end of the run: after a pause the watcher has seen all changes, and every call
    /// that rang has ended by itself. When all users have left, nothing remains.
    fn end(&mut self) {
        let soon = |now: Time| now + Duration::from_millis(100);
        while self.world.deadline().is_some_and(|due| due <= soon(self.world.now)) {
            self.step(&SocialStep::Wait(100));
            self.compare();
        }
        let is_present = |user: &usize| self.model.status(*user) != status::OFFLINE;
        let users = (0..USERS.len()).filter(is_present);
        let mut expected: BTreeMap<String, u8> =
            users.map(|user| (USERS[user].to_owned(), self.model.status(user))).collect();
        expected.insert("watcher".to_owned(), status::ONLINE);
        assert_eq!(self.seen, expected);
        self.step(&SocialStep::Wait(30_000));
        self.compare();
        for user in &self.model.users {
            assert!(
                !matches!(user.part, CallPart::Calling(_) | CallPart::Ringing { .. }),
                "a call rings for ever"
            );
        }
        for user in 0..USERS.len() {
            while let Some(device) = self.device(user, 0) {
                self.at_device(user, device, &SocialStep::Leave(user, 0));
            }
        }
        self.step(&SocialStep::Wait(30_000));
        self.compare();
        self.world.leave(self.watcher);
        assert!(self.world.is_over(), "nobody is left");
        assert_eq!(self.world.deadline(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn calls_are_as_in_the_model(steps in steps()) {
        let mut comparison = Comparison::new();
        for step in &steps {
            comparison.step(step);
            comparison.compare();
        }
        comparison.end();
    }
}

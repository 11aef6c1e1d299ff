//! Tests of watchers: which users a watcher sees.

use std::collections::BTreeSet;

use nucleus_core::ids::DeviceId;
use nucleus_core::limits::DEVICES;
use nucleus_core::social::{CallAct, DeviceRequest, UserFilter};
use nucleus_protocol::limits::MAX_USER_LIST;
use nucleus_protocol::session::{self, Code, status};
use nucleus_sim::social::SocialWorld as World;

/// The role that may neither watch users nor start calls.
const OBSERVER: &str = "observer";

fn watch(world: &mut World, device: DeviceId, roles: &[&str], users: &[&str]) {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let filter = UserFilter { roles: owned(roles), users: owned(users) };
    world.ask(device, DeviceRequest::Watch(7, Some(filter)));
}

/// An update of a list of users.
#[derive(Debug, PartialEq)]
struct ListUpdate {
    /// New and changed users, each with the status.
    users: Vec<String>,
    gone: Vec<String>,
    total: u32,
}

fn update(users: &[&str], gone: &[&str], total: u32) -> ListUpdate {
    let strings = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    ListUpdate { users: strings(users), gone: strings(gone), total }
}

/// Removes and returns the new updates for the device.
fn updates(world: &mut World, device: DeviceId) -> Vec<ListUpdate> {
    let string = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let lists = world.log.user_lists.extract_if(.., |(at, _)| *at == device);
    lists
        .map(|(_, list)| {
            let line = |user: &session::UserInfo| format!("{} {}", string(&user.user), user.status);
            let gone = list.gone.iter().map(|user| string(user)).collect();
            ListUpdate { users: list.users.iter().map(line).collect(), gone, total: list.total }
        })
        .collect()
}

#[test]
fn a_view_is_whole_first_and_then_what_changed() {
    let mut world = World::new();
    let (a, e) = (world.enter("a"), world.enter_as("e", "expert", status::ONLINE));
    watch(&mut world, a, &["expert"], &["f"]);
    assert_eq!(updates(&mut world, a), [update(&["e 1"], &[], 1)]);
    world.wait(100);
    assert_eq!(updates(&mut world, a), [], "the first list contained the changes of the batch");
    let f = world.enter("f");
    world.enter("g");
    world.ask(e, DeviceRequest::SetStatus(status::AWAY));
    world.wait(99);
    assert_eq!(updates(&mut world, a), []);
    world.wait(1);
    assert_eq!(updates(&mut world, a), [update(&["e 3", "f 1"], &[], 2)]);
    world.leave(f);
    world.enter("h");
    world.wait(100);
    assert_eq!(updates(&mut world, a), [update(&[], &["f"], 1)]);
    world.enter("i");
    world.wait(100);
    assert_eq!(updates(&mut world, a), [], "the filter does not match the user");
}

#[test]
fn the_status_is_the_persons_and_not_one_devices() {
    let mut world = World::new();
    let w = world.enter("w");
    watch(&mut world, w, &[], &["a"]);
    let status = |world: &mut World| {
        world.wait(100);
        updates(world, w).pop().map(|update| [update.users, update.gone].concat().join(" "))
    };
    let first = world.enter_as("a", "", status::AWAY);
    assert_eq!(status(&mut world).unwrap(), "a 3");
    let second = world.enter("a");
    assert_eq!(status(&mut world).unwrap(), "a 1", "one device online is enough");
    world.ask(first, DeviceRequest::SetStatus(status::BUSY));
    assert_eq!(status(&mut world).unwrap(), "a 2", "busy on one device is enough");
    world.leave(first);
    assert_eq!(status(&mut world).unwrap(), "a 1");
    world.start(second, &["w"]);
    assert_eq!(status(&mut world).unwrap(), "a 2", "the user is busy while the call rings");
    world.leave(second);
    assert_eq!(status(&mut world).unwrap(), "a");
}

#[test]
fn observers_see_nobody_and_call_nobody() {
    let mut world = World::new();
    let (o, a) = (world.enter_as("o", OBSERVER, status::ONLINE), world.enter("a"));
    watch(&mut world, o, &[], &[]);
    let (_, refused) = world.log.user_lists.pop().unwrap();
    assert_eq!((refused.request, refused.code), (7, Code::Forbidden as u16));
    assert!(refused.users.is_empty());
    world.ask(o, DeviceRequest::Watch(8, None));
    assert_eq!(world.log.user_lists.pop().unwrap().1.code, Code::BadState as u16);
    world.take_messages();
    world.start(o, &["a"]);
    assert_eq!(
        world.take_messages().into_values().collect::<Vec<_>>(),
        [[format!("reply {} 0", 60)]]
    );
    let call = world.start(a, &["o"]);
    world.act(o, CallAct::Accept(call));
    assert!(
        world.messages_of(o).contains(&"accepted room 0 a+o".to_owned()),
        "an observer may be called"
    );

    // The role of each device comes from its own token.
    let a2 = world.enter_as("a", OBSERVER, status::ONLINE);
    let o2 = world.enter("o");
    for (device, code) in
        [(a2, Code::Forbidden as u16), (o2, 0), (a, 0), (o, Code::Forbidden as u16)]
    {
        watch(&mut world, device, &[], &[]);
        assert_eq!(world.log.user_lists.pop().unwrap().1.code, code, "{device:?}");
    }
}

/// A list shows the oldest users if more match than it can show. When one of them leaves, the next
/// one takes the free position.
#[test]
fn a_full_view_shows_who_came_first() {
    let mut world = World::new();
    let w = world.enter_as("w", "expert", status::ONLINE);
    watch(&mut world, w, &["technician"], &[]);
    updates(&mut world, w);
    let devices: Vec<DeviceId> =
        (0..MAX_USER_LIST + 20).map(|n| world.enter(&format!("u{n:04}"))).collect();
    let mut shown = BTreeSet::new();
    let mut look = |world: &mut World, total: usize| {
        world.wait(100);
        for ListUpdate { users, gone, total: listed } in updates(world, w) {
            gone.iter().for_each(|user| assert!(shown.remove(user), "{user} was not shown"));
            shown.extend(users.iter().map(|line| line[..5].to_owned()));
            assert_eq!(listed as usize, total);
        }
        (shown.len(), shown.last().unwrap().clone())
    };
    assert_eq!(look(&mut world, 1_020), (1_000, "u0999".to_owned()));
    world.leave(devices[5]);
    assert_eq!(look(&mut world, 1_019), (1_000, "u1000".to_owned()));
    world.leave(devices[1_001]);
    assert_eq!(
        look(&mut world, 1_018),
        (1_000, "u1000".to_owned()),
        "the user was not in the list"
    );
    devices[500..900].iter().for_each(|device| world.leave(*device));
    assert_eq!(look(&mut world, 618), (618, "u1019".to_owned()));
    world.enter("u2000");
    assert_eq!(look(&mut world, 619), (619, "u2000".to_owned()));
}

/// A user who left before the first list is not reported as gone.
#[test]
fn a_view_begins_where_it_is_asked_for() {
    let mut world = World::new();
    let (w, a) = (world.enter("w"), world.enter("a"));
    world.leave(a);
    watch(&mut world, w, &[], &[]);
    world.wait(100);
    assert_eq!(updates(&mut world, w), [update(&["w 1"], &[], 1)]);
}

#[test]
fn of_too_many_devices_the_oldest_goes() {
    let mut world = World::new();
    let devices: Vec<DeviceId> = (0..=DEVICES).map(|_| world.enter("a")).collect();
    assert_eq!(world.messages_of(devices[0]), ["entered 0", "closed replaced"]);
    world.start(devices[0], &["b"]);
    assert!(world.take_messages().is_empty(), "a removed device can do nothing");
}

/// A thousand devices enter and begin to watch together. Each gets one first list and at most one
/// update, not a thousand.
#[test]
fn whoever_begins_to_watch_wakes_nobody() {
    let mut world = World::new();
    let devices: Vec<DeviceId> = (0..1_000)
        .map(|n| {
            let device = world.enter(&format!("u{n:04}"));
            watch(&mut world, device, &[], &["u0000", "u0999"]);
            device
        })
        .collect();
    assert_eq!(world.log.user_lists.len(), 1_000, "each device gets one first list");
    world.log.user_lists.clear();
    world.wait(100);
    assert_eq!(updates(&mut world, devices[999]), [], "its first list was complete");
    assert_eq!(updates(&mut world, devices[0]), [update(&["u0999 1"], &[], 2)]);
}

/// A change that leaves the status of the user as it was causes no update.
#[test]
fn only_a_change_is_told() {
    let mut world = World::new();
    let (w, a) = (world.enter("w"), world.enter("a"));
    watch(&mut world, w, &[], &[]);
    world.wait(100);
    world.log.user_lists.clear();
    world.ask(a, DeviceRequest::SetStatus(status::ONLINE));
    let second = world.enter_as("a", "", status::AWAY);
    world.leave(second);
    world.wait(100);
    assert_eq!(updates(&mut world, w), []);
    assert_eq!(world.deadline(), None);
}

#[test]
fn many_who_watch_are_told_less_often() {
    let mut world = World::new();
    let a = world.enter("a");
    for n in 0..2_000 {
        let device = world.enter(&format!("w{n}"));
        watch(&mut world, device, &[], &["a"]);
    }
    world.wait(1_000);
    world.log.user_lists.clear();
    world.ask(a, DeviceRequest::SetStatus(status::AWAY));
    world.wait(199);
    assert!(world.log.user_lists.is_empty());
    world.wait(1);
    assert_eq!(world.log.user_lists.len(), 2_000);
}

//! Tests of what a social client knows of its call and of the watched users.

use std::time::Duration;

use nucleus_protocol::session::{
    CallReply, CallUpdate, Code, RoomField, RoomList, SESSION_HEADER_BYTES, UserList, WatchRooms,
    WatchUsers, call_act, call_update,
};

use super::calls::PendingSocialRequest;
use super::*;
use crate::state::Value;

const STATUS: Status = Status::Online;

fn client() -> SocialClient {
    let options = SocialEnter {
        token: "t".to_owned(),
        name: String::new(),
        status: STATUS,
        agent: "test".to_owned(),
    };
    SocialClient::new(Time::ZERO, "server", options, ClientOptions::new(Duration::from_secs(1), 1))
}

fn update(kind: u8) -> CallUpdate {
    CallUpdate { call: 7, kind, ..CallUpdate::default() }
}

/// Sends a request, whose reply has the call 7.
fn sent(client: &mut SocialClient, act: u8) -> u32 {
    client.requests.start(PendingSocialRequest { act, is_wanted: true })
}

fn reply(client: &mut SocialClient, request: u32, code: u16) {
    client.take_reply(&CallReply { request, code, call: 7 });
}

#[test]
fn a_call_is_known_until_it_is_over_for_this_device() {
    let mut client = client();
    let answer = |client: &mut SocialClient, act, code| {
        let request = sent(client, act);
        reply(client, request, code);
        client.calls.current()
    };
    client.calls.on_update(update(call_update::INCOMING));
    assert_eq!(answer(&mut client, call_act::ACCEPT, 75), Some((7, true)), "refused");
    assert_eq!(answer(&mut client, call_act::REJECT, 0), None);
    assert_eq!(answer(&mut client, call_act::START, 0), Some((7, false)));
    let accepted = client.calls.on_update(update(call_update::ACCEPTED));
    assert!(matches!(accepted[..], [SocialEvent::Accepted { this_device: true, .. }]));
    assert_eq!(answer(&mut client, call_act::ADD, 0), Some((7, false)));
    assert_eq!(answer(&mut client, call_act::HANG_UP, 0), None);
}

#[test]
fn what_this_device_has_done_counts_though_nobody_waits_for_the_answer() {
    let mut client = client();
    let request = sent(&mut client, call_act::ACCEPT);
    client.forget(crate::RequestNumber(request));
    reply(&mut client, request, 0);
    assert_eq!(client.calls.current(), Some((7, false)));
    let events = client.calls.on_update(update(call_update::ACCEPTED));
    assert!(matches!(events[..], [SocialEvent::Accepted { this_device: true, .. }]), "{events:?}");

    // While the application is behind, the client does not read the reply.
    let request = sent(&mut client, call_act::HANG_UP);
    client.set_behind(true);
    let outcome = client.take_result(crate::RequestNumber(request));
    assert_eq!(outcome, Some(Err(SocialError::Interrupted)));
    reply(&mut client, request, 0);
    assert_eq!(client.calls.current(), None);
    assert_eq!(client.take_result(crate::RequestNumber(request)), None, "one result");
}

#[test]
fn a_call_is_this_devices_also_where_the_answer_was_lost() {
    let mut first = client();
    sent(&mut first, call_act::START);
    first.end_requests();
    first.calls.on_update(update(call_update::CALLING));
    let accepted = first.calls.on_update(update(call_update::ACCEPTED));
    let is_own = matches!(accepted[..], [SocialEvent::Accepted { this_device: true, .. }]);
    assert!(is_own, "{accepted:?}");

    // The accept never arrived: the call still rings, and another device accepts it.
    let mut second = client();
    sent(&mut second, call_act::ACCEPT);
    second.end_requests();
    second.calls.on_update(update(call_update::INCOMING));
    let accepted = second.calls.on_update(update(call_update::ACCEPTED));
    let (call, code) = (CallId(7), Some(Code::Answered));
    assert_eq!(accepted[0], SocialEvent::RingingEnded { call, code }, "the device stops ringing");
    assert!(matches!(accepted[1], SocialEvent::Accepted { this_device: false, .. }));
}

#[test]
fn who_has_gone_and_come_again_is_not_gone() {
    let mut client = client();
    client.watched_users = Some(WatchUsers { request: 2, roles: Vec::new(), users: Vec::new() });
    let user = nucleus_protocol::session::UserInfo {
        user: b"a".to_vec(),
        name: Vec::new(),
        role: Vec::new(),
        status: 1,
    };
    let gone = vec![b"a".to_vec(), b"b".to_vec()];
    client
        .take_user_list(UserList { request: 2, users: vec![user], gone, ..UserList::default() })
        .unwrap();
    match client.take_event(Time::ZERO) {
        Some(SocialEvent::Users { gone, .. }) => assert_eq!(gone, ["b"]),
        other => panic!("{other:?}"),
    }
}

/// A client that watches users and rooms, and a server of theirs that sends without end.
fn watching() -> SocialClient {
    let mut client = client();
    client.watched_users = Some(WatchUsers { request: 2, roles: Vec::new(), users: Vec::new() });
    let watch = WatchRooms { request: 3, version: Vec::new(), filters: Vec::new() };
    client.rooms.watch(watch);
    client
}

/// The `n`th list of 500 users.
fn users(n: usize, name: usize) -> ReceivedItem {
    let user = |number: usize| nucleus_protocol::session::UserInfo {
        user: format!("{}", n * 500 + number).into_bytes(),
        name: vec![b'n'; name],
        role: Vec::new(),
        status: 1,
    };
    let users = (0..500).map(user).collect();
    let list = UserList { request: 2, users, ..UserList::default() };
    ReceivedItem::Control(Schema::UserList, body(&encode(&list)))
}

/// The `n`th list of 500 rooms.
fn rooms(n: usize, field: usize) -> ReceivedItem {
    let room = |number: usize| nucleus_protocol::session::RoomInfo {
        room: format!("{}", n * 500 + number).into_bytes(),
        peers: 1,
        capacity: 1,
        flags: 0,
        fields: vec![RoomField { key: b"k".to_vec(), value: Value::Bytes(vec![0; field]).into() }],
    };
    let (rooms, gone) = ((0..500).map(room).collect(), Vec::new());
    let list = RoomList { request: 3, total: 0, whole: 0, rooms, gone };
    ReceivedItem::Control(Schema::RoomList, body(&encode(&list)))
}

fn body(message: &[u8]) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(&message[SESSION_HEADER_BYTES..])
}

/// Returns how many lists the client takes from a server that sends them without end.
fn taken(list: impl Fn(usize) -> ReceivedItem) -> usize {
    let mut client = watching();
    let is_taken = |n: &usize| {
        while client.take_event(Time::ZERO).is_some() {}
        client.receive(list(*n)).is_ok()
    };
    (0..200).take_while(is_taken).count()
}

#[test]
fn lists_of_users_and_rooms_do_not_grow_without_end() {
    assert_eq!(taken(|n| users(n, 20)), 32, "16,000 users");
    assert_eq!(taken(|n| rooms(n, 20)), 16, "8,000 rooms");
    assert_eq!(taken(|n| users(n, 3_000)), 4, "6.5 MB of names");
    assert_eq!(taken(|n| rooms(n, 4_000)), 12, "25 MB of fields");
}

#[test]
fn the_texts_of_waiting_events_count() {
    let mut client = watching();
    let mut read = 0;
    while !client.events.is_full() {
        assert!(read < 100, "the client reads without end");
        client.receive(users(0, 1_000)).unwrap();
        read += 1;
    }
    assert_eq!(read, 2, "1 MiB");
    let mut client = watching();
    let text = vec![b't'; 100_000];
    let ringing = encode(&CallUpdate { kind: call_update::INCOMING, text, ..update(0) });
    for _ in 0..11 {
        assert!(!client.events.is_full());
        client.receive(ReceivedItem::Control(Schema::CallUpdate, body(&ringing))).unwrap();
    }
    assert!(client.events.is_full());
}

#[test]
fn a_full_list_of_users_does_not_stop_the_reading() {
    let mut client = watching();
    for n in 0..2 {
        client.receive(users(n, 3 * nucleus_protocol::limits::MAX_NAME)).unwrap();
    }
    assert!(!client.events.is_full());
}

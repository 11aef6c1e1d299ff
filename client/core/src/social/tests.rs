//! Tests of what a social client knows of its call and of the watched users.

use std::time::Duration;

use nucleus_protocol::session::{
    CallReply, CallUpdate, Code, UserList, WatchUsers, call_act, call_update,
};

use super::calls::PendingSocialRequest;
use super::*;

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
    client.take_user_list(UserList { request: 2, users: vec![user], gone, ..UserList::default() });
    match client.take_event(Time::ZERO) {
        Some(SocialEvent::Users { gone, .. }) => assert_eq!(gone, ["b"]),
        other => panic!("{other:?}"),
    }
}

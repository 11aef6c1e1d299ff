//! Tests of calls through the client's API.

use std::time::Duration;

use crate::control::Api;
use crate::social::{enter_as, enter_with, wait_for};
use crate::support::TestServer;
use nucleus_client::{
    CallId, Code, ConnectError, JoinError, Room, Social, SocialError, SocialEvent, Status,
    UserInfo, connect,
};
use nucleus_server::token::{Product, TokenRequest};
use serde_json::{Value, json};

struct IncomingCall {
    call: CallId,
    from: String,
    text: String,
}

/// Waits for an incoming call.
async fn next_incoming(social: &Social) -> IncomingCall {
    wait_for(social, |event| match event {
        SocialEvent::Incoming { call, from, text, .. } => Some(IncomingCall { call, from, text }),
        _ => None,
    })
    .await
}

/// The fields of [`SocialEvent::Accepted`], with the members in alphabetical order.
#[derive(Debug, PartialEq)]
struct AcceptedCall {
    room: String,
    members: Vec<String>,
    this_device: bool,
}

async fn accepted(social: &Social, wanted: CallId) -> AcceptedCall {
    let mut accepted = wait_for(social, |event| match event {
        SocialEvent::Accepted { call, room, members, this_device } if call == wanted => {
            Some(AcceptedCall { room, members, this_device })
        }
        _ => None,
    })
    .await;
    accepted.members.sort();
    accepted
}

async fn ended(social: &Social, wanted: CallId) -> Option<Code> {
    wait_for(social, |event| match event {
        SocialEvent::Ended { call, code } if call == wanted => Some(code),
        _ => None,
    })
    .await
}

async fn ringing_ended(social: &Social, wanted: CallId) -> Option<Code> {
    wait_for(social, |event| match event {
        SocialEvent::RingingEnded { call, code } if call == wanted => Some(code),
        _ => None,
    })
    .await
}

fn refused<T: std::fmt::Debug>(outcome: Result<T, SocialError>) -> Option<Code> {
    match outcome {
        Err(SocialError::Refused { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

async fn join(server: &TestServer, user: &str, room: &str) -> Result<Room, Option<Code>> {
    connect(server.options(server.token(user)).room(room)).await.map_err(|error| match error {
        ConnectError::Join(JoinError::Refused { code, .. }) => code,
        other => panic!("{other}"),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn ring_accept_meet_and_hang_up() {
    let server = TestServer::start().await;
    let (ada, bo) = (enter_as(&server, "ada").await, enter_as(&server, "bo").await);
    let call = ada.start(&["bo"], "pump 3 leaks").await.unwrap();
    let incoming = next_incoming(&bo).await;
    assert_eq!((incoming.call, incoming.from.as_str()), (call, "ada"));
    assert_eq!(incoming.text, "pump 3 leaks");
    bo.accept(call).await.unwrap();
    let at_ada = accepted(&ada, call).await;
    let room = at_ada.room.clone();
    assert!(room.starts_with("call-") && room.len() == 37 && at_ada.this_device, "{room}");
    assert_eq!(at_ada.members, ["ada", "bo"]);
    assert_eq!(accepted(&bo, call).await, at_ada);

    let (a, b) =
        (join(&server, "ada", &room).await.unwrap(), join(&server, "bo", &room).await.unwrap());
    assert_eq!(b.peers()[0].user, "ada");
    assert_eq!(join(&server, "stranger", &room).await.err(), Some(Some(Code::NotInvited)));
    bo.hang_up(call).await.unwrap();
    assert_eq!(ended(&ada, call).await, Some(Code::Left));
    b.leave().await;
    assert_eq!(
        join(&server, "bo", &room).await.err(),
        Some(Some(Code::NotInvited)),
        "who has left the call is not invited"
    );
    a.leave().await;
    // Both users can be called again.
    ada.start(&["bo"], "").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_ends_a_call() {
    let server = TestServer::start().await;
    let api = Api::of(&server);
    let (ada, bo) = (enter_as(&server, "ada").await, enter_as(&server, "bo").await);
    let call = ada.start(&["bo"], "").await.unwrap();
    bo.accept(next_incoming(&bo).await.call).await.unwrap();
    accepted(&ada, call).await;
    let (_, live) = api.send("GET", "/calls", Value::Null).await;
    assert_eq!((&live["total"], &live["items"][0]["caller"]), (&json!(1), &json!("ada")), "{live}");
    let path = format!("/calls/{}/end", live["items"][0]["call"].as_str().unwrap());
    api.post(&path, Value::Null).await;
    for user in [&ada, &bo] {
        assert_eq!(ended(user, call).await, Some(Code::Left));
    }
    assert_eq!(api.send("POST", &path, Value::Null).await.0, 404);
    // Both users can be called again.
    bo.start(&["ada"], "").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn reject_busy_cancel_and_nobody_there() {
    let server = TestServer::start().await;
    let (ada, bo) = (enter_as(&server, "ada").await, enter_as(&server, "bo").await);
    let call = ada.start(&["bo"], "").await.unwrap();
    let cy = enter_as(&server, "cy").await;
    assert_eq!(refused(cy.start(&["bo"], "").await), Some(Code::Busy));
    bo.reject(next_incoming(&bo).await.call).await.unwrap();
    assert_eq!(ended(&ada, call).await, Some(Code::Declined));

    let call = ada.start(&["bo"], "").await.unwrap();
    ada.cancel(call).await.unwrap();
    assert_eq!(ringing_ended(&bo, call).await, Some(Code::Cancelled));
    assert_eq!(refused(bo.accept(call).await), Some(Code::NoSuchEntity));
    assert_eq!(refused(ada.start(&["nobody"], "").await), Some(Code::Unreachable));
    bo.set_status(Status::Busy);
    // Setting the status has no reply. The next request on the same stream comes after it.
    assert_eq!(refused(bo.accept(call).await), Some(Code::NoSuchEntity));
    assert_eq!(refused(ada.start(&["bo"], "").await), Some(Code::Busy));
    assert_eq!(ada.start(&[], "").await, Err(SocialError::Limit("a call is for 1 to 16 users")));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_answers() {
    let server =
        TestServer::with(|config| config.limits.ring_time = Duration::from_millis(600)).await;
    let (ada, bo) = (enter_as(&server, "ada").await, enter_as(&server, "bo").await);
    let call = ada.start(&["bo"], "").await.unwrap();
    assert_eq!(ended(&ada, call).await, Some(Code::NoAnswer));
    assert_eq!(ringing_ended(&bo, call).await, Some(Code::NoAnswer));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_call_each_other_at_the_same_moment_are_connected() {
    let server = TestServer::start().await;
    let (ada, bo) = (enter_as(&server, "ada").await, enter_as(&server, "bo").await);
    for _ in 0..20 {
        let (a, b) = tokio::join!(ada.start(&["bo"], ""), bo.start(&["ada"], ""));
        let call = a.unwrap();
        assert_eq!(b.unwrap(), call);
        // If a device rings before its own call is sent, the user may accept the incoming call
        // although the two calls have already become one.
        let (a, b) = tokio::join!(ada.accept(call), bo.accept(call));
        a.unwrap();
        b.unwrap();
        let (a, b) = (accepted(&ada, call).await, accepted(&bo, call).await);
        assert!(a == b && a.this_device, "{a:?} {b:?}");
        ada.hang_up(call).await.unwrap();
        assert_eq!(ended(&bo, call).await, Some(Code::Left));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_party_and_a_second_device() {
    let server = TestServer::start().await;
    let (ada, bo) = (enter_as(&server, "ada").await, enter_as(&server, "bo").await);
    let (desk, phone) = (enter_as(&server, "cy").await, enter_as(&server, "cy").await);
    let call = ada.start(&["bo"], "").await.unwrap();
    bo.accept(next_incoming(&bo).await.call).await.unwrap();
    let room = accepted(&ada, call).await.room;
    assert_eq!(join(&server, "cy", &room).await.err(), Some(Some(Code::NotInvited)));
    bo.add(call, "cy").await.unwrap();
    for device in [&desk, &phone] {
        assert_eq!(next_incoming(device).await.from, "bo");
    }
    phone.accept(call).await.unwrap();
    assert_eq!(ringing_ended(&desk, call).await, Some(Code::Answered));
    assert!(!accepted(&desk, call).await.this_device, "the phone has the call");
    let at_phone = accepted(&phone, call).await;
    assert_eq!((&at_phone.room, at_phone.this_device), (&room, true));
    assert_eq!(at_phone.members, ["ada", "bo", "cy"]);
    let joined = wait_for(&ada, |event| match event {
        SocialEvent::MemberJoined { user, .. } => Some(user),
        _ => None,
    });
    assert_eq!(joined.await, "cy");
    join(&server, "cy", &room).await.unwrap();
    ada.hang_up(call).await.unwrap();
    let left = wait_for(&bo, |event| match event {
        SocialEvent::MemberLeft { user, .. } => Some(user),
        _ => None,
    });
    assert_eq!(left.await, "ada");
    // A device that connects later learns of the call.
    let tablet = enter_as(&server, "cy").await;
    let members = ["bo", "cy"].map(String::from).to_vec();
    let expected = AcceptedCall { room, members, this_device: false };
    assert_eq!(accepted(&tablet, call).await, expected);
}

/// Waits until the watched users satisfy `wanted`, and returns their ids.
async fn wait_for_users(social: &Social, wanted: impl Fn(&[UserInfo]) -> bool) -> Vec<String> {
    while !wanted(&social.users()) {
        wait_for(social, |event| matches!(event, SocialEvent::Users { .. }).then_some(())).await;
    }
    social.users().into_iter().map(|user| user.user).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_seen_and_other_tenants_not() {
    let server = TestServer::start().await;
    let token = |tenant: &str, user: &str, role: &str| {
        let request =
            TokenRequest { role: role.into(), ..TokenRequest::new(Product::ASSIST, tenant, user) };
        server.token_with(request)
    };
    let ada = enter_with(&server, token("acme", "ada", "technician")).await;
    ada.watch_users(&["expert"], &[]).await.unwrap();
    assert!(ada.users().is_empty());
    let _other = enter_with(&server, token("other", "eve", "expert")).await;
    let expert = enter_with(&server, token("acme", "ed", "expert")).await;
    assert_eq!(wait_for_users(&ada, |users| !users.is_empty()).await, ["ed"]);
    assert_eq!(refused(ada.start(&["eve"], "").await), Some(Code::Unreachable));
    expert.set_status(Status::Away);
    wait_for_users(&ada, |users| users.iter().any(|user| user.status == Status::Away)).await;
    expert.leave().await;
    wait_for_users(&ada, <[_]>::is_empty).await;
    let observer = enter_with(&server, token("acme", "ob", "observer")).await;
    assert_eq!(refused(observer.watch_users(&[], &[]).await), Some(Code::Forbidden));
}

/// After a restart the client watches the users again, and a call of the old server has ended.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_watched_and_called_survives_or_is_told() {
    let server = TestServer::start().await;
    let (ada, bo) = (enter_as(&server, "ada").await, enter_as(&server, "bo").await);
    ada.watch_users(&[], &["bo"]).await.unwrap();
    let call = ada.start(&["bo"], "").await.unwrap();
    next_incoming(&bo).await;
    let _server = server.restart().await;
    wait_for(&bo, |event| (event == SocialEvent::Returned).then_some(())).await;
    // The old server reports the end of the call. If that report is lost, the client reports the
    // end when the session returns.
    let (mut end, mut returned) = (None, false);
    while end.is_none() || !returned {
        match wait_for(&ada, Some).await {
            SocialEvent::Ended { call: ended, code } if ended == call => end = Some(code),
            SocialEvent::Returned => returned = true,
            _ => {}
        }
    }
    assert!(matches!(end, Some(None | Some(Code::ShuttingDown))), "{end:?}");
    bo.set_status(Status::Away);
    wait_for_users(&ada, |users| users.iter().any(|user| user.status == Status::Away)).await;
    ada.start(&["bo"], "").await.unwrap();
}

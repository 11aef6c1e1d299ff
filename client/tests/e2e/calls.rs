//! Calls through the client's own API.

use std::time::Duration;

use crate::social::{enter_with, enters, hears};
use crate::support::TestServer;
use nucleus_client::{
    CallId, Code, ConnectError, JoinError, Room, Social, SocialError, SocialEvent, Status,
    UserInfo, connect,
};
use nucleus_server::token::{Product, TokenRequest};

async fn rings(social: &Social) -> (CallId, String, String) {
    hears(social, |event| match event {
        SocialEvent::Incoming { call, from, text, .. } => Some((call, from, text)),
        _ => None,
    })
    .await
}

/// The room's name, who is in the call, and whether this device is.
async fn accepted(social: &Social, wanted: CallId) -> (String, Vec<String>, bool) {
    let heard = hears(social, |event| match event {
        SocialEvent::Accepted { call, room, members, here } if call == wanted => {
            Some((room, members, here))
        }
        _ => None,
    });
    let (room, mut members, here) = heard.await;
    members.sort();
    (room, members, here)
}

async fn ended(social: &Social, wanted: CallId) -> Option<Code> {
    hears(social, |event| match event {
        SocialEvent::Ended { call, code } if call == wanted => Some(code),
        _ => None,
    })
    .await
}

async fn quiet(social: &Social, wanted: CallId) -> Option<Code> {
    hears(social, |event| match event {
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
    let (ada, bo) = (enters(&server, "ada").await, enters(&server, "bo").await);
    let call = ada.start(&["bo"], "pump 3 leaks").await.unwrap();
    assert_eq!(rings(&bo).await, (call, "ada".to_owned(), "pump 3 leaks".to_owned()));
    bo.accept(call).await.unwrap();
    let (room, members, here) = accepted(&ada, call).await;
    assert!(room.starts_with("call-") && room.len() == 37 && here, "{room}");
    assert_eq!(members, ["ada", "bo"]);
    assert_eq!(accepted(&bo, call).await, (room.clone(), members, true));

    let (a, b) =
        (join(&server, "ada", &room).await.unwrap(), join(&server, "bo", &room).await.unwrap());
    assert_eq!(b.peers()[0].user, "ada");
    assert_eq!(join(&server, "stranger", &room).await.err(), Some(Some(Code::NotInvited)));
    bo.hang_up(call).await.unwrap();
    assert_eq!(ended(&ada, call).await, Some(Code::Left));
    b.leave().await;
    assert_eq!(join(&server, "bo", &room).await.err(), Some(Some(Code::NotInvited)), "no way back");
    a.leave().await;
    // Both are free again.
    ada.start(&["bo"], "").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn reject_busy_cancel_and_nobody_there() {
    let server = TestServer::start().await;
    let (ada, bo) = (enters(&server, "ada").await, enters(&server, "bo").await);
    let call = ada.start(&["bo"], "").await.unwrap();
    let cy = enters(&server, "cy").await;
    assert_eq!(refused(cy.start(&["bo"], "").await), Some(Code::Busy));
    bo.reject(rings(&bo).await.0).await.unwrap();
    assert_eq!(ended(&ada, call).await, Some(Code::Declined));

    let call = ada.start(&["bo"], "").await.unwrap();
    ada.cancel(call).await.unwrap();
    assert_eq!(quiet(&bo, call).await, Some(Code::Cancelled));
    assert_eq!(refused(bo.accept(call).await), Some(Code::NoSuchEntity));
    assert_eq!(refused(ada.start(&["nobody"], "").await), Some(Code::Unreachable));
    bo.set_status(Status::Busy).await;
    // The status has no answer: on one stream it is there before the next request.
    assert_eq!(refused(bo.accept(call).await), Some(Code::NoSuchEntity));
    assert_eq!(refused(ada.start(&["bo"], "").await), Some(Code::Busy));
    assert_eq!(ada.start(&[], "").await, Err(SocialError::Limit("a call is for 1 to 16 users")));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_answers() {
    let server =
        TestServer::with(|config| config.limits.ring_time = Duration::from_millis(600)).await;
    let (ada, bo) = (enters(&server, "ada").await, enters(&server, "bo").await);
    let call = ada.start(&["bo"], "").await.unwrap();
    assert_eq!(ended(&ada, call).await, Some(Code::NoAnswer));
    assert_eq!(quiet(&bo, call).await, Some(Code::NoAnswer));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_call_each_other_at_the_same_moment_are_connected() {
    let server = TestServer::start().await;
    let (ada, bo) = (enters(&server, "ada").await, enters(&server, "bo").await);
    for _ in 0..20 {
        let (a, b) = tokio::join!(ada.start(&["bo"], ""), bo.start(&["ada"], ""));
        let call = a.unwrap();
        assert_eq!(b.unwrap(), call);
        // Whoever was rung before its own call went out may take what it has already.
        let (a, b) = tokio::join!(ada.accept(call), bo.accept(call));
        a.unwrap();
        b.unwrap();
        let (a, b) = (accepted(&ada, call).await, accepted(&bo, call).await);
        assert!(a == b && a.2, "{a:?} {b:?}");
        ada.hang_up(call).await.unwrap();
        assert_eq!(ended(&bo, call).await, Some(Code::Left));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_party_and_a_second_device() {
    let server = TestServer::start().await;
    let (ada, bo) = (enters(&server, "ada").await, enters(&server, "bo").await);
    let (desk, phone) = (enters(&server, "cy").await, enters(&server, "cy").await);
    let call = ada.start(&["bo"], "").await.unwrap();
    bo.accept(rings(&bo).await.0).await.unwrap();
    let (room, ..) = accepted(&ada, call).await;
    assert_eq!(join(&server, "cy", &room).await.err(), Some(Some(Code::NotInvited)));
    bo.add(call, "cy").await.unwrap();
    assert_eq!((rings(&desk).await.1, rings(&phone).await.1), ("bo".into(), "bo".into()));
    phone.accept(call).await.unwrap();
    assert_eq!(quiet(&desk, call).await, Some(Code::Answered));
    assert!(!accepted(&desk, call).await.2, "it goes on on the phone");
    assert_eq!(
        accepted(&phone, call).await,
        (room.clone(), ["ada", "bo", "cy"].map(String::from).to_vec(), true)
    );
    let joined = hears(&ada, |event| match event {
        SocialEvent::MemberJoined { user, .. } => Some(user),
        _ => None,
    });
    assert_eq!(joined.await, "cy");
    join(&server, "cy", &room).await.unwrap();
    ada.hang_up(call).await.unwrap();
    let left = hears(&bo, |event| match event {
        SocialEvent::MemberLeft { user, .. } => Some(user),
        _ => None,
    });
    assert_eq!(left.await, "ada");
    // A device that comes later is told of the call.
    let tablet = enters(&server, "cy").await;
    assert_eq!(accepted(&tablet, call).await, (room, vec!["bo".into(), "cy".into()], false));
}

/// Whom a hall sees, once somebody wanted is as wanted.
async fn sees(social: &Social, wanted: impl Fn(&[UserInfo]) -> bool) -> Vec<String> {
    while !wanted(&social.users()) {
        hears(social, |event| matches!(event, SocialEvent::Users { .. }).then_some(())).await;
    }
    social.users().into_iter().map(|user| user.user).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_seen_and_other_tenants_not() {
    let server = TestServer::start().await;
    let of = |tenant: &str, user: &str, role: &str| {
        let request =
            TokenRequest { role: role.into(), ..TokenRequest::new(Product::Assist, tenant, user) };
        server.token_with(request)
    };
    let ada = enter_with(&server, of("acme", "ada", "technician")).await;
    ada.watch_users(&["expert"], &[]).await.unwrap();
    assert!(ada.users().is_empty());
    let _other = enter_with(&server, of("other", "eve", "expert")).await;
    let expert = enter_with(&server, of("acme", "ed", "expert")).await;
    assert_eq!(sees(&ada, |people| !people.is_empty()).await, ["ed"]);
    assert_eq!(refused(ada.start(&["eve"], "").await), Some(Code::Unreachable));
    expert.set_status(Status::Away).await;
    sees(&ada, |users| users.iter().any(|user| user.status == Status::Away)).await;
    expert.leave().await;
    sees(&ada, <[_]>::is_empty).await;
    let observer = enter_with(&server, of("acme", "ob", "observer")).await;
    assert_eq!(refused(observer.watch_users(&[], &[]).await), Some(Code::Forbidden));
}

/// After a restart the view is asked for again, and a call that went with the server is over.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_watched_and_called_survives_or_is_told() {
    let server = TestServer::start().await;
    let (ada, bo) = (enters(&server, "ada").await, enters(&server, "bo").await);
    ada.watch_users(&[], &["bo"]).await.unwrap();
    let call = ada.start(&["bo"], "").await.unwrap();
    rings(&bo).await;
    let _server = server.restart().await;
    hears(&bo, |event| (event == SocialEvent::Returned).then_some(())).await;
    // Where the last words did not get through, the return says that the call is over.
    let (mut over, mut returned) = (None, false);
    while over.is_none() || !returned {
        match hears(&ada, Some).await {
            SocialEvent::Ended { call: of, code } if of == call => over = Some(code),
            SocialEvent::Returned => returned = true,
            _ => {}
        }
    }
    assert!(matches!(over, Some(None | Some(Code::ShuttingDown))), "{over:?}");
    bo.set_status(Status::Away).await;
    sees(&ada, |users| users.iter().any(|user| user.status == Status::Away)).await;
    ada.start(&["bo"], "").await.unwrap();
}

//! Tests of social sessions through the client's API.

use std::time::Duration;

use crate::support::TestServer;
use nucleus_client::{
    CallId, Code, ConnectError, EnterOptions, JoinError, Social, SocialEvent, enter,
};
use nucleus_server::token::{Product, TokenRequest};

pub(crate) async fn enter_with(server: &TestServer, token: String) -> Social {
    enter(EnterOptions::new(server.on.session.to_string(), token)).await.unwrap()
}

pub(crate) async fn enter_as(server: &TestServer, user: &str) -> Social {
    enter_with(server, server.token(user)).await
}

/// Waits for the first event that `wanted` accepts. Panics after ten seconds.
pub(crate) async fn wait_for<T>(
    social: &Social,
    mut wanted: impl FnMut(SocialEvent) -> Option<T>,
) -> T {
    let found = async {
        loop {
            let event = social.next().await.expect("the social session has closed");
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), found).await.expect("no such event in 10 s")
}

async fn closed(social: &Social) -> Option<Code> {
    wait_for(social, |event| match event {
        SocialEvent::Closed { code, .. } => Some(code),
        _ => None,
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_products_users_are_known_from_the_first_session_to_the_last() {
    let server = TestServer::start().await;
    let ada = enter_as(&server, "ada").await;
    assert_eq!((ada.user().as_str(), ada.ring_time()), ("ada", Duration::from_secs(30)));
    let other = TokenRequest::new(Product::ASSIST, "tenant", "bo");
    let bo = enter_with(&server, server.token_with(other)).await;
    let counts = || (server.metric("nucleus_sessions"), server.metric("nucleus_social_products"));
    assert_eq!(counts(), (2.0, 2.0), "users of two products");
    ada.leave().await;
    assert_eq!(closed(&ada).await, Some(Code::Left));
    drop(bo);
    for _ in 0..100 {
        if counts() == (0.0, 0.0) {
            // The next session works as the first one did.
            enter_as(&server, "ada").await.leave().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("sessions are left: {:?}", counts());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_good_token_does_not_enter() {
    let server = TestServer::start().await;
    let address = server.on.session.to_string();
    let token = server.token("ada");
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    match enter(EnterOptions::new(address, forged)).await {
        Err(ConnectError::Join(JoinError::Refused { code, .. })) => {
            assert_eq!(code, Some(Code::TokenSignature));
        }
        other => panic!("{:?}", other.map(|_| ())),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_takes_no_more() {
    let server = TestServer::with(|config| config.limits.sessions = 1).await;
    let _ada = enter_as(&server, "ada").await;
    let second = enter(EnterOptions::new(server.on.session.to_string(), server.token("bo"))).await;
    match second {
        Err(ConnectError::Join(JoinError::Refused { code, retry_after, .. })) => {
            assert_eq!((code, retry_after.is_some()), (Some(Code::ServerFull), true));
        }
        other => panic!("{:?}", other.map(|_| ())),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_told_and_the_session_comes_back() {
    let server = TestServer::start().await;
    let ada = enter_as(&server, "ada").await;
    let server = server.restart().await;
    let code = wait_for(&ada, |event| match event {
        SocialEvent::Interrupted { code, .. } => Some(code),
        _ => None,
    });
    assert_eq!(code.await, Some(Code::ShuttingDown));
    wait_for(&ada, |event| (event == SocialEvent::Returned).then_some(())).await;
    assert_eq!(server.metric("nucleus_social_products"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_requests_are_read_at_once() {
    let server = TestServer::start().await;
    let ada = enter_as(&server, "ada").await;
    let start = tokio::time::Instant::now();
    for _ in 0..20 {
        assert!(ada.accept(CallId(1)).await.is_err());
    }
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    for _ in 0..10 {
        assert!(ada.accept(CallId(1)).await.is_err());
    }
    assert!(start.elapsed() > Duration::from_millis(600), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_while_the_session_is_lost_has_left() {
    let mut server = TestServer::start().await;
    let ada = enter_as(&server, "ada").await;
    server.stop().await.unwrap();
    wait_for(&ada, |event| matches!(event, SocialEvent::Interrupted { .. }).then_some(())).await;
    let start = tokio::time::Instant::now();
    ada.leave().await;
    assert_eq!(closed(&ada).await, Some(Code::Left));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

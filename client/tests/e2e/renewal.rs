//! Fresh tokens in mid-session.

use std::time::{Duration, Instant};

use nucleus_client::{Batch, Code, EntityId, RenewError, RoomEvent, connect};
use nucleus_server::token::{Product, TokenRequest};

use super::support::{TestServer, now_unix, until};
use super::tickets::{expire, rejoined, short_token};

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_token_gives_the_next_tickets_its_rights() {
    let server = TestServer::start().await;
    let token = short_token(&server, "guide", "participant", &[]);
    let guide = connect(server.options(token)).await.unwrap();
    let set = || Batch::new().set(EntityId::Room, "slide", 2);
    guide.renew(short_token(&server, "guide", "participant", &["state.room"])).await.unwrap();
    // The rights in this room stay as they are.
    guide.change(set()).await.unwrap_err();
    expire().await;
    let _server = server.restart().await;
    rejoined(&guide).await;
    guide.change(set()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_does_not_belong_here_changes_nothing() {
    let server = TestServer::start().await;
    let room = connect(server.options(server.token("guide"))).await.unwrap();
    let request = |user| TokenRequest::new(Product::ATOM, "tenant", user);
    let expired = server.data().minter().mint(request("guide"), now_unix() - 7_200).unwrap();
    let attic = TokenRequest { room: Some("attic".into()), ..request("guide") };
    let foreign = TokenRequest { tenant: "other".to_owned(), ..request("guide") };
    let cases = [
        (server.token("somebody"), Code::Forbidden),
        (expired, Code::TokenExpired),
        (server.token_with(attic), Code::RoomNotAllowed),
        (server.token_with(foreign), Code::Forbidden),
        ("e30.e30.c2ln".to_owned(), Code::TokenMalformed),
    ];
    for (token, code) in cases {
        let refused = room.renew(token).await.unwrap_err();
        assert_eq!(refused, RenewError::Refused { code: Some(code), number: code as u16 });
    }
    let invalid = room.renew("garbage").await.unwrap_err();
    assert!(
        matches!(invalid, RenewError::Invalid(says) if says.contains("three parts")),
        "{invalid}"
    );
    room.renew(server.token("guide")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_by_its_ticket_alone_is_asked_for_a_token() {
    let server = TestServer::start().await;
    let token = short_token(&server, "guide", "participant", &[]);
    let room = connect(server.options(token)).await.unwrap();
    expire().await;
    let server = server.restart().await;
    let within = until(&room, |event| match event {
        RoomEvent::TokenWanted { within } => Some(within),
        _ => None,
    });
    let within = within.await.unwrap();
    let hours = Duration::from_secs(3_600);
    assert!((11 * hours..=12 * hours).contains(&within), "{within:?}");
    room.renew(server.token("guide")).await.unwrap();
    // A client whose token is good is not asked after a restart.
    let _server = server.restart().await;
    rejoined(&room).await;
    let quiet = tokio::time::timeout(Duration::from_millis(300), async {
        until(&room, |event| matches!(event, RoomEvent::TokenWanted { .. }).then_some(())).await
    });
    assert!(quiet.await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_asks_when_a_quarter_of_the_tickets_time_is_left() {
    let ttl = Duration::from_secs(4);
    let server = TestServer::with(|config| config.limits.ticket_ttl = ttl).await;
    let room = server.join("guide").await;
    for _ in 0..2 {
        let begun = Instant::now();
        let within = until(&room, |event| match event {
            RoomEvent::TokenWanted { within } => Some(within),
            _ => None,
        });
        assert_eq!(within.await, None, "the client asks by itself");
        assert!(begun.elapsed() > ttl / 2, "{:?}", begun.elapsed());
        // The next ticket has its full time.
        room.renew(server.token("guide")).await.unwrap();
    }
}

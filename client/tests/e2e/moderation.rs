//! Moderation through the client's own API.

use std::time::Duration;

use nucleus_client::{
    Batch, Code, JoinError, ModerationAct, ObjectMode, PeerId, Room, RoomEvent, StateError, connect,
};
use nucleus_server::token::{Product, TokenRequest};

use crate::support::{TestServer, until};

/// Refused for good, or in.
async fn try_join(server: &TestServer, user: &str, role: &str) -> Result<Room, Option<Code>> {
    let request =
        TokenRequest { role: role.into(), ..TokenRequest::new(Product::Atom, "tenant", user) };
    connect(server.options(server.token_with(request))).await.map_err(|error| match error {
        nucleus_client::ConnectError::Join(JoinError::Refused { code, .. }) => code,
        other => panic!("{other}"),
    })
}

async fn join(server: &TestServer, user: &str, role: &str) -> Room {
    try_join(server, user, role).await.unwrap()
}

/// The code with which a peer has left.
async fn left(room: &Room, wanted: PeerId) -> Option<Code> {
    until(room, |event| match event {
        RoomEvent::PeerLeft { peer, code } if peer.id == wanted => Some(code),
        _ => None,
    })
    .await
}

async fn closed(room: &Room) -> Option<Code> {
    until(room, |event| match event {
        RoomEvent::Closed { code, .. } => Some(code),
        _ => None,
    })
    .await
}

fn code(outcome: Result<(), StateError>) -> Option<Code> {
    match outcome {
        Err(StateError::Refused { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_kicked_may_come_back_and_who_is_banned_may_not() {
    let server = TestServer::start().await;
    let (host, witness) =
        (join(&server, "host", "host").await, join(&server, "w", "observer").await);
    let guest = join(&server, "guest", "participant").await;
    // Who goes within the batch in which he came was never there for the others.
    until(&witness, |event| match event {
        RoomEvent::PeerJoined(peer) if peer.id == guest.me() => Some(()),
        _ => None,
    })
    .await;
    assert_eq!(code(guest.kick(host.me(), None).await), Some(Code::Forbidden));
    assert_eq!(code(host.kick(PeerId(999), None).await), Some(Code::NoSuchEntity));
    let too_long = Some(Duration::from_secs(86_401));
    assert_eq!(code(host.kick(guest.me(), too_long).await), Some(Code::BadState));

    host.kick(guest.me(), None).await.unwrap();
    assert_eq!(closed(&guest).await, Some(Code::Kicked), "it does not come back by itself");
    assert_eq!(left(&witness, guest.me()).await, Some(Code::Kicked));

    let again = join(&server, "guest", "participant").await;
    let device = join(&server, "guest", "participant").await;
    host.kick(again.me(), Some(Duration::from_millis(59_500))).await.unwrap();
    assert_eq!(closed(&again).await, Some(Code::Kicked));
    assert_eq!(closed(&device).await, Some(Code::Kicked), "all devices of a banned user go");
    assert_eq!(try_join(&server, "guest", "participant").await.err(), Some(Some(Code::Kicked)));
    join(&server, "other", "participant").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_room_lets_nobody_new_in() {
    let server = TestServer::start().await;
    let (host, guest) =
        (join(&server, "host", "expert").await, join(&server, "guest", "presenter").await);
    assert_eq!(code(guest.lock(true).await), Some(Code::Forbidden));
    host.lock(true).await.unwrap();
    assert_eq!(try_join(&server, "late", "presenter").await.err(), Some(Some(Code::RoomLocked)));
    join(&server, "second", "host").await;
    host.lock(false).await.unwrap();
    join(&server, "late", "presenter").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_cleared_and_handed_over_and_everybody_hears_of_it() {
    let server = TestServer::start().await;
    let (host, guest) =
        (join(&server, "host", "host").await, join(&server, "guest", "participant").await);
    until(&host, |event| matches!(event, RoomEvent::PeerJoined(_)).then_some(())).await;
    let cup = guest.new_object_id();
    guest.change(Batch::new().create(cup, ObjectMode::FIXED)).await.unwrap();
    host.clear().await.unwrap();
    assert!(host.objects().is_empty(), "the answer comes when the change can be read");
    host.hand_over(guest.me()).await.unwrap();
    assert_eq!(host.host(), Some(guest.me()));
    assert_eq!(code(host.lock(true).await), Some(Code::Forbidden));
    guest.kick(host.me(), None).await.unwrap();
    let expected = [
        (ModerationAct::Clear, host.me(), None),
        (ModerationAct::HandOver, host.me(), Some(guest.me())),
        (ModerationAct::Kick, guest.me(), Some(host.me())),
    ];
    for room in [&host, &guest] {
        for act in expected {
            let audit = until(room, |event| match event {
                RoomEvent::Moderated(audit) => Some((audit.act, audit.by, audit.peer)),
                _ => None,
            });
            assert_eq!(audit.await, act);
        }
    }
    assert_eq!(closed(&host).await, Some(Code::Kicked));
}

/// Of its end, too: the last word of a session arrives before its close.
#[tokio::test(flavor = "multi_thread")]
async fn everybody_hears_who_has_ended_the_room() {
    let server = TestServer::start().await;
    for _ in 0..20 {
        let (host, guest) =
            (join(&server, "host", "host").await, join(&server, "guest", "participant").await);
        host.end().await.unwrap();
        for room in [&host, &guest] {
            let audit = until(room, |event| match event {
                RoomEvent::Moderated(audit) => Some((audit.act, audit.by, audit.peer)),
                _ => None,
            });
            assert_eq!(audit.await, (ModerationAct::End, host.me(), None));
            assert_eq!(closed(room).await, Some(Code::RoomEnded));
        }
    }
}

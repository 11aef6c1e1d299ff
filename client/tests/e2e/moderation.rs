//! Tests of moderation through the client's API.

use std::time::Duration;

use nucleus_client::{
    Batch, Code, JoinError, ModerationAct, ObjectMode, PeerId, Room, RoomEvent, StateError, To,
    connect,
};
use nucleus_server::token::{Product, TokenRequest};

use crate::support::{TestServer, until};

/// Joins the room. Returns the code of a refusal.
async fn try_join(server: &TestServer, user: &str, role: &str) -> Result<Room, Option<Code>> {
    let request =
        TokenRequest { role: role.into(), ..TokenRequest::new(Product::ATOM, "tenant", user) };
    connect(server.options(server.token_with(request))).await.map_err(|error| match error {
        nucleus_client::ConnectError::Join(JoinError::Refused { code, .. }) => code,
        other => panic!("{other}"),
    })
}

async fn join(server: &TestServer, user: &str, role: &str) -> Room {
    try_join(server, user, role).await.unwrap()
}

/// Waits until a peer has left, and returns the code.
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
    let participant = join(&server, "participant", "participant").await;
    // If the peer joined and left within one roster update, the witness would not see it at all.
    until(&witness, |event| match event {
        RoomEvent::PeerJoined(peer) if peer.id == participant.me() => Some(()),
        _ => None,
    })
    .await;
    assert_eq!(code(participant.kick(host.me(), None).await), Some(Code::Forbidden));
    assert_eq!(code(host.kick(PeerId(999), None).await), Some(Code::NoSuchEntity));
    let too_long = Some(Duration::from_secs(86_401));
    assert_eq!(code(host.kick(participant.me(), too_long).await), Some(Code::BadState));

    host.kick(participant.me(), None).await.unwrap();
    assert_eq!(
        closed(&participant).await,
        Some(Code::Kicked),
        "a kicked client does not join again by itself"
    );
    assert_eq!(left(&witness, participant.me()).await, Some(Code::Kicked));

    let again = join(&server, "participant", "participant").await;
    let device = join(&server, "participant", "participant").await;
    host.kick(again.me(), Some(Duration::from_millis(59_500))).await.unwrap();
    assert_eq!(closed(&again).await, Some(Code::Kicked));
    assert_eq!(
        closed(&device).await,
        Some(Code::Kicked),
        "all devices of a banned user are removed"
    );
    assert_eq!(
        try_join(&server, "participant", "participant").await.err(),
        Some(Some(Code::Kicked))
    );
    join(&server, "other", "participant").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_room_lets_nobody_new_in() {
    let server = TestServer::start().await;
    let (host, participant) =
        (join(&server, "host", "expert").await, join(&server, "participant", "presenter").await);
    assert_eq!(code(participant.lock(true).await), Some(Code::Forbidden));
    host.lock(true).await.unwrap();
    assert_eq!(try_join(&server, "late", "presenter").await.err(), Some(Some(Code::RoomLocked)));
    join(&server, "second", "host").await;
    host.lock(false).await.unwrap();
    join(&server, "late", "presenter").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_cleared_and_handed_over_and_everybody_hears_of_it() {
    let server = TestServer::start().await;
    let (host, participant) =
        (join(&server, "host", "host").await, join(&server, "participant", "participant").await);
    until(&host, |event| matches!(event, RoomEvent::PeerJoined(_)).then_some(())).await;
    let cup = participant.new_object_id();
    participant.change(Batch::new().create(cup, ObjectMode::FIXED)).await.unwrap();
    host.clear().await.unwrap();
    assert!(host.objects().is_empty(), "the change can be read when the reply comes");
    host.hand_over(participant.me()).await.unwrap();
    assert_eq!(host.host(), Some(participant.me()));
    assert_eq!(code(host.lock(true).await), Some(Code::Forbidden));
    participant.kick(host.me(), None).await.unwrap();
    let expected = [
        (ModerationAct::Clear, host.me(), None),
        (ModerationAct::HandOver, host.me(), Some(participant.me())),
        (ModerationAct::Kick, participant.me(), Some(host.me())),
    ];
    for room in [&host, &participant] {
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

/// The last event of a session arrives before its close.
#[tokio::test(flavor = "multi_thread")]
async fn everybody_hears_who_has_ended_the_room() {
    let server = TestServer::start().await;
    for _ in 0..20 {
        let (host, participant) = (
            join(&server, "host", "host").await,
            join(&server, "participant", "participant").await,
        );
        host.end().await.unwrap();
        for room in [&host, &participant] {
            let audit = until(room, |event| match event {
                RoomEvent::Moderated(audit) => Some((audit.act, audit.by, audit.peer)),
                _ => None,
            });
            assert_eq!(audit.await, (ModerationAct::End, host.me(), None));
            assert_eq!(closed(room).await, Some(Code::RoomEnded));
        }
    }
}

/// Others send more than the room's rate allows, and their events wait for their turns.
#[tokio::test(flavor = "multi_thread")]
async fn a_kick_does_not_wait_behind_a_flood() {
    // One event of the largest size a second.
    let server = TestServer::with(|config| config.limits.room_event_bytes_per_s = 16 << 10).await;
    let host = join(&server, "host", "host").await;
    let mut flooding = tokio::task::JoinSet::new();
    for n in 0..12 {
        let room = join(&server, &format!("flooder-{n}"), "participant").await;
        flooding.spawn(async move {
            while room.send_event(To::Others, 0, &[0; 16_000]).await.is_ok() {}
            closed(&room).await
        });
    }
    // The burst is used up, and an event of each flooder waits: the last one for ten seconds.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let start = std::time::Instant::now();
    let flooder = host.peers().into_iter().find(|peer| peer.user == "flooder-7").unwrap().id;
    host.kick(flooder, None).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(flooding.join_next().await.unwrap().unwrap(), Some(Code::Kicked));
}

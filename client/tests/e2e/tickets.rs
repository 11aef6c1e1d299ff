//! Tickets that outlive their room instance: they admit a user whose token has expired.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nucleus_client::{
    Batch, Code, EntityId, ObjectMode, Pose, ReturnTicket, Room, RoomEvent, Transform, connect,
};
use nucleus_protocol::session::{Joined, MODERATOR, NEW_PEER, RESUMED};
use nucleus_server::token::{LEEWAY_S, Product, TokenRequest};

use super::support::{TestServer, now_unix, until};
use super::wire::{WireSession, WireTicket};

/// How long the tokens of these tests are accepted.
const ACCEPTED: Duration = Duration::from_secs(4);

/// Mints a token that expires after [`ACCEPTED`].
pub(crate) fn short_token(server: &TestServer, user: &str, role: &str, grants: &[&str]) -> String {
    let request = TokenRequest {
        role: role.to_owned(),
        grants: grants.iter().map(|grant| (*grant).to_owned()).collect(),
        ..TokenRequest::new(Product::ATOM, "tenant", user)
    };
    let signed = now_unix() - request.ttl.as_secs() - LEEWAY_S + ACCEPTED.as_secs();
    server.data().minter().mint(request, signed).unwrap()
}

pub(crate) async fn expire() {
    tokio::time::sleep(ACCEPTED + Duration::from_secs(1)).await;
}

async fn join(server: &TestServer, token: String) -> Room {
    connect(server.options(token)).await.unwrap()
}

/// Joins with a token and a ticket. Returns the reply and the open session.
async fn join_with(
    server: &TestServer,
    token: &str,
    ticket: &[u8],
) -> Result<(Joined, WireSession), Option<Code>> {
    let ticket = WireTicket { ticket: ticket.to_vec(), last_sequences: [0; 2] };
    let session = WireSession::try_join(server, token, ticket).await?;
    Ok((session.joined.clone(), session))
}

pub(crate) async fn rejoined(room: &Room) {
    until(room, |event| matches!(event, RoomEvent::Rejoined { .. }).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_does_not_end_a_meeting_whose_tokens_have_expired() {
    let server = TestServer::start().await;
    let host = join(&server, short_token(&server, "host", "host", &[])).await;
    let guide = join(&server, short_token(&server, "guide", "participant", &["state.room"])).await;
    let member = join(&server, short_token(&server, "member", "participant", &[])).await;
    expire().await;
    let _server = server.restart().await;
    for room in [&host, &guide, &member] {
        rejoined(room).await;
    }
    // Role and grants are those of the tokens.
    let set = || Batch::new().set(EntityId::Room, "slide", 2);
    guide.change(set()).await.unwrap();
    member.change(set()).await.unwrap_err();
    let host_role = async {
        loop {
            if let Some(peer) = guide.peer(host.me()) {
                return peer.role;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(10), host_role).await.unwrap(), "host");
    host.kick(member.me(), Some(Duration::from_secs(600))).await.unwrap();
    let closed = until(&member, |event| match event {
        RoomEvent::Closed { code, .. } => Some(code),
        _ => None,
    });
    assert_eq!(closed.await, Some(Code::Kicked));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_user_does_not_return_by_a_ticket() {
    let server = TestServer::start().await;
    let token = short_token(&server, "member", "participant", &[]);
    let (before, session) = join_with(&server, &token, &[]).await.unwrap();
    drop(session);
    let server = server.restart().await;
    let host = join(&server, short_token(&server, "host", "host", &[])).await;
    let (again, session) = join_with(&server, &token, &before.ticket).await.unwrap();
    host.kick(nucleus_client::PeerId(again.peer), Some(Duration::from_secs(600))).await.unwrap();
    drop(session);
    expire().await;
    // The ticket of the living instance does not replace the token. The one of the instance before
    // does, and meets the ban.
    for (ticket, code) in [(&again.ticket, Code::TokenExpired), (&before.ticket, Code::Kicked)] {
        let refused = join_with(&server, &token, ticket).await.map(|_| ());
        assert_eq!(refused, Err(Some(code)));
    }
}

/// Joins as a moderator, and bans a participant whose session is open.
async fn ban(server: &TestServer, peer: u32, time: Duration) -> Room {
    let request = TokenRequest {
        role: "host".to_owned(),
        ..TokenRequest::new(Product::ATOM, "tenant", "host")
    };
    let host = join(server, server.token_with(request)).await;
    host.kick(nucleus_client::PeerId(peer), Some(time)).await.unwrap();
    host
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_holds_over_a_restart_against_token_and_ticket() {
    let server = TestServer::start().await;
    let token = short_token(&server, "member", "participant", &[]);
    let (before, session) = join_with(&server, &token, &[]).await.unwrap();
    let _host = ban(&server, before.peer, Duration::from_secs(600)).await;
    drop(session);
    let mut server = server.restart().await;
    expire().await;
    // The server may restart several times, with or without a room of that name.
    for _ in 0..2 {
        let fresh = server.token("member");
        for (token, ticket) in
            [(&fresh, &[][..]), (&fresh, &before.ticket), (&token, &before.ticket)]
        {
            let refused = join_with(&server, token, ticket).await.map(|_| ());
            assert_eq!(refused, Err(Some(Code::Kicked)));
        }
        server = server.restart().await;
    }
    let (_joined, _session) = join_with(&server, &server.token("other"), &[]).await.unwrap();
    assert_eq!(server.metric("nucleus_bans"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_holds_although_the_server_is_killed() {
    let server = TestServer::start().await;
    let token = server.token("member");
    let (before, session) = join_with(&server, &token, &[]).await.unwrap();
    let _host = ban(&server, before.peer, Duration::from_secs(600)).await;
    drop(session);
    let written = async {
        while !std::fs::read_to_string(server.dir.path().join("bans.json"))
            .is_ok_and(|file| file.contains("member"))
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), written).await.unwrap();
    let next = server.killed_now().await;
    for ticket in [&[][..], &before.ticket] {
        let refused = join_with(&next, &token, ticket).await.map(|_| ());
        assert_eq!(refused, Err(Some(Code::Kicked)));
    }
    assert!(join_with(&next, &next.token("other"), &[]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_ends_after_a_restart_as_it_would_have_without() {
    let time = Duration::from_secs(6);
    let server = TestServer::start().await;
    let token = server.token("member");
    let (before, session) = join_with(&server, &token, &[]).await.unwrap();
    let start = std::time::Instant::now();
    let _host = ban(&server, before.peer, time).await;
    drop(session);
    let server = server.restart().await;
    while let Err(code) = join_with(&server, &token, &[]).await.map(|_| ()) {
        assert_eq!(code, Some(Code::Kicked));
        assert!(start.elapsed() < time + Duration::from_secs(20), "the ban does not end");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(start.elapsed() >= time, "the ban has ended too early");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_that_ended_with_its_room_does_not_return() {
    let server = TestServer::start().await;
    let token = server.token("member");
    let (before, session) = join_with(&server, &token, &[]).await.unwrap();
    let host = ban(&server, before.peer, Duration::from_secs(600)).await;
    drop(session);
    // The reply to the kick may come before the count.
    let counted = async {
        while server.metric("nucleus_bans") != 1.0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), counted).await.unwrap();
    host.leave().await;
    let ended = async {
        while server.metric("nucleus_rooms") > 0.0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
    let forgotten = async {
        while server.metric("nucleus_bans") != 0.0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), forgotten).await.unwrap();
    let server = server.restart().await;
    assert!(join_with(&server, &token, &[]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_does_not_bring_back_whom_its_living_instance_has_removed() {
    let server = TestServer::start().await;
    let _witness = server.join("witness").await;
    let token = short_token(&server, "member", "participant", &[]);
    let (joined, session) = join_with(&server, &token, &[]).await.unwrap();
    session.leave().await;
    expire().await;
    let refused = join_with(&server, &token, &joined.ticket).await.map(|_| ());
    assert_eq!(refused, Err(Some(Code::TokenExpired)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_ends_and_its_end_is_that_of_the_first_join() {
    let server =
        TestServer::with(|config| config.limits.ticket_ttl = ACCEPTED + Duration::from_secs(2))
            .await;
    let token = short_token(&server, "member", "participant", &[]);
    let (first, session) = join_with(&server, &token, &[]).await.unwrap();
    drop(session);
    expire().await;
    let server = server.restart().await;
    let (second, session) = join_with(&server, &token, &first.ticket).await.unwrap();
    assert_eq!(second.resumed, NEW_PEER);
    assert_ne!(second.room_instance, first.room_instance);
    assert_ne!(second.server_instance, first.server_instance);
    drop(session);
    let server = server.restart().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    for ticket in [first.ticket, second.ticket] {
        let refused = join_with(&server, &token, &ticket).await.map(|_| ());
        assert_eq!(refused, Err(Some(Code::TokenExpired)));
    }
}

/// A handover holds in its room instance alone. A ticket admits with the rights of the token.
#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_does_not_carry_a_right_that_was_handed_over() {
    let server = TestServer::start().await;
    let host = join(&server, short_token(&server, "host", "host", &[])).await;
    let token = short_token(&server, "member", "participant", &[]);
    let (first, session) = join_with(&server, &token, &[]).await.unwrap();
    let moderates = |joined: &Joined| {
        let own = joined.roster.iter().find(|peer| peer.peer == joined.peer).unwrap();
        own.presence & MODERATOR != 0
    };
    host.hand_over(nucleus_client::PeerId(first.peer)).await.unwrap();
    let (resumed, _new_session) = join_with(&server, &token, &first.ticket).await.unwrap();
    assert_eq!((resumed.resumed, moderates(&resumed)), (RESUMED, true));
    drop(session);
    expire().await;
    let server = server.restart().await;
    let (again, _session) = join_with(&server, &token, &resumed.ticket).await.unwrap();
    assert_eq!((again.resumed, moderates(&again)), (NEW_PEER, false));
}

fn pose_at(x: f32) -> Pose {
    let head = Transform { position: [x, 1.7, 0.0], rotation: [0.0, 0.0, 0.0, 1.0] };
    Pose { head, left: None, right: None }
}

async fn sees_pose_at(room: &Room, x: f32) {
    until(room, |event| match event {
        RoomEvent::Pose { pose, .. } => ((pose.head.position[0] - x).abs() < 0.01).then_some(()),
        _ => None,
    })
    .await;
}

/// As after a crash of the application: another process has only the text of the ticket.
#[tokio::test(flavor = "multi_thread")]
async fn another_process_resumes_with_a_ticket_and_is_seen_at_once() {
    let server = TestServer::start().await;
    let watcher = server.join("watcher").await;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let options = server.options(server.token("ada"));
    let before = runtime.spawn(connect(options)).await.unwrap().unwrap();
    for _ in 0..50 {
        before.send_pose(&pose_at(1.0)).unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sees_pose_at(&watcher, 1.0).await;
    let create = |object| Batch::new().create(object, ObjectMode::TAKE.with_room());
    let cup = before.new_object_id();
    before.change(create(cup)).await.unwrap();
    let (me, text) = (before.me(), before.ticket().unwrap().to_text());
    std::mem::forget(before);
    runtime.shutdown_background();

    let ticket = ReturnTicket::from_text(&text).unwrap();
    let after = connect(server.options(server.token("ada")).room("other").ticket(ticket));
    let after = after.await.unwrap();
    assert_eq!((after.me(), after.name()), (me, "lobby"));
    let missed_events = until(&after, |event| match event {
        RoomEvent::Resumed { missed_events } => Some(missed_events),
        _ => None,
    });
    assert!(!missed_events.await);
    // Another object than that of the process before.
    let plate = after.new_object_id();
    assert_ne!(plate, cup);
    after.change(create(plate)).await.unwrap();
    // Far fewer poses than before are enough. The first ones may be lost, or overtake each other,
    // before the path is known.
    let mut seen = std::pin::pin!(sees_pose_at(&watcher, 2.0));
    for sent in 0.. {
        assert!(sent < 20, "the others do not see the poses");
        after.send_pose(&pose_at(2.0)).unwrap();
        if tokio::time::timeout(Duration::from_millis(100), &mut seen).await.is_ok() {
            break;
        }
    }
}

/// A provider gives the first token, has none before the ticket ends, and gives one after a refusal.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_provider_is_asked_for_every_token() {
    let ticket_ttl = ACCEPTED + Duration::from_secs(2);
    let server = TestServer::with(|config| config.limits.ticket_ttl = ticket_ttl).await;
    let tokens =
        [Some(short_token(&server, "ada", "participant", &[])), None, Some(server.token("ada"))];
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let options = server.options(String::new()).token_provider(move || {
        let token = tokens[counter.fetch_add(1, Ordering::Relaxed).min(2)].clone();
        async { token }
    });
    let room = connect(options).await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    tokio::time::sleep(ticket_ttl + Duration::from_secs(1)).await;
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    let _server = server.restart().await;
    rejoined(&room).await;
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

//! Requests of one peer to another, and typed events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nucleus_client::{
    AnswerError, PeerId, Room, RoomEvent, RpcError, RpcFault, RpcId, SendError, To,
};
use nucleus_protocol::session::{
    self, EventDown, EventUp, RPC_CHANNEL, RpcMessage, TO_LISTED, TO_OTHERS, TYPED_EVENT_CHANNEL,
    rpc_code,
};

use super::client::{LobbyJoin, send_event};
use super::support::{TestServer, until};
use super::wire::{WireSession, WireTicket};

const SECOND: Duration = Duration::from_secs(1);

/// Answers what peers ask, until the room is closed.
async fn serve(room: Arc<Room>) {
    while let Some(event) = room.next().await {
        if let RoomEvent::RpcRequest { id, method, payload, .. } = event {
            let answer = match method.as_str() {
                "echo" => Ok(&payload[..]),
                "fail" => Err(RpcFault::new(300, "on purpose")),
                "sleep" => continue,
                _ => Err(RpcFault::no_such_method()),
            };
            // The caller may be gone.
            let _late = room.answer_rpc(id, answer);
        }
    }
}

/// Joins with a peer that answers. Returns that peer's room, and its id.
async fn server_peer(server: &TestServer, user: &str) -> (Arc<Room>, PeerId) {
    let room = Arc::new(server.join(user).await);
    tokio::spawn(serve(room.clone()));
    let me = room.me();
    (room, me)
}

async fn knows(room: &Room, peer: PeerId) {
    while room.peer(peer).is_none() {
        assert!(room.next().await.is_some());
    }
}

/// Waits for the next request of a peer.
async fn request(room: &Room) -> RpcId {
    let is_request = |event| match event {
        RoomEvent::RpcRequest { id, .. } => Some(id),
        _ => None,
    };
    until(room, is_request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_answers() {
    let server = TestServer::start().await;
    let (_callee, callee) = server_peer(&server, "callee").await;
    let room = server.join("caller").await;
    let ask = async |method, payload: &[u8]| room.rpc(callee, method, payload, 10 * SECOND).await;
    assert_eq!(ask("echo", b"hello").await, Ok(b"hello".to_vec()));
    assert_eq!(ask("echo", b"").await, Ok(vec![]));
    assert_eq!(ask("dance", b"").await, Err(RpcError::NoSuchMethod));
    let fault = RpcFault::new(300, "on purpose");
    assert_eq!(ask("fail", b"").await, Err(RpcError::Fault(fault)));
    let largest = vec![7; 16_384 - 10 - 4];
    assert_eq!(ask("echo", &largest).await.unwrap(), largest);
    let too_large = SendError::TooLarge { len: 16_385, limit: 16_384 };
    assert_eq!(ask("echo", &vec![7; largest.len() + 1]).await, Err(too_large.into()));
    assert_eq!(room.rpc(room.me(), "echo", b"", SECOND).await, Err(RpcError::ToSelf));
    assert_eq!(room.rpc(PeerId(99), "echo", b"", SECOND).await, Err(RpcError::UnknownPeer));
    assert_eq!(room.rpc(callee, "echo", b"", 61 * SECOND).await, Err(RpcError::Timeout));
    assert_eq!(room.rpc(callee, "", b"", SECOND).await, Err(RpcError::Method));
    room.leave().await;
    assert_eq!(room.rpc(callee, "echo", b"", SECOND).await, Err(RpcError::Closed));
}

/// More requests than may wait at the same time wait for their turn, and each gets its own answer.
#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_get_their_own_answers() {
    let server = TestServer::start().await;
    let callees = [server_peer(&server, "a").await, server_peer(&server, "b").await];
    let room = Arc::new(server.join("caller").await);
    let asked: Vec<_> = (0..100u32)
        .map(|n| {
            let (room, callee) = (room.clone(), callees[n as usize % 2].1);
            tokio::spawn(async move {
                // A callee lets 32 wait, and answers the others that it is busy.
                loop {
                    match room.rpc(callee, "echo", &n.to_le_bytes(), 20 * SECOND).await {
                        Err(RpcError::Busy) => tokio::time::sleep(SECOND / 10).await,
                        answer => break assert_eq!(answer, Ok(n.to_le_bytes().to_vec())),
                    }
                }
            })
        })
        .collect();
    for one in asked {
        one.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_times_out_and_a_late_answer_is_an_error() {
    let server = TestServer::start().await;
    let (callee, caller) = (server.join("callee").await, server.join("caller").await);
    let begun = Instant::now();
    let ask = caller.rpc(callee.me(), "slow", b"", Duration::from_millis(700));
    let (answer, (id, forgotten)) = tokio::join!(ask, async {
        let id = request(&callee).await;
        // A request whose caller no longer waits for its answer.
        let dropped = caller.rpc(callee.me(), "dropped", b"", 20 * SECOND);
        assert!(tokio::time::timeout(SECOND / 5, dropped).await.is_err());
        (id, request(&callee).await)
    });
    assert_eq!(answer, Err(RpcError::TimedOut));
    assert!((600..5_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    tokio::time::sleep(SECOND).await;
    assert_eq!(callee.answer_rpc(id, Ok(b"late")), Err(AnswerError::NotWaiting));
    assert_eq!(callee.answer_rpc(forgotten, Ok(b"unwanted")), Ok(()));
    assert_eq!(callee.answer_rpc(forgotten, Ok(b"unwanted")), Err(AnswerError::NotWaiting));
    // A hundred dropped futures leave nothing that would keep others waiting.
    for _ in 0..100 {
        let dropped = caller.rpc(callee.me(), "dropped", b"", 20 * SECOND);
        let answer = tokio::time::timeout(Duration::from_millis(1), dropped).await;
        assert!(matches!(answer, Err(_) | Ok(Err(RpcError::Busy))), "{answer:?}");
    }
    // Those that were written wait at the callee, so the first tries may be one too many.
    let ask = async {
        for _ in 0..20 {
            match caller.rpc(callee.me(), "last", b"", 3 * SECOND).await {
                Err(RpcError::Busy | RpcError::TimedOut) => {
                    tokio::time::sleep(SECOND / 10).await;
                }
                answer => return answer,
            }
        }
        Err(RpcError::Busy)
    };
    let (answer, ()) = tokio::join!(ask, async {
        loop {
            // Of the others, those that were written arrive, too.
            let next = until(&callee, |event| match event {
                RoomEvent::RpcRequest { id, method, .. } => Some((id, method)),
                _ => None,
            });
            let (id, method) = next.await;
            callee.answer_rpc(id, Ok(method.as_bytes())).unwrap();
            if method == "last" {
                break;
            }
        }
    });
    assert_eq!(answer, Ok(b"last".to_vec()));
    assert_eq!(caller.stats().malformed_events, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_ends_when_its_peer_leaves_or_this_client_does() {
    let server = TestServer::start().await;
    let (callee, caller) = (server.join("callee").await, server.join("caller").await);
    let to = callee.me();
    let ((), answer) = tokio::join!(
        async {
            request(&callee).await;
            callee.leave().await;
        },
        caller.rpc(to, "slow", b"", 30 * SECOND)
    );
    assert_eq!(answer, Err(RpcError::PeerLeft));
    let staying = server.join("staying").await;
    knows(&caller, staying.me()).await;
    let ((), answer) = tokio::join!(
        async {
            request(&staying).await;
            caller.leave().await;
        },
        caller.rpc(staying.me(), "slow", b"", 30 * SECOND)
    );
    assert_eq!(answer, Err(RpcError::Closed));
}

/// Both ends lose their sessions while a request waits. Its answer comes after the resume, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_outlives_lost_sessions() {
    let server = TestServer::start().await;
    let caller = server.join("caller").await;
    let join = LobbyJoin { patience: 60 * SECOND, ..LobbyJoin::new(&server.token("callee")) };
    let mut callee = join.driven(&server).await;
    let to = callee.client.read().me();
    knows(&caller, to).await;
    // A participant that has shown no sign of life ends with its session.
    send_event(&callee.client, b"here").await;
    until(&caller, |event| matches!(event, RoomEvent::Event { .. }).then_some(())).await;
    let answer_next = async {
        let id = callee.until(request_id).await;
        callee.lose_connection();
        // Answered while the session is lost.
        callee.until(|event| matches!(event, RoomEvent::Interrupted { .. }).then_some(())).await;
        let answer = |client: &mut nucleus_client::session::RoomClient, now| {
            client.answer_rpc(now, id, Ok(b"done"))
        };
        callee.client.change(answer).unwrap();
        assert_eq!(callee.client.change(answer), Err(AnswerError::NotWaiting));
    };
    let (answer, ()) = tokio::join!(caller.rpc(to, "grab", b"", 30 * SECOND), answer_next);
    assert_eq!(answer, Ok(b"done".to_vec()));
    callee.until(|event| matches!(event, RoomEvent::Resumed { .. }).then_some(())).await;
}

fn request_id(event: RoomEvent) -> Option<RpcId> {
    match event {
        RoomEvent::RpcRequest { id, .. } => Some(id),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_server_interrupts_requests() {
    let server = TestServer::start().await;
    let (callee, caller) = (server.join("callee").await, server.join("caller").await);
    let ask = caller.rpc(callee.me(), "slow", b"", 50 * SECOND);
    let ((id, _server), answer) =
        tokio::join!(async { (request(&callee).await, server.restart().await) }, ask);
    // Which end returns first is open: the caller as a new peer, or the news that the callee left.
    assert!(matches!(answer, Err(RpcError::Interrupted | RpcError::PeerLeft)), "{answer:?}");
    until(&callee, |event| matches!(event, RoomEvent::Rejoined { .. }).then_some(())).await;
    assert_eq!(callee.answer_rpc(id, Ok(b"late")), Err(AnswerError::NotWaiting));
}

#[tokio::test(flavor = "multi_thread")]
async fn typed_events_arrive_in_order_with_the_others() {
    let server = TestServer::start().await;
    let (sender, listener) = (server.join("sender").await, server.join("listener").await);
    for n in 0..20u8 {
        sender.send_event(To::Others, 1, &[n]).await.unwrap();
        sender.send_typed_event(To::Others, "door.opened", &[n]).await.unwrap();
    }
    let refused = sender.try_send_typed_event(To::Others, "", b"");
    assert_eq!(refused, Err(SendError::EventType));
    sender.try_send_typed_event(To::Peer(listener.me()), "last", b"").unwrap();
    let mut newest = 0;
    let mut next = async || {
        let (sequence, found) = until(&listener, |event| match event {
            RoomEvent::Event { sequence, payload, .. } => Some((sequence, (None, payload))),
            RoomEvent::TypedEvent { sequence, from, event_type, payload } => {
                assert_eq!(from, sender.me());
                Some((sequence, (Some(event_type), payload)))
            }
            _ => None,
        })
        .await;
        assert!(sequence > newest);
        newest = sequence;
        found
    };
    for n in 0..20u8 {
        assert_eq!(next().await, (None, vec![n]));
        assert_eq!(next().await, (Some("door.opened".to_owned()), vec![n]));
    }
    assert_eq!(next().await, (Some("last".to_owned()), vec![]));
    // Kept events are repeated for newcomers.
    sender.send_typed_event(To::OthersAndLater, "for later", b"kept").await.unwrap();
    assert_eq!(next().await, (Some("for later".to_owned()), b"kept".to_vec()));
    let newcomer = server.join("newcomer").await;
    let kept = until(&newcomer, |event| match event {
        RoomEvent::TypedEvent { event_type, payload, .. } => Some((event_type, payload)),
        _ => None,
    });
    assert_eq!(kept.await, ("for later".to_owned(), b"kept".to_vec()));
}

fn up(target: u8, peers: &[PeerId], channel: u8, payload: Vec<u8>) -> Vec<u8> {
    let peers = peers.iter().map(|peer| peer.0).collect();
    session::encode(&EventUp { target, channel, piece: 0, peers, payload })
}

fn rpc_bytes(message: RpcMessage<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}

/// A peer sends garbage, answers for others, and more requests than may wait. A request to another
/// peer gets the answer of that peer.
#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_peer_disturbs_nobody() {
    let server = TestServer::start().await;
    let (victim, honest) = (server.join("victim").await, server.join("honest").await);
    let mut hostile =
        WireSession::join(&server, &server.token("hostile"), WireTicket::default()).await;
    knows(&victim, honest.me()).await;
    let ask = victim.rpc(honest.me(), "grab", b"", 20 * SECOND);
    let attack = async {
        let id = request(&honest).await;
        for (n, channel) in (0..20u8).zip([RPC_CHANNEL, TYPED_EVENT_CHANNEL].into_iter().cycle()) {
            hostile.send_up(&up(TO_OTHERS, &[], channel, vec![n | 0x80; 9])).await;
        }
        // A hostile peer may guess the number of a request.
        for request in 0..20 {
            let code = rpc_code::ANSWERED;
            let answer = rpc_bytes(RpcMessage::Answer { request, code, payload: b"mine" });
            hostile.send_up(&up(TO_LISTED, &[victim.me()], RPC_CHANNEL, answer)).await;
        }
        let timeout_ms = 60_000;
        for request in 0..60 {
            let (method, payload) = ("flood", &[][..]);
            let flood = rpc_bytes(RpcMessage::Request { request, timeout_ms, method, payload });
            hostile.send_up(&up(TO_LISTED, &[victim.me()], RPC_CHANNEL, flood)).await;
        }
        let mut busy = 0;
        // The others get no answer, so that the victim's own events are not held up.
        while busy < 16 {
            let EventDown { channel, payload, .. } = hostile.next_event().await;
            let answer = RpcMessage::parse(&payload);
            let is_busy = matches!(answer, Some(RpcMessage::Answer { code: rpc_code::BUSY, .. }));
            assert!(channel == RPC_CHANNEL && is_busy, "{answer:?}");
            busy += 1;
        }
        honest.answer_rpc(id, Ok(b"honest")).unwrap();
    };
    let (answer, ()) = tokio::join!(ask, attack);
    assert_eq!(answer, Ok(b"honest".to_vec()));
    for n in 0..32 {
        assert_eq!(request(&victim).await, RpcId(n + 1));
    }
    assert_eq!(victim.stats().malformed_events, 20);
    // The garbage was an error of nobody else.
    assert!(server.metric("nucleus_rooms") >= 1.0);
}

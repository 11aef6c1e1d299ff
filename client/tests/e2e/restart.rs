//! A restart of the server while a training runs and all tokens have expired.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nucleus_client::{Batch, Code, EntityId, Room, RoomEvent, connect};
use tokio::task::JoinSet;

use super::support::{TestServer, until};
use super::tickets::{expire, short_token};

/// Rooms, and headsets in each.
const ROOMS: usize = 20;
const ROOM_SIZE: usize = 10;

/// Each room has a host, a guide with a grant, and others; the last one gets banned.
async fn join(server: Arc<TestServer>, room: usize, seat: usize) -> Room {
    let (role, grants): (&str, &[&str]) = match seat {
        0 => ("host", &[]),
        1 => ("participant", &["state.room"]),
        _ => ("participant", &[]),
    };
    let token = short_token(&server, &format!("user-{room}-{seat}"), role, grants);
    connect(server.options(token).room(format!("room-{room}"))).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::print_stdout, reason = "the times are measured, and not asserted")]
async fn two_hundred_headsets_come_back_with_their_rights_after_their_tokens_have_expired() {
    let server = Arc::new(TestServer::start().await);
    let mut joining = JoinSet::new();
    for room in 0..ROOMS {
        for seat in 0..ROOM_SIZE {
            let joined = join(server.clone(), room, seat);
            joining.spawn(async move { (room, seat, joined.await) });
        }
    }
    let mut rooms: Vec<(usize, usize, Room)> = joining.join_all().await;
    rooms.sort_by_key(|(room, seat, _)| (*room, *seat));
    for room in 0..ROOMS {
        let (host, banned) =
            (&rooms[room * ROOM_SIZE].2, &rooms[room * ROOM_SIZE + ROOM_SIZE - 1].2);
        host.kick(banned.me(), Some(Duration::from_secs(600))).await.unwrap();
    }
    let (banned, staying): (Vec<_>, Vec<_>) =
        rooms.into_iter().partition(|(_, seat, _)| *seat == ROOM_SIZE - 1);
    expire().await;
    let server = Arc::into_inner(server).unwrap();
    let begun = Instant::now();
    let server = server.restart().await;
    let ready = begun.elapsed();
    let mut returning = JoinSet::new();
    for (_, seat, room) in staying {
        returning.spawn(async move {
            until(&room, |event| matches!(event, RoomEvent::Rejoined { .. }).then_some(())).await;
            (seat, room)
        });
    }
    let staying = returning.join_all().await;
    let all_in = begun.elapsed();
    println!("server ready after {ready:?}, {} headsets back after {all_in:?}", staying.len());
    // The rights are those of the tokens.
    for (seat, room) in &staying {
        let set = Batch::new().set(EntityId::Room, "slide", *seat as i64);
        assert_eq!(room.change(set).await.is_ok(), *seat < 2, "seat {seat}");
    }
    // The bans hold, for the ticket and for a fresh token.
    for (number, seat, room) in banned {
        drop(room);
        let token = server.token(&format!("user-{number}-{seat}"));
        let refused = connect(server.options(token).room(format!("room-{number}"))).await;
        let Err(nucleus_client::ConnectError::Join(nucleus_client::JoinError::Refused {
            code,
            ..
        })) = refused
        else {
            panic!("the banned user {number} is in");
        };
        assert_eq!(code, Some(Code::Kicked));
    }
}

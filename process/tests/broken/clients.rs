//! Clients that join the server under test.

use std::time::Duration;

use nucleus_client::{ConnectError, ConnectOptions, Pose, Room, RoomEvent, Transform, connect};
use tokio::time::timeout;

use crate::server::{PATIENCE, Server};

/// Joins a room as a user with a role.
pub(crate) async fn join(server: &Server, user: &str, room: &str, role: &str) -> Room {
    let token = server.token(user, role);
    try_join(server, token, room).await.unwrap_or_else(|error| panic!("{user}: {error}"))
}

/// Joins a room with a token.
pub(crate) async fn try_join(
    server: &Server,
    token: String,
    room: &str,
) -> Result<Room, ConnectError> {
    let options = ConnectOptions::new(server.session(), token).room(room);
    timeout(PATIENCE, connect(options)).await.expect("the join takes for ever")
}

/// Waits for an event for which `find` returns something.
pub(crate) async fn hear<T>(room: &Room, find: impl Fn(&RoomEvent) -> Option<T>) -> T {
    let heard = async {
        loop {
            let event = room.next().await.expect("the room has ended");
            if let Some(found) = find(&event) {
                return found;
            }
        }
    };
    timeout(PATIENCE, heard).await.expect("not heard in time")
}

/// Checks that two clients in a room see each other move.
pub(crate) async fn check_poses(server: &Server, room: &str) {
    let ada = join(server, "ada", room, "participant").await;
    let bob = join(server, "bob", room, "participant").await;
    check_seen(&ada, &bob, 1.0).await;
}

/// Checks that a client sees another one move to `x`.
pub(crate) async fn check_seen(walker: &Room, viewer: &Room, x: f32) {
    let head = Transform { position: [x, 1.7, 0.0], rotation: [0.0, 0.0, 0.0, 1.0] };
    let pose = Pose { head, left: None, right: None };
    let walk = async {
        loop {
            walker.send_pose(&pose).unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let seen = hear(viewer, |event| match event {
        RoomEvent::Pose { from, pose, .. } => {
            let is_there = (pose.head.position[0] - x).abs() < 0.01;
            (*from == walker.me() && is_there).then_some(())
        }
        _ => None,
    });
    tokio::select! { () = seen => {}, () = walk => unreachable!() }
}

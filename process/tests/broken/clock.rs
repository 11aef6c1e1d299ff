//! A wall clock that jumps while the server runs.

use nucleus_client::token::pins_in;
use nucleus_client::{ConnectOptions, Room, Trust, connect};

use crate::clients::{check_poses, check_seen, join};
use crate::server::{RESUMES, Server, Setup};
use crate::shim::Shim;

const DAY: i64 = 86_400;

/// Joins the room `den` of a server that has started before its clock jumped.
async fn join_after_jump(server: &Server, user: &str, first_token: &str) -> Room {
    let token = server.token(user, "participant");
    // The server takes the certificate of the new time into service within a minute. Until then it
    // has the old one.
    let pins = [pins_in(first_token), pins_in(&token)].concat();
    let options = ConnectOptions::new(server.session(), token).room("den").trust(Trust::Pins(pins));
    connect(options).await.unwrap_or_else(|error| panic!("{user}: {error}"))
}

/// The clock is set a year forward, back, and before the server's start. Tokens are signed by a
/// process with the same clock. Sessions of the running server last, and others join it.
#[tokio::test]
async fn a_clock_that_jumps_stops_nobody() {
    let (dir, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shim = Shim::new(scratch.path(), dir.path());
    let server = Setup { shim: Some(shim.clone()), ..Setup::new(dir.path()) }.start();
    let first_token = server.token("ada", "participant");
    let ada = join(&server, "ada", "den", "participant").await;
    let bob = join(&server, "bob", "den", "participant").await;
    check_seen(&ada, &bob, 0.0).await;
    for (jump, offset) in [365 * DAY, -365 * DAY, 0].into_iter().enumerate() {
        shim.set_clock_offset(offset);
        server.until("ready after a jump", Server::is_ready);
        check_seen(&ada, &bob, jump as f32 + 1.0).await;
        let late = join_after_jump(&server, &format!("late-{jump}"), &first_token).await;
        check_seen(&late, &ada, -1.0).await;
        check_seen(&bob, &late, -2.0).await;
        assert_eq!(server.metric(RESUMES), 0, "a session was lost");
        let other = tempfile::tempdir().unwrap();
        let later = Setup { shim: Some(shim.clone()), ..Setup::new(other.path()) }.start();
        check_poses(&later, "a server that starts then").await;
    }
    check_poses(&server, "after").await;
}

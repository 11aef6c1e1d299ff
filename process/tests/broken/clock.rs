//! A wall clock that jumps while the server runs.

use crate::clients::check_poses;
use crate::server::{Server, Setup};
use crate::shim::Shim;

const DAY: i64 = 86_400;

/// The clock is set a year forward, back, and before the server's start. Tokens are signed by a
/// process with the same clock.
#[tokio::test]
async fn a_clock_that_jumps_stops_nobody() {
    let (dir, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shim = Shim::new(scratch.path(), dir.path());
    // The certificate of the new time is made within a minute of the jump, so the server starts anew.
    let start = || Setup { shim: Some(shim.clone()), ..Setup::new(dir.path()) }.start();
    let server = start();
    check_poses(&server, "before").await;
    for offset in [365 * DAY, -365 * DAY, 0] {
        shim.set_clock_offset(offset);
        server.until("ready after a jump", Server::is_ready);
        let other = tempfile::tempdir().unwrap();
        let late = Setup { shim: Some(shim.clone()), ..Setup::new(other.path()) }.start();
        check_poses(&late, "a server that starts then").await;
    }
    check_poses(&server, "after").await;
}

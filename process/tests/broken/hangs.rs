//! A thread that hangs. The probes of health tell it, whichever thread it is.

use crate::clients::check_poses;
use crate::server::{Server, Setup};
use crate::shim::Shim;

/// What a probe learns.
#[derive(Debug, PartialEq, Eq)]
enum Probe {
    Well,
    /// The server says that something hangs.
    Told,
    /// The server says that something else hangs, because the machine is busy.
    Busy,
    /// The server gives no answer.
    Silent,
}

fn probe(server: &Server, path: &str, thread: &str) -> Probe {
    match server.page(path) {
        None => Probe::Silent,
        Some(answer) if answer.starts_with("HTTP/1.1 200") => Probe::Well,
        Some(answer) => {
            assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
            if answer.contains(thread) { Probe::Told } else { Probe::Busy }
        }
    }
}

#[tokio::test]
async fn no_thread_hangs_unseen() {
    let (dir, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shim = Shim::new(scratch.path(), dir.path());
    let setup = || Setup {
        shim: Some(shim.clone()),
        config: "shards = 2\n".to_owned(),
        ..Setup::new(dir.path())
    };
    for (thread, told, as_what) in [
        ("shard-1", "shard 1 hangs", Probe::Told),
        // Either its threads or the whole runtime is found first.
        ("session", "session", Probe::Told),
        // Only the control plane's thread answers probes.
        ("control", "", Probe::Silent),
    ] {
        let server = setup().start();
        check_poses(&server, "den").await;
        shim.set_hanging(thread);
        let is_seen = |path: &'static str, state: Probe| {
            server.until(&format!("{thread}: {path} is {state:?}"), |server| {
                probe(server, path, told) == state
            });
        };
        is_seen("/health/ready", as_what);
        if thread == "shard-1" {
            is_seen("/health/live", Probe::Told);
        }
        shim.set_hanging("");
        is_seen("/health/ready", Probe::Well);
        is_seen("/health/live", Probe::Well);
        check_poses(&server, "yard").await;
    }
}

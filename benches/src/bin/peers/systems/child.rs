//! Runs a relay server of this program as a separate process, so that its CPU time can be measured.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use super::{Server, System};
use crate::relay::RelayTask;

/// The server's process. Dropping this ends the process.
#[derive(Debug)]
pub(crate) struct ChildServer {
    process: Child,
    /// The address on which the server listens.
    pub(crate) address: SocketAddr,
    /// The secret that peers need to join; empty if they need none.
    pub(crate) secret: String,
}

impl ChildServer {
    /// Starts this program again as `system`'s server, and waits until the server listens.
    ///
    /// # Errors
    ///
    /// If the process cannot be started, or ends before it listens.
    pub(crate) fn start(system: System, task: RelayTask) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", system.name()]);
        command.args(["--peers", &task.rooms.peers.to_string()]);
        command.args(["--room-size", &task.rooms.size.to_string()]);
        command.args(["--tick", &format!("{}ms", task.tick / 1_000)]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        match read_announcement(&mut process) {
            Some((address, secret)) => Ok(ChildServer { process, address, secret }),
            None => {
                stop(&mut process);
                Err(io::Error::other("the relay server ended before it listened"))
            }
        }
    }
}

impl Server for ChildServer {
    fn pid(&self) -> u32 {
        self.process.id()
    }

    fn died(&mut self) -> Option<String> {
        let status = self.process.try_wait().ok()??;
        Some(format!("the server ended in mid-run ({status})"))
    }
}

impl Drop for ChildServer {
    fn drop(&mut self) {
        stop(&mut self.process);
    }
}

fn read_announcement(process: &mut Child) -> Option<(SocketAddr, String)> {
    let mut line = String::new();
    BufReader::new(process.stdout.take()?).read_line(&mut line).ok()?;
    let (address, secret) = line.trim_end_matches('\n').split_once(' ')?;
    Some((address.parse().ok()?, secret.to_owned()))
}

/// Kills the process, which has nothing to save. Ignores errors, because nothing else can be done.
fn stop(process: &mut Child) {
    let _ = process.kill();
    let _ = process.wait();
}

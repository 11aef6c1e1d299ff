//! A server of this program as a process of its own, so that its CPU time is its own.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use super::{Server, System};
use crate::relay::Task;

/// The process; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct ChildServer {
    process: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What else one needs to join.
    pub(crate) secret: String,
}

impl ChildServer {
    /// Starts this very program as `system`'s server and waits until it listens.
    pub(crate) fn start(system: System, task: Task) -> io::Result<Self> {
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
                Err(io::Error::other("it ended before it listened"))
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

/// It has nothing to lose. Nothing is left to do when even this fails.
fn stop(process: &mut Child) {
    let _ = process.kill();
    let _ = process.wait();
}

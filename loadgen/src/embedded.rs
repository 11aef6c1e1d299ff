//! A server of a run's own: the `nucleus` binary beside ours, as a process, so that its CPU time is
//! its own.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Making keys on the first run, on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// A drain, then force.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);
/// What it is set to beyond its defaults: as large a room as the protocol knows, for what a limit refuses is
/// not what a run measures.
const CONFIG: &str = "[limits]\nroom_capacity = 4000\n";
/// Last lines of its log that are kept for when something goes wrong.
const KEPT_LINES: usize = 10;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The binary is not where it should be.
    #[error("there is no server beside this program ({}): build it with cargo build --release", .0.display())]
    Missing(PathBuf),
    /// The system would not start it.
    #[error("cannot start {}: {source}", .path.display())]
    Start {
        /// The binary.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No place for its key and certificate.
    #[error("cannot make a directory for the server's data: {0}")]
    DataDir(std::io::Error),
    /// It ended or hung; the last lines of its log.
    #[error("the server did not become ready; its last lines were:\n{0}")]
    NotReady(String),
}

/// The process; it ends when this is dropped.
#[derive(Debug)]
pub struct Embedded {
    path: PathBuf,
    options: Vec<String>,
    child: Child,
    data_dir: PathBuf,
    log: Log,
    /// Where sessions begin.
    pub session: SocketAddr,
    realtime: SocketAddr,
    /// Its control plane, `address:port`.
    pub http: String,
}

/// What the server says when it is ready.
type Ready = (SocketAddr, SocketAddr, String);

/// The last lines of the server's log.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<VecDeque<String>>>);

impl Log {
    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

impl Embedded {
    /// Starts it with so many shards and that tick (its defaults where `None`), and waits until it
    /// is ready.
    pub fn start(shards: Option<u32>, tick: Option<&str>) -> Result<Self, EmbeddedError> {
        let path = beside_us()?;
        let data_dir = temporary_dir().map_err(EmbeddedError::DataDir)?;
        let config = data_dir.join("nucleus.toml");
        if let Err(error) = std::fs::write(&config, CONFIG) {
            remove(&data_dir);
            return Err(EmbeddedError::DataDir(error));
        }
        let mut options = vec!["--config".to_owned(), config.to_string_lossy().into_owned()];
        if let Some(shards) = shards {
            options.extend(["--shards".into(), shards.to_string()]);
        }
        if let Some(tick) = tick {
            options.extend(["--tick".into(), tick.into()]);
        }
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let log = Log::default();
        let started = spawn(&path, &data_dir, &options, [free, free], "127.0.0.1:0", &log);
        let (child, ready) = match started {
            Ok(started) => started,
            Err(error) => {
                remove(&data_dir);
                return Err(error);
            }
        };
        // From here on dropping it stops the process.
        let (session, realtime, http) = (free, free, String::new());
        let mut server = Embedded { path, options, child, data_dir, log, session, realtime, http };
        let Ok(found) = ready.recv_timeout(START_TIMEOUT) else {
            return Err(EmbeddedError::NotReady(server.log.text()));
        };
        (server.session, server.realtime, server.http) = found;
        Ok(server)
    }

    /// Kills it as a crash would (SIGKILL) and starts it again on the same ports with the same data;
    /// does not wait until it is ready.
    pub fn restart(&mut self) -> Result<(), EmbeddedError> {
        // Nothing is left to do when even this fails: the ports will tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let ports = [self.session, self.realtime];
        let (path, options, http) = (&self.path, &self.options, &self.http);
        let (child, _ready) = spawn(path, &self.data_dir, options, ports, http, &self.log)?;
        self.child = child;
        Ok(())
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its key and certificate are.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The last lines of its log when it has ended by itself.
    pub fn died(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        Some(format!(
            "the server ended in mid-run ({status}); its last lines were:\n{}",
            self.log.text()
        ))
    }

    fn stop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // The standard library only knows SIGKILL; the shell's own `kill` is everywhere.
        let terminate = format!("kill -TERM {}", self.child.id());
        let asked = Command::new("sh").args(["-c", &terminate]).status();
        let deadline = Instant::now() + STOP_TIMEOUT;
        while asked.as_ref().is_ok_and(|status| status.success()) && Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // Nothing is left to do when even this fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.stop();
        remove(&self.data_dir);
    }
}

fn spawn(
    path: &Path,
    data_dir: &Path,
    options: &[String],
    [session, realtime]: [SocketAddr; 2],
    http: &str,
    log: &Log,
) -> Result<(Child, mpsc::Receiver<Ready>), EmbeddedError> {
    let mut command = Command::new(path);
    command.arg("serve").arg("--data-dir").arg(data_dir);
    command.arg("--session").arg(session.to_string());
    command.arg("--realtime").arg(realtime.to_string());
    command.args(["--http", http, "--log-format", "json"]).args(options);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // A Ctrl-C on the terminal is for us: the server must outlive what it is measured by.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let failed = |source| EmbeddedError::Start { path: path.to_owned(), source };
    let mut child = command.spawn().map_err(failed)?;
    let (tell, ready) = mpsc::channel();
    if let Some(stderr) = child.stderr.take() {
        let log = log.clone();
        std::thread::spawn(move || read_log(stderr, &log, &tell));
    }
    Ok((child, ready))
}

fn beside_us() -> Result<PathBuf, EmbeddedError> {
    let own = std::env::current_exe().unwrap_or_default();
    let path = own.with_file_name(format!("nucleus{}", std::env::consts::EXE_SUFFIX));
    if path.is_file() { Ok(path) } else { Err(EmbeddedError::Missing(path)) }
}

fn temporary_dir() -> std::io::Result<PathBuf> {
    let name = format!("nucleus-loadgen-{}-{:x}", std::process::id(), fastrand::u64(..));
    let path = std::env::temp_dir().join(name);
    let mut builder = std::fs::DirBuilder::new();
    // A signing key will lie in it.
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&path)?;
    Ok(path)
}

/// A directory of ours that stays behind is untidy, not wrong.
fn remove(data_dir: &Path) {
    let _ = std::fs::remove_dir_all(data_dir);
}

/// Reads the log to its end, so that the server never waits for a full pipe; tells when it is ready.
fn read_log(stderr: ChildStderr, log: &Log, tell: &mpsc::Sender<Ready>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if let Some(found) = parse_ready(&line) {
            // Nobody listens after the first.
            let _ = tell.send(found);
        }
        log.push(line);
    }
}

fn parse_ready(line: &str) -> Option<Ready> {
    let line: Value = serde_json::from_str(line).ok()?;
    // tracing's JSON puts an event's fields into an object of their own unless told to flatten.
    let fields = if line.get("fields").is_some() { &line["fields"] } else { &line };
    (fields["message"] == "ready").then_some(())?;
    let address = |name: &str| fields[name].as_str()?.parse().ok();
    Some((address("session")?, address("realtime")?, fields["http"].as_str()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_ready_line() {
        let expected = Some((
            "127.0.0.1:7".parse().unwrap(),
            "127.0.0.1:8".parse().unwrap(),
            "127.0.0.1:9".to_owned(),
        ));
        let fields = r#""message":"ready","session":"127.0.0.1:7","realtime":"127.0.0.1:8","http":"127.0.0.1:9""#;
        assert_eq!(parse_ready(&format!("{{{fields}}}")), expected);
        assert_eq!(
            parse_ready(&format!("{{\"level\":\"INFO\",\"fields\":{{{fields}}}}}")),
            expected
        );
        assert_eq!(parse_ready(r#"{"message":"starting"}"#), None);
        assert_eq!(parse_ready("plain text"), None);
    }
}

//! A server for one run: starts the `nucleus` binary in the directory of this program. The server
//! is a separate process, so that its CPU time can be measured.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest time until a server is ready. On its first start a server also creates its keys.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest time that a server may take to end after SIGTERM. After that time the process is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);
/// The configuration beyond the defaults: the largest rooms that the protocol allows, so that no
/// limit refuses the clients of a run.
const CONFIG: &str = "[limits]\nroom_capacity = 4000\n";
/// Number of lines at the end of the server's log that are kept for an error message.
const KEPT_LINES: usize = 10;

/// The error of starting the server.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The `nucleus` binary is not in the directory of this program.
    #[error("there is no server beside this program ({}): run cargo build --release", .0.display())]
    Missing(PathBuf),
    /// The system could not start the binary.
    #[error("cannot start {}: {source}", .path.display())]
    Start {
        /// The binary.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The directory for the server's key and certificate could not be created.
    #[error("cannot make a directory for the server's data: {0}")]
    DataDir(std::io::Error),
    /// The server ended or did not become ready in time. Holds the last lines of its log.
    #[error("the server did not become ready; its last lines were:\n{0}")]
    NotReady(String),
}

/// A server process. Dropping this ends the process and removes its data.
#[derive(Debug)]
pub struct Embedded {
    path: PathBuf,
    options: Vec<String>,
    child: Child,
    /// `None` if the system has no shell. The server then survives if this process is killed.
    watchdog: Option<Watchdog>,
    data_dir: TemporaryDir,
    log: LogTail,
    /// The address of the session port.
    pub session: SocketAddr,
    realtime: SocketAddr,
    /// The HTTP address of the control plane, `address:port`.
    pub http: String,
}

/// How a server ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerEnd {
    /// The signal or the exit code, for example `signal 9`.
    pub how: String,
    /// The last lines of the server's log.
    pub last_lines: Vec<String>,
}

impl std::fmt::Display for ServerEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { how, last_lines } = self;
        writeln!(f, "the server ended during the run: {how}; its last lines were:")?;
        f.write_str(&last_lines.join("\n"))
    }
}

/// A small process that kills the server, if it still runs, and removes its data when this process
/// has ended without doing so, however it ended. It waits at a pipe that the system closes then.
#[derive(Debug)]
struct Watchdog {
    process: Child,
    /// The server; `None` if it has ended, and its process id may belong to another process.
    server: Option<u32>,
}

impl Watchdog {
    /// Watches over the server with this process id, and over its data. Without a server, watches
    /// over the data alone.
    ///
    /// # Errors
    ///
    /// If the system cannot start a shell.
    fn start(server: Option<u32>, data_dir: &Path) -> std::io::Result<Self> {
        let mut command = Command::new("sh");
        let script = "read -r _; [ -z \"$1\" ] || kill -KILL \"$1\"; rm -rf \"$2\"";
        let pid = server.map(|pid| pid.to_string()).unwrap_or_default();
        command.args(["-c", script, "watchdog"]).arg(pid).arg(data_dir);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Ctrl-C on the terminal must not end it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        Ok(Watchdog { process: command.spawn()?, server })
    }
}

impl Drop for Watchdog {
    /// Ends the watchdog. Its pipe is still open, so it kills nothing.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A new directory, which is removed when this is dropped.
#[derive(Debug)]
struct TemporaryDir(PathBuf);

impl TemporaryDir {
    fn create() -> std::io::Result<Self> {
        let name = format!("nucleus-loadgen-{}-{:x}", std::process::id(), fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        let mut builder = std::fs::DirBuilder::new();
        // Only the owner may read the directory, because it will contain a signing key.
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path)?;
        Ok(TemporaryDir(path))
    }
}

impl Drop for TemporaryDir {
    /// Removes the directory. Ignores errors: a directory that stays does no harm.
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The addresses that the server logs when it is ready.
#[derive(Debug, PartialEq, Eq)]
struct ReadyAddresses {
    session: SocketAddr,
    realtime: SocketAddr,
    http: String,
}

/// The last lines of the server's log.
#[derive(Clone, Debug, Default)]
struct LogTail(Arc<Mutex<VecDeque<String>>>);

impl LogTail {
    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl Embedded {
    /// Starts a server and waits until it is ready. Where `shards` or `tick` is `None`, the server
    /// uses its default.
    ///
    /// # Errors
    ///
    /// If the server cannot be started, or is not ready within 20 s.
    pub fn start(shards: Option<u16>, tick: Option<&str>) -> Result<Self, EmbeddedError> {
        let path = beside_us()?;
        let data_dir = TemporaryDir::create().map_err(EmbeddedError::DataDir)?;
        let config = data_dir.0.join("nucleus.toml");
        std::fs::write(&config, CONFIG).map_err(EmbeddedError::DataDir)?;
        let mut options = vec!["--config".to_owned(), config.to_string_lossy().into_owned()];
        if let Some(shards) = shards {
            options.extend(["--shards".into(), shards.to_string()]);
        }
        if let Some(tick) = tick {
            options.extend(["--tick".into(), tick.into()]);
        }
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let log = LogTail::default();
        let ports = [free, free];
        let (child, ready) = spawn(&path, &data_dir.0, &options, ports, "127.0.0.1:0", &log)?;
        // From here on, dropping `server` stops the process.
        let (session, realtime, http) = (free, free, String::new());
        let watchdog = Watchdog::start(Some(child.id()), &data_dir.0).ok();
        let mut server =
            Embedded { path, options, child, watchdog, data_dir, log, session, realtime, http };
        let Ok(found) = ready.recv_timeout(START_TIMEOUT) else {
            return Err(EmbeddedError::NotReady(server.log.lines().join("\n")));
        };
        (server.session, server.realtime, server.http) =
            (found.session, found.realtime, found.http);
        Ok(server)
    }

    /// Kills the server with SIGKILL, as a crash would end it, and starts it again on the same
    /// ports with the same data. Does not wait until the server is ready.
    ///
    /// # Errors
    ///
    /// If the system cannot start the process.
    pub fn restart(&mut self) -> Result<(), EmbeddedError> {
        self.watchdog = None;
        // If the kill fails, the new process fails because its ports are in use.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let ports = [self.session, self.realtime];
        let (path, options, http) = (&self.path, &self.options, &self.http);
        let (child, _ready) = spawn(path, &self.data_dir.0, options, ports, http, &self.log)?;
        self.child = child;
        self.watchdog = Watchdog::start(Some(self.child.id()), &self.data_dir.0).ok();
        Ok(())
    }

    /// Stops the process with SIGSTOP (`true`), or continues it with SIGCONT.
    ///
    /// # Errors
    ///
    /// If the signal cannot be sent.
    pub fn pause(&self, on: bool) -> std::io::Result<()> {
        self.signal(if on { "STOP" } else { "CONT" })
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the directory with the server's key and certificate.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir.0
    }

    /// Returns how the server ended if it has ended by itself.
    pub fn end(&mut self) -> Option<ServerEnd> {
        let status = self.child.try_wait().ok()??;
        // From now on the system may give the process id to another process.
        if self.watchdog.as_ref().is_some_and(|watchdog| watchdog.server.is_some()) {
            self.watchdog = None;
            self.watchdog = Watchdog::start(None, &self.data_dir.0).ok();
        }
        Some(ServerEnd { how: how_it_ended(status), last_lines: self.log.lines() })
    }

    /// Sends the process a signal.
    ///
    /// # Errors
    ///
    /// If the signal cannot be sent.
    fn signal(&self, name: &str) -> std::io::Result<()> {
        // The standard library can only send SIGKILL. Every shell has `kill`.
        let command = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &command]).status()?;
        let failed = || std::io::Error::other(format!("`{command}` failed: {status}"));
        if status.success() { Ok(()) } else { Err(failed()) }
    }

    fn stop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let signalled = self.signal("TERM");
        let deadline = Instant::now() + STOP_TIMEOUT;
        while signalled.is_ok() && Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // If the kill fails too, nothing is left to try.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.stop();
        // The watchdog ends after the server, so that a process that is killed while it waits for
        // its server leaves no server behind.
        self.watchdog = None;
    }
}

fn spawn(
    path: &Path,
    data_dir: &Path,
    options: &[String],
    [session, realtime]: [SocketAddr; 2],
    http: &str,
    log: &LogTail,
) -> Result<(Child, mpsc::Receiver<ReadyAddresses>), EmbeddedError> {
    let mut command = Command::new(path);
    command.arg("serve").arg("--data-dir").arg(data_dir);
    command.arg("--session").arg(session.to_string());
    command.arg("--realtime").arg(realtime.to_string());
    command.args(["--http", http, "--log-format", "json"]).args(options);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // Give the server its own process group, so that Ctrl-C on the terminal does not end the server
    // before this program.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let failed = |source| EmbeddedError::Start { path: path.to_owned(), source };
    let mut child = command.spawn().map_err(failed)?;
    let (ready_sender, ready) = mpsc::channel();
    if let Some(stderr) = child.stderr.take() {
        let log = log.clone();
        std::thread::spawn(move || read_log(stderr, &log, &ready_sender));
    }
    Ok((child, ready))
}

/// Returns the signal or the exit code of a process that has ended.
fn how_it_ended(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return format!("signal {signal}");
    }
    status.code().map_or_else(|| status.to_string(), |code| format!("exit code {code}"))
}

fn beside_us() -> Result<PathBuf, EmbeddedError> {
    let own = std::env::current_exe().unwrap_or_default();
    let path = own.with_file_name(format!("nucleus{}", std::env::consts::EXE_SUFFIX));
    if path.is_file() { Ok(path) } else { Err(EmbeddedError::Missing(path)) }
}

/// Reads the server's log to its end, so that the server never blocks on a full pipe. Sends the
/// addresses when the server is ready.
fn read_log(stderr: ChildStderr, log: &LogTail, ready_sender: &mpsc::Sender<ReadyAddresses>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if let Some(found) = parse_ready(&line) {
            // The receiver only waits for the first message.
            let _ = ready_sender.send(found);
        }
        log.push(line);
    }
}

fn parse_ready(line: &str) -> Option<ReadyAddresses> {
    let line: Value = serde_json::from_str(line).ok()?;
    // tracing's JSON puts the fields of an event into an object, unless it is set to flatten them.
    let fields = if line.get("fields").is_some() { &line["fields"] } else { &line };
    (fields["message"] == "ready").then_some(())?;
    let address = |name: &str| fields[name].as_str()?.parse().ok();
    Some(ReadyAddresses {
        session: address("session")?,
        realtime: address("realtime")?,
        http: fields["http"].as_str()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_ready_line() {
        let expected = Some(ReadyAddresses {
            session: "127.0.0.1:7".parse().unwrap(),
            realtime: "127.0.0.1:8".parse().unwrap(),
            http: "127.0.0.1:9".to_owned(),
        });
        let fields = r#""message":"ready","session":"127.0.0.1:7","realtime":"127.0.0.1:8","http":"127.0.0.1:9""#;
        assert_eq!(parse_ready(&format!("{{{fields}}}")), expected);
        assert_eq!(
            parse_ready(&format!("{{\"level\":\"INFO\",\"fields\":{{{fields}}}}}")),
            expected
        );
        assert_eq!(parse_ready(r#"{"message":"starting"}"#), None);
        assert_eq!(parse_ready("plain text"), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_watchdog_does_not_watch_a_server_that_has_ended() {
        let data_dir = TemporaryDir::create().unwrap();
        let path = data_dir.0.clone();
        let child = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
        let watchdog = Some(Watchdog::start(Some(child.id()), &path).unwrap());
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Embedded {
            path: PathBuf::new(),
            options: Vec::new(),
            child,
            watchdog,
            data_dir,
            log: LogTail::default(),
            session: free,
            realtime: free,
            http: String::new(),
        };
        let deadline = Instant::now() + Duration::from_secs(5);
        while server.end().is_none() {
            assert_eq!(server.watchdog.as_ref().unwrap().server, Some(server.pid()));
            assert!(Instant::now() < deadline, "the server goes on");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(server.watchdog.as_ref().unwrap().server, None);
        // Without a server, the watchdog still removes the data when its pipe closes.
        let mut watchdog = server.watchdog.take().unwrap();
        drop(watchdog.process.stdin.take());
        assert!(watchdog.process.wait().unwrap().success());
        assert!(!path.exists());
    }

    #[cfg(unix)]
    #[test]
    fn an_end_names_the_signal_or_the_exit_code() {
        let end = |script| how_it_ended(Command::new("sh").args(["-c", script]).status().unwrap());
        assert_eq!(end("kill -KILL $$"), "signal 9");
        assert_eq!(end("exit 7"), "exit code 7");
    }
}

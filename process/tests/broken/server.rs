//! The server's process, and what a test can ask of it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::shim::Shim;

/// Longest time until a server is ready, and until other things of a busy machine have happened.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The series of metrics that counts resumed sessions.
pub(crate) const RESUMES: &str = "nucleus_session_joins_total{outcome=\"resumed\"}";

/// How a server is started.
pub(crate) struct Setup {
    pub(crate) dir: PathBuf,
    pub(crate) config: String,
    pub(crate) stderr: Stdio,
    pub(crate) level: &'static str,
    pub(crate) shim: Option<Shim>,
    /// The limit of open files; `None`: that of the test.
    pub(crate) files: Option<u32>,
    /// The account of the server; `None`: that of the test. Needs root.
    pub(crate) user: Option<u32>,
    /// The ports of sessions, of the realtime plane and of HTTP.
    pub(crate) ports: [u16; 3],
}

impl Setup {
    /// A server on free ports with its data in `dir`.
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            config: String::new(),
            stderr: Stdio::null(),
            level: "info",
            shim: None,
            files: None,
            user: None,
            ports: std::array::from_fn(|_| free_port()),
        }
    }

    /// The configuration file. It is beside the data, in a directory that outlives the test.
    fn config_file(&self) -> PathBuf {
        self.dir.with_extension("toml")
    }

    fn command(&mut self) -> Command {
        let config = self.config_file();
        std::fs::write(&config, &self.config).unwrap();
        let mut command = match (self.files, self.user) {
            (None, None) => Command::new(binary()),
            (None, Some(user)) => {
                let mut other = Command::new(public_binary(&self.dir.with_extension("program")));
                other.uid(user).gid(user);
                other
            }
            (Some(files), _) => {
                let mut shell = Command::new("sh");
                let limited = format!("ulimit -n {files}; exec \"$0\" \"$@\"");
                shell.args(["-c", &limited]).arg(binary());
                shell
            }
        };
        let [session, realtime, http] = self.ports.map(|port| format!("127.0.0.1:{port}"));
        command.args(["serve", "--session", &session, "--realtime", &realtime, "--http", &http]);
        command.arg("--data-dir").arg(&self.dir).arg("--config").arg(config);
        command.env("NUCLEUS_LOG", self.level).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(std::mem::replace(&mut self.stderr, Stdio::null()));
        if let Some(shim) = &self.shim {
            shim.load_into(&mut command);
        }
        command
    }

    /// Starts the server and waits until it is ready.
    pub(crate) fn start(mut self) -> Server {
        let child = self.command().spawn().unwrap();
        let mut server = Server { child, setup: self };
        let end = Instant::now() + PATIENCE;
        while !server.is_ready() {
            if let Some(status) = server.ended() {
                panic!("the server ended: {status}");
            }
            assert!(Instant::now() < end, "the server is not ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// Starts a server that cannot run. Returns its line.
    pub(crate) fn refused(mut self) -> String {
        self.stderr = Stdio::piped();
        let Output { status, stderr, .. } = self.command().output().unwrap();
        std::fs::remove_file(self.config_file()).unwrap();
        let text = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(2), "{text}");
        assert!(text.starts_with("nucleus: ") && text.lines().count() == 1, "{text}");
        text
    }
}

/// A running server. Dropping it kills the process.
pub(crate) struct Server {
    child: Child,
    pub(crate) setup: Setup,
}

impl Server {
    pub(crate) fn session(&self) -> String {
        format!("127.0.0.1:{}", self.setup.ports[0])
    }

    pub(crate) fn http(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.setup.ports[2]))
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        // The standard library can only send SIGKILL. Every shell has `kill`.
        let kill = format!("kill -{name} {pid}");
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Returns the memory of the process that is in RAM, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim_end_matches("kB").trim().parse().unwrap()
    }

    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for the end of the process, at most `time`.
    pub(crate) fn wait(&mut self, time: Duration) -> ExitStatus {
        let end = Instant::now() + time;
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(Instant::now() < end, "the server has not ended within {time:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills the server and returns how to start it again on the same ports.
    pub(crate) fn kill(mut self) -> Setup {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let Setup { dir, config, level, ports, .. } = &self.setup;
        Setup { config: config.clone(), level, ports: *ports, ..Setup::new(dir) }
    }

    /// Fetches a page of the HTTP port. `None`: no answer within two seconds.
    pub(crate) fn page(&self, path: &str) -> Option<String> {
        let mut http = TcpStream::connect(self.http()).ok()?;
        http.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        write!(http, "GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").ok()?;
        let mut answer = String::new();
        http.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.page("/health/ready").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// Returns the value of a series of `/metrics`.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let end = Instant::now() + PATIENCE;
        let page = loop {
            if let Some(page) = self.page("/metrics") {
                break page;
            }
            assert!(Instant::now() < end, "no metrics within {PATIENCE:?}");
        };
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
    }

    /// Returns the server's certificates, with their keys.
    pub(crate) fn certificates(&self) -> String {
        let files = std::fs::read_dir(&self.setup.dir).unwrap().map(|file| file.unwrap().path());
        let is_certificate = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with("tls-") && name.ends_with(".pem")
        };
        files.filter(is_certificate).map(|file| std::fs::read_to_string(file).unwrap()).collect()
    }

    /// Waits until something is so.
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns a join token of the server's data directory.
    pub(crate) fn token(&self, user: &str, role: &str) -> String {
        let mut command = Command::new(binary());
        command.args(["token", "--product", "atom", "--tenant", "acme", "--user", user]);
        command.args(["--role", role, "--data-dir"]).arg(&self.setup.dir);
        if let Some(shim) = &self.setup.shim {
            shim.load_into(&mut command);
        }
        let Output { status, stdout, stderr } = command.output().unwrap();
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails if the process has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Fails if the directory was removed before.
        let _ = std::fs::remove_file(self.setup.config_file());
    }
}

/// Returns the path of `nucleus`, which Cargo builds into the directory above that of the tests.
pub(crate) fn binary() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().and_then(Path::parent).unwrap().join("nucleus");
    assert!(path.is_file(), "there is no {}: run cargo build", path.display());
    path
}

/// Copies `nucleus` to a path. The build directory may be private to root.
pub(crate) fn public_binary(path: &Path) -> &Path {
    // By another process: a child that another test starts now would keep the copy open for writing,
    // and the system would not execute it.
    let copied = Command::new("cp").arg(binary()).arg(path).status();
    assert!(copied.is_ok_and(|status| status.success()));
    path
}

/// Returns a port that was free for UDP and TCP a moment ago.
///
/// The ports are below those that the system gives to clients, so that no client of a test takes one
/// before its server does. Each process begins with other ports.
fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let taken = TAKEN.fetch_add(1, Ordering::Relaxed);
        assert!(taken < COUNT, "no port is free");
        let port = FIRST + (std::process::id() % COUNT * 61 + taken) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port as u16));
        if UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() {
            return address.port();
        }
    }
}

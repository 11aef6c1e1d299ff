//! A real server on loopback sockets in the process of the test.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nucleus_client::session::Trust;
use nucleus_client::{ConnectOptions, Room, RoomEvent, connect};
use nucleus_net::Steering;
use nucleus_server::start::config::{Config, HttpAddr};
use nucleus_server::start::data_dir::{DataDir, Pin};
use nucleus_server::start::renewal::RenewalClock;
use nucleus_server::start::run::{self, Listening, RunError, Surroundings};
use nucleus_server::start::sockets::{BindError, Sockets};
use nucleus_server::token::{Product, TokenRequest};
use tokio::sync::oneshot;

pub(crate) struct TestServer {
    /// The addresses on which the server listens.
    pub(crate) on: Listening,
    pub(crate) dir: tempfile::TempDir,
    config: Config,
    /// The time of day by which the certificate is renewed, in seconds since 1970.
    time: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<Result<(), RunError>>,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut config = Config {
            session: loopback,
            realtime: loopback,
            http: HttpAddr::At(loopback),
            ..Config::default()
        };
        change(&mut config);
        let sockets = bind(&config).await;
        Self::run(tempfile::tempdir().unwrap(), config, sockets, now_unix()).await
    }

    /// Starts a server whose certificate is that of `time`, in seconds since 1970.
    pub(crate) async fn at(time: u64) -> Self {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let config =
            Config { session: any, realtime: any, http: HttpAddr::Off, ..Config::default() };
        let sockets = bind(&config).await;
        Self::run(tempfile::tempdir().unwrap(), config, sockets, time).await
    }

    /// Starts a server with two shards, of which one receives the realtime datagrams of both.
    pub(crate) async fn with_all_on_one_shard() -> Self {
        let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let http = HttpAddr::At(loopback);
        let config =
            Config { session: loopback, realtime: loopback, http, shards: 2, ..Config::default() };
        let sockets = bind(&config).await;
        // Replaces the kernel program that steers by the connection id.
        nucleus_net::attach_steering(&sockets.realtime[0], Steering::Realtime, 1).unwrap();
        Self::run(tempfile::tempdir().unwrap(), config, sockets, now_unix()).await
    }

    async fn run(dir: tempfile::TempDir, config: Config, sockets: Sockets, time: u64) -> Self {
        let (ready, is_ready) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let data = DataDir::open_at(dir.path(), time).unwrap();
        let time = Arc::new(AtomicU64::new(time));
        let read = time.clone();
        let clock = RenewalClock {
            now: Arc::new(move || read.load(Ordering::Relaxed)),
            interval: Duration::from_millis(20),
        };
        let running = config.clone();
        let task = tokio::spawn(async move {
            let announce = |on| ready.send(on).unwrap();
            let shutdown = async { drop(stopped.await) };
            let surroundings = Surroundings { clock, ..Surroundings::default() };
            run::run_in(surroundings, running, &data, sockets, announce, shutdown).await
        });
        let on = is_ready.await.unwrap();
        Self { on, dir, config, time, stop: Some(stop), task }
    }

    /// Stops the server and starts another one on the same ports with the same data directory.
    pub(crate) async fn restart(self) -> Self {
        self.restart_with(|_| {}).await
    }

    /// Restarts the server with a changed configuration, in which the ports are known.
    pub(crate) async fn restart_with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        self.stop().await.unwrap();
        let Listening { session, realtime, .. } = self.on;
        let mut config = Config { session, realtime, ..self.config };
        change(&mut config);
        let sockets = bind(&config).await;
        let time = self.time.load(Ordering::Relaxed);
        Self::run(self.dir, config, sockets, time).await
    }

    /// Starts another server, on other ports, with a copy of the data directory as it is now: as
    /// after the server was killed.
    pub(crate) async fn killed_now(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(self.dir.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
        }
        let sockets = bind(&self.config).await;
        let time = self.time.load(Ordering::Relaxed);
        Self::run(dir, self.config.clone(), sockets, time).await
    }

    pub(crate) fn data(&self) -> DataDir {
        DataDir::open_at(self.dir.path(), self.time.load(Ordering::Relaxed)).unwrap()
    }

    /// Lets time of day pass for the server's certificate.
    pub(crate) fn pass(&self, time: Duration) {
        self.time.fetch_add(time.as_secs(), Ordering::Relaxed);
    }

    /// Returns the trust in the server's certificates.
    pub(crate) fn trust(&self) -> Trust {
        Trust::Pins(self.data().certificates().pins().into_iter().map(Pin::bytes).collect())
    }

    pub(crate) fn token(&self, user: &str) -> String {
        self.token_with(TokenRequest::new(Product::ATOM, "tenant", user))
    }

    pub(crate) fn token_with(&self, request: TokenRequest) -> String {
        self.data().minter().mint(request, now_unix()).unwrap()
    }

    pub(crate) fn options(&self, token: String) -> ConnectOptions {
        ConnectOptions::new(self.on.session.to_string(), token).room("lobby")
    }

    pub(crate) async fn join(&self, user: &str) -> Room {
        connect(self.options(self.token(user))).await.unwrap()
    }

    pub(crate) fn http(&self, path: &str) -> String {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(self.on.http.unwrap()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Returns the sum of a metric over its labels, or the value of one series if the name has a label.
    /// Shards publish metrics a few times a second.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let page = self.http("/metrics");
        let is_wanted =
            |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let lines = page.lines().filter(is_wanted);
        let values: Vec<f64> =
            lines.map(|l| l.rsplit(' ').next().unwrap().parse().unwrap()).collect();
        assert!(!values.is_empty(), "no metric {name}");
        values.iter().sum()
    }

    /// Returns how many datagrams and messages the shards have dropped for this reason.
    pub(crate) fn drops(&self, reason: &str) -> f64 {
        self.metric(&format!("nucleus_realtime_drops_total{{reason=\"{reason}\"}}"))
    }

    /// Waits until the server has ended by itself.
    pub(crate) async fn ended(&mut self) -> Result<(), RunError> {
        (&mut self.task).await.unwrap()
    }

    pub(crate) async fn stop(&mut self) -> Result<(), RunError> {
        self.stop.take().unwrap().send(()).unwrap();
        (&mut self.task).await.unwrap()
    }
}

/// Binds the sockets. Retries, because a server that has just stopped may hold its ports for a
/// moment.
async fn bind(config: &Config) -> Sockets {
    for _ in 0..100 {
        match Sockets::bind(config) {
            Err(BindError::Taken { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
            bound => return bound.unwrap(),
        }
    }
    panic!("the ports stayed in use");
}

pub(crate) fn now_unix() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// Waits for the first event that `wanted` accepts. Panics after ten seconds.
pub(crate) async fn until<T>(room: &Room, mut wanted: impl FnMut(RoomEvent) -> Option<T>) -> T {
    let found = async {
        loop {
            let event = room.next().await.expect("the room has ended");
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), found).await.expect("no such event in 10 s")
}

//! The memory that clients can pin at the server. docs/LIMITS.md states the figures, in its section
//! "Memory".

use std::sync::Arc;
use std::time::{Duration, Instant};

use nucleus_protocol::session::{self, EventUp, Join, Leave, Ping, TO_OTHERS, stream};
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::heavy::alone;
use crate::raw::{Carrier, RawClients, RawConnection, fill, hello};
use crate::server::{Server, Setup};

/// KiB that one connection pins before it joins, as docs/LIMITS.md states.
const UNJOINED_KIB: u64 = 158;
/// KiB that one joined session pins whose windows are full, as docs/LIMITS.md states.
const WINDOWS_KIB: u64 = 307;
/// KiB that one joined session and its room pin with the default limits, as docs/LIMITS.md states.
const JOINED_KIB: u64 = 1_240;

/// `UNJOINED_WINDOW` of the server: bytes in flight on all streams before the join.
const UNJOINED_WINDOW: usize = 16 << 10;

/// Pieces of a byte each that one stream keeps in memory with the whole datagrams in which they came.
/// quinn copies the pieces of a stream when their datagrams have 32 KiB more than the pieces.
const PIECES: usize = 26;

/// When the server reads a second message of each lane, at the earliest: a message has 16 KB, and the
/// rate is 1 KiB a second.
const SECOND_MESSAGE: Duration = Duration::from_secs(14);

/// How often a figure is measured at the most.
const MOST_TRIES: usize = 2;

/// The least part of the documented figure, in percent, that clients reach on a busy machine.
const BUSY_PERCENT: u64 = 50;

/// Samples of the memory until it must have stopped growing: two minutes of the longest interval.
const MOST_SAMPLES: usize = 30;

/// Number of handshakes at a time: a handshake must not wait for long behind the others.
const HANDSHAKES: usize = 32;

/// Asserts that a measured figure is within 10 % of the documented one. Measures again if it is lower or
/// absent: on a busy machine the clients do not get to send all they may. A machine that stays busy must
/// reach half of the figure at least.
pub(crate) async fn assert_near<F>(what: &str, documented: u64, measure: impl Fn() -> F)
where
    F: Future<Output = Option<u64>>,
{
    let mut measured = Vec::new();
    for _ in 0..MOST_TRIES {
        let kib = measure().await;
        println!("{what}: {kib:?} KiB for each, documented {documented} KiB");
        measured.push(kib);
        match kib {
            Some(kib) if kib > documented * 11 / 10 => break,
            Some(kib) if kib >= documented * 9 / 10 => return,
            _ => {}
        }
    }
    let busy = documented * BUSY_PERCENT / 100..=documented;
    let most = measured.iter().flatten().max();
    let text = format!("{what}: {measured:?} KiB, documented {documented} KiB");
    assert!(most.is_some_and(|kib| busy.contains(kib)), "{text}");
    println!("{text}: this machine was too busy to send all they may");
}

/// The server reads little of each stream, so that the windows stay full, and the rooms log next to
/// nothing for clients that resume: those bytes are the room's memory.
const LOW_RATES: &str = "
    [limits]
    peer_event_bytes_per_s = 1024
    peer_bulk_bytes_per_s = 1024
    peer_requests_per_s = 1
";

/// Starts a server. Opens and closes some connections, so that no memory that the server takes once
/// counts.
pub(crate) async fn start(dir: &tempfile::TempDir, config: &str) -> (Server, Arc<RawClients>) {
    let mut setup = Setup::new(&dir.path().join("data"));
    setup.config = config.into();
    let server = setup.start();
    let clients = Arc::new(RawClients::new(&server, 1..=8));
    for n in 0..50 {
        let carrier = if n % 2 == 0 { Carrier::Quic } else { Carrier::WebTransport };
        let (_connection, mut control, _answers) =
            clients.join(n, &format!("warm-{n}"), carrier).await;
        control.write_all(&session::encode(&Leave { code: 0 })).await.unwrap();
    }
    server.until("the first clients are gone", |s| s.metric("nucleus_sessions") == 0);
    (server, clients)
}

/// Runs `work` for each number below `count`, all at once.
async fn for_each<T, F>(count: usize, work: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut all = JoinSet::new();
    for n in 0..count {
        all.spawn(work(n));
    }
    all.join_all().await
}

/// The control stream of a client, and its other streams.
type Streams = (SendStream, RecvStream, Vec<SendStream>);

/// Sends all that a client may send without a join. Returns the streams, which must stay open;
/// `None` if the server closes the connection meanwhile.
async fn send_without_join(connection: &RawConnection) -> Option<Streams> {
    // A join of nearly the largest size, without its last byte.
    let join = session::encode(&Join { token: vec![b'x'; 16_000], ..Join::default() });
    let opening = [&hello(), &join[..join.len() - 1]].concat();
    let (control, answers) = connection.control(&opening).await?;
    let (mut streams, mut sent) = (Vec::new(), 3 * PIECES);
    for _ in 0..3 {
        let (stream, bytes) = connection.open(stream::EVENTS).await?;
        streams.push(stream);
        sent += bytes;
    }
    // What is in full datagrams takes little more than its length, what is in pieces far more.
    let connection = &connection.quic;
    for _ in 0..PIECES {
        for stream in &mut streams {
            stream.write_all(&[0]).await.ok()?;
            // Datagrams that the kernel joins with that of the piece, where it may.
            for _ in 0..9 {
                connection.send_datagram(vec![0; 1_000].into()).ok()?;
            }
            sleep(Duration::from_millis(3)).await;
        }
    }
    sent += fill(&mut streams[0], &[0; 4_096]).await;
    if connection.close_reason().is_some() {
        return None;
    }
    // QUIC gives the bytes that the server has read back in parts of an eighth of the window.
    let window = UNJOINED_WINDOW * 7 / 8..=UNJOINED_WINDOW;
    if sent < *window.start() {
        // The server is so busy that it gave no more of the window in time.
        return None;
    }
    assert!(window.contains(&sent), "{sent} bytes on the streams without the join");
    Some((control, answers, streams))
}

/// Measures the memory of an unjoined connection in KiB. `None`: this machine is so busy that the
/// server has closed the first connections before the last ones have sent everything.
pub(crate) async fn measure_unjoined(carrier: Carrier) -> Option<u64> {
    const CONNECTIONS: usize = 200;
    let dir = tempfile::tempdir().unwrap();
    let (server, clients) = start(&dir, LOW_RATES).await;
    let before = server.resident_kib();
    let turn = Arc::new(Semaphore::new(HANDSHAKES));
    let sending = for_each(CONNECTIONS, |n| {
        let (clients, turn) = (clients.clone(), turn.clone());
        async move {
            let handshake = turn.acquire().await.unwrap();
            let connection = clients.open(n, carrier).await?;
            drop(handshake);
            let streams = send_without_join(&connection).await?;
            Some((connection, streams))
        }
    });
    let pinned: Vec<_> = sending.await.into_iter().flatten().collect();
    let grown = server.resident_kib() - before;
    let unjoined = server.metric("nucleus_sessions_unjoined");
    (pinned.len() == CONNECTIONS && unjoined == CONNECTIONS as u64).then(|| grown / unjoined)
}

#[tokio::test(flavor = "multi_thread")]
async fn unjoined_connections_pin_the_documented_memory() {
    let _alone = alone();
    assert_near("an unjoined connection", UNJOINED_KIB, || measure_unjoined(Carrier::Quic)).await;
}

/// How a client writes to its streams.
#[derive(Clone, Copy, PartialEq)]
enum Writes {
    /// As fast as the server reads, in full datagrams.
    Fast,
    /// In pieces, each in a datagram of its own that is full of other bytes. Faster than the server
    /// reads with the default limits.
    Pieces,
}

/// Bytes of a piece. With fewer, quinn would copy them to free the rest of their datagrams.
pub(crate) const PIECE: usize = 480;

/// Writes a message again and again until the connection is closed.
async fn keep_full(
    mut stream: SendStream,
    connection: Connection,
    message: Vec<u8>,
    writes: Writes,
) -> Result<(), quinn::WriteError> {
    loop {
        match writes {
            Writes::Fast => stream.write_all(&message).await?,
            Writes::Pieces => {
                for piece in message.chunks(PIECE) {
                    stream.write_all(piece).await?;
                    let _not_if_closed = connection.send_datagram(vec![0; 650].into());
                    sleep(Duration::from_millis(4)).await;
                }
            }
        }
    }
}

/// Keeps all streams of a session full of valid messages.
async fn keep_all_full(connection: &RawConnection, control: SendStream, writes: Writes) {
    let keep = |stream, message| {
        tokio::spawn(keep_full(stream, connection.quic.clone(), message, writes));
    };
    keep(control, Ping.encode().repeat(20));
    let event = session::encode(&EventUp {
        target: TO_OTHERS,
        channel: 0,
        piece: 0,
        peers: vec![],
        payload: vec![7; 16_000],
    });
    for lane in [stream::EVENTS, stream::BULK] {
        let (stream, _) = connection.open(lane).await.unwrap();
        keep(stream, event.clone());
    }
}

/// Sessions of a server that send all they may, each alone in a room, so that the server delivers
/// nothing.
struct Pinned {
    server: Server,
    sessions: Vec<(RawConnection, RecvStream)>,
    /// Resident memory of the server before the sessions joined.
    before: u64,
    since: Instant,
}

impl Pinned {
    async fn start(
        dir: &tempfile::TempDir,
        config: &str,
        (count, carrier): (usize, Carrier),
        writes: Writes,
    ) -> Self {
        let (server, clients) = start(dir, config).await;
        let before = server.resident_kib();
        let turn = Arc::new(Semaphore::new(HANDSHAKES));
        let joined = for_each(count, |n| {
            let (clients, turn) = (clients.clone(), turn.clone());
            async move {
                let _turn = turn.acquire().await.unwrap();
                clients.join(n, &format!("pin-{n}"), carrier).await
            }
        });
        let joined = joined.await;
        let (since, mut sessions) = (Instant::now(), Vec::new());
        for (connection, control, answers) in joined {
            keep_all_full(&connection, control, writes).await;
            sessions.push((connection, answers));
        }
        Self { server, sessions, before, since }
    }

    /// Returns the memory of each session in KiB.
    fn kib_each(&self) -> u64 {
        let joined = self.server.metric("nucleus_sessions");
        assert_eq!(joined, self.sessions.len() as u64, "the server has closed sessions");
        (self.server.resident_kib() - self.before) / joined
    }
}

/// Waits until the memory of a client, as `sample` measures it in KiB, grows by no more than `noise`
/// in two `interval`s.
pub(crate) async fn until_it_stays(
    interval: Duration,
    noise: u64,
    sample: impl Fn() -> u64,
) -> u64 {
    let mut samples = Vec::new();
    while samples.len() < MOST_SAMPLES {
        sleep(interval).await;
        samples.push(sample());
        if let [.., first, _, last] = samples[..]
            && last <= first + noise
        {
            return last;
        }
    }
    panic!(
        "the memory grows further after {MOST_SAMPLES} samples: {samples:?} KiB for each client"
    );
}

#[tokio::test]
#[should_panic(expected = "grows further")]
async fn memory_that_grows_for_ever_fails() {
    let kib = std::cell::Cell::new(0);
    until_it_stays(Duration::from_millis(1), 10, || {
        kib.set(kib.get() + 6);
        kib.get()
    })
    .await;
}

/// Measures the memory of a joined session whose windows are full, in KiB. `None`: this machine is so
/// busy that the server has read a second message of each lane before the windows were full.
pub(crate) async fn measure_windows(carrier: Carrier) -> Option<u64> {
    let dir = tempfile::tempdir().unwrap();
    let pinned = Pinned::start(&dir, LOW_RATES, (300, carrier), Writes::Fast).await;
    let measured = until_it_stays(Duration::from_secs(1), 1, || pinned.kib_each()).await;
    (pinned.since.elapsed() < SECOND_MESSAGE).then_some(measured)
}

#[tokio::test(flavor = "multi_thread")]
async fn full_windows_pin_the_documented_memory() {
    let _alone = alone();
    assert_near("a joined session with full windows", WINDOWS_KIB, || {
        measure_windows(Carrier::Quic)
    })
    .await;
}

/// Measures the memory of a joined session that sends all it may, in KiB.
pub(crate) async fn measure_joined(carrier: Carrier) -> Option<u64> {
    let dir = tempfile::tempdir().unwrap();
    let pinned = Pinned::start(&dir, "", (100, carrier), Writes::Pieces).await;
    // The logs of the rooms are full after a few seconds. The memory grows further for a while,
    // because the server's allocator leaves gaps.
    let noise = JOINED_KIB / 100;
    Some(until_it_stays(Duration::from_secs(4), noise, || pinned.kib_each()).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn joined_sessions_pin_the_documented_memory() {
    let _alone = alone();
    assert_near("a joined session that sends all it may", JOINED_KIB, || {
        measure_joined(Carrier::Quic)
    })
    .await;
}

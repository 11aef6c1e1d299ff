//! The limits of the edge: sessions and their connections, certificates, configuration and HTTP.
//! Everybody reads them as part of [`crate::limits`].

use std::time::Duration;

use crate::rate::Rate;

/// Silence after which a session is lost. Its participant then stays for [`crate::limits::Limits::peer_ttl`].
/// Clients send a keep-alive every 15 s and QUIC repeats lost packets, so a network failure of 15 s
/// at the worst moment loses no session.
pub const SESSION_IDLE: Duration = Duration::from_secs(30);
/// How often the server sends a browser a datagram that wakes the page. The timers of a page that is
/// hidden for minutes may run once a minute, but what arrives wakes it. A silent participant becomes
/// away after twice this time, so one of the datagrams may be lost.
pub const PAGE_WAKE: Duration = Duration::from_secs(5);
/// How long a browser gets to hand a page the ends of its streams, before its session is closed.
/// Chromium 156 ends the page's process if the session is closed first.
pub const PAGE_READS: Duration = Duration::from_millis(30);
/// How long the last events of a leaving peer may take to arrive after its `Leave`.
pub const LEAVE_TIME: Duration = Duration::from_secs(1);
/// How long a new stream may take to send its type.
pub const STREAM_TYPE_TIME: Duration = Duration::from_secs(2);
/// How long the session of a kicked peer, or of a peer whose room a moderator ends, stays open to
/// deliver the `Audit` of the act: a slow round trip.
pub const LAST_ACT_TIME: Duration = Duration::from_millis(500);
/// How long ending sessions may take to send their code before the endpoints close.
pub const LAST_WORDS: Duration = Duration::from_millis(100);
/// How long a server that shuts down waits for joins in progress, to refuse them with the reason:
/// a connection over a slow network, and one lost packet.
pub const LAST_REFUSALS: Duration = Duration::from_secs(2);
/// How long a server that shuts down waits for connections to close.
pub const DRAIN_TIME: Duration = Duration::from_secs(3);
/// How often a session may hand in a fresh token. Each costs a check of a signature, as a join does.
pub const RENEWALS: Rate = Rate { per_second: 1, burst: 4 };
/// How long a refusal may take to reach the client before the connection is closed.
pub const REFUSAL_TIME: Duration = Duration::from_millis(500);
/// Most bytes that a client may have in flight on one stream: the largest join, or four of the
/// largest events.
pub const STREAM_WINDOW: u32 = 64 << 10;
/// Most bytes that a client may have in flight on all streams before it has joined: most joins fit.
/// A larger one arrives in parts.
pub const UNJOINED_WINDOW: u32 = 16 << 10;
/// Most bytes that a joined client may have in flight on all streams. There are three streams
/// (control, events, bulk), so a stream that the server does not read cannot stop another. The streams of
/// HTTP/3, of which browsers send next to nothing, come out of it, too.
pub const CONNECTION_WINDOW: u32 = 3 * STREAM_WINDOW;
/// Most joined sessions with [`CONNECTION_WINDOW`]: 384 MiB of bytes if all clients fill their windows.
/// docs/LIMITS.md says how much memory that takes.
pub const FULL_WINDOWS: usize = 2_048;
/// Most bytes that the clients of further sessions may have in flight: two of the largest events. If
/// such a client fills its bulk stream, its events wait until the server reads that stream: half a
/// second at the default rates, longer while the room is over its rate. The 18,000 other sessions of a
/// full server then send at most 561 MiB.
pub const SMALL_WINDOW: u32 = 32 << 10;
/// Most bytes that the server may have in flight to one client, in addition to the queues in front
/// of QUIC.
pub const SEND_WINDOW: u64 = 128 << 10;
/// Most bytes of a client's handshake that QUIC keeps if they arrive out of order.
pub const CRYPTO_BUFFER: usize = 16 << 10;
/// Most incoming connections that wait for the accept loop.
pub const INCOMING: usize = 1_024;
/// Most bytes that all incoming connections together may have sent while they wait. The accept loop
/// takes a connection within milliseconds.
pub const INCOMING_BYTES: u64 = 4 << 20;
/// Largest resume ticket in bytes: more than the longest genuine ticket has. A longer ticket is
/// refused unread.
pub const TICKET_BYTES: usize = 1_024;
/// Largest join token in bytes. A longer token is refused unread.
pub const TOKEN_BYTES: usize = 4_096;
/// Most grants in one token.
pub const TOKEN_GRANTS: usize = 32;

// Development certificates.

/// Development certificates in a data directory. Tokens name three; the others are for a clock that
/// jumps, and comes back.
pub const DEVELOPMENT_CERTIFICATES: usize = 8;
/// How often a server checks whether its certificate must be renewed. After the clock has jumped,
/// the client of a new join token may have to wait this long for a certificate that its token
/// names.
pub const CERTIFICATE_CHECK: Duration = Duration::from_secs(60);

// The log, signals and health.

/// Most lines of the log that wait for stderr: some seconds of a busy server at level debug. Further
/// lines are lost and counted.
pub const LOG_QUEUE: usize = 4_096;
/// Most bytes of the lines of the log that wait for stderr. Lines have some hundred bytes.
pub const LOG_QUEUE_BYTES: usize = 2 << 20;
/// Longest time that a process that ends waits for its log: stderr may be a pipe that nobody reads.
pub const LOG_FINISH_TIME: Duration = Duration::from_secs(1);
/// Least time between two notices in the log that lines were lost: a log that loses lines all the time
/// must not get longer by a notice for each line.
pub const LOG_LOSS_INTERVAL: Duration = Duration::from_secs(1);
/// Longest time at the stop in which the database may take the end of the history. It is in a file
/// before, so that nothing is lost if the database takes longer.
pub const HISTORY_FINISH_TIME: Duration = Duration::from_secs(1);
/// Longest time that a server takes to stop: [`DRAIN_TIME`], the file of bans, the history and the log,
/// and some seconds for a busy machine. Then the process ends at once.
pub const STOP_TIME: Duration = Duration::from_secs(10);
/// Files and sockets that a server opens in any case: the log, timers, signals, the lock, and files
/// that it reads or writes for a moment.
pub const SERVER_DESCRIPTORS: usize = 32;
/// Files and sockets of each shard: its two sockets, the probe before them, and its waker.
pub const SHARD_DESCRIPTORS: usize = 6;
/// How often the server checks that its threads make progress.
pub const HEALTH_INTERVAL: Duration = Duration::from_millis(500);
/// Number of looks in a row that a thread may do nothing although it has work. Then the server is not
/// ready. Two seconds: more than any turn takes on a busy machine.
pub const HEALTH_STALLS: u32 = 4;
/// Number of such looks after which the server counts as dead, so that whoever watches it starts it
/// again: 15 s, longer than a disk or a busy machine holds a thread up.
pub const HEALTH_DEATHS: u32 = 30;

// Configuration and HTTP.

/// Largest file of the configuration, certificates and keys, in bytes. A larger file is refused.
pub const CONFIG_FILE_BYTES: u64 = 1 << 20;
/// Most HTTP connections of one address of the server at a time. One more closes the one that has been
/// silent the longest. A dashboard's viewers, scrapers, and the web servers of the tenants; each buffers
/// at most a head of a request and what its route makes.
pub const HTTP_CONNECTIONS: usize = 512;
/// Longest time for the head of an HTTP request.
pub const HTTP_HEAD_TIME: Duration = Duration::from_secs(5);
/// Longest time for the body of an HTTP request.
pub const HTTP_BODY_TIME: Duration = Duration::from_secs(10);
/// Most bytes of the head of an HTTP request. Also the most bytes that one connection buffers.
pub const HTTP_HEAD_BYTES: usize = 16 << 10;
/// Most streams of server-sent events at a time, of events and of figures together. Each keeps a connection
/// busy for hours, and a busy connection is never closed for another one: most connections must be left for
/// requests.
pub const STREAMS: usize = 64;
/// Most streams of the keys of one tenant: its web servers and some open dashboards.
pub const STREAMS_OF_TENANT: usize = 16;
/// Most streams of the keys of all tenants together, so that the operator always finds a place.
pub const STREAMS_OF_TENANTS: usize = 48;
/// Most streams of the keys of the whole server, so that tenants always find a place.
pub const STREAMS_OF_OPERATORS: usize = 32;
const _: () = assert!(STREAMS * 4 <= HTTP_CONNECTIONS);
const _: () = assert!(STREAMS_OF_TENANTS < STREAMS && STREAMS_OF_OPERATORS < STREAMS);

//! One end of a link. A link connects a client in a room with the server's realtime plane, on UDP
//! 5056 or inside the session.
//!
//! [`Link`] seals and opens datagrams, changes key phases, refuses replays, and counts. On the
//! server it follows the client from address to address. On the client it keeps the path alive and
//! estimates the server's clock. It does not know rooms, payloads or sockets.
//!
//! To drive a link, with `now` always from the same clock:
//!
//! * Call [`Link::handle_input`] with each datagram on the realtime port that names this link, and
//!   [`Link::handle_session_input`] with each datagram inside QUIC.
//! * Call [`Link::handle_timeout`] when [`Link::deadline`] is reached.
//! * To send data, call [`Link::begin`], append message frames, and call [`Link::finish`]. Send the
//!   datagram along [`Link::route`].
//! * After each of these, call [`Link::poll_output`] until it returns `None`, and send each
//!   datagram along its route.
//!
//! [`Route::wire`] returns the part of a finished datagram that goes on the wire.

mod client;
mod client_paths;
mod clock;
mod counters;
mod delays;
mod input;
mod keys;
mod liveness;
mod path;
mod phase;
mod replay;
mod route;
mod server;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use client::ClientSide;
pub use clock::ClockSync;
pub use counters::{DatagramCounts, Exhausted, LinkCounters, Rejected, Withheld};
pub use input::Messages;
use keys::{Direction, PhaseSecret};
pub use keys::{RootSecret, Suite};
pub use path::Path;
use path::Paths;
pub use phase::PhaseLimits;
use phase::{RecvKeys, SendKeys};
pub use replay::{Freshness, ReplayWindow};
pub use route::{Planes, Route};
use server::ServerSide;

use crate::limits::{HEADER, LINK_ID, MAX_BODY, MAX_PAYLOAD, MIN_BODY};
use crate::realtime::control;
pub use crate::realtime::control::Plane;
use crate::realtime::report::{ClientReport, ReportInterval, ServerReport};
use crate::realtime::{ConnectionId, MessageKind, frame};
use crate::time::Time;

/// Most bytes of control frames that [`Link::begin`] may write: a message of the largest size must
/// still fit behind them.
const MAX_CONTROL_BYTES: usize = MIN_BODY - (MAX_PAYLOAD + frame::MESSAGE_FIELDS_BYTES + 3);
const _: () = assert!(client::FRONT_BYTES <= MAX_CONTROL_BYTES);
const _: () = assert!(server::FRONT_BYTES <= MAX_CONTROL_BYTES);

/// An end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkSide {
    /// The client, which sends first, keeps the link alive and has one path.
    Client,
    /// The server, which answers and follows the client's path.
    Server,
}

/// The configuration of one end of a link.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// Whether this end is the client or the server.
    pub side: LinkSide,
    /// The link's id, never reused within its session.
    pub link_id: u32,
    /// The link's AEAD suite.
    pub suite: Suite,
    /// The secret from which the link's keys are derived. No other link may use it.
    pub root: RootSecret,
    /// The link's first connection id.
    pub connection_id: ConnectionId,
    /// The connection id that the client uses once its network has changed.
    pub spare: ConnectionId,
    /// A client's path to the server. Without a path, a client sends and accepts nothing on the
    /// realtime port. A server ignores this and learns the path.
    pub path: Option<Path>,
    /// The planes that a client can use. A server ignores this and follows the client.
    pub planes: Planes,
    /// Most bytes of frames in a datagram that this end sends, from [`MIN_BODY`] to [`MAX_BODY`].
    pub max_body: usize,
    /// The interval of a client's reports until the server steers it. A server ignores this.
    pub report_interval: Duration,
    /// The epoch of a server's clock, a new one after each restart. A client ignores this.
    pub clock_epoch: u32,
    /// The seed of a server's path challenges: 32 bytes from a cryptographic random source. A
    /// client ignores this.
    pub seed: [u8; 32],
}

#[expect(clippy::large_enum_variant, reason = "the server's side is in place, for its speed")]
enum SideState {
    /// On the heap, because a server has thousands of links and no client's side.
    Client(Box<ClientSide>),
    Server(ServerSide),
}

/// One end of a link. The [module](self) describes how to drive it.
pub struct Link {
    link_id: u32,
    send: SendKeys,
    recv: RecvKeys,
    /// The first connection id and the spare.
    ids: [ConnectionId; 2],
    /// The connection id in use. The client chooses it and the server follows.
    id: ConnectionId,
    last_received: Option<Time>,
    /// The response to send to a path challenge, and the path on which the challenge arrived.
    response: Option<(Path, [u8; 8])>,
    counters: LinkCounters,
    max_body: usize,
    side: SideState,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Link {
    /// Creates a link whose packet numbers start at 0. Never use a root secret for a second link.
    pub fn new(now: Time, config: LinkConfig) -> Link {
        Link::with_phase_limits(now, config, PhaseLimits::default())
    }

    /// Creates a link with other phase limits than the protocol's, for tests.
    pub fn with_phase_limits(now: Time, config: LinkConfig, limits: PhaseLimits) -> Link {
        let (send, recv) = match config.side {
            LinkSide::Client => (Direction::Up, Direction::Down),
            LinkSide::Server => (Direction::Down, Direction::Up),
        };
        let secret =
            |direction| PhaseSecret::first(&config.root, config.link_id, direction, config.suite);
        let max_body = config.max_body.clamp(MIN_BODY, MAX_BODY);
        Link {
            link_id: config.link_id,
            send: SendKeys::new(now, secret(send), limits),
            recv: RecvKeys::new(now, secret(recv), limits),
            ids: [config.connection_id, config.spare],
            id: config.connection_id,
            last_received: None,
            response: None,
            counters: LinkCounters::default(),
            max_body,
            side: match config.side {
                LinkSide::Client => SideState::Client(Box::new(ClientSide::new(
                    now,
                    config.path,
                    config.planes,
                    config.report_interval,
                ))),
                LinkSide::Server => SideState::Server(ServerSide::new(
                    now,
                    config.clock_epoch,
                    Paths::new(&config.seed),
                    max_body,
                )),
            },
        }
    }

    /// Handles timeouts: erases an old key, forgets a path that did not answer, or falls back. Call
    /// [`poll_output`](Self::poll_output) afterwards.
    pub fn handle_timeout(&mut self, now: Time) {
        self.recv.handle_timeout(now);
        match &mut self.side {
            SideState::Client(client) => client.handle_timeout(now),
            SideState::Server(server) => server.paths.handle_timeout(now),
        }
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout) and then
    /// [`poll_output`](Self::poll_output) next, if no input arrives before.
    pub fn deadline(&self) -> Option<Time> {
        let exhausted = self.send.exhausted();
        let (to_send, paths) = match &self.side {
            SideState::Client(client) => (client.is_usable().then(|| client.deadline()), None),
            SideState::Server(server) => (server.deadline(), server.paths.deadline(!exhausted)),
        };
        let to_send = to_send.filter(|_| !exhausted);
        [self.recv.deadline(), paths, to_send].into_iter().flatten().min()
    }

    /// Appends the next datagram of the link's own control frames and returns its route, or `None`
    /// if nothing is due. Call until it returns `None`.
    pub fn poll_output(&mut self, now: Time, out: &mut Vec<u8>) -> Option<Route> {
        if self.send.exhausted() {
            return None;
        }
        let start = out.len();
        out.resize(start + HEADER, 0);
        let Some(route) = self.write_control(now, out) else {
            out.truncate(start);
            return None;
        };
        self.complete(now, out, start, route, false).ok().map(|()| route)
    }

    /// Begins a datagram of the application and returns its start in `out`.
    ///
    /// Appends a placeholder for the header, and control frames that are due; on the server the
    /// send time comes first. The caller then appends message frames up to `start + HEADER` plus
    /// [`max_body`](Self::max_body), and, with the tag, not beyond the budget that [`route`](Self::route) returns. A
    /// message of the largest size always fits. The caller must then call [`finish`](Self::finish).
    pub fn begin(&mut self, now: Time, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        out.resize(start + HEADER, 0);
        match &mut self.side {
            SideState::Client(client) => {
                let due = client.due_with_data(now);
                client.write(now, due, &self.recv, out);
            }
            SideState::Server(server) => {
                control::put_send_time(out, now);
                server.write_front(now, &self.recv, out);
            }
        }
        start
    }

    /// Completes the datagram that begins at `start`, to be sent along [`route`](Self::route). On
    /// the realtime plane, seals it in place and appends the tag.
    ///
    /// # Errors
    /// [`Exhausted`] if no packet number is left; the datagram is then cut off `out`.
    pub fn finish(&mut self, now: Time, out: &mut Vec<u8>, start: usize) -> Result<(), Exhausted> {
        debug_assert!(out.len() <= start + HEADER + self.max_body, "the body is too long");
        let Some((route, _)) = self.route() else {
            // There is no route yet. The datagram is sealed nevertheless, because the caller began
            // it.
            return self.send.seal(now, self.id, out, start);
        };
        self.complete(now, out, start, route, true)
    }

    /// Returns the route of data and the bytes that may be sent along it, or `None` while there is
    /// no route. The budget is `usize::MAX` inside QUIC and on a proven path. On an unproven path
    /// the budget is three times the bytes received there, minus the bytes sent there.
    pub fn route(&self) -> Option<(Route, usize)> {
        match &self.side {
            SideState::Client(client) => client.route().map(|route| (route, usize::MAX)),
            SideState::Server(server) => server.route(),
        }
    }

    /// Returns whether a datagram on this path comes from where the client has been heard: the
    /// server's active path. False on a client.
    pub fn is_active_path(&self, path: &Path) -> bool {
        match &self.side {
            SideState::Client(_) => false,
            SideState::Server(server) => {
                server.paths.active().is_some_and(|(active, _)| active == *path)
            }
        }
    }

    /// Returns the most bytes of frames in a datagram that this end sends.
    pub fn max_body(&self) -> usize {
        self.max_body
    }

    /// Asks the client for reports at this interval from now on. Does nothing on a client.
    pub fn steer_reports(&mut self, interval: Duration) {
        if let SideState::Server(server) = &mut self.side {
            server.steer_reports(ReportInterval::new(interval));
        }
    }

    /// Returns whether the link is on the fallback: the session carries its datagrams, because the
    /// realtime port does not answer the client. On a server, whether the client has chosen the
    /// session plane.
    pub fn on_fallback(&self, now: Time) -> bool {
        match &self.side {
            SideState::Client(client) => client.chooser.on_fallback(now),
            SideState::Server(server) => matches!(server.route(), Some((Route::Session, _))),
        }
    }

    /// Returns whether this is a new client's link that still probes the realtime port for the
    /// first time. False on a server.
    pub fn is_undecided(&self, now: Time) -> bool {
        self.client().is_some_and(|client| client.chooser.is_undecided(now))
    }

    /// Returns how often the client has fallen back; 0 on a server.
    pub fn fallbacks(&self) -> u64 {
        self.client().map_or(0, |client| client.chooser.fallbacks())
    }

    /// Returns when the last authentic datagram arrived.
    pub fn last_received(&self) -> Option<Time> {
        self.last_received
    }

    /// Returns whether the server does not answer a client: then the client knows nothing of the
    /// path. One lost datagram is no silence. False on a server.
    pub fn is_silent(&self, now: Time) -> bool {
        self.client().is_some_and(|client| client.unanswered.is_silent(now))
    }

    /// Returns how many datagrams have arrived from the other end on the realtime port.
    pub fn received_counts(&self) -> DatagramCounts {
        DatagramCounts { largest: self.recv.largest(), received: self.recv.received() }
    }

    /// Returns the client's smoothed round trip, without the server's processing time. `None` on a
    /// server and before the first clock sample.
    pub fn rtt(&self) -> Option<Duration> {
        self.client().and_then(|client| client.clock.round_trip())
    }

    /// Returns when the newest sample of [`rtt`](Self::rtt) arrived. `None` on a server, before the
    /// first clock sample, and after a change of the network until the next sample.
    pub fn rtt_sampled_at(&self) -> Option<Time> {
        self.client().and_then(|client| client.clock.round_trip_sampled_at())
    }

    /// Returns the server's clock at `now`: on a client an estimate, or `None` before the first
    /// sample; on a server `now` itself.
    pub fn server_time(&self, now: Time) -> Option<Time> {
        match &self.side {
            SideState::Client(client) => client.clock.server_time(now),
            SideState::Server(_) => Some(now),
        }
    }

    /// Returns how long ago the server sent the datagram that was handled last, in steps of 1 µs and
    /// unambiguous for half an hour. `None` on a server, before the first clock sample, and for a
    /// datagram without a send time.
    pub fn datagram_age(&self, now: Time) -> Option<Duration> {
        self.client().and_then(|client| client.datagram_age(now))
    }

    /// Returns the epoch of the server's clock. Times of two epochs cannot be compared.
    pub fn clock_epoch(&self) -> Option<u32> {
        match &self.side {
            SideState::Client(client) => client.clock.epoch(),
            SideState::Server(server) => Some(server.clock_epoch),
        }
    }

    /// Adds another path of a client to the same server, at most [`crate::limits::MAX_ENDPOINTS`]. The
    /// paths are tried in turn until one answers. Does nothing on a server.
    pub fn add_path(&mut self, path: Path) {
        if let SideState::Client(client) = &mut self.side {
            client.paths.add(path);
        }
    }

    /// Tells a client's link that the client's network has changed. The link sends a datagram at
    /// once, and from now on uses the spare connection id. Returns whether the id changed: `false`
    /// if the spare was in use already, and on a server.
    pub fn use_spare(&mut self) -> bool {
        let SideState::Client(client) = &mut self.side else { return false };
        client.network_changed();
        let changed = self.id != self.ids[1];
        self.id = self.ids[1];
        changed
    }

    /// Counts `n` messages of `kind` that a server did not deliver to this peer. Does nothing on a
    /// client.
    pub fn count_withheld(&mut self, kind: MessageKind, what: Withheld, n: u32) {
        let SideState::Server(server) = &mut self.side else { return };
        let counts = &mut server.report.kinds[kind.index()];
        let count = match what {
            Withheld::Superseded => &mut counts.superseded,
            Withheld::Suppressed => &mut counts.suppressed,
            Withheld::Dropped => &mut counts.dropped,
        };
        *count = count.wrapping_add(n);
    }

    /// Returns the server's newest report; `None` on a server.
    pub fn server_report(&self) -> Option<ServerReport> {
        self.client().and_then(|client| client.server_report)
    }

    /// Returns the client's newest report; `None` on a client.
    pub fn client_report(&self) -> Option<ClientReport> {
        match &self.side {
            SideState::Client(_) => None,
            SideState::Server(server) => server.client_report,
        }
    }

    /// Returns the counters of this end.
    pub fn counters(&self) -> LinkCounters {
        LinkCounters { path_changes: self.path_changes(), ..self.counters }
    }

    /// Returns how often a server's active path has changed; 0 on a client. Its first path is no change.
    pub fn path_changes(&self) -> u64 {
        match &self.side {
            SideState::Client(_) => 0,
            SideState::Server(server) => server.paths.changes(),
        }
    }

    fn client(&self) -> Option<&ClientSide> {
        match &self.side {
            SideState::Client(client) => Some(client),
            SideState::Server(_) => None,
        }
    }

    /// Appends the frames of one control datagram and returns its route.
    fn write_control(&mut self, now: Time, out: &mut Vec<u8>) -> Option<Route> {
        // Only clients receive challenges. The response needs no budget: it is as long as the
        // challenge, whose sender is authentic.
        if let Some((path, data)) = self.response.take() {
            frame::put(out, control::PATH_RESPONSE, &data);
            return Some(Route::Realtime(path));
        }
        match &mut self.side {
            SideState::Client(client) => {
                if client.paths.current().is_some() && client.wants_probe(now) {
                    client.try_next_path();
                    client.write_probe(now, out);
                    return client.paths.current().map(Route::Realtime);
                }
                if !client.is_usable() {
                    return None;
                }
                if client.wants_session_ping(now) {
                    client.write_session_ping(out);
                    return Some(Route::Session);
                }
                if !client.chooser.has_session() && client.wants_hello(now) {
                    client.try_next_path();
                }
                let (route, due) = (client.route()?, client.due(now));
                client.write(now, due, &self.recv, out);
                due.any().then_some(route)
            }
            SideState::Server(server) => {
                if let Some((path, data)) = server.paths.poll_challenge(now) {
                    frame::put(out, control::PATH_CHALLENGE, &data);
                    return Some(Route::Realtime(path));
                }
                let planes = [Plane::Realtime, Plane::Session];
                planes.into_iter().find_map(|plane| server.write(now, plane, &self.recv, out))
            }
        }
    }

    /// Completes a datagram for its plane and counts it as sent.
    fn complete(
        &mut self,
        now: Time,
        out: &mut Vec<u8>,
        start: usize,
        route: Route,
        data: bool,
    ) -> Result<(), Exhausted> {
        let number = self.send.next_number();
        match route {
            Route::Realtime(_) => self.send.seal(now, self.id, out, start)?,
            Route::Session => {
                let id = start + HEADER - LINK_ID..start + HEADER;
                out[id].copy_from_slice(&self.link_id.to_le_bytes());
            }
        }
        let bytes = (route.wire(&out[start..])).len() as u64;
        self.counters.datagrams_out += 1;
        self.counters.bytes_out += bytes;
        match (&mut self.side, route) {
            (SideState::Client(client), Route::Realtime(_)) => client.sent(now, data, Some(number)),
            // An empty session ping does not count as a keep-alive.
            (SideState::Client(client), Route::Session) if out.len() == start + HEADER => {
                client.session_last_sent = now;
            }
            (SideState::Client(client), Route::Session) => client.sent(now, data, None),
            (SideState::Server(server), Route::Realtime(path)) => server.paths.sent(path, bytes),
            (SideState::Server(_), Route::Session) => {}
        }
        if let SideState::Server(server) = &mut self.side
            && data
        {
            server.sent_data();
        }
        Ok(())
    }
}

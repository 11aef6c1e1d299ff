//! One link of the realtime plane: a peer's membership of one room on UDP 5056, for both ends.
//!
//! [`Link`] seals and opens datagrams, moves through key phases, refuses what was seen before,
//! follows the peer from address to address (server), keeps the path alive and the clocks in step
//! (client), and counts. It knows nothing of rooms, of what a message says, or of sockets.
//!
//! Driving it, with `now` from the caller's one clock:
//!
//! * [`Link::handle_input`] with every datagram that names this link, and
//!   [`Link::handle_session_input`] with every one that came inside QUIC; then drain `poll_output`;
//! * [`Link::handle_timeout`] when [`Link::deadline`] is reached; then drain `poll_output`;
//! * [`Link::poll_output`] until `None`: what the link itself wants to say;
//! * [`Link::begin`], the caller's message frames, [`Link::finish`]: the application's datagrams,
//!   sent along [`Link::route`]. Drain `poll_output` after them as well.
//!
//! What goes on the wire of a finished datagram is for its [`Route`] to say.

mod client;
mod clock;
mod counters;
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
pub use counters::{Exhausted, LinkCounters, Rejected, Withheld};
pub use input::Messages;
use keys::{Direction, PhaseSecret};
pub use keys::{RootSecret, Suite};
pub use path::Path;
use path::Paths;
pub use phase::PhaseLimits;
use phase::{RecvKeys, SendKeys};
pub use replay::{Freshness, ReplayWindow};
pub use route::Route;
use server::ServerSide;

use crate::limits::{HEADER, LINK_ID, MAX_BODY, MAX_PAYLOAD};
pub use crate::realtime::control::Plane;
use crate::realtime::control::{self, ClientReport, KeepAlive, ServerReport};
use crate::realtime::{ConnectionId, MessageKind, frame};
use crate::time::Time;

/// Bytes of control frames that [`Link::begin`] puts in front of the application's, at most: a
/// message of the largest size must still fit behind them.
const MAX_CONTROL_BYTES: usize = MAX_BODY - (MAX_PAYLOAD + frame::MESSAGE_FIELDS_BYTES + 3);
// The server's send time, clock reply and acknowledgement; the client's keep-alive, clock request and
// report.
const _: () = assert!(server::FRONT_BYTES <= MAX_CONTROL_BYTES);
const _: () = assert!(KeepAlive::FRAME_BYTES + 10 + 22 <= MAX_CONTROL_BYTES);

/// Which end of the link this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkSide {
    /// Speaks first, keeps the link alive, has one path.
    Client,
    /// Answers, and follows the client's path.
    Server,
}

/// What a link is made of: the grant, and the caller's own part.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// Which end this is.
    pub side: LinkSide,
    /// Number of the link within its session, never used twice there.
    pub link_id: u32,
    /// The AEAD.
    pub suite: Suite,
    /// Where the keys come from; of this link alone.
    pub root: RootSecret,
    /// The link's name on the wire.
    pub connection_id: ConnectionId,
    /// Its second name, for when the client's network changes.
    pub spare: ConnectionId,
    /// Client: the server's endpoint; without one nothing is sent or accepted. Server: ignored, it
    /// learns the path.
    pub path: Option<Path>,
    /// Client: the session carries QUIC datagrams, so the link begins on them and falls back to
    /// them. Server: ignored, it follows the client.
    pub fallback: bool,
    /// Server: the epoch of its clock, another one after each restart. Client: ignored.
    pub clock_epoch: u32,
    /// The caller's randomness, from a cryptographic source: path challenges come from it. Server
    /// only.
    pub seed: [u8; 32],
}

enum SideState {
    Client(ClientSide),
    Server(ServerSide),
}

/// One end of a link. See the [module](self) for how to drive it.
pub struct Link {
    link_id: u32,
    send: SendKeys,
    recv: RecvKeys,
    ids: [ConnectionId; 2],
    /// The one in use: the client's choice, which the server follows.
    id: ConnectionId,
    last_received: Option<Time>,
    /// A challenge to answer, and where it came from.
    response: Option<(Path, [u8; 8])>,
    counters: LinkCounters,
    side: SideState,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Link {
    /// A link whose packet numbers start at 0. A root must never be used for a second one.
    pub fn new(now: Time, config: LinkConfig) -> Link {
        Link::with_phase_limits(now, config, PhaseLimits::default())
    }

    /// The same with other phase limits than the protocol's, for tests.
    pub fn with_phase_limits(now: Time, config: LinkConfig, limits: PhaseLimits) -> Link {
        let (send, recv) = match config.side {
            LinkSide::Client => (Direction::Up, Direction::Down),
            LinkSide::Server => (Direction::Down, Direction::Up),
        };
        let secret = |way| PhaseSecret::first(&config.root, config.link_id, way, config.suite);
        Link {
            link_id: config.link_id,
            send: SendKeys::new(now, secret(send), limits),
            recv: RecvKeys::new(secret(recv), limits),
            ids: [config.connection_id, config.spare],
            id: config.connection_id,
            last_received: None,
            response: None,
            counters: LinkCounters::default(),
            side: match config.side {
                LinkSide::Client => {
                    SideState::Client(ClientSide::new(now, config.path, config.fallback))
                }
                LinkSide::Server => SideState::Server(ServerSide::new(
                    now,
                    config.clock_epoch,
                    Paths::new(&config.seed),
                )),
            },
        }
    }

    /// Does what has become due by itself: erases an old key, forgets a path that did not answer,
    /// falls back. Then drain [`poll_output`](Self::poll_output).
    pub fn handle_timeout(&mut self, now: Time) {
        self.recv.handle_timeout(now);
        match &mut self.side {
            SideState::Client(client) => client.handle_timeout(now),
            SideState::Server(server) => server.paths.handle_timeout(now),
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) and then
    /// [`poll_output`](Self::poll_output) next, if nothing happens before.
    pub fn deadline(&self) -> Option<Time> {
        let silent = self.send.exhausted();
        let (to_send, paths) = match &self.side {
            SideState::Client(client) => (client.path.map(|_| client.deadline()), None),
            SideState::Server(server) => (server.deadline(), server.paths.deadline(!silent)),
        };
        let to_send = to_send.filter(|_| !silent);
        [self.recv.deadline(), paths, to_send].into_iter().flatten().min()
    }

    /// Appends the next datagram that the link itself wants to send and says where it goes; `None`
    /// when there is nothing. Call until `None`.
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

    /// Starts a datagram for the application: appends a placeholder for the header and the control
    /// frames that can travel along (on the server the send time first), and returns where it
    /// starts. The caller appends message frames up to `start + HEADER + MAX_BODY`, and at most
    /// what [`route`](Self::route) allows less the tag; then it must call
    /// [`finish`](Self::finish). A message of the largest size always fits.
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

    /// Closes the datagram begun at `start` in place; it goes along [`route`](Self::route), sealed
    /// and with its tag appended where that is the realtime port. On `Err` the datagram is cut off
    /// `out`.
    pub fn finish(&mut self, now: Time, out: &mut Vec<u8>, start: usize) -> Result<(), Exhausted> {
        debug_assert!(out.len() <= start + HEADER + MAX_BODY, "the body is too long");
        let Some((route, _)) = self.route() else {
            // Nowhere to go: sealed all the same, the caller has asked for it.
            return self.send.seal(now, self.id, out, start);
        };
        self.complete(now, out, start, route, true)
    }

    /// Where data goes now, and how many bytes of datagrams it may take: `usize::MAX` inside QUIC
    /// and once a path has proven itself, before that what is left of three times what came from
    /// there. `None`: nowhere yet.
    pub fn route(&self) -> Option<(Route, usize)> {
        match &self.side {
            SideState::Client(client) => client.route().map(|route| (route, usize::MAX)),
            SideState::Server(server) => server.route(),
        }
    }

    /// Client: the realtime port does not answer, or not any more, and the session carries its
    /// datagrams. Server: the client has chosen so.
    pub fn on_fallback(&self, now: Time) -> bool {
        match &self.side {
            SideState::Client(client) => client.chooser.on_fallback(now),
            SideState::Server(server) => matches!(server.route(), Some((Route::Session, _))),
        }
    }

    /// Client: a new link that is still asking the realtime port for the first time.
    pub fn is_undecided(&self, now: Time) -> bool {
        self.client().is_some_and(|client| client.chooser.is_undecided(now))
    }

    /// Client: how often the realtime port went silent.
    pub fn fallbacks(&self) -> u64 {
        self.client().map_or(0, |client| client.chooser.fallbacks())
    }

    /// When the last authentic datagram came.
    pub fn last_received(&self) -> Option<Time> {
        self.last_received
    }

    /// Client: the smoothed round trip, without the server's own time. `None` on a server and
    /// before the first clock sample.
    pub fn rtt(&self) -> Option<Duration> {
        self.client().and_then(|client| client.clock.round_trip())
    }

    /// The server's clock at `now`: on the client an estimate (`None` before the first sample), on
    /// the server `now` itself.
    pub fn server_time(&self, now: Time) -> Option<Time> {
        match &self.side {
            SideState::Client(client) => client.clock.server_time(now),
            SideState::Server(_) => Some(now),
        }
    }

    /// The epoch of the server's clock; times of two epochs do not compare.
    pub fn clock_epoch(&self) -> Option<u32> {
        match &self.side {
            SideState::Client(client) => client.clock.epoch(),
            SideState::Server(server) => Some(server.clock_epoch),
        }
    }

    /// Client: its network has changed, so it takes its spare id and speaks at once. `false` when
    /// the spare is in use already (it still speaks at once), and on a server.
    pub fn use_spare(&mut self) -> bool {
        let SideState::Client(client) = &mut self.side else { return false };
        client.network_changed();
        let fresh = self.id != self.ids[1];
        self.id = self.ids[1];
        fresh
    }

    /// Server: `n` messages of `kind` did not go to this peer.
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

    /// Client: the newest report of the server.
    pub fn server_report(&self) -> Option<ServerReport> {
        self.client().and_then(|client| client.server_report)
    }

    /// Server: the newest report of the client.
    pub fn client_report(&self) -> Option<ClientReport> {
        match &self.side {
            SideState::Client(_) => None,
            SideState::Server(server) => server.client_report,
        }
    }

    /// What this end has counted.
    pub fn counters(&self) -> LinkCounters {
        let path_changes = match &self.side {
            SideState::Client(_) => 0,
            SideState::Server(server) => server.paths.changes(),
        };
        LinkCounters { path_changes, ..self.counters }
    }

    fn client(&self) -> Option<&ClientSide> {
        match &self.side {
            SideState::Client(client) => Some(client),
            SideState::Server(_) => None,
        }
    }

    /// Appends the frames of one datagram of the link's own; where it goes.
    fn write_control(&mut self, now: Time, out: &mut Vec<u8>) -> Option<Route> {
        // Only clients are asked, and they need not fear to amplify anything: the answer is as long
        // as the question and its sender is authentic.
        if let Some((path, data)) = self.response.take() {
            frame::put(out, frame::PATH_RESPONSE, &data);
            return Some(Route::Realtime(path));
        }
        match &mut self.side {
            SideState::Client(client) => {
                let path = client.path?;
                if client.wants_probe(now) {
                    client.write_probe(now, out);
                    return Some(Route::Realtime(path));
                }
                if client.wants_session_ping(now) {
                    client.write_session_ping(out);
                    return Some(Route::Session);
                }
                let (route, due) = (client.route()?, client.due(now));
                client.write(now, due, &self.recv, out);
                due.any().then_some(route)
            }
            SideState::Server(server) => {
                if let Some((path, data)) = server.paths.poll_challenge(now) {
                    frame::put(out, frame::PATH_CHALLENGE, &data);
                    return Some(Route::Realtime(path));
                }
                let planes = [Plane::Realtime, Plane::Session];
                planes.into_iter().find_map(|plane| server.write(now, plane, &self.recv, out))
            }
        }
    }

    /// Completes a datagram for its plane and takes it as sent.
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
            // A sign of life takes no keep-alive's place.
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

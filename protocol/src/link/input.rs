//! Receiving: opens a datagram, handles the link's control frames, and returns the application's
//! messages.

use super::counters::Rejected;
use super::{Link, Path, Plane, SideState};
use crate::codec::{Reader, Truncated};
use crate::limits::MAX_BODY;
use crate::realtime::control::{self, Ack, ClockReply, ClockRequest, KeepAlive};
use crate::realtime::report::{ClientReport, ReportInterval, ServerReport};
use crate::realtime::{Frame, Frames, Header, Message};
use crate::time::Time;

/// An iterator over the application's messages of one datagram. The whole body has been validated.
#[derive(Clone, Debug)]
pub struct Messages<'d>(Frames<'d>);

impl<'d> Iterator for Messages<'d> {
    type Item = Message<'d>;

    fn next(&mut self) -> Option<Message<'d>> {
        self.0.find_map(|frame| match frame {
            Ok(Frame::Message(message)) => Some(message),
            _ => None,
        })
    }
}

#[cfg(test)]
impl Messages<'_> {
    /// Returns the types of all frames, those of the link included.
    pub(super) fn frame_types(self) -> impl Iterator<Item = u8> {
        self.0.flatten().map(|frame| match frame {
            Frame::Message(message) => message.kind as u8,
            Frame::Other(kind, _) => kind,
        })
    }
}

/// A control frame of the link.
enum ControlFrame {
    KeepAlive(KeepAlive),
    Ack(Ack),
    ClockRequest(ClockRequest),
    ClockReply(ClockReply),
    ClientReport(ClientReport),
    ServerReport(ServerReport),
    PathChallenge([u8; 8]),
    PathResponse([u8; 8]),
    SendTime(u32),
    ReportInterval(ReportInterval),
    /// A frame of a type that this version does not know, or that this end does not receive.
    Unknown,
}

impl ControlFrame {
    /// Reads a frame as the client or the server receives it. Ignores bytes behind the known
    /// fields, which belong to later versions.
    fn parse(to_client: bool, kind: u8, body: &[u8]) -> Result<ControlFrame, Truncated> {
        let mut r = Reader::new(body);
        Ok(match (kind, to_client) {
            (control::KEEP_ALIVE, _) => ControlFrame::KeepAlive(KeepAlive::parse(body)?),
            (control::ACK, true) => ControlFrame::Ack(Ack::parse(body)?),
            (control::CLOCK, false) => ControlFrame::ClockRequest(ClockRequest::parse(body)?),
            (control::CLOCK, true) => ControlFrame::ClockReply(ClockReply::parse(body)?),
            (control::REPORT, false) => ControlFrame::ClientReport(ClientReport::parse(body)?),
            (control::REPORT, true) => ControlFrame::ServerReport(ServerReport::parse(body)?),
            (control::PATH_CHALLENGE, _) => ControlFrame::PathChallenge(r.array()?),
            (control::PATH_RESPONSE, _) => ControlFrame::PathResponse(r.array()?),
            (control::SEND_TIME, true) => ControlFrame::SendTime(r.u32()?),
            (control::REPORT_INTERVAL, true) => {
                ControlFrame::ReportInterval(ReportInterval::parse(body)?)
            }
            _ => ControlFrame::Unknown,
        })
    }
}

/// Validates a whole body before any of its frames takes effect. Returns whether it has messages.
fn validate(to_client: bool, body: &[u8]) -> Result<bool, Rejected> {
    let (mut messages, mut frames) = (false, Frames::new(body));
    while let Some(frame) = frames.read_raw().map_err(|_| Rejected::Malformed)? {
        if !frame.is_message() {
            ControlFrame::parse(to_client, frame.kind, frame.body)
                .map_err(|_| Rejected::Malformed)?;
        } else if !frame.is_whole_message() {
            return Err(Rejected::Malformed);
        } else {
            messages = true;
        }
    }
    Ok(messages)
}

/// Facts about an authentic datagram and its arrival.
#[derive(Clone, Copy)]
struct DatagramArrival {
    now: Time,
    /// The path on the realtime port; `None` for a datagram inside QUIC.
    path: Option<Path>,
    /// The two ECN bits of the IP header.
    ecn: u8,
    /// Length of the datagram.
    bytes: u64,
    /// Whether the packet number is larger than all before; always true inside QUIC.
    highest: bool,
}

impl DatagramArrival {
    fn plane(&self) -> Plane {
        if self.path.is_some() { Plane::Realtime } else { Plane::Session }
    }
}

impl Link {
    /// Opens a datagram in place, handles the link's control frames and returns the application's
    /// messages. `now` is when the datagram arrived at the socket; `ecn` are the two ECN bits of
    /// its IP header.
    ///
    /// # Errors
    ///
    /// Returns why the datagram was refused, and counts it. The link is otherwise unchanged, except
    /// that [`Rejected::Malformed`] uses up the packet number, because the datagram was authentic.
    /// The datagram's bytes are destroyed.
    pub fn handle_input<'d>(
        &mut self,
        now: Time,
        path: Path,
        ecn: u8,
        datagram: &'d mut [u8],
    ) -> Result<Messages<'d>, Rejected> {
        let messages = self.open(now, path, ecn, datagram);
        if let Err(reason) = messages {
            self.counters.reject(reason);
        }
        messages
    }

    fn open<'d>(
        &mut self,
        now: Time,
        path: Path,
        ecn: u8,
        datagram: &'d mut [u8],
    ) -> Result<Messages<'d>, Rejected> {
        let bytes = datagram.len() as u64;
        let header = Header::parse(datagram).ok_or(Rejected::Header)?;
        if !self.ids.contains(&header.connection_id) {
            return Err(Rejected::ConnectionId);
        }
        if self.client().is_some_and(|client| !client.paths.contain(path.remote)) {
            return Err(Rejected::Path);
        }
        let opened = self.recv.open(now, &header, datagram)?;
        let messages = validate(self.client().is_some(), opened.body)?;
        if let SideState::Client(client) = &mut self.side {
            client.answered_on(path.remote);
        }
        let arrival =
            DatagramArrival { now, path: Some(path), ecn, bytes, highest: opened.highest };
        if arrival.highest && matches!(self.side, SideState::Server(_)) {
            self.id = header.connection_id;
        }
        Ok(self.take(&arrival, messages, opened.body))
    }

    /// Takes a datagram that arrived inside the link's session: the link's id, and frames. QUIC has
    /// authenticated the datagram and removed duplicates.
    ///
    /// # Errors
    ///
    /// Returns why the datagram was refused, and counts it. The link is otherwise unchanged.
    pub fn handle_session_input<'d>(
        &mut self,
        now: Time,
        datagram: &'d [u8],
    ) -> Result<Messages<'d>, Rejected> {
        let messages = self.open_session(now, datagram);
        if let Err(reason) = messages {
            self.counters.reject(reason);
        }
        messages
    }

    fn open_session<'d>(
        &mut self,
        now: Time,
        datagram: &'d [u8],
    ) -> Result<Messages<'d>, Rejected> {
        let (id, body) = datagram.split_first_chunk().ok_or(Rejected::Header)?;
        if u32::from_le_bytes(*id) != self.link_id {
            return Err(Rejected::ConnectionId);
        }
        // An empty body is valid: a session ping.
        if body.len() > MAX_BODY {
            return Err(Rejected::Header);
        }
        let messages = validate(self.client().is_some(), body)?;
        let bytes = datagram.len() as u64;
        let arrival = DatagramArrival { now, path: None, ecn: 0, bytes, highest: true };
        Ok(self.take(&arrival, messages, body))
    }

    /// Handles the control frames of a validated body, and returns its messages. `messages` is
    /// whether the body has any.
    #[inline]
    fn take<'d>(
        &mut self,
        arrival: &DatagramArrival,
        messages: bool,
        body: &'d [u8],
    ) -> Messages<'d> {
        self.note_received(arrival, messages);
        let mut frames = Frames::new(body);
        while let Ok(Some(frame)) = frames.read_raw() {
            if !frame.is_message() {
                self.handle_control(arrival, frame.kind, frame.body);
            }
        }
        Messages(Frames::new(body))
    }

    #[inline]
    fn note_received(&mut self, arrival: &DatagramArrival, messages: bool) {
        let &DatagramArrival { now, path, ecn, bytes, highest } = arrival;
        self.last_received = Some(now);
        self.counters.datagrams_in += 1;
        self.counters.bytes_in += bytes;
        match (&mut self.side, path) {
            (SideState::Client(client), _) => {
                client.received(now, arrival.plane(), ecn, bytes, messages);
            }
            (SideState::Server(server), Some(path)) => {
                server.paths.received(now, path, bytes, highest);
                if messages {
                    server.messages_received(now);
                }
            }
            (SideState::Server(_), None) => {}
        }
    }

    /// Returns how many of the client's reports could not be true since the last call; 0 on a client.
    pub fn take_false_reports(&mut self) -> u64 {
        match &mut self.side {
            SideState::Client(_) => 0,
            SideState::Server(server) => std::mem::take(&mut server.false_reports),
        }
    }

    fn handle_control(&mut self, arrival: &DatagramArrival, kind: u8, body: &[u8]) {
        let Ok(control) = ControlFrame::parse(self.client().is_some(), kind, body) else { return };
        let &DatagramArrival { now, path, highest, .. } = arrival;
        let plane = arrival.plane();
        match (control, &mut self.side) {
            // Only the realtime port has paths.
            (ControlFrame::PathChallenge(data), SideState::Client(c)) => {
                self.response = path.map(|path| (path, data));
                c.request_session_ping();
            }
            (ControlFrame::PathResponse(data), SideState::Server(s)) => {
                if let Some(path) = path {
                    s.paths.challenge_answered(path, &data);
                }
            }
            (ControlFrame::ClockReply(reply), SideState::Client(c)) => {
                c.clock_reply(now, &reply);
                // The server answers on the plane of the request.
                if plane == Plane::Realtime {
                    self.send.acknowledge_sent_at(now, Time::from_micros(reply.client_sent));
                }
            }
            (ControlFrame::SendTime(micros), SideState::Client(c)) => c.send_time(now, micros),
            (ControlFrame::ReportInterval(interval), SideState::Client(c)) if highest => {
                c.steer_reports(interval);
            }
            (ControlFrame::ServerReport(report), SideState::Client(c)) => {
                self.send.acknowledge_reported(now, report.largest, report.received);
                if highest {
                    c.server_report = Some(report);
                }
            }
            (ControlFrame::ClientReport(report), SideState::Server(s)) => {
                self.send.acknowledge_reported(now, report.largest, report.received);
                if highest {
                    s.take_report(report, self.send.next_number());
                }
            }
            (ControlFrame::KeepAlive(answer), SideState::Client(c)) => {
                c.keep_alive_answered(now, plane, answer)
            }
            (ControlFrame::KeepAlive(request), SideState::Server(s)) => {
                s.keep_alive(plane, request)
            }
            (ControlFrame::Ack(ack), SideState::Client(c)) => {
                self.send.acknowledge(now, ack.largest);
                c.acknowledged(ack.largest);
            }
            (ControlFrame::ClockRequest(request), SideState::Server(s)) => {
                s.clock_request(plane, now, request.client_sent);
            }
            _ => {}
        }
    }
}

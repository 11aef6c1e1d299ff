//! Receiving: from a datagram to the link's own frames and the application's messages.

use super::counters::Rejected;
use super::{Link, Path, Side};
use crate::codec::{Reader, Truncated};
use crate::realtime::control::{ClientReport, ClockReply, ClockRequest, ServerReport};
use crate::realtime::{Frame, Frames, Header, Message, frame};
use crate::time::Time;

/// The application's messages of one datagram, in order. The body has been validated as a whole.
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

/// A frame of the link's own.
enum Control {
    KeepAlive,
    ClockRequest(ClockRequest),
    ClockReply(ClockReply),
    ClientReport(ClientReport),
    ServerReport(ServerReport),
    PathChallenge([u8; 8]),
    PathResponse([u8; 8]),
    SendTime(u32),
    /// Of a type this version does not know, or not meant for this end.
    Unknown,
}

impl Control {
    /// Reads a frame as the client (or the server) gets it. Bytes behind the known ones are left to
    /// later versions.
    fn parse(to_client: bool, kind: u8, body: &[u8]) -> Result<Control, Truncated> {
        let mut r = Reader::new(body);
        Ok(match (kind, to_client) {
            (frame::KEEP_ALIVE, _) => Control::KeepAlive,
            (frame::CLOCK, false) => Control::ClockRequest(ClockRequest::parse(body)?),
            (frame::CLOCK, true) => Control::ClockReply(ClockReply::parse(body)?),
            (frame::REPORT, false) => Control::ClientReport(ClientReport::parse(body)?),
            (frame::REPORT, true) => Control::ServerReport(ServerReport::parse(body)?),
            (frame::PATH_CHALLENGE, _) => Control::PathChallenge(r.array()?),
            (frame::PATH_RESPONSE, _) => Control::PathResponse(r.array()?),
            (frame::SEND_TIME, true) => Control::SendTime(r.u32()?),
            _ => Control::Unknown,
        })
    }
}

/// Checks a whole body before any of it takes effect; whether it has messages.
fn validate(to_client: bool, body: &[u8]) -> Result<bool, Rejected> {
    let mut messages = false;
    for frame in Frames::new(body) {
        match frame.map_err(|_| Rejected::Malformed)? {
            Frame::Message(_) => messages = true,
            Frame::Other(kind, body) => {
                Control::parse(to_client, kind, body).map_err(|_| Rejected::Malformed)?;
            }
        }
    }
    Ok(messages)
}

/// Where and when a datagram came.
#[derive(Clone, Copy)]
struct Arrival {
    now: Time,
    path: Path,
    ecn: u8,
    bytes: u64,
    highest: bool,
}

impl Link {
    /// Opens a datagram in place, takes the link's own frames and gives the application's messages.
    /// `now` is when it arrived at the socket; `ecn` the two ECN bits of its IP header.
    ///
    /// # Errors
    ///
    /// Every [`Rejected`] is counted and leaves the link as it was, but for
    /// [`Rejected::Malformed`], whose packet number is spent: its sender was genuine. The datagram's
    /// bytes are worthless afterwards.
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
        if self.client().is_some_and(|c| c.path.map(|p| p.remote) != Some(path.remote)) {
            return Err(Rejected::Path);
        }
        let opened = self.recv.open(now, &header, datagram)?;
        let messages = validate(self.client().is_some(), opened.body)?;
        let arrival = Arrival { now, path, ecn, bytes, highest: opened.highest };
        self.heard(&arrival, &header, messages);
        for frame in Frames::new(opened.body) {
            if let Ok(Frame::Other(kind, body)) = frame {
                self.handle_control(&arrival, kind, body);
            }
        }
        Ok(Messages(Frames::new(opened.body)))
    }

    fn heard(&mut self, arrival: &Arrival, header: &Header, messages: bool) {
        self.last_heard = Some(arrival.now);
        self.counters.datagrams_in += 1;
        self.counters.bytes_in += arrival.bytes;
        match &mut self.side {
            Side::Client(client) => client.heard(arrival.now, arrival.ecn, messages),
            Side::Server(server) => {
                server.paths.heard(arrival.now, arrival.path, arrival.bytes, arrival.highest);
                if arrival.highest {
                    self.id = header.connection_id;
                }
            }
        }
    }

    fn handle_control(&mut self, arrival: &Arrival, kind: u8, body: &[u8]) {
        let Ok(control) = Control::parse(self.client().is_some(), kind, body) else { return };
        match (control, &mut self.side) {
            (Control::PathChallenge(data), Side::Client(_)) => {
                self.response = Some((arrival.path, data));
            }
            (Control::ClockReply(reply), Side::Client(c)) => {
                c.clock.handle_reply(arrival.now, &reply);
            }
            (Control::SendTime(micros), Side::Client(c)) => c.send_time(arrival.now, micros),
            (Control::ServerReport(report), Side::Client(c)) if arrival.highest => {
                c.server_report = Some(report);
            }
            (Control::ClientReport(report), Side::Server(s)) if arrival.highest => {
                s.client_report = Some(report);
            }
            (Control::KeepAlive, Side::Server(s)) => s.keep_alive(),
            (Control::ClockRequest(request), Side::Server(s)) => {
                s.clock_request(arrival.now, request.client_sent);
            }
            (Control::PathResponse(data), Side::Server(s)) => s.paths.answered(arrival.path, &data),
            _ => {}
        }
    }
}

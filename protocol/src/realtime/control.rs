//! Bodies of the frames that belong to the link itself: clock, report, path, send time.

use super::frame::{self, MessageKind};
use crate::codec::{Reader, Truncated};
use crate::time::Time;

/// What a datagram travels on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Plane {
    /// The realtime port, sealed.
    Realtime = 0,
    /// A QUIC datagram of the session, its body unsealed behind the link's id.
    Session = 1,
}

/// Which plane a client has chosen for both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaneChoice {
    /// Counts the client's changes, wrapping: an older choice that arrives late changes nothing.
    pub change: u16,
    /// The plane.
    pub plane: Plane,
}

/// A client wants to hear something; the server's answer repeats what the client said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepAlive {
    /// `None` (an empty body): the client has no session plane to choose.
    pub choice: Option<PlaneChoice>,
}

/// The server has received messages over the realtime port up to this packet number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Largest packet number received.
    pub largest: u32,
}

/// A client asks for the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockRequest {
    /// The client's own clock when it sent this, µs.
    pub client_sent: u64,
}

/// The server's answer: three of NTP's four times (RFC 5905), the fourth is the client's arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReply {
    /// From the request.
    pub client_sent: u64,
    /// The server's clock when the request arrived at its socket, µs.
    pub server_received: u64,
    /// The server's clock when it sent this, µs.
    pub server_sent: u64,
    /// Changes when the server restarts: times of two epochs do not compare.
    pub epoch: u32,
}

/// What a client received on its link, cumulative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientReport {
    /// Largest packet number received.
    pub largest: u32,
    /// Datagrams received.
    pub received: u32,
    /// Least delay against the datagrams' send times since the last report, µs; the error of the
    /// clock's offset is in it, so it can be negative.
    pub delay_min: i32,
    /// Mean delay likewise, µs.
    pub delay_mean: i32,
    /// Datagrams that came with the ECN mark "congestion experienced".
    pub congestion_marks: u32,
}

/// What became of messages that this link did not get, per [`MessageKind`], cumulative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindCounts {
    /// Past their age limit, a newer one makes up for them.
    pub superseded: u32,
    /// Withheld on purpose: over the recipient's budget, or out of its interest.
    pub suppressed: u32,
    /// Dropped because a limit of the server was reached.
    pub dropped: u32,
}

/// What the server did on a link, cumulative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerReport {
    /// Largest packet number received from the client.
    pub largest: u32,
    /// Datagrams received from the client.
    pub received: u32,
    /// Indexed by [`MessageKind::index`].
    pub kinds: [KindCounts; MessageKind::ALL.len()],
}

impl KeepAlive {
    /// Bytes of the longest frame.
    pub const FRAME: usize = 5;

    /// Reads the body. A plane of a later version is none that this one could choose.
    pub fn parse(body: &[u8]) -> Result<Self, Truncated> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        let mut r = Reader::new(body);
        let (change, plane) = (r.u16()?, r.u8()?);
        let plane = [Plane::Realtime, Plane::Session].into_iter().find(|p| *p as u8 == plane);
        Ok(Self { choice: plane.map(|plane| PlaneChoice { change, plane }) })
    }

    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Some(PlaneChoice { change, plane }) = self.choice else {
            return frame::put(out, frame::KEEP_ALIVE, &[]);
        };
        let [low, high] = change.to_le_bytes();
        frame::put(out, frame::KEEP_ALIVE, &[low, high, plane as u8]);
    }
}

impl Ack {
    /// Bytes of the whole frame.
    pub const FRAME: usize = 6;

    /// Reads the body.
    pub fn parse(body: &[u8]) -> Result<Self, Truncated> {
        Ok(Self { largest: Reader::new(body).u32()? })
    }

    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        frame::put(out, frame::ACK, &self.largest.to_le_bytes());
    }
}

impl ClockRequest {
    /// Reads the body.
    pub fn parse(body: &[u8]) -> Result<Self, Truncated> {
        Ok(Self { client_sent: Reader::new(body).u64()? })
    }

    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        frame::put(out, frame::CLOCK, &self.client_sent.to_le_bytes());
    }
}

impl ClockReply {
    /// Reads the body.
    pub fn parse(body: &[u8]) -> Result<Self, Truncated> {
        let mut r = Reader::new(body);
        Ok(Self {
            client_sent: r.u64()?,
            server_received: r.u64()?,
            server_sent: r.u64()?,
            epoch: r.u32()?,
        })
    }

    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        frame::put_header(out, frame::CLOCK, 28);
        for time in [self.client_sent, self.server_received, self.server_sent] {
            out.extend_from_slice(&time.to_le_bytes());
        }
        out.extend_from_slice(&self.epoch.to_le_bytes());
    }
}

impl ClientReport {
    /// Reads the body.
    pub fn parse(body: &[u8]) -> Result<Self, Truncated> {
        let mut r = Reader::new(body);
        Ok(Self {
            largest: r.u32()?,
            received: r.u32()?,
            delay_min: r.u32()? as i32,
            delay_mean: r.u32()? as i32,
            congestion_marks: r.u32()?,
        })
    }

    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        frame::put_header(out, frame::REPORT, 20);
        let (min, mean) = (self.delay_min as u32, self.delay_mean as u32);
        for word in [self.largest, self.received, min, mean, self.congestion_marks] {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }
}

impl ServerReport {
    /// Bytes of the whole frame.
    pub const FRAME: usize = 2 + Self::BODY;
    const BODY: usize = 8 + 12 * MessageKind::ALL.len();

    /// Reads the body.
    pub fn parse(body: &[u8]) -> Result<Self, Truncated> {
        let mut r = Reader::new(body);
        let mut report = Self { largest: r.u32()?, received: r.u32()?, ..Self::default() };
        for kind in &mut report.kinds {
            *kind = KindCounts { superseded: r.u32()?, suppressed: r.u32()?, dropped: r.u32()? };
        }
        Ok(report)
    }

    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        frame::put_header(out, frame::REPORT, Self::BODY);
        out.extend_from_slice(&self.largest.to_le_bytes());
        out.extend_from_slice(&self.received.to_le_bytes());
        for kind in &self.kinds {
            for count in [kind.superseded, kind.suppressed, kind.dropped] {
                out.extend_from_slice(&count.to_le_bytes());
            }
        }
    }
}

/// Appends a send-time frame: the server's clock in µs modulo 2^32.
pub fn put_send_time(out: &mut Vec<u8>, now: Time) {
    frame::put(out, frame::SEND_TIME, &(now.as_micros() as u32).to_le_bytes());
}

/// Bytes of a send-time frame.
pub const SEND_TIME_FRAME: usize = 6;

//! The link's control frames: their types, and the bodies of keep-alive, acknowledgement, clock and
//! send time. The bodies of reports are in `report.rs`.

use super::frame;
use crate::codec::{Reader, Truncated};
use crate::time::Time;

/// A clock request from the client, or a clock reply from the server.
pub const CLOCK: u8 = 7;
/// A link report.
pub const REPORT: u8 = 8;
/// A keep-alive. The server answers each on the plane on which it arrived. See
/// [`KeepAlive`].
pub const KEEP_ALIVE: u8 = 9;
/// A path challenge.
pub const PATH_CHALLENGE: u8 = 10;
/// The response to a path challenge.
pub const PATH_RESPONSE: u8 = 11;
/// The time on the server's clock at which the datagram was sent.
pub const SEND_TIME: u8 = 12;
/// The server's acknowledgement of messages on the realtime port.
pub const ACK: u8 = 13;
/// Reserved: the client's viewpoint, see [`super::interest`].
pub const VIEWPOINT: u8 = 14;
/// Reserved: where the peers of the room are, see [`super::interest`].
pub const PRESENCE: u8 = 15;
/// Reserved: the nearest ring in which anybody receives this client.
pub const BEST_RING: u8 = 16;
/// The interval at which the server wants the client's reports.
pub const REPORT_INTERVAL: u8 = 17;

/// The plane on which a link's datagram travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Plane {
    /// The realtime port; the datagram is sealed.
    Realtime = 0,
    /// A QUIC datagram of the session: the link's id and an unsealed body.
    Session = 1,
}

/// The plane that a client has chosen for both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaneChoice {
    /// Number of the client's change, wrapping. The server ignores a choice that is older than the
    /// newest one.
    pub change: u16,
    /// The chosen plane.
    pub plane: Plane,
}

/// A client's request for an answer. The server's answer repeats the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepAlive {
    /// The client's choice of plane; `None` (an empty body) if it has no session plane to choose.
    pub choice: Option<PlaneChoice>,
}

/// The server's acknowledgement of messages that it received on the realtime port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Largest packet number received.
    pub largest: u32,
}

/// A client's request for the server's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockRequest {
    /// The client's clock when it sent the request, µs.
    pub client_sent: u64,
}

/// The server's answer to a [`ClockRequest`]. It carries three of NTP's four times (RFC 5905); the
/// fourth is the arrival of the reply at the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReply {
    /// The client's clock when it sent the request, µs.
    pub client_sent: u64,
    /// The server's clock when the request arrived at its socket, µs.
    pub server_received: u64,
    /// The server's clock when it sent the reply, µs.
    pub server_sent: u64,
    /// The epoch of the server's clock, which changes when the server restarts. Times of two epochs
    /// cannot be compared.
    pub epoch: u32,
}

impl KeepAlive {
    /// Length of the longest frame in bytes.
    pub const FRAME_BYTES: usize = 5;

    /// Reads the body. If this version does not know the plane, the choice is `None`.
    ///
    /// # Errors
    /// [`Truncated`] if the body is shorter than its fields.
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
            return frame::put(out, KEEP_ALIVE, &[]);
        };
        let [low, high] = change.to_le_bytes();
        frame::put(out, KEEP_ALIVE, &[low, high, plane as u8]);
    }
}

impl Ack {
    /// Length of the whole frame in bytes.
    pub const FRAME_BYTES: usize = 6;

    /// Reads the body.
    ///
    /// # Errors
    /// [`Truncated`] if the body is shorter than its fields.
    pub fn parse(body: &[u8]) -> Result<Self, Truncated> {
        Ok(Self { largest: Reader::new(body).u32()? })
    }

    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        frame::put(out, ACK, &self.largest.to_le_bytes());
    }
}

impl ClockRequest {
    /// Length of the frame in bytes.
    pub const FRAME_BYTES: usize = 10;

    /// Reads the body.
    ///
    /// # Errors
    /// [`Truncated`] if the body is shorter than its fields.
    pub fn parse(body: &[u8]) -> Result<Self, Truncated> {
        Ok(Self { client_sent: Reader::new(body).u64()? })
    }

    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        frame::put(out, CLOCK, &self.client_sent.to_le_bytes());
    }
}

impl ClockReply {
    /// Reads the body.
    ///
    /// # Errors
    /// [`Truncated`] if the body is shorter than its fields.
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
        frame::put_header(out, CLOCK, 28);
        for time in [self.client_sent, self.server_received, self.server_sent] {
            out.extend_from_slice(&time.to_le_bytes());
        }
        out.extend_from_slice(&self.epoch.to_le_bytes());
    }
}

/// Appends a send-time frame with the server's clock, in µs modulo 2^32.
pub fn put_send_time(out: &mut Vec<u8>, now: Time) {
    frame::put(out, SEND_TIME, &(now.as_micros() as u32).to_le_bytes());
}

/// Length of a send-time frame in bytes.
pub const SEND_TIME_BYTES: usize = 6;

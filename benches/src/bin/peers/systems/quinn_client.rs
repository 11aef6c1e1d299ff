//! A peer of the `quinn` relay. It uses quinn's state machine without an async runtime, so that the
//! generator drives this peer like the peers of all other systems.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use nucleus_net::Clock;
use quinn_proto::{Connection, ConnectionHandle, DatagramEvent, Endpoint, EndpointConfig, Event};

use super::StartError;
use super::quinn::{config, server_name};
use crate::client::Client;
use crate::message::{ReceivedMessage, deliver_frames};

/// A peer of the relay.
pub(super) struct QuinnClient {
    slot: u16,
    remote: SocketAddr,
    endpoint: Endpoint,
    handle: ConnectionHandle,
    connection: Connection,
    epoch: ClockEpoch,
    connected: bool,
    lost: Option<String>,
}

/// One moment as read on both clocks, to convert times between them.
#[derive(Clone, Copy, Debug)]
struct ClockEpoch {
    instant: Instant,
    /// The same moment as read on [`Clock`], µs.
    micros: u64,
}

impl QuinnClient {
    /// Starts to connect to the server whose certificate has the hash `pin`.
    ///
    /// # Errors
    ///
    /// If the hash is malformed, or quinn refuses the connection.
    pub(super) fn new(
        peer: u32,
        slot: u16,
        remote: SocketAddr,
        pin: &str,
    ) -> Result<Self, StartError> {
        let config = config(pin)
            .ok_or_else(|| StartError::client("the hash of the certificate is malformed"))?;
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, false, None);
        let epoch = ClockEpoch { instant: Instant::now(), micros: Clock::new().now() };
        let connect = endpoint.connect(epoch.instant, config, remote, &server_name(peer));
        let (handle, connection) = connect.map_err(StartError::client)?;
        let (connected, lost) = (false, None);
        Ok(QuinnClient { slot, remote, endpoint, handle, connection, epoch, connected, lost })
    }

    fn instant(&self, micros: u64) -> Instant {
        self.epoch.instant + Duration::from_micros(micros.saturating_sub(self.epoch.micros))
    }

    /// Passes events between the endpoint and the connection, and handles those for the
    /// application.
    fn handle_events(&mut self) {
        while let Some(event) = self.connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                self.connection.handle_event(event);
            }
        }
        while let Some(event) = self.connection.poll() {
            match event {
                Event::Connected => self.connected = true,
                Event::ConnectionLost { reason } => self.lost = Some(reason.to_string()),
                _ => {}
            }
        }
    }
}

impl Client for QuinnClient {
    fn slot(&self) -> u16 {
        self.slot
    }

    fn is_ready(&self, _now: u64) -> Result<bool, String> {
        self.lost.clone().map_or(Ok(self.connected), Err)
    }

    fn send_message(&mut self, _now: u64, frame: &[u8]) {
        // Ignore an error: messages that are lost with the connection count as not delivered.
        let _ = self.connection.datagrams().send(Bytes::copy_from_slice(frame), true);
    }

    fn handle_input(
        &mut self,
        arrival: u64,
        datagram: &mut [u8],
        deliver: &mut dyn FnMut(ReceivedMessage<'_>),
    ) {
        let (now, data) = (self.instant(arrival), BytesMut::from(&*datagram));
        let event = self.endpoint.handle(now, self.remote, None, None, data, &mut Vec::new());
        if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
            self.connection.handle_event(event);
        }
        self.handle_events();
        while let Some(body) = self.connection.datagrams().recv() {
            deliver_frames(&body, deliver);
        }
    }

    fn handle_timeout(&mut self, now: u64) {
        let now = self.instant(now);
        if self.connection.poll_timeout().is_some_and(|at| at <= now) {
            self.connection.handle_timeout(now);
            self.handle_events();
        }
    }

    fn poll_output(&mut self, now: u64, out: &mut Vec<u8>) -> bool {
        let now = self.instant(now);
        let sent = self.connection.poll_transmit(now, 1, out).is_some();
        self.handle_events();
        sent
    }
}

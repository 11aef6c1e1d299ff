//! The client's end of a connection: what has arrived, and in which order the client reads it. The
//! client's real driver reads in the same order.

use std::collections::VecDeque;

use nucleus_client_core::room::RoomClient;
use nucleus_client_core::session::{ConnectionEnd, DrivenClient, SessionInput, StreamSource};

use crate::network::{ConnectionNumber, Network, ToClient};

/// Most bytes of one read.
const READ: usize = 16 << 10;

/// One of the server's streams.
struct ArrivingStream {
    /// The stream's number on the connection.
    number: u8,
    /// What the client calls the stream; `None`: the client has not accepted it.
    source: Option<StreamSource>,
    bytes: VecDeque<u8>,
    has_ended: bool,
}

/// The client's end of a connection.
pub(crate) struct Arrivals {
    pub(crate) connection: ConnectionNumber,
    streams: Vec<ArrivingStream>,
    accepted: u64,
    end: Option<ConnectionEnd>,
    /// Whether the client has been told that the connection has ended.
    is_ending: bool,
}

impl Arrivals {
    pub(crate) fn new(connection: ConnectionNumber) -> Self {
        let mut streams =
            Self { connection, streams: Vec::new(), accepted: 0, end: None, is_ending: false };
        streams.stream(0).source = Some(StreamSource::Control);
        streams
    }

    fn stream(&mut self, number: u8) -> &mut ArrivingStream {
        let at = self.streams.iter().position(|stream| stream.number == number);
        let at = at.unwrap_or_else(|| {
            let (source, bytes) = (None, VecDeque::new());
            self.streams.push(ArrivingStream { number, source, bytes, has_ended: false });
            self.streams.len() - 1
        });
        &mut self.streams[at]
    }

    /// Takes what has arrived. Ignores everything behind the end of the connection. Returns what
    /// is not for the streams that the client reads.
    pub(crate) fn push(&mut self, what: ToClient) -> Option<SessionInput<'static>> {
        if self.end.is_some() {
            return None;
        }
        match what {
            ToClient::Bytes(number, bytes) => self.stream(number).bytes.extend(bytes),
            ToClient::StreamEnds(number) => self.stream(number).has_ended = true,
            ToClient::Closed(end) => self.end = Some(end),
            ToClient::Written(target) => return Some(SessionInput::Written(target)),
            ToClient::Finished(target) => return Some(SessionInput::Finished(target)),
        }
        None
    }

    /// Stops a stream that the client has refused.
    pub(crate) fn refuse(&mut self, number: u64) {
        self.streams.retain(|stream| stream.source != Some(StreamSource::Opened(number)));
    }

    /// Passes one thing to the client, if the client wants any. Returns whether it did.
    pub(crate) fn deliver(&mut self, network: &mut Network, client: &mut RoomClient) -> bool {
        let now = network.now;
        if client.session().wants_stream()
            && let Some(stream) = self.streams.iter_mut().find(|stream| stream.source.is_none())
        {
            stream.source = Some(StreamSource::Opened(self.accepted));
            client.handle(now, SessionInput::StreamOpened(self.accepted));
            self.accepted += 1;
            return true;
        }
        if let Some(end) = self.end.as_ref().filter(|_| !self.is_ending) {
            let is_final = !end.may_reconnect();
            self.is_ending = true;
            client.handle(now, SessionInput::Ending { is_final });
            return true;
        }
        if let Some(at) = self.next_to_read(client) {
            self.read(network, client, at);
            return true;
        }
        if let Some(end) = self.end.take() {
            self.streams.clear();
            // Nothing of this connection is known any more.
            self.connection = ConnectionNumber::MAX;
            client.handle(now, SessionInput::Closed(end));
            return true;
        }
        false
    }

    /// Returns the stream that the client reads next.
    fn next_to_read(&self, client: &RoomClient) -> Option<usize> {
        let session = client.session();
        let has_news = |stream: &ArrivingStream| {
            !stream.bytes.is_empty() || stream.has_ended || self.end.is_some()
        };
        let wanted = self.streams.iter().enumerate().filter(|(_, stream)| {
            has_news(stream) && stream.source.is_some_and(|source| session.wants(source))
        });
        let rank = |(_, stream): &(usize, &ArrivingStream)| stream.source.map(|s| session.rank(s));
        wanted.min_by_key(rank).map(|(at, _)| at)
    }

    fn read(&mut self, network: &mut Network, client: &mut RoomClient, at: usize) {
        let stream = &mut self.streams[at];
        let Some(source) = stream.source else { return };
        if stream.bytes.is_empty() {
            let is_broken = !stream.has_ended;
            self.streams.remove(at);
            return client.handle(network.now, SessionInput::StreamEnded { source, is_broken });
        }
        let most = if network.chance(20) { 1 + network.rng.usize(..100) } else { READ };
        let len = most.min(stream.bytes.len());
        let bytes: Vec<u8> = stream.bytes.drain(..len).collect();
        network.report_read(self.connection, stream.number, len);
        client.handle(network.now, SessionInput::Bytes(source, &bytes));
    }
}

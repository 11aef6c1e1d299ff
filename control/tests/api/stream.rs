//! A client of server-sent events for tests.

use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::Response;
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

/// Longest wait for an event that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// An event of a stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sent {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) data: Value,
}

/// A stream as a client reads it.
pub(crate) struct Stream {
    body: Body,
    text: String,
    /// The id with which the client would come back.
    pub(crate) last_id: String,
}

impl Stream {
    pub(crate) fn new(response: Response) -> Self {
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        Self { body: response.into_body(), text: String::new(), last_id: String::new() }
    }

    /// Starts as a client that comes back with this id.
    pub(crate) fn after(self, last: Option<&str>) -> Self {
        Self { last_id: last.unwrap_or_default().to_owned(), ..self }
    }

    /// Returns the next event that has data. `None`: the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Sent> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.text.find("\n\n") {
                let block: String = self.text.drain(..at + 2).collect();
                if let Some(event) = self.read(&block) {
                    return Some(event);
                }
                continue;
            }
            let frame = timeout_at(end, self.body.frame()).await;
            let frame = frame.unwrap_or_else(|_| panic!("no event: {}", self.text));
            self.text += std::str::from_utf8(frame?.unwrap().data_ref().unwrap()).unwrap();
        }
    }

    /// Returns the next events.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<Sent> {
        let mut events = Vec::new();
        for _ in 0..count {
            events.push(self.next().await.unwrap_or_else(|| panic!("it ended after {events:?}")));
        }
        events
    }

    /// Reads until the stream has begun, so that what happens from now on comes.
    pub(crate) async fn begun(mut self) -> Self {
        let begin = |text: &str| {
            text.find("\n\nid: ").and_then(|at| Some(at + 3 + text[at + 3..].find("\n\n")?))
        };
        let end = loop {
            if let Some(end) = begin(&self.text) {
                break end;
            }
            let frame = self.body.frame().await.unwrap().unwrap();
            self.text += std::str::from_utf8(frame.data_ref().unwrap()).unwrap();
        };
        let blocks: String = self.text.drain(..end + 2).collect();
        for block in blocks.split_inclusive("\n\n") {
            assert_eq!(self.read(block), None, "{block}");
        }
        self
    }

    /// Returns the text that comes until nothing has come for `time`.
    pub(crate) async fn rest(mut self, time: Duration) -> String {
        while let Ok(Some(frame)) = timeout_at(Instant::now() + time, self.body.frame()).await {
            self.text += std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap();
        }
        self.text
    }

    fn read(&mut self, block: &str) -> Option<Sent> {
        let (mut kind, mut data) = (String::new(), None);
        for line in block.lines() {
            match line.split_once(": ") {
                Some(("id", id)) => self.last_id = id.to_owned(),
                Some(("event", name)) => name.clone_into(&mut kind),
                Some(("data", json)) => data = Some(serde_json::from_str(json).unwrap()),
                _ => assert!(line.is_empty() || line.starts_with([':', 'r']), "{line}"),
            }
        }
        Some(Sent { id: self.last_id.clone(), kind, data: data? })
    }
}

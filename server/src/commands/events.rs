//! `nucleus events`: what happens, as it happens.

use std::io::Write;
use std::time::Duration;

use serde_json::Value;

use super::api_client::{ApiClient, ApiError, OpenStreamError, encoded};
use super::args::ApiArgs;
use super::table::plain;

/// The pause before the stream is opened again, as the server asks for it.
const RETRY: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 2_000 });
/// Longest silence of a stream: the server sends something every 15 s.
const SILENCE: Duration = Duration::from_secs(45);
/// Largest event. One more byte, and it is no stream of a Nucleus server.
const MAX_EVENT: usize = 4 << 20;

/// Which events are shown, and how.
pub(super) struct WantedEvents {
    pub(super) tenant: Option<String>,
    /// Empty: every kind.
    pub(super) kinds: Vec<String>,
    pub(super) json: bool,
}

/// Writes events to `out`, until it takes no more. Opens the stream again when it ends, behind the newest
/// event, also of a server of this machine that is started again and has another key.
///
/// # Errors
///
/// The server cannot be reached at first, or refuses the stream.
pub(super) async fn follow(
    args: &ApiArgs,
    wanted: &WantedEvents,
    out: &mut dyn Write,
) -> Result<(), ApiError> {
    let mut path = "/events".to_owned();
    let kinds = (!wanted.kinds.is_empty()).then(|| wanted.kinds.join(","));
    let filters = [("tenant", wanted.tenant.clone()), ("type", kinds)];
    for (name, value) in filters {
        if let Some(value) = value {
            let mark = if path.contains('?') { '&' } else { '?' };
            path += &format!("{mark}{name}={}", encoded(&value));
        }
    }
    let mut reader = EventReader::default();
    let mut was_open = false;
    loop {
        let last = (!reader.last_id.is_empty()).then_some(reader.last_id.as_str());
        let opened = match ApiClient::new(args) {
            Ok(client) => client.open_stream(&path, last).await,
            // A server that stops removes the file by which it is found.
            Err(error) => Err(OpenStreamError::Passing(error)),
        };
        match opened {
            Ok(mut stream) => {
                was_open = true;
                reader.begin();
                while let Ok(Some(bytes)) = stream.next(SILENCE).await {
                    for event in reader.read(&bytes) {
                        if !show(&event, wanted.json, out) {
                            return Ok(());
                        }
                    }
                    if reader.is_too_long() {
                        break;
                    }
                }
            }
            Err(OpenStreamError::Passing(_)) if was_open => {}
            // The key of an earlier start: the next try reads that of the new one.
            Err(OpenStreamError::Final(_)) if was_open && args.url.is_none() => {}
            Err(OpenStreamError::Passing(error) | OpenStreamError::Final(error)) => {
                return Err(error);
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Writes one event. Returns false if `out` takes no more.
fn show(event: &Value, json: bool, out: &mut dyn Write) -> bool {
    let line = if json { event.to_string() } else { line(event) };
    out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// Describes an event for people.
fn line(event: &Value) -> String {
    let data = &event["data"];
    let mut text = format!("{}  {:<12}", plain(&event["timestamp"]), plain(&event["type"]));
    // Those that the event has, in this order.
    let fields = [
        "tenant",
        "room_name",
        "name",
        "user",
        "caller",
        "role",
        "code",
        "seconds",
        "talked_seconds",
        "joins",
        "most_peers",
        "detail",
    ];
    for field in fields.into_iter().filter(|field| !data[field].is_null()) {
        text += &format!("  {}={}", field, plain(&data[field]));
    }
    for field in ["members", "missed"] {
        let users = data[field].as_array().into_iter().flatten();
        let users: Vec<_> = users.map(plain).collect();
        if !users.is_empty() {
            text += &format!("  {field}={}", users.join(","));
        }
    }
    text
}

/// Reads server-sent events.
#[derive(Default)]
struct EventReader {
    /// What has come of an event.
    text: Vec<u8>,
    /// The id with which the stream goes on.
    last_id: String,
}

impl EventReader {
    /// Begins a new stream: what was there of an event is gone.
    fn begin(&mut self) {
        self.text.clear();
    }

    fn is_too_long(&self) -> bool {
        self.text.len() > MAX_EVENT
    }

    /// Returns the data of the events that are whole.
    fn read(&mut self, bytes: &[u8]) -> Vec<Value> {
        // An end of an event may lie on the edge of what came before.
        let mut looked_at = self.text.len().saturating_sub(1);
        self.text.extend_from_slice(bytes);
        let mut events = Vec::new();
        let mut begin = 0;
        while let Some(at) = self.text[looked_at..].windows(2).position(|two| two == b"\n\n") {
            let end = looked_at + at;
            let block = String::from_utf8_lossy(&self.text[begin..end]);
            for line in block.lines() {
                match line.split_once(": ") {
                    Some(("id", id)) => self.last_id = id.to_owned(),
                    // What is no JSON is no event of a Nucleus server.
                    Some(("data", data)) => events.extend(serde_json::from_str::<Value>(data)),
                    _ => {}
                }
            }
            (begin, looked_at) = (end + 2, end + 2);
        }
        self.text.drain(..begin);
        events
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::local_access::LocalAccess;

    const STREAM: &str = ": nucleus\nretry: 2000\n\nid: start-1\n\nid: 7\nevent: room.ended\n\
        data: {\"type\":\"room.ended\",\"timestamp\":\"T\",\"data\":{\"tenant\":\"a\\u001bb\",\"name\":\"lobby\"}}\n\n\
        : keep-alive\nid: 9\n\nevent: missed\ndata: {\"type\":\"missed\"}\n\nid: 10\nevent: half";

    #[test]
    fn events_are_read_however_they_are_cut() {
        for size in 1..STREAM.len() {
            let mut reader = EventReader::default();
            let parts = STREAM.as_bytes().chunks(size);
            let events: Vec<Value> = parts.flat_map(|part| reader.read(part)).collect();
            let kinds: Vec<_> = events.iter().map(|event| &event["type"]).collect();
            assert_eq!(kinds, ["room.ended", "missed"], "{size}");
            assert_eq!(reader.last_id, "9", "{size}: an event that is cut off has not come");
        }
    }

    /// Takes so many lines.
    struct Lines(Vec<String>, usize);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.0.len() == self.1 {
                return Err(std::io::ErrorKind::BrokenPipe.into());
            }
            self.0.push(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Answers one request, and returns its head.
    async fn answer(server: &TcpListener, status: &str, body: &str) -> String {
        let (mut client, _) = server.accept().await.unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head.push(char::from(client.read_u8().await.unwrap()));
        }
        let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\n\r\n{body}");
        client.write_all(answer.as_bytes()).await.unwrap();
        head
    }

    #[tokio::test]
    async fn a_stream_that_ends_is_opened_again_behind_its_newest_event() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let _local = LocalAccess::open(dir.path(), Some(server.local_addr().unwrap()));
        let args = ApiArgs { data_dir: dir.path().to_owned(), url: None, json: true };
        let (tenant, kinds) = (Some("a b".to_owned()), vec!["room.ended".to_owned()]);
        let wanted = WantedEvents { tenant, kinds, json: true };
        let serving = async {
            let first = answer(&server, "200 OK", STREAM).await;
            assert!(first.starts_with("GET /api/v1/events?tenant=a%20b&type=room.ended HTTP/1.1"));
            assert!(!first.contains("last-event-id"), "{first}");
            let busy = "{\"detail\":\"it is being started\"}";
            for refused in ["503 Busy", "401 Another key"] {
                let head = answer(&server, refused, busy).await;
                assert!(head.contains("last-event-id: 9\r\n"), "{head}");
            }
            answer(&server, "200 OK", "id: 11\ndata: {\"type\":\"later\"}\n\n").await;
            answer(&server, "200 OK", "data: {}\n\n").await
        };
        let mut out = Lines(Vec::new(), 3);
        let (last, followed) = tokio::join!(serving, follow(&args, &wanted, &mut out));
        assert!(followed.is_ok() && last.contains("last-event-id: 11\r\n"), "{last}");
        assert!(out.0[0].contains("room.ended") && out.0[2].contains("later"), "{:?}", out.0);
        // At first, a refusal is the answer.
        let mut out = Lines(Vec::new(), 3);
        let refusing = answer(&server, "429 Too Many Requests", "{\"detail\":\"64 streams\"}");
        let (_, refused) = tokio::join!(refusing, follow(&args, &wanted, &mut out));
        assert_eq!(refused.unwrap_err().to_string(), "64 streams");
    }

    #[test]
    fn a_line_cannot_move_the_cursor() {
        let events = EventReader::default().read(STREAM.as_bytes());
        assert_eq!(line(&events[0]), "T  room.ended    tenant=a?b  name=lobby");
        let call = json!({"type": "call.ended", "timestamp": "T", "data": {"members": ["a", "b"]}});
        assert_eq!(line(&call), "T  call.ended    members=a,b");
        let mut out = Vec::new();
        assert!(show(&call, true, &mut out) && out.ends_with(b"}\n"));
    }
}

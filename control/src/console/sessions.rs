//! The search in sessions.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use nucleus_console::link::query;
use nucleus_console::screens::{PageLinks, SessionRow, SessionsPage};
use nucleus_console::text::counted;
use nucleus_console::{Mark, MenuPlace, Quantity, Tone};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::answer::{self, PageResult};
use super::client::{ApiAsker, ApiRefusal};
use super::reader::{PAGE_ROWS, PageReader};
use super::row::{AnswerRow, encoded};
use super::session_life::end_mark;
use super::state::ConsoleState;

pub(super) async fn page(State(state): State<ConsoleState>, reader: PageReader) -> PageResult {
    let [name, room, from, to, after] =
        ["name", "room", "from", "to", "after"].map(|name| reader.query(name).to_owned());
    let shell = reader.shell("Sessions", MenuPlace::Sessions).await;
    let path = query(
        "/history/sessions",
        &[
            ("name", &name),
            ("room", &room),
            ("from", &first_moment(&from)),
            ("to", &last_moment(&to)),
            ("cursor", &after),
            ("limit", &PAGE_ROWS.to_string()),
        ],
    );
    let list = reader.client.get(&path).await?;
    let list = AnswerRow(&list);
    let href = |after: &str| {
        let pairs = [
            ("name", name.as_str()),
            ("room", &room),
            ("from", &from),
            ("to", &to),
            ("after", after),
        ];
        query("/sessions", &pairs)
    };
    let live = LivePeers::read(&reader.client, list).await;
    let rows: Vec<_> = list.rows("items").map(|session| session_row(session, &live)).collect();
    let pages = PageLinks {
        shown: counted(rows.len(), "session", "sessions"),
        previous: (!after.is_empty()).then(|| href("")),
        next: list.some_text("next").map(href),
    };
    answer::page(&SessionsPage {
        shell,
        name,
        room,
        from,
        to,
        kept_days: state.settings.history_days,
        rows,
        pages,
    })
}

/// Returns the first moment of a day, as the API takes it; empty: any.
pub(super) fn first_moment(day: &str) -> String {
    if day.is_empty() { String::new() } else { format!("{day}T00:00:00Z") }
}

/// Returns the last moment of a day.
pub(super) fn last_moment(day: &str) -> String {
    if day.is_empty() { String::new() } else { format!("{day}T23:59:59.999999Z") }
}

/// Rooms of a list that are asked at a time whether its participants are still there: the planes' mailbox has 256
/// places, which other readers need too.
const ASKED_ROOMS: usize = 32;
/// Longest wait for all of these rooms. One that hangs answers after 2 s that it is busy.
const ROOMS_TIME: Duration = Duration::from_secs(3);

/// Who is in the live rooms of a list of sessions: whether the session of a peer is lost, by the peer's id.
#[derive(Default)]
struct LivePeers {
    is_lost: HashMap<String, bool>,
    /// Rooms that gave no answer.
    silent: BTreeSet<String>,
}

impl LivePeers {
    /// Asks the rooms of the sessions that have no end yet, each once and many at the same time. A room that has
    /// not answered after [`ROOMS_TIME`] counts as silent.
    async fn read(client: &ApiAsker, list: AnswerRow<'_>) -> Self {
        let open = list.rows("items").filter(|session| session.some_text("left_at").is_none());
        let rooms: BTreeSet<_> = open.map(|session| session.text("room").to_owned()).collect();
        let mut live = Self { silent: rooms.clone(), ..Self::default() };
        // Rooms that are still asked at the end are asked no longer.
        drop(timeout(ROOMS_TIME, live.ask(client, rooms)).await);
        live
    }

    async fn ask(&mut self, client: &ApiAsker, rooms: BTreeSet<String>) {
        let (mut waiting, mut asking) = (rooms.into_iter(), JoinSet::new());
        loop {
            while asking.len() < ASKED_ROOMS
                && let Some(id) = waiting.next()
            {
                let client = client.clone();
                asking.spawn(async move {
                    let room = client.get(&format!("/rooms/{}", encoded(&id))).await;
                    (id, room)
                });
            }
            match asking.join_next().await {
                None => return,
                Some(Ok((id, room))) => self.add(&id, room),
                Some(Err(_)) => {}
            }
        }
    }

    fn add(&mut self, id: &str, room: Result<Value, ApiRefusal>) {
        match room {
            Ok(room) => {
                for peer in AnswerRow(&room).rows("members") {
                    self.is_lost.insert(peer.text("id").to_owned(), peer.flag("lost"));
                }
            }
            Err(refusal) if refusal.status == StatusCode::NOT_FOUND => {}
            Err(_) => return,
        }
        self.silent.remove(id);
    }

    fn mark(&self, session: AnswerRow<'_>) -> Mark {
        match self.is_lost.get(session.text("peer")) {
            None if self.silent.contains(session.text("room")) => {
                Mark::new(Tone::Idle, "Not known at present: the room gives no answer")
            }
            Some(false) => Mark::new(Tone::Good, "Here now"),
            Some(true) => Mark::new(Tone::Bad, "Lost, may come back"),
            None => Mark::new(Tone::Idle, "End not known: not in a live room of this server"),
        }
    }
}

fn session_row(session: AnswerRow<'_>, live: &LivePeers) -> SessionRow {
    let length = session.micros("left_at").zip(session.micros("joined_at"));
    SessionRow {
        id: session.text("id").to_owned(),
        name: Some(session.name("name")).filter(|name| !name.raw().is_empty()),
        user: session.name("user"),
        room: session.name("room_name"),
        joined_at: session.time("joined_at"),
        length: Quantity::seconds(
            length.and_then(|(left, joined)| u64::try_from((left - joined) / 1_000_000).ok()),
        ),
        end: match session.some_text("left_at") {
            Some(_) => end_mark(session.text("code")),
            None => live.mark(session),
        },
        resumes: Quantity::count(session.count("resumes")),
        round_trip: Quantity::round_trip(session.count("rtt_p50_us")),
        loss: Quantity::loss(session.ppm("loss_ppm")),
    }
}

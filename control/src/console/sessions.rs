//! The search in past sessions.

use axum::extract::State;
use nucleus_console::link::query;
use nucleus_console::screens::{PageLinks, SessionRow, SessionsPage};
use nucleus_console::{Mark, MenuPlace, Quantity, Tone};

use super::answer::{self, PageResult};
use super::reader::{PAGE_ROWS, PageReader};
use super::row::AnswerRow;
use super::session_life::end_mark;
use super::state::ConsoleState;

pub(super) async fn page(State(state): State<ConsoleState>, reader: PageReader) -> PageResult {
    let [user, room, from, to, after] =
        ["user", "room", "from", "to", "after"].map(|name| reader.query(name).to_owned());
    let shell = reader.shell("Sessions", MenuPlace::Sessions).await;
    let path = query(
        "/history/sessions",
        &[
            ("user", &user),
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
            ("user", user.as_str()),
            ("room", &room),
            ("from", &from),
            ("to", &to),
            ("after", after),
        ];
        query("/sessions", &pairs)
    };
    let rows: Vec<_> = list.rows("items").map(session_row).collect();
    let pages = PageLinks {
        shown: format!("{} sessions", rows.len()),
        previous: (!after.is_empty()).then(|| href("")),
        next: list.some_text("next").map(href),
    };
    answer::page(&SessionsPage {
        shell,
        user,
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

fn session_row(session: AnswerRow<'_>) -> SessionRow {
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
            None => Mark::new(Tone::Info, "Goes on, or the server was killed"),
        },
        resumes: Quantity::count(session.count("resumes")),
        round_trip: Quantity::round_trip(session.count("rtt_p50_us")),
        loss: Quantity::loss(session.ppm("loss_ppm")),
    }
}

//! Calls that are going on, and those that were.

use axum::extract::State;
use nucleus_console::link::query;
use nucleus_console::screens::{CallRow, CallsLive, CallsPage, PageLinks, PastCallRow};
use nucleus_console::text::counted;
use nucleus_console::{Mark, MenuPlace, Quantity, ShownName, Tone};

use super::answer::{self, PageError, PageResult};
use super::client::ApiAsker;
use super::live;
use super::reader::{PAGE_ROWS, PageReader, StreamCaller};
use super::row::AnswerRow;
use super::state::ConsoleState;

pub(super) async fn page(State(state): State<ConsoleState>, reader: PageReader) -> PageResult {
    let [after, user, at] = ["after", "user", "past"].map(|name| reader.query(name).to_owned());
    let shell = reader.shell("Calls", MenuPlace::Calls).await;
    let live = part(&reader.client, &after).await?;
    let live_source = query("/live/calls", &[("after", &after)]);
    let limit = PAGE_ROWS.to_string();
    let path = query("/history/calls", &[("user", &user), ("cursor", &at), ("limit", &limit)]);
    let list = reader.client.get(&path).await?;
    let list = AnswerRow(&list);
    // A call without an end goes on and is in the list above, or its end is not known.
    let past: Vec<_> = list.rows("items").filter(is_over).map(past_call_row).collect();
    let href = |at: &str| query("/calls", &[("user", user.as_str()), ("past", at)]);
    let past_pages = PageLinks {
        shown: counted(past.len(), "past call", "past calls"),
        previous: (!at.is_empty()).then(|| href("")),
        next: list.some_text("next").map(href),
    };
    let kept_days = state.settings.history_days;
    answer::page(&CallsPage { shell, live_source, live, user, past, past_pages, kept_days })
}

fn is_over(call: &AnswerRow<'_>) -> bool {
    call.some_text("ended_at").is_some()
}

fn past_call_row(call: AnswerRow<'_>) -> PastCallRow {
    let length = call.micros("ended_at").zip(call.micros("started_at"));
    let length = length.and_then(|(end, begin)| u64::try_from((end - begin) / 1_000_000).ok());
    let talked = call.count("talked_ms");
    PastCallRow {
        caller: Some(call.name("caller")).filter(|caller| !caller.raw().is_empty()),
        tenant: call.name("tenant"),
        started_at: call.time("started_at"),
        mark: match talked {
            Some(_) => Mark::new(Tone::Good, "Talked"),
            None => Mark::new(Tone::Warn, "Nobody accepted"),
        },
        members: call.texts("members").map(ShownName::new).collect(),
        missed: call.texts("missed").map(ShownName::new).collect(),
        length: Quantity::seconds(length),
        talked: Quantity::seconds(talked.map(|millis| millis / 1_000)),
    }
}

pub(super) async fn stream(
    State(state): State<ConsoleState>,
    StreamCaller(caller): StreamCaller,
    reader: PageReader,
) -> PageResult {
    let (client, after) = (reader.client.clone(), reader.query("after").to_owned());
    live::open(&state, caller, &reader, move || {
        let (client, after) = (client.clone(), after.clone());
        async move { part(&client, &after).await }
    })
}

async fn part(client: &ApiAsker, after: &str) -> Result<CallsLive, PageError> {
    let path = query("/calls", &[("cursor", after), ("limit", &PAGE_ROWS.to_string())]);
    let list = client.get(&path).await?;
    let list = AnswerRow(&list);
    let rows: Vec<_> = list.rows("items").map(call_row).collect();
    let total = Quantity::count(list.count("total")).plain();
    Ok(CallsLive {
        pages: PageLinks {
            shown: format!("{} of {}", rows.len(), counted(&total, "call", "calls")),
            previous: (!after.is_empty()).then(|| "/calls".to_owned()),
            next: list.some_text("next").map(|next| query("/calls", &[("after", next)])),
        },
        rows,
    })
}

fn call_row(call: AnswerRow<'_>) -> CallRow {
    let talking = call.count("talking_seconds");
    CallRow {
        id: call.text("call").to_owned(),
        caller: call.name("caller"),
        tenant: call.name("tenant"),
        mark: match talking {
            Some(_) => Mark::new(Tone::Good, "Talking"),
            None => Mark::new(Tone::Info, "Rings"),
        },
        members: call.texts("members").map(ShownName::new).collect(),
        ringing: call.texts("ringing").map(ShownName::new).collect(),
        length: Quantity::seconds(call.count("age_seconds")),
        talking: Quantity::seconds(talking),
    }
}

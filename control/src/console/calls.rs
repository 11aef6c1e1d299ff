//! Calls that are going on.

use axum::extract::State;
use nucleus_console::link::query;
use nucleus_console::screens::{CallRow, CallsLive, CallsPage, PageLinks};
use nucleus_console::{Mark, MenuPlace, Quantity, ShownName, Tone};

use super::answer::{self, PageError, PageResult};
use super::client::ApiAsker;
use super::live;
use super::reader::{PAGE_ROWS, PageReader, StreamCaller};
use super::row::AnswerRow;
use super::state::ConsoleState;

pub(super) async fn page(reader: PageReader) -> PageResult {
    let after = reader.query("after").to_owned();
    let shell = reader.shell("Calls", MenuPlace::Calls).await;
    let live = part(&reader.client, &after).await?;
    let live_source = query("/live/calls", &[("after", &after)]);
    answer::page(&CallsPage { shell, live_source, live })
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
            shown: format!("{} of {total} calls", rows.len()),
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

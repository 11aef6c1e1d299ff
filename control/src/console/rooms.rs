//! The list of live rooms.

use std::collections::HashMap;

use axum::extract::State;
use axum::response::Response;
use nucleus_console::charts::Sparkline;
use nucleus_console::link::query;
use nucleus_console::screens::{ErrorKind, RoomRow, RoomsLive, RoomsPage, SortColumn};
use nucleus_console::text::counted;
use nucleus_console::{LOSS_WARN_PPM, MenuPlace, Quantity, csv};
use serde_json::Value;

use super::answer::{self, PageError, PageResult};
use super::client::{ApiAsker, ApiRefusal};
use super::live;
use super::pages::page_links;
use super::reader::{PAGE_ROWS, PageReader, StreamCaller};
use super::row::AnswerRow;
use super::state::ConsoleState;
use super::tenant_names::tenant_field;

/// Most rooms of the CSV file: more are not looked at as a list.
const CSV_ROOMS: usize = 5_000;
/// The scale of the short lines, in per cent: what is above is as bad.
const TREND_TOP: f64 = 7.0;
/// The orders of the API, and the column that shows each.
const ORDERS: [(&str, usize); 4] = [("name", 0), ("peers", 2), ("loss", 4), ("age", 5)];

/// Which rooms are shown.
#[derive(Clone)]
struct RoomsView {
    search: String,
    tenant: String,
    sort: String,
    after: String,
}

impl RoomsView {
    /// Reads what the address asks for.
    ///
    /// # Errors
    ///
    /// The page that names the orders: the address asks for another one.
    fn of(reader: &PageReader) -> Result<Self, PageError> {
        let sort = match reader.query("sort") {
            "" => "peers",
            sort if ORDERS.iter().any(|(order, _)| *order == sort) => sort,
            _ => {
                let known = ORDERS.map(|(order, _)| order).join(", ");
                let why = format!("`sort` must be one of {known}.");
                return Err(PageError::Refused(ErrorKind::Malformed, why));
            }
        };
        let text = |name: &str| reader.query(name).to_owned();
        Ok(Self {
            search: text("q"),
            tenant: text("tenant"),
            sort: sort.to_owned(),
            after: text("after"),
        })
    }

    /// Returns the address of this list below a path, in another order or at another place.
    fn href(&self, path: &str, sort: &str, after: &str) -> String {
        let pairs = [
            ("q", self.search.as_str()),
            ("tenant", &self.tenant),
            ("sort", sort),
            ("after", after),
        ];
        query(path, &pairs)
    }

    fn api_path(&self, limit: u32, cursor: &str) -> String {
        let limit = limit.to_string();
        let pairs = [
            ("search", self.search.as_str()),
            ("tenant", &self.tenant),
            ("order", &self.sort),
            ("cursor", cursor),
            ("limit", &limit),
        ];
        query("/rooms", &pairs)
    }
}

pub(super) async fn page(reader: PageReader) -> PageResult {
    let view = RoomsView::of(&reader)?;
    let shell = reader.shell("Rooms", MenuPlace::Rooms).await;
    let live = part(&reader.client, &view).await?;
    answer::page(&RoomsPage {
        shell,
        search: view.search.clone(),
        filters: Vec::new(),
        show: String::new(),
        sort: view.sort.clone(),
        tenants: tenant_field(&reader, "All tenants", &view.tenant).await,
        csv_href: view.href("/rooms.csv", &view.sort, ""),
        live_source: view.href("/live/rooms", &view.sort, &view.after),
        live,
    })
}

pub(super) async fn stream(
    State(state): State<ConsoleState>,
    StreamCaller(caller): StreamCaller,
    reader: PageReader,
) -> PageResult {
    let (client, view) = (reader.client.clone(), RoomsView::of(&reader)?);
    live::open(&state, caller, &reader, move || {
        let (client, view) = (client.clone(), view.clone());
        async move { part(&client, &view).await }
    })
}

pub(super) async fn csv(
    State(state): State<ConsoleState>,
    reader: PageReader,
) -> Result<Response, PageError> {
    let _place = state.export_place()?;
    let view = RoomsView::of(&reader)?;
    let mut text =
        csv::line(&["room", "tenant", "name", "peers", "capacity", "locked", "open_for_s"]);
    let (mut cursor, mut count) = (String::new(), 0);
    loop {
        let list = match reader.client.get(&view.api_path(200, &cursor)).await {
            // The list has changed while it was read: what there is says so.
            Err(refusal) if refusal.is_changed() => {
                text.push_str(&csv::line(&["the list has changed while it was read"]));
                return Ok(answer::csv("rooms.csv", text));
            }
            list => list?,
        };
        for room in AnswerRow(&list).rows("items") {
            let number = |name| room.count(name).map(|count| count.to_string()).unwrap_or_default();
            text.push_str(&csv::line(&[
                room.text("id"),
                room.text("tenant"),
                room.text("name"),
                &number("peers"),
                &number("capacity"),
                if room.flag("locked") { "yes" } else { "no" },
                &number("age_seconds"),
            ]));
            count += 1;
        }
        match AnswerRow(&list).some_text("next") {
            Some(next) if count < CSV_ROOMS => cursor = next.to_owned(),
            _ => return Ok(answer::csv("rooms.csv", text)),
        }
    }
}

async fn part(client: &ApiAsker, view: &RoomsView) -> Result<RoomsLive, PageError> {
    let mut list = client.get(&view.api_path(PAGE_ROWS, &view.after)).await;
    if list.as_ref().is_err_and(ApiRefusal::is_changed) {
        // The room after which this page begins has ended.
        list = client.get(&view.api_path(PAGE_ROWS, "")).await;
    }
    let list = list?;
    let ids: Vec<_> = AnswerRow(&list).rows("items").map(|room| room.text("id")).collect();
    // The lines are an addition: without them the list is shown all the same.
    let lines = match ids.is_empty() {
        true => Value::Null,
        false => {
            let path = query("/series/rooms", &[("ids", &ids.join(","))]);
            client.get(&path).await.unwrap_or_default()
        }
    };
    let lines: HashMap<_, _> =
        AnswerRow(&lines).rows("rooms").map(|line| (line.text("id"), line)).collect();
    let total = AnswerRow(&list).count("total");
    let rows: Vec<_> = AnswerRow(&list)
        .rows("items")
        .map(|room| room_row(room, lines.get(room.text("id")).copied()))
        .collect();
    let is_filtered = !view.search.is_empty() || !view.tenant.is_empty();
    Ok(RoomsLive {
        base: String::new(),
        columns: columns(view),
        is_empty_server: rows.is_empty() && !is_filtered && view.after.is_empty(),
        pages: page_links(
            format!(
                "{} of {}",
                rows.len(),
                counted(Quantity::count(total).plain(), "room", "rooms")
            ),
            AnswerRow(&list),
            &view.after,
            |after| view.href("/rooms", &view.sort, after),
        ),
        rows,
    })
}

fn columns(view: &RoomsView) -> [SortColumn; 6] {
    std::array::from_fn(|column| {
        let order = ORDERS.iter().find(|(_, shown)| *shown == column).map(|(order, _)| *order);
        SortColumn {
            href: order.map(|order| view.href("/rooms", order, "")).unwrap_or_default(),
            order: order
                .filter(|order| *order == view.sort)
                .map(|order| if order == "name" { "ascending" } else { "descending" }),
        }
    })
}

fn room_row(room: AnswerRow<'_>, line: Option<AnswerRow<'_>>) -> RoomRow {
    let capacity = Quantity::count(room.count("capacity")).plain();
    let loss = line.and_then(AnswerRow::worst_loss);
    let values = line.map(|line| line.numbers("worst_loss_in_ppm", 1e-4)).unwrap_or_default();
    let is_known = values.iter().any(Option::is_some);
    RoomRow {
        id: room.text("id").to_owned(),
        name: room.name("name"),
        tenant: room.name("tenant"),
        is_locked: room.flag("locked"),
        peers: Quantity::count(room.count("peers")).with_unit(&format!("/ {capacity}")),
        rate_out: Quantity::bytes_per_second(
            line.and_then(|line| line.newest("bytes_out")).map(|bytes| bytes as f64),
        ),
        worst_loss: Quantity::loss(loss),
        trend: is_known.then(|| Sparkline {
            values,
            top: Some(TREND_TOP),
            suffers: loss.is_some_and(|ppm| ppm >= LOSS_WARN_PPM),
            fills_tile: false,
        }),
        open_for: Quantity::seconds(room.count("age_seconds")),
    }
}

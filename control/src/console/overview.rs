//! The server at a glance.

use axum::extract::{Path, State};
use axum::http::Method;
use axum::response::Response;
use nucleus_console::charts::{HeatCell, HeatMap};
use nucleus_console::screens::{
    ChartSlot, ErrorKind, FirstRunPage, OneChart, OverviewLive, OverviewPage, PageVerdict,
    ShardRow, Tile, WorstRoom,
};
use nucleus_console::text::counted;
use nucleus_console::{LOSS_WARN_PPM, Markup, MenuPlace, Quantity, ShownName, Tone};
use nucleus_core::control::TenantStatus;
use serde_json::Value;

use super::alarms::Alarms;
use super::answer::{self, PageError, PageResult};
use super::checks;
use super::client::ApiAsker;
use super::form::Fields;
use super::live;
use super::reader::{PageReader, StreamCaller};
use super::row::AnswerRow;
use super::state::ConsoleState;
use super::trends::{ChartUnit, Trends};

/// Most rooms whose loss is drawn, the fullest ones: what the API gives in one answer.
const HEAT_ROOMS: u32 = 200;
/// Rooms of the list of the worst ones.
const WORST_ROOMS: usize = 5;

pub(super) async fn page(State(state): State<ConsoleState>, reader: PageReader) -> PageResult {
    let shell = reader.shell("Overview", MenuPlace::Overview).await;
    let settings = &state.settings;
    let host = ShownName::new(settings.host.as_str());
    let server =
        if reader.sees_server() { reader.client.get("/server").await? } else { Value::Null };
    let is_first_run = reader.sees_server()
        && shell.rooms == Some(0)
        && has_nothing(&reader.client, "/history/sessions?limit=1").await;
    if is_first_run {
        return answer::page(&FirstRunPage {
            shell,
            host,
            uptime: Quantity::seconds(AnswerRow(&server).count("uptime_seconds")),
            data_dir: ShownName::new(settings.data_dir.as_str()),
            demo_href: settings.has_demo.then(|| "/demo".to_owned()),
            token_command: reader
                .role()
                .may_manage()
                .then(|| "nucleus token --user ada --room demo".to_owned()),
            checks: checks::checks(settings, &reader, AnswerRow(&server)).await,
        });
    }
    let rooms = Quantity::count(shell.rooms);
    let live = part(&state, &reader.client, reader.viewer.tenant_name.as_deref(), true).await?;
    answer::page(&OverviewPage {
        accepts: !reader.sees_server() || AnswerRow(&server).flag("accepts"),
        shell,
        host,
        rooms,
        drain_limit: Quantity::seconds(settings.drain_seconds).plain(),
        live,
    })
}

async fn has_nothing(client: &ApiAsker, path: &str) -> bool {
    client.get(path).await.is_ok_and(|list| AnswerRow(&list).rows("items").next().is_none())
}

pub(super) async fn stream(
    State(state): State<ConsoleState>,
    StreamCaller(caller): StreamCaller,
    reader: PageReader,
) -> PageResult {
    let (client, tenant) = (reader.client.clone(), reader.viewer.tenant_name.clone());
    let shared = state.clone();
    live::open(&state, caller, &reader, move || {
        let (state, client, tenant) = (shared.clone(), client.clone(), tenant.clone());
        async move { part(&state, &client, tenant.as_deref(), false).await }
    })
}

/// One chart alone, which the page fetches again.
pub(super) async fn chart(reader: PageReader, Path(name): Path<String>) -> PageResult {
    let trends = trends(&reader.client).await?;
    let chart = charts(&trends, true).into_iter().find(|slot| slot.source.ends_with(&name));
    let chart = chart.and_then(|slot| slot.chart).ok_or(PageError::Kind(ErrorKind::NotFound))?;
    answer::page(&OneChart { chart })
}

pub(super) async fn drain(reader: PageReader, _fields: Fields) -> Result<Response, PageError> {
    reader.client.ask(Method::POST, "/drain", &Value::Null).await?;
    Ok(answer::to("/?done=drain"))
}

async fn trends(client: &ApiAsker) -> Result<Trends, PageError> {
    Ok(Trends::new(client.get("/series?span=1h").await?))
}

/// `tenant`: the name of the reader's tenant; `None`: the reader sees the whole server. `with_charts`: whether the
/// charts have their lines; live parts leave those that the page shows.
async fn part(
    state: &ConsoleState,
    client: &ApiAsker,
    tenant: Option<&str>,
    with_charts: bool,
) -> Result<OverviewLive, PageError> {
    let sees_server = tenant.is_none();
    let (host, now) = (state.settings.host.as_str(), state.now().micros());
    let alarms = Alarms::read(client).await;
    let server = if sees_server { client.get("/server").await? } else { Value::Null };
    let trends = if sees_server { trends(client).await? } else { Trends::default() };
    let rooms = client.get("/rooms?limit=1").await?;
    let lines = client.get(&format!("/series/rooms?limit={HEAT_ROOMS}")).await?;
    let losses: Vec<_> = AnswerRow(&lines).rows("rooms").map(RoomLoss::of).collect();
    Ok(OverviewLive {
        base: String::new(),
        verdict: verdict(AnswerRow(&server), sees_server, &alarms, &losses),
        tiles: match tenant {
            None => server_tiles(AnswerRow(&server), &trends),
            Some(name) => tenant_tiles(AnswerRow(&rooms), state.api.tenant_status(name).await),
        },
        charts: if sees_server { charts(&trends, with_charts) } else { Vec::new() },
        shards: shards(AnswerRow(&server), &trends),
        heat: HeatMap { cells: losses.iter().map(RoomLoss::cell).collect() },
        worst_rooms: worst(&losses),
        alarms: alarms.rows(),
        more_alarms: alarms.more(),
        days_left: alarms.days_left(host, now),
    })
}

/// The loss of a room's worst link, in the worse direction.
struct RoomLoss {
    id: String,
    name: ShownName,
    ppm: Option<u32>,
}

impl RoomLoss {
    fn of(room: AnswerRow<'_>) -> Self {
        Self { id: room.text("id").to_owned(), name: room.name("name"), ppm: room.worst_loss() }
    }

    fn cell(&self) -> HeatCell {
        HeatCell { id: self.id.clone(), name: self.name.clone(), worst_loss_ppm: self.ppm }
    }

    fn suffers(&self) -> bool {
        self.ppm.is_some_and(|ppm| ppm >= LOSS_WARN_PPM)
    }
}

fn worst(losses: &[RoomLoss]) -> Vec<WorstRoom> {
    let mut worst: Vec<_> = losses.iter().filter(|room| room.suffers()).collect();
    worst.sort_by_key(|room| std::cmp::Reverse(room.ppm));
    let row = |room: &&RoomLoss| WorstRoom {
        id: room.id.clone(),
        name: room.name.clone(),
        loss: Quantity::loss(room.ppm),
    };
    worst.iter().take(WORST_ROOMS).map(row).collect()
}

fn verdict(
    server: AnswerRow<'_>,
    sees_server: bool,
    alarms: &Alarms,
    losses: &[RoomLoss],
) -> PageVerdict {
    let suffering = losses.iter().filter(|room| room.suffers()).count();
    if sees_server && !server.flag("accepts") {
        return PageVerdict {
            tone: Tone::Warn,
            headline: Markup::from("Draining"),
            detail: Markup::from("The server takes no new sessions and ends."),
            remedy: None,
        };
    }
    if let Some(verdict) = alarms.verdict() {
        return verdict;
    }
    let (tone, headline) = match suffering {
        0 => (Tone::Good, "Running well"),
        _ => (Tone::Warn, "Some links suffer"),
    };
    let detail = match suffering {
        0 => "No link loses more than 1 % of its datagrams.".to_owned(),
        1 => "In one room a link loses more than 1 % of its datagrams.".to_owned(),
        more => format!("In {more} rooms links lose more than 1 % of their datagrams."),
    };
    PageVerdict {
        tone,
        headline: Markup::from(headline),
        detail: Markup::from(detail.as_str()),
        remedy: (suffering > 0).then(|| {
            Markup::from("look at the rooms below: networks that let nothing through on the realtime port, or weak Wi-Fi, are the usual causes. ")
                .link("/network", "Port table to send")
        }),
    }
}

fn tile(title: &str, value: Quantity, context: String) -> Tile {
    let context = Markup::from(context.as_str());
    Tile { title: title.to_owned(), value, context, trend: None }
}

fn server_tiles(server: AnswerRow<'_>, trends: &Trends) -> Vec<Tile> {
    let links: u64 = server.rows("shards").filter_map(|shard| shard.count("links")).sum();
    let fallback: u64 = server.rows("shards").filter_map(|shard| shard.count("on_fallback")).sum();
    let drops: u64 = server.rows("shards").filter_map(|shard| shard.count("kernel_drops")).sum();
    let share = (links > 0).then(|| fallback as f64 / links as f64);
    let (joins, failed) = (trends.sum("joins"), trends.sum("failed_joins"));
    let all = joins.zip(failed).map(|(joins, failed)| (joins, joins + failed));
    let success = all.filter(|(_, all)| *all > 0.0).map(|(joins, all)| joins / all);
    let with = |tile: Tile, name: &str| Tile { trend: trends.spark(name, None, 90), ..tile };
    let micros = |name: &str| trends.newest(name, None).map(|us| us as u64);
    let peak = Quantity::count(trends.largest("headsets").map(|most| most as u64));
    vec![
        with(
            tile(
                "Headsets",
                Quantity::count(server.count("sessions")),
                format!(
                    "at most {} in the last hour, limit {}",
                    peak.plain(),
                    Quantity::count(server.count("max_sessions")).plain()
                ),
            ),
            "headsets",
        ),
        with(
            tile("Rooms", Quantity::count(server.count("rooms")), "at this moment".to_owned()),
            "rooms",
        ),
        with(
            tile(
                "On the fallback",
                Quantity::share(share),
                format!("{fallback} without the realtime port"),
            ),
            "fallback",
        ),
        with(
            tile(
                "Join success",
                Quantity::share(success),
                match joins {
                    Some(joins) => format!(
                        "{} in the last hour",
                        counted(format!("{joins:.0}"), "join", "joins")
                    ),
                    None => "in the last hour".to_owned(),
                },
            ),
            "joins",
        ),
        with(
            tile(
                "Relay latency p99",
                Quantity::micros(micros("relay_p99")),
                format!("p50 {}", Quantity::micros(micros("relay_p50")).plain()),
            ),
            "relay_p99",
        ),
        with(
            tile(
                "Kernel drops",
                Quantity::per_second(
                    trends.newest("kernel_drops", None).map(|drops| drops / trends.step_seconds()),
                ),
                match drops {
                    0 => "none since the start".to_owned(),
                    drops => format!("{drops} since the start"),
                },
            ),
            "kernel_drops",
        ),
    ]
}

/// `status`: what the tenant has; `None`: the planes are busy.
fn tenant_tiles(rooms: AnswerRow<'_>, status: Option<TenantStatus>) -> Vec<Tile> {
    let sessions = status.map(|status| status.sessions);
    let now = || "at this moment".to_owned();
    vec![
        tile("Rooms", Quantity::count(rooms.count("total")), now()),
        tile("Headsets", Quantity::count(sessions), now()),
    ]
}

fn charts(trends: &Trends, with_lines: bool) -> Vec<ChartSlot> {
    let slot = |name: &str, title: &str, unit, lines: &[(&str, &str)]| ChartSlot {
        id: format!("chart-{name}"),
        source: format!("/charts/{name}"),
        chart: with_lines.then(|| trends.chart(title, unit, lines)),
    };
    vec![
        slot(
            "latency",
            "Relay latency",
            ChartUnit::Millis,
            &[("relay_p99", "p99"), ("relay_p50", "p50")],
        ),
        slot(
            "loss",
            "Lost datagrams",
            ChartUnit::Percent,
            &[("loss_in", "to the server"), ("loss_out", "to the headsets")],
        ),
    ]
}

fn shards(server: AnswerRow<'_>, trends: &Trends) -> Vec<ShardRow> {
    let row = |(number, shard): (usize, AnswerRow<'_>)| {
        let id = u64::try_from(number).ok();
        let rate = |name| trends.newest(name, id);
        let datagrams = rate("datagrams_in").zip(rate("datagrams_out"));
        ShardRow {
            number: u16::try_from(number).unwrap_or(u16::MAX),
            cpu: rate("cpu").map(|ppm| ppm / 1e6),
            headsets: Quantity::count(shard.count("links")),
            trend: trends.spark("cpu", id, 90).unwrap_or_default(),
            datagrams: Quantity::per_second(datagrams.map(|(in_, out)| in_ + out)),
        }
    };
    server.rows("shards").enumerate().map(row).collect()
}

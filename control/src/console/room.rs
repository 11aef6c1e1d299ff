//! One live room.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use nucleus_console::charts::{HeadState, PlanDrawing, PlanHead};
use nucleus_console::screens::{
    KeptOutRow, OneRoomPage, RoomEndedLive, RoomLive, RosterRow, StateRow, Tile,
};
use nucleus_console::text::counted;
use nucleus_console::{LOSS_WARN_PPM, Mark, Markup, MenuPlace, Quantity, ShownName, Tone};
use serde_json::Value;

use super::answer::{self, PageError, PageResult};
use super::bans;
use super::client::ApiAsker;
use super::live;
use super::reader::{PageReader, StreamCaller};
use super::room_life::{self, NewestEvents, earlier};
use super::row::{AnswerRow, encoded};
use super::state::ConsoleState;
use crate::api::Scope;

/// Most entries of the shared state that are shown.
const MOST_STATE: usize = 200;

pub(super) async fn page(
    State(state): State<ConsoleState>,
    reader: PageReader,
    Path(id): Path<String>,
) -> PageResult {
    let room = match reader.client.get(&format!("/rooms/{}", encoded(&id))).await {
        Err(refusal) if refusal.status == StatusCode::NOT_FOUND => {
            return room_life::past(&reader, &id).await;
        }
        room => room?,
    };
    let room = AnswerRow(&room);
    let name = room.name("name");
    let shell = reader.shell(&name.label(), MenuPlace::Rooms).await;
    let may_ban = may_ban(&reader, room).await;
    let source = RoomSource::new(&state, &reader, id, may_ban);
    let live = part(&source, true).await?;
    answer::page(&OneRoomPage {
        shell,
        id: room.text("id").to_owned(),
        name,
        tenant: room.name("tenant"),
        peers: Quantity::count(room.count("peers")),
        live,
    })
}

pub(super) async fn stream(
    State(state): State<ConsoleState>,
    StreamCaller(caller): StreamCaller,
    reader: PageReader,
    Path(id): Path<String>,
) -> PageResult {
    let ended = RoomEndedLive { base: String::new(), id: id.clone() };
    let room = reader.client.get(&format!("/rooms/{}", encoded(&id))).await.unwrap_or_default();
    let may_ban = may_ban(&reader, AnswerRow(&room)).await;
    let source = Arc::new(RoomSource::new(&state, &reader, id, may_ban));
    live::open_of_one(&state, caller, &reader, &ended, move || {
        let source = source.clone();
        async move { part(&source, false).await }
    })
}

/// Whether the reader may ban users of a room: a ban is kept with a tenant, and the database may have none.
async fn may_ban(reader: &PageReader, room: AnswerRow<'_>) -> bool {
    reader.may(Scope::Operate) && bans::tenant_id(reader, room.text("tenant")).await.is_some()
}

/// Where the parts of a room's page come from.
struct RoomSource {
    state: ConsoleState,
    client: ApiAsker,
    id: String,
    may_operate: bool,
    may_ban: bool,
    /// The UDP port of the realtime plane.
    port: u16,
    events: NewestEvents,
}

impl RoomSource {
    fn new(state: &ConsoleState, reader: &PageReader, id: String, may_ban: bool) -> Self {
        Self {
            state: state.clone(),
            client: reader.client.clone(),
            id,
            may_operate: reader.may(Scope::Operate),
            may_ban,
            port: state.settings.realtime_port,
            events: NewestEvents::default(),
        }
    }
}

/// `with_charts`: whether the charts have their lines; live parts leave those that the page shows.
async fn part(source: &RoomSource, with_charts: bool) -> Result<RoomLive, PageError> {
    let RoomSource { client, port, .. } = source;
    let path = format!("/rooms/{}", encoded(&source.id));
    let room = client.get(&path).await?;
    let stats = client.get(&format!("{path}/stats")).await?;
    // The plan and the shared state are additions: a room that is busy is shown without them.
    let plan = client.get(&format!("{path}/plan")).await.unwrap_or_default();
    let fields = client.get(&format!("{path}/properties")).await.unwrap_or_default();
    let charts = room_life::charts(client, &source.id, with_charts).await;
    let (room, stats, plan) = (AnswerRow(&room), AnswerRow(&stats), AnswerRow(&plan));
    let age = room.count("age_seconds").unwrap_or_default().min(room_life::ACTS_FOR);
    let happenings = source.events.of(client, &source.id, earlier(source.state.now(), age)).await;
    let figures: HashMap<_, _> = stats.rows("peers").map(|peer| (peer.text("id"), peer)).collect();
    let roster: Vec<_> = room
        .rows("members")
        .enumerate()
        .map(|(index, member)| {
            roster_row(index + 1, member, figures.get(member.text("id")).copied(), *port)
        })
        .collect();
    // A shard that does not answer leaves the figures of all links unknown.
    let is_known = stats.flag("shard_answered");
    let suffering = stats.rows("peers").filter(|peer| suffers(*peer)).count();
    let suffering = is_known.then_some(suffering);
    let (state, more_state) = state_rows(&fields);
    Ok(RoomLive {
        base: String::new(),
        id: room.text("id").to_owned(),
        may_operate: source.may_operate,
        may_ban: source.may_ban,
        mark: mark(suffering, stats, roster.len()),
        is_locked: room.flag("locked"),
        tiles: tiles(room, stats, *port),
        plan: drawing(plan, &roster),
        plan_words: words(stats, suffering),
        charts,
        happenings,
        roster,
        kept_out: room.rows("bans").map(kept_out_row).collect(),
        state,
        more_state,
    })
}

fn kept_out_row(ban: AnswerRow<'_>) -> KeptOutRow {
    KeptOutRow { user: ban.name("user"), left: Quantity::seconds(ban.count("seconds_left")) }
}

fn suffers(peer: AnswerRow<'_>) -> bool {
    let lost = |name: &str| peer.ppm(name).is_some_and(|ppm| ppm >= LOSS_WARN_PPM);
    lost("loss_in_ppm") || lost("loss_out_ppm")
}

/// `suffering`: how many links suffer; `None`: nobody knows.
fn mark(suffering: Option<usize>, stats: AnswerRow<'_>, peers: usize) -> Mark {
    let (lost, away) = (count_of(stats, "lost"), count_of(stats, "away"));
    let on_fallback = stats.rows("peers").filter(|peer| peer.text("plane") == "fallback").count();
    let Some(suffering) = suffering.filter(|_| peers > 0) else {
        let words = if peers == 0 { "Empty" } else { "The links are not known at present" };
        return Mark::new(Tone::Idle, words);
    };
    let tone = match () {
        () if suffering + lost > 0 => Tone::Warn,
        () if away + on_fallback > 0 => Tone::Info,
        () => return Mark::new(Tone::Good, "All links are well"),
    };
    let suffers = counted(suffering, "link suffers", "links suffer");
    let parts = [
        (lost, format!("{lost} lost, may come back")),
        (suffering, suffers),
        // Nothing comes from somebody who is away: the link may be dead.
        (away, format!("{away} away")),
        (on_fallback, format!("{on_fallback} on the fallback")),
    ];
    let parts: Vec<_> =
        parts.into_iter().filter(|(count, _)| *count > 0).map(|(_, words)| words).collect();
    Mark::new(tone, &parts.join(", "))
}

/// Counts the participants that have a flag.
fn count_of(stats: AnswerRow<'_>, flag: &str) -> usize {
    stats.rows("peers").filter(|peer| peer.flag(flag)).count()
}

fn tiles(room: AnswerRow<'_>, stats: AnswerRow<'_>, port: u16) -> Vec<Tile> {
    let nothing = Value::Null;
    let is_known = stats.flag("shard_answered");
    let total = stats.0.get("total").filter(|_| is_known);
    let total = AnswerRow(total.unwrap_or(&nothing));
    let tile = |title: &str, value: Quantity, context: String| Tile {
        title: title.to_owned(),
        value,
        context: Markup::from(context.as_str()),
        trend: None,
    };
    let count = |name: &str| total.count(name);
    // The totals are sums since each link began, so the mean is over the room's time.
    let seconds = stats.count("age_seconds").filter(|age| *age > 0).map(|age| age as f64);
    let rate = |name: &str| count(name).zip(seconds).map(|(bytes, age)| bytes as f64 / age);
    vec![
        tile(
            "In the room",
            Quantity::count(room.count("peers"))
                .with_unit(&format!("/ {}", Quantity::count(room.count("capacity")).plain())),
            format!("{} away", Quantity::count(count("away")).plain()),
        ),
        worst_link(stats),
        tile("Speaking", Quantity::count(count("speaking")), "at this moment".to_owned()),
        tile(
            "On the fallback",
            Quantity::count(count("on_fallback")),
            format!("{} on UDP {port}", Quantity::count(count("on_realtime")).plain()),
        ),
        tile(
            "Rate out",
            Quantity::bytes_per_second(rate("bytes_out")),
            format!("in: {}, means", Quantity::bytes_per_second(rate("bytes_in")).plain()),
        ),
        tile(
            "Withheld",
            Quantity::count(count("withheld")),
            "messages, since they came".to_owned(),
        ),
        tile(
            "Open for",
            Quantity::seconds(room.count("age_seconds")),
            format!("shard {}", Quantity::count(room.count("shard")).plain()),
        ),
    ]
}

/// The loss of the worst link in the worse direction, and whose it is.
fn worst_link(stats: AnswerRow<'_>) -> Tile {
    let loss = |peer: AnswerRow<'_>| peer.ppm("loss_in_ppm").max(peer.ppm("loss_out_ppm"));
    let losses = stats.rows("peers").filter_map(|peer| Some((loss(peer)?, peer)));
    let worst = losses.reduce(|worst, next| if next.0 > worst.0 { next } else { worst });
    let context = Markup::new();
    let context = match worst.filter(|(loss, _)| *loss > 0) {
        None => context.text("lost, in the worse direction"),
        Some((_, peer)) => {
            let href = format!("/sessions/{}", encoded(peer.text("id")));
            context
                .text("of ")
                .link_name(&href, &peer.name("name"))
                .text(", in the worse direction")
        }
    };
    let value = Quantity::loss(worst.map(|(loss, _)| loss));
    Tile { title: "Worst link".to_owned(), value, context, trend: None }
}

fn roster_row(
    number: usize,
    member: AnswerRow<'_>,
    figures: Option<AnswerRow<'_>>,
    port: u16,
) -> RosterRow {
    let age = figures.and_then(|peer| peer.count("age_seconds")).unwrap_or_default();
    let way = if member.flag("lost") {
        Mark::new(Tone::Bad, "Lost, may come back")
    } else if member.flag("away") {
        Mark::new(Tone::Idle, "Away")
    } else {
        match figures.map(|peer| peer.text("plane")) {
            Some("realtime") => Mark::new(Tone::Good, &format!("UDP {port}")),
            Some("fallback") => Mark::new(Tone::Warn, "Fallback"),
            _ if age < 5 => Mark::new(Tone::Info, "Begins"),
            _ => Mark::new(Tone::Idle, "No realtime"),
        }
    };
    let micros = |name: &str| figures.and_then(|peer| peer.count(name));
    let loss = |name: &str| Quantity::loss(figures.and_then(|peer| peer.ppm(name)));
    RosterRow {
        number,
        id: member.text("id").to_owned(),
        name: member.name("name"),
        user: member.name("user"),
        way,
        round_trip: Quantity::round_trip(micros("rtt_us")),
        jitter_us: micros("jitter_us"),
        loss_up: loss("loss_in_ppm"),
        loss_down: loss("loss_out_ppm"),
        withheld: Quantity::count(micros("withheld")),
        client: figures.and_then(|peer| peer.some_name("client")),
        is_muted: member.flag("muted"),
    }
}

fn words(stats: AnswerRow<'_>, suffering: Option<usize>) -> String {
    let Some(suffering) = suffering else {
        return "Nobody knows at present who speaks and how the links are.".to_owned();
    };
    let names =
        |peers: Vec<ShownName>| peers.iter().map(ShownName::label).collect::<Vec<_>>().join(", ");
    let of = |flag: &str| -> Vec<_> {
        stats.rows("peers").filter(|peer| peer.flag(flag)).map(|peer| peer.name("name")).collect()
    };
    let speaking = match of("speaking") {
        none if none.is_empty() => "Nobody speaks.".to_owned(),
        some => format!("Speaking: {}.", names(some)),
    };
    let named = |flag: &str, title: &str| match of(flag) {
        none if none.is_empty() => String::new(),
        some => format!(" {title}: {}.", names(some)),
    };
    let (lost, away) = (named("lost", "Lost"), named("away", "Away"));
    let links = match suffering {
        0 if lost.is_empty() && away.is_empty() => " All links are well.".to_owned(),
        0 => " The other links are well.".to_owned(),
        1 => " One link suffers.".to_owned(),
        more => format!(" {more} links suffer."),
    };
    format!("{speaking}{lost}{away}{links}")
}

/// Returns the plan; `None`: no head has a place.
fn drawing(plan: AnswerRow<'_>, roster: &[RosterRow]) -> Option<PlanDrawing> {
    let rows: HashMap<_, _> = roster.iter().map(|row| (row.id.as_str(), row)).collect();
    let heads: Vec<_> =
        plan.rows("heads").filter_map(|head| plan_head(head, rows.get(head.text("id"))?)).collect();
    (!heads.is_empty()).then_some(PlanDrawing { heads })
}

fn plan_head(head: AnswerRow<'_>, row: &RosterRow) -> Option<PlanHead> {
    let state = match () {
        () if head.flag("away") => HeadState::Away,
        () if head.flag("suffers") => HeadState::Suffering,
        () if head.flag("speaking") => HeadState::Speaking,
        () => HeadState::Listening,
    };
    Some(PlanHead {
        number: row.number,
        name: row.name.clone(),
        position_m: (head.number("x")?, head.number("z")?),
        // The API counts from -z, which is up in the drawing, to the left; the drawing clockwise from the
        // right.
        view_degrees: head.number("yaw").map(|yaw| (270.0 - yaw).rem_euclid(360.0)),
        state,
        note: match state {
            HeadState::Away => Some("away".to_owned()),
            HeadState::Suffering => Some("link suffers".to_owned()),
            _ => None,
        },
    })
}

/// Returns the room's properties, and how many more there are.
fn state_rows(fields: &Value) -> (Vec<StateRow>, u64) {
    let Some(fields) = fields.as_object() else { return (Vec::new(), 0) };
    let row = |(field, value): (&String, &Value)| StateRow {
        entity: ShownName::new("room"),
        field: ShownName::new(field.as_str()),
        value: ShownName::new(value.to_string()),
        owner: None,
    };
    let more = fields.len().saturating_sub(MOST_STATE);
    (fields.iter().take(MOST_STATE).map(row).collect(), more as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_worst_link_names_its_person() {
        let peer = |number: u8, loss_in: Option<u32>, loss_out: Option<u32>| {
            let (id, name) = (format!("0101010101010101-{number}"), format!("Peer {number}"));
            json!({"id": id, "name": name, "loss_in_ppm": loss_in, "loss_out_ppm": loss_out})
        };
        let shown = |peers: Vec<Value>| {
            let tile = worst_link(AnswerRow(&json!({ "peers": peers })));
            (tile.value.plain(), tile.context.as_str().to_owned())
        };
        let well = || peer(1, Some(0), Some(0));
        let (loss, whose) =
            shown(vec![well(), peer(2, Some(10), Some(40_000)), peer(3, None, None)]);
        assert_eq!(loss, "4\u{a0}%");
        let link = "<a href=\"/sessions/0101010101010101-2\"><bdi>Peer 2</bdi></a>";
        assert_eq!(whose, format!("of {link}, in the worse direction"));
        for (peers, loss) in [(vec![well()], "0\u{a0}%"), (vec![peer(3, None, None)], "–")] {
            assert_eq!(shown(peers), (loss.to_owned(), "lost, in the worse direction".to_owned()));
        }
    }
}

//! What a network must let through.

use axum::extract::State;
use nucleus_console::screens::{AddressRow, NetworkPage, PageVerdict, PortRow};
use nucleus_console::{Mark, Markup, MenuPlace, Quantity, ShownName, Tone};
use serde_json::Value;

use super::answer::{self, PageResult};
use super::checks::certificate_words;
use super::reader::PageReader;
use super::row::AnswerRow;
use super::state::{ConsoleSettings, ConsoleState};

pub(super) async fn page(State(state): State<ConsoleState>, reader: PageReader) -> PageResult {
    let settings = &state.settings;
    let shell = reader.shell("Network", MenuPlace::Network).await;
    let server = match reader.sees_server() {
        true => reader.client.get("/server").await?,
        false => Value::Null,
    };
    answer::page(&NetworkPage {
        shell,
        verdict: verdict(AnswerRow(&server), reader.sees_server()),
        host: ShownName::new(settings.host.as_str()),
        ports: ports(settings),
        addresses: if reader.sees_server() { addresses(AnswerRow(&server)) } else { Vec::new() },
    })
}

fn verdict(server: AnswerRow<'_>, sees_server: bool) -> PageVerdict {
    let sum = |name: &str| server.rows("shards").filter_map(|shard| shard.count(name)).sum::<u64>();
    let (links, fallback) = (sum("links"), sum("on_fallback"));
    let share = (links > 0).then(|| fallback as f64 / links as f64);
    let detail = match share {
        Some(share) => format!(
            "{} of the headsets are on the fallback: their networks let nothing through on the realtime port.",
            Quantity::share(share).plain()
        ),
        None => "Whether a network lets them through shows when somebody joins from it.".to_owned(),
    };
    PageVerdict {
        tone: Tone::Good,
        headline: Markup::from("The server listens on its ports"),
        detail: Markup::from(if sees_server { detail.as_str() } else { "" }),
        remedy: None,
    }
}

fn ports(settings: &ConsoleSettings) -> Vec<PortRow> {
    let row = |port: String, purpose: &str, without: &str| PortRow {
        port,
        purpose: purpose.to_owned(),
        direction: "outbound".to_owned(),
        without: without.to_owned(),
        mark: Mark::new(Tone::Good, "Listens"),
    };
    let mut ports = vec![row(
        format!("UDP {}", settings.session_port),
        "Sessions: joining, events, shared state (QUIC); browsers (WebTransport)",
        "Nobody joins.",
    )];
    for port in &settings.session_also {
        ports.push(row(
            format!("UDP {port}"),
            "Sessions, for networks that block the port above",
            "Clients use the port above.",
        ));
    }
    ports.push(row(
        format!("UDP {}", settings.realtime_port),
        "Realtime: poses and voice",
        "Poses and voice take the fallback through the session: later and less even.",
    ));
    if let Some(port) = settings.https_port {
        ports.push(row(
            format!("TCP {port}"),
            "This dashboard and the API (HTTPS)",
            "Dashboard and API are not reached.",
        ));
    }
    ports
}

fn addresses(server: AnswerRow<'_>) -> Vec<AddressRow> {
    let row = |title: &str, value: Markup| AddressRow { title: title.to_owned(), value };
    let certificate = certificate_words(server).map(|(_, words)| row("Certificate", words));
    let rows = vec![
        row("Server id", Markup::new().then(&server.name("id"))),
        row("Version", Markup::new().then(&server.name("version"))),
        row("Runs for", Markup::new().then(&Quantity::seconds(server.count("uptime_seconds")))),
        row("Most sessions", Markup::new().then(&Quantity::count(server.count("max_sessions")))),
    ];
    rows.into_iter().chain(certificate).collect()
}

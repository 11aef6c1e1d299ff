//! What is going on now: overview, rooms, one room, calls, the first steps.

use nucleus_console::charts::{
    ChartAxis, ChartSeries, HeadState, HeatCell, HeatMap, LineChart, PlanDrawing, PlanHead,
    Sparkline,
};
use nucleus_console::screens::*;
use nucleus_console::{
    Mark, Markup, MenuPlace, MenuRole, Quantity, RenderError, ShownName, ShownTime, Tone, render,
};

use super::{Data, at, wave};

pub(super) fn pages(data: Data) -> Result<Vec<(&'static str, String)>, RenderError> {
    Ok(vec![
        ("overview", render(&overview(data, MenuRole::Operator))?),
        ("overview-partner", render(&overview(data, MenuRole::PartnerAdmin))?),
        ("rooms", render(&rooms(data))?),
        ("room", render(&room(data, MenuRole::Operator))?),
        ("room-viewer", render(&room(data, MenuRole::Viewer))?),
        ("calls", render(&calls(data))?),
        ("first-run", render(&first_run(data))?),
    ])
}

pub(super) fn parts(data: Data) -> Result<Vec<(&'static str, String)>, RenderError> {
    Ok(vec![
        ("overview", render(&overview(data, MenuRole::Operator).live)?),
        ("rooms", render(&rooms(data).live)?),
        ("room", render(&room(data, MenuRole::Operator).live)?),
        ("room-ended", render(&RoomEndedLive { base: String::new(), id: "r1".to_owned() })?),
        ("calls", render(&calls(data).live)?),
    ])
}

fn tile(title: &str, value: Quantity, context: &str, trend: Option<Sparkline>) -> Tile {
    Tile { title: title.to_owned(), value, context: Markup::from(context), trend }
}

fn trend(base: f64, swing: f64) -> Option<Sparkline> {
    Some(Sparkline { values: wave(40, base, swing), fills_tile: true, ..Sparkline::default() })
}

fn chart(data: Data, id: &str, title: &str, unit: &str, lines: &[(&str, f64)]) -> ChartSlot {
    let times = (0..121).map(|step| at(9, 20, 0) / 1_000_000 + step * 30).collect();
    let series = lines.iter().enumerate().map(|(index, (label, base))| ChartSeries {
        label: (*label).to_owned(),
        values: wave(121, *base, base / 3.0),
        color: (index == 1).then_some(3),
    });
    ChartSlot {
        id: format!("chart-{id}"),
        source: format!("/charts/{id}"),
        chart: Some(LineChart {
            title: title.to_owned(),
            context: "last hour".to_owned(),
            reading: format!("{} {unit} now", lines[0].1),
            unit: unit.to_owned(),
            axis: ChartAxis::Times(data.list(times)),
            series: data.list(series.collect()),
            limit: (unit == "%").then_some(1.0),
            is_low: unit == "%",
        }),
    }
}

fn overview(data: Data, role: MenuRole) -> OverviewPage {
    let losses = (0..500_u32).map(|room| HeatCell {
        id: "r1".to_owned(),
        name: data.name_of(&format!("Room {room}")),
        worst_loss_ppm: match room {
            0..3 => Some(62_000 - room * 14_000),
            3..5 => Some(16_000),
            5..12 => Some(7_000),
            12..40 => Some(2_000),
            499 => None,
            _ => Some(300),
        },
    });
    let worst = [
        ("Anatomy lab 3", 62_000),
        ("研修ルーム 12", 41_000),
        ("غرفة التدريب 4", 33_000),
        ("Навчання кранівників 7", 16_000),
        ("Forklift safety 21", 12_000),
    ];
    let worst_rooms = worst.iter().map(|(name, ppm)| WorstRoom {
        id: "r1".to_owned(),
        name: data.name_of(name),
        loss: Quantity::loss(*ppm),
    });
    let shard = |number: u16| ShardRow {
        number,
        cpu: if number == 6 {
            None
        } else {
            Some([0.66, 0.61, 0.58, 0.83, 0.64, 0.6][usize::from(number)])
        },
        headsets: Quantity::count(742 - u64::from(number) * 8),
        trend: Sparkline {
            values: wave(30, 7.0, 2.0),
            suffers: number == 3,
            ..Sparkline::default()
        },
        datagrams: Quantity::per_second(46_000.0),
    };
    let alarm = |tone, words: &str, hour, minute, remedy: Markup| AlarmRow {
        mark: Mark::new(tone, &data.text(words)),
        since: ShownTime::from_micros(at(hour, minute, 0)),
        remedy,
    };
    let webhook = data.name_of("Порт Одеса").label();
    let live = OverviewLive {
        base: String::new(),
        verdict: PageVerdict {
            tone: Tone::Good,
            headline: Markup::from("Running well"),
            detail: Markup::from(
                "5 of 500 rooms have links that suffer. One shard is above 80 % CPU. ",
            )
            .link("/rooms?show=suffering", "Look at the 5 rooms"),
            remedy: None,
        },
        tiles: vec![
            tile(
                "Headsets",
                Quantity::count(data.some(5_000)),
                "peak today 5,212",
                trend(20.0, 8.0),
            ),
            tile("Rooms", Quantity::count(data.some(500)), "41 opened in 1 h", trend(10.0, 4.0)),
            tile(
                "On the fallback",
                Quantity::share(data.some(0.031)),
                "155 without UDP 5056",
                trend(3.0, 2.0),
            ),
            tile(
                "Join success",
                Quantity::share(data.some(0.999_4)),
                "3,108 joins in 1 h",
                trend(99.0, 1.0),
            ),
            tile(
                "Relay latency p99",
                Quantity::micros(data.some(6_800)),
                "p50 1.9 ms",
                trend(6.0, 3.0),
            ),
            tile(
                "Kernel drops",
                Quantity::per_second(data.some(0.0)),
                "none since the start",
                trend(0.0, 0.0),
            ),
        ],
        charts: vec![chart(data, "latency", "Relay latency", "ms", &[("p99", 6.8), ("p50", 1.9)])],
        shards: if role == MenuRole::PartnerAdmin {
            Vec::new()
        } else {
            data.list((0..7).map(shard).collect())
        },
        heat: HeatMap { cells: data.list(losses.collect()) },
        worst_rooms: data.list(worst_rooms.collect()),
        alarms: data.list(vec![
            alarm(
                Tone::Bad,
                "The certificate has ended: clients refuse the server",
                8,
                15,
                Markup::from("Put a new one into its file, then send SIGHUP. ")
                    .link("/network", "The certificate"),
            ),
            alarm(
                Tone::Warn,
                "Shard 3 uses 83 % of a core",
                10,
                12,
                Markup::from("Use more shards, or another server. One room is on one shard. ")
                    .link("/rooms?sort=peers", "The fullest rooms"),
            ),
            alarm(
                Tone::Warn,
                "A webhook was switched off: its address has answered 410 Gone",
                9,
                47,
                Markup::from("Look at its address, then switch it on again. ")
                    .link("/webhooks/w1", &webhook),
            ),
        ]),
        more_alarms: if data == Data::Hostile { 95 } else { 0 },
        days_left: data.list(vec![
            LabelledMark {
                title: Markup::from("Certificate of xr.example.org"),
                mark: Mark::new(Tone::Good, "61 days"),
            },
            LabelledMark {
                title: Markup::from("Licence of ").then(&data.name_of("Kigali Skills Lab")),
                mark: Mark::new(Tone::Warn, "9 days"),
            },
        ]),
    };
    OverviewPage {
        shell: data.shell("Overview", MenuPlace::Overview, role),
        host: ShownName::new("xr.example.org"),
        rooms: Quantity::count(data.some(500)),
        drain_limit: "3 s".to_owned(),
        accepts: true,
        live,
    }
}

fn rooms(data: Data) -> RoomsPage {
    let names = [
        "Anatomy lab 3",
        "研修ルーム 12",
        "غرفة التدريب 4",
        "Навчання кранівників 7",
        "Forklift safety 21",
        "Εκπαίδευση 5",
        "Pump station walk-through 16",
        "Lớp học lắp ráp 17",
        "安全講習 11",
        "Salle de soudure 10",
    ];
    let tenants =
        ["Klinikum Nord", "東海製作所", "أكاديمية الخليج", "Порт Одеса", "Hanseatic Logistics"];
    let losses = [62_000, 41_000, 33_000, 16_000, 12_000, 8_000, 6_200, 5_600, 4_800, 300];
    let rows = (0..100_usize).map(|index| {
        let ppm = losses.get(index).copied().unwrap_or(200);
        RoomRow {
            id: format!("{index:x}"),
            name: data.name_of(names[index % names.len()]),
            tenant: data.name_of(tenants[index % tenants.len()]),
            is_locked: index % 9 == 8,
            peers: Quantity::count(3 + index as u64 % 13).with_unit("/ 16"),
            rate_out: Quantity::bytes_per_second(287_000.0 - index as f64 * 2_000.0),
            worst_loss: if index == 99 { Quantity::loss(None) } else { Quantity::loss(ppm) },
            trend: Some(Sparkline {
                values: wave(24, f64::from(ppm) / 1e4, 0.2),
                top: Some(7.0),
                suffers: ppm >= 10_000,
                fills_tile: false,
            }),
            open_for: Quantity::seconds(3_120 + index as u64 * 77),
        }
    });
    let orders = ["name", "tenant", "peers", "rate", "loss", "open"];
    let filter = |value: &str, title: &str, is_chosen| Choice {
        value: nucleus_console::link::query("/rooms", &[("show", value)]),
        title: title.to_owned(),
        is_chosen,
    };
    RoomsPage {
        shell: data.shell("Rooms", MenuPlace::Rooms, MenuRole::Operator),
        search: if data == Data::Hostile { data.text("search") } else { String::new() },
        filters: vec![
            filter("", "All 500", true),
            filter("suffering", "Suffering 5", false),
            filter("locked", "Locked 28", false),
        ],
        show: String::new(),
        sort: "loss".to_owned(),
        tenants: TenantField {
            choices: data.list(
                ["", "Klinikum Nord", "東海製作所"]
                    .map(|tenant| Choice {
                        value: tenant.to_owned(),
                        title: if tenant.is_empty() {
                            "All tenants".to_owned()
                        } else {
                            data.name_of(tenant).label()
                        },
                        is_chosen: tenant.is_empty(),
                    })
                    .to_vec(),
            ),
            name: (data == Data::Hostile).then(|| data.text("Acme")),
        },
        csv_href: "/rooms.csv?sort=loss".to_owned(),
        live_source: "/live/rooms?sort=loss".to_owned(),
        live: RoomsLive {
            base: String::new(),
            columns: orders.map(|order| SortColumn {
                href: nucleus_console::link::query("/rooms", &[("sort", order)]),
                order: (order == "loss").then_some("descending"),
            }),
            rows: data.list(rows.collect()),
            is_empty_server: true,
            pages: PageLinks {
                shown: "1–100 of 500 rooms, 5,000 peers".to_owned(),
                previous: None,
                next: Some("/rooms?sort=loss&after=100".to_owned()),
            },
        },
    }
}

const ROSTER: [(&str, f64, f64, f64, HeadState); 12] = [
    ("Ada Lovelace", 5.1, 1.5, 100.0, HeadState::Suffering),
    ("田中 美咲", 3.3, 3.1, 20.0, HeadState::Speaking),
    ("Олена Шевченко", 7.8, 0.9, 140.0, HeadState::Listening),
    ("محمد الفارسي", 8.3, 4.3, 200.0, HeadState::Speaking),
    ("Nguyễn Minh Anh", 7.1, 5.7, 265.0, HeadState::Listening),
    ("Γιώργος Παππάς", 4.2, 5.6, 290.0, HeadState::Listening),
    ("김서연", 2.2, 5.0, 330.0, HeadState::Listening),
    ("अनन्या शर्मा", 9.6, 2.1, 150.0, HeadState::Suffering),
    ("Jürgen Weiß", 1.3, 2.0, 30.0, HeadState::Listening),
    ("Chidi Okafor", 10.6, 5.9, 0.0, HeadState::Away),
    ("שירה לוי", 10.9, 4.0, 190.0, HeadState::Listening),
    ("Žofia Nováková", 3.0, 1.0, 60.0, HeadState::Listening),
];

fn roster_row(data: Data, index: usize) -> RosterRow {
    let (name, _, _, _, state) = ROSTER[index];
    let (way, rtt, loss) = match state {
        HeadState::Suffering => (Mark::new(Tone::Warn, "Fallback"), Some(184_000), Some(62_000)),
        HeadState::Away => (Mark::new(Tone::Idle, "Away 4 min"), None, None),
        _ if index == 6 => (Mark::new(Tone::Info, "WebTransport"), Some(26_000), Some(500)),
        _ => (Mark::new(Tone::Good, "UDP 5056"), Some(29_000), Some(200)),
    };
    RosterRow {
        number: index + 1,
        id: format!("a{index}"),
        name: data.name_of(name),
        user: data.name_of("ada"),
        way,
        round_trip: Quantity::round_trip(rtt),
        jitter_us: rtt.map(|rtt| rtt / 5),
        loss_up: Quantity::loss(loss.map(|loss| loss / 3)),
        loss_down: Quantity::loss(loss),
        withheld: Quantity::count(if index == 0 { 312 } else { 0 }),
        client: (index != 9).then(|| data.name_of("Unity 0.9.2, Quest 3")),
        is_muted: index == 4,
    }
}

fn plan(data: Data) -> PlanDrawing {
    let head = |(index, &(name, x, z, view, state)): (usize, &(&str, f64, f64, f64, HeadState))| {
        PlanHead {
            number: index + 1,
            name: data.name_of(name),
            position_m: (x, z),
            view_degrees: Some(view),
            state,
            note: match state {
                HeadState::Suffering => Some("6.2 % lost".to_owned()),
                HeadState::Away => Some("away".to_owned()),
                _ => None,
            },
        }
    };
    PlanDrawing { heads: ROSTER.iter().enumerate().map(head).collect() }
}

fn happening(data: Data, tone: Tone, time: i64, name: &str, what: &str) -> Happening {
    Happening {
        at: ShownTime::from_micros(time),
        tone,
        headline: Markup::new().then(&data.name_of(name)).text(what),
        detail: None,
        is_key: false,
    }
}

fn room(data: Data, role: MenuRole) -> OneRoomPage {
    let state = [
        ("Heart model", "owner", "田中 美咲"),
        ("Heart model", "opened", "true"),
        ("Whiteboard", "page", "4"),
    ];
    let state = state.iter().map(|(entity, field, value)| StateRow {
        entity: data.name_of(entity),
        field: data.name_of(field),
        value: data.name_of(value),
        owner: (*field == "owner").then(|| data.name_of("田中 美咲")),
    });
    let live = RoomLive {
        base: String::new(),
        id: "r1".to_owned(),
        may_operate: role.may_operate(),
        may_ban: role.may_operate(),
        mark: Mark::new(Tone::Warn, "2 links suffer"),
        is_locked: false,
        tiles: vec![
            tile(
                "People",
                Quantity::count(data.some(12)).with_unit("of 16"),
                "11 here, 1 away",
                None,
            ),
            tile(
                "Rate out",
                Quantity::bytes_per_second(data.some(287_500.0)),
                "0.4 Mbit/s in",
                None,
            ),
            tile(
                "Worst link",
                Quantity::ppm(data.some(62_000)).with_unit("% lost"),
                "all people 0.9 %",
                None,
            ),
            tile("Pose age p99", Quantity::micros(data.some(145_000)), "p50 19 ms", None),
            tile("Open for", Quantity::seconds(data.some(3_120)), "shard 3", None),
        ],
        plan: data.some(plan(data)),
        plan_words: "2 speak, 2 suffer, 1 away".to_owned(),
        charts: vec![chart(data, "loss", "Loss, all people", "%", &[("loss", 0.9)])],
        happenings: data.list(vec![
            happening(data, Tone::Warn, at(10, 4, 53), "Ada Lovelace", " is back on the fallback"),
            happening(
                data,
                Tone::Bad,
                at(10, 4, 12),
                "Ada Lovelace",
                " dropped: the network went silent",
            ),
            happening(data, Tone::Idle, at(10, 2, 30), "Chidi Okafor", " took the headset off"),
            happening(data, Tone::Info, at(9, 58, 7), "田中 美咲", " now holds “Heart model”"),
        ]),
        roster: data.list((0..ROSTER.len()).map(|index| roster_row(data, index)).collect()),
        state: data.list(state.collect()),
        kept_out: data.list(vec![KeptOutRow {
            user: data.name_of("mallory"),
            left: Quantity::seconds(data.some(754)),
        }]),
        more_state: if data == Data::Empty { 0 } else { 14 },
    };
    OneRoomPage {
        shell: data.shell("Anatomy lab 3", MenuPlace::Rooms, role),
        id: "r1".to_owned(),
        name: data.name_of("Anatomy lab 3"),
        tenant: data.name_of("Klinikum Nord"),
        peers: Quantity::count(data.some(12)),
        live,
    }
}

fn calls(data: Data) -> CallsPage {
    let call = |id: &str, mark, talking| CallRow {
        id: id.to_owned(),
        caller: data.name_of("ada"),
        tenant: data.name_of("Klinikum Nord"),
        mark,
        members: vec![data.name_of("ada"), data.name_of("misaki")],
        ringing: vec![data.name_of("chidi")],
        length: Quantity::seconds(431),
        talking: Quantity::seconds(talking),
    };
    let past = |mark, talked: Option<u64>| PastCallRow {
        caller: talked.map(|_| data.name_of("ada")),
        tenant: data.name_of("Klinikum Nord"),
        started_at: ShownTime::from_micros(at(9, 12, 0)),
        mark,
        members: vec![data.name_of("ada"), data.name_of("misaki")],
        missed: vec![data.name_of("chidi")],
        length: Quantity::seconds(640),
        talked: Quantity::seconds(talked),
    };
    CallsPage {
        shell: data.shell("Calls", MenuPlace::Calls, MenuRole::Viewer),
        live_source: "/live/calls".to_owned(),
        live: CallsLive {
            rows: data.list(vec![
                call("1", Mark::new(Tone::Good, "Talking"), Some(410)),
                call("2", Mark::new(Tone::Info, "Rings"), None),
            ]),
            pages: PageLinks { shown: "23 calls".to_owned(), ..PageLinks::default() },
        },
        user: if data == Data::Hostile { data.text("user") } else { String::new() },
        past: data.list(vec![
            past(Mark::new(Tone::Good, "Talked"), Some(605)),
            past(Mark::new(Tone::Warn, "Nobody accepted"), None),
        ]),
        past_pages: PageLinks { shown: "2 past calls".to_owned(), ..PageLinks::default() },
        kept_days: 90,
    }
}

fn first_run(data: Data) -> FirstRunPage {
    let check = |title: &str, mark| LabelledMark { title: Markup::from(title), mark };
    FirstRunPage {
        shell: data.shell("First run", MenuPlace::Overview, MenuRole::SuperAdmin),
        host: ShownName::new("xr.example.org"),
        uptime: Quantity::seconds(120),
        data_dir: data.name_of("./data"),
        demo_href: data.some("/demo".to_owned()),
        token_command: data
            .some("nucleus token --product atom --tenant demo --user ada".to_owned()),
        checks: data.list(vec![
            check("UDP 5055, session", Mark::new(Tone::Good, "Listens")),
            check("UDP 5056, realtime", Mark::new(Tone::Good, "Listens")),
            check("Database, SQLite", Mark::new(Tone::Good, "Answers")),
            check("Certificate for development", Mark::new(Tone::Warn, "13 days left")),
        ]),
    }
}

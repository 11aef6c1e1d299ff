//! What was: one session, the search, the audit.

use nucleus_console::charts::{LifeDrawing, LifeLane, LifeSpan, LifeSpanKind};
use nucleus_console::screens::*;
use nucleus_console::{
    Mark, Markup, MenuPlace, MenuRole, Quantity, RenderError, ShownTime, Tone, render,
};

use super::{Data, MINUTE, at, wave};

pub(super) fn pages(data: Data) -> Result<Vec<(&'static str, String)>, RenderError> {
    Ok(vec![
        ("room-past", render(&past_room(data))?),
        ("session", render(&session(data))?),
        ("sessions", render(&sessions(data))?),
        ("bans", render(&bans(data))?),
        ("audit", render(&audit(data))?),
    ])
}

fn lanes(data: Data) -> Vec<LifeLane> {
    let (joined, dropped, resumed, end) =
        (at(9, 31, 7), at(10, 4, 12), at(10, 4, 53), at(10, 20, 0));
    let lane = |title: &str, spans: &[(i64, i64, LifeSpanKind, &str)]| LifeLane {
        title: title.to_owned(),
        spans: spans
            .iter()
            .map(|(from, to, kind, words)| LifeSpan {
                from: *from,
                to: *to,
                kind: *kind,
                words: data.text(words),
            })
            .collect(),
    };
    let asleep = at(9, 47, 20);
    vec![
        lane(
            "Presence",
            &[
                (joined, asleep, LifeSpanKind::Normal, "Here"),
                (asleep, asleep + 102_000_000, LifeSpanKind::Away, ""),
                (asleep + 102_000_000, dropped, LifeSpanKind::Normal, "Here"),
                (dropped, resumed, LifeSpanKind::Gone, ""),
                (resumed, end, LifeSpanKind::Normal, "Here again"),
            ],
        ),
        lane(
            "Route",
            &[
                (joined, dropped, LifeSpanKind::Normal, "Realtime, UDP 5056"),
                (dropped, resumed, LifeSpanKind::Gone, ""),
                (resumed, end, LifeSpanKind::Fallback, "Fallback, 5055"),
            ],
        ),
        lane(
            "Address",
            &[
                (joined, at(9, 55, 40), LifeSpanKind::Normal, "203.0.113.24:51002"),
                (at(9, 55, 40), dropped, LifeSpanKind::Normal, ":51377"),
                (resumed, end, LifeSpanKind::Fallback, "198.51.100.7"),
            ],
        ),
    ]
}

fn happenings() -> Vec<Happening> {
    let item = |tone, time, headline: &str, detail: &str| Happening {
        at: ShownTime::from_micros(time),
        tone,
        headline: Markup::from(headline),
        detail: Some(Markup::from(detail)),
        is_key: tone == Tone::Bad,
    };
    vec![
        item(
            Tone::Good,
            at(9, 31, 7),
            "Joined Anatomy lab 3",
            "Join took 212 ms. Token of Klinikum Nord, role trainer.",
        ),
        item(
            Tone::Idle,
            at(9, 47, 20),
            "Headset taken off",
            "Away for 1 min 42 s, then back with the same session.",
        ),
        item(
            Tone::Info,
            at(9, 55, 40),
            "New source port",
            "203.0.113.24, port 51002 to 51377. Nothing was lost.",
        ),
        item(
            Tone::Warn,
            at(10, 1, 10),
            "Round trip rises",
            "From 34 ms to 118 ms within 3 min, jitter 41 ms: a weak radio signal looks like this.",
        ),
        item(
            Tone::Bad,
            at(10, 4, 12),
            "Dropped: no datagram for 10 s",
            "Both planes silent. The last datagram came from 203.0.113.24.",
        ),
        item(
            Tone::Warn,
            at(10, 4, 53),
            "Resumed from another network",
            "From 198.51.100.7 with the ticket of 09:31. 41 s gone, 17 events sent again, none lost.",
        ),
        item(
            Tone::Warn,
            at(10, 4, 58),
            "Fallback chosen",
            "5 probes on UDP 5056 without an answer. Poses and voice go by UDP 5055.",
        ),
    ]
}

fn session(data: Data) -> SessionPage {
    let dropped = at(10, 4, 12);
    let round_trips = wave(100, 34.0, 3.0).into_iter().enumerate().map(|(step, ms)| {
        let time = at(9, 31, 7) + step as i64 * 29_000_000;
        let ms = ms.map(|ms| if time > dropped { ms + 150.0 } else { ms });
        (time, ms.filter(|_| !(dropped..dropped + MINUTE).contains(&time)))
    });
    let fact = |title: &str, value: Markup| FactRow { title: title.to_owned(), value };
    let figure = |title: &str, quantity: Quantity| FactRow {
        title: title.to_owned(),
        value: Markup::new().then(&quantity),
    };
    let verdict = PageVerdict {
        tone: Tone::Warn,
        headline: Markup::from("Dropped at ")
            .then(&ShownTime::from_micros(dropped).clock())
            .text(" because the headset changed networks"),
        detail: Markup::from(
            "Gone for 41 s, then back in the same place. The new network lets nothing through on UDP 5056, so poses now take the fallback on UDP 5055. The server and the room were fine.",
        ),
        remedy: Some(
            Markup::from("ask the owner of network 198.51.100.0/24 to open UDP 5056 outbound. ")
                .link("/network", "Port table to send"),
        ),
    };
    SessionPage {
        shell: data.shell("Ada Lovelace, session", MenuPlace::Sessions, MenuRole::SuperAdmin),
        base: String::new(),
        id: "s1".to_owned(),
        name: data.some(data.name_of("Ada Lovelace")),
        user: data.name_of("ada"),
        is_known_tenant: true,
        goes_on: data == Data::Hostile,
        room: data.name_of("Anatomy lab 3"),
        room_id: data.some("r1".to_owned()),
        mark: Mark::new(Tone::Warn, "Here, on the fallback"),
        joined_at: ShownTime::from_micros(at(9, 31, 7)),
        verdict,
        length_words: "49 min in the room".to_owned(),
        life: data.some(LifeDrawing {
            from: at(9, 31, 0),
            to: at(10, 20, 0),
            lanes: lanes(data),
            round_trips: round_trips.collect(),
            cursor: Some((dropped, data.text("gone 41 s"))),
            label: "Lanes of the session from 9:31 to 10:20 UTC: presence, plane, address and round trip. The list below says the same in words.".to_owned(),
        }),
        happenings: data.list(happenings()),
        left_out: if data == Data::Hostile { 12 } else { 0 },
        facts: vec![
            fact("Tenant", Markup::new().then(&data.name_of("Klinikum Nord"))),
            fact("User", Markup::new().then(&data.name_of("ada"))),
            fact("Client", Markup::new().then(&data.name_of("Unity 0.9.2, Quest 3"))),
            figure("Resumes", Quantity::count(data.some(2))),
            figure("On the fallback", Quantity::millis(data.some(912_000))),
            figure("Round trip p50", Quantity::micros(data.some(36_000))),
            figure("Round trip p95", Quantity::round_trip(data.some(191_000))),
            figure("Loss of the client", Quantity::loss(data.some(21_000))),
            figure("Withheld messages", Quantity::count(data.some(312))),
            figure("Received", Quantity::bytes(data.some(9_800_000))),
            figure("Sent", Quantity::bytes(data.some(41_200_000))),
        ],
        others: data.some(Markup::from("No. 4,999 other sessions went on. Nobody else came from 198.51.100.0/24.")),
    }
}

fn sessions(data: Data) -> SessionsPage {
    let row = |name: &str, end: Mark, minutes: i64| SessionRow {
        id: "s1".to_owned(),
        name: (name != "gone").then(|| data.name_of(name)),
        user: data.name_of("ada"),
        room: data.name_of("Anatomy lab 3"),
        joined_at: ShownTime::from_micros(at(9, 31, 7) - minutes * MINUTE),
        length: Quantity::seconds((minutes < 60).then_some(2_940)),
        end,
        resumes: Quantity::count((minutes < 60).then_some(2)),
        round_trip: Quantity::round_trip((minutes < 60).then_some(191_000)),
        loss: Quantity::loss((minutes < 60).then_some(21_000)),
    };
    SessionsPage {
        shell: data.shell("Sessions", MenuPlace::Sessions, MenuRole::Viewer),
        name: if data == Data::Empty { String::new() } else { data.text("Ada") },
        room: if data == Data::Hostile { data.text("room") } else { String::new() },
        from: String::new(),
        to: String::new(),
        kept_days: 90,
        rows: data.list(vec![
            row("Ada Lovelace", Mark::new(Tone::Warn, "Here, on the fallback"), 0),
            row("Ada Lovelace", Mark::new(Tone::Bad, "Dropped: the network went silent"), 30),
            row("gone", Mark::new(Tone::Good, "Left"), 90),
            row("Adaeze Okafor", Mark::new(Tone::Idle, "Unknown: the server was stopped"), 300),
        ]),
        pages: PageLinks { shown: "1–4 of 4 sessions".to_owned(), ..PageLinks::default() },
    }
}

fn bans(data: Data) -> BansPage {
    let row = |id: &str, mark, end: Option<i64>| BanRow {
        id: id.to_owned(),
        user: data.name_of("eve"),
        tenant: data.name_of("Klinikum Nord"),
        mark,
        is_in_force: end.is_none(),
        reason: end.map(|_| data.name_of("Shouted at the trainer")),
        made_at: ShownTime::from_micros(at(10, 5, 0)),
        ends_at: ShownTime::of(end),
    };
    let choice = |title: &str| Choice {
        value: title.to_owned(),
        title: data.name_of(title).label(),
        is_chosen: false,
    };
    BansPage {
        shell: data.shell("Banned users", MenuPlace::Bans, MenuRole::Operator),
        user: if data == Data::Hostile { data.text("eve") } else { String::new() },
        tenants: match data {
            Data::Hostile => TenantField { choices: Vec::new(), name: Some(data.text("Klinikum")) },
            _ => TenantField {
                choices: data.list(vec![choice("Choose a tenant"), choice("Klinikum Nord")]),
                name: None,
            },
        },
        problem: (data == Data::Hostile).then(|| FormProblem {
            field: "tenant".to_owned(),
            what: "There is no tenant of this name.".to_owned(),
            remedy: "Type it as the list of tenants shows it.".to_owned(),
        }),
        rows: data.list(vec![
            row("b1", Mark::new(Tone::Bad, "Banned"), None),
            row("b2", Mark::new(Tone::Idle, "Ended"), Some(at(10, 10, 0))),
        ]),
        pages: PageLinks { shown: "2 bans".to_owned(), ..PageLinks::default() },
    }
}

fn audit(data: Data) -> AuditPage {
    let row = |minute: i64, actor: &str, action: &str, target: &str, detail: &str| AuditRow {
        at: ShownTime::from_micros(at(10, minute, 3)),
        actor: data.text(if actor.contains('@') { "person:0190a1c2" } else { actor }),
        actor_email: actor.contains('@').then(|| data.name_of(actor)),
        action: action.to_owned(),
        target: data.name_of(target),
        detail: data.text(detail),
        tenant: (minute != 2).then(|| data.name_of("Klinikum Nord")),
        ip: "203.0.113.24".to_owned(),
    };
    AuditPage {
        shell: data.shell("Audit", MenuPlace::Audit, MenuRole::Operator),
        csv_href: "/audit.csv".to_owned(),
        search: AuditSearch {
            actor: data.some(data.text("m.ruiz@example.org")).unwrap_or_default(),
            tenant: Some(String::new()),
            ..AuditSearch::default()
        },
        rows: data.list(vec![
            row(12, "m.ruiz@example.org", "peer.kick", "Ada Lovelace", "Echo in the room"),
            row(9, "key:Booking system", "token.make", "ada", ""),
            row(2, "local", "tenant.create", "Klinikum Nord", "from the command line"),
        ]),
        pages: PageLinks { shown: "1–3 of 3 entries".to_owned(), next: None, previous: None },
    }
}

fn past_room(data: Data) -> PastRoomPage {
    PastRoomPage {
        shell: data.shell("Anatomy lab 3", MenuPlace::Rooms, MenuRole::Viewer),
        id: "r1".to_owned(),
        name: data.name_of("Anatomy lab 3"),
        tenant: data.name_of("Klinikum Nord"),
        verdict: PageVerdict {
            tone: Tone::Idle,
            headline: Markup::from("This room ended ").then(&ShownTime::from_micros(at(10, 20, 0))),
            detail: Markup::from("Begun ")
                .then(&ShownTime::from_micros(at(9, 0, 0)))
                .text(". Joins: 14, at most 12 at a time."),
            remedy: None,
        },
    }
}

//! Settings: tenants, keys, webhooks, network, persons, the own account; and pages without a menu.

use nucleus_console::charts::CodeDrawing;
use nucleus_console::screens::*;
use nucleus_console::{
    Mark, Markup, MenuPlace, MenuRole, Quantity, RenderError, ShownName, ShownTime, Theme, Tone,
    render,
};

use super::{Data, at};

pub(super) fn pages(data: Data) -> Result<Vec<(&'static str, String)>, RenderError> {
    let mut pages = vec![
        ("tenants", render(&tenants(data))?),
        ("tenant", render(&tenant(data, Some("t1"), MenuRole::SuperAdmin))?),
        ("tenant-partner", render(&tenant(data, Some("t1"), MenuRole::PartnerAdmin))?),
        ("tenant-new", render(&tenant(data, None, MenuRole::SuperAdmin))?),
        ("keys", render(&keys(data))?),
        ("webhooks", render(&webhooks(data))?),
        ("webhook", render(&webhook(data, Some("w1")))?),
        ("webhook-new", render(&webhook(data, None))?),
        ("network", render(&network(data))?),
        ("persons", render(&persons(data))?),
        ("person", render(&person(data))?),
        ("account", render(&account(data, TotpState::Off))?),
        ("account-code", render(&account(data, enrolling(data)))?),
        ("account-on", render(&account(data, TotpState::On))?),
        ("sign-in", render(&sign_in(data))?),
        ("link", render(&link(data))?),
    ];
    for kind in ErrorKind::ALL {
        let name = match kind {
            ErrorKind::Malformed => "error-400",
            ErrorKind::Forbidden => "error-403",
            ErrorKind::Elsewhere => "error-elsewhere",
            ErrorKind::NotFound => "error-404",
            ErrorKind::Conflict => "error-409",
            ErrorKind::TooLarge => "error-413",
            ErrorKind::Unfit => "error-422",
            ErrorKind::TooMany => "error-429",
            ErrorKind::Fault => "error-500",
            ErrorKind::Unavailable => "error-503",
        };
        let page = ErrorPage {
            base: String::new(),
            theme: Theme::System,
            kind,
            request_id: data.some("01j9c2".to_owned()).unwrap_or_default(),
        };
        pages.push((name, render(&page)?));
    }
    let page = ShellErrorPage {
        shell: data.shell("This was not accepted", MenuPlace::Rooms, MenuRole::Operator),
        kind: ErrorKind::Unfit,
        why: data.some(data.name_of("`seconds` is at most 86,400")),
        back: "/rooms/r1".to_owned(),
        request_id: "01j9c2".to_owned(),
    };
    pages.push(("error-shell", render(&page)?));
    Ok(pages)
}

fn choice(value: &str, title: &str, is_chosen: bool) -> Choice {
    Choice { value: value.to_owned(), title: title.to_owned(), is_chosen }
}

fn no_pages(shown: &str) -> PageLinks {
    PageLinks { shown: shown.to_owned(), ..PageLinks::default() }
}

fn problem(data: Data, field: &str, what: &str, remedy: &str) -> Option<FormProblem> {
    data.some(FormProblem {
        field: field.to_owned(),
        what: what.to_owned(),
        remedy: remedy.to_owned(),
    })
}

fn tenants(data: Data) -> TenantsPage {
    let row = |name: &str, mark, ends| TenantRow {
        id: "t1".to_owned(),
        name: data.name_of(name),
        products: ShownName::new("atom, vista"),
        mark,
        most_sessions: Quantity::count(1_000),
        most_rooms: Quantity::count(100),
        ends_at: ShownTime::of(ends),
    };
    TenantsPage {
        shell: data.shell("Tenants and keys", MenuPlace::Tenants, MenuRole::SuperAdmin),
        rows: data.list(vec![
            row("Klinikum Nord", Mark::new(Tone::Good, "Active"), None),
            row("Kigali Skills Lab", Mark::new(Tone::Warn, "Ends in 9 days"), Some(at(0, 0, 0))),
            row("東海製作所", Mark::new(Tone::Idle, "Switched off"), None),
        ]),
        pages: no_pages("3 tenants"),
    }
}

fn key_rows(data: Data) -> Vec<KeyRow> {
    let row = |name: &str, mark: Mark, is_active: bool| KeyRow {
        id: "k1".to_owned(),
        name: data.name_of(name),
        scopes: "read, tokens".to_owned(),
        mark,
        last_used_at: ShownTime::of(is_active.then_some(at(10, 2, 0))),
        expires_at: ShownTime::of(None),
        is_active,
    };
    data.list(vec![
        row("Booking system", Mark::new(Tone::Good, "Active"), true),
        row("Old booking system", Mark::new(Tone::Idle, "Revoked"), false),
    ])
}

fn tenant(data: Data, id: Option<&str>, role: MenuRole) -> TenantPage {
    let issuer = IssuerRow {
        id: "i1".to_owned(),
        name: data.name_of("Learning platform"),
        key: data.name_of("https://lms.example.org/.well-known/jwks.json"),
        mark: Mark::new(Tone::Good, "3 keys"),
        keys_at: ShownTime::from_micros(at(9, 58, 0)),
    };
    let is_new = id.is_none();
    TenantPage {
        shell: data.shell("Klinikum Nord", MenuPlace::Tenants, role),
        base: String::new(),
        id: id.map(str::to_owned),
        mark: Mark::new(Tone::Good, "Active"),
        form: TenantForm {
            name: if is_new && data == Data::Empty {
                String::new()
            } else {
                data.text("Klinikum Nord")
            },
            products: vec![choice("atom", "atom", true), choice("vista", "vista", false)],
            starts_at: String::new(),
            ends_at: "2025-01-01".to_owned(),
            max_sessions: "1000".to_owned(),
            max_rooms: String::new(),
            max_kept_rooms: String::new(),
            active: true,
        },
        problem: if is_new {
            problem(data, "ends_at", "That day is over.", "Choose one after today.")
        } else {
            None
        },
        may_edit: role == MenuRole::SuperAdmin,
        keys: key_rows(data),
        issuers: data.list(vec![issuer]),
    }
}

fn keys(data: Data) -> KeysPage {
    KeysPage {
        shell: data.shell("Keys of the server", MenuPlace::Tenants, MenuRole::SuperAdmin),
        base: String::new(),
        id: (data == Data::Hostile).then(|| "t1".to_owned()),
        tenant: (data == Data::Hostile).then(|| data.name_of("Klinikum Nord")),
        new_key: data
            .some("nuk_01j9example_4b7fexample0example0example0example0example".to_owned()),
        keys: key_rows(data),
        scopes: vec![
            choice("read", "Read", true),
            choice("operate", "Act on rooms", false),
            choice("tokens", "Make tokens", false),
            choice("manage", "Change settings", false),
        ],
    }
}

fn webhooks(data: Data) -> WebhooksPage {
    let row = |name: &str, mark, tenant: Option<&str>| WebhookRow {
        id: "w1".to_owned(),
        name: data.name_of(name),
        tenant: tenant.map(|tenant| data.name_of(tenant)),
        url: data.name_of("https://lms.example.org/hooks/nucleus"),
        mark,
    };
    WebhooksPage {
        shell: data.shell("Webhooks", MenuPlace::Webhooks, MenuRole::PartnerAdmin),
        rows: data.list(vec![
            row("Learning platform", Mark::new(Tone::Good, "On"), Some("Klinikum Nord")),
            row("Attendance", Mark::new(Tone::Bad, "Off: status 410"), Some("Порт Одеса")),
            row("Archive", Mark::new(Tone::Idle, "Off"), None),
        ]),
        pages: no_pages("3 webhooks"),
    }
}

fn webhook(data: Data, id: Option<&str>) -> WebhookPage {
    let delivery = |mark: Mark, answer: Option<&str>, next| DeliveryRow {
        id: "d1".to_owned(),
        kind: "peer.joined".to_owned(),
        created_at: ShownTime::from_micros(at(9, 46, 58)),
        mark,
        answer: answer.map(|answer| data.name_of(answer)),
        tries: Quantity::count(3),
        next_at: ShownTime::of(next),
    };
    let kinds =
        ["peer.joined", "peer.left", "room.started", "room.ended", "call.started", "call.ended"];
    WebhookPage {
        shell: data.shell("Attendance", MenuPlace::Webhooks, MenuRole::PartnerAdmin),
        base: String::new(),
        id: id.map(str::to_owned),
        mark: Mark::new(Tone::Bad, "Off: the receiver answered 410"),
        problem_words: id.and(data.some(Markup::from("The receiver said that it is gone, so nothing is sent. Look at the address, then switch the webhook on; deliveries of the last days can be replayed."))),
        is_on: false,
        new_secret: if data == Data::Hostile { Some("whsec_example0example0example0".to_owned()) } else { None },
        form: WebhookForm {
            name: data.text("Attendance"),
            url: data.text("https://lms.example.org/hooks/nucleus"),
            tenants: TenantField {
                choices: data.list(vec![choice("", "All tenants", true), choice("t1", "Klinikum Nord", false)]),
                name: (data == Data::Hostile).then(|| data.text("Acme")),
            },
            events: kinds.map(|kind| choice(kind, kind, kind.starts_with("peer"))).to_vec(),
        },
        problem: if id.is_none() { problem(data, "url", "This address is not public.", "Give one that is reached from the internet.") } else { None },
        deliveries: data.list(vec![
            delivery(Mark::new(Tone::Bad, "Given up"), Some("status 410"), None),
            delivery(Mark::new(Tone::Warn, "Waits"), Some("no answer within 10 s"), Some(at(10, 30, 0))),
            delivery(Mark::new(Tone::Good, "Taken"), Some("status 204"), None),
        ]),
        pages: PageLinks { shown: "1–3 of 84 deliveries".to_owned(), previous: None, next: Some("/webhooks/w1?after=3".to_owned()) },
    }
}

fn network(data: Data) -> NetworkPage {
    let port = |port: &str, purpose: &str, without: &str, mark| PortRow {
        port: port.to_owned(),
        purpose: purpose.to_owned(),
        direction: "outbound".to_owned(),
        without: without.to_owned(),
        mark,
    };
    let listens = || Mark::new(Tone::Good, "Listens");
    let address = |title: &str, value: Markup| AddressRow { title: title.to_owned(), value };
    NetworkPage {
        shell: data.shell("Network", MenuPlace::Network, MenuRole::Viewer),
        verdict: PageVerdict {
            tone: Tone::Good,
            headline: Markup::from("All ports listen"),
            detail: Markup::from(
                "3.1 % of the headsets are on the fallback: their networks let nothing through on UDP 5056.",
            ),
            remedy: None,
        },
        host: data.name_of("xr.example.org"),
        ports: vec![
            port(
                "UDP 5055",
                "Sessions: joining, events, shared state (QUIC)",
                "Nobody joins, except in browsers by the fallback.",
                listens(),
            ),
            port(
                "UDP 5056",
                "Realtime: poses and voice",
                "Poses and voice take the fallback through UDP 5055: later and less even.",
                listens(),
            ),
            port(
                "TCP 443",
                "This dashboard, the API, browsers' pages (HTTPS)",
                "Dashboard and API are not reached.",
                listens(),
            ),
        ],
        addresses: data.list(vec![
            address("Addresses", Markup::from("203.0.113.10, 2001:db8::10")),
            address("Certificate", Markup::new().then(&Mark::new(Tone::Good, "61 days left"))),
            address("Version", Markup::new().then(&data.name_of("0.1.0"))),
            address("Datagrams", Markup::new().then(&Quantity::per_second(312_000.0))),
        ]),
    }
}

fn person_row(data: Data, email: &str, mark: Mark) -> PersonRow {
    PersonRow {
        id: "p1".to_owned(),
        email: data.name_of(email),
        role: MenuRole::PartnerAdmin.title(),
        tenant: email.starts_with('k').then(|| data.name_of("Klinikum Nord")),
        mark,
        has_totp: email.starts_with('m'),
        seen_at: ShownTime::of(email.starts_with('m').then_some(at(10, 2, 0))),
    }
}

fn roles() -> Vec<Choice> {
    MenuRole::ALL.map(|role| choice(role.name(), role.title(), role == MenuRole::Viewer)).to_vec()
}

fn persons(data: Data) -> PersonsPage {
    PersonsPage {
        shell: data.shell("People", MenuPlace::Accounts, MenuRole::SuperAdmin),
        rows: data.list(vec![
            person_row(data, "m.ruiz@example.org", Mark::new(Tone::Good, "Active")),
            person_row(data, "k.weiss@klinikum.example", Mark::new(Tone::Info, "Link sent")),
            person_row(data, "old@example.org", Mark::new(Tone::Idle, "Disabled")),
        ]),
        roles: roles(),
        tenants: TenantField {
            choices: data.list(vec![
                choice("", "Choose a tenant", true),
                choice("t1", "Klinikum Nord", false),
            ]),
            name: (data == Data::Hostile).then(|| data.text("Acme")),
        },
        sees: data.some("tenant".to_owned()).unwrap_or_default(),
        email: if data == Data::Empty { String::new() } else { data.text("m.ruiz@example.org") },
        problem: problem(data, "email", "This person has an account.", "Find it in the list."),
        new_link: data.some(
            "https://xr.example.org/link?token=example0example0example0example0example0".to_owned(),
        ),
        pages: no_pages("3 people"),
    }
}

fn sessions(data: Data) -> Vec<OwnSession> {
    let session = |agent: &str, is_this| OwnSession {
        id: "c1".to_owned(),
        agent: data.name_of(agent),
        ip: "203.0.113.24".to_owned(),
        seen_at: ShownTime::from_micros(at(10, 2, 0)),
        is_this,
    };
    vec![session("Firefox 141 on Linux", true), session("Chrome 140 on Android", false)]
}

fn person(data: Data) -> PersonPage {
    PersonPage {
        shell: data.shell("k.weiss@klinikum.example", MenuPlace::Accounts, MenuRole::SuperAdmin),
        person: person_row(data, "k.weiss@klinikum.example", Mark::new(Tone::Good, "Active")),
        is_disabled: false,
        is_reader: false,
        roles: roles(),
        new_link: None,
        sessions: data.list(sessions(data)),
    }
}

fn enrolling(data: Data) -> TotpState {
    TotpState::Enrolling(TotpSetup {
        secret: "EXAM PLE2 EXAM PLE2 EXAM PLE2 EXAM PLE2".to_owned(),
        address: format!(
            "otpauth://totp/Nucleus:{}",
            if data == Data::Hostile { "%22%3E" } else { "m.ruiz" }
        ),
        enrolment: data.text("sealed"),
        picture: data.some(CodeDrawing {
            rows: (0..29).map(|y| (0..29).map(|x| (x * y + x / 3) % 3 == 0).collect()).collect(),
        }),
    })
}

fn account(data: Data, totp: TotpState) -> AccountPage {
    let problem = if totp == TotpState::Off {
        problem(
            data,
            "password",
            "This is not your password.",
            "Type the one that you signed in with.",
        )
    } else {
        problem(
            data,
            "code",
            "This code is wrong or old.",
            "Wait for the next one. Look at the clock of the device.",
        )
    };
    AccountPage {
        shell: data.shell("Your account", MenuPlace::Account, MenuRole::Viewer),
        has_password: data != Data::Empty,
        totp: if data == Data::Empty && totp == TotpState::Off { TotpState::On } else { totp },
        problem,
        sessions: sessions(data),
    }
}

fn sign_in(data: Data) -> SignInPage {
    SignInPage {
        base: String::new(),
        theme: Theme::System,
        host: data.name_of("xr.example.org"),
        email: if data == Data::Empty { String::new() } else { data.text("m.ruiz@example.org") },
        notice: data.some(Mark::new(Tone::Good, "You are signed out")),
        problem: problem(data, "password", "Email or password is wrong.", "4 tries left."),
        has_single_sign_on: data != Data::Empty,
        next: if data == Data::Hostile { data.text("next") } else { String::new() },
    }
}

fn link(data: Data) -> LinkPage {
    LinkPage {
        base: String::new(),
        theme: Theme::System,
        email: data.some(data.name_of("k.weiss@klinikum.example")),
        token: "example0example0".to_owned(),
        asks_email: false,
        problem: problem(
            data,
            "password",
            "This password is too short.",
            "Use 12 characters or more.",
        ),
    }
}

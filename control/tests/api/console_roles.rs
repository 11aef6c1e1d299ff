//! Who reads which page and sends which form: for each role, every form that a page shows is carried out,
//! and every other one is refused.

use axum::body::Body;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::browser::{Browser, FormAnswer, PASSWORD, person};
use crate::console::first_part;
use crate::role_table::{
    Action, ELSEWHERE, LED_ON, OF_STRANGERS, READERS, Reader, Rows, SCREENS, actions, markdown,
    public_key, routes,
};
use crate::shown_forms::{fetched, forms, links};
use crate::webhooks::{Receiver, inside};
use crate::world::{LOCAL, World};

const OPERATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/OPERATIONS.md");
const BEGIN: &str = "<!-- roles: written by `NUCLEUS_WRITE_ROLES=1 cargo test -p nucleus-control --test api \
                     console_roles` -->\n";
const END: &str = "<!-- end of roles -->";

/// A world with rows of the tenants "acme" and "beta" and of the server, and a reader who is signed in.
struct Place<'a> {
    browser: Browser<'a>,
    acme: Rows,
    beta: Rows,
    server: Rows,
    /// The reader's own account, with another session.
    own: Rows,
}

impl<'a> Place<'a> {
    async fn new(world: &'a World, reader: &Reader) -> Self {
        let receiver = Receiver::default().start(200).await;
        let acme = make_rows(world, "acme", 1, &receiver).await;
        let beta = make_rows(world, "beta", 2, &receiver).await;
        let server = make_rows(world, "", 1, &receiver).await;
        crate::history::record(world).await;
        let past = async |tenant: &str| {
            let path = format!("/history/sessions?tenant={tenant}");
            id_of(&world.get(&path, LOCAL).await.json()["items"][0])
        };
        let (of_acme, of_beta) = (past("acme").await, past("beta").await);
        let tenant = reader.is_of_tenant.then_some(acme.tenant.as_str());
        let id = person(world, "reader@example.org", reader.role, tenant).await;
        let mut other = Browser::new(world);
        other.sign_in("reader@example.org", PASSWORD, "").await;
        let sessions = world.get(&format!("/people/{id}/sessions"), LOCAL).await.json();
        let own_session = id_of(&sessions["items"][0]);
        let mut browser = Browser::new(world);
        browser.sign_in("reader@example.org", PASSWORD, "").await;
        let session = own_session.clone();
        let own = Rows { person: id, session, ..Rows::default() };
        let acme = Rows { past: of_acme, own_session, ..acme };
        Self { browser, acme, beta: Rows { past: of_beta, ..beta }, server, own }
    }

    /// Reads a page of some rows.
    async fn read(&mut self, route: &str, rows: &Rows) -> FormAnswer {
        self.browser.get(&rows.fill(route).unwrap()).await
    }

    /// Opens a live part, or reads a file.
    async fn stream(&mut self, path: &str) -> (StatusCode, Body) {
        self.browser.accept = "text/html, text/event-stream";
        let answer = self.browser.stream(path).await;
        self.browser.accept = "text/html";
        answer
    }

    async fn send(&mut self, action: &Action, rows: &Rows) -> FormAnswer {
        let fields = (action.fields)(rows);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.browser.post(&rows.fill(action.route).unwrap(), &fields).await
    }
}

fn id_of(row: &Value) -> String {
    row["id"].as_str().unwrap_or_else(|| panic!("no id: {row}")).to_owned()
}

/// Makes a row of each kind: of a tenant, or of the server if `tenant` is empty.
async fn make_rows(world: &World, tenant: &str, room: u8, receiver: &str) -> Rows {
    let is_server = tenant.is_empty();
    let id = if is_server { String::new() } else { world.tenant(tenant).await };
    let owner = if is_server { Value::Null } else { json!(id) };
    let make = async |path: &str, body: Value| {
        let made = world.ask("POST", path, LOCAL, body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        id_of(&made.json())
    };
    let name = |kind: &str| format!("{tenant} {kind}");
    let key = json!({"name": name("key"), "tenant": owner, "scopes": ["read"]});
    let webhook = json!({"name": name("webhook"), "tenant": owner, "url": receiver});
    let webhook = make("/webhooks", webhook).await;
    let test = world.ask("POST", &format!("/webhooks/{webhook}/test"), LOCAL, Value::Null).await;
    assert_eq!(test.status, StatusCode::OK, "{test:?}");
    let email = format!("{}ann@example.org", tenant);
    let tenant_of_person = (!is_server).then_some(id.as_str());
    let of_person = person(world, &email, "viewer", tenant_of_person).await;
    Browser::new(world).sign_in(&email, PASSWORD, "").await;
    let sessions = world.get(&format!("/people/{of_person}/sessions"), LOCAL).await.json();
    let issuer = match is_server {
        true => String::new(),
        false => {
            let issuer = json!({
                "name": name("issuer"), "tenant": owner, "algorithm": "EdDSA",
                "public_key": public_key(),
            });
            make("/issuers", issuer).await
        }
    };
    let ban = match is_server {
        true => String::new(),
        false => make("/bans", json!({"user": "mallory", "tenant": owner})).await,
    };
    Rows {
        ban,
        key: make("/keys", key).await,
        delivery: id_of(&test.json()),
        session: id_of(&sessions["items"][0]),
        room: if is_server { String::new() } else { format!("{room:02}").repeat(8) },
        tenant: id,
        issuer,
        webhook,
        person: of_person,
        ..Rows::default()
    }
}

fn is_refused(status: StatusCode) -> bool {
    matches!(status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND)
}

/// Returns the page that a live part or a file belongs to.
fn page_of(route: &str) -> &str {
    match route {
        "/live/overview" | "/charts/{name}" => "/",
        "/rooms/{id}/charts/{name}" => "/rooms/{id}",
        route => route.trim_start_matches("/live").trim_end_matches(".csv"),
    }
}

/// The lists of screens and actions have every route, so that no page and no form is left untried.
#[test]
fn the_table_has_every_route() {
    let mut read = routes("get");
    read.retain(|route| ![&OF_STRANGERS[..], &LED_ON].concat().contains(&route.as_str()));
    for route in &read {
        let page = page_of(route);
        assert!(SCREENS.iter().any(|(screen, _)| *screen == page), "SCREENS lack {route}");
    }
    for (screen, _) in SCREENS {
        assert!(read.iter().any(|route| route == screen), "{screen} is no page any more");
    }
    let mut sent = routes("post");
    sent.retain(|route| ![&OF_STRANGERS[..], &ELSEWHERE].concat().contains(&route.as_str()));
    for route in &sent {
        let has = actions().iter().any(|action| action.route == route);
        assert!(has, "`actions` in role_table.rs lacks {route}");
    }
    for Action { route, .. } in actions() {
        assert!(sent.iter().any(|sent| sent == route), "{route} is no form any more");
    }
}

/// What a reader may read, and which forms the pages show.
async fn look(place: &mut Place<'_>, reader: &Reader) -> (Vec<bool>, Vec<bool>) {
    let (acme, title) = (place.acme.clone(), reader.title);
    let mut reads = Vec::new();
    let (mut shown, mut linked) = (Vec::new(), Vec::new());
    for (route, _) in SCREENS {
        let page = place.read(route, &acme).await;
        let may = page.status == StatusCode::OK;
        assert!(may || is_refused(page.status), "{title} reads {route}: {page:?}");
        reads.push(may);
        if may {
            shown.extend(forms(&page.text));
            linked.extend(links(&page.text));
        }
    }
    linked.sort();
    linked.dedup();
    for link in linked {
        let page = place.browser.get(&link).await;
        let is_there = page.status == StatusCode::OK;
        assert!(is_there, "{title}: a page has a link to {link}: {}", page.status);
        shown.extend(forms(&page.text));
    }
    let all = [&place.acme, &place.beta, &place.server, &place.own];
    let is_of = |action: &Action, form: &str| {
        all.iter().filter_map(|rows| rows.fill(action.route)).any(|filled| filled == form)
    };
    for form in &shown {
        let known = actions().iter().any(|action| is_of(action, form));
        assert!(known, "{title}: the form {form} is shown, and is of no action");
    }
    let may = actions().iter().map(|action| shown.iter().any(|form| is_of(action, form))).collect();
    (reads, may)
}

#[tokio::test]
async fn each_form_is_for_the_roles_that_may_send_it() {
    let (mut table, mut faults) = (Vec::new(), Vec::new());
    for reader in &READERS {
        let world = World::with(inside).await;
        let mut place = Place::new(&world, reader).await;
        let acme = place.acme.clone();
        let (reads, may) = look(&mut place, reader).await;

        let audit = async || world.get("/audit?limit=200", LOCAL).await.text;
        let before = audit().await;
        for (action, _) in actions().iter().zip(&may).filter(|(_, may)| !**may) {
            let answer = place.send(action, &acme).await;
            let what = format!("{} sends {}", reader.title, action.route);
            if !is_refused(answer.status) {
                faults.push(format!("{what}, which no page shows: {}", answer.status));
            }
        }
        assert_eq!(audit().await, before, "{}: what is refused changes nothing", reader.title);
        assert!(world.acts.lock().unwrap().is_empty(), "{}", reader.title);

        for (action, _) in actions().iter().zip(&may).filter(|(_, may)| **may) {
            let answer = place.send(action, &acme).await;
            let what = format!("{} sends {}", reader.title, action.route);
            let text = format!("{} {}", answer.location, answer.text);
            if !text.contains(action.done) {
                faults.push(format!(
                    "{what}, which a page shows: {} {}",
                    answer.status, answer.location
                ));
            }
            if action.route == "/account/password" {
                place.browser.sign_in("reader@example.org", "a new long password", "").await;
            }
        }
        table.push((reads, may));
    }
    assert!(faults.is_empty(), "{faults:#?}");
    let column = |at: usize, is_read: bool| {
        let of = |(reads, may): &(Vec<bool>, Vec<bool>)| if is_read { reads[at] } else { may[at] };
        table.iter().map(of).collect::<Vec<_>>()
    };
    let mut rows: Vec<_> = Vec::new();
    for (at, (_, screen)) in SCREENS.iter().enumerate() {
        rows.push((*screen, "read", column(at, true)));
    }
    let all = actions();
    for (at, action) in all.iter().enumerate() {
        rows.push((action.screen, action.name, column(at, false)));
    }
    compare_document(&markdown(&rows));
}

/// Compares the table with the one in the documents, or writes it.
fn compare_document(table: &str) {
    let document = std::fs::read_to_string(OPERATIONS).unwrap();
    let (before, rest) = document.split_once(BEGIN).expect("the mark of the table");
    let (committed, after) = rest.split_once(END).expect("the mark of the table's end");
    if std::env::var_os("NUCLEUS_WRITE_ROLES").is_some() {
        std::fs::write(OPERATIONS, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    let hint = BEGIN.trim();
    assert_eq!(committed, table, "docs/OPERATIONS.md has another table; to write it: {hint}");
}

/// Live parts and files are read by who reads their page, and charts by who sees the server. A page fetches
/// nothing that its reader may not read.
#[tokio::test]
async fn live_parts_and_files_are_for_the_roles_of_their_page() {
    for reader in &READERS {
        let world = World::with(inside).await;
        let mut place = Place::new(&world, reader).await;
        let acme = place.acme.clone();
        for route in routes("get") {
            let page = page_of(&route);
            if page == route || OF_STRANGERS.contains(&page) {
                continue;
            }
            let expected = match route.starts_with("/charts") && reader.is_of_tenant {
                true => StatusCode::FORBIDDEN,
                false => place.read(page, &acme).await.status,
            };
            let what = format!("{}: {route}", reader.title);
            let (status, body) = place.stream(&acme.fill(&route).unwrap()).await;
            assert_eq!(status, expected, "{what}");
            if reader.is_of_tenant && status == StatusCode::OK && route.starts_with("/live") {
                no_beta(&what, &first_part(body).await, &place.beta);
            }
        }
        for (route, _) in SCREENS {
            for part in fetched(&place.read(route, &acme).await.text) {
                let (status, _) = place.stream(&part).await;
                assert_eq!(status, StatusCode::OK, "{}: {route} fetches {part}", reader.title);
            }
        }
    }
}

/// Somebody of a tenant reads nothing of another tenant, and no form reaches what is the other's.
#[tokio::test]
async fn people_of_a_tenant_neither_see_nor_change_another_one() {
    for reader in READERS.iter().filter(|reader| reader.is_of_tenant) {
        let world = World::with(inside).await;
        let mut place = Place::new(&world, reader).await;
        let (acme, beta) = (place.acme.clone(), place.beta.clone());
        for route in routes("get").iter().filter(|route| !route.starts_with("/live")) {
            let own = place.read(route, &acme).await;
            no_beta(&format!("{}: {route}", reader.title), &own.text, &beta);
            if !route.contains("{id}") {
                continue;
            }
            for path in [beta.fill(route), place.server.fill(route)].into_iter().flatten() {
                let foreign = place.browser.get(&path).await;
                assert!(is_refused(foreign.status), "{}: {path}: {foreign:?}", reader.title);
                assert!(!foreign.text.contains("beta"), "{}: {path}: {foreign:?}", reader.title);
            }
        }
        for list in ["/keys?tenant=", "/rooms?tenant=", "/sessions?user=beta-user&room="] {
            let text = place.browser.get(&format!("{list}{}", beta.tenant)).await.text;
            for name in ["beta lobby", "beta key", "beta webhook", "beta issuer"] {
                assert!(!text.contains(name), "{}: {list}: {text}", reader.title);
            }
        }
        let audit = async || world.get("/audit?limit=200", LOCAL).await.text;
        let before = audit().await;
        let (server, peers) =
            (place.server.clone(), Rows { room: beta.room.clone(), ..acme.clone() });
        for action in actions() {
            let fields_aim = (action.fields)(&beta).iter().any(|(_, value)| *value == beta.tenant);
            let route_aims = action.route.contains("{id}");
            let mut targets = Vec::new();
            if route_aims || fields_aim {
                targets.push(&beta);
            }
            if route_aims && server.fill(action.route).is_some() {
                targets.push(&server);
            }
            if action.route.contains("{peer}") {
                targets.push(&peers);
            }
            for rows in targets {
                let answer = place.send(&action, rows).await;
                let what = format!("{} sends {} to another tenant", reader.title, action.route);
                assert!(is_refused(answer.status), "{what}: {answer:?}");
            }
        }
        assert_eq!(audit().await, before, "{}: what is refused changes nothing", reader.title);
        assert!(world.acts.lock().unwrap().is_empty(), "{}", reader.title);
    }
}

fn no_beta(what: &str, text: &str, beta: &Rows) {
    let ids = [&beta.tenant, &beta.key, &beta.webhook, &beta.person, &beta.room, &beta.past];
    let names = ["beta".to_owned()];
    for name in names.iter().chain(ids).filter(|name| !name.is_empty()) {
        if let Some(at) = text.find(name.as_str()) {
            let near: String = text[at..].chars().take(160).collect();
            panic!("{what} has {name}: {near}…");
        }
    }
}

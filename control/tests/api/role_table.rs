//! What each role may read and do in the dashboard: the screens, the actions, and the table in the documents.

use std::fmt::Write as _;

use crate::browser::PASSWORD;

/// A kind of reader.
pub(crate) struct Reader {
    /// As the table names it.
    pub(crate) title: &'static str,
    pub(crate) role: &'static str,
    pub(crate) is_of_tenant: bool,
}

const fn reader(title: &'static str, role: &'static str, is_of_tenant: bool) -> Reader {
    Reader { title, role, is_of_tenant }
}

pub(crate) const READERS: [Reader; 6] = [
    reader("super admin", "super_admin", false),
    reader("partner admin", "partner_admin", true),
    reader("operator of the server", "operator", false),
    reader("operator of a tenant", "operator", true),
    reader("viewer of the server", "viewer", false),
    reader("viewer of a tenant", "viewer", true),
];

/// The ids of one tenant's rows, or of the server's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub(crate) tenant: String,
    pub(crate) key: String,
    pub(crate) issuer: String,
    pub(crate) webhook: String,
    pub(crate) delivery: String,
    pub(crate) person: String,
    pub(crate) session: String,
    pub(crate) room: String,
    pub(crate) past: String,
    pub(crate) ban: String,
    /// Another session of the reader.
    pub(crate) own_session: String,
}

impl Rows {
    /// Returns an address of these rows; `None`: there is no such row.
    pub(crate) fn fill(&self, route: &str) -> Option<String> {
        let kind = route.trim_start_matches("/live").split('/').nth(1)?;
        let id = match kind {
            "rooms" => &self.room,
            "tenants" => &self.tenant,
            "sessions" => &self.past,
            "keys" => &self.key,
            "issuers" => &self.issuer,
            "webhooks" => &self.webhook,
            "people" => &self.person,
            "bans" => &self.ban,
            _ => "",
        };
        let session = if kind == "account" { &self.own_session } else { &self.session };
        let peer = format!("{}-7", self.room);
        let mut filled = route.to_owned();
        let texts = [("{id}", id), ("{peer}", &peer), ("{session}", session), ("{name}", "loss")];
        for (name, text) in texts {
            if filled.contains(name) && text.is_empty() {
                return None;
            }
            filled = filled.replace(name, text);
        }
        assert!(!filled.contains('{'), "`Rows::fill` does not know what {route} is of");
        Some(filled)
    }
}

/// The pages that are read: the route and the title. Live parts and files are read by who reads their page.
pub(crate) const SCREENS: [(&str, &str); 19] = [
    ("/", "Overview"),
    ("/rooms", "Rooms"),
    ("/rooms/{id}", "Room"),
    ("/calls", "Calls"),
    ("/sessions", "Sessions"),
    ("/sessions/{id}", "Session"),
    ("/bans", "Bans"),
    ("/audit", "Audit"),
    ("/tenants", "Tenants"),
    ("/tenants/new", "New tenant"),
    ("/tenants/{id}", "Tenant"),
    ("/keys", "Keys"),
    ("/webhooks", "Webhooks"),
    ("/webhooks/new", "New webhook"),
    ("/webhooks/{id}", "Webhook"),
    ("/people", "People"),
    ("/people/{id}", "Person"),
    ("/network", "Network"),
    ("/account", "Your account"),
];

/// Pages of people who are not signed in.
pub(crate) const OF_STRANGERS: [&str; 2] = ["/signin", "/link"];

/// Addresses that lead to a page: only forms are sent to them.
pub(crate) const LED_ON: [&str; 4] =
    ["/signout", "/account/password", "/account/totp", "/account/totp/off"];

/// Forms of the own account that are shown only in a state in which no reader of the table is: with an
/// authenticator app. `own_account.rs` tries them.
pub(crate) const ELSEWHERE: [&str; 1] = ["/account/totp/off"];

/// Something that a form does.
pub(crate) struct Action {
    pub(crate) screen: &'static str,
    pub(crate) name: &'static str,
    pub(crate) route: &'static str,
    /// The fields of a valid form upon these rows.
    pub(crate) fields: fn(&Rows) -> Fields,
    /// What the answer has if the form was carried out: in its address or in its text.
    pub(crate) done: &'static str,
}

type Fields = Vec<(&'static str, String)>;

fn action(
    screen: &'static str,
    name: &'static str,
    route: &'static str,
    done: &'static str,
    fields: fn(&Rows) -> Fields,
) -> Action {
    Action { screen, name, route, fields, done }
}

/// Returns the public key of a new issuer.
pub(crate) fn public_key() -> String {
    rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().public_key_pem()
}

fn none(_: &Rows) -> Fields {
    Vec::new()
}

/// Every action. The order matters: each can still be done after those before it.
pub(crate) fn actions() -> Vec<Action> {
    vec![
        action("Overview", "drain the server", "/drain", "?done=drain", none),
        action("Room", "lock, unlock", "/rooms/{id}/lock", "done=room-unlocked-already", |_| {
            vec![("locked", "false".to_owned())]
        }),
        action("Room", "mute, unmute", "/rooms/{id}/peers/{peer}/mute", "done=muted", |_| {
            vec![("muted", "true".to_owned())]
        }),
        action("Room", "ban", "/rooms/{id}/peers/{peer}/ban", "done=banned", |_| {
            vec![("reason", "loud".to_owned()), ("seconds", "86400".to_owned())]
        }),
        action("Room", "kick", "/rooms/{id}/peers/{peer}/kick", "done=kicked", none),
        action("Room", "let in again", "/rooms/{id}/bans/lift", "done=let-in", |_| {
            vec![("user", "acme-kept-out".to_owned())]
        }),
        action("Room", "close", "/rooms/{id}/close", "done=room-closed", none),
        action("Session", "ban", "/sessions/{id}/ban", "done=banned", |_| {
            vec![("reason", "loud".to_owned()), ("seconds", String::new())]
        }),
        action("Bans", "ban", "/bans", "done=banned", |rows| {
            vec![("user", "eve".to_owned()), ("tenant", rows.tenant.clone())]
        }),
        action("Bans", "lift", "/bans/{id}/lift", "done=ban-lifted", none),
        action("Session", "delete the user's data", "/sessions/{id}/forget", "forgotten", none),
        action("New tenant", "add", "/tenants", "done=saved", |_| {
            vec![("name", "gamma".to_owned()), ("active", "true".to_owned())]
        }),
        action("Tenant", "change licence and limits", "/tenants/{id}", "done=saved", |_| {
            vec![("name", "acme".to_owned()), ("active", "true".to_owned())]
        }),
        action("Keys", "make", "/keys", "nuk_", |rows| {
            let name = ("name", "a new key".to_owned());
            vec![name, ("scopes", "read".to_owned()), ("tenant", rows.tenant.clone())]
        }),
        action("Keys, Tenant", "revoke", "/keys/{id}/revoke", "done=key-revoked", none),
        action("Tenant", "add an issuer", "/issuers", "done=issuer-added", |rows| {
            let (key, kind) = (("public_key", public_key()), ("algorithm", "EdDSA".to_owned()));
            vec![("name", "another".to_owned()), ("tenant", rows.tenant.clone()), kind, key]
        }),
        action("Tenant", "delete an issuer", "/issuers/{id}/delete", "done=issuer-deleted", none),
        action("New webhook", "add", "/webhooks", "The webhook is made", |rows| {
            let url = ("url", "https://hooks.example.com/".to_owned());
            let name = ("name", "another".to_owned());
            vec![name, url, ("tenant", rows.tenant.clone()), ("events", "room.started".to_owned())]
        }),
        action("Webhook", "test", "/webhooks/{id}/test", "done=webhook-tested", none),
        action(
            "Webhook",
            "replay a delivery",
            "/webhooks/{id}/replay",
            "webhook-replayed",
            |rows| vec![("delivery", rows.delivery.clone())],
        ),
        action("Webhook", "switch on and off", "/webhooks/{id}/switch", "done=webhook-off", |_| {
            vec![("on", "false".to_owned())]
        }),
        action("Webhook", "delete", "/webhooks/{id}/delete", "done=webhook-deleted", none),
        action("People", "add", "/people", "/link?token=", |rows| {
            let email = ("email", "new@example.net".to_owned());
            let sees = ("sees", "tenant".to_owned());
            vec![email, ("role", "viewer".to_owned()), sees, ("tenant", rows.tenant.clone())]
        }),
        action("Person", "make a link", "/people/{id}/link", "/link?token=", none),
        action(
            "Person",
            "end a session",
            "/people/{id}/sessions/{session}/end",
            "done=session-ended",
            none,
        ),
        action("Person", "change the role", "/people/{id}/role", "done=saved", |_| {
            vec![("role", "operator".to_owned())]
        }),
        action("Person", "disable, enable", "/people/{id}/disable", "person-disabled", |_| {
            vec![("disabled", "true".to_owned())]
        }),
        action("Person", "delete", "/people/{id}/delete", "done=person-deleted", none),
        action("Your account", "set up an authenticator", "/account/totp", "totp=new", none),
        action(
            "Your account",
            "end another session",
            "/account/sessions/{session}/end",
            "done=session-ended",
            none,
        ),
        action("Your account", "change the password", "/account/password", "done=password", |_| {
            let new = ("new_password", "a new long password".to_owned());
            vec![("password", PASSWORD.to_owned()), new]
        }),
        action("every page", "sign out", "/signout", "done=signed_out", none),
    ]
}

/// Returns the routes of a router's source that take a method, as `get`. Acts of a route `{act}` are those of
/// the source of its module.
pub(crate) fn routes(method: &str) -> Vec<String> {
    const CONSOLE: &str = include_str!("../../src/console/mod.rs");
    const SIGN_IN: &str = include_str!("../../src/api/sign_in/mod.rs");
    const ACTS: [(&str, &str); 2] = [
        ("/webhooks/{id}/{act}", include_str!("../../src/console/webhooks.rs")),
        ("/people/{id}/{act}", include_str!("../../src/console/people.rs")),
    ];
    let sources = if method == "get" { vec![CONSOLE] } else { vec![CONSOLE, SIGN_IN] };
    let mut found = Vec::new();
    for route in sources.iter().flat_map(|source| source.split(".route(").skip(1)) {
        let mut texts = route.splitn(3, '"');
        let (path, rest) = (texts.nth(1).unwrap(), texts.next().unwrap());
        let rest = rest.split("\n        .").next().unwrap();
        let takes = rest.contains(&format!(" {method}(")) || rest.contains(&format!(".{method}("));
        if !takes || path.starts_with("/assets/") {
            continue;
        }
        if !path.ends_with("{act}") {
            found.push(path.to_owned());
            continue;
        }
        let (_, source) = ACTS.iter().find(|(route, _)| *route == path).expect(path);
        let body = source.split("match act.as_str() {").nth(1).unwrap().split("\n    };").next();
        let arms = body.unwrap().lines().filter_map(|line| line.strip_prefix("        \""));
        let names: Vec<_> = arms.map(|arm| arm.split('"').next().unwrap()).collect();
        assert!(names.len() > 2, "the acts of {path}: {names:?}");
        found.extend(names.iter().map(|name| path.replace("{act}", name)));
    }
    found
}

/// Returns the table as Markdown. `may`: for each row its screen, its action and whether each reader may.
pub(crate) fn markdown(rows: &[(&str, &str, Vec<bool>)]) -> String {
    let titles: Vec<_> = READERS.iter().map(|reader| reader.title).collect();
    let mut text = format!("| screen | action | {} |\n", titles.join(" | "));
    text += &format!("|---|---|{}\n", "---|".repeat(READERS.len()));
    for (screen, action, may) in rows {
        let may: Vec<_> = may.iter().map(|may| if *may { "yes" } else { "–" }).collect();
        // Writing to a String cannot fail.
        let _written = writeln!(text, "| {screen} | {action} | {} |", may.join(" | "));
    }
    text
}

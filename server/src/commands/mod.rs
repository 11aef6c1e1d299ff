//! The commands that speak with a running server over its API.

mod api_client;
mod args;
mod backup;
mod events;
mod history;
mod history_args;
mod issuers;
mod people;
mod people_args;
mod table;
mod tenant_args;
mod values;
mod webhooks;

use std::fmt::Write as _;
use std::io::Write as _;

use nucleus_control::Timestamp;
use serde_json::{Value, json};

pub use api_client::{ApiClient, ApiError};
pub use args::{
    ApiArgs, ApiCommand, BansCommand, CallsCommand, IssuersCommand, KeysCommand, RoomsCommand,
    TenantsCommand, WebhooksCommand,
};
pub use backup::{BackupError, backup, restore};
pub use history_args::{HistoryArgs, HistoryCommand};
pub use people_args::AdminCommand;
use table::{Column, table};
pub use tenant_args::TenantArgs;

/// Most pages that a list reads: 200,000 rows. A list that is longer says so.
const MAX_PAGES: usize = 1_000;

const ROOMS: [Column; 8] = [
    Column::text("ID", "id"),
    Column::text("TENANT", "tenant"),
    Column::text("PRODUCT", "product"),
    Column::text("NAME", "name"),
    Column::number("PEERS", "peers"),
    Column::number("OF", "capacity"),
    Column::age("AGE", "age_seconds"),
    Column::marks("STATE", &["locked", "hidden", "kept"]),
];
const PEERS: [Column; 6] = [
    Column::text("ID", "id"),
    Column::text("USER", "user"),
    Column::text("NAME", "name"),
    Column::text("ROLE", "role"),
    Column::number("RESUMES", "resumes"),
    Column::marks("STATE", &["moderator", "muted", "self_muted", "away", "lost"]),
];
const TENANTS: [Column; 7] = [
    Column::text("ID", "id"),
    Column::text("NAME", "name"),
    Column::list("PRODUCTS", "products", "all"),
    Column::text("FROM", "starts_at"),
    Column::text("TO", "ends_at"),
    Column::number("SESSIONS", "max_sessions"),
    Column::computed("STATE", tenant_state),
];
const AUDIT: [Column; 6] = [
    Column::text("AT", "at"),
    Column::text("WHO", "actor"),
    Column::text("FROM", "ip"),
    Column::text("ACT", "action"),
    Column::text("OF", "target"),
    Column::text("DETAIL", "detail"),
];
const BANS: [Column; 5] = [
    Column::text("ID", "id"),
    Column::text("TENANT", "tenant"),
    Column::text("USER", "user"),
    Column::text("ENDS", "ends_at"),
    Column::text("REASON", "reason"),
];
const FORGOTTEN: [Column; 4] = [
    Column::number("SESSIONS", "sessions"),
    Column::number("AUDIT ENTRIES", "audit_entries"),
    Column::number("BANS", "bans"),
    Column::marks("STATE", &["is_banned"]),
];
const KEYS: [Column; 7] = [
    Column::text("ID", "id"),
    Column::text("TENANT", "tenant"),
    Column::text("NAME", "name"),
    Column::list("SCOPES", "scopes", ""),
    Column::text("LAST USED", "last_used_at"),
    Column::text("ENDS", "expires_at"),
    Column::text("REVOKED", "revoked_at"),
];

/// Runs a command. Returns what it prints: a table or a sentence for people, or JSON.
///
/// # Errors
///
/// The server cannot be reached or refuses the request.
pub async fn run(command: ApiCommand) -> Result<String, ApiError> {
    let args = command.args();
    let client = ApiClient::new(args)?;
    let json = args.json;
    let shown = |value: &Value, columns: &[Column]| match value {
        Value::Null => done(json),
        value if json => pretty(value),
        value => table(columns, value),
    };
    Ok(match command {
        ApiCommand::Rooms { command: None, search, tenant, .. } => {
            let query = [("search", search), ("tenant", tenant)];
            shown(&list(&client, "/rooms", &query).await?, &ROOMS)
        }
        ApiCommand::Rooms { command: Some(act), .. } => {
            let (id, path, body) = match act {
                RoomsCommand::Stats { room } => {
                    let path = format!("/rooms/{room}/stats");
                    let stats = client.send("GET", &path, Value::Null).await?;
                    return Ok(match json {
                        true => pretty(&stats),
                        false => table(&history::STATS, &stats["peers"]),
                    });
                }
                RoomsCommand::Close { room } => (room, "close", Value::Null),
                RoomsCommand::Lock { room } => (room, "lock", json!({"on": true})),
                RoomsCommand::Unlock { room } => (room, "lock", json!({"on": false})),
                RoomsCommand::Hide { room } => (room, "hide", json!({"on": true})),
                RoomsCommand::Show { room } => (room, "hide", json!({"on": false})),
            };
            client.send("POST", &format!("/rooms/{id}/{path}"), body).await?;
            done(json)
        }
        ApiCommand::Peers { room, .. } => {
            let room = client.send("GET", &format!("/rooms/{room}"), Value::Null).await?;
            shown(&room["members"], &PEERS)
        }
        ApiCommand::Kick { peer, ban, .. } => {
            let body = json!({"ban_seconds": ban.as_secs()});
            client.send("POST", &format!("/peers/{peer}/kick"), body).await?;
            done(json)
        }
        ApiCommand::Mute { peer, off, .. } => {
            let body = json!({"on": !off});
            client.send("POST", &format!("/peers/{peer}/mute"), body).await?;
            done(json)
        }
        ApiCommand::Drain { .. } => {
            client.send("POST", "/drain", Value::Null).await?;
            done(json)
        }
        ApiCommand::Status { .. } => {
            let server = client.send("GET", "/server", Value::Null).await?;
            if json { pretty(&server) } else { status(&server) }
        }
        ApiCommand::Tenants { command: None, .. } => {
            shown(&list(&client, "/tenants", &[]).await?, &TENANTS)
        }
        ApiCommand::Tenants { command: Some(act), .. } => {
            tenants(&client, act).await.map(|value| shown(&value, &TENANTS))?
        }
        ApiCommand::Ban { user, tenant, time, reason, .. } => {
            let body = json!({
                "user": user,
                "tenant": tenant_id(&client, &tenant).await?,
                "seconds": time.map(|time| time.as_secs()),
                "reason": reason,
            });
            shown(&client.send("POST", "/bans", body).await?, &BANS)
        }
        ApiCommand::Bans { command: None, .. } => shown(&list(&client, "/bans", &[]).await?, &BANS),
        ApiCommand::Bans { command: Some(BansCommand::Lift { id }), .. } => {
            client.send("DELETE", &format!("/bans/{id}"), Value::Null).await?;
            done(json)
        }
        ApiCommand::Forget { user, tenant, .. } => {
            let body = json!({"user": user, "tenant": tenant_id(&client, &tenant).await?});
            shown(&client.send("POST", "/forget", body).await?, &FORGOTTEN)
        }
        ApiCommand::Issuers { command: None, .. } => {
            shown(&list(&client, "/issuers", &[]).await?, &issuers::COLUMNS)
        }
        ApiCommand::Issuers { command: Some(act), .. } => {
            issuers::act(&client, act).await.map(|value| shown(&value, &issuers::COLUMNS))?
        }
        ApiCommand::Webhooks { command, .. } => {
            let (answer, columns) = webhooks::act(&client, command).await?;
            match answer["secret"].as_str() {
                // Alone on its line, so that a script can take it.
                Some(secret) if !json => {
                    if let Some(problem) = answer["problem"].as_str() {
                        let problem = table::plain(&problem.into());
                        // Not on stdout, which has the secret alone. A test of the webhook says the same.
                        let _written = writeln!(std::io::stderr(), "nucleus: note: {problem}");
                    }
                    format!("{secret}\n")
                }
                _ => shown(&answer, columns),
            }
        }
        ApiCommand::Calls { command: Some(CallsCommand::End { call }), .. } => {
            client.send("POST", &format!("/calls/{call}/end"), Value::Null).await?;
            done(json)
        }
        ApiCommand::Calls { command: None, tenant, .. } => {
            let calls = list(&client, "/calls", &[("tenant", tenant)]).await?;
            shown(&calls, &history::LIVE_CALLS)
        }
        ApiCommand::Events { tenant, kinds, api } => {
            let wanted = events::WantedEvents { tenant, kinds, json };
            events::follow(&api, &wanted, &mut std::io::stdout()).await?;
            String::new()
        }
        ApiCommand::History { command, .. } => {
            let (found, columns) = history::read(&client, command).await?;
            match found["moments"].is_array() && !json {
                true => history::timeline(&found),
                false => shown(&found, columns),
            }
        }
        ApiCommand::Admin { command, .. } => {
            let answer = people::act(&client, command).await?;
            match answer["url"].as_str() {
                // Alone on its line, so that a script can take it.
                Some(url) if !json => format!("{url}\n"),
                _ => shown(&answer, &people::COLUMNS),
            }
        }
        ApiCommand::Audit { limit, .. } => {
            let mut page =
                client.send("GET", &format!("/audit?limit={limit}"), Value::Null).await?;
            shown(&page["items"].take(), &AUDIT)
        }
        ApiCommand::Keys { command: None, .. } => shown(&list(&client, "/keys", &[]).await?, &KEYS),
        ApiCommand::Keys {
            command: Some(KeysCommand::Create { name, scopes, tenant, expires }),
            ..
        } => {
            let tenant = match tenant {
                Some(name) => Some(tenant_id(&client, &name).await?),
                None => None,
            };
            let body = json!({
                "name": name, "scopes": scopes, "tenant": tenant, "expires_at": expires,
            });
            let made = client.send("POST", "/keys", body).await?;
            // Alone on its line, so that a script can take it.
            if json {
                pretty(&made)
            } else {
                format!("{}\n", made["key"].as_str().unwrap_or_default())
            }
        }
        ApiCommand::Keys { command: Some(KeysCommand::Revoke { id }), .. } => {
            client.send("DELETE", &format!("/keys/{id}"), Value::Null).await?;
            done(json)
        }
    })
}

async fn tenants(client: &ApiClient, act: TenantsCommand) -> Result<Value, ApiError> {
    match act {
        TenantsCommand::Create { name, settings } => {
            let mut body = json!({"name": name});
            settings.apply(&mut body);
            client.send("POST", "/tenants", body).await
        }
        TenantsCommand::Set { name, settings } => {
            let id = tenant_id(client, &name).await?;
            let path = format!("/tenants/{id}");
            let mut body = client.send("GET", &path, Value::Null).await?;
            if let Some(fields) = body.as_object_mut() {
                fields.retain(|field, _| !["id", "created_at"].contains(&field.as_str()));
            }
            settings.apply(&mut body);
            client.send("PUT", &path, body).await
        }
        TenantsCommand::Delete { name } => {
            let id = tenant_id(client, &name).await?;
            client.send("DELETE", &format!("/tenants/{id}"), Value::Null).await
        }
    }
}

/// Says whether the users of a tenant may join now, by the clock of this machine.
fn tenant_state(tenant: &Value) -> String {
    let time = |field: &str| tenant[field].as_str().and_then(Timestamp::parse);
    let now = Timestamp::now();
    let state = if tenant["active"] == false {
        "off"
    } else if time("ends_at").is_some_and(|end| end <= now) {
        "licence ended"
    } else if time("starts_at").is_some_and(|start| start > now) {
        "not begun"
    } else {
        "active"
    };
    state.to_owned()
}

/// Returns the id of the tenant with this name.
async fn tenant_id(client: &ApiClient, name: &str) -> Result<String, ApiError> {
    let tenants = list(client, "/tenants", &[]).await?;
    let found = tenants.as_array().into_iter().flatten().find(|tenant| tenant["name"] == name);
    let id = found.and_then(|tenant| tenant["id"].as_str());
    id.map(str::to_owned).ok_or_else(|| ApiError::NoSuchTenant(name.to_owned()))
}

/// Reads all pages of a list.
async fn list(
    client: &ApiClient,
    path: &str,
    query: &[(&str, Option<String>)],
) -> Result<Value, ApiError> {
    let (mut items, mut cursor) = (Vec::new(), None::<String>);
    for _ in 0..MAX_PAGES {
        let mut address = format!("{path}?limit=200");
        let cursor_query = ("cursor", cursor.take());
        for (name, value) in query.iter().chain([&cursor_query]) {
            if let Some(value) = value {
                let _written = write!(address, "&{name}={}", api_client::encoded(value));
            }
        }
        let mut page = client.send("GET", &address, Value::Null).await?;
        if let Some(rows) = page["items"].as_array_mut() {
            items.append(rows);
        }
        match page["next"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return Ok(Value::Array(items)),
        }
    }
    Err(ApiError::TooLong)
}

/// What a command prints that has done something.
fn done(json: bool) -> String {
    if json { "{}\n".to_owned() } else { "done\n".to_owned() }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Describes a server for people.
fn status(server: &Value) -> String {
    let text = |name: &str| table::plain(&server[name]);
    let mut lines = format!(
        "server    {}\nversion   {}\nup for    {}\naccepts   {}\nsessions  {} of {}\nrooms     {}\n",
        text("id"),
        text("version"),
        table::age(server["uptime_seconds"].as_u64().unwrap_or(0)),
        if server["accepts"] == true { "sessions" } else { "no sessions: it stops" },
        text("sessions"),
        text("max_sessions"),
        text("rooms"),
    );
    for (number, shard) in server["shards"].as_array().into_iter().flatten().enumerate() {
        let text = |name: &str| table::plain(&shard[name]);
        let _written = writeln!(
            lines,
            "shard {number:<3} {} links, {} on the fallback, tick {} µs, {} datagrams dropped by the kernel",
            text("links"),
            text("on_fallback"),
            text("tick_microseconds"),
            text("kernel_drops"),
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_tenant_says_whether_users_may_join() {
        let (past, future) = ("2020-01-01T00:00:00Z", "9000-01-01T00:00:00Z");
        for (tenant, state) in [
            (json!({"active": true, "starts_at": null, "ends_at": null}), "active"),
            (json!({"active": true, "starts_at": past, "ends_at": future}), "active"),
            (json!({"active": true, "starts_at": past, "ends_at": past}), "licence ended"),
            (json!({"active": true, "starts_at": future, "ends_at": null}), "not begun"),
            (json!({"active": false, "starts_at": past, "ends_at": past}), "off"),
        ] {
            let shown = table(&TENANTS[6..], &tenant);
            assert_eq!(shown, format!("STATE\n{state}\n"), "{tenant}");
        }
    }
}

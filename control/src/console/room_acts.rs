//! What an operator does to a room and to its participants.

use std::time::Duration;

use axum::extract::Path;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use nucleus_console::screens::ErrorKind;
use serde_json::{Value, json};

use super::answer::{self, PageError};
use super::bans;
use super::form::Fields;
use super::reader::PageReader;
use super::row::{AnswerRow, encoded};

/// How often a page looks whether its act is to be seen, and the pause between two looks: two seconds in all.
const LOOKS: u32 = 20;
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Longest ban by a page, in seconds: a day. Longer ones are made by the API.
const LONGEST_BAN: u32 = 86_400;

pub(super) async fn close(
    reader: PageReader,
    Path(id): Path<String>,
    _fields: Fields,
) -> Result<Response, PageError> {
    let path = format!("/rooms/{}/close", encoded(&id));
    reader.client.ask(Method::POST, &path, &Value::Null).await?;
    Ok(answer::to("/rooms?done=room-closed"))
}

pub(super) async fn lock(
    reader: PageReader,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, PageError> {
    let on = fields.is_on("locked")?;
    let room = reader.client.get(&format!("/rooms/{}", encoded(&id))).await?;
    let was = AnswerRow(&room).flag("locked");
    let path = format!("/rooms/{}/lock", encoded(&id));
    reader.client.ask(Method::POST, &path, &json!({"on": on})).await?;
    // The list of rooms is up to a second old: the page must not offer what was just done.
    for _ in 0..LOOKS {
        let room = reader.client.get(&format!("/rooms/{}", encoded(&id))).await?;
        if AnswerRow(&room).flag("locked") == on {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let done = match (was, on) {
        (false, true) => "room-locked",
        (true, true) => "room-locked-already",
        (true, false) => "room-unlocked",
        (false, false) => "room-unlocked-already",
    };
    Ok(back(&id, done))
}

pub(super) async fn mute(
    reader: PageReader,
    Path((id, peer)): Path<(String, String)>,
    fields: Fields,
) -> Result<Response, PageError> {
    let on = fields.is_on("muted")?;
    let path = format!("/peers/{}/mute", encoded(&peer));
    reader.client.ask(Method::POST, &path, &json!({"on": on})).await?;
    Ok(back(&id, if on { "muted" } else { "unmuted" }))
}

/// Kicks a participant. To keep a user out of every room, bans the user from the tenant: that ends all sessions of
/// the user.
pub(super) async fn kick(
    reader: PageReader,
    Path((id, peer)): Path<(String, String)>,
    fields: Fields,
) -> Result<Response, PageError> {
    // A kick without the ban that was asked for would look as if both had happened.
    let seconds = fields.number("ban_seconds")?.unwrap_or(0).min(LONGEST_BAN);
    let of_tenant = match fields.get("where") {
        "" | "room" => false,
        "tenant" => true,
        _ => return Err(PageError::Kind(ErrorKind::Malformed)),
    };
    let room = reader.client.get(&format!("/rooms/{}", encoded(&id))).await?;
    let room = AnswerRow(&room);
    let user = user_of(room, &peer)?;
    let is_alone = room.rows("members").all(|member| member.text("user") == user);
    let done = if of_tenant && seconds > 0 {
        let tenant = bans::known_tenant(&reader, room.text("tenant")).await?;
        bans::ban_for(&reader, Some(&tenant), user, "kicked", Some(seconds.into())).await?;
        "kicked-everywhere"
    } else {
        let path = format!("/peers/{}/kick", encoded(&peer));
        reader.client.ask(Method::POST, &path, &json!({"ban_seconds": seconds})).await?;
        match (seconds, is_alone) {
            (0, _) => "kicked",
            (_, true) => "kicked-alone",
            (_, false) => "kicked-for-a-time",
        }
    };
    // The room of somebody who was alone ends at this moment, and has no page until its end is written.
    Ok(if is_alone { answer::to(&format!("/rooms?done={done}")) } else { back(&id, done) })
}

/// Bans the user of a participant from the tenant.
pub(super) async fn ban(
    reader: PageReader,
    Path((id, peer)): Path<(String, String)>,
    fields: Fields,
) -> Result<Response, PageError> {
    let room = reader.client.get(&format!("/rooms/{}", encoded(&id))).await?;
    let room = AnswerRow(&room);
    let user = user_of(room, &peer)?;
    let tenant = bans::known_tenant(&reader, room.text("tenant")).await?;
    bans::ban(&reader, Some(&tenant), user, &fields).await?;
    Ok(back(&id, "banned"))
}

/// Lets a user in again who is kept out of a room.
pub(super) async fn let_in(
    reader: PageReader,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, PageError> {
    let user = fields.all("user").first().copied().unwrap_or_default();
    if user.is_empty() {
        return Err(PageError::Kind(ErrorKind::Malformed));
    }
    let room = format!("/rooms/{}", encoded(&id));
    let path = format!("{room}/bans/{}", encoded(user));
    match reader.client.ask(Method::DELETE, &path, &Value::Null).await {
        // The ban has ended already. That is what was wanted, if the room is still there.
        Err(refusal) if refusal.status == StatusCode::NOT_FOUND => {
            reader.client.get(&room).await?;
        }
        answer => {
            answer?;
        }
    }
    Ok(back(&id, "let-in"))
}

/// Returns the user of a participant.
fn user_of<'a>(room: AnswerRow<'a>, peer: &str) -> Result<&'a str, PageError> {
    let member = room.rows("members").find(|member| member.text("id") == peer);
    Ok(member.ok_or(PageError::Kind(ErrorKind::NotFound))?.text("user"))
}

fn back(id: &str, done: &str) -> Response {
    answer::to(&format!("/rooms/{}?done={done}", encoded(id)))
}

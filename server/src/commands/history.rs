//! `nucleus history`: which rooms, sessions and calls there were. Also the columns of the calls that there
//! are, and of the figures of a room.

use std::fmt::Write as _;

use serde_json::Value;

use super::api_client::{ApiClient, ApiError, encoded};
use super::history_args::{HistoryArgs, HistoryCommand};
use super::table::{Column, plain, table};

const ROOMS: [Column; 7] = [
    Column::text("ROOM", "room"),
    Column::text("TENANT", "tenant"),
    Column::text("NAME", "name"),
    Column::text("BEGAN", "started_at"),
    Column::text("ENDED", "ended_at"),
    Column::number("JOINS", "joins"),
    Column::number("MOST", "most_peers"),
];
const SESSIONS: [Column; 11] = [
    Column::text("ID", "peer"),
    Column::text("TENANT", "tenant"),
    Column::text("ROOM", "room_name"),
    Column::text("USER", "user"),
    Column::text("NAME", "name"),
    Column::text("JOINED", "joined_at"),
    Column::text("LEFT", "left_at"),
    Column::text("WHY", "code"),
    Column::number("RESUMES", "resumes"),
    Column::number("FALLBACK MS", "fallback_ms"),
    Column::number("LOSS PPM", "loss_ppm"),
];
const CALLS: [Column; 6] = [
    Column::text("TENANT", "tenant"),
    Column::text("CALLER", "caller"),
    Column::text("BEGAN", "started_at"),
    Column::text("ENDED", "ended_at"),
    Column::list("MEMBERS", "members", ""),
    Column::list("MISSED", "missed", ""),
];
pub(super) const LIVE_CALLS: [Column; 7] = [
    Column::text("ID", "call"),
    Column::text("TENANT", "tenant"),
    Column::text("CALLER", "caller"),
    Column::age("AGE", "age_seconds"),
    Column::age("TALKING", "talking_seconds"),
    Column::list("MEMBERS", "members", ""),
    Column::list("RINGING", "ringing", ""),
];

pub(super) const STATS: [Column; 13] = [
    Column::text("ID", "id"),
    Column::text("USER", "user"),
    Column::text("CLIENT", "client"),
    Column::age("AGE", "age_seconds"),
    Column::text("PLANE", "plane"),
    Column::number("RTT US", "rtt_us"),
    Column::number("JITTER US", "jitter_us"),
    Column::number("LOSS IN PPM", "loss_in_ppm"),
    Column::number("LOSS OUT PPM", "loss_out_ppm"),
    Column::number("BYTES IN", "bytes_in"),
    Column::number("BYTES OUT", "bytes_out"),
    Column::number("WITHHELD", "withheld"),
    Column::marks("STATE", &["speaking", "away", "lost"]),
];

const MOMENTS: [Column; 2] = [Column::text("TIME", "at"), Column::text("WHAT", "text")];

/// Asks for one page of the history, or for one session. Returns the rows, or the session, with the columns
/// of their table.
pub(super) async fn read(
    client: &ApiClient,
    command: HistoryCommand,
) -> Result<(Value, &'static [Column]), ApiError> {
    let (name, args, columns): (_, _, &[Column]) = match command {
        HistoryCommand::Rooms(args) => ("rooms", args, &ROOMS),
        HistoryCommand::Sessions(args) => ("sessions", args, &SESSIONS),
        HistoryCommand::Calls(args) => ("calls", args, &CALLS),
        HistoryCommand::Session { session } => {
            let address = format!("/history/sessions/{}", encoded(&session));
            return Ok((client.send("GET", &address, Value::Null).await?, &MOMENTS));
        }
    };
    let HistoryArgs { user, room, tenant, from, to, limit } = args;
    let mut address = format!("/history/{name}?limit={limit}");
    let query = [("user", user), ("room", room), ("tenant", tenant), ("from", from), ("to", to)];
    for (name, value) in query {
        if let Some(value) = value {
            let _written = write!(address, "&{name}={}", encoded(&value));
        }
    }
    let mut page = client.send("GET", &address, Value::Null).await?;
    Ok((page["items"].take(), columns))
}

/// Describes a session for people: who, where, why it ended, and what happened.
pub(super) fn timeline(session: &Value) -> String {
    let text = |name: &str| plain(&session[name]);
    let mut lines = format!(
        "session   {}\nuser      {} ({})\nroom      {} of {}\njoined    {}\n",
        text("peer"),
        text("user"),
        text("name"),
        text("room_name"),
        text("tenant"),
        text("joined_at"),
    );
    let ended = session["left_at"].is_string();
    // Writing to a `String` cannot fail.
    let _written = match ended {
        true => writeln!(lines, "left      {}\nwhy       {}", text("left_at"), text("reason")),
        false => writeln!(lines, "left      not yet"),
    };
    let figures = [
        ("resumes", "resumes", ""),
        ("fallback_ms", "on the fallback", " ms"),
        ("rtt_p50_us", "round trip (median)", " µs"),
        ("rtt_p95_us", "round trip (95 of 100)", " µs"),
        ("loss_ppm", "lost datagrams", " of a million"),
        ("withheld", "messages withheld", ""),
    ];
    let known = figures.into_iter().filter(|(field, ..)| session[*field].is_number());
    let known: Vec<_> =
        known.map(|(field, name, unit)| format!("{name}: {}{unit}", text(field))).collect();
    if !known.is_empty() {
        let _written = writeln!(lines, "figures   {}", known.join(", "));
    }
    lines.push('\n');
    lines += &table(&MOMENTS, &session["moments"]);
    match session["moments_left_out"].as_u64() {
        Some(1..) => {
            let count = text("moments_left_out");
            let _written =
                writeln!(lines, "\n{count} moments behind the first eight are left out.");
        }
        _ if session["moments_known"] == false && !ended => {
            lines += "\nWhat happened in between is shown once the session has ended.\n";
        }
        _ => {}
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_timeline_says_who_why_and_what() {
        let session = json!({
            "peer": "0101010101010101-7", "user": "ada", "name": "Ada\u{1b}[2J", "room_name": "lobby",
            "tenant": "acme", "joined_at": "2026-11-30T10:00:00Z", "left_at": "2026-11-30T10:04:00Z",
            "reason": "removed by Bob", "resumes": 1, "fallback_ms": null, "moments_known": true,
            "moments_left_out": 2,
            "moments": [{"at": "2026-11-30T10:00:00Z", "text": "joined in 240 ms"},
                {"at": "2026-11-30T10:04:00Z", "text": "removed by Bob"}],
        });
        let text = timeline(&session);
        let expected = "\
session   0101010101010101-7
user      ada (Ada?[2J)
room      lobby of acme
joined    2026-11-30T10:00:00Z
left      2026-11-30T10:04:00Z
why       removed by Bob
figures   resumes: 1

TIME                  WHAT
2026-11-30T10:00:00Z  joined in 240 ms
2026-11-30T10:04:00Z  removed by Bob

2 moments behind the first eight are left out.
";
        assert_eq!(text, expected);
        let live = json!({"joined_at": "2026-11-30T10:00:00Z", "moments_known": false});
        let text = timeline(&live);
        assert!(text.contains("left      not yet") && text.contains("once the session"), "{text}");
    }
}

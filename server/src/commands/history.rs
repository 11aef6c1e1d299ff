//! `nucleus history`: which rooms, sessions and calls there were. Also the columns of the calls that there
//! are, and of the figures of a room.

use std::fmt::Write as _;

use serde_json::Value;

use super::api_client::{ApiClient, ApiError, encoded};
use super::history_args::{HistoryArgs, HistoryCommand};
use super::table::Column;

const ROOMS: [Column; 7] = [
    Column::text("ROOM", "room"),
    Column::text("TENANT", "tenant"),
    Column::text("NAME", "name"),
    Column::text("BEGAN", "started_at"),
    Column::text("ENDED", "ended_at"),
    Column::number("JOINS", "joins"),
    Column::number("MOST", "most_peers"),
];
const SESSIONS: [Column; 10] = [
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

/// Asks for one page of the history. Returns its rows with the columns of their table.
pub(super) async fn read(
    client: &ApiClient,
    command: HistoryCommand,
) -> Result<(Value, &'static [Column]), ApiError> {
    let (name, args, columns): (_, _, &[Column]) = match command {
        HistoryCommand::Rooms(args) => ("rooms", args, &ROOMS),
        HistoryCommand::Sessions(args) => ("sessions", args, &SESSIONS),
        HistoryCommand::Calls(args) => ("calls", args, &CALLS),
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

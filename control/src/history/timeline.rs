//! Reads one session with what happened in it.

use std::collections::BTreeMap;
use std::time::Duration;

use nucleus_core::ids::PeerId;
use nucleus_core::moments::{Moment, MomentActor, MomentKind, MomentLog};
use nucleus_protocol::session::Code;
use serde::Serialize;
use utoipa::ToSchema;

use super::moment_texts::TextState;
use super::query::{PastSession, past_session};
use super::stored_moments::{StoredMoments, actor_name, cause_name, kind_name};
use crate::database::{Database, DatabaseError, Row};
use crate::id;
use crate::room_id::PeerAddress;
use crate::timestamp::Timestamp;

/// A session with what happened in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SessionTimeline {
    #[serde(flatten)]
    session: PastSession,
    /// Why it ended, in words; null: it goes on, or the server was killed.
    reason: Option<String>,
    /// Whether it is known what happened between the join and the end. It is not while the session goes
    /// on, and for sessions that an older server has recorded.
    moments_known: bool,
    /// What happened, the oldest first: at most 64 moments, the join and the end among them.
    moments: Vec<SessionMoment>,
    /// Moments that were left out behind the first eight, because there were too many.
    moments_left_out: u32,
}

/// Something that happened in a session. What is null does not belong to the kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SessionMoment {
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// `joined`, `realtime` (the messages come on UDP 5056), `fallback` (they come inside the session),
    /// `moved` (another address on UDP 5056), `away`, `back`, `muted`, `unmuted`, `lost`, `resumed`,
    /// `removed`, or `left`, the end.
    kind: &'static str,
    /// What happened, in words.
    text: String,
    /// How long the join or the resume took, in milliseconds.
    took_ms: Option<u64>,
    /// The client's address, of `realtime` and `moved`.
    address: Option<String>,
    /// Who did it: `itself`, `peer`, `operator`, or `room` for an earlier mute.
    by: Option<&'static str>,
    /// The id of the peer who did it.
    by_peer: Option<String>,
    /// The user id of the peer who did it; null: the history does not know that peer any more.
    by_user: Option<String>,
    /// Why a session was lost: `silent`, `closed`, `slow` or `broken`.
    cause: Option<&'static str>,
}

/// Those who moderated, by the numbers of their peers: user id and display name.
type Moderators = BTreeMap<PeerId, (String, String)>;

/// Returns a session by the id of its row, or by the id of its peer. `tenant`: the id of the tenant to
/// which the caller is limited.
///
/// # Errors
///
/// The database cannot be reached.
pub async fn session(
    database: &Database,
    tenant: Option<&str>,
    wanted: &str,
) -> Result<Option<SessionTimeline>, DatabaseError> {
    let sql = if id::is_id(wanted) {
        "SELECT * FROM session_history WHERE id = $1"
    } else if wanted.parse::<PeerAddress>().is_ok() {
        "SELECT * FROM session_history WHERE peer = $1"
    } else {
        return Ok(None);
    };
    let rows = database.rows(sql, vec![wanted.into()]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let owner: Option<String> = row.get("tenant")?;
    if tenant.is_some_and(|tenant| owner.as_deref() != Some(tenant)) {
        return Ok(None);
    }
    let session = past_session(row)?;
    let log = log_of(row)?;
    let moderators = match &log {
        Some(log) => moderators(database, &session, log).await?,
        None => Moderators::new(),
    };
    Ok(Some(SessionTimeline::new(session, log, &moderators)))
}

/// Reads the moments of a row; `None`: they are not known.
fn log_of(row: &Row) -> Result<Option<MomentLog>, DatabaseError> {
    let Some(text) = row.get::<Option<String>>("moments")? else { return Ok(None) };
    let stored: StoredMoments = serde_json::from_str(&text)
        .map_err(|error| DatabaseError::Unreadable(format!("moments: {error}")))?;
    Ok(Some(stored.into()))
}

/// Returns who the moderators among the moments are: at most as many as there are moments.
async fn moderators(
    database: &Database,
    session: &PastSession,
    log: &MomentLog,
) -> Result<Moderators, DatabaseError> {
    let mut found = Moderators::new();
    let mut asked: Vec<PeerId> = log.moments().iter().filter_map(moderator).collect();
    asked.sort_unstable();
    asked.dedup();
    for peer in asked {
        let address = format!("{}-{}", session.room, peer.0);
        let sql = "SELECT user_id, name FROM session_history WHERE peer = $1";
        let rows = database.rows(sql, vec![address.into()]).await?;
        if let Some(row) = rows.first() {
            found.insert(peer, (row.get("user_id")?, row.get("name")?));
        }
    }
    Ok(found)
}

/// Returns who has caused a moment.
fn actor(moment: &Moment) -> Option<MomentActor> {
    match moment.kind {
        MomentKind::Muted(by) | MomentKind::Unmuted(by) | MomentKind::Removed(by) => Some(by),
        _ => None,
    }
}

fn moderator(moment: &Moment) -> Option<PeerId> {
    match actor(moment) {
        Some(MomentActor::Peer(peer)) => Some(peer),
        _ => None,
    }
}

impl SessionTimeline {
    fn new(session: PastSession, log: Option<MomentLog>, moderators: &Moderators) -> Self {
        let names = |actor| match actor {
            MomentActor::Itself => session.user.clone(),
            MomentActor::Room => "the room".to_owned(),
            MomentActor::Operator => "an operator (the audit says who)".to_owned(),
            MomentActor::Peer(peer) => match moderators.get(&peer) {
                Some((user, name)) if name.is_empty() || name == user => user.clone(),
                Some((user, name)) => format!("{name} ({user})"),
                None => format!("a moderator, peer {}, of whom nothing is kept", peer.0),
            },
        };
        let (mut state, mut moments) = (TextState::default(), Vec::new());
        for moment in log.iter().flat_map(MomentLog::moments) {
            let text = state.text(moment, &names);
            moments.push(SessionMoment::new(&session, moment, text, moderators));
        }
        if moments.is_empty() {
            moments.push(SessionMoment::plain(session.joined_at, "joined", "joined".to_owned()));
        }
        let code = |name: &String| Code::ALL.iter().find(|code| code.name() == name).copied();
        let reason = session.code.as_ref().map(|name| {
            let end = session.left_at.unwrap_or(session.joined_at);
            let lasted = end.micros().saturating_sub(session.joined_at.micros());
            let lasted = Duration::from_micros(lasted.unsigned_abs());
            let unknown = || format!("ended with the code `{name}`");
            code(name).map_or_else(unknown, |code| state.reason(code, lasted, &names))
        });
        if let (Some(at), Some(reason)) = (session.left_at, &reason) {
            moments.push(SessionMoment::plain(at, "left", reason.clone()));
        }
        let moments_left_out = log.as_ref().map_or(0, MomentLog::left_out);
        Self { reason, moments_known: log.is_some(), moments, moments_left_out, session }
    }
}

impl SessionMoment {
    fn plain(at: Timestamp, kind: &'static str, text: String) -> Self {
        Self {
            at,
            kind,
            text,
            took_ms: None,
            address: None,
            by: None,
            by_peer: None,
            by_user: None,
            cause: None,
        }
    }

    fn new(session: &PastSession, moment: &Moment, text: String, moderators: &Moderators) -> Self {
        let after = i64::try_from(moment.after.as_micros()).unwrap_or(i64::MAX);
        let at = Timestamp::from_micros(session.joined_at.micros().saturating_add(after));
        // The shard may tell what it has seen a moment after the end.
        let at = session.left_at.map_or(at, |end| at.min(end));
        let plain = Self::plain(at, kind_name(moment.kind), text);
        match moment.kind {
            MomentKind::Joined { took } | MomentKind::Resumed { took } => {
                let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                Self { took_ms: Some(millis), ..plain }
            }
            MomentKind::Realtime(address) | MomentKind::Moved(address) => {
                Self { address: Some(address.to_string()), ..plain }
            }
            MomentKind::Muted(by) | MomentKind::Unmuted(by) | MomentKind::Removed(by) => {
                let peer = moderator(moment);
                let user = peer.and_then(|peer| moderators.get(&peer));
                Self {
                    by: Some(actor_name(by)),
                    by_peer: peer.map(|peer| format!("{}-{}", session.room, peer.0)),
                    by_user: user.map(|(user, _)| user.clone()),
                    ..plain
                }
            }
            MomentKind::Lost(cause) => Self { cause: Some(cause_name(cause)), ..plain },
            MomentKind::Fallback | MomentKind::Away | MomentKind::Back => plain,
        }
    }
}

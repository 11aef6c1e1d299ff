//! Moments of a session as JSON: in a column of the database, and in the spool file.

use std::time::Duration;

use nucleus_core::ids::PeerId;
use nucleus_core::moments::{LossCause, Moment, MomentActor, MomentKind, MomentLog};
use serde::{Deserialize, Serialize};

/// The moments of a session in the form of the column. What is absent does not belong to the kind.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct StoredMoments {
    left_out: u32,
    list: Vec<StoredMoment>,
}

/// A moment in the form of the column. Times are in microseconds.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct StoredMoment {
    after: u64,
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    took: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// The number of the peer who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
}

/// The causes of losses by their names.
const CAUSES: [(LossCause, &str); 4] = [
    (LossCause::Silent, "silent"),
    (LossCause::Closed, "closed"),
    (LossCause::Slow, "slow"),
    (LossCause::Broken, "broken"),
];

/// Returns the name of a cause.
pub(super) fn cause_name(cause: LossCause) -> &'static str {
    CAUSES.iter().find(|(known, _)| *known == cause).map_or("broken", |(_, name)| name)
}

/// Returns the name of who has caused a moment.
pub(super) fn actor_name(actor: MomentActor) -> &'static str {
    match actor {
        MomentActor::Itself => "itself",
        MomentActor::Peer(_) => "peer",
        MomentActor::Operator => "operator",
        MomentActor::Room => "room",
    }
}

/// Returns the name of a kind.
pub(super) fn kind_name(kind: MomentKind) -> &'static str {
    match kind {
        MomentKind::Joined { .. } => "joined",
        MomentKind::Realtime(_) => "realtime",
        MomentKind::Fallback => "fallback",
        MomentKind::Moved(_) => "moved",
        MomentKind::Away => "away",
        MomentKind::Back => "back",
        MomentKind::Muted(_) => "muted",
        MomentKind::Unmuted(_) => "unmuted",
        MomentKind::Lost(_) => "lost",
        MomentKind::Resumed { .. } => "resumed",
        MomentKind::Removed(_) => "removed",
    }
}

impl From<&MomentLog> for StoredMoments {
    fn from(log: &MomentLog) -> Self {
        let list = log.moments().iter().map(StoredMoment::from).collect();
        Self { left_out: log.left_out(), list }
    }
}

impl From<StoredMoments> for MomentLog {
    /// Leaves out moments of kinds that only a newer server knows, and counts them.
    fn from(stored: StoredMoments) -> Self {
        let count = stored.list.len();
        let known: Vec<Moment> = stored.list.iter().filter_map(StoredMoment::moment).collect();
        let unknown = u32::try_from(count - known.len()).unwrap_or(u32::MAX);
        Self::stored(known, stored.left_out.saturating_add(unknown))
    }
}

impl From<&Moment> for StoredMoment {
    fn from(moment: &Moment) -> Self {
        let stored = Self {
            after: micros(moment.after),
            kind: kind_name(moment.kind).to_owned(),
            ..Self::default()
        };
        match moment.kind {
            MomentKind::Joined { took } | MomentKind::Resumed { took } => {
                Self { took: Some(micros(took)), ..stored }
            }
            MomentKind::Realtime(address) | MomentKind::Moved(address) => {
                Self { address: Some(address.to_string()), ..stored }
            }
            MomentKind::Muted(by) | MomentKind::Unmuted(by) | MomentKind::Removed(by) => {
                let peer = if let MomentActor::Peer(PeerId(peer)) = by { Some(peer) } else { None };
                Self { by: Some(actor_name(by).to_owned()), peer, ..stored }
            }
            MomentKind::Lost(cause) => Self { cause: Some(cause_name(cause).to_owned()), ..stored },
            MomentKind::Fallback | MomentKind::Away | MomentKind::Back => stored,
        }
    }
}

impl StoredMoment {
    /// Returns the moment; `None`: it is damaged, or of a newer server.
    fn moment(&self) -> Option<Moment> {
        let took = || self.took.map(Duration::from_micros);
        let address = || self.address.as_ref()?.parse().ok();
        let kind = match self.kind.as_str() {
            "joined" => MomentKind::Joined { took: took()? },
            "realtime" => MomentKind::Realtime(address()?),
            "fallback" => MomentKind::Fallback,
            "moved" => MomentKind::Moved(address()?),
            "away" => MomentKind::Away,
            "back" => MomentKind::Back,
            "muted" => MomentKind::Muted(self.actor()?),
            "unmuted" => MomentKind::Unmuted(self.actor()?),
            "lost" => MomentKind::Lost(self.loss()?),
            "resumed" => MomentKind::Resumed { took: took()? },
            "removed" => MomentKind::Removed(self.actor()?),
            _ => return None,
        };
        Some(Moment { after: Duration::from_micros(self.after), kind })
    }

    fn actor(&self) -> Option<MomentActor> {
        Some(match self.by.as_deref()? {
            "itself" => MomentActor::Itself,
            "peer" => MomentActor::Peer(PeerId(self.peer?)),
            "operator" => MomentActor::Operator,
            "room" => MomentActor::Room,
            _ => return None,
        })
    }

    fn loss(&self) -> Option<LossCause> {
        let name = self.cause.as_deref()?;
        CAUSES.iter().find(|(_, known)| *known == name).map(|(cause, _)| *cause)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Some moments of every kind.
#[cfg(test)]
pub(super) fn one_of_each() -> MomentLog {
    let took = Duration::from_millis(240);
    let four = std::net::SocketAddr::from(([192, 0, 2, 7], 40_000));
    let six = std::net::SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 40_001));
    let kinds = [
        MomentKind::Joined { took },
        MomentKind::Realtime(four),
        MomentKind::Fallback,
        MomentKind::Realtime(four),
        MomentKind::Moved(six),
        MomentKind::Away,
        MomentKind::Back,
        MomentKind::Muted(MomentActor::Room),
        MomentKind::Unmuted(MomentActor::Operator),
        MomentKind::Muted(MomentActor::Itself),
        MomentKind::Lost(LossCause::Silent),
        MomentKind::Resumed { took },
        MomentKind::Lost(LossCause::Closed),
        MomentKind::Lost(LossCause::Slow),
        MomentKind::Lost(LossCause::Broken),
        MomentKind::Removed(MomentActor::Peer(PeerId(3))),
    ];
    let moments = (0..).zip(kinds);
    let at = |(second, kind)| Moment { after: Duration::from_secs(second), kind };
    MomentLog::stored(moments.map(at), 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back() {
        let log = one_of_each();
        let text = serde_json::to_string(&StoredMoments::from(&log)).unwrap();
        let stored: StoredMoments = serde_json::from_str(&text).unwrap();
        assert_eq!(MomentLog::from(stored), log, "{text}");
    }

    #[test]
    fn what_a_newer_server_or_nobody_knows_is_left_out_and_counted() {
        let text = r#"{"left_out": 1, "list": [
            {"after": 5, "kind": "teleported"}, {"after": 6, "kind": "muted", "by": "peer"},
            {"after": 7, "kind": "moved", "address": "nowhere"}, {}, {"after": 8, "kind": "away"}]}"#;
        let log = MomentLog::from(serde_json::from_str::<StoredMoments>(text).unwrap());
        let away = Moment { after: Duration::from_micros(8), kind: MomentKind::Away };
        assert_eq!((log.moments(), log.left_out()), (&[away][..], 5));
    }
}

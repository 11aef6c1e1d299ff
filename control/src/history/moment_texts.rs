//! Says in words what happened in a session, and why it ended.

use std::net::SocketAddr;
use std::time::Duration;

use nucleus_core::limits::SESSION_IDLE;
use nucleus_core::moments::{LossCause, Moment, MomentActor, MomentKind};
use nucleus_protocol::session::Code;

/// Names who has caused a moment, for a text.
pub(super) type ActorNames<'a> = &'a dyn Fn(MomentActor) -> String;

/// What the moments before one have left behind, which its text needs.
#[derive(Debug, Default)]
pub(super) struct TextState {
    /// The newest address on UDP 5056.
    address: Option<SocketAddr>,
    /// Whether any realtime message has come.
    has_come: bool,
    away_since: Option<Duration>,
    lost_since: Option<Duration>,
    loss: Option<LossCause>,
    removed_by: Option<MomentActor>,
}

impl TextState {
    /// Returns the text of the next moment.
    pub(super) fn text(&mut self, moment: &Moment, names: ActorNames<'_>) -> String {
        let after = moment.after;
        match moment.kind {
            MomentKind::Joined { took } => format!("joined in {}", lasting(took)),
            MomentKind::Realtime(address) => {
                let has_come = std::mem::replace(&mut self.has_come, true);
                let before = self.address.replace(address);
                let from = match before {
                    Some(before) if before.ip() != address.ip() => {
                        format!("from another network: from {address}, before from {before}")
                    }
                    _ => format!("from {address}"),
                };
                let again = if has_come { "again " } else { "" };
                format!("realtime messages come {again}on the realtime port, {from}")
            }
            MomentKind::Fallback if !std::mem::replace(&mut self.has_come, true) => {
                "realtime messages come inside the session (fallback): the client is a browser, or the realtime port does not answer it"
                    .to_owned()
            }
            MomentKind::Fallback => {
                "changed to the fallback: the realtime port no longer answers the client".to_owned()
            }
            MomentKind::Moved(address) => match self.address.replace(address) {
                Some(before) if before.ip() == address.ip() => {
                    format!("has another port: {address}, before {before} (a router or a new start)")
                }
                Some(before) => format!("changed networks: now at {address}, before at {before}"),
                None => format!("changed networks: now at {address}"),
            },
            MomentKind::Away => {
                self.away_since = Some(after);
                "away: nothing comes from the client".to_owned()
            }
            MomentKind::Back => match self.away_since.take() {
                Some(since) => format!("back after {}", lasting(after.saturating_sub(since))),
                None => "back".to_owned(),
            },
            MomentKind::Muted(MomentActor::Itself) => "muted itself".to_owned(),
            MomentKind::Muted(MomentActor::Room) => {
                "muted from the begin, because of an earlier mute".to_owned()
            }
            MomentKind::Muted(by) => format!("muted by {}", names(by)),
            MomentKind::Unmuted(MomentActor::Itself) => "unmuted itself".to_owned(),
            MomentKind::Unmuted(by) => format!("unmuted by {}", names(by)),
            MomentKind::Lost(cause) => {
                (self.lost_since, self.loss) = (Some(after), Some(cause));
                format!("session lost: {}", loss(cause))
            }
            MomentKind::Resumed { took } => {
                (self.loss, self.away_since) = (None, None);
                match self.lost_since.take() {
                    Some(since) => {
                        let gap = lasting(after.saturating_sub(since));
                        format!("came back {gap} after the loss, in {}", lasting(took))
                    }
                    None => format!(
                        "came back on a new connection in {}, before the server noticed a loss",
                        lasting(took)
                    ),
                }
            }
            MomentKind::Removed(by) => {
                self.removed_by = Some(by);
                format!("removed by {}", names(by))
            }
        }
    }

    /// Returns the reason of the end, `lasted` after the join.
    pub(super) fn reason(&self, code: Code, lasted: Duration, names: ActorNames<'_>) -> String {
        let by = || self.removed_by.map(names);
        let text = match code {
            Code::Left => "left the room",
            Code::TimedOut => {
                let why = self.loss.map_or("the session was lost".to_owned(), loss);
                let waited = self.lost_since.map(|since| lasted.saturating_sub(since));
                return match waited.filter(|waited| *waited >= Duration::from_secs(1)) {
                    Some(waited) => {
                        format!("{why}; it did not come back within {}", lasting(waited))
                    }
                    None => why,
                };
            }
            Code::Kicked => {
                return by().map_or("removed".to_owned(), |by| format!("removed by {by}"));
            }
            Code::RoomEnded => {
                let ended = || "the room has ended".to_owned();
                return by().map_or_else(ended, |by| format!("the room was ended by {by}"));
            }
            Code::Replaced => "the user joined with another device, which took its place",
            Code::ShuttingDown => "the server stopped",
            Code::ServerFull => "the server had no place for its realtime messages",
            Code::JoinTimeout => "the client gave up while it joined",
            Code::Malformed => "a fault of the client: it sent what the server cannot read",
            Code::EventTooLarge => "a fault of the client: it sent an event that is too large",
            Code::Internal => "a fault of the server: its log says more",
            other => return format!("ended with the code `{}`", other.name()),
        };
        text.to_owned()
    }
}

/// Says why a session was lost.
fn loss(cause: LossCause) -> String {
    match cause {
        LossCause::Silent => format!(
            "nothing came for {}: the client was killed, its machine sleeps, or its network is gone",
            lasting(SESSION_IDLE)
        ),
        LossCause::Closed => {
            "the client closed the connection without leaving: its program ended".to_owned()
        }
        LossCause::Slow => "the client read its messages too slowly".to_owned(),
        LossCause::Broken => "the connection broke".to_owned(),
    }
}

/// Writes a time for people, in its largest two units.
pub(super) fn lasting(time: Duration) -> String {
    let seconds = time.as_secs();
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    };
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..60 => format!("{seconds} s"),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use nucleus_core::ids::PeerId;

    use super::*;

    fn at(seconds: u64, kind: MomentKind) -> Moment {
        Moment { after: Duration::from_secs(seconds), kind }
    }

    fn names(actor: MomentActor) -> String {
        match actor {
            MomentActor::Peer(PeerId(7)) => "Bob".to_owned(),
            _ => "an operator".to_owned(),
        }
    }

    fn texts(moments: &[Moment]) -> (TextState, Vec<String>) {
        let mut state = TextState::default();
        let texts = moments.iter().map(|moment| state.text(moment, &names)).collect();
        (state, texts)
    }

    #[test]
    fn a_killed_client_reads_as_one() {
        let (state, texts) = texts(&[
            at(0, MomentKind::Joined { took: Duration::from_millis(240) }),
            at(1, MomentKind::Realtime(([192, 0, 2, 7], 4_000).into())),
            at(100, MomentKind::Away),
            at(125, MomentKind::Lost(LossCause::Silent)),
        ]);
        let expected = [
            "joined in 240 ms",
            "realtime messages come on the realtime port, from 192.0.2.7:4000",
            "away: nothing comes from the client",
            "session lost: nothing came for 30 s: the client was killed, its machine sleeps, or its network is gone",
        ];
        assert_eq!(texts, expected);
        let reason = state.reason(Code::TimedOut, Duration::from_secs(425), &names);
        assert!(reason.starts_with("nothing came for 30 s"), "{reason}");
        assert!(reason.ends_with("it did not come back within 5 min"), "{reason}");
    }

    #[test]
    fn a_change_of_networks_is_no_change_of_ports() {
        let (_, texts) = texts(&[
            at(0, MomentKind::Fallback),
            at(1, MomentKind::Realtime(([192, 0, 2, 7], 4_000).into())),
            at(2, MomentKind::Moved(([192, 0, 2, 7], 4_001).into())),
            at(3, MomentKind::Moved(([198, 51, 100, 9], 4_001).into())),
            at(4, MomentKind::Fallback),
            at(5, MomentKind::Realtime(([192, 0, 2, 7], 4_002).into())),
        ]);
        assert!(texts[0].contains("does not answer"), "{texts:?}");
        assert!(texts[2].starts_with("has another port"), "{texts:?}");
        assert_eq!(
            texts[3],
            "changed networks: now at 198.51.100.9:4001, before at 192.0.2.7:4001"
        );
        assert!(texts[4].contains("no longer answers"), "{texts:?}");
        assert!(texts[5].contains("again on the realtime port, from another network"), "{texts:?}");
    }

    #[test]
    fn the_end_says_who_wanted_it() {
        let by_bob = [at(5, MomentKind::Removed(MomentActor::Peer(PeerId(7))))];
        let reason = |code, moments: &[Moment]| {
            texts(moments).0.reason(code, Duration::from_secs(5), &names)
        };
        assert_eq!(reason(Code::Kicked, &by_bob), "removed by Bob");
        assert_eq!(reason(Code::RoomEnded, &by_bob), "the room was ended by Bob");
        assert_eq!(reason(Code::RoomEnded, &[]), "the room has ended");
        // A loss that was mended is not the reason.
        let mended = [
            at(1, MomentKind::Lost(LossCause::Slow)),
            at(2, MomentKind::Resumed { took: Duration::ZERO }),
        ];
        assert_eq!(reason(Code::TimedOut, &mended), "the session was lost");
        for code in Code::ALL {
            let reason = reason(*code, &[]);
            assert!(!reason.is_empty() && !reason.contains('\n'), "{code}: {reason}");
        }
    }

    #[test]
    fn times_have_two_units() {
        let times = [0, 999, 1_500, 61_000, 3_600_000, 7_380_000, 90_000_000];
        let texts = times.map(|millis| lasting(Duration::from_millis(millis)));
        assert_eq!(texts, ["0 ms", "999 ms", "1 s", "1 min 1 s", "1 h", "2 h 3 min", "1 d 1 h"]);
    }
}

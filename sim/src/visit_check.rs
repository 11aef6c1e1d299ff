//! Checks the moments of a visit: each follows from those before it.

use nucleus_core::moments::{MAX_MOMENTS, MomentActor, MomentKind};
use nucleus_core::plane_event::{RoomVisitor, Visit};
use nucleus_protocol::session::Code;

/// What is so after the moments up to one of them.
#[derive(Debug, Default)]
struct VisitState {
    joins: u32,
    resumes: u32,
    is_lost: bool,
    is_away: bool,
    is_removed: bool,
    /// Whether the messages come inside the session; `None`: nothing has come.
    on_fallback: Option<bool>,
    address: Option<std::net::SocketAddr>,
    is_muted: bool,
    is_self_muted: bool,
}

/// Checks the moments of a visit that has ended. `is_shut_down`: a test has shut the room down.
pub(crate) fn check_visit(visitor: &RoomVisitor, visit: &Visit, is_shut_down: bool) {
    let moments = visit.moments.moments();
    let name = || format!("{visitor:?} {visit:#?}");
    assert!(moments.len() <= MAX_MOMENTS, "{}", name());
    assert!(moments.is_sorted_by_key(|moment| moment.after), "{}", name());
    assert!(moments.iter().all(|moment| moment.after <= visit.lasted), "{}", name());
    let first = moments.first().map(|moment| moment.kind);
    assert!(matches!(first, Some(MomentKind::Joined { .. })), "{}", name());
    if visit.moments.left_out() > 0 {
        assert_eq!(moments.len(), MAX_MOMENTS, "{}", name());
        return;
    }
    let mut state = VisitState::default();
    for moment in moments {
        assert!(state.follows(moment.kind), "{:?} in {:?}: {}", moment.kind, state, name());
    }
    assert_eq!((state.joins, state.resumes), (1, visit.resumes), "{}", name());
    if visit.code == Code::TimedOut {
        assert!(state.is_lost, "{}", name());
    }
    let is_by_somebody = match visit.code {
        Code::Kicked => true,
        // Somebody has ended the room for everybody, if the test has not.
        Code::RoomEnded => !is_shut_down,
        _ => false,
    };
    assert_eq!(state.is_removed, is_by_somebody, "{}", name());
}

impl VisitState {
    /// Returns whether a moment may come next, and notes it.
    fn follows(&mut self, kind: MomentKind) -> bool {
        match kind {
            MomentKind::Joined { .. } => {
                self.joins += 1;
                self.joins == 1
            }
            MomentKind::Realtime(address) => {
                self.address = Some(address);
                self.on_fallback.replace(false) != Some(false)
            }
            MomentKind::Fallback => self.on_fallback.replace(true) != Some(true),
            MomentKind::Moved(address) => {
                let before = self.address.replace(address);
                self.on_fallback == Some(false) && before != Some(address)
            }
            MomentKind::Away => !self.is_lost && !std::mem::replace(&mut self.is_away, true),
            MomentKind::Back => !self.is_lost && std::mem::replace(&mut self.is_away, false),
            MomentKind::Muted(by) => !std::mem::replace(self.mute(by), true),
            MomentKind::Unmuted(by) => std::mem::replace(self.mute(by), false),
            MomentKind::Lost(_) => !std::mem::replace(&mut self.is_lost, true),
            MomentKind::Resumed { .. } => {
                (self.is_lost, self.is_away) = (false, false);
                self.resumes += 1;
                true
            }
            MomentKind::Removed(_) => !std::mem::replace(&mut self.is_removed, true),
        }
    }

    fn mute(&mut self, by: MomentActor) -> &mut bool {
        if by == MomentActor::Itself { &mut self.is_self_muted } else { &mut self.is_muted }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nucleus_core::ids::PeerId;
    use nucleus_core::moments::{Moment, MomentLog};

    use super::*;

    /// Whether a visit of a room that has ended passes, with a note that somebody has ended the room or not.
    fn passes(is_noted: bool, is_shut_down: bool) -> bool {
        let joined = MomentKind::Joined { took: Duration::ZERO };
        let removed = is_noted.then_some(MomentKind::Removed(MomentActor::Operator));
        let kinds = [joined].into_iter().chain(removed);
        let moments = kinds.map(|kind| Moment { after: Duration::ZERO, kind });
        let visit = Visit {
            lasted: Duration::ZERO,
            code: Code::RoomEnded,
            resumes: 0,
            links: None,
            moments: MomentLog::stored(moments, 0),
        };
        let [user, name, role] = ["anna", "Anna", "host"].map(str::to_owned);
        let visitor = RoomVisitor { peer: PeerId(1), user, name, role };
        std::panic::catch_unwind(|| check_visit(&visitor, &visit, is_shut_down)).is_ok()
    }

    #[test]
    fn a_room_that_somebody_has_ended_says_who() {
        assert!(passes(true, false) && passes(false, true));
        assert!(!passes(false, false), "nobody is noted");
        assert!(!passes(true, true), "nobody has ended it");
    }
}

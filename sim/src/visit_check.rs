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

/// Checks the moments of a visit that has ended.
pub(crate) fn check_visit(visitor: &RoomVisitor, visit: &Visit) {
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
    assert_eq!(state.is_removed, is_by_somebody(visit), "{}", name());
}

/// Whether a visit ended because somebody wanted it to end. A room may also be shut down in a test.
fn is_by_somebody(visit: &Visit) -> bool {
    let is_removal = |kind| matches!(kind, MomentKind::Removed(_));
    match visit.code {
        Code::Kicked => true,
        Code::RoomEnded => visit.moments.moments().iter().any(|moment| is_removal(moment.kind)),
        _ => false,
    }
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

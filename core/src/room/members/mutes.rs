//! Mutes: by moderators, and by the participants themselves.

use nucleus_protocol::session::{Moderate, act};
use nucleus_protocol::time::Time;

use super::participant::Participant;
use super::participants::Participants;
use crate::ids::PeerId;
use crate::limits;
use crate::moments::MomentActor;
use crate::room::outputs::Outputs;

/// The mutes by moderators that apply to newcomers. The flags of the participants that are in the
/// room are in [`Participants`].
#[derive(Default)]
pub(crate) struct Mutes {
    /// Whether newcomers without the right to moderate are muted.
    all: bool,
    /// Users who are muted when they join again, in the order of their mutes.
    users: Vec<String>,
}

impl Mutes {
    /// Returns whether a newcomer starts muted.
    pub(crate) fn includes(&self, user: &str, moderates: bool) -> bool {
        self.all && !moderates || self.users.iter().any(|muted| muted == user)
    }

    /// Carries out one of the acts from [`act::MUTE`] to [`act::UNMUTE_SELF`]. The caller has
    /// checked that the act is allowed.
    pub(crate) fn perform(
        &mut self,
        now: Time,
        by: PeerId,
        request: &Moderate,
        participants: &mut Participants,
        outputs: &mut Outputs,
    ) {
        match request.act {
            act::MUTE | act::UNMUTE => {
                let (peer, muted) = (PeerId(request.peer), request.act == act::MUTE);
                self.set_muted(now, peer, muted, MomentActor::Peer(by), participants, outputs);
            }
            act::MUTE_ALL => self.mute_all(now, by, participants, outputs),
            act::UNMUTE_ALL => self.unmute_all(now, by, participants, outputs),
            other => {
                participants.set_self_muted(now, by, other == act::MUTE_SELF, outputs);
            }
        }
    }

    /// Mutes a peer and all devices of its user, or ends that.
    pub(crate) fn set_muted(
        &mut self,
        now: Time,
        peer: PeerId,
        muted: bool,
        by: MomentActor,
        participants: &mut Participants,
        outputs: &mut Outputs,
    ) {
        let target = participants.get(peer);
        let Some(user) = target.map(|target| target.user.clone()) else { return };
        self.set(&user, muted);
        let devices: Vec<PeerId> = participants.of_user(&user).map(|(peer, _)| peer).collect();
        for device in devices {
            participants.set_muted(now, device, muted, by, outputs);
        }
    }

    /// Mutes everybody who may not moderate, newcomers included.
    fn mute_all(
        &mut self,
        now: Time,
        by: PeerId,
        participants: &mut Participants,
        outputs: &mut Outputs,
    ) {
        self.all = true;
        let talks = |(peer, p): (PeerId, &Participant)| (!p.role.rights.moderate).then_some(peer);
        let others: Vec<PeerId> = participants.iter().filter_map(talks).collect();
        for peer in others {
            participants.set_muted(now, peer, true, MomentActor::Peer(by), outputs);
        }
    }

    /// Ends all mutes by moderators.
    fn unmute_all(
        &mut self,
        now: Time,
        by: PeerId,
        participants: &mut Participants,
        outputs: &mut Outputs,
    ) {
        *self = Self::default();
        for peer in participants.peers() {
            participants.set_muted(now, peer, false, MomentActor::Peer(by), outputs);
        }
    }

    /// Adds a user to the list or removes it. If the list is full, drops the oldest mute.
    fn set(&mut self, user: &str, muted: bool) {
        self.users.retain(|other| other != user);
        if muted {
            if self.users.len() >= limits::MUTED_USERS {
                self.users.remove(0);
            }
            self.users.push(user.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_muted_user_comes_back_muted_and_the_list_is_bounded() {
        let mut mutes = Mutes::default();
        mutes.set("ada", true);
        mutes.set("ada", true);
        assert!(
            mutes.includes("ada", false)
                && mutes.includes("ada", true)
                && !mutes.includes("eve", false)
        );
        assert_eq!(mutes.users.len(), 1);
        (0..limits::MUTED_USERS).for_each(|n| mutes.set(&n.to_string(), true));
        assert_eq!(mutes.users.len(), limits::MUTED_USERS);
        assert!(!mutes.includes("ada", false), "the first mute was dropped");
        mutes.set("7", false);
        assert!(!mutes.includes("7", false));
        mutes.all = true;
        assert!(mutes.includes("7", false) && !mutes.includes("7", true));
    }
}

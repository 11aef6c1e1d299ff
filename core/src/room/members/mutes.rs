//! Whose voice is dropped: as moderators say, and as each says of itself.

use nucleus_protocol::session::act;
use nucleus_protocol::time::Time;

use super::participant::Participant;
use crate::ids::PeerId;
use crate::limits;
use crate::room::{Room, RoomOutput};

/// Whom moderators have muted, beside the flags of the peers that are there.
#[derive(Default)]
pub(crate) struct Mutes {
    /// Newcomers who may not moderate are.
    all: bool,
    /// Users who are when they come again.
    users: Vec<String>,
}

impl Mutes {
    /// Whether a newcomer comes muted.
    pub(crate) fn includes(&self, user: &str, moderates: bool) -> bool {
        self.all && !moderates || self.users.iter().any(|muted| muted == user)
    }

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

impl Room {
    /// Does one of the acts from [`act::MUTE`] to [`act::UNMUTE_SELF`] that has been judged.
    pub(crate) fn mute(&mut self, now: Time, by: PeerId, asked: u8, target: PeerId) {
        match asked {
            act::MUTE | act::UNMUTE => {
                let muted = asked == act::MUTE;
                let Some(user) = self.user_of(target).map(str::to_owned) else { return };
                self.mutes.set(&user, muted);
                let devices = self.participants.iter().filter(|(_, p)| p.user == user);
                let devices: Vec<PeerId> = devices.map(|(peer, _)| *peer).collect();
                for device in devices {
                    self.set_flags(now, device, |p| p.muted = muted);
                }
            }
            act::MUTE_ALL | act::UNMUTE_ALL => self.mute_all(now, asked == act::MUTE_ALL),
            _ => self.set_flags(now, by, |p| p.self_muted = asked == act::MUTE_SELF),
        }
    }

    fn mute_all(&mut self, now: Time, muted: bool) {
        self.mutes.all = muted;
        if !muted {
            self.mutes.users.clear();
        }
        let everybody: Vec<PeerId> = self.participants.keys().copied().collect();
        for peer in everybody {
            self.set_flags(now, peer, |p| match muted {
                true => p.muted |= !p.role.rights.moderate,
                false => p.muted = false,
            });
        }
    }

    /// Changes what the roster says of a peer, and tells roster and shard where that is news.
    pub(crate) fn set_flags(
        &mut self,
        now: Time,
        peer: PeerId,
        set: impl FnOnce(&mut Participant),
    ) {
        let Some(participant) = self.participants.get_mut(&peer) else { return };
        let (presence, silent) = (participant.presence(), participant.is_silent());
        set(participant);
        if participant.presence() != presence && participant.is_announced() {
            self.roster.presence(now, peer, participant.presence());
        }
        if participant.is_silent() != silent {
            self.outputs.push_back(RoomOutput::Mute(participant.session_id(peer), !silent));
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
        assert!(!mutes.includes("ada", false), "the first went");
        mutes.set("7", false);
        assert!(!mutes.includes("7", false));
        mutes.all = true;
        assert!(mutes.includes("7", false) && !mutes.includes("7", true));
    }
}

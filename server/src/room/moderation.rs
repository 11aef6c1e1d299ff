//! Moderation: who may do what to others, who is put out of the room, and who is not let in.

use std::time::Duration;

use bytes::Bytes;
use nucleus_protocol::limits::MAX_BAN;
use nucleus_protocol::session::{self, Audit, Code, Moderate, StateReply, StateUpdate, act};
use nucleus_protocol::time::Time;

use super::peer::PeerState;
use super::{Room, RoomOutput, Seat};
use crate::limits;
use crate::rate::Bucket;
use crate::shard::PeerId;

/// Whom the room lets in, and how often moderators may act.
pub(super) struct Door {
    locked: bool,
    /// Users, and until when they are banned.
    banned: Vec<(String, Time)>,
    acts: Bucket,
}

impl Door {
    pub(super) fn new(now: Time, locked: bool) -> Self {
        let acts = Bucket::new(now, limits::ACTS_PER_SECOND, limits::ACTS_BURST);
        Self { locked, banned: Vec::new(), acts }
    }

    pub(super) fn is_locked(&self) -> bool {
        self.locked
    }

    /// Whether a newcomer may enter. A lock keeps no moderator out: somebody must be able to open it.
    ///
    /// # Errors
    ///
    /// The code to refuse with.
    pub(super) fn admit(&self, now: Time, user: &str, moderates: bool) -> Result<(), Code> {
        if self.banned.iter().any(|(banned, until)| banned == user && now < *until) {
            return Err(Code::Kicked);
        }
        if self.locked && !moderates { Err(Code::RoomLocked) } else { Ok(()) }
    }

    fn ban(&mut self, now: Time, user: &str, time: Duration) {
        self.banned.retain(|(banned, until)| banned != user && now < *until);
        if self.banned.len() >= limits::BANS {
            self.banned.remove(0);
        }
        self.banned.push((user.to_owned(), now + time));
    }
}

impl Room {
    /// Takes what a peer does as a moderator; whether it was done, or the code that it was refused with.
    /// `None`: one that comes before `Joined`, or from a session that is gone, is dropped as an event
    /// is. The answer goes out in front of what comes of it.
    pub fn handle_moderation(
        &mut self,
        now: Time,
        from: Seat,
        asked: &Moderate,
    ) -> Option<Result<(), Code>> {
        let asking = self.peers.get_mut(&from.peer).filter(|p| p.is_in())?;
        if asking.session != from.session {
            return None;
        }
        asking.arrived = true;
        let moderates = asking.role.rights.moderate;
        let judged = self.judge(moderates, from.peer, asked).and_then(|()| self.spend(now, asked));
        let update = if judged.is_ok() { self.change_state(from.peer, asked) } else { None };
        let (code, version) = (judged.err().map_or(0, |code| code as u16), self.state.version());
        let reply = StateReply { request: asked.request, code, failed: 0, version };
        self.outputs.push_back(RoomOutput::Control(from, Bytes::from(session::encode(&reply))));
        if judged.is_ok() {
            self.tell_audit(now, from.peer, asked);
            self.carry_out(now, from.peer, asked);
        }
        if let Some(update) = update {
            self.tell_all(&update);
        }
        self.show(now);
        Some(judged)
    }

    /// Everybody hears of an act: all moderators together do so many.
    fn spend(&mut self, now: Time, asked: &Moderate) -> Result<(), Code> {
        let free = matches!(asked.act, act::MUTE_SELF | act::UNMUTE_SELF);
        (free || self.door.acts.try_take(now)).then_some(()).ok_or(Code::ActRate)
    }

    /// What an act changes of the shared state.
    fn change_state(&mut self, by: PeerId, asked: &Moderate) -> Option<StateUpdate> {
        match asked.act {
            act::CLEAR => {
                self.history.clear();
                self.state.clear(by.0)
            }
            act::HAND_OVER => Some(self.state.choose_host(by.0, asked.peer)),
            _ => None,
        }
    }

    fn carry_out(&mut self, now: Time, by: PeerId, asked: &Moderate) {
        let target = PeerId(asked.peer);
        match asked.act {
            act::KICK => self.kick(now, target, Duration::from_secs(asked.seconds.into())),
            act::LOCK | act::UNLOCK => self.door.locked = asked.act == act::LOCK,
            act::HAND_OVER => {
                self.set_flags(now, target, |p| p.role.rights.moderate = true);
                self.set_flags(now, by, |p| p.role.rights.moderate = false);
            }
            act::HIDE | act::SHOW => self.hidden = asked.act == act::HIDE,
            act::END => self.handle_shutdown(now, Code::RoomEnded),
            mutes @ act::MUTE..=act::UNMUTE_SELF => self.mute(now, by, mutes, target),
            // The rest is a change of the state alone.
            _ => {}
        }
    }

    /// Before anybody is put out by it. What one says of oneself is no act of moderation.
    fn tell_audit(&mut self, now: Time, by: PeerId, asked: &Moderate) {
        if matches!(asked.act, act::MUTE_SELF | act::UNMUTE_SELF) {
            return;
        }
        let user = self.user_of(PeerId(asked.peer)).unwrap_or_default().as_bytes().to_vec();
        let Moderate { act, peer, seconds, .. } = *asked;
        let audit = Audit { act, by: by.0, peer, user, seconds, time: now.as_micros() };
        let message = Bytes::from(session::encode(&audit));
        for (peer, state) in self.peers.iter().filter(|(_, p)| p.is_in()) {
            self.outputs.push_back(RoomOutput::Control(state.seat(*peer), message.clone()));
        }
    }

    /// The user of a peer that has a place, its session lost or not.
    pub fn user_of(&self, peer: PeerId) -> Option<&str> {
        self.peers.get(&peer).map(|state| state.user.as_str())
    }

    fn judge(&self, moderates: bool, by: PeerId, asked: &Moderate) -> Result<(), Code> {
        let target = PeerId(asked.peer);
        let seconds = Duration::from_secs(asked.seconds.into());
        let well_formed = match asked.act {
            act::KICK => seconds <= MAX_BAN,
            act::MUTE | act::UNMUTE => asked.seconds == 0,
            act::HAND_OVER => asked.seconds == 0 && target != by,
            act::LOCK
            | act::UNLOCK
            | act::HIDE
            | act::SHOW
            | act::END
            | act::CLEAR
            | act::MUTE_ALL
            | act::UNMUTE_ALL
            | act::MUTE_SELF
            | act::UNMUTE_SELF => asked.peer == 0 && asked.seconds == 0,
            _ => false,
        };
        if !well_formed {
            return Err(Code::BadState);
        }
        let needs_right = !matches!(asked.act, act::MUTE_SELF | act::UNMUTE_SELF);
        if needs_right && !moderates {
            return Err(Code::Forbidden);
        }
        // What is handed over must be in somebody's hands.
        let here = |p: &PeerState| p.is_announced() && (asked.act != act::HAND_OVER || !p.lost);
        let there = self.peers.get(&target).is_some_and(here);
        let names_peer = matches!(asked.act, act::KICK | act::MUTE | act::UNMUTE | act::HAND_OVER);
        if names_peer && !there {
            return Err(Code::NoSuchEntity);
        }
        Ok(())
    }

    fn kick(&mut self, now: Time, target: PeerId, ban: Duration) {
        let Some(user) = self.peers.get(&target).map(|p| p.user.clone()) else { return };
        let mut out = vec![target];
        if !ban.is_zero() {
            self.door.ban(now, &user, ban);
            let others = self.peers.iter().filter(|(_, p)| p.user == user);
            out = others.map(|(peer, _)| *peer).collect();
        }
        out.into_iter().for_each(|peer| self.take_out(now, peer, Code::Kicked));
        self.clear_up();
        self.close_if_empty(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_ban_ends_with_its_time_and_a_lock_when_it_is_opened() {
        let mut door = Door::new(at(0), false);
        assert_eq!(door.admit(at(0), "ada", false), Ok(()));
        door.ban(at(0), "ada", Duration::from_secs(10));
        assert_eq!(door.admit(at(9), "ada", true), Err(Code::Kicked));
        assert_eq!(door.admit(at(9), "grace", false), Ok(()));
        assert_eq!(door.admit(at(10), "ada", false), Ok(()));
        door.locked = true;
        assert_eq!(door.admit(at(10), "grace", false), Err(Code::RoomLocked));
        assert_eq!(door.admit(at(10), "host", true), Ok(()));
    }

    #[test]
    fn bans_are_counted_once_a_user_and_bounded() {
        let mut door = Door::new(at(0), false);
        for _ in 0..3 {
            door.ban(at(0), "ada", Duration::from_secs(10));
        }
        assert_eq!(door.banned.len(), 1);
        for user in 0..2 * limits::BANS {
            door.ban(at(1), &user.to_string(), Duration::from_secs(10));
        }
        assert_eq!(door.banned.len(), limits::BANS);
        assert_eq!(door.admit(at(2), "ada", false), Ok(()), "the oldest went");
        door.ban(at(20), "grace", Duration::from_secs(10));
        assert_eq!(door.banned.len(), 1, "those that were over are forgotten");
    }
}

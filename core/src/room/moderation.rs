//! Moderation: who may do what to others, and who is put out of the room.

use std::time::Duration;

use bytes::Bytes;
use nucleus_protocol::limits::MAX_BAN;
use nucleus_protocol::session::{self, Audit, Code, Moderate, StateReply, StateUpdate, act};
use nucleus_protocol::time::Time;

use super::members::Participant;
use super::{Room, RoomOutput};
use crate::ids::{PeerId, SessionId};

/// An act of moderation, done or refused. What one says of oneself is not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moderated {
    /// Who acted.
    pub by: Option<String>,
    /// What: one of [`nucleus_protocol::session::act`].
    pub act: u8,
    /// To whom, 0 for nobody.
    pub peer: u32,
    /// Whose user that is.
    pub user: Option<String>,
    /// Duration of a ban.
    pub seconds: u32,
    /// Or why it was refused.
    pub result: Result<(), Code>,
}

impl Room {
    /// Takes what a peer does as a moderator. One that comes before `Joined`, or from a session that is
    /// gone, is dropped as an event is. The answer goes out in front of what comes of it.
    pub(super) fn handle_moderation(&mut self, now: Time, from: SessionId, asked: &Moderate) {
        if !self.is_newest(from) {
            return;
        }
        let asking = self.participants.get_mut(&from.peer).filter(|p| p.is_in());
        let Some(asking) = asking else { return };
        asking.arrived = true;
        let moderates = asking.role.rights.moderate;
        let (by, user) = (self.user_of(from.peer), self.user_of(PeerId(asked.peer)));
        let (by, user) = (by.map(str::to_owned), user.map(str::to_owned));
        let judged = self.judge(moderates, from.peer, asked).and_then(|()| self.spend(now, asked));
        let update = if judged.is_ok() { self.change_state(from.peer, asked) } else { None };
        let (code, version) = (judged.err().map_or(0, |code| code as u16), self.state.version());
        let reply = StateReply { request: asked.request, code, failed: 0, version };
        self.outputs.push_back(RoomOutput::Control(from, Bytes::from(session::encode(&reply))));
        let Moderate { act, peer, seconds, .. } = *asked;
        // What one says of oneself one may say as often as one likes: it would fill the log.
        if judged.is_err() || !is_of_oneself(act) {
            let moderated = Moderated { by, act, peer, user, seconds, result: judged };
            self.outputs.push_back(RoomOutput::Moderated(Box::new(moderated)));
        }
        if judged.is_ok() {
            self.tell_audit(now, from.peer, asked);
            self.perform(now, from.peer, asked);
        }
        if let Some(update) = update {
            self.tell_all(&update);
        }
        self.list(now);
    }

    /// Everybody hears of an act: all moderators together do so many.
    fn spend(&mut self, now: Time, asked: &Moderate) -> Result<(), Code> {
        let free = is_of_oneself(asked.act);
        (free || self.acts.try_take(now)).then_some(()).ok_or(Code::ActRate)
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

    fn perform(&mut self, now: Time, by: PeerId, asked: &Moderate) {
        let target = PeerId(asked.peer);
        match asked.act {
            act::KICK => self.kick(now, target, Duration::from_secs(asked.seconds.into())),
            act::LOCK | act::UNLOCK => self.admission.bans.locked = asked.act == act::LOCK,
            act::HAND_OVER => {
                self.set_flags(now, target, |p| p.role.rights.moderate = true);
                self.set_flags(now, by, |p| p.role.rights.moderate = false);
            }
            act::HIDE | act::SHOW => self.listing.hidden = asked.act == act::HIDE,
            act::END => self.handle_shutdown(now, Code::RoomEnded),
            mutes @ act::MUTE..=act::UNMUTE_SELF => self.mute(now, by, mutes, target),
            // The rest is a change of the state alone.
            _ => {}
        }
    }

    /// Before anybody is put out by it. What one says of oneself is no act of moderation.
    fn tell_audit(&mut self, now: Time, by: PeerId, asked: &Moderate) {
        if is_of_oneself(asked.act) {
            return;
        }
        let user = self.user_of(PeerId(asked.peer)).unwrap_or_default().as_bytes().to_vec();
        let Moderate { act, peer, seconds, .. } = *asked;
        let audit = Audit { act, by: by.0, peer, user, seconds, time: now.as_micros() };
        self.tell_everybody(Bytes::from(session::encode(&audit)));
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
        if !is_of_oneself(asked.act) && !moderates {
            return Err(Code::Forbidden);
        }
        // What is handed over must be in somebody's hands.
        let here = |p: &Participant| p.is_announced() && (asked.act != act::HAND_OVER || !p.lost);
        let there = self.participants.get(&target).is_some_and(here);
        let names_peer = matches!(asked.act, act::KICK | act::MUTE | act::UNMUTE | act::HAND_OVER);
        if names_peer && !there {
            return Err(Code::NoSuchEntity);
        }
        Ok(())
    }

    fn kick(&mut self, now: Time, target: PeerId, ban: Duration) {
        let Some(user) = self.participants.get(&target).map(|p| p.user.clone()) else { return };
        let mut out = vec![target];
        if !ban.is_zero() {
            self.admission.bans.ban(now, &user, ban);
            let others = self.participants.iter().filter(|(_, p)| p.user == user);
            out = others.map(|(peer, _)| *peer).collect();
        }
        out.into_iter().for_each(|peer| self.take_out(now, peer, Code::Kicked));
        self.clear_up();
        self.close_if_empty(now);
    }
}

fn is_of_oneself(act: u8) -> bool {
    matches!(act, act::MUTE_SELF | act::UNMUTE_SELF)
}

//! Acts of moderation: who may act, and what each act changes.

use std::time::Duration;

use bytes::Bytes;
use nucleus_protocol::limits::MAX_BAN;
use nucleus_protocol::session::{
    self, Audit, Code, Features, Moderate, StateReply, StateUpdate, act,
};
use nucleus_protocol::time::Time;

use super::config::Ban;
use super::members::Participants;
use super::{Room, RoomOutput};
use crate::control::{ControlError, RoomAct, RoomContent};
use crate::ids::{PeerId, SessionId};
use crate::limits;
use crate::moments::{MomentActor, MomentKind};
use crate::rate::Bucket;

/// An act of moderation that was carried out or refused. Participants who mute or unmute themselves
/// are reported only if that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moderated {
    /// The user id of the requester.
    pub by: Option<String>,
    /// The act, one of [`nucleus_protocol::session::act`].
    pub act: u8,
    /// The peer that the act is directed at, 0 for none.
    pub peer: u32,
    /// The user id of that peer.
    pub user: Option<String>,
    /// The duration of a ban.
    pub seconds: u32,
    /// Whether the act was carried out, or the code with which it was refused.
    pub result: Result<(), Code>,
}

/// The rules of moderation, with the rate of acts in one room.
pub(super) struct Moderation {
    /// Limits the acts of all moderators together.
    rate: Bucket,
}

impl Moderation {
    pub(super) fn new(now: Time) -> Self {
        Self { rate: Bucket::new(now, limits::ACTS_RATE) }
    }

    /// Checks a request, and counts it against the rate of acts. The rate is that of all moderators
    /// together, because everybody in the room is sent an audit of each act.
    ///
    /// # Errors
    ///
    /// The code to refuse the request with.
    fn allow(
        &mut self,
        now: Time,
        by: PeerId,
        request: &Moderate,
        participants: &Participants,
    ) -> Result<(), Code> {
        check(by, request, participants)?;
        if is_about_self(request.act) || self.rate.try_take(now) {
            return Ok(());
        }
        Err(Code::ActRate)
    }
}

/// Checks the form of a request, the requester's rights, and whether the target is in the room.
///
/// # Errors
///
/// The code to refuse the request with.
fn check(by: PeerId, request: &Moderate, participants: &Participants) -> Result<(), Code> {
    let target = PeerId(request.peer);
    let seconds = Duration::from_secs(request.seconds.into());
    let well_formed = match request.act {
        act::KICK => seconds <= MAX_BAN,
        act::MUTE | act::UNMUTE => request.seconds == 0,
        act::HAND_OVER => request.seconds == 0 && target != by,
        act::LOCK
        | act::UNLOCK
        | act::HIDE
        | act::SHOW
        | act::END
        | act::CLEAR
        | act::MUTE_ALL
        | act::UNMUTE_ALL
        | act::MUTE_SELF
        | act::UNMUTE_SELF => request.peer == 0 && request.seconds == 0,
        _ => false,
    };
    if !well_formed {
        return Err(Code::BadState);
    }
    let moderates = participants.get(by).is_some_and(|p| p.role.rights.moderate);
    if !is_about_self(request.act) && !moderates {
        return Err(Code::Forbidden);
    }
    let target = participants.get(target).filter(|target| target.is_announced());
    // A participant whose session is lost cannot take over the moderation.
    let valid = target.is_some_and(|target| request.act != act::HAND_OVER || !target.lost);
    if act::has_target(request.act) && !valid {
        return Err(Code::NoSuchEntity);
    }
    Ok(())
}

/// Returns whether an act changes only its requester. Such an act needs no right, does not count
/// against the rate, and has no audit.
fn is_about_self(act: u8) -> bool {
    matches!(act, act::MUTE_SELF | act::UNMUTE_SELF)
}

impl Room {
    /// Carries out an act of moderation or refuses it. Drops a request of a session that a resume
    /// has replaced, that is lost, or whose link is not open yet.
    ///
    /// The outputs are, in this order: the reply, the entry for the log, the audit for everybody,
    /// what the act does to participants, and the change of the state.
    pub(super) fn handle_moderation(&mut self, now: Time, from: SessionId, request: &Moderate) {
        let by = from.peer;
        if self.participants.requester(from).is_none() {
            return;
        }
        let user = |peer| self.user_of(peer).map(str::to_owned);
        let (by_user, target_user) = (user(by), user(PeerId(request.peer)));
        let result = self.moderation.allow(now, by, request, &self.participants);
        // The state changes first, so that the reply contains the version with the change.
        let update = if result.is_ok() { self.change_state(by, request) } else { None };
        let (code, version) = (result.err().map_or(0, |code| code as u16), self.state.version());
        let reply = StateReply { request: request.request, code, failed: 0, version };
        self.outputs.reply(from, &reply);
        let Moderate { act, peer, seconds, .. } = *request;
        // Leaves out successful acts about oneself. The rate of acts does not limit these, so they
        // could fill the log.
        if result.is_err() || !is_about_self(act) {
            let (by, user) = (by_user, target_user.clone());
            let moderated = Moderated { by, act, peer, user, seconds, result };
            self.outputs.push(RoomOutput::Moderated(Box::new(moderated)));
        }
        if result.is_ok() {
            // Sent before the act disconnects anybody, so that its target receives the audit too.
            if !is_about_self(act) {
                let user = target_user.unwrap_or_default().into_bytes();
                let audit = Audit { act, by: by.0, peer, user, seconds, time: now.as_micros() };
                let audit = Bytes::from(session::encode(&audit));
                self.participants.broadcast(&audit, Features::NOTICES, &mut self.outputs);
            }
            self.carry_out(now, by, request);
        }
        if let Some(update) = update {
            self.state.send_update(&update, &self.participants, &mut self.outputs);
        }
        self.listing.changed(now);
    }

    /// Makes the change of the shared state that belongs to an act.
    fn change_state(&mut self, by: PeerId, request: &Moderate) -> Option<StateUpdate> {
        match request.act {
            act::CLEAR => {
                self.events.clear_history();
                self.state.clear(by)
            }
            act::HAND_OVER => Some(self.state.choose_host(by, PeerId(request.peer))),
            _ => None,
        }
    }

    /// Carries out an act that has been allowed, but for its change of the shared state.
    fn carry_out(&mut self, now: Time, by: PeerId, request: &Moderate) {
        let target = PeerId(request.peer);
        match request.act {
            act::KICK => {
                let ban = Duration::from_secs(request.seconds.into());
                self.kick(now, MomentActor::Peer(by), target, ban);
            }
            act::LOCK | act::UNLOCK => self.admission.set_locked(request.act == act::LOCK),
            act::HAND_OVER => {
                self.participants.set_moderator(now, target, true, &mut self.outputs);
                self.participants.set_moderator(now, by, false, &mut self.outputs);
            }
            act::HIDE | act::SHOW => self.listing.set_hidden(request.act == act::HIDE),
            act::END => self.close(now, MomentActor::Peer(by)),
            act::MUTE..=act::UNMUTE_SELF => {
                let (participants, outputs) = (&mut self.participants, &mut self.outputs);
                self.mutes.perform(now, by, request, participants, outputs);
            }
            // The other acts change only the state.
            _ => {}
        }
    }

    /// Removes a participant. With a ban, removes all devices of its user and keeps the user out.
    fn kick(&mut self, now: Time, by: MomentActor, target: PeerId, ban: Duration) {
        let Some(participant) = self.participants.get(target) else { return };
        if ban.is_zero() {
            return self.remove_by(now, by, vec![target]);
        }
        let user = &participant.user;
        self.admission.ban(now, user, ban);
        self.outputs.push(RoomOutput::Banned(Ban { user: user.clone(), time: ban }));
        let devices: Vec<PeerId> = self.participants.of_user(user).map(|(peer, _)| peer).collect();
        self.remove_by(now, by, devices);
    }

    /// Removes participants because somebody wants them to go.
    fn remove_by(&mut self, now: Time, by: MomentActor, peers: Vec<PeerId>) {
        for peer in &peers {
            self.participants.note(now, *peer, MomentKind::Removed(by));
        }
        self.remove(now, peers, Code::Kicked);
    }

    /// Ends the room for everybody because somebody wants it to end.
    fn close(&mut self, now: Time, by: MomentActor) {
        for peer in self.participants.peers() {
            self.participants.note(now, peer, MomentKind::Removed(by));
        }
        self.shut_down(now, Code::RoomEnded);
    }
}

/// What the control plane asks: to be shown the room, and acts of an operator. An operator is nobody in
/// the room and needs no right there; the API has checked the rights of the caller.
impl Room {
    /// Shows what is in the room.
    pub(super) fn content(&self, now: Time) -> RoomContent {
        let announced = self.participants.iter().filter(|(_, peer)| peer.is_announced());
        let peers = announced.map(|(peer, participant)| participant.summary(now, peer)).collect();
        let bans = self.admission.bans(now);
        RoomContent { peers, bans, objects: self.state.objects() as u32 }
    }

    /// Carries out an act of an operator.
    ///
    /// # Errors
    ///
    /// [`ControlError::NoSuchPeer`], [`ControlError::NoSuchBan`], [`ControlError::NoSuchRoom`] if the room is
    /// over, or the limit of the shared state.
    pub(super) fn operate(&mut self, now: Time, act: RoomAct) -> Result<(), ControlError> {
        if self.lifetime.is_over() {
            return Err(ControlError::NoSuchRoom);
        }
        match act {
            RoomAct::Close => self.close(now, MomentActor::Operator),
            RoomAct::Lock(locked) => self.admission.set_locked(locked),
            RoomAct::Hide(hidden) => self.listing.set_hidden(hidden),
            RoomAct::Mute(peer, muted) => {
                self.announced(peer)?;
                let (participants, outputs) = (&mut self.participants, &mut self.outputs);
                let by = MomentActor::Operator;
                self.mutes.set_muted(now, peer, muted, by, participants, outputs);
            }
            RoomAct::SetFields(fields) => {
                let (participants, outputs) = (&self.participants, &mut self.outputs);
                self.state.set_room_fields(fields, participants, outputs)?;
            }
            RoomAct::Remove(user) => {
                let peers: Vec<_> =
                    self.participants.of_user(&user).map(|(peer, _)| peer).collect();
                self.remove_by(now, MomentActor::Operator, peers);
            }
            RoomAct::Kick(peer, ban) => {
                self.announced(peer)?;
                self.kick(now, MomentActor::Operator, peer, ban);
            }
            RoomAct::Unban(user) => {
                if !self.admission.unban(now, &user) {
                    return Err(ControlError::NoSuchBan);
                }
                self.outputs.push(RoomOutput::Unbanned { user });
            }
        }
        self.listing.changed(now);
        Ok(())
    }

    /// Checks that a peer is in the roster.
    fn announced(&self, peer: PeerId) -> Result<(), ControlError> {
        let participant = self.participants.get(peer).filter(|peer| peer.is_announced());
        participant.map(drop).ok_or(ControlError::NoSuchPeer)
    }
}

//! The room's gate: whom it was made for. What moderators decide later is the [`super::moderation`]
//! door's; both must let a newcomer in.

use std::collections::VecDeque;

use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;

use super::terms::{Asks, Password};
use crate::limits;

/// See the module.
pub(super) struct Gate {
    version: String,
    password: Option<Password>,
    guests: Option<Vec<String>>,
    /// Who guessed wrong of late, oldest first.
    guesses: VecDeque<(Time, String)>,
}

impl Gate {
    pub(super) fn new(
        version: String,
        password: Option<Password>,
        guests: Option<Vec<String>>,
    ) -> Self {
        Self { version, password, guests, guesses: VecDeque::new() }
    }

    pub(super) fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// Whether a newcomer is one of those that the room is for.
    ///
    /// # Errors
    ///
    /// The code to refuse with. A password is not looked at for whom the room is not for anyway,
    /// nor for a user who has guessed wrong too often.
    pub(super) fn admit(&mut self, now: Time, user: &str, asks: &Asks) -> Result<(), Code> {
        if self.guests.as_ref().is_some_and(|guests| !guests.iter().any(|guest| guest == user)) {
            return Err(Code::NotInvited);
        }
        if asks.version != self.version {
            return Err(Code::Incompatible);
        }
        let Some(password) = self.password else { return Ok(()) };
        self.guesses.retain(|(at, _)| now.since(*at) < limits::GUESS_TIME);
        let own = self.guesses.iter().filter(|(_, guesser)| guesser == user).count();
        if own >= limits::GUESSES_OF_USER || self.guesses.len() >= limits::GUESSES {
            return Err(Code::JoinRate);
        }
        if password.is(asks.password) {
            return Ok(());
        }
        self.guesses.push_back((now, user.to_owned()));
        Err(Code::WrongPassword)
    }

    /// Lets a user in from now on; a room that is open to everybody does so already.
    ///
    /// # Errors
    ///
    /// [`Code::RoomFull`]: the list is.
    pub(super) fn invite(&mut self, user: &str) -> Result<(), Code> {
        let Some(guests) = &mut self.guests else { return Ok(()) };
        if guests.iter().any(|guest| guest == user) {
            return Ok(());
        }
        if guests.len() >= limits::GUESTS {
            return Err(Code::RoomFull);
        }
        guests.push(user.to_owned());
        Ok(())
    }

    /// It is by invitation, and nobody has one.
    pub(super) fn is_for_nobody(&self) -> bool {
        self.guests.as_ref().is_some_and(Vec::is_empty)
    }

    /// Lets the user in no more; who is in stays.
    pub(super) fn uninvite(&mut self, user: &str) {
        if let Some(guests) = &mut self.guests {
            guests.retain(|guest| guest != user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(version: &str, password: &str) -> Asks {
        let (version, password) = (version.to_owned(), Password::of(password.as_bytes()));
        Asks { version, password, expected: Vec::new() }
    }

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn who_guesses_too_often_is_not_heard() {
        let mut gate = Gate::new("1".into(), Password::of(b"sesame"), None);
        for _ in 0..limits::GUESSES_OF_USER {
            assert_eq!(gate.admit(at(1), "ada", &asks("1", "x")), Err(Code::WrongPassword));
        }
        assert_eq!(gate.admit(at(1), "ada", &asks("1", "sesame")), Err(Code::JoinRate));
        assert_eq!(gate.admit(at(1), "grace", &asks("1", "")), Err(Code::WrongPassword));
        assert_eq!(gate.admit(at(1), "grace", &asks("1", "sesame")), Ok(()));
        assert_eq!(gate.admit(at(61), "ada", &asks("1", "sesame")), Ok(()));
        for n in 0..2 * limits::GUESSES {
            let _refused = gate.admit(at(100), &n.to_string(), &asks("1", "x"));
        }
        assert_eq!(gate.guesses.len(), limits::GUESSES, "bounded");
        assert_eq!(gate.admit(at(100), "other", &asks("1", "sesame")), Err(Code::JoinRate));
    }

    #[test]
    fn only_guests_of_the_same_version_get_in() {
        let mut gate = Gate::new("2".into(), None, Some(vec!["ada".into()]));
        assert_eq!(gate.admit(at(0), "ada", &asks("2", "")), Ok(()));
        assert_eq!(gate.admit(at(0), "ada", &asks("1", "")), Err(Code::Incompatible));
        assert_eq!(gate.admit(at(0), "grace", &asks("1", "")), Err(Code::NotInvited));
        assert_eq!(gate.invite("grace"), Ok(()));
        assert_eq!(gate.admit(at(0), "grace", &asks("2", "")), Ok(()));
        gate.uninvite("ada");
        assert_eq!(gate.admit(at(0), "ada", &asks("2", "")), Err(Code::NotInvited));
        for n in 0..limits::GUESTS - 1 {
            assert_eq!(gate.invite(&n.to_string()), Ok(()));
        }
        assert_eq!((gate.invite("one more"), gate.invite("grace")), (Err(Code::RoomFull), Ok(())));
    }
}

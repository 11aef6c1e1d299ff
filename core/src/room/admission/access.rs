//! The conditions of a room: its invited users, the application version and the password.

use std::collections::VecDeque;

use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;

use crate::limits;
use crate::room::config::{JoinConditions, Password};

/// The conditions under which users may join a room.
pub(super) struct Access {
    /// The application version that a newcomer must have.
    version: String,
    password: Option<Password>,
    /// The only users who may join. `None`: everybody may join.
    invited: Option<Vec<String>>,
    /// Wrong passwords within the last [`limits::GUESS_TIME`], oldest first.
    guesses: VecDeque<Guess>,
}

struct Guess {
    at: Time,
    user: String,
}

impl Access {
    pub(super) fn new(
        version: String,
        password: Option<Password>,
        invited: Option<Vec<String>>,
    ) -> Self {
        Self { version, password, invited, guesses: VecDeque::new() }
    }

    pub(super) fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// Checks whether a newcomer meets the conditions.
    ///
    /// Compares the password last: only for a user who meets the other conditions and has not sent
    /// too many wrong passwords.
    ///
    /// # Errors
    ///
    /// The code to refuse the newcomer with.
    pub(super) fn admit(
        &mut self,
        now: Time,
        user: &str,
        conditions: &JoinConditions,
    ) -> Result<(), Code> {
        if self.invited.as_ref().is_some_and(|invited| !invited.iter().any(|other| other == user)) {
            return Err(Code::NotInvited);
        }
        if conditions.version != self.version {
            return Err(Code::Incompatible);
        }
        let Some(password) = self.password else { return Ok(()) };
        self.guesses.retain(|guess| now.since(guess.at) < limits::GUESS_TIME);
        let own = self.guesses.iter().filter(|guess| guess.user == user).count();
        if own >= limits::GUESSES_OF_USER || self.guesses.len() >= limits::GUESSES {
            return Err(Code::JoinRate);
        }
        if password.matches(conditions.password) {
            return Ok(());
        }
        self.guesses.push_back(Guess { at: now, user: user.to_owned() });
        Err(Code::WrongPassword)
    }

    /// Adds a user to the invited users. Does nothing in a room that is not by invitation.
    ///
    /// # Errors
    ///
    /// [`Code::RoomFull`] if the list of invited users is full.
    pub(super) fn invite(&mut self, user: &str) -> Result<(), Code> {
        let Some(invited) = &mut self.invited else { return Ok(()) };
        if invited.iter().any(|other| other == user) {
            return Ok(());
        }
        if invited.len() >= limits::INVITED_USERS {
            return Err(Code::RoomFull);
        }
        invited.push(user.to_owned());
        Ok(())
    }

    /// Returns whether the room is by invitation and nobody is invited.
    pub(super) fn admits_nobody(&self) -> bool {
        self.invited.as_ref().is_some_and(Vec::is_empty)
    }

    /// Removes a user from the invited users. A user who has joined stays.
    pub(super) fn uninvite(&mut self, user: &str) {
        if let Some(invited) = &mut self.invited {
            invited.retain(|other| other != user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(version: &str, password: &str) -> JoinConditions {
        let (version, password) = (version.to_owned(), Password::of(password.as_bytes()));
        JoinConditions { version, password, expected: Vec::new() }
    }

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn who_guesses_too_often_is_refused() {
        let mut access = Access::new("1".into(), Password::of(b"sesame"), None);
        for _ in 0..limits::GUESSES_OF_USER {
            assert_eq!(access.admit(at(1), "ada", &conditions("1", "x")), Err(Code::WrongPassword));
        }
        assert_eq!(access.admit(at(1), "ada", &conditions("1", "sesame")), Err(Code::JoinRate));
        assert_eq!(access.admit(at(1), "grace", &conditions("1", "")), Err(Code::WrongPassword));
        assert_eq!(access.admit(at(1), "grace", &conditions("1", "sesame")), Ok(()));
        assert_eq!(access.admit(at(61), "ada", &conditions("1", "sesame")), Ok(()));
        for n in 0..2 * limits::GUESSES {
            let _refused = access.admit(at(100), &n.to_string(), &conditions("1", "x"));
        }
        assert_eq!(access.guesses.len(), limits::GUESSES, "the list has a limit");
        assert_eq!(access.admit(at(100), "other", &conditions("1", "sesame")), Err(Code::JoinRate));
    }

    #[test]
    fn only_invited_users_of_the_same_version_get_in() {
        let mut access = Access::new("2".into(), None, Some(vec!["ada".into()]));
        assert_eq!(access.admit(at(0), "ada", &conditions("2", "")), Ok(()));
        assert_eq!(access.admit(at(0), "ada", &conditions("1", "")), Err(Code::Incompatible));
        assert_eq!(access.admit(at(0), "grace", &conditions("1", "")), Err(Code::NotInvited));
        assert_eq!(access.invite("grace"), Ok(()));
        assert_eq!(access.admit(at(0), "grace", &conditions("2", "")), Ok(()));
        access.uninvite("ada");
        assert_eq!(access.admit(at(0), "ada", &conditions("2", "")), Err(Code::NotInvited));
        for n in 0..limits::INVITED_USERS - 1 {
            assert_eq!(access.invite(&n.to_string()), Ok(()));
        }
        assert_eq!(
            (access.invite("one more"), access.invite("grace")),
            (Err(Code::RoomFull), Ok(()))
        );
    }
}

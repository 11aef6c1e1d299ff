//! Seats reserved for users who are expected: for a time, and never so many that nobody else gets in.

use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;

use crate::limits;

struct Reservation {
    user: String,
    /// Who expects them; empty: the server.
    by: String,
    until: Time,
}

/// The reserved seats of a room.
#[derive(Default)]
pub(super) struct Reservations {
    reserved: Vec<Reservation>,
}

impl Reservations {
    /// Seats reserved for others than `user`.
    pub(super) fn but_of(&self, user: &str) -> usize {
        self.reserved.iter().filter(|seat| seat.user != user).count()
    }

    /// All reserved seats.
    pub(super) fn len(&self) -> usize {
        self.reserved.len()
    }

    /// When the next one ends.
    pub(super) fn due(&self) -> Option<Time> {
        self.reserved.iter().map(|seat| seat.until).min()
    }

    /// Ends what is over; whether anything was.
    pub(super) fn forget(&mut self, now: Time) -> bool {
        let before = self.reserved.len();
        self.reserved.retain(|seat| now < seat.until);
        self.reserved.len() != before
    }

    /// Of `expected`, for whom `by` needs new seats: nobody twice, nobody who has one.
    ///
    /// # Errors
    ///
    /// [`Code::RoomFull`]: more than one user, or all together, may reserve in a room of that capacity.
    pub(super) fn fresh<'a>(
        &self,
        by: &str,
        expected: &'a [String],
        inside: impl Fn(&str) -> bool,
        capacity: u16,
    ) -> Result<Vec<&'a str>, Code> {
        let mut fresh: Vec<&str> = Vec::new();
        for user in expected.iter().map(String::as_str) {
            if user != by && !inside(user) && !self.has(user) && !fresh.contains(&user) {
                fresh.push(user);
            }
        }
        let own = self.reserved.iter().filter(|seat| seat.by == by).count();
        let all = self.but_of(by) + fresh.len();
        let too_many = own + fresh.len() > limits::RESERVATIONS_OF_USER || all > most(capacity);
        if too_many && !fresh.is_empty() { Err(Code::RoomFull) } else { Ok(fresh) }
    }

    /// Reserves a seat for `user`, or for longer.
    pub(super) fn reserve(&mut self, user: &str, by: &str, until: Time) {
        match self.reserved.iter_mut().find(|seat| seat.user == user) {
            Some(seat) => seat.until = seat.until.max(until),
            None => {
                self.reserved.push(Reservation { user: user.to_owned(), by: by.to_owned(), until })
            }
        }
    }

    /// The user has come, or is not expected any more.
    pub(super) fn end(&mut self, user: &str) {
        self.reserved.retain(|seat| seat.user != user);
    }

    pub(super) fn has(&self, user: &str) -> bool {
        self.reserved.iter().any(|seat| seat.user == user)
    }
}

/// Half of a room; all but one seat of a small one, where friends come together.
fn most(capacity: u16) -> usize {
    let capacity = usize::from(capacity);
    if capacity <= limits::SMALL_ROOM { capacity.saturating_sub(1) } else { capacity / 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    fn users(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("user-{n}")).collect()
    }

    #[test]
    fn nobody_is_held_for_twice_or_who_is_there() {
        let mut reservations = Reservations::default();
        reservations.reserve("user-1", "ada", at(60));
        let expected = [users(4), users(4), vec!["ada".to_owned()]].concat();
        let fresh = reservations.fresh("ada", &expected, |user| user == "user-2", 100);
        assert_eq!(fresh, Ok(vec!["user-0", "user-3"]));
        reservations.reserve("user-1", "grace", at(90));
        assert!(!reservations.forget(at(60)) && reservations.has("user-1"), "the later one counts");
        assert!(reservations.forget(at(90)) && reservations.len() == 0);
    }

    #[test]
    fn a_room_is_not_booked_out() {
        let none = |_: &str| false;
        for (capacity, most) in [(2, 1), (16, 15), (17, 8), (40, 16), (1_000, 16)] {
            let reservations = Reservations::default();
            assert!(reservations.fresh("ada", &users(most), none, capacity).is_ok(), "{capacity}");
            let more = users(most + 1);
            let more = reservations.fresh("ada", &more, none, capacity);
            assert_eq!(more, Err(Code::RoomFull), "{capacity}");
        }
        let mut reservations = Reservations::default();
        users(16).iter().for_each(|user| reservations.reserve(user, "ada", at(60)));
        let other = ["x".to_owned()];
        assert_eq!(reservations.fresh("ada", &other, none, 1_000), Err(Code::RoomFull));
        assert_eq!(reservations.fresh("grace", &other, none, 1_000), Ok(vec!["x"]));
        assert_eq!(reservations.fresh("grace", &other, none, 32), Err(Code::RoomFull));
        assert_eq!(reservations.fresh("grace", &[], none, 32), Ok(vec![]));
    }
}

//! Seats reserved for expected users. A reservation ends after a time, and a part of the seats
//! always stays free for everybody.

use nucleus_protocol::session::Code;
use nucleus_protocol::time::Time;

use crate::limits;

struct Reservation {
    user: String,
    /// The user who reserved the seat; empty if the server reserved it.
    by: String,
    until: Time,
}

/// The reserved seats of a room.
#[derive(Default)]
pub(super) struct Reservations {
    reserved: Vec<Reservation>,
}

impl Reservations {
    /// Returns the number of seats reserved for others than `user`.
    pub(super) fn of_others(&self, user: &str) -> usize {
        self.reserved.iter().filter(|seat| seat.user != user).count()
    }

    /// Returns the number of reserved seats.
    pub(super) fn len(&self) -> usize {
        self.reserved.len()
    }

    /// Returns when the next reservation ends.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.reserved.iter().map(|seat| seat.until).min()
    }

    /// Ends the reservations whose time is over. Returns whether there were any.
    pub(super) fn end_due(&mut self, now: Time) -> bool {
        let before = self.reserved.len();
        self.reserved.retain(|seat| now < seat.until);
        self.reserved.len() != before
    }

    /// Returns the users of `expected` for whom `by` needs new reservations. Names each user once.
    /// Leaves out users who are in the room or have a reservation.
    ///
    /// # Errors
    ///
    /// [`Code::RoomFull`] if the new reservations exceed what one user may reserve, or what all
    /// users together may reserve in a room of this capacity.
    pub(super) fn needed<'a>(
        &self,
        by: &str,
        expected: &'a [String],
        is_inside: impl Fn(&str) -> bool,
        capacity: u16,
    ) -> Result<Vec<&'a str>, Code> {
        let mut needed: Vec<&str> = Vec::new();
        for user in expected.iter().map(String::as_str) {
            if user != by && !is_inside(user) && !self.has(user) && !needed.contains(&user) {
                needed.push(user);
            }
        }
        let own = self.reserved.iter().filter(|seat| seat.by == by).count();
        let all = self.of_others(by) + needed.len();
        let too_many =
            own + needed.len() > limits::RESERVATIONS_OF_USER || all > most_reserved(capacity);
        if too_many && !needed.is_empty() { Err(Code::RoomFull) } else { Ok(needed) }
    }

    /// Reserves a seat for `user`. If the user has a reservation, the later end counts.
    pub(super) fn reserve(&mut self, user: &str, by: &str, until: Time) {
        match self.reserved.iter_mut().find(|seat| seat.user == user) {
            Some(seat) => seat.until = seat.until.max(until),
            None => {
                self.reserved.push(Reservation { user: user.to_owned(), by: by.to_owned(), until })
            }
        }
    }

    /// Ends the reservation of a user, who has joined or is no longer expected.
    pub(super) fn end(&mut self, user: &str) {
        self.reserved.retain(|seat| seat.user != user);
    }

    fn has(&self, user: &str) -> bool {
        self.reserved.iter().any(|seat| seat.user == user)
    }
}

/// Returns how many seats may be reserved together: half of a room, or all but one seat of a small
/// room, where friends meet.
fn most_reserved(capacity: u16) -> usize {
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
    fn nobody_has_two_reservations_or_one_while_inside() {
        let mut reservations = Reservations::default();
        reservations.reserve("user-1", "ada", at(60));
        let expected = [users(4), users(4), vec!["ada".to_owned()]].concat();
        let needed = reservations.needed("ada", &expected, |user| user == "user-2", 100);
        assert_eq!(needed, Ok(vec!["user-0", "user-3"]));
        reservations.reserve("user-1", "grace", at(90));
        assert!(
            !reservations.end_due(at(60)) && reservations.has("user-1"),
            "the later end counts"
        );
        assert!(reservations.end_due(at(90)) && reservations.len() == 0);
    }

    #[test]
    fn a_room_is_not_booked_out() {
        let none = |_: &str| false;
        for (capacity, most) in [(2, 1), (16, 15), (17, 8), (40, 16), (1_000, 16)] {
            let reservations = Reservations::default();
            assert!(reservations.needed("ada", &users(most), none, capacity).is_ok(), "{capacity}");
            let more = users(most + 1);
            let more = reservations.needed("ada", &more, none, capacity);
            assert_eq!(more, Err(Code::RoomFull), "{capacity}");
        }
        let mut reservations = Reservations::default();
        users(16).iter().for_each(|user| reservations.reserve(user, "ada", at(60)));
        let other = ["x".to_owned()];
        assert_eq!(reservations.needed("ada", &other, none, 1_000), Err(Code::RoomFull));
        assert_eq!(reservations.needed("grace", &other, none, 1_000), Ok(vec!["x"]));
        assert_eq!(reservations.needed("grace", &other, none, 32), Err(Code::RoomFull));
        assert_eq!(reservations.needed("grace", &[], none, 32), Ok(vec![]));
    }
}

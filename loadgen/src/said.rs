//! What a sender has said lately, to compare with what arrives.

use crate::channel::{Channel, Due};
use crate::sequence;

/// The last messages that a sender sent on a channel: when each was due.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// Twice the µs, plus one for the first packet of a spurt; a power of two long.
    ring: Vec<u64>,
    next: u64,
}

impl Said {
    /// Room for `seconds` at `hz`.
    pub(crate) fn new(hz: f64, seconds: f64) -> Self {
        let len = ((hz * seconds) as usize).next_power_of_two().max(256);
        Said { ring: vec![0; len], next: 0 }
    }

    fn place(&self, number: u64) -> usize {
        number as usize & (self.ring.len() - 1)
    }

    /// A message is being sent.
    pub(crate) fn note(&mut self, due: &Due) {
        let place = self.place(due.number);
        self.ring[place] = due.scheduled << 1 | u64::from(due.first);
        self.next = due.number + 1;
    }

    /// The message behind a number on the wire, unless it was never sent or is long gone.
    pub(crate) fn at(&self, channel: Channel, wire: u16) -> Option<Due> {
        let number = sequence::unwrap(self.next.checked_sub(1)?, wire)?;
        (self.next - number <= self.ring.len() as u64).then_some(())?;
        let entry = self.ring[self.place(number)];
        Some(Due { channel, number, scheduled: entry >> 1, first: entry & 1 != 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_was_said_in_the_last_seconds() {
        let mut said = Said::new(30.0, 4.0);
        assert_eq!(said.at(Channel::Object, 0), None);
        let due = |number: u64| {
            let first = number.is_multiple_of(3);
            Due { channel: Channel::Object, number, scheduled: 50 * number, first }
        };
        (0..70_000).for_each(|number| said.note(&due(number)));
        for number in 70_000 - 256..70_000 {
            assert_eq!(said.at(Channel::Object, number as u16), Some(due(number)));
        }
        assert_eq!(said.at(Channel::Object, (70_000u64 - 257) as u16), None, "long gone");
        assert_eq!(said.at(Channel::Object, 70_000u64 as u16), None, "never said");
    }
}

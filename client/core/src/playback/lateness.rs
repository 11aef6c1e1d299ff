//! [`Lateness`]: how late the messages of one sender usually are.

use std::time::Duration;

/// Of the remembered messages, this many may be later than [`Lateness::usual`].
const LATER: usize = 2;
/// After this many messages [`Lateness::usual`] is computed anew.
const EVERY: usize = 16;
/// A message that is later counts as this late, in ms. Nobody wants to see the others any later.
const LATEST: u16 = 1_000;

/// How late the newest messages of one sender were. Remembers so many.
#[derive(Clone, Debug)]
pub(super) struct Lateness<const REMEMBERED: usize> {
    /// In ms, in a ring.
    newest: [u16; REMEMBERED],
    count: usize,
    usual: u16,
}

impl<const REMEMBERED: usize> Lateness<REMEMBERED> {
    pub(super) const fn new() -> Self {
        Self { newest: [0; REMEMBERED], count: 0, usual: 0 }
    }

    /// Adds a message that was late by this time.
    pub(super) fn add(&mut self, late: Duration) {
        let late = u16::try_from(late.as_millis()).unwrap_or(LATEST).min(LATEST);
        self.newest[self.count % REMEMBERED] = late;
        self.count += 1;
        if self.count < EVERY {
            // In the beginning each one counts.
            self.usual = self.usual.max(late);
        } else if self.count.is_multiple_of(EVERY) {
            let mut sorted = self.newest;
            let known = &mut sorted[..self.count.min(REMEMBERED)];
            let later = LATER * known.len() / REMEMBERED;
            let (_, usual, _) = known.select_nth_unstable(known.len() - 1 - later);
            self.usual = *usual;
        }
    }

    /// Returns whether anything is known.
    pub(super) fn is_known(&self) -> bool {
        self.count > 0
    }

    /// Returns the time that nearly all messages are late at most.
    pub(super) fn usual(&self) -> Duration {
        Duration::from_millis(self.usual.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_late_messages_do_not_count_and_the_past_is_forgotten() {
        const REMEMBERED: usize = 128;
        let mut lateness = Lateness::<REMEMBERED>::new();
        let ms = |late: u64| Duration::from_millis(late);
        lateness.add(ms(40));
        assert_eq!(lateness.usual(), ms(40));
        for number in 0..10 * REMEMBERED as u64 {
            lateness.add(ms(if number % 64 == 0 { 900 } else { 20 + number % 30 }));
        }
        assert!((ms(45)..ms(50)).contains(&lateness.usual()), "{:?}", lateness.usual());
        (0..REMEMBERED + EVERY).for_each(|_| lateness.add(ms(5)));
        assert_eq!(lateness.usual(), ms(5));
        (0..EVERY).for_each(|_| lateness.add(Duration::MAX));
        assert_eq!(lateness.usual(), ms(1_000));
    }
}

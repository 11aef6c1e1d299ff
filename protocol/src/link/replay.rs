//! The replay window: the packet numbers that were received under one key.

use crate::limits::REPLAY_WINDOW;

const WORDS: usize = (REPLAY_WINDOW / u64::BITS) as usize;

/// The result of checking a packet number against a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// The number has not been received yet.
    Fresh,
    /// The number was received before.
    Replayed,
    /// The number lies below the window, so that a replay cannot be excluded.
    TooOld,
}

/// The last [`REPLAY_WINDOW`] packet numbers up to the largest one, as a ring of bits.
///
/// Call [`check`](Self::check) before opening a datagram; it changes nothing. Call
/// [`insert`](Self::insert) after verifying the tag, so that a forged number does not move the
/// window.
#[derive(Clone, Debug, Default)]
pub struct ReplayWindow {
    largest: Option<u32>,
    seen: [u64; WORDS],
}

impl ReplayWindow {
    /// Returns whether `number` may still be accepted.
    pub fn check(&self, number: u32) -> Freshness {
        let Some(largest) = self.largest.filter(|largest| number <= *largest) else {
            return Freshness::Fresh;
        };
        if largest - number >= REPLAY_WINDOW {
            return Freshness::TooOld;
        }
        let (word, bit) = word_and_bit(number);
        if self.seen[word] & bit == 0 { Freshness::Fresh } else { Freshness::Replayed }
    }

    /// Marks `number` as received. Ignores a number that is too old.
    pub fn insert(&mut self, number: u32) {
        if self.check(number) == Freshness::TooOld {
            return;
        }
        self.slide_to(number);
        let (word, bit) = word_and_bit(number);
        self.seen[word] |= bit;
    }

    /// Moves the window's upper end to `number` if it is larger, and clears the bits of the numbers
    /// that enter the window.
    fn slide_to(&mut self, number: u32) {
        match self.largest {
            Some(largest) if number <= largest => return,
            Some(largest) if number - largest < REPLAY_WINDOW => {
                for entered in largest + 1..=number {
                    let (word, bit) = word_and_bit(entered);
                    self.seen[word] &= !bit;
                }
            }
            _ => self.seen = [0; WORDS],
        }
        self.largest = Some(number);
    }
}

/// Returns the word and the bit of a number. The remainder keeps the word inside the ring.
fn word_and_bit(number: u32) -> (usize, u64) {
    ((number / u64::BITS) as usize % WORDS, 1 << (number % u64::BITS))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// A simple implementation of the window's rules.
    #[derive(Default)]
    struct ReplayModel(BTreeSet<u32>);

    impl ReplayModel {
        fn check(&self, number: u32) -> Freshness {
            let largest = self.0.last().copied().unwrap_or(0);
            if u64::from(number) + u64::from(REPLAY_WINDOW) <= u64::from(largest) {
                Freshness::TooOld
            } else if self.0.contains(&number) {
                Freshness::Replayed
            } else {
                Freshness::Fresh
            }
        }
    }

    fn number() -> impl Strategy<Value = u32> {
        prop_oneof![
            0u32..100,
            0u32..3 * REPLAY_WINDOW,
            (0u32..3 * REPLAY_WINDOW).prop_map(|n| u32::MAX - n),
            (0u32..10).prop_map(|n| u32::MAX - n),
            any::<u32>(),
        ]
    }

    /// Generates numbers around one number, so that tests often reach the window's edges.
    fn walk() -> impl Strategy<Value = Vec<u32>> {
        (number(), prop::collection::vec(-2_100i64..2_100, 0..400)).prop_map(|(start, steps)| {
            let step = |at: &mut i64, by: i64| {
                *at = (*at + by / 3).clamp(0, i64::from(u32::MAX));
                Some(*at as u32)
            };
            steps.into_iter().scan(i64::from(start), step).collect()
        })
    }

    fn agrees(numbers: Vec<u32>) -> Result<(), TestCaseError> {
        let (mut window, mut model) = (ReplayWindow::default(), ReplayModel::default());
        for number in numbers {
            let expected = model.check(number);
            prop_assert_eq!(window.check(number), expected, "number {}", number);
            window.insert(number);
            if expected == Freshness::Fresh {
                model.0.insert(number);
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn scattered_numbers_agree_with_a_set(numbers in prop::collection::vec(number(), 0..300)) {
            agrees(numbers)?;
        }

        #[test]
        fn neighbouring_numbers_agree_with_a_set(numbers in walk()) {
            agrees(numbers)?;
        }
    }

    #[test]
    fn the_ends_of_the_numbers_and_of_the_window() {
        let mut window = ReplayWindow::default();
        assert_eq!(window.check(0), Freshness::Fresh);
        window.insert(0);
        assert_eq!(window.check(0), Freshness::Replayed);
        window.insert(REPLAY_WINDOW - 1);
        assert_eq!(window.check(0), Freshness::Replayed);
        window.insert(REPLAY_WINDOW);
        assert_eq!(window.check(0), Freshness::TooOld);
        window.insert(u32::MAX);
        assert_eq!(window.check(u32::MAX), Freshness::Replayed);
        assert_eq!(window.check(u32::MAX - REPLAY_WINDOW + 1), Freshness::Fresh);
        assert_eq!(window.check(u32::MAX - REPLAY_WINDOW), Freshness::TooOld);
    }
}

//! Which packet numbers of one key have been seen.

use crate::limits::REPLAY_WINDOW;

const WORDS: usize = (REPLAY_WINDOW / u64::BITS) as usize;

/// What a window says of a packet number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Not seen yet.
    Fresh,
    /// Seen before.
    Replayed,
    /// So far behind the largest that nothing is known of it any more.
    TooOld,
}

/// The last [`REPLAY_WINDOW`] packet numbers up to the largest one, as a ring of bits.
///
/// [`check`](Self::check) comes before a datagram is opened and changes nothing;
/// [`insert`](Self::insert) comes after its tag was verified, so that a forged number moves
/// nothing.
#[derive(Clone, Debug, Default)]
pub struct ReplayWindow {
    largest: Option<u32>,
    seen: [u64; WORDS],
}

impl ReplayWindow {
    /// Whether `number` may still be accepted.
    pub fn check(&self, number: u32) -> Freshness {
        let Some(largest) = self.largest.filter(|largest| number <= *largest) else {
            return Freshness::Fresh;
        };
        if largest - number >= REPLAY_WINDOW {
            return Freshness::TooOld;
        }
        let (word, bit) = place(number);
        if self.seen[word] & bit == 0 { Freshness::Fresh } else { Freshness::Replayed }
    }

    /// Marks `number` as seen; one that is too old changes nothing.
    pub fn insert(&mut self, number: u32) {
        if self.check(number) == Freshness::TooOld {
            return;
        }
        self.slide_to(number);
        let (word, bit) = place(number);
        self.seen[word] |= bit;
    }

    /// Moves the window's upper end to `number` when that is larger, and clears the bits entered.
    fn slide_to(&mut self, number: u32) {
        match self.largest {
            Some(largest) if number <= largest => return,
            Some(largest) if number - largest < REPLAY_WINDOW => {
                for entered in largest + 1..=number {
                    let (word, bit) = place(entered);
                    self.seen[word] &= !bit;
                }
            }
            _ => self.seen = [0; WORDS],
        }
        self.largest = Some(number);
    }
}

/// Word and bit of a number; the remainder keeps the word inside the ring.
fn place(number: u32) -> (usize, u64) {
    ((number / u64::BITS) as usize % WORDS, 1 << (number % u64::BITS))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// The same rules, written without cleverness.
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

    /// Jumps around one place, so that the window's edges are met often.
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

//! How guessing of passwords is slowed: after a few failures, an email address and a network wait before
//! the next attempt, twice as long each time.
//!
//! An attempt counts as failed from its begin, so that many at once gain nothing. A stranger who guesses
//! delays others who try the same email address; a network from which the person has signed in before is
//! counted on its own, so that its person gets in meanwhile.

use std::collections::HashMap;
use std::time::Duration;

use crate::timestamp::Timestamp;

/// Most entries of each table: some hundred kilobytes. The one with the fewest failures goes when a further
/// one comes, so a stranger with many addresses removes no entry of somebody who guesses more.
const MAX_ENTRIES: usize = 4_096;
/// Time without an attempt after which failures are forgotten: an hour.
const FORGET: i64 = 3_600_000_000;
const SECOND: i64 = 1_000_000;

/// How one of the tables slows.
#[derive(Clone, Copy, Debug)]
struct Slowing {
    /// Failures that cost nothing: people mistype.
    free: u32,
    /// Longest wait, in microseconds.
    longest: i64,
}

/// An email address: 12 guesses an hour at most, and its person waits five minutes at most.
const OF_EMAIL: Slowing = Slowing { free: 5, longest: 300 * SECOND };
/// A network: people of one office share it, so more is free; who guesses on waits a quarter of an hour.
const OF_NETWORK: Slowing = Slowing { free: 20, longest: 900 * SECOND };

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Timestamp,
}

impl Failures {
    /// Returns how long the next attempt has to wait at `now`, in microseconds.
    fn wait(&self, slowing: Slowing, now: Timestamp) -> i64 {
        let over = self.count.saturating_sub(slowing.free);
        let pause = match over {
            0 => 0,
            over => (SECOND << (over - 1).min(30)).min(slowing.longest),
        };
        let passed = now.micros().saturating_sub(self.last.micros());
        // A clock that was set back must not make anybody wait for ever.
        if passed < 0 { 0 } else { (pause - passed).max(0) }
    }

    fn is_forgotten(&self, now: Timestamp) -> bool {
        !(0..FORGET).contains(&now.micros().saturating_sub(self.last.micros()))
    }
}

/// The failures of each email address and of each network.
#[derive(Debug, Default)]
pub struct SignInRates {
    emails: HashMap<String, Failures>,
    networks: HashMap<String, Failures>,
    /// From where each person has signed in: the email address and the network, with the last time.
    known: HashMap<String, Timestamp>,
}

impl SignInRates {
    /// Begins an attempt, which counts as failed until [`succeeded`](Self::succeeded) or
    /// [`forgive`](Self::forgive).
    ///
    /// # Errors
    ///
    /// How long the next attempt has to wait. This one is not counted.
    pub fn begin(&mut self, email: &str, network: &str, now: Timestamp) -> Result<(), Duration> {
        let is_known = self.known.contains_key(&pair(email, network));
        let email = self.email_key(email, network);
        let wait = |table: &HashMap<String, Failures>, key: &str, slowing| {
            let found = table.get(key).filter(|failures| !failures.is_forgotten(now));
            found.map_or(0, |failures| failures.wait(slowing, now))
        };
        let of_email = wait(&self.emails, &email, OF_EMAIL);
        // Behind a proxy everybody has one network: its failures slow nobody who has signed in from there.
        let of_network = if is_known { 0 } else { wait(&self.networks, network, OF_NETWORK) };
        let wait = of_email.max(of_network);
        if wait > 0 {
            return Err(Duration::from_micros(wait.unsigned_abs()));
        }
        count(&mut self.emails, email, now);
        count(&mut self.networks, network.to_owned(), now);
        Ok(())
    }

    /// Notes that an attempt has succeeded: from now on, failures of other networks with its email address
    /// slow this network no more.
    pub fn succeeded(&mut self, email: &str, network: &str, now: Timestamp) {
        self.forgive(email, network);
        let pair = pair(email, network);
        self.emails.remove(&pair);
        if self.known.len() >= MAX_ENTRIES
            && !self.known.contains_key(&pair)
            && let Some(oldest) = self.known.iter().min_by_key(|(_, at)| **at)
        {
            let oldest = oldest.0.clone();
            self.known.remove(&oldest);
        }
        self.known.insert(pair, now);
    }

    /// Takes back an attempt that failed for a reason that is not its sender's.
    pub fn forgive(&mut self, email: &str, network: &str) {
        let key = self.email_key(email, network);
        let both = [self.emails.get_mut(&key), self.networks.get_mut(network)];
        for failures in both.into_iter().flatten() {
            failures.count = failures.count.saturating_sub(1);
        }
    }

    /// Returns by what an email address is counted.
    fn email_key(&self, email: &str, network: &str) -> String {
        let pair = pair(email, network);
        if self.known.contains_key(&pair) { pair } else { email.to_owned() }
    }
}

/// No email address and no network has a space.
fn pair(email: &str, network: &str) -> String {
    format!("{email} {network}")
}

fn count(table: &mut HashMap<String, Failures>, key: String, now: Timestamp) {
    if table.len() >= MAX_ENTRIES && !table.contains_key(&key) {
        table.retain(|_, failures| !failures.is_forgotten(now));
        if table.len() >= MAX_ENTRIES
            && let Some(least) =
                table.iter().min_by_key(|(_, failures)| (failures.count, failures.last))
        {
            let least = least.0.clone();
            table.remove(&least);
        }
    }
    let failures = table.entry(key).or_insert(Failures { count: 0, last: now });
    let before = if failures.is_forgotten(now) { 0 } else { failures.count };
    *failures = Failures { count: before.saturating_add(1), last: now };
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: &str = "ada@example.com";

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(1_800_000_000 + seconds)
    }

    #[test]
    fn each_failure_doubles_the_wait_up_to_five_minutes() {
        let (mut rates, mut now) = (SignInRates::default(), 0);
        for _ in 0..OF_EMAIL.free {
            rates.begin(ADA, "192.0.2.1", at(now)).unwrap();
        }
        let mut waits = Vec::new();
        for _ in 0..12 {
            // Sent from many networks: the address counts.
            let network = format!("192.0.2.{}", waits.len());
            rates.begin(ADA, &network, at(now)).unwrap();
            let wait = rates.begin(ADA, &network, at(now)).unwrap_err().as_secs();
            assert!(rates.begin(ADA, "198.51.100.1", at(now + wait - 1)).is_err(), "{wait}");
            assert!(rates.begin("ben@example.com", &network, at(now)).is_ok());
            waits.push(wait);
            now += wait;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert!(rates.begin(ADA, "192.0.2.1", at(now + 3_600)).is_ok());
        assert!(rates.begin(ADA, "192.0.2.1", at(now + 3_600)).is_ok(), "an hour later");
    }

    #[test]
    fn a_network_is_slowed_whatever_address_it_tries() {
        let mut rates = SignInRates::default();
        let tried = (0..100).filter(|number| {
            rates.begin(&format!("user{number}@example.com"), "192.0.2.1", at(0)).is_ok()
        });
        assert_eq!(tried.count(), OF_NETWORK.free as usize + 1);
        assert!(rates.begin(ADA, "192.0.2.2", at(0)).is_ok());
    }

    #[test]
    fn a_person_gets_in_from_a_known_network_while_strangers_guess() {
        let mut rates = SignInRates::default();
        rates.begin(ADA, "192.0.2.1", at(0)).unwrap();
        rates.succeeded(ADA, "192.0.2.1", at(0));
        for second in 1..1_000 {
            let _slowed = rates.begin(ADA, &format!("198.51.100.{}", second % 200), at(second));
        }
        assert!(rates.begin(ADA, "203.0.113.1", at(1_000)).is_err(), "an unknown network");
        assert!(rates.begin(ADA, "192.0.2.1", at(1_000)).is_ok());
        rates.succeeded(ADA, "192.0.2.1", at(1_000));
    }

    #[test]
    fn what_is_not_the_senders_fault_is_forgiven() {
        let mut rates = SignInRates::default();
        for _ in 0..100 {
            rates.begin(ADA, "192.0.2.1", at(0)).unwrap();
            rates.forgive(ADA, "192.0.2.1");
        }
    }

    #[test]
    fn the_tables_are_bounded_and_keep_who_guesses_most() {
        let mut rates = SignInRates::default();
        for _ in 0..=OF_EMAIL.free {
            rates.begin(ADA, "192.0.2.1", at(0)).unwrap();
        }
        for number in 0..3 * MAX_ENTRIES {
            let (email, network) = (format!("u{number}@x"), format!("network {number}"));
            rates.begin(&email, &network, at(0)).unwrap();
            rates.succeeded(&format!("v{number}@x"), &network, at(0));
        }
        let sizes = [rates.emails.len(), rates.networks.len(), rates.known.len()];
        assert!(sizes.iter().all(|size| *size <= MAX_ENTRIES), "{sizes:?}");
        assert!(rates.begin(ADA, "192.0.2.7", at(0)).is_err());
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_out() {
        let mut rates = SignInRates::default();
        while rates.begin(ADA, "192.0.2.1", at(100_000)).is_ok() {}
        assert!(rates.begin(ADA, "192.0.2.1", at(0)).is_ok());
    }
}

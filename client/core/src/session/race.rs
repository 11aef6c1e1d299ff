//! Which of a server's addresses a client tries, and when (RFC 8305, "Happy Eyeballs"): it starts
//! with the first, and with another one every quarter of a second, until one of them answers.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use nucleus_protocol::time::Time;

/// Time between the starts of two tries (RFC 8305, section 5: 250 ms). A try that fails starts the
/// next one at once.
const BETWEEN_STARTS: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried. The last one starts four seconds after the first, within
/// the time of a join.
pub const MAX_ADDRESSES: usize = 16;

/// The tries to reach one server at several addresses. The caller starts each address that
/// [`Self::poll`] returns, and takes the first try that succeeds.
#[derive(Clone, Debug)]
pub struct AddressRace {
    waiting: VecDeque<SocketAddr>,
    /// Tries that have started and not failed.
    running: usize,
    /// When the next try starts.
    next_at: Time,
}

impl AddressRace {
    /// Creates a race that starts at `now`. The two families of addresses take turns, beginning with
    /// the family of the first address; of each family, the order stays. Takes at most
    /// [`MAX_ADDRESSES`], and each address once.
    pub fn new(now: Time, addresses: &[SocketAddr]) -> Self {
        let mut families: [VecDeque<SocketAddr>; 2] = Default::default();
        let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
        for address in addresses {
            let family = &mut families[usize::from(address.is_ipv6() != first_is_v6)];
            if !family.contains(address) {
                family.push_back(*address);
            }
        }
        let [mut first, mut second] = families;
        let mut waiting = VecDeque::new();
        while waiting.len() < MAX_ADDRESSES && !(first.is_empty() && second.is_empty()) {
            waiting.extend(first.pop_front());
            waiting.extend(second.pop_front());
        }
        waiting.truncate(MAX_ADDRESSES);
        Self { waiting, running: 0, next_at: now }
    }

    /// Returns the longest time between the first and the last start of a race with so many
    /// addresses.
    pub fn longest(addresses: usize) -> Duration {
        BETWEEN_STARTS * addresses.clamp(1, MAX_ADDRESSES) as u32 - BETWEEN_STARTS
    }

    /// Returns the address whose try starts now, if one does.
    pub fn poll(&mut self, now: Time) -> Option<SocketAddr> {
        let address = self.waiting.pop_front_if(|_| self.next_at <= now)?;
        self.running += 1;
        self.next_at = now + BETWEEN_STARTS;
        Some(address)
    }

    /// Notes that a try has failed.
    pub fn failed(&mut self, now: Time) {
        self.running = self.running.saturating_sub(1);
        self.next_at = now;
    }

    /// Returns when [`Self::poll`] has the next address; `None` if no address waits.
    pub fn deadline(&self) -> Option<Time> {
        (!self.waiting.is_empty()).then_some(self.next_at)
    }

    /// Returns whether all addresses were tried, and all tries have failed.
    pub fn is_lost(&self) -> bool {
        self.waiting.is_empty() && self.running == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn a_good_address_behind_silent_ones_is_tried_within_a_second() {
        let list = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "192.0.2.1:1"]);
        let mut race = AddressRace::new(Time::ZERO, &list);
        let mut started = Vec::new();
        while let Some(at) = race.deadline() {
            assert_eq!(race.poll(at).map(|address| started.push((at, address))), Some(()));
            assert_eq!(race.poll(at), None, "one at a time");
        }
        let expected = addresses(&["[::1]:1", "192.0.2.1:1", "[::2]:1", "[::3]:1"]);
        for (index, (at, address)) in started.into_iter().enumerate() {
            assert_eq!((at, address), (Time::from_millis(250 * index as u64), expected[index]));
        }
        assert!(!race.is_lost(), "four tries run");
        (0..4).for_each(|_| race.failed(Time::from_millis(900)));
        assert!(race.is_lost());
    }

    #[test]
    fn a_failure_starts_the_next_try_at_once() {
        let list = addresses(&["192.0.2.1:1", "192.0.2.2:1"]);
        let mut race = AddressRace::new(Time::ZERO, &list);
        let at = Time::from_millis(3);
        assert_eq!((race.poll(Time::ZERO), race.poll(at)), (Some(list[0]), None));
        race.failed(at);
        assert!(!race.is_lost());
        assert_eq!(race.poll(at), Some(list[1]));
    }

    #[test]
    fn a_name_with_many_addresses_is_cut() {
        let list: Vec<_> = (0..100).map(|n| SocketAddr::from(([192, 0, 2, n], 1))).collect();
        let mut race = AddressRace::new(Time::ZERO, &[&list[..], &list[..]].concat());
        let mut tried = 0;
        while let Some(at) = race.deadline() {
            tried += usize::from(race.poll(at).is_some());
        }
        assert_eq!(tried, MAX_ADDRESSES);
        assert!(AddressRace::new(Time::ZERO, &[]).is_lost());
    }
}

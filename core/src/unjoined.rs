//! The places of connections that have not joined yet, and who may have how many of them.
//!
//! While many places are free, everybody gets one: a whole company connects from one address. When
//! places are short, no network may have more of them than are free. So one network never has more
//! than half of the places, two together never more than two thirds: `k` networks that take all they
//! can leave one part in `k + 1` free for all others.

use std::collections::HashMap;

/// A network whose connections count together: a /24 of IPv4, or a /48 of IPv6. Most customers of a
/// provider have a /56 or a /64, but a site may have a /48, and anybody gets one from a tunnel broker:
/// these are 256 networks of the size of a /56.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceNetwork([u8; 8]);

impl SourceNetwork {
    /// Returns the network of an IPv6 address, or of an IPv4 address in its mapped form
    /// (`::ffff:192.0.2.1`).
    pub fn of(address: [u8; 16]) -> Self {
        match address {
            // No other address of the internet begins with these bytes.
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, _] => {
                Self([0xff, 0xff, 0, 0, 0, a, b, c])
            }
            [a, b, c, d, e, f, ..] => Self([a, b, c, d, e, f, 0, 0]),
        }
    }
}

/// The places of the connections that have not joined.
#[derive(Debug)]
pub struct UnjoinedPlaces {
    capacity: usize,
    taken: usize,
    /// Number of places by network.
    networks: HashMap<SourceNetwork, usize>,
}

/// Why a connection gets no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// All places are taken.
    Full,
    /// Places are short, and the network has its share.
    NetworkShare,
}

impl UnjoinedPlaces {
    /// Creates places that are all free.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, taken: 0, networks: HashMap::new() }
    }

    /// Returns whether more than half of the places are taken. Then a client must prove its address
    /// before it gets one.
    pub fn are_short(&self) -> bool {
        self.free() < self.capacity / 2
    }

    /// Takes a place for a connection from `network`.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn take(&mut self, network: SourceNetwork) -> Result<(), NoPlace> {
        let free = self.free();
        if free == 0 {
            return Err(NoPlace::Full);
        }
        let own = self.networks.get(&network).copied().unwrap_or(0);
        if own >= free && self.are_short() {
            return Err(NoPlace::NetworkShare);
        }
        self.taken += 1;
        self.networks.insert(network, own + 1);
        Ok(())
    }

    /// Gives a place back.
    pub fn release(&mut self, network: SourceNetwork) {
        let Some(own) = self.networks.get_mut(&network) else { return };
        self.taken = self.taken.saturating_sub(1);
        *own -= 1;
        if *own == 0 {
            self.networks.remove(&network);
        }
    }

    /// Returns the number of taken places.
    pub fn taken(&self) -> usize {
        self.taken
    }

    fn free(&self) -> usize {
        self.capacity.saturating_sub(self.taken)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    /// The network of an IPv4 address.
    fn v4(a: u8, b: u8, c: u8, d: u8) -> SourceNetwork {
        SourceNetwork::of([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d])
    }

    /// The network of an IPv6 address in `2001:db8::/32`.
    fn v6(third: u16, fourth: u16) -> SourceNetwork {
        SourceNetwork::of(Ipv6Addr::new(0x2001, 0xdb8, third, fourth, 0, 0, 0, 1).octets())
    }

    #[test]
    fn a_network_is_what_one_site_has() {
        assert_eq!(v4(192, 0, 2, 1), v4(192, 0, 2, 255));
        assert_ne!(v4(192, 0, 2, 1), v4(192, 0, 3, 1));
        assert_eq!(v6(1, 0), v6(1, 0xffff));
        assert_ne!(v6(1, 0), v6(2, 0));
        assert_ne!(v6(0, 0), v4(192, 0, 2, 1));
    }

    /// All networks of the size of a /56 or less in one /48 are one network.
    #[test]
    fn a_site_does_not_get_more_by_many_prefixes() {
        let mut places = UnjoinedPlaces::new(4_096);
        for n in 0..=u16::MAX {
            let _share = places.take(v6(1, n));
        }
        assert!(places.taken() <= 2_050, "{}", places.taken());
        assert_eq!(places.take(v6(2, 0)), Ok(()));
    }

    /// The formula of docs/LIMITS.md.
    #[test]
    fn so_many_networks_leave_one_part_more() {
        for (networks, free) in [(1, 2_048), (2, 1_365), (10, 372), (100, 40), (1_000, 4)] {
            let mut places = UnjoinedPlaces::new(4_096);
            for _ in 0..4_096 {
                for n in 0..networks {
                    let _share = places.take(v6(n, 0));
                }
            }
            let left: usize = 4_096 - places.taken();
            assert!(left.abs_diff(free) <= 2, "{networks} networks leave {left}");
        }
    }

    /// One network takes all it can, as a host does that never joins. Others still find places.
    #[test]
    fn one_network_leaves_half_of_the_places() {
        let mut places = UnjoinedPlaces::new(4_096);
        let (greedy, honest) = (v4(192, 0, 2, 1), v4(198, 51, 100, 1));
        let taken = (0..10_000).filter(|_| places.take(greedy).is_ok()).count();
        assert!((2_048..=2_050).contains(&taken), "{taken}");
        assert_eq!(places.take(greedy), Err(NoPlace::NetworkShare));
        for _ in 0..1_000 {
            assert_eq!(places.take(honest), Ok(()));
        }
        for third in 0..200_u8 {
            assert_eq!(places.take(v4(203, 0, third, 1)), Ok(()), "{third}");
        }
    }

    /// A thousand networks that never join cannot lock out one more.
    #[test]
    fn many_networks_leave_a_place_as_well() {
        let mut places = UnjoinedPlaces::new(4_096);
        for _ in 0..100 {
            for n in 0..1_000_u16 {
                let [high, low] = n.to_be_bytes();
                let _share = places.take(v4(10, high, low, 1));
            }
        }
        assert_eq!(places.take(v4(198, 51, 100, 1)), Ok(()));
    }

    #[test]
    fn a_company_behind_one_address_joins_while_places_are_free() {
        let mut places = UnjoinedPlaces::new(4_096);
        for _ in 0..2_000 {
            assert_eq!(places.take(v4(192, 0, 2, 1)), Ok(()));
        }
        assert!(!places.are_short());
    }

    #[test]
    fn places_come_back() {
        let mut places = UnjoinedPlaces::new(3);
        let networks = [v4(192, 0, 2, 1), v4(198, 51, 100, 1), v4(203, 0, 113, 1)];
        for one in networks {
            assert_eq!(places.take(one), Ok(()));
        }
        assert_eq!(places.take(v4(10, 0, 0, 1)), Err(NoPlace::Full));
        networks.into_iter().for_each(|one| places.release(one));
        assert_eq!(places.taken(), 0);
        places.release(networks[0]);
        assert!(places.networks.is_empty() && places.taken() == 0, "released twice");
    }
}

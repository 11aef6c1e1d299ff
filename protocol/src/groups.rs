//! Groups: numbers that peers of a room subscribe to. A peer may send to a group without
//! subscribing to it.

/// Number of groups in a room. Each group has a target on the realtime plane
/// ([`crate::realtime::TARGET_GROUPS`]); sixteen targets are reserved.
pub const GROUPS: u8 = 240;
/// Bytes of a [`GroupSet`].
pub const GROUP_BYTES: usize = GROUPS as usize / 8;

/// A group's number, 0 to 239.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(u8);

impl Group {
    /// Returns the group with this number, or `None` above 239.
    pub const fn new(number: u8) -> Option<Self> {
        if number < GROUPS { Some(Self(number)) } else { None }
    }

    /// Returns the group's number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// The groups that a peer subscribes to: group `g` is bit `g % 8` of byte `g / 8`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupSet(pub [u8; GROUP_BYTES]);

impl GroupSet {
    /// Returns whether the set contains the group.
    #[inline]
    pub const fn contains(&self, group: Group) -> bool {
        self.0[(group.0 / 8) as usize] & (1 << (group.0 % 8)) != 0
    }

    /// Adds the group.
    pub const fn insert(&mut self, group: Group) {
        self.0[(group.0 / 8) as usize] |= 1 << (group.0 % 8);
    }

    /// Returns whether the set contains no group.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; GROUP_BYTES]
    }
}

impl FromIterator<Group> for GroupSet {
    fn from_iter<I: IntoIterator<Item = Group>>(groups: I) -> Self {
        let mut set = Self::default();
        groups.into_iter().for_each(|group| set.insert(group));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_has_a_bit_of_its_own() {
        assert_eq!(Group::new(240), None);
        let groups = || (0..GROUPS).filter_map(Group::new);
        for one in groups() {
            let set: GroupSet = [one].into_iter().collect();
            assert!(groups().all(|other| set.contains(other) == (one == other)));
        }
        assert!(GroupSet::default().is_empty());
        assert_eq!(groups().collect::<GroupSet>(), GroupSet([0xff; GROUP_BYTES]));
    }
}

//! Features: the parts of the protocol that an end may lack. Each end says in `Hello` or `Welcome`
//! which features it has. A message of a feature that one end lacks is never sent.

use super::Schema;

/// A set of features. On the wire it is a bit set: feature f is bit f modulo 8 of byte f / 8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(u64);

/// Most bytes of a bit set on the wire. Bits beyond the first 64 belong to later versions, and are
/// ignored.
pub const MAX_FEATURE_BYTES: usize = 32;

impl Features {
    /// No feature.
    pub const NONE: Features = Features(0);
    /// The shared state: requests to change it, and the state stream.
    pub const STATE: Features = Features(1);
    /// Messages that only inform: `Throttled` and `Audit`.
    pub const NOTICES: Features = Features(1 << 1);
    /// Fresh tokens in mid-session: `Renew`, `Renewed` and `TokenWanted`.
    pub const RENEW: Features = Features(1 << 2);
    /// Reserved: `Moved`, which sends a client to another server in mid-session.
    pub const MOVED: Features = Features(1 << 3);
    /// Reserved: `SettingsUpdate`.
    pub const SETTINGS: Features = Features(1 << 4);
    /// Reserved: `Probe` and `ProbeGrant`, which test the realtime port without a join.
    pub const PROBE: Features = Features(1 << 5);
    /// Every feature that this code has.
    pub const SUPPORTED: Features = Features(Self::STATE.0 | Self::NOTICES.0 | Self::RENEW.0);

    /// Returns the features that are in both sets.
    pub const fn common(self, other: Features) -> Features {
        Features(self.0 & other.0)
    }

    /// Returns the features that are in either set.
    pub const fn with(self, other: Features) -> Features {
        Features(self.0 | other.0)
    }

    /// Returns this set without the features of `other`.
    pub const fn without(self, other: Features) -> Features {
        Features(self.0 & !other.0)
    }

    /// Returns whether all features of `other` are in this set.
    pub const fn contains(self, other: Features) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns the features that both ends must have before a message of this schema is sent.
    pub const fn needed_for(schema: Schema) -> Features {
        match schema {
            Schema::StateRequest | Schema::StateSnapshot | Schema::StateUpdate => Self::STATE,
            Schema::Throttled | Schema::Audit => Self::NOTICES,
            Schema::Renew | Schema::Renewed | Schema::TokenWanted => Self::RENEW,
            Schema::Moved => Self::MOVED,
            Schema::SettingsUpdate => Self::SETTINGS,
            Schema::Probe | Schema::ProbeGrant => Self::PROBE,
            _ => Self::NONE,
        }
    }

    /// Reads a bit set of a client. Ignores features beyond the first 64. `None`: the set has more
    /// than [`MAX_FEATURE_BYTES`] bytes.
    pub fn parse(bytes: &[u8]) -> Option<Features> {
        (bytes.len() <= MAX_FEATURE_BYTES).then(|| Self::parse_any(bytes))
    }

    /// Reads a bit set of a server, of any length. Ignores features beyond the first 64.
    pub fn parse_any(bytes: &[u8]) -> Features {
        let mut bits = [0; 8];
        bits.iter_mut().zip(bytes).for_each(|(bit, byte)| *bit = *byte);
        Features(u64::from_le_bytes(bits))
    }

    /// Returns the bit set without the zero bytes at its end.
    pub fn to_bytes(self) -> Vec<u8> {
        let used = 8 - self.0.leading_zeros() as usize / 8;
        self.0.to_le_bytes()[..used].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_come_back() {
        for bits in [0, 1, 0x80, 0x100, 7, u64::MAX] {
            assert_eq!(Features::parse(&Features(bits).to_bytes()), Some(Features(bits)));
        }
        assert_eq!(Features::NONE.to_bytes(), [0; 0]);
        assert_eq!(Features::SUPPORTED.to_bytes(), [7]);
    }

    #[test]
    fn later_features_are_ignored_and_too_many_bytes_refused() {
        assert_eq!(Features::parse(&[7; MAX_FEATURE_BYTES]), Some(Features(0x0707_0707_0707_0707)));
        assert_eq!(Features::parse(&[0; MAX_FEATURE_BYTES + 1]), None);
    }

    #[test]
    fn common_features_are_those_of_both() {
        let (a, b) = (Features::SUPPORTED, Features::SUPPORTED.without(Features::STATE));
        let common = a.common(b);
        assert!(!common.contains(Features::STATE) && common.contains(Features::RENEW));
        assert!(common.contains(Features::needed_for(Schema::EventUp)));
        assert!(!common.contains(Features::needed_for(Schema::StateUpdate)));
    }
}

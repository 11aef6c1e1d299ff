//! Failed attempts to sign in, gathered for the audit, so that strangers cannot fill its table.

use std::collections::HashMap;

/// Most pairs of a person and a network that are counted apart until the next entries.
const MAX_PAIRS: usize = 256;
/// Most entries at a time, one for all others included: with five minutes between them, a year of constant
/// attacks makes 840,000, as many as a busy server's other acts.
const ENTRIES: usize = 8;

/// Attempts of one network upon one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInFailures {
    /// The id of the person whose email address was tried; `None`: nobody's, or of several.
    pub person: Option<String>,
    /// The id of the person's tenant.
    pub tenant: Option<String>,
    /// From where the attempts came; empty: from several networks.
    pub network: String,
    /// How many attempts there were.
    pub count: u64,
}

/// The failed attempts since the last entries.
#[derive(Debug, Default)]
pub struct FailedSignIns {
    pairs: HashMap<(Option<String>, String), (Option<String>, u64)>,
    /// Attempts of further pairs.
    others: u64,
}

impl FailedSignIns {
    /// Counts a failed attempt upon a person of a tenant; `None`: upon nobody.
    pub fn add(&mut self, person: Option<&str>, tenant: Option<&str>, network: &str) {
        let key = (person.map(str::to_owned), network.to_owned());
        if self.pairs.len() >= MAX_PAIRS && !self.pairs.contains_key(&key) {
            self.others = self.others.saturating_add(1);
            return;
        }
        let (_, count) = self.pairs.entry(key).or_insert((tenant.map(str::to_owned), 0));
        *count = count.saturating_add(1);
    }

    /// Returns what the audit is to say: the pairs with the most attempts, and the sum of all others.
    /// Nothing is counted twice.
    pub fn take(&mut self) -> Vec<SignInFailures> {
        let others = std::mem::take(&mut self.others);
        let pairs = std::mem::take(&mut self.pairs).into_iter();
        let mut entries: Vec<_> = pairs
            .map(|((person, network), (tenant, count))| SignInFailures {
                person,
                tenant,
                network,
                count,
            })
            .collect();
        // Those upon a person come first: they tell more.
        entries.sort_by(|a, b| {
            let rank = |of: &SignInFailures| (of.person.is_none(), std::cmp::Reverse(of.count));
            rank(a).cmp(&rank(b)).then_with(|| a.network.cmp(&b.network))
        });
        let most = if entries.len() > ENTRIES || others > 0 { ENTRIES - 1 } else { ENTRIES };
        let rest = entries.split_off(most.min(entries.len()));
        let count = rest.iter().map(|entry| entry.count).fold(others, u64::saturating_add);
        if count > 0 {
            let network = String::new();
            entries.push(SignInFailures { person: None, tenant: None, network, count });
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_attempts_make_few_entries_and_none_is_lost() {
        let mut failed = FailedSignIns::default();
        assert_eq!(failed.take(), []);
        for number in 0..10_000 {
            failed.add(None, None, &format!("network {}", number % 1_000));
        }
        for _ in 0..3 {
            failed.add(Some("ada"), Some("acme"), "192.0.2.1");
        }
        let entries = failed.take();
        assert_eq!(entries.len(), ENTRIES);
        assert_eq!(entries.iter().map(|entry| entry.count).sum::<u64>(), 10_003);
        assert_eq!(failed.take(), [], "they are taken once");
        failed.add(Some("ada"), Some("acme"), "192.0.2.1");
        failed.add(None, None, "192.0.2.2");
        failed.add(None, None, "192.0.2.2");
        let entries = failed.take();
        assert_eq!(entries[0].person.as_deref(), Some("ada"));
        assert_eq!((entries[0].count, entries[1].count), (1, 2));
        assert_eq!((entries.len(), entries[0].tenant.as_deref()), (2, Some("acme")));
    }
}

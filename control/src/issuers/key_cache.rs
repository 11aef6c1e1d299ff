//! The keys that issuers publish: when they are fetched, and how long they hold. The time is passed in.

use std::collections::HashMap;
use std::time::Duration;

use nucleus_core::rate::{Bucket, Rate};
use nucleus_protocol::time::Time;
use nucleus_tokens::{PublishedKey, read_jwks};

use crate::store::IssuerWithKeys;
use crate::timestamp::Timestamp;

/// How often keys are fetched. From then on, a key that its issuer has removed verifies no longer.
const EVERY: Duration = Duration::from_secs(600);
/// The first pause after a failed fetch. Each further failure doubles it, up to `EVERY`.
const RETRY: Duration = Duration::from_secs(15);
/// Age at which keys are void: a day, so that a broken web server can be mended.
const VOID_AFTER: Duration = Duration::from_secs(86_400);
/// What a fetch costs that a token with an unknown key causes. Anybody can send such tokens.
const REQUESTED_FETCH: u64 = 30;
/// An issuer's budget for such fetches: four at once, and then one in 30 s.
const REQUESTED_RATE: Rate = Rate { per_second: 1, burst: 4 * REQUESTED_FETCH };

/// The time, twice: only the age of keys in the database depends on a clock that can be set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// The time of day.
    pub(super) wall: Timestamp,
    /// The time since some start.
    pub(super) steady: Time,
}

/// An address of keys, and what it gave.
struct IssuerEntry {
    tenant: String,
    url: String,
    keys: Vec<PublishedKey>,
    /// When the keys were fetched.
    fetched_at: Option<Timestamp>,
    /// When the keys become void.
    void_at: Time,
    /// When the next fetch is due.
    next: Time,
    failures: u32,
    is_fetching: bool,
    requests: Bucket,
}

/// A fetch to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DueFetch {
    /// The issuer's id.
    pub(super) id: String,
    pub(super) url: String,
}

/// The published keys of all issuers.
#[derive(Default)]
pub(super) struct KeyCache(HashMap<String, IssuerEntry>);

impl KeyCache {
    /// Takes over the issuers of the database, with the keys that they have there.
    pub(super) fn follow(&mut self, issuers: &[IssuerWithKeys], now: Now) {
        let mut before = std::mem::take(&mut self.0);
        for (issuer, keys) in issuers {
            let Some(url) = &issuer.jwks_url else { continue };
            let kept = before.remove(&issuer.id).filter(|kept| kept.url == *url);
            let mut entry = kept.unwrap_or_else(|| IssuerEntry {
                tenant: issuer.tenant.clone(),
                url: url.clone(),
                keys: Vec::new(),
                fetched_at: None,
                void_at: now.steady,
                next: now.steady,
                failures: 0,
                is_fetching: false,
                requests: Bucket::new(now.steady, REQUESTED_RATE),
            });
            // Perhaps another server of the same database has fetched them since.
            if let Some(set) = keys
                && issuer.keys_at > entry.fetched_at
                && let Some(fetched_at) = issuer.keys_at
                && let Ok(read) = read_jwks(set.as_bytes())
            {
                // A time that is still to come was noted by a clock that was ahead.
                let age = now.wall.micros().saturating_sub(fetched_at.micros()).max(0);
                let age = Duration::from_micros(age.unsigned_abs());
                entry.keys = read.keys;
                entry.fetched_at = Some(fetched_at);
                entry.void_at = now.steady + VOID_AFTER.saturating_sub(age);
            }
            self.0.insert(issuer.id.clone(), entry);
        }
    }

    /// Returns the fetches that are due, and counts them as begun.
    pub(super) fn due(&mut self, now: Now) -> Vec<DueFetch> {
        self.begin(|entry| entry.next <= now.steady)
    }

    /// Returns the fetches for a token of a tenant that names an unknown key, and counts them as begun.
    /// None if the tenant has had its share.
    pub(super) fn requested(&mut self, tenant: &str, now: Now) -> Vec<DueFetch> {
        self.begin(|entry| {
            let is_wanted =
                entry.tenant == tenant && entry.requests.available(now.steady) >= REQUESTED_FETCH;
            entry.requests.take(if is_wanted { REQUESTED_FETCH } else { 0 });
            is_wanted
        })
    }

    fn begin(&mut self, mut wanted: impl FnMut(&mut IssuerEntry) -> bool) -> Vec<DueFetch> {
        let mut fetches = Vec::new();
        for (id, entry) in &mut self.0 {
            if !entry.is_fetching && wanted(entry) {
                entry.is_fetching = true;
                fetches.push(DueFetch { id: id.clone(), url: entry.url.clone() });
            }
        }
        fetches
    }

    /// Returns the ids of a tenant's issuers whose keys are being fetched.
    pub(super) fn being_fetched(&self, tenant: &str) -> Vec<String> {
        let of_tenant = |(id, entry): (&String, &IssuerEntry)| {
            (entry.is_fetching && entry.tenant == tenant).then(|| id.clone())
        };
        self.0.iter().filter_map(of_tenant).collect()
    }

    /// Notes what a fetch gave; `None`: it failed. Returns whether it is the first failure in a row.
    pub(super) fn fetched(&mut self, id: &str, keys: Option<Vec<PublishedKey>>, now: Now) -> bool {
        let Some(entry) = self.0.get_mut(id) else { return false };
        entry.is_fetching = false;
        match keys {
            Some(keys) => {
                entry.keys = keys;
                entry.fetched_at = Some(now.wall);
                entry.void_at = now.steady + VOID_AFTER;
                entry.failures = 0;
                entry.next = now.steady + EVERY;
            }
            None => {
                let pause = RETRY * (1 << entry.failures.min(10));
                entry.next = now.steady + pause.min(EVERY);
                entry.failures = entry.failures.saturating_add(1);
            }
        }
        entry.failures == 1
    }

    /// Returns the keys of an issuer that hold at `now`.
    pub(super) fn keys(&self, id: &str, now: Now) -> &[PublishedKey] {
        let entry = self.0.get(id).filter(|entry| now.steady < entry.void_at);
        entry.map_or(&[], |entry| &entry.keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Issuer;

    const HOUR: u64 = 3_600;

    fn issuer(id: &str, tenant: &str) -> IssuerWithKeys {
        let issuer = Issuer {
            id: id.to_owned(),
            tenant: tenant.to_owned(),
            name: id.to_owned(),
            algorithm: None,
            kid: None,
            public_key: None,
            jwks_url: Some(format!("https://{tenant}.example/keys")),
            audience: None,
            keys_at: None,
            created_at: Timestamp::from_micros(0),
        };
        (issuer, None)
    }

    fn at(seconds: u64) -> Now {
        Now {
            wall: Timestamp::from_seconds(1_800_000_000 + seconds),
            steady: Time::from_micros(seconds * 1_000_000),
        }
    }

    fn keys() -> Option<Vec<PublishedKey>> {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let algorithm = nucleus_tokens::TokenAlgorithm::EdDSA;
        let pem = pair.public_key_pem();
        let key =
            nucleus_tokens::VerificationKey::from_public_pem(algorithm, pem.as_bytes()).unwrap();
        Some(vec![PublishedKey { id: Some("a".to_owned()), key }])
    }

    fn cache() -> KeyCache {
        let mut cache = KeyCache::default();
        cache.follow(&[issuer("1", "acme"), issuer("2", "other")], at(0));
        cache
    }

    #[test]
    fn keys_are_fetched_every_ten_minutes_and_hold_for_a_day_without_an_answer() {
        let mut cache = cache();
        assert_eq!(cache.due(at(0)).len(), 2);
        assert_eq!(cache.due(at(0)), [], "they are under way");
        for id in ["1", "2"] {
            assert!(!cache.fetched(id, keys(), at(1)));
        }
        let mut tries = 0;
        for second in 1..=25 * HOUR {
            for fetch in cache.due(at(second)) {
                tries += 1;
                // The one is down for the whole day.
                let answer = if fetch.id == "2" { keys() } else { None };
                cache.fetched(&fetch.id, answer, at(second));
            }
            let holds = second - 1 < 24 * HOUR;
            assert_eq!(cache.keys("1", at(second)).len(), usize::from(holds), "{second} s");
            assert_eq!(cache.keys("2", at(second)).len(), 1);
        }
        assert!((290..310).contains(&tries), "{tries}");
    }

    #[test]
    fn the_first_of_several_failures_is_told() {
        let mut cache = cache();
        cache.due(at(0));
        let told = [None, None, keys(), None].map(|answer| cache.fetched("1", answer, at(1)));
        assert_eq!(told, [true, false, false, true]);
    }

    #[test]
    fn unknown_keys_cause_few_fetches_and_only_of_their_tenant() {
        let mut cache = cache();
        for due in cache.due(at(0)) {
            cache.fetched(&due.id, keys(), at(0));
        }
        let mut count = 0;
        for second in 1..=300 {
            for _ in 0..100 {
                for fetch in cache.requested("acme", at(second)) {
                    assert_eq!(fetch.id, "1");
                    cache.fetched(&fetch.id, None, at(second));
                    count += 1;
                }
            }
        }
        assert_eq!(count, 4 + 300 / 30 - 1);
        assert_eq!(cache.requested("nobody", at(300)), []);
    }

    #[test]
    fn a_clock_that_is_set_stops_no_fetch() {
        let mut cache = cache();
        cache.due(at(0));
        cache.fetched("1", keys(), at(20 * HOUR));
        let back = Now { wall: at(0).wall, steady: at(20 * HOUR + 600).steady };
        assert_eq!(cache.due(back).len(), 1);
        assert_eq!(cache.keys("1", back).len(), 1);
    }

    /// Keys of the database, from a server that has fetched them at another time by another clock.
    #[test]
    fn keys_of_the_database_hold_for_the_rest_of_their_day() {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let raw = rcgen::PublicKeyData::der_bytes(&pair);
        let x = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, raw);
        let set = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}]}}"#);
        for (hours, rest) in [(-10, 24), (0, 24), (20, 4), (24, 0), (1_000, 0)] {
            let (mut row, _) = issuer("1", "acme");
            let micros = at(0).wall.micros() - hours * 3_600_000_000;
            row.keys_at = Some(Timestamp::from_micros(micros));
            let mut cache = KeyCache::default();
            cache.follow(&[(row, Some(set.clone()))], at(0));
            let holds = |second| cache.keys("1", at(second)).len() == 1;
            assert_eq!(holds(0), rest > 0, "{hours} h old");
            if rest > 0 {
                assert!(holds(rest * HOUR - 1) && !holds(rest * HOUR), "{hours} h old");
            }
        }
    }

    #[test]
    fn an_issuer_that_withdraws_its_keys_has_none() {
        let mut cache = cache();
        cache.due(at(0));
        cache.fetched("1", keys(), at(0));
        assert_eq!(cache.keys("1", at(1)).len(), 1);
        cache.fetched("1", Some(Vec::new()), at(2));
        assert_eq!(cache.keys("1", at(2)).len(), 0);
    }

    #[test]
    fn an_issuer_that_moves_or_goes_loses_its_keys() {
        let mut cache = cache();
        cache.due(at(0));
        cache.fetched("1", keys(), at(0));
        let (mut moved, _) = issuer("1", "acme");
        moved.jwks_url = Some("https://new.example/keys".to_owned());
        cache.follow(&[(moved, None)], at(1));
        assert_eq!(cache.keys("1", at(1)).len(), 0);
        assert_eq!(cache.due(at(1)).len(), 1);
        cache.follow(&[], at(2));
        assert!(!cache.fetched("1", keys(), at(2)), "the answer comes too late");
    }
}

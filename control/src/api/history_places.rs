//! Places of requests that read the history.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// Requests at a time that read the history. One may read many rows, and two connections of four stay for
/// everything else.
const PLACES: usize = 2;
/// Those of one tenant, with those that wait behind the others: a tenant whose readers ask for much leaves a
/// place for others, and they do not wait behind all its requests.
const PLACES_OF_TENANT: usize = 1;
/// Longest wait for such a place: a reader of a page tries again after longer ones.
const WAIT: Duration = Duration::from_millis(1_500);

/// The places.
#[derive(Debug)]
pub(super) struct HistoryPlaces {
    all: Semaphore,
    /// The share of each tenant whose requests have a place or wait for one.
    shares: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// A place. It is free again when this is dropped.
pub(super) struct HistoryPlace<'a> {
    _place: SemaphorePermit<'a>,
    _share: Option<OwnedSemaphorePermit>,
}

impl Default for HistoryPlaces {
    fn default() -> Self {
        Self { all: Semaphore::new(PLACES), shares: Mutex::default() }
    }
}

impl HistoryPlaces {
    /// Takes a place for a caller of a tenant, or of the whole server. Waits for at most [`WAIT`]; `None`: none has
    /// become free.
    pub(super) async fn take(&self, tenant: Option<&str>) -> Option<HistoryPlace<'_>> {
        timeout(WAIT, self.wait(tenant)).await.ok().flatten()
    }

    async fn wait(&self, tenant: Option<&str>) -> Option<HistoryPlace<'_>> {
        // First the share: requests that wait for it are in nobody else's way.
        let share = match tenant {
            Some(tenant) => Some(self.share(tenant).acquire_owned().await.ok()?),
            None => None,
        };
        let place = self.all.acquire().await.ok()?;
        Some(HistoryPlace { _place: place, _share: share })
    }

    fn share(&self, tenant: &str) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(tenant).and_then(Weak::upgrade) {
            return share;
        }
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(PLACES_OF_TENANT));
        shares.insert(tenant.to_owned(), Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tenant_that_asks_for_much_leaves_a_place_for_others() {
        let places = Arc::new(HistoryPlaces::default());
        let first = places.take(Some("acme")).await.unwrap();
        // Many more requests of the tenant wait.
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let places = places.clone();
                tokio::spawn(async move { places.take(Some("acme")).await.is_some() })
            })
            .collect();
        tokio::task::yield_now().await;
        let beta = timeout(Duration::from_millis(1), places.take(Some("beta"))).await;
        let beta = beta.expect("no wait").expect("a place");
        assert!(places.take(Some("cleo")).await.is_none(), "both places are taken");
        drop(beta);
        let cleo = timeout(Duration::from_millis(1), places.take(Some("cleo"))).await;
        assert!(cleo.expect("no wait").is_some());
        for waited in waiting {
            assert!(!waited.await.unwrap(), "the tenant has its share");
        }
        drop(first);
        assert!(places.take(Some("acme")).await.is_some());
        let whole = [places.take(None).await, places.take(None).await];
        assert!(whole.iter().all(Option::is_some), "a reader of the whole server has both");
        drop(whole);
        drop(places.take(Some("dora")).await);
        assert_eq!(places.shares.lock().unwrap().len(), 1, "shares that nobody uses are forgotten");
    }
}

//! The places of streams: how many there may be, and whose.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nucleus_core::limits::{STREAMS, STREAMS_OF_OPERATORS, STREAMS_OF_TENANT, STREAMS_OF_TENANTS};

/// The streams that there are, by the id of their tenant; those of keys of the whole server under `None`.
#[derive(Debug, Default)]
pub(crate) struct StreamPlaces(Mutex<HashMap<Option<String>, usize>>);

/// The place of one stream, until it is dropped.
#[derive(Debug)]
pub(crate) struct StreamPlace {
    places: Arc<StreamPlaces>,
    tenant: Option<String>,
}

impl StreamPlaces {
    /// Takes a place for a key of a tenant, or of the whole server.
    ///
    /// # Errors
    ///
    /// Which limit is reached, for a person.
    pub(crate) fn take(self: &Arc<Self>, tenant: Option<&str>) -> Result<StreamPlace, String> {
        let tenant = tenant.map(str::to_owned);
        let mut places = self.places();
        let own = places.get(&tenant).copied().unwrap_or(0);
        let all: usize = places.values().sum();
        let of_operators = places.get(&None).copied().unwrap_or(0);
        let (most, whose) = match tenant {
            Some(_) => (STREAMS_OF_TENANT, "a tenant"),
            None => (STREAMS_OF_OPERATORS, "keys of the whole server"),
        };
        if own >= most {
            return Err(format!("{whose} may have {most} streams at a time"));
        }
        let tenants_are_full = tenant.is_some() && all - of_operators >= STREAMS_OF_TENANTS;
        if all >= STREAMS || tenants_are_full {
            return Err(format!("the server has {STREAMS} streams at a time, and all are taken"));
        }
        places.insert(tenant.clone(), own + 1);
        Ok(StreamPlace { places: self.clone(), tenant })
    }

    fn places(&self) -> MutexGuard<'_, HashMap<Option<String>, usize>> {
        // No code panics while it holds the lock, so a poisoned lock is still consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut places = self.places.places();
        if let Some(count) = places.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                places.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_all_places() {
        let places = Arc::new(StreamPlaces::default());
        let take = |whose: Option<&str>| places.take(whose);
        let of_one: Vec<_> = (0..STREAMS_OF_TENANT).map(|_| take(Some("a")).unwrap()).collect();
        assert!(take(Some("a")).unwrap_err().contains("16 streams"));
        let mut of_tenants = Vec::new();
        for number in 0..STREAMS_OF_TENANTS - STREAMS_OF_TENANT {
            of_tenants.push(take(Some(&format!("tenant {number}"))).unwrap());
        }
        assert!(take(Some("late")).is_err(), "the rest is for the operator");
        let rest = STREAMS - STREAMS_OF_TENANTS;
        let of_operator: Vec<_> = (0..rest).map(|_| take(None).unwrap()).collect();
        assert!(take(None).is_err());
        drop(of_one);
        assert!(take(Some("a")).is_ok());
        let more: Vec<_> = (rest..STREAMS_OF_OPERATORS).filter_map(|_| take(None).ok()).collect();
        assert_eq!(more.len(), STREAMS_OF_OPERATORS - rest);
        assert!(take(None).is_err() && take(Some("a")).is_err());
        drop((of_tenants, of_operator, more));
        assert!(places.places().is_empty());
    }
}

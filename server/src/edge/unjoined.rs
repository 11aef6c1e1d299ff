//! The places of connections that have not joined, shared by the accept loops.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nucleus_core::unjoined::{NoPlace, SourceNetwork, UnjoinedPlaces};

/// The places of connections that have not joined.
pub struct Unjoined(Mutex<UnjoinedPlaces>);

impl Unjoined {
    /// Creates places that are all free.
    pub fn new(capacity: u32) -> Arc<Self> {
        Arc::new(Self(Mutex::new(UnjoinedPlaces::new(capacity as usize))))
    }

    /// Returns whether more than half of the places are taken.
    pub(super) fn are_short(&self) -> bool {
        self.places().are_short()
    }

    /// Takes a place for a connection from `address`.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Result<UnjoinedPlace, NoPlace> {
        let v6 = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let network = SourceNetwork::of(v6.octets());
        self.places().take(network)?;
        Ok(UnjoinedPlace { unjoined: self.clone(), network })
    }

    /// Returns the number of taken places.
    pub fn taken(&self) -> usize {
        self.places().taken()
    }

    fn places(&self) -> MutexGuard<'_, UnjoinedPlaces> {
        // No code panics while it holds the lock, so a poisoned lock is still consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection. It is free again when this is dropped.
pub(super) struct UnjoinedPlace {
    unjoined: Arc<Unjoined>,
    network: SourceNetwork,
}

impl Drop for UnjoinedPlace {
    fn drop(&mut self) {
        self.unjoined.places().release(self.network);
    }
}

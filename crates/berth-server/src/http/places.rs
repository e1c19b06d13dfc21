//! Places for connections: so many in all, and of these so many for each address, so that one peer alone cannot take
//! them all.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ConnectionLimits;

type ByAddress = Mutex<BTreeMap<IpAddr, usize>>;

/// The places.
#[derive(Debug)]
pub struct Places {
    free: Arc<Semaphore>,
    by_address: Arc<ByAddress>,
    per_address: usize,
}

/// A connection's place, given back when dropped.
#[derive(Debug)]
pub struct Place {
    address: IpAddr,
    by_address: Arc<ByAddress>,
    /// None while all places are taken.
    permit: Option<OwnedSemaphorePermit>,
}

impl Places {
    /// As many as the limits say.
    pub fn new(limits: &ConnectionLimits) -> Places {
        let free = Arc::new(Semaphore::new(limits.total));
        Places { free, by_address: Arc::default(), per_address: limits.per_address }
    }

    /// Waits for a place. None: the address has as many as it may have.
    pub async fn take(&self, address: IpAddr) -> Option<Place> {
        let mut place = self.count(address)?;
        place.permit = Some(self.free.clone().acquire_owned().await.expect("the places are never closed"));
        Some(place)
    }

    fn count(&self, address: IpAddr) -> Option<Place> {
        let mut by_address = lock(&self.by_address);
        let count = by_address.entry(address).or_default();
        if *count >= self.per_address {
            return None;
        }
        *count += 1;
        if *count == self.per_address {
            tracing::warn!(%address, connections = *count, "an address has all of its connections; more are closed");
        }
        Some(Place { address, by_address: self.by_address.clone(), permit: None })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_address = lock(&self.by_address);
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

fn lock(by_address: &ByAddress) -> std::sync::MutexGuard<'_, BTreeMap<IpAddr, usize>> {
    by_address.lock().expect("nothing panics while it counts")
}

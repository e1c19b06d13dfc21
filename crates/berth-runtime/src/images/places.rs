//! Places for work on images, shared out so that one registry cannot take them all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Sources that may use all their places before others have to wait for them.
const SOURCES: usize = 4;

/// Places of one kind of work.
pub(super) struct Places {
    all: Arc<Semaphore>,
    each: usize,
    /// Those of each source that somebody works with or waits for.
    sources: Mutex<BTreeMap<String, Weak<Semaphore>>>,
}

/// A place that is taken, until this goes.
pub(super) struct Place {
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

impl Places {
    /// `each` places for every source.
    pub(super) fn new(each: usize) -> Places {
        let each = each.max(1);
        Places { all: Arc::new(Semaphore::new(each.saturating_mul(SOURCES))), each, sources: Mutex::default() }
    }

    /// Waits for a place to work with `source`. Whoever waits for their own source holds nobody up.
    pub(super) async fn take(&self, source: &str) -> Place {
        let never = "the semaphore is never closed";
        let own = self.of(source).acquire_owned().await.expect(never);
        let all = Arc::clone(&self.all).acquire_owned().await.expect(never);
        Place { _all: all, _own: own }
    }

    fn of(&self, source: &str) -> Arc<Semaphore> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.retain(|_, places| places.strong_count() > 0);
        if let Some(places) = sources.get(source).and_then(Weak::upgrade) {
            return places;
        }
        let places = Arc::new(Semaphore::new(self.each));
        sources.insert(source.to_owned(), Arc::downgrade(&places));
        places
    }
}

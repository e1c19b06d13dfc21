//! The server's clock, passed in, so that a test or a lab can shift it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use berth_model::Timestamp;

/// A clock that never steps back by itself: the system's time when it was made, and the time that has passed since.
///
/// Steps of the system's clock while the server runs are not followed, since deadlines that jump help nobody. Clones
/// share one shift.
#[derive(Clone, Debug)]
pub struct Clock {
    began: Instant,
    began_ms: u64,
    shift_ms: Arc<AtomicI64>,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Clock {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let began_ms = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        Clock { began: Instant::now(), began_ms, shift_ms: Arc::new(AtomicI64::new(0)) }
    }

    /// The same clock, set forward (or back) by this many milliseconds from now on, for all its clones.
    pub fn shift(&self, by_ms: i64) {
        self.shift_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    /// What the machine's clock tells, steps and all: for certificates, so that setting a wrong clock right is enough.
    pub fn wall(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        Timestamp(now.saturating_add_signed(self.shift_ms.load(Ordering::Relaxed)))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        let passed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let shift = self.shift_ms.load(Ordering::Relaxed);
        Timestamp(self.began_ms.saturating_add(passed).saturating_add_signed(shift))
    }
}

//! The agent's clock: the one place that reads it.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime};

use berth_model::Timestamp;

/// What the machine's clock tells, steps and all: for certificates, so that setting a wrong clock right is enough.
pub fn wall() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// What time it is: the machine's clock when this was first asked, and the time that has passed since.
/// Steps of the machine's clock are not followed: deadlines that jump would kill without grace, or never.
pub fn now() -> Timestamp {
    static BEGAN: OnceLock<(Instant, u64)> = OnceLock::new();
    let (began, at) = BEGAN.get_or_init(|| {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        (Instant::now(), u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    });
    let passed = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Timestamp(at.saturating_add(passed))
}

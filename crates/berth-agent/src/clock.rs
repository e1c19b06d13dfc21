//! The agent's clock: the one place that reads it.

use std::time::SystemTime;

use berth_model::Timestamp;

/// What time it is, as the machine's clock shows.
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

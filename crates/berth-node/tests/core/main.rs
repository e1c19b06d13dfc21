//! Tests of the node core over a small simulated machine.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod behaviour;
mod health;
mod laws;
mod machine;

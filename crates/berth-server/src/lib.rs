//! The server: a dumb loop around the control core, and HTTP for users and agents.
//!
//! One task owns the core and feeds it; requests are answered from a view that follows what is durable, so that no
//! question, however large, delays a heartbeat; only the numbers in a reason for waiting are asked of the core, one
//! reason at a time. Nothing is decided here: retries, lost leads and back-off of work are
//! events of the core. What the loop does by itself is to take the lead again after it was lost.

mod agents;
mod clock;
mod config;
mod driver;
mod error;
mod folder;
mod http;
mod moving;
mod plans;
mod run;
mod trust;
mod tunnels;
mod view;
mod why;

pub use berth_control::Settings;
pub use berth_store::EtcdOptions;
pub use clock::Clock;
pub use config::{Config, ConnectionLimits, Join, StoreKind, Tls};
pub use error::ServerError;
pub use http::openapi;
pub use moving::{Direction, move_state};
pub use run::{Ready, run};
pub use trust::{SealingKeyError, SealingKeyPlace};

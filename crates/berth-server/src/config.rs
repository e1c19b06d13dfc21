//! What a server is told when it starts.

use std::net::SocketAddr;
use std::path::PathBuf;

use berth_control::Settings;

use crate::Clock;

/// What a server is told when it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where its token and its store are; made when missing.
    pub data_dir: PathBuf,
    /// Where it listens.
    pub bind: SocketAddr,
    /// What an operator may set of the core.
    pub settings: Settings,
    /// Where the cluster's state is kept.
    pub store: StoreKind,
    /// The clock.
    pub clock: Clock,
}

/// Where the cluster's state is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// In this process, and gone with it.
    Memory,
    /// In `store.redb` in the data folder.
    Embedded,
}

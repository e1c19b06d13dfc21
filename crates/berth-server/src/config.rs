//! What a server is told when it starts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use berth_control::Settings;
use berth_model::{Bytes, Millis};
use berth_secrets::Invitation;
use berth_store::EtcdOptions;

use crate::{Clock, SealingKeyPlace};

/// What a server is told when it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where its token and its store are; made when missing.
    pub data_dir: PathBuf,
    /// Where it listens.
    pub bind: SocketAddr,
    /// Where other servers and agents reach it, as a URL; none: where it listens.
    pub advertise: Option<String>,
    /// What an operator may set of the core.
    pub settings: Settings,
    /// How connections are secured; none: not at all.
    pub tls: Option<Tls>,
    /// Where the cluster's state is kept.
    pub store: StoreKind,
    /// The clock.
    pub clock: Clock,
    /// What the journal of decisions may take of the data folder.
    pub journal_max: Bytes,
    /// What connections may take.
    pub connections: ConnectionLimits,
}

/// How a server secures its connections.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Where the key is under which the cluster's certificate authorities are sealed.
    pub sealing_key: SealingKeyPlace,
    /// How long after its end an agent's certificate is good for a new one.
    pub certificate_grace: Millis,
    /// How the server joins a cluster that is there already, where it does not have its sealing key.
    pub join: Option<Join>,
}

/// How a server joins a cluster.
#[derive(Clone, Debug)]
pub struct Join {
    /// Its servers: `https://10.0.0.1:4600,…`
    pub servers: String,
    /// The join token.
    pub token: Invitation,
}

/// What connections may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections at once; more wait to be accepted.
    pub total: usize,
    /// Of these, from one address; more are closed.
    pub per_address: usize,
    /// How long the first request of a connection may take to arrive, and in HTTP/1.1 each further one.
    pub first_request: Duration,
    /// How long an HTTP/2 connection may be without a request. Longer than clients commonly keep one for later, so
    /// that it is they who close it.
    pub idle: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> ConnectionLimits {
        ConnectionLimits {
            // An agent keeps one connection. Below the open files that the service file allows.
            total: 60_000,
            per_address: 1024,
            first_request: Duration::from_secs(10),
            idle: Duration::from_secs(120),
        }
    }
}

/// Where the cluster's state is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// In this process, and gone with it.
    Memory,
    /// In `store.redb` in the data folder.
    Embedded,
    /// In an etcd, which outlives the loss of any machine.
    Etcd(EtcdOptions),
}

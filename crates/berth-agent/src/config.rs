//! What an operator may tell an agent.

use std::collections::BTreeMap;
use std::path::PathBuf;

use berth_model::{Bytes, CpuMillis, Device, Mbits, Millis, NodeName, Port};
use berth_secrets::Invitation;

/// Everything that an agent needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the agent keeps its key, its ledger, allocations and images.
    pub data_dir: PathBuf,
    /// The server's address, such as `http://10.0.0.1:4600`.
    pub server: String,
    /// How the agent shows who it is.
    pub access: Access,
    /// The node's name.
    pub name: NodeName,
    /// Where the node's ports are reached.
    pub address: String,
    /// The rack that the node stands in: its attribute `node.rack`.
    pub rack: Option<String>,
    /// The zone that the node stands in: its attribute `node.zone`.
    pub zone: Option<String>,
    /// Attributes `label.KEY` that jobs can ask for.
    pub labels: BTreeMap<String, String>,
    /// What may be given to allocations instead of what was found.
    pub offer: Offer,
    /// What else may be given to allocations.
    pub devices: Vec<Device>,
    /// First and last of the ports that are given out by number.
    pub dynamic_ports: (Port, Port),
    /// The program that is called as `PROGRAM shim FOLDER`: this one.
    pub shim_program: PathBuf,
    /// Another OCI runtime than the one built in, such as `/usr/sbin/runc`.
    pub oci_runtime: Option<PathBuf>,
    /// The cgroup, below the agent's hierarchy root, under which allocations have theirs.
    pub cgroup_parent: String,
    /// Registry credentials by the name that a job gives.
    pub credentials: BTreeMap<String, RegistryCredential>,
    /// Folders and files that host programs must not see, whoever they run as: what is secret to Berth
    /// beside the data folder.
    pub hidden: Vec<PathBuf>,
    /// The size that the image cache is kept under.
    pub image_cache: Bytes,
    /// How often the disk is measured: what tasks hold of it, and what is left.
    pub measure: Millis,
    /// The disk of the data folder counts as full when it has less than this left; without, less than a twentieth of
    /// it or 1 GiB, whichever is less.
    pub disk_reserve: Option<Bytes>,
}

/// How an agent shows who it is.
#[derive(Clone, Debug)]
pub enum Access {
    /// By the bearer token, where the servers listen without TLS.
    Token(Token),
    /// By its certificate, which it keeps in its data folder and renews by itself.
    Certificate {
        /// What it joins with, where it has not joined yet.
        join: Option<Invitation>,
    },
}

/// What may be given to allocations; what is not set is found out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offer {
    /// Processor time.
    pub cpu: Option<CpuMillis>,
    /// Memory.
    pub memory: Option<Bytes>,
    /// Disk.
    pub disk: Option<Bytes>,
    /// Network bandwidth.
    pub network: Option<Mbits>,
}

/// How to log in to a registry.
#[derive(Clone)]
pub struct RegistryCredential {
    /// The user.
    pub username: String,
    /// The password.
    pub password: Token,
}

impl std::fmt::Debug for RegistryCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryCredential").field("username", &self.username).finish_non_exhaustive()
    }
}

/// A secret that does not show itself in logs.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Takes the secret.
    pub fn new(secret: String) -> Token {
        Token(secret)
    }
    /// The secret itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

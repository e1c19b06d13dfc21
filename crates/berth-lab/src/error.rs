//! What can go wrong with a lab, each with the operation and its object.
//!
//! Deliberately without a catch-all variant: whoever adds a way to fail says what was being done.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Why an operation on a lab did not work.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Namespaces, links and cgroups need root.
    #[error("a lab needs root: run it as root or with sudo")]
    NotRoot,
    /// A name that cannot become a bridge, a folder and a cgroup.
    #[error("{what} name `{name}` is not 1 to {max} of a-z, 0-9 and `-`, starting with a letter")]
    BadName {
        /// `lab` or `node`.
        what: &'static str,
        /// What was given.
        name: String,
        /// Longest name.
        max: usize,
    },
    /// The name is taken, possibly by the remains of a lab whose `up` was killed.
    #[error("lab `{0}` exists already; take it down first")]
    Exists(String),
    /// No state and nothing to work on.
    #[error("there is no lab `{0}`")]
    NoSuchLab(String),
    /// The lab has no node of this name.
    #[error("lab `{lab}` has no node `{node}`")]
    NoSuchNode {
        /// Name of the lab.
        lab: String,
        /// Name that was asked for.
        node: String,
    },
    /// Two nodes cannot share a name.
    #[error("lab `{lab}` has a node `{node}` already")]
    NodeExists {
        /// Name of the lab.
        lab: String,
        /// Name that was given twice.
        node: String,
    },
    /// The operation needs a node that is powered on.
    #[error("node `{0}` is powered off")]
    NodeOff(String),
    /// The operation needs a node that is powered off.
    #[error("node `{0}` is powered on already")]
    NodeOn(String),
    /// The role's process of the node still runs.
    #[error("the role of node `{0}` is running already")]
    RoleRunning(String),
    /// The subnet of a lab has room for so many.
    #[error("lab `{lab}` is full: {max} nodes at most")]
    Full {
        /// Name of the lab.
        lab: String,
        /// Most nodes in one lab.
        max: usize,
    },
    /// Every subnet that labs choose from overlaps with something on this machine.
    #[error("no free /24 in 10.200.0.0/13: every one overlaps an address or route of this machine")]
    NoFreeSubnet,
    /// A file, folder, mount or process operation failed.
    #[error("cannot {operation} {path}", path = path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A state file that this version cannot read.
    #[error("cannot understand {path}", path = path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A state file of another version of this program.
    #[error("{path} has version {found}, this program knows {known}", path = path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Version in the file.
        found: u32,
        /// Version of this program.
        known: u32,
    },
    /// The kernel refused a change of links or addresses.
    #[error("cannot {operation} {object}")]
    Netlink {
        /// What was tried, as a verb.
        operation: &'static str,
        /// Link or address.
        object: String,
        /// What the kernel said.
        #[source]
        source: rtnetlink::Error,
    },
    /// A link that should be there is not.
    #[error("there is no network link `{0}`")]
    NoSuchLink(String),
    /// The node's init said why it could not start.
    #[error("node `{node}` did not boot: {said}")]
    Boot {
        /// Name of the node.
        node: String,
        /// Its own words.
        said: String,
    },
    /// What was waited for did not happen in time.
    #[error("waited {seconds} s in vain for {what}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
    },
    /// The role ended while something was expected of it.
    #[error("the role of node `{node}` ended ({how}); its log ends:\n{log}")]
    RoleEnded {
        /// Name of the node.
        node: String,
        /// Exit status or signal.
        how: String,
        /// Last lines of its log.
        log: String,
    },
    /// An address outside what labs use.
    #[error("address {0} is not an IPv4 address")]
    NotV4(IpAddr),
}

impl LabError {
    /// Makes a closure for `map_err` that names the operation and its object.
    pub(crate) fn io<S: Into<io::Error>>(operation: &'static str, path: &Path) -> impl FnOnce(S) -> LabError {
        let path = path.to_path_buf();
        move |source| LabError::Io { operation, path, source: source.into() }
    }
}

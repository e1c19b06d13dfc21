//! Checks of tasks: what is asked of them while they run, and what came of it.

use std::collections::BTreeMap;

use crate::{CheckName, Millis, PortName, Timestamp};

/// A question that the agent asks a running task again and again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CheckSpec {
    /// Unique within the task.
    pub name: CheckName,
    /// What follows from the answers.
    pub kind: CheckKind,
    /// What is asked.
    pub probe: Probe,
    /// From one question to the next. The next one is not asked before the one before is answered.
    pub interval: Millis,
    /// What has not been answered by then has failed.
    pub timeout: Millis,
    /// So many answers in a row make the check pass; at least 1.
    pub successes: u32,
    /// So many failures in a row make it fail; at least 1.
    pub failures: u32,
}

/// What follows from the answers to a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckKind {
    /// Asked from the start of a run until it passes; no other check of the task is asked before that, and the allocation is
    /// not ready. When it fails the task is restarted.
    Startup,
    /// The allocation is ready only while it passes. Nothing is restarted for it.
    Readiness,
    /// When it fails the task is restarted. It says nothing about being ready.
    Liveness,
}

impl CheckKind {
    /// Whether an allocation that does not pass is not ready.
    pub fn gates(self) -> bool {
        match self {
            CheckKind::Startup | CheckKind::Readiness => true,
            CheckKind::Liveness => false,
        }
    }

    /// Whether a task that fails it is restarted.
    pub fn restarts(self) -> bool {
        match self {
            CheckKind::Startup | CheckKind::Liveness => true,
            CheckKind::Readiness => false,
        }
    }
}

impl std::fmt::Display for CheckKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CheckKind::Startup => "startup",
            CheckKind::Readiness => "readiness",
            CheckKind::Liveness => "liveness",
        })
    }
}

/// What a check asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Probe {
    /// A `GET` that is answered with a status from 200 to 399. Redirects are not followed.
    Http(HttpProbe),
    /// A connection that is accepted.
    Tcp {
        /// To this port of the group.
        port: PortName,
    },
    /// A program that ends with status 0, beside the task and with its environment.
    Exec {
        /// The program and its arguments.
        command: Vec<String>,
    },
    /// A file that is there, as the task sees it.
    File {
        /// Absolute.
        path: String,
    },
}

impl Probe {
    /// The port of the group that is asked, where one is.
    pub fn port(&self) -> Option<&PortName> {
        match self {
            Probe::Http(HttpProbe { port, .. }) | Probe::Tcp { port } => Some(port),
            Probe::Exec { .. } | Probe::File { .. } => None,
        }
    }
}

/// A question by HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpProbe {
    /// The port of the group that is asked.
    pub port: PortName,
    /// The path, with a query if need be.
    pub path: String,
    /// With TLS or without.
    pub scheme: Scheme,
    /// Sent beside `Host` and `User-Agent`, which they may replace; names in lower case.
    pub headers: BTreeMap<String, String>,
}

/// How a question by HTTP travels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// As it is.
    Http,
    /// With TLS. Who answers is not verified: the instance is asked by its address, and only whether it answers.
    Https {
        /// The name that is asked for (SNI); none without.
        server_name: Option<String>,
    },
}

/// What came of a check so far. It changes when the check turns, and while it fails with the first failure, the second,
/// the fourth, the eighth and so on: what answers differently every time is not news every time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CheckStatus {
    /// Where it stands.
    pub state: CheckState,
    /// Since when, as the node's clock tells.
    pub since: Timestamp,
    /// Failures in a row, as last told.
    pub failures: u32,
    /// What the last answer that was told said.
    pub output: String,
}

/// Where a check stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckState {
    /// It has neither passed nor failed since the run began.
    Pending,
    /// It passes.
    Passing,
    /// It fails.
    Failing,
}

impl std::fmt::Display for CheckState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CheckState::Pending => "pending",
            CheckState::Passing => "passing",
            CheckState::Failing => "failing",
        })
    }
}

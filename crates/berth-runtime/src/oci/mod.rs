//! Making containers from bundles: with the library inside, or with a program such as `runc`.
//!
//! Both run in a short-lived child of the shim, so that what they allocate, and that they are not
//! made for threads, is of no consequence to it.

pub(crate) mod builtin;
pub(crate) mod program;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use berth_model::{Failure, FailureKind};
use serde::{Deserialize, Serialize};

use crate::error::failure;

/// What makes containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OciRuntime {
    /// The library that is part of this program.
    #[default]
    Builtin,
    /// A program with the command line of `runc`.
    Program(PathBuf),
}

/// The ends of a process's standard streams that the process gets.
pub(crate) struct Stdio {
    /// What it reads.
    pub stdin: OwnedFd,
    /// What it writes.
    pub stdout: OwnedFd,
    /// What it complains to.
    pub stderr: OwnedFd,
}

/// Where a container's files are.
pub(crate) struct Place<'a> {
    /// The container's id.
    pub id: &'a str,
    /// The folder with `config.json`.
    pub bundle: &'a Path,
    /// The folder where the runtime keeps what it has to remember.
    pub state: &'a Path,
}

impl OciRuntime {
    /// Makes a container and starts its program; gives the pid.
    pub(crate) fn run(&self, place: &Place<'_>, stdio: Stdio) -> Result<u32, Failure> {
        match self {
            Self::Builtin => builtin::run(place, stdio),
            Self::Program(program) => program::run(program, place, stdio),
        }
    }

    /// Runs a command in a container that runs: on `stdio`, or on a terminal whose master is sent to
    /// the socket `console`.
    pub(crate) fn exec(
        &self,
        place: &Place<'_>,
        process: &Path,
        stdio: Option<Stdio>,
        console: Option<&Path>,
    ) -> Result<u32, Failure> {
        match self {
            Self::Builtin => builtin::exec(place, process, stdio, console),
            Self::Program(program) => program::exec(program, place, process, stdio, console),
        }
    }
}

/// The failure of a program that cannot be run.
fn no_such_command(command: &str, why: &str) -> Failure {
    let message = format!(
        "cannot run `{command}`: {why}; the first word of the task's command must name a program in its own files, \
         by path or in one of the folders of PATH"
    );
    failure(FailureKind::NoSuchCommand, message)
}

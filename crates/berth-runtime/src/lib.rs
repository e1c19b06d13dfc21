//! Runs tasks: drivers, shims, images, logs. The seam to containers; knows nothing of why something runs.
//!
//! [`Runtime`] is the agent's side: it makes allocation folders, starts a shim for each and talks to it.
//! [`shim::main`] is the other side: the entry of `berth shim`, a small process per allocation that
//! outlives the agent.

mod bundle;
mod cgroup;
mod client;
mod error;
mod exec;
pub mod images;
pub mod logs;
mod oci;
mod plan;
mod runtime;
pub mod seccomp;
pub mod shim;
pub mod tree;
mod usage;
mod view;

/// 1 in the release that comes after this one, of which the feature `next` makes a stand-in for tests.
///
/// A version of a file on a node is read by a release before it is written by one: what a release writes, the one before
/// it reads, so that a node can go back.
const NEXT: u32 = cfg!(feature = "next") as u32;

pub use error::RuntimeError;
pub use exec::{ExecOutput, ExecRequest, ExecSession, WindowSize};
pub use oci::OciRuntime;
pub use plan::LogLimits;
pub use runtime::{Prepared, Runtime, RuntimeConfig, RuntimeEvent, STARTING_AT_ONCE};
pub use shim::lease::boot_time;

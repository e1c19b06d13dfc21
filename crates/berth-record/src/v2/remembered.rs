//! What an agent remembers of an allocation, version 2.

use std::collections::BTreeMap;

use super::alloc::TaskStatus;
use super::job::{GroupSpec, JobKind};
use super::meta::{Failure, JobId};
use crate::stored::stored;

stored! {
    struct Remembered = Remembered {
        desired: DesiredAlloc,
        tasks: BTreeMap<String, RememberedTask>,
        ended: Option<Ended>,
    }

    struct RememberedTask = RememberedTask { status: TaskStatus, restarts: Vec<u64>, run: u32 }

    struct DesiredAlloc = DesiredAlloc {
        id: String,
        job: JobId,
        kind: JobKind,
        version: u64,
        index: u32,
        group: GroupSpec,
        ports: BTreeMap<String, u16>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        devices: BTreeMap<String, Vec<String>>,
        goal: Goal,
    }

    enum Goal = Goal { Run, Stop }

    enum Ended = Ended { Complete, Stopped, Failed(failure: Failure) }
}

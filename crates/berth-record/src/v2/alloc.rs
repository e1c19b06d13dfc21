//! Allocations with their placements and reasons, version 2.

use std::collections::BTreeMap;

use super::job::{AtMost, Constraint, Relation};
use super::meta::{Cause, Failure, JobId};
use crate::stored::stored;

stored! {
    struct Alloc = Alloc {
        id: String,
        job: JobId,
        version: u64,
        group: String,
        index: u32,
        bound_to: Option<String>,
        replaces: Option<String>,
        failures: u32,
        created: u64,
        cause: Cause,
        state: AllocState,
        tasks: BTreeMap<String, TaskStatus>,
    }

    enum AllocState = AllocState {
        Waiting { since: u64, reason: WaitReason },
        Placed { placement: Placement, since: u64 },
        Running { placement: Placement, since: u64, ready: Option<u64> },
        Stopping { placement: Placement, since: u64, cause: Cause },
        Ended { placement: Option<Placement>, at: u64, outcome: Outcome, cause: Cause },
    }

    enum Outcome = Outcome {
        Complete,
        Stopped,
        Preempted { by: String, job: JobId },
        Drained(node: String),
        Failed(failure: Failure),
        Lost(node: String),
    }

    struct TaskStatus = TaskStatus {
        state: TaskState,
        restarts: u32,
        last_exit: Option<Exit>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        checks: BTreeMap<String, CheckStatus>,
    }

    struct CheckStatus = CheckStatus { state: CheckState, since: u64, failures: u32, output: String }

    enum CheckState = CheckState { Pending, Passing, Failing }

    enum TaskState = TaskState {
        Pending,
        Running { pid: u32, started: u64 },
        BackOff { until: u64 },
        Done,
    }

    struct Exit = Exit { at: u64, how: ExitKind }

    enum ExitKind = ExitKind { Status(status: u8), Signal(signal: u8), OutOfMemory, Failure(failure: Failure) }

    enum WaitReason = WaitReason {
        Queued,
        NoNodes,
        NoNodeFits {
            decision: String,
            filtered: Vec<(Filter, u32)>,
            nearest: Option<(String, Shortfall)>,
            verdict: Verdict,
        },
        GangIncomplete {
            decision: String,
            fit: u32,
            wanted: u32,
            filtered: Vec<(Filter, u32)>,
            nearest: Option<(String, Shortfall)>,
            verdict: Verdict,
        },
        Preempting { decision: String, node: String, victims: Vec<String> },
        BackOff { until: u64, failed: String },
    }

    enum Verdict = Verdict { Waiting, Never }

    struct Placement = Placement {
        node: String,
        ports: BTreeMap<String, u16>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        devices: BTreeMap<String, Vec<String>>,
        decision: String,
        explanation: Explanation,
    }

    struct Explanation = Explanation {
        policy: String,
        #[serde(default, skip_serializing_if = "is_zero")]
        policy_version: u64,
        considered: u32,
        filtered: Vec<(Filter, u32)>,
        chosen: Vec<CostTerm>,
        runner_up: Option<(String, Vec<CostTerm>)>,
    }

    struct CostTerm = CostTerm { term: Term, cost: i64 }

    enum Term = Term {
        Utilisation,
        SameGroup,
        Fragmentation,
        FailedHere,
        Preference,
        Affinity,
        AntiAffinity,
        Spread,
        Emptiness,
    }

    enum Filter = Filter {
        NodeLost,
        DiskFull,
        Draining,
        DriverMissing(driver: String),
        Constraint(constraint: Constraint),
        DeviceMissing(kind: String),
        PortTaken(port: u16),
        DynamicPortsExhausted,
        Exhausted(dimension: Dimension),
        AtMost(rule: AtMost),
        Relation(relation: Relation),
        Shunned(by: JobId),
    }

    enum Dimension = Dimension { Cpu, Memory, Disk, Network, Device(kind: String) }

    struct Shortfall = Shortfall { dimension: Dimension, wanted: u64, free: u64, capacity: u64 }
}

/// Where nobody has set a policy, nothing is said of its version, as before there were any.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(version: &u64) -> bool {
    *version == 0
}

//! Nodes, version 2.

use std::collections::BTreeMap;

use super::job::Resources;
use super::meta::Cause;
use crate::stored::stored;

stored! {
    struct Node = Node {
        id: String,
        agent: String,
        fingerprint: Fingerprint,
        state: NodeState,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        conditions: Vec<(NodeCondition, u64)>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        drain: Option<Drain>,
    }

    struct Drain = Drain {
        since: u64,
        // Missing from what the first program that could drain has stored.
        #[serde(default, skip_serializing_if = "is_zero")]
        asked: u64,
        cause: Cause,
        deadline: Option<u64>,
        done: Option<u64>,
    }

    enum NodeCondition = NodeCondition { DiskFull }

    struct Fingerprint = Fingerprint {
        name: String,
        address: String,
        resources: Resources,
        attributes: BTreeMap<String, String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        devices: Vec<Device>,
        dynamic_ports: (u16, u16),
        agent_version: String,
    }

    struct Device = Device { kind: String, id: String, attributes: BTreeMap<String, String>, paths: Vec<String> }

    enum NodeState = NodeState {
        Ready { since: u64 },
        Lost { since: u64, cause: Cause },
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes what it asks about by reference")]
fn is_zero(time: &u64) -> bool {
    *time == 0
}

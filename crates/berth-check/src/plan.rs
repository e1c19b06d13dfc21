//! The plan of one step: every node that it touched as it will be, and what it granted, made and replaces.

use std::collections::BTreeMap;

use berth_model::{
    AGENT_PROTOCOL_ATTRIBUTE, Alloc, AllocId, Dimension, Driver, GroupName, GroupSpec, JobId, JobSpec, LedgerEntry,
    Node, NodeCondition, NodeState, OnPartition, Placement,
};

use crate::constraint::is_met;
use crate::device;
use crate::findings::Finding;
use crate::moved::{Moved, check_moves};
use crate::preemption::{Preemption, check_preemptions};
use crate::rules::{self, Occupant};

/// A node with everything that holds a place on it once the plan is carried out.
#[derive(Clone, Debug)]
pub struct NodeView<'a> {
    /// The node.
    pub node: &'a Node,
    /// Each with the group that it runs.
    pub allocs: Vec<(&'a Alloc, &'a GroupSpec)>,
}

/// An allocation that the plan gives a place.
#[derive(Clone, Copy, Debug)]
pub struct Granted<'a> {
    /// The allocation, placed.
    pub alloc: &'a Alloc,
    /// Where.
    pub node: &'a Node,
    /// The version that it runs.
    pub job: &'a JobSpec,
    /// The group that it runs.
    pub group: &'a GroupSpec,
}

/// How much replacing goes on in a group in which the plan begins some.
#[derive(Clone, Copy, Debug)]
pub struct Budget<'a> {
    /// The job.
    pub job: &'a JobId,
    /// The group.
    pub group: &'a GroupName,
    /// How many are in the course of being replaced.
    pub replacing: u32,
    /// How many may be.
    pub allowed: u32,
}

/// A group that is placed as a whole, of which the plan places some.
#[derive(Clone, Copy, Debug)]
pub struct Gang<'a> {
    /// The job.
    pub job: &'a JobId,
    /// The group.
    pub group: &'a GroupName,
    /// How many the plan places.
    pub placed: usize,
    /// How many still wait for a place.
    pub waiting: usize,
}

/// All that there is to check of a plan.
#[derive(Clone, Debug, Default)]
pub struct PlanView<'a> {
    /// The nodes on which it places something.
    pub nodes: Vec<NodeView<'a>>,
    /// What it places.
    pub granted: Vec<Granted<'a>>,
    /// Whatever holds a place of the jobs that the rules of what it places name, or that name these.
    pub occupants: Vec<Occupant<'a>>,
    /// Whom it makes go for others.
    pub preemptions: Vec<Preemption<'a>>,
    /// How many are leaving for others in the whole cluster.
    pub leaving: usize,
    /// How many may be.
    pub may_leave: u32,
    /// What it begins to move for the sake of balance.
    pub moves: Vec<Moved<'a>>,
    /// How many such moves are under way in the whole cluster.
    pub moving: usize,
    /// How many may be.
    pub may_move: u32,
    /// The groups that are placed as a whole.
    pub gangs: Vec<Gang<'a>>,
    /// The groups in which it replaces something.
    pub budgets: Vec<Budget<'a>>,
    /// What it makes, each with the ledger's entry of that.
    pub created: Vec<(AllocId, Option<&'a LedgerEntry>)>,
}

/// Every fault of the plan.
pub fn check(view: &PlanView<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for node in &view.nodes {
        check_room(node, &mut findings);
        check_ports(node, &mut findings);
        device::check_shares(node, &mut findings);
    }
    for granted in &view.granted {
        check_granted(granted, &mut findings);
        rules::check_rules(granted, view, &mut findings);
    }
    check_preemptions(view, &mut findings);
    check_moves(view, &mut findings);
    for budget in &view.budgets {
        if budget.replacing > budget.allowed {
            findings.push(Finding::BudgetExceeded {
                job: budget.job.clone(),
                group: budget.group.clone(),
                replacing: budget.replacing,
                allowed: budget.allowed,
            });
        }
    }
    for gang in view.gangs.iter().filter(|gang| gang.placed > 0 && gang.waiting > 0) {
        let Gang { placed, waiting, .. } = *gang;
        findings.push(Finding::GangBroken { job: gang.job.clone(), group: gang.group.clone(), placed, waiting });
    }
    for (alloc, entry) in &view.created {
        if entry.is_none_or(|entry| entry.what.alloc() != Some(*alloc)) {
            findings.push(Finding::NoCause { alloc: *alloc });
        }
    }
    findings
}

fn check_room(view: &NodeView<'_>, findings: &mut Vec<Finding>) {
    let tasks = || view.allocs.iter().flat_map(|(_, group)| group.tasks.iter());
    let capacity = &view.node.fingerprint.resources;
    let sums = [
        (Dimension::Cpu, tasks().map(|t| u128::from(t.resources.cpu.0)).sum::<u128>(), capacity.cpu.0),
        (Dimension::Memory, tasks().map(|t| u128::from(t.resources.memory.0)).sum(), capacity.memory.0),
        (Dimension::Disk, tasks().map(|t| u128::from(t.resources.disk.0)).sum(), capacity.disk.0),
        (Dimension::Network, tasks().map(|t| u128::from(t.resources.network.0)).sum(), capacity.network.0),
    ];
    for (dimension, used, capacity) in sums {
        if used > u128::from(capacity) {
            findings.push(Finding::OverCapacity { node: view.node.id, dimension, used, capacity });
        }
    }
}

fn check_ports(view: &NodeView<'_>, findings: &mut Vec<Finding>) {
    let mut owners = BTreeMap::new();
    for (alloc, _) in &view.allocs {
        for port in alloc.placement().into_iter().flat_map(|placement| placement.ports.values()) {
            if let Some(first) = owners.insert(*port, alloc.id) {
                findings.push(Finding::PortTwice { node: view.node.id, port: *port, first, second: alloc.id });
            }
        }
    }
}

fn check_granted(granted: &Granted<'_>, findings: &mut Vec<Finding>) {
    let (alloc, node) = (granted.alloc.id, granted.node.id);
    let Some(placement) = granted.alloc.placement() else { return };
    if granted.alloc.bound_to.is_some_and(|only| only != node) || placement.node != node {
        findings.push(Finding::WrongNode { alloc, node });
    }
    if matches!(granted.node.state, NodeState::Lost { .. }) {
        findings.push(Finding::NodeLost { alloc, node });
    }
    if granted.node.conditions.keys().any(|condition| *condition == NodeCondition::DiskFull) {
        findings.push(Finding::DiskFull { alloc, node });
    }
    if granted.node.drain.is_some() {
        findings.push(Finding::Draining { alloc, node });
    }
    let attributes = &granted.node.fingerprint.attributes;
    for task in &granted.group.tasks {
        let driver = match task.driver {
            Driver::Container(_) => "container",
            Driver::Exec => "exec",
        };
        let known = attributes.get(["driver", driver].join(".").as_str());
        if known.is_none() || known.is_some_and(|known| known == "false") {
            findings.push(Finding::DriverMissing { alloc, node, driver });
        }
    }
    for constraint in granted.job.constraints.iter().chain(&granted.group.constraints) {
        if !is_met(constraint, attributes) {
            findings.push(Finding::ConstraintBroken { alloc, node, constraint: constraint.clone() });
        }
    }
    let protocol = attributes.get(AGENT_PROTOCOL_ATTRIBUTE).and_then(|protocol| protocol.parse::<u32>().ok());
    if matches!(granted.group.on_partition, OnPartition::Fence { .. }) && protocol < Some(2) {
        findings.push(Finding::AgentTooOld { alloc, node, protocol });
    }
    check_port_numbers(granted, placement, findings);
    device::check_grants(granted, placement, findings);
}

fn check_port_numbers(granted: &Granted<'_>, placement: &Placement, findings: &mut Vec<Finding>) {
    let (first, last) = granted.node.fingerprint.dynamic_ports;
    for spec in granted.group.tasks.iter().flat_map(|task| &task.ports) {
        let given = placement.ports.get(&spec.name).copied();
        let right = match (given, spec.fixed) {
            (Some(given), Some(wanted)) => given == wanted,
            (Some(given), None) => first <= given && given <= last,
            (None, Some(_) | None) => false,
        };
        if !right {
            findings.push(Finding::PortWrong { alloc: granted.alloc.id, port: spec.name.clone() });
        }
    }
}

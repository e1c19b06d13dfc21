//! How large a write will roughly be in the store. Errs on the large side for texts, and ignores what is small.

use std::collections::BTreeMap;

use berth_model::{
    Alloc, AllocState, AtMost, CheckSpec, CommandOutcome, Constraint, Device, Domain, Driver, ExitKind, Filter,
    Filtered, GroupSpec, Happening, JobSpec, LedgerEntry, Mutation, Node, Operator, Outcome, Placement, Probe, Rules,
    Spread, TaskSpec, TaskStatus, Trust, WaitReason,
};

/// What the names and numbers of a small object take.
const SMALL: usize = 400;
/// What an item of a list takes beside its texts.
const ITEM: usize = 100;

/// The estimated bytes of a write.
pub(crate) fn estimate(mutation: &Mutation) -> usize {
    SMALL
        + match mutation {
            Mutation::PutMeta(_)
            | Mutation::DeleteNode(_)
            | Mutation::DeleteJob(_)
            | Mutation::DeleteJobVersion(..)
            | Mutation::DeleteAlloc(_)
            | Mutation::DeleteCommand(..)
            | Mutation::DeleteLedger(_)
            | Mutation::DeleteTrust(_) => 0,
            Mutation::PutNode(node) => of_node(node),
            Mutation::PutJob(job) => of_spec(&job.spec),
            Mutation::PutJobVersion(_, spec) => of_spec(spec),
            Mutation::PutAlloc(alloc) => of_alloc(alloc),
            Mutation::PutCommand(record) => match &record.outcome {
                CommandOutcome::Draining(nodes) | CommandOutcome::Enabled(nodes) | CommandOutcome::Abandoned(nodes) => {
                    SMALL + nodes.len() * ITEM
                }
                CommandOutcome::JobVersion { .. }
                | CommandOutcome::Stopping(_)
                | CommandOutcome::StoppingAlloc(_)
                | CommandOutcome::Policy { .. }
                | CommandOutcome::Trust(_)
                | CommandOutcome::Finalised { .. } => SMALL + record.principal.0.len(),
            },
            Mutation::PutLedger(entry) => of_entry(entry),
            Mutation::PutPolicy(set) => (1 + set.policy.spec.pools.len()) * SMALL,
            Mutation::PutTrust(trust) => match &**trust {
                Trust::Authority(of) => {
                    // In base64.
                    2 * (of.certificate.len() + of.cross.as_ref().map_or(0, Vec::len) + of.sealed_key.len())
                }
                Trust::Token(_) | Trust::Member(_) => SMALL,
            },
        }
}

fn of_node(node: &Node) -> usize {
    let pairs =
        |of: &BTreeMap<String, String>| of.iter().map(|(key, value)| key.len() + value.len() + 8).sum::<usize>();
    let of_device = |device: &Device| SMALL + pairs(&device.attributes) + of_texts(device.paths.iter());
    node.agent.0.len()
        + pairs(&node.fingerprint.attributes)
        + node.fingerprint.devices.iter().map(of_device).sum::<usize>()
}

fn of_spec(spec: &JobSpec) -> usize {
    SMALL
        + of_texts(spec.meta.iter().flat_map(|(k, v)| [k, v]))
        + spec.constraints.iter().map(of_constraint).sum::<usize>()
        + spec.groups.iter().map(of_group).sum::<usize>()
}

pub(crate) fn of_group(group: &GroupSpec) -> usize {
    SMALL
        + of_texts(group.meta.iter().flat_map(|(k, v)| [k, v]))
        + group.constraints.iter().map(of_constraint).sum::<usize>()
        + of_rules(&group.rules)
        + group.tasks.iter().map(of_task).sum::<usize>()
}

fn of_check(check: &CheckSpec) -> usize {
    2 * ITEM
        + match &check.probe {
            Probe::Http(probe) => {
                probe.path.len() + of_texts(probe.headers.iter().flat_map(|(name, value)| [name, value]))
            }
            Probe::Exec { command } => of_texts(command.iter()),
            Probe::File { path } => path.len(),
            Probe::Tcp { .. } => 0,
        }
}

fn of_task(task: &TaskSpec) -> usize {
    let driver = match &task.driver {
        Driver::Container(spec) => {
            spec.image.len()
                + spec.tmpfs.len() * ITEM
                + of_texts(spec.tmpfs.iter().map(|(path, _)| path))
                + of_texts(spec.cap_add.iter())
        }
        Driver::Exec => 0,
    };
    SMALL
        + driver
        + of_texts(task.command.iter())
        + task.checks.iter().map(of_check).sum::<usize>()
        + of_texts(task.env.iter().chain(task.meta.iter()).flat_map(|(k, v)| [k, v]))
        + of_texts(task.working_dir.iter().chain(task.user.iter()))
        + task.ports.len() * ITEM
        + task
            .devices
            .iter()
            .map(|wish| 2 * ITEM + wish.constraints.iter().map(of_constraint).sum::<usize>())
            .sum::<usize>()
}

fn of_rules(rules: &Rules) -> usize {
    let Rules { at_most, relations, preferences, spread, gang: _ } = rules;
    let of_spread = |spread: &Spread| ITEM + of_domain(&spread.over) + of_texts(spread.targets.keys());
    at_most.iter().map(|rule| ITEM + of_domain(&rule.per)).sum::<usize>()
        + relations.iter().map(|relation| 3 * ITEM + of_domain(&relation.within)).sum::<usize>()
        + preferences.iter().map(|preference| ITEM + of_constraint(&preference.constraint)).sum::<usize>()
        + spread.iter().map(of_spread).sum::<usize>()
}

fn of_domain(domain: &Domain) -> usize {
    match domain {
        Domain::Node => 0,
        Domain::Attribute(key) => key.len(),
    }
}

fn of_constraint(constraint: &Constraint) -> usize {
    ITEM + constraint.attribute.len()
        + match &constraint.operator {
            Operator::Is(text) | Operator::IsNot(text) | Operator::Compare(_, text) | Operator::Glob(text) => {
                text.len()
            }
            Operator::In(texts) | Operator::NotIn(texts) => of_texts(texts.iter()),
            Operator::Set | Operator::Unset => 0,
        }
}

fn of_alloc(alloc: &Alloc) -> usize {
    let state = match &alloc.state {
        AllocState::Waiting { reason, .. } => of_reason(reason),
        AllocState::Placed { placement, .. }
        | AllocState::Running { placement, .. }
        | AllocState::Stopping { placement, .. } => of_placement(placement),
        AllocState::Ended { placement, outcome, .. } => {
            placement.as_ref().map_or(0, of_placement) + of_outcome(outcome)
        }
    };
    SMALL + state + alloc.tasks.values().map(of_status).sum::<usize>()
}

fn of_status(status: &TaskStatus) -> usize {
    let checks = status.checks.values().map(|check| ITEM + check.output.len());
    2 * ITEM + status.last_exit.as_ref().map_or(0, |exit| of_exit(&exit.how)) + checks.sum::<usize>()
}

fn of_exit(how: &ExitKind) -> usize {
    match how {
        ExitKind::Failure(failure) => ITEM + failure.message.len(),
        ExitKind::Status(_) | ExitKind::Signal(_) | ExitKind::OutOfMemory => ITEM,
    }
}

fn of_reason(reason: &WaitReason) -> usize {
    match reason {
        WaitReason::NoNodeFits { filtered, .. } | WaitReason::GangIncomplete { filtered, .. } => {
            SMALL + of_filtered(filtered)
        }
        WaitReason::Preempting { victims, .. } => ITEM + victims.len() * ITEM,
        WaitReason::Queued | WaitReason::NoNodes | WaitReason::BackOff { .. } => ITEM,
    }
}

fn of_placement(placement: &Placement) -> usize {
    let devices: usize = placement.devices.values().map(|ids| ITEM + ids.len() * ITEM).sum();
    2 * SMALL + placement.ports.len() * ITEM + devices + of_filtered(&placement.explanation.filtered)
}

fn of_filtered(filtered: &Filtered) -> usize {
    filtered
        .keys()
        .map(|filter| match filter {
            Filter::Constraint(constraint) => ITEM + of_constraint(constraint),
            Filter::DriverMissing(_)
            | Filter::DeviceMissing(_)
            | Filter::NodeLost
            | Filter::DiskFull
            | Filter::Draining
            | Filter::PortTaken(_)
            | Filter::DynamicPortsExhausted
            | Filter::Exhausted(_)
            | Filter::Shunned(_) => ITEM,
            Filter::AtMost(AtMost { per, .. }) => ITEM + of_domain(per),
            Filter::Relation(relation) => 2 * ITEM + of_domain(&relation.within),
        })
        .sum()
}

fn of_outcome(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Failed(failure) => failure.message.len(),
        Outcome::Complete | Outcome::Stopped | Outcome::Preempted { .. } | Outcome::Drained(_) | Outcome::Lost(_) => 0,
    }
}

fn of_entry(entry: &LedgerEntry) -> usize {
    match &entry.what {
        Happening::AllocEnded { outcome, .. } => of_outcome(outcome),
        Happening::TaskRestarting { exit, .. } => of_exit(&exit.how),
        Happening::CheckFailing { output, .. } => output.len(),
        Happening::JobVersion { .. }
        | Happening::JobStopping(_)
        | Happening::JobEnded { .. }
        | Happening::JobCollected(_)
        | Happening::NodeReady { .. }
        | Happening::NodeLost { .. }
        | Happening::NodeCollected { .. }
        | Happening::NodeDraining { .. }
        | Happening::NodeDrained { .. }
        | Happening::NodeEnabled { .. }
        | Happening::NodeAbandoned { .. }
        | Happening::AllocCreated { .. }
        | Happening::AllocWaiting { .. }
        | Happening::AllocPlaced { .. }
        | Happening::AllocRunning { .. }
        | Happening::AllocReady { .. }
        | Happening::AllocStopping { .. }
        | Happening::PolicyChanged { .. }
        | Happening::Trust(_)
        | Happening::Finalised(_) => 0,
    }
}

/// Texts with room for quotes and separators. Escapes may double a text; [`crate::journal::MAX_BYTES`] allows for it.
fn of_texts<'a>(texts: impl Iterator<Item = &'a String>) -> usize {
    texts.map(|text| text.len() + 8).sum()
}

//! Phrases for people: what the reasons, causes and events of the wire mean, in one line each.

use std::fmt;

use super::*;

impl fmt::Display for NodeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} ({})", self.id),
            None => write!(f, "{}", self.id),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Command { command } => write!(f, "command {command}"),
            Cause::Event { event } => write!(f, "event {event}"),
            Cause::Report { node, serial } => write!(f, "report {serial} of node {node}"),
            Cause::Preemption { by, job } => write!(f, "preempted by {by} of job {job}"),
            Cause::Drain { node } => write!(f, "drain of node {node}"),
            Cause::Timer { timer, due } => {
                write!(f, "timer due {due}: {}", berth_model::Timer::from(*timer))
            }
            Cause::Balance { from, cost, gain } => {
                let after = Number(cost.0.saturating_sub(gain.0));
                write!(f, "moved from {from} by balancing: everything cost {cost}, and costs {after} then")
            }
        }
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Constraint { attribute, operator, values } = self;
        match values.as_slice() {
            [] => write!(f, "`{attribute} {operator}`"),
            [value] => write!(f, "`{attribute} {operator} {value}`"),
            values => write!(f, "`{attribute} {operator} [{}]`", values.join(", ")),
        }
    }
}

impl fmt::Display for Scarce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scarce::Amount { dimension } => write!(f, "{dimension}"),
            Scarce::Port { port } => write!(f, "port {port}"),
        }
    }
}

impl Scarce {
    /// How much of it a holder has, with its unit.
    pub fn amount(&self, amount: &Number) -> String {
        match self {
            Scarce::Amount { dimension } => dimension.amount(amount),
            Scarce::Port { .. } => "holds it".to_owned(),
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.act)?;
        match &self.node {
            Some(node) => write!(f, " -> it fits on {node}")?,
            None => f.write_str(" -> it fits there")?,
        }
        let victims: Vec<String> = self.preempts.iter().map(AllocId::to_string).collect();
        if victims.is_empty() { Ok(()) } else { write!(f, ", and {} would go for it", victims.join(", ")) }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Change { job, change } => write!(f, "in job {job}, {change}"),
            Act::Deploy { job, group: None } => write!(f, "run job {job}, which is nowhere"),
            Act::Deploy { job, group: Some(group) } => write!(f, "run group `{group}` of job {job}, which is nowhere"),
            Act::Stop { allocs } => {
                let allocs: Vec<String> = allocs.iter().map(AllocId::to_string).collect();
                write!(f, "stop {}", allocs.join(", "))
            }
            Act::Repair { broken, fault: Fault::Lost } => write!(f, "bring node {broken} back, which is lost"),
            Act::Repair { broken, fault: Fault::Draining } => {
                write!(f, "let node {broken}, which is drained, take work again: `berth enable {broken}`")
            }
            Act::Repair { broken, fault: Fault::DiskFull } => write!(f, "free disk on node {broken}, which is full"),
            Act::AddNodes { count: 1, shape } => write!(f, "add a node with {shape}"),
            Act::AddNodes { count, shape } => write!(f, "add {count} nodes, each with {shape}"),
            Act::PreemptMax { preempt_max } => write!(f, "set the server's `preempt_max` to {preempt_max}"),
        }
    }
}

impl fmt::Display for NodeShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Resources { cpu_millis, memory_bytes, disk_bytes, .. } = &self.resources;
        let amounts = [(Dimension::Cpu, cpu_millis), (Dimension::Memory, memory_bytes), (Dimension::Disk, disk_bytes)];
        let amounts = amounts.map(|(dimension, amount)| format!("{} of {dimension}", dimension.amount(amount)));
        f.write_str(&amounts.join(", "))?;
        let mut kinds: std::collections::BTreeMap<String, u32> = std::collections::BTreeMap::new();
        for device in &self.devices {
            *kinds.entry(device.kind.to_string()).or_default() += 1;
        }
        for (kind, count) in kinds {
            write!(f, ", {count} x device `{kind}`")?;
        }
        for (key, value) in &self.attributes {
            write!(f, ", `{key} = {value}`")?;
        }
        Ok(())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Priority { priority } => write!(f, "set `priority` to {priority}"),
            Change::DropConstraint { group: None, constraint } => write!(f, "drop the constraint {constraint}"),
            Change::DropConstraint { group: Some(group), constraint } => {
                write!(f, "drop the constraint {constraint} of group `{group}`")
            }
            Change::DropDeviceConstraint { device, constraint, .. } => {
                write!(f, "drop the constraint {constraint} of device `{device}`")
            }
            Change::Ask { task, dimension, amount, .. } => {
                write!(f, "let task `{task}` ask for {} of {dimension}", dimension.amount(amount))
            }
            Change::DeviceCount { device, count, .. } => write!(f, "let device `{device}` ask for {count}"),
            Change::DeviceShare { device, thousandths, .. } => {
                write!(f, "let device `{device}` ask for {} of one", parts(u64::from(*thousandths)))
            }
            Change::Port { port, number: None, .. } => write!(f, "let port `{port}` have any number"),
            Change::Port { port, number: Some(number), .. } => write!(f, "give port `{port}` the number {number}"),
            Change::AtMost { group, per, from, to } => {
                write!(f, "let {to} instead of {from} of group `{group}` share a {per}")
            }
            Change::DropAtMost { group, per, from } => {
                write!(f, "drop the limit of {from} for each {per} of group `{group}`")
            }
            Change::DropRelation { sense, to, to_group, within, .. } => {
                let rule = match sense {
                    Sense::Near => "affinity",
                    Sense::Apart => "anti-affinity",
                };
                let group = to_group.as_ref().map(|group| format!(", group `{group}`,")).unwrap_or_default();
                write!(f, "drop the {rule} to job `{to}`{group} within a {within}")
            }
            Change::Count { group, count } => write!(f, "set `count` of group `{group}` to {count}"),
            Change::MaxParallel { group, count } => {
                write!(f, "set `update.max_parallel` of group `{group}` to {count}")
            }
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filter::NodeLost => f.write_str("node is lost"),
            Filter::DiskFull => f.write_str("disk is full"),
            Filter::Draining => f.write_str("node is drained"),
            Filter::DriverMissing { driver } => write!(f, "driver `{driver}` is missing"),
            Filter::Constraint { attribute, operator, values } => {
                let (attribute, operator, values) = (attribute.clone(), operator.clone(), values.clone());
                write!(f, "constraint {}", Constraint { attribute, operator, values })
            }
            Filter::DeviceMissing { device } => write!(f, "too few devices `{device}` that suit"),
            Filter::AtMost { count, per } => write!(f, "{per} has {count} of the group already"),
            Filter::Relation { sense, job, group, within } => {
                let what = match sense {
                    Sense::Near => "no allocation",
                    Sense::Apart => "an allocation",
                };
                let group = group.as_ref().map(|group| format!(", group `{group}`,")).unwrap_or_default();
                write!(f, "{what} of job `{job}`{group} in the same {within}")
            }
            Filter::Shunned { by } => write!(f, "job {by} must not have it near"),
            Filter::PortTaken { port } => write!(f, "port {port} is taken"),
            Filter::DynamicPortsExhausted => f.write_str("dynamic ports are all taken"),
            Filter::Exhausted { dimension } => write!(f, "too little {dimension} left"),
        }
    }
}

impl fmt::Display for NodeConditionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NodeConditionKind::DiskFull => "disk full",
        })
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dimension::Cpu => f.write_str("cpu"),
            Dimension::Memory => f.write_str("memory"),
            Dimension::Disk => f.write_str("disk"),
            Dimension::Network => f.write_str("network"),
            Dimension::Device { device } => write!(f, "device `{device}`"),
        }
    }
}

impl Dimension {
    /// An amount of it, with its unit.
    pub fn amount(&self, amount: &Number) -> String {
        match self {
            Dimension::Cpu => berth_model::CpuMillis(amount.0).to_string(),
            Dimension::Memory | Dimension::Disk => berth_model::Bytes(amount.0).to_string(),
            Dimension::Network => berth_model::Mbits(amount.0).to_string(),
            Dimension::Device { .. } => parts(amount.0),
        }
    }
}

/// Thousandths as a number with as few decimals as will do.
pub fn parts(thousandths: u64) -> String {
    let (whole, part) = (thousandths / 1000, format!("{:03}", thousandths % 1000));
    let part = part.trim_end_matches('0');
    if part.is_empty() { whole.to_string() } else { format!("{whole}.{part}") }
}

impl fmt::Display for NearestMiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = |number| self.dimension.amount(number);
        let (node, dimension) = (&self.node, &self.dimension);
        let (wanted, free, capacity) = (amount(&self.wanted), amount(&self.free), amount(&self.capacity));
        write!(f, "nearest is node {node}: {wanted} of {dimension} wanted, {free} of {capacity} free")
    }
}

fn write_filtered(f: &mut fmt::Formatter<'_>, filtered: &[FilterCount]) -> fmt::Result {
    for (index, count) in filtered.iter().enumerate() {
        let nodes = if count.nodes == 1 { "node" } else { "nodes" };
        write!(f, "{}{} {nodes}: {}", if index == 0 { " (" } else { "; " }, count.nodes, count.filter)?;
    }
    f.write_str(if filtered.is_empty() { "" } else { ")" })
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitReason::Queued => f.write_str("queued for the next decision"),
            WaitReason::NoNodes => f.write_str("the cluster has no nodes"),
            WaitReason::NoNodeFits { filtered, nearest, verdict, .. } => {
                f.write_str(match verdict {
                    Verdict::Waiting => "no node has room now",
                    Verdict::Never => "no node of this cluster could ever take it",
                })?;
                write_filtered(f, filtered)?;
                nearest.as_ref().map_or(Ok(()), |nearest| write!(f, "; {nearest}"))
            }
            WaitReason::GangIncomplete { fit, wanted, filtered, nearest, verdict, .. } => {
                let ever = match verdict {
                    Verdict::Waiting => "would fit now",
                    Verdict::Never => "would fit now, and not all of them even if the nodes were empty",
                };
                write!(f, "placed together or not at all: {fit} of {wanted} {ever}")?;
                write_filtered(f, filtered)?;
                nearest.as_ref().map_or(Ok(()), |nearest| write!(f, "; {nearest}"))
            }
            WaitReason::Preempting { node, victims, .. } => {
                let victims: Vec<String> = victims.iter().map(AllocId::to_string).collect();
                write!(f, "no node has room; {} of lower priority make room on node {node}", victims.join(", "))
            }
            WaitReason::BackOff { until, failed } => write!(f, "{failed} failed; next try at {until}"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Complete => f.write_str("complete"),
            Outcome::Stopped => f.write_str("stopped"),
            Outcome::Preempted { by, job } => write!(f, "preempted by {by} of job {job}"),
            Outcome::Drained { node } => write!(f, "stopped by the drain of node {node}"),
            Outcome::Failed { failure } => write!(f, "failed: {}", failure.message),
            Outcome::Lost { node } => write!(f, "lost with node {node}"),
        }
    }
}

impl fmt::Display for ExitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitKind::Status { status } => write!(f, "status {status}"),
            ExitKind::Signal { signal } => write!(f, "signal {signal}"),
            ExitKind::OutOfMemory => f.write_str("killed for its memory limit"),
            ExitKind::Failure { failure } => f.write_str(&failure.message),
        }
    }
}

impl fmt::Display for JobOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            JobOutcome::Stopped => "stopped",
            JobOutcome::Complete => "complete",
            JobOutcome::Failed => "failed",
        })
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Term::Utilisation => "utilisation",
            Term::SameGroup => "same group",
            Term::Fragmentation => "fragmentation",
            Term::FailedHere => "failed here",
            Term::Preference => "preference",
            Term::Affinity => "affinity",
            Term::AntiAffinity => "anti-affinity",
            Term::Spread => "spread",
            Term::Emptiness => "emptiness",
        })
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Happening::JobVersion { job, version } => write!(f, "job {job} accepted as version {version}"),
            Happening::JobStopping { job } => write!(f, "job {job} is stopping"),
            Happening::JobEnded { job, outcome } => write!(f, "job {job} ended: {outcome}"),
            Happening::JobCollected { job } => write!(f, "job {job} was forgotten"),
            Happening::NodeReady { node } => write!(f, "node {node} is ready"),
            Happening::NodeLost { node } => write!(f, "node {node} was lost"),
            Happening::NodeCollected { node } => write!(f, "node {node} was forgotten"),
            Happening::NodeDraining { node, deadline: None } => write!(f, "node {node} is to be emptied"),
            Happening::NodeDraining { node, deadline: Some(deadline) } => {
                write!(f, "node {node} is to be emptied by {deadline}")
            }
            Happening::NodeDrained { node } => write!(f, "node {node} is drained: nothing is left on it"),
            Happening::NodeEnabled { node } => write!(f, "node {node} takes work again"),
            Happening::NodeAbandoned { node } => write!(f, "what was kept on lost node {node} is given up"),
            Happening::AllocCreated { alloc, job, replaces: None } => write!(f, "{alloc} of {job} was made"),
            Happening::AllocCreated { alloc, job, replaces: Some(old) } => {
                write!(f, "{alloc} of {job} was made in place of {old}")
            }
            Happening::AllocWaiting { alloc, job } => write!(f, "{alloc} of {job} waits"),
            Happening::AllocPlaced { alloc, job, node } => write!(f, "{alloc} of {job} was placed on {node}"),
            Happening::AllocRunning { alloc, job, node } => write!(f, "{alloc} of {job} runs on {node}"),
            Happening::AllocReady { alloc, job } => write!(f, "{alloc} of {job} is ready"),
            Happening::TaskRestarting { alloc, job, task, exit } => {
                write!(f, "task {task} of {alloc} of {job} ended ({}) and is started again", exit.how)
            }
            Happening::CheckFailing { alloc, job, task, check, output } => {
                write!(f, "check {check} of task {task} of {alloc} of {job} fails: {output}")
            }
            Happening::AllocStopping { alloc, job } => write!(f, "{alloc} of {job} is stopping"),
            Happening::AllocEnded { alloc, job, outcome } => write!(f, "{alloc} of {job} ended: {outcome}"),
            Happening::Finalised { format } => write!(f, "what is stored has format {format} from here on"),
            Happening::PolicyChanged { name, version } => write!(f, "policy {name} holds, as version {version}"),
            Happening::AuthorityAdded { authority } => write!(f, "certificate authority {authority} signs"),
            Happening::AuthorityRetired { authority } => {
                write!(f, "certificate authority {authority} is believed no more")
            }
            Happening::TokenMade { role, node: None, expires } => {
                write!(f, "a join token for one {role} was made, good until {expires}")
            }
            Happening::TokenMade { role, node: Some(node), expires } => {
                write!(f, "a join token for the {role} of node {node} was made, good until {expires}")
            }
            Happening::Joined { role: Role::Agent, name } => write!(f, "node {name} has joined"),
            Happening::Joined { role: Role::Server, name } => write!(f, "server {name} has joined"),
            Happening::NodeRevoked { name } => write!(f, "node {name} was shut out"),
        }
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            JobKind::Service => "service",
            JobKind::Batch => "batch",
            JobKind::System => "system",
        })
    }
}

//! Who waits, since when, and for what.

use std::collections::{BTreeMap, BTreeSet};

use berth_model::{AllocId, Dimension, Filter, Filtered, Timestamp, Verdict, WaitReason};
use serde::Serialize;

use super::report::Seconds;

/// What an instance lacks: of all that kept machines from taking it, what kept the most of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lack {
    /// Processors.
    Cpu,
    /// GPUs.
    Gpu,
    /// Bandwidth of network cards.
    Rdma,
    /// Memory.
    Memory,
    /// Disk.
    Disk,
    /// Machines that have not as many of the service as one may have.
    PerNode,
    /// Machines of its role, or that are there at all.
    Role,
    /// A machine that could ever take it.
    Never,
    /// Something that this trace does not ask for.
    Other,
}

impl Lack {
    pub(super) fn of(reason: &WaitReason) -> Lack {
        match reason {
            WaitReason::NoNodeFits { verdict: Verdict::Never, .. } => Lack::Never,
            WaitReason::NoNodeFits { filtered, .. } => most(filtered),
            WaitReason::NoNodes => Lack::Role,
            WaitReason::Queued
            | WaitReason::GangIncomplete { .. }
            | WaitReason::Preempting { .. }
            | WaitReason::BackOff { .. } => Lack::Other,
        }
    }
}

/// What removed the most machines; their role only where nothing else did.
fn most(filtered: &Filtered) -> Lack {
    let lacks = filtered.iter().map(|(filter, machines)| (of_filter(filter), *machines));
    // Of equals the last would be taken.
    let most = lacks.rev().max_by_key(|(lack, machines)| (*lack != Lack::Role, *machines));
    most.map_or(Lack::Other, |(lack, _)| lack)
}

fn of_filter(filter: &Filter) -> Lack {
    match filter {
        Filter::Exhausted(Dimension::Cpu) => Lack::Cpu,
        Filter::Exhausted(Dimension::Memory) => Lack::Memory,
        Filter::Exhausted(Dimension::Disk) => Lack::Disk,
        Filter::Exhausted(Dimension::Network) => Lack::Rdma,
        Filter::Exhausted(Dimension::Device(_)) | Filter::DeviceMissing(_) => Lack::Gpu,
        Filter::AtMost(_) => Lack::PerNode,
        Filter::Constraint(_) => Lack::Role,
        Filter::NodeLost
        | Filter::DiskFull
        | Filter::Draining
        | Filter::DriverMissing(_)
        | Filter::PortTaken(_)
        | Filter::DynamicPortsExhausted
        | Filter::Relation(_)
        | Filter::Shunned(_) => Lack::Other,
    }
}

/// One that waits.
struct Waiting {
    /// What it lacks now, and since when.
    lack: Lack,
    since: Timestamp,
    /// How long it has lacked what, in milliseconds.
    lacked: BTreeMap<Lack, u64>,
}

/// How waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was placed.
    Placed,
    /// It was deleted, or the trace ended.
    Not,
}

/// All waiting of a replay.
#[derive(Default)]
pub(super) struct Waits {
    now: BTreeMap<AllocId, Waiting>,
    /// How long those waited that do so no more, in milliseconds.
    all: Vec<u64>,
    by_lack: BTreeMap<Lack, Lacked>,
}

/// Those that lacked the same.
#[derive(Default)]
struct Lacked {
    millis: Vec<u64>,
    not_placed: u64,
}

/// How long instances waited for want of one thing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WaitsFor {
    /// What they lacked.
    pub reason: Lack,
    /// How many lacked it for a while; one that lacked several things counts for each.
    pub instances: u64,
    /// How many of these lacked it when they were deleted without ever being placed, or when the trace ended.
    pub not_placed: u64,
    /// How long each of them lacked it.
    pub seconds: Seconds,
}

impl Waits {
    /// How many wait now.
    pub(super) fn count(&self) -> usize {
        self.now.len()
    }

    /// It waits, for this.
    pub(super) fn wait(&mut self, id: AllocId, lack: Lack, now: Timestamp) {
        let new = || Waiting { lack, since: now, lacked: BTreeMap::new() };
        let waiting = self.now.entry(id).or_insert_with(new);
        if waiting.lack != lack {
            *waiting.lacked.entry(waiting.lack).or_default() += now.since(waiting.since).0;
            (waiting.lack, waiting.since) = (lack, now);
        }
    }

    /// It waits no more, if it did.
    pub(super) fn end(&mut self, id: AllocId, end: End, now: Timestamp) {
        let Some(mut waiting) = self.now.remove(&id) else { return };
        *waiting.lacked.entry(waiting.lack).or_default() += now.since(waiting.since).0;
        self.all.push(waiting.lacked.values().sum());
        for (lack, millis) in waiting.lacked {
            self.by_lack.entry(lack).or_default().millis.push(millis);
        }
        if end == End::Not {
            self.by_lack.entry(waiting.lack).or_default().not_placed += 1;
        }
    }

    /// Everyone who still waits does so until now.
    pub(super) fn end_all(&mut self, now: Timestamp) {
        let left: BTreeSet<AllocId> = self.now.keys().copied().collect();
        for id in left {
            self.end(id, End::Not, now);
        }
    }

    /// How long everyone waited who did, and by what they lacked, most instances first.
    pub(super) fn told(self) -> (u64, Seconds, Vec<WaitsFor>) {
        let told = |(reason, lacked): (Lack, Lacked)| WaitsFor {
            reason,
            instances: lacked.millis.len() as u64,
            not_placed: lacked.not_placed,
            seconds: Seconds::of(lacked.millis),
        };
        let mut by_lack: Vec<WaitsFor> = self.by_lack.into_iter().map(told).collect();
        by_lack.sort_by_key(|waits| std::cmp::Reverse(waits.instances));
        (self.all.len() as u64, Seconds::of(self.all), by_lack)
    }
}

#[cfg(test)]
mod tests {
    use berth_model::{AtMost, Constraint, Domain, Incarnation, Operator};

    use super::*;

    fn id(counter: u64) -> AllocId {
        AllocId::new(Incarnation(1), counter)
    }

    #[test]
    fn what_keeps_most_machines_away_is_the_reason() {
        let role = Filter::Constraint(Constraint { attribute: "r".to_owned(), operator: Operator::Is("x".to_owned()) });
        let per_node = Filter::AtMost(AtMost { count: 1, per: Domain::Node });
        let cpu = Filter::Exhausted(Dimension::Cpu);
        let told = |filters: &[(&Filter, u32)]| most(&filters.iter().map(|(f, n)| ((*f).clone(), *n)).collect());
        assert_eq!(told(&[(&role, 90), (&cpu, 4), (&per_node, 6)]), Lack::PerNode);
        assert_eq!(told(&[(&role, 90), (&cpu, 6), (&per_node, 6)]), Lack::Cpu, "of equals the first");
        assert_eq!(told(&[(&role, 90)]), Lack::Role);
    }

    #[test]
    fn waiting_is_counted_by_what_was_lacked_and_in_all() {
        let mut waits = Waits::default();
        waits.wait(id(1), Lack::Gpu, Timestamp(1_000));
        waits.wait(id(1), Lack::Gpu, Timestamp(2_000));
        waits.wait(id(1), Lack::Cpu, Timestamp(3_000));
        waits.wait(id(2), Lack::Gpu, Timestamp(3_000));
        waits.end(id(1), End::Placed, Timestamp(10_000));
        waits.end(id(7), End::Placed, Timestamp(10_000));
        waits.end_all(Timestamp(11_000));
        let (count, all, by_lack) = waits.told();
        assert_eq!((count, all), (2, Seconds { p50: 8.0, p99: 9.0, max: 9.0 }));
        let told: Vec<_> = by_lack.iter().map(|w| (w.reason, w.instances, w.not_placed, w.seconds.max)).collect();
        assert_eq!(told, [(Lack::Gpu, 2, 1, 8.0), (Lack::Cpu, 1, 0, 7.0)]);
    }
}

//! The invariants that hold at every moment: of each commit, each word that leaves a server, each start of a run.

use std::collections::{BTreeMap, BTreeSet};

use berth_control::Event;
use berth_model::{
    Alloc, AllocId, AllocState, Cause, CommandResult, DesiredAlloc, DeviceAmount, DeviceId, Epoch, Goal, GroupSpec,
    JobKind, LedgerEntry, Mutation, Node, NodeId, NodeState, OnPartition, Order, Outcome, Placement, Port, Resources,
    TaskName, Timestamp,
};

use crate::Invariant;
use crate::facts::Holding;
use crate::log::Log;
use crate::network::StreamId;
use crate::server::ServerId;
use crate::world::{MachineId, World};

/// Mutations of a commit, at most: the store's limit of 128 operations, less the guards.
pub(crate) const MAX_MUTATIONS: usize = 126;
/// Entries of the ledger beyond what the settings say, at most: it is collected once a minute.
const LEDGER_SLACK: usize = 6000;
/// How long, in milliseconds, what the store has carried out takes at most until its server acts on it.
const PROVEN_WITHIN: u64 = 500;
/// How much later than that, in milliseconds, what was given time on a lost node is given up, at most.
const OVERDUE: u64 = 10_000;
/// Commits of one server within which it gives up what was on a lost node, at most: each ends dozens.
const COMMITS_TO_GIVE_UP: u32 = 20;
/// How far apart the clocks of two servers may be.
const CLOCKS_APART: u64 = 2000;

/// Adds a line for what a server hears.
pub(crate) fn line_of(log: &mut Log, now: u64, id: ServerId, event: &Event) {
    match event {
        Event::Command { request, command } => {
            log.line(now, format_args!("server {id}: request {} under {}", request.0, command.key.0));
        }
        Event::AgentConnected { session, hello } => {
            log.line(now, format_args!("server {id}: stream {} of {}", session.0, hello.agent.0));
        }
        Event::AgentReport { session, report } => log.line(
            now,
            format_args!(
                "server {id}: report {} on stream {}: {} allocs",
                report.serial,
                session.0,
                report.allocs.len()
            ),
        ),
        Event::AgentDisconnected { session } => {
            log.line(now, format_args!("server {id}: stream {} ended", session.0));
        }
        Event::Committed { commit, revision } => {
            log.line(now, format_args!("server {id}: commit {} at revision {}", commit.0, revision.0));
        }
        Event::CommitFailed { commit, error } => {
            log.line(now, format_args!("server {id}: commit {} failed: {error:?}", commit.0));
        }
        Event::Woke => log.line(now, format_args!("server {id}: woke")),
    }
}

/// An instance that was ready for this long may be preempted though the one before it was.
const PROVEN_MS: u64 = 600_000;

impl World {
    /// Checks a commit that is about to be carried out against what is durable.
    pub(crate) fn check_commit(&mut self, mutations: &[Mutation], now: Timestamp) {
        if mutations.is_empty() {
            return;
        }
        self.check_meta(mutations);
        for mutation in mutations {
            match mutation {
                Mutation::PutAlloc(alloc) => {
                    self.check_alloc(alloc, mutations);
                    self.check_preemption(alloc, mutations, now);
                }
                Mutation::PutNode(node) => {
                    self.check_drained(node, mutations);
                    self.facts.nodes.insert(node.agent.clone(), node.id);
                    self.facts.nodes_made.insert(node.id);
                }
                Mutation::PutCommand(record) => {
                    let key = (record.principal.clone(), record.namespace.clone(), record.key.clone());
                    let value = (record.id, record.outcome.clone());
                    let earlier = self.facts.commands.insert(key, value.clone());
                    let once = earlier.as_ref().is_none_or(|e| *e == value);
                    let what = format_args!("key {} is done as {:?} and as {value:?}", record.key.0, earlier);
                    self.holds(Invariant::AppliedOnce, once, what);
                    self.facts.command_ids.insert(record.id);
                }
                Mutation::DeleteCommand(_, _, key) => {
                    // Outcomes are kept for a day, longer than any simulation.
                    self.broken(Invariant::AckedIsKept, format_args!("the outcome of {} is deleted", key.0));
                }
                Mutation::PutMeta(_)
                | Mutation::DeleteNode(_)
                | Mutation::PutJob(_)
                | Mutation::DeleteJob(_)
                | Mutation::PutJobVersion(..)
                | Mutation::DeleteJobVersion(..)
                | Mutation::DeleteAlloc(_)
                | Mutation::PutLedger(_)
                | Mutation::DeleteLedger(_)
                | Mutation::PutPolicy(_)
                | Mutation::PutTrust(_)
                | Mutation::DeleteTrust(_) => {}
            }
        }
        self.check_causes(mutations, now);
        self.check_budget(mutations);
        self.check_moves(mutations);
        self.touched = touched(mutations);
    }

    /// Of a node that is called drained nothing is stored as being there.
    fn check_drained(&mut self, node: &Node, mutations: &[Mutation]) {
        let was = self.store.nodes.get(&node.id).and_then(|node| node.drain.as_ref()?.done);
        let now = node.drain.as_ref().and_then(|drain| drain.done);
        if now.is_none() || was.is_some() {
            return;
        }
        let ends = |id: AllocId| {
            mutations.iter().any(|m| matches!(m, Mutation::PutAlloc(alloc) if alloc.id == id && alloc.is_ended()))
        };
        let on = self.store.allocs.values().filter(|alloc| alloc.occupies() == Some(node.id));
        let left = on.map(|alloc| alloc.id).find(|id| !ends(*id));
        let what = format_args!("{} is called drained with {left:?} on it", node.id);
        self.holds(Invariant::DrainedIsEmpty, left.is_none(), what);
    }

    fn check_meta(&mut self, mutations: &[Mutation]) {
        let metas = mutations.iter().filter_map(|m| if let Mutation::PutMeta(meta) = m { Some(*meta) } else { None });
        let (old, metas) = (self.store.meta, metas.collect::<Vec<_>>());
        let [new] = metas.as_slice() else {
            self.broken(Invariant::EpochsGoForward, format_args!("a commit without its counters and epoch"));
            return;
        };
        let forward = new.epoch >= old.epoch && new.incarnation >= old.incarnation;
        self.holds(
            Invariant::EpochsGoForward,
            forward,
            format_args!("epoch {} is stored after {}", new.epoch, old.epoch),
        );
        let counters = |m: &berth_model::Meta| [m.allocs, m.nodes, m.commands, m.decisions, m.events];
        let grown = counters(new).iter().zip(counters(&old)).all(|(new, old)| *new >= old);
        self.holds(Invariant::IdsAreNew, grown, format_args!("counters go back from {old:?} to {new:?}"));
        self.next_meta = *new;
    }

    fn check_alloc(&mut self, alloc: &Alloc, mutations: &[Mutation]) {
        let id = alloc.id;
        match self.store.allocs.get(&id) {
            None => {
                let new = self.facts.made.insert(id) && id.counter <= self.next_meta.allocs;
                self.holds(Invariant::IdsAreNew, new, format_args!("{id} is made a second time"));
                self.facts.allocs += 1;
                self.facts.moves += u64::from(alloc.moved_from().is_some());
            }
            Some(old) => {
                let changed = old.is_ended() && (old.state != alloc.state);
                self.holds(Invariant::EndIsFinal, !changed, format_args!("{id} had ended and is {:?}", alloc.state));
            }
        }
        let Some(node) = alloc.placement().map(|placement| placement.node) else { return };
        let is_new = self.store.allocs.get(&id).is_none_or(|old| old.placement().is_none());
        let in_commit = mutations.iter().find_map(|mutation| match mutation {
            Mutation::PutNode(put) if put.id == node => Some(put),
            _ => None,
        });
        let is_drained = in_commit.or(self.store.nodes.get(&node)).is_some_and(|node| node.drain.is_some());
        let comes = is_new && is_drained && matches!(alloc.state, AllocState::Placed { .. });
        self.holds(Invariant::DrainedIsEmpty, !comes, format_args!("{id} is placed on {node}, which is drained"));
        let first = *self.facts.placed.entry(id).or_insert(node);
        self.holds(Invariant::OneNode, first == node, format_args!("{id} is placed on {first} and on {node}"));
    }

    /// Checks one that begins to make room for another: against the priorities as stored, and against what became of the
    /// one that it replaced, which the same commit may tell.
    fn check_preemption(&mut self, victim: &Alloc, with: &[Mutation], now: Timestamp) {
        let AllocState::Stopping { cause: Cause::Preemption { by, job }, .. } = &victim.state else { return };
        let Some(before) = self.store.allocs.get(&victim.id) else { return };
        let ready = match &before.state {
            AllocState::Running { ready, .. } => *ready,
            AllocState::Placed { .. } => None,
            AllocState::Waiting { .. } | AllocState::Stopping { .. } | AllocState::Ended { .. } => return,
        };
        let priority = |job, version| self.store.spec(job, version).map(|spec| spec.priority);
        let preemptor = self.store.allocs.get(by).and_then(|by| priority(&by.job, by.version));
        // One that was made by the same commit is not stored yet: its job is.
        let preemptor = preemptor.or_else(|| self.store.jobs.get(job).map(|job| job.spec.priority));
        let downwards = preemptor.is_none() || preemptor > priority(&victim.job, victim.version);
        let told = |id| {
            with.iter().find_map(|mutation| match mutation {
                Mutation::PutAlloc(alloc) if alloc.id == id => Some(&**alloc),
                _ => None,
            })
        };
        let replaced = victim.replaces.and_then(|id| told(id).or_else(|| self.store.allocs.get(&id)));
        let has_gone = |old: &Alloc| {
            matches!(
                old.state,
                AllocState::Ended { outcome: Outcome::Preempted { .. }, .. }
                    | AllocState::Stopping { cause: Cause::Preemption { .. }, .. }
            )
        };
        // A replacement that goes together with the one that it was to replace, for the same, goes once.
        let together = |old: &Alloc| {
            let for_the_same = matches!(&old.state, AllocState::Stopping { cause: Cause::Preemption { by: other, .. }, .. } if other == by);
            for_the_same && self.store.allocs.get(&old.id).is_some_and(|stored| !has_gone(stored))
        };
        let again = replaced.is_some_and(|old| has_gone(old) && !together(old));
        let proven = ready.is_some_and(|ready| now.0 >= ready.0 + PROVEN_MS);
        let what = format!("{} has to go for {by} of {job} ({preemptor:?}), proven: {proven}", victim.id);
        self.holds(Invariant::PreemptsDownwards, downwards && (!again || proven), format_args!("{what}"));
    }

    fn check_causes(&mut self, mutations: &[Mutation], now: Timestamp) {
        for mutation in mutations {
            match mutation {
                Mutation::PutAlloc(alloc) => {
                    self.check_cause(&alloc.cause, now, format_args!("{}", alloc.id));
                    match &alloc.state {
                        AllocState::Stopping { cause, .. } | AllocState::Ended { cause, .. } => {
                            self.check_cause(cause, now, format_args!("the end of {}", alloc.id));
                        }
                        AllocState::Waiting { .. } | AllocState::Placed { .. } | AllocState::Running { .. } => {}
                    }
                }
                Mutation::PutLedger(entry) => self.check_entry(entry, now),
                Mutation::PutPolicy(set) => self.check_cause(&set.changed.1, now, format_args!("the policy")),
                Mutation::PutJob(job) => self.check_cause(&job.changed.1, now, format_args!("job {}", job.spec.id)),
                Mutation::PutNode(node) => {
                    if let NodeState::Lost { cause, .. } = &node.state {
                        self.check_cause(cause, now, format_args!("the loss of {}", node.id));
                    }
                }
                Mutation::PutMeta(_)
                | Mutation::PutTrust(_)
                | Mutation::DeleteTrust(_)
                | Mutation::DeleteNode(_)
                | Mutation::DeleteJob(_)
                | Mutation::PutJobVersion(..)
                | Mutation::DeleteJobVersion(..)
                | Mutation::DeleteAlloc(_)
                | Mutation::PutCommand(_)
                | Mutation::DeleteCommand(..)
                | Mutation::DeleteLedger(_) => {}
            }
        }
    }

    fn check_entry(&mut self, entry: &LedgerEntry, now: Timestamp) {
        let new = self.facts.entries.insert(entry.id) && entry.id.counter <= self.next_meta.events;
        self.holds(Invariant::IdsAreNew, new, format_args!("ledger entry {} is written twice", entry.id));
        self.check_cause(&entry.cause, now, format_args!("ledger entry {}", entry.id));
        if let Cause::Event(id) = entry.cause {
            self.holds(Invariant::Caused, id < entry.id, format_args!("ledger entry {} follows from {id}", entry.id));
        }
    }

    fn check_cause(&mut self, cause: &Cause, now: Timestamp, of: std::fmt::Arguments<'_>) {
        let holds = match cause {
            Cause::Command(id) => self.facts.command_ids.contains(id),
            Cause::Event(id) => id.counter >= 1 && id.counter <= self.next_meta.events,
            // Report 0 is what an agent says first on a stream.
            Cause::Report { node, .. } => self.facts.nodes_made.contains(node),
            Cause::Preemption { by, .. } => self.facts.made.contains(by),
            Cause::Timer { due, .. } => due.0 <= now.0 + CLOCKS_APART,
            Cause::Balance { from: node, .. } | Cause::Drain { node } => self.facts.nodes_made.contains(node),
        };
        self.holds(Invariant::Caused, holds, format_args!("{of} is caused by {cause}, which never was"));
    }

    /// Checks what is durable after a commit, as far as the commit touched it.
    pub(crate) fn check_store(&mut self) {
        let touched = std::mem::take(&mut self.touched);
        touched.iter().for_each(|id| self.release(*id));
        touched.iter().for_each(|id| self.hold(*id));
        if self.facts.epoch_since.0 != self.store.meta.epoch {
            self.facts.epoch_since = (self.store.meta.epoch, self.now);
        }
        self.check_lost();
        let (kept, allowed) = (self.store.ledger.len(), crate::server::settings(&self.profile).keep_ledger);
        let allowed = usize::try_from(allowed).unwrap_or(usize::MAX).saturating_add(LEDGER_SLACK);
        self.holds(Invariant::Bounded, kept <= allowed, format_args!("{kept} entries in the ledger"));
    }

    /// What was on a lost node is given up with the next commits of whoever leads.
    fn check_lost(&mut self) {
        let epoch = self.store.meta.epoch;
        let mut still_held = BTreeMap::new();
        for node in self.store.nodes.values().filter(|node| !node.is_eligible()) {
            let at_once = |alloc: &&Alloc| self.given_to(alloc) == Some(0);
            if !self.store.allocs.values().filter(|alloc| alloc.occupies() == Some(node.id)).any(|a| at_once(&a)) {
                continue;
            }
            let before =
                self.facts.lost.get(&node.id).filter(|(of, _)| *of == epoch).map_or(0, |(_, commits)| *commits);
            still_held.insert(node.id, (epoch, before + 1));
        }
        self.facts.lost = still_held;
        let stuck = self.facts.lost.iter().find(|(_, (_, commits))| *commits > COMMITS_TO_GIVE_UP);
        let stuck = stuck.map(|(node, _)| *node);
        if let Some(node) = stuck {
            self.broken(Invariant::LossIsFollowed, format_args!("{node} is lost and what is on it is not given up"));
        }
        self.check_overdue(epoch);
    }

    /// What was given time on a lost node is given up soon after that, unless the leader changes meanwhile.
    fn check_overdue(&mut self, epoch: Epoch) {
        let now = self.now;
        let since = |node: NodeId| {
            let known = self.facts.lost_since.get(&node).filter(|(of, _)| *of == epoch);
            (node, known.copied().unwrap_or((epoch, now)))
        };
        self.facts.lost_since =
            self.store.nodes.values().filter(|node| !node.is_eligible()).map(|node| since(node.id)).collect();
        let overdue = self.store.allocs.values().find(|alloc| {
            let lost = alloc.occupies().and_then(|node| self.facts.lost_since.get(&node));
            lost.zip(self.given_to(alloc)).is_some_and(|((_, since), given)| now > since + given + OVERDUE)
        });
        if let Some(id) = overdue.map(|alloc| alloc.id) {
            self.broken(Invariant::LossIsFollowed, format_args!("{id} is on a node that is lost for long"));
        }
    }

    /// How long an allocation stays on a lost node. None: until somebody says so.
    fn given_to(&self, alloc: &Alloc) -> Option<u64> {
        // What runs the same by the newest version is treated as that says.
        let newest = self.store.jobs.get(&alloc.job).and_then(|job| job.spec.group(&alloc.group));
        let own = self.store.spec(&alloc.job, alloc.version).and_then(|spec| spec.group(&alloc.group))?;
        match (own.on_partition, newest.unwrap_or(own).on_partition) {
            (OnPartition::Fence { lease }, _) => Some(lease.0),
            (OnPartition::Keep | OnPartition::Replace { .. }, OnPartition::Replace { after }) => Some(after.0),
            (OnPartition::Keep | OnPartition::Replace { .. }, OnPartition::Keep | OnPartition::Fence { .. }) => None,
        }
    }

    fn release(&mut self, id: AllocId) {
        let Some(held) = self.facts.holdings.remove(&id) else { return };
        if let Some(used) = self.facts.used.get_mut(&held.node) {
            *used = *used - held.resources;
        }
        for port in held.ports {
            self.facts.ports.remove(&(held.node, port));
        }
        for (device, share) in held.devices {
            if let Some(taken) = self.facts.devices.get_mut(&(held.node, device)) {
                *taken -= share;
            }
        }
    }

    fn hold(&mut self, id: AllocId) {
        let Some(alloc) = self.store.allocs.get(&id) else { return };
        let (Some(node), Some(placement)) = (alloc.occupies(), alloc.placement()) else { return };
        let group = self.store.spec(&alloc.job, alloc.version).and_then(|spec| spec.group(&alloc.group));
        let (Some(group), Some(record)) = (group, self.store.nodes.get(&node)) else {
            let what = format_args!("{id} is on {node} and its specification or its node is not stored");
            self.broken(Invariant::Capacity, what);
            return;
        };
        let ports = placement.ports.values().copied().collect();
        let held = Holding { node, resources: group.resources(), ports, devices: devices_of(group, placement) };
        let capacity = record.fingerprint.resources;
        let known: Vec<DeviceId> = record.fingerprint.devices.iter().map(|device| device.id.clone()).collect();
        let used = self.facts.used.entry(node).or_default();
        *used = *used + held.resources;
        let used = *used;
        self.holds(
            Invariant::Capacity,
            used.fits_in(&capacity),
            format_args!("{node} holds {used:?} of {capacity:?} with {id}"),
        );
        for port in &held.ports {
            if let Some(other) = self.facts.ports.insert((node, *port), id) {
                self.broken(Invariant::Capacity, format_args!("port {port} of {node} is given to {other} and {id}"));
            }
        }
        for (device, share) in &held.devices {
            let known = known.contains(device);
            let taken = self.facts.devices.entry((node, device.clone())).or_default();
            *taken += share;
            let taken = *taken;
            let what =
                format_args!("{taken} thousandths of device {device} of {node} are given, {share} of them to {id}");
            self.holds(Invariant::Capacity, known && taken <= 1000, what);
        }
        self.facts.holdings.insert(id, held);
    }

    /// Checks an order that a server is about to send.
    pub(crate) fn check_order(&mut self, id: ServerId, stream: StreamId, order: &Order) {
        match order {
            Order::Welcome { epoch, node, .. } => {
                let durable = *epoch <= self.store.meta.epoch && self.facts.nodes.values().any(|n| n == node);
                let what = format_args!("server {id} welcomes {node} in epoch {epoch} before either is durable");
                self.holds(Invariant::DurableFirst, durable, what);
            }
            Order::Desired(desired) => {
                let Some(stream) = self.streams.get(&stream) else { return };
                let node = self.facts.nodes.get(&self.machines[stream.machine].key).copied();
                for alloc in desired.allocs.iter().filter(|alloc| alloc.goal == Goal::Run) {
                    let placed = node.is_some() && self.facts.placed.get(&alloc.id).copied() == node;
                    let what = format_args!("server {id} orders {} to {node:?}, where it is not placed", alloc.id);
                    self.holds(Invariant::DurableFirst, placed, what);
                }
            }
            Order::Lease { allocs, .. } => {
                let (newest, since) = self.facts.epoch_since;
                let leads = self.servers.get(&id).is_some_and(|server| server.epoch >= newest);
                let what = format_args!("server {id} gives leases when {newest} has been stored for long");
                self.holds(Invariant::FencedAlone, leads || self.now <= since + PROVEN_WITHIN, what);
                let Some(stream) = self.streams.get(&stream) else { return };
                let node = self.facts.nodes.get(&self.machines[stream.machine].key).copied();
                for alloc in allocs {
                    let placed = node.is_some() && self.facts.placed.get(alloc).copied() == node;
                    let over = self.store.allocs.get(alloc).is_some_and(Alloc::is_ended);
                    let what = format_args!("server {id} leases {alloc} to {node:?}, where it is not");
                    self.holds(Invariant::DurableFirst, placed && !over, what);
                }
            }
        }
    }

    /// Checks a run that has just begun: where one is fenced, it is the only one of its place in the cluster.
    fn check_alone(&mut self, number: MachineId, alloc: AllocId) {
        let Some(own) = self.machines[number].shims.get(&alloc).map(|shim| shim.desired.clone()) else { return };
        if own.kind == JobKind::System {
            return;
        }
        let place = |desired: &DesiredAlloc| (desired.job.clone(), desired.group.name.clone(), desired.index);
        let live = self.machines.iter().flat_map(|machine| machine.live());
        let beside = live.filter(|other| other.id != alloc && place(other) == place(&own));
        let fenced = |other: &&DesiredAlloc| own.group.lease().is_some() || other.group.lease().is_some();
        let beside: Vec<AllocId> = beside.filter(fenced).map(|other| other.id).collect();
        let what = format_args!("{alloc} begins on machine {number} while {beside:?} of the same place runs");
        self.holds(Invariant::FencedAlone, beside.is_empty(), what);
    }

    /// Checks an answer that a server is about to give.
    pub(crate) fn check_reply(&mut self, index: usize, result: &CommandResult) {
        let Ok(outcome) = result else { return };
        let request = &self.clients.asked[index].request;
        let key = (request.principal.clone(), request.namespace.clone(), request.key.clone());
        let durable = self.facts.commands.get(&key).is_some_and(|(_, stored)| stored == outcome);
        let what = format_args!("command {index} is answered {outcome:?} before that is durable");
        self.holds(Invariant::DurableFirst, durable, what);
    }

    /// Checks a machine on which a run has just begun.
    pub(crate) fn check_start(&mut self, number: MachineId, alloc: AllocId, task: &TaskName) {
        let machine = &self.machines[number];
        let used: Resources = machine.live().map(|desired| desired.group.resources()).sum();
        let capacity = machine.fingerprint.resources;
        self.holds(
            Invariant::Capacity,
            used.fits_in(&capacity),
            format_args!("processes on machine {number} hold {used:?} of {capacity:?} with {alloc}"),
        );
        let live = self.machines[number].live();
        let ours: BTreeSet<Port> = live.filter(|d| d.id == alloc).flat_map(|d| d.ports.values().copied()).collect();
        let mut rivals = self.machines[number].live().filter(|d| d.ports.values().any(|port| ours.contains(port)));
        let rival = rivals.find(|d| d.id != alloc).map(|d| d.id);
        drop(rivals);
        if let Some(other) = rival {
            let what = format_args!("{other} still has a port of {alloc}, which begins on machine {number}");
            self.broken(Invariant::Capacity, what);
        }
        let first = *self.facts.ran_on.entry(alloc).or_insert(number);
        self.holds(
            Invariant::OneNode,
            first == number,
            format_args!("{alloc} ran on machine {first} and runs on machine {number}"),
        );
        self.check_restarts(number, alloc, task);
        self.check_alone(number, alloc);
    }

    fn check_restarts(&mut self, number: MachineId, alloc: AllocId, task: &TaskName) {
        let machine = &self.machines[number];
        let now = machine.clock.read(self.now).0;
        let Some(policy) = machine.shims.get(&alloc).map(|shim| shim.desired.group.restart.clone()) else { return };
        let starts = self.facts.starts.entry((alloc, task.clone())).or_default();
        starts.push_back(now);
        // A restart counts from the moment it was decided; its run begins a little later.
        let window = policy.interval.0.saturating_sub(1000);
        while starts.front().is_some_and(|first| now.saturating_sub(*first) >= window) {
            starts.pop_front();
        }
        let (many, allowed) = (starts.len(), policy.attempts as usize + 1);
        let what = format_args!(
            "{task} of {alloc} was started {many} times within {}, {allowed} are allowed",
            policy.interval
        );
        self.holds(Invariant::RestartPolicy, many <= allowed, what);
    }
}

fn touched(mutations: &[Mutation]) -> Vec<AllocId> {
    let ids = mutations.iter().filter_map(|mutation| match mutation {
        Mutation::PutAlloc(alloc) => Some(alloc.id),
        Mutation::DeleteAlloc(id) => Some(*id),
        Mutation::PutMeta(_)
        | Mutation::PutNode(_)
        | Mutation::DeleteNode(_)
        | Mutation::PutJob(_)
        | Mutation::DeleteJob(_)
        | Mutation::PutJobVersion(..)
        | Mutation::DeleteJobVersion(..)
        | Mutation::PutCommand(_)
        | Mutation::DeleteCommand(..)
        | Mutation::PutLedger(_)
        | Mutation::DeleteLedger(_)
        | Mutation::PutPolicy(_)
        | Mutation::PutTrust(_)
        | Mutation::DeleteTrust(_) => None,
    });
    ids.collect()
}

/// What a placement gives of devices, in thousandths of each.
fn devices_of(group: &GroupSpec, placement: &Placement) -> Vec<(DeviceId, u64)> {
    let wishes = group.tasks.iter().flat_map(|task| &task.devices);
    let given = wishes.flat_map(|wish| {
        let share = match wish.amount {
            DeviceAmount::Count(_) => 1000,
            DeviceAmount::Share(share) => u64::from(share.0),
        };
        placement.devices.get(&wish.name).into_iter().flatten().map(move |id| (id.clone(), share))
    });
    given.collect()
}

#[cfg(test)]
mod tests {
    use berth_model::{
        AgentKey, CommandId, CommandOutcome, CommandRecord, Epoch, IdempotencyKey, Incarnation, JobId, Meta, Mutation,
        Namespace, Node, NodeId, Principal,
    };

    use super::*;
    use crate::Options;

    fn world() -> World {
        let mut world = World::new(1, &Options::default());
        world.store.meta.epoch = Epoch { incarnation: Incarnation(1), counter: 5 };
        world
    }

    fn meta(world: &World, change: impl FnOnce(&mut Meta)) -> Mutation {
        let mut meta = world.store.meta;
        change(&mut meta);
        Mutation::PutMeta(meta)
    }

    /// The number of the invariant that a commit breaks.
    fn breaks(world: &mut World, mutations: Vec<Mutation>) -> Option<u8> {
        world.violation = None;
        world.check_commit(&mutations, Timestamp(1));
        world.store.apply(mutations);
        world.check_store();
        world.violation.as_ref().map(|violation| violation.invariant.number())
    }

    fn command(counter: u64, key: &str) -> Mutation {
        let job = JobId { namespace: Namespace::default(), name: "job".parse().expect("a name") };
        Mutation::PutCommand(CommandRecord {
            id: CommandId::new(Incarnation(1), counter),
            principal: Principal("admin".to_owned()),
            namespace: Namespace::default(),
            key: IdempotencyKey(key.to_owned()),
            at: Timestamp(1),
            digest: 0,
            outcome: CommandOutcome::Stopping(job),
        })
    }

    #[test]
    fn an_epoch_that_goes_back_is_found() {
        let mut world = world();
        let good = meta(&world, |meta| meta.epoch.counter = 6);
        assert_eq!(breaks(&mut world, vec![good]), None);
        let bad = meta(&world, |meta| meta.epoch.counter = 5);
        assert_eq!(breaks(&mut world, vec![bad]), Some(6));
        let without = vec![Mutation::DeleteNode(NodeId::new(world.store.meta.incarnation, 7))];
        assert_eq!(breaks(&mut world, without), Some(6), "the epoch is part of every commit that writes");
    }

    #[test]
    fn a_command_that_is_applied_twice_is_found() {
        let mut world = world();
        let same = meta(&world, |_| {});
        assert_eq!(breaks(&mut world, vec![same.clone(), command(1, "a")]), None);
        assert_eq!(breaks(&mut world, vec![same.clone(), command(2, "b")]), None);
        assert_eq!(breaks(&mut world, vec![same, command(3, "a")]), Some(4));
    }

    #[test]
    fn a_cause_that_never_was_is_found() {
        let mut world = world();
        let id = NodeId::new(Incarnation(1), 1);
        let cause = Cause::Command(CommandId::new(Incarnation(1), 9));
        let node = Node {
            id,
            agent: AgentKey("agent-0".to_owned()),
            fingerprint: world.machines[0].fingerprint.clone(),
            state: NodeState::Lost { since: Timestamp(1), cause },
            conditions: std::collections::BTreeMap::new(),
            drain: None,
        };
        let counted = meta(&world, |meta| meta.nodes = 1);
        assert_eq!(breaks(&mut world, vec![counted, Mutation::PutNode(node)]), Some(2));
    }

    #[test]
    fn a_welcome_before_its_commit_is_found() {
        let mut world = world();
        let epoch = Epoch { incarnation: Incarnation(1), counter: 6 };
        let node = NodeId::new(Incarnation(1), 1);
        world.check_order(1, 1, &Order::Welcome { epoch, node, heartbeat: berth_model::Millis(1000) });
        assert_eq!(world.violation.map(|violation| violation.invariant), Some(Invariant::DurableFirst));
    }
}

//! Indexes over the state: by slot, by node, by class, by age. Derived, never stored.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use berth_model::{
    AgentKey, Alloc, AllocId, AllocState, Cause, EventId, GroupName, JobId, JobSpec, JobVersion, LedgerEntry, NodeId,
    NodeName, Preemptible, Priority, Relation, Resources, Rules, Timestamp, WaitReason,
};
use siphasher::sip::SipHasher13;

use crate::pace::is_moving;
use crate::state::{CommandKey, is_queued, is_wanted};

/// The place in a group that one allocation after the other fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Slot {
    /// Service and batch: 0 to count-1.
    Index(u32),
    /// System: the node.
    Node(NodeId),
}

impl Slot {
    pub(crate) fn of(alloc: &Alloc) -> Slot {
        match alloc.bound_to {
            Some(node) => Slot::Node(node),
            None => Slot::Index(alloc.index),
        }
    }
}

/// The allocations of one slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlotIndex {
    pub(crate) live: BTreeSet<AllocId>,
    pub(crate) ended: BTreeSet<AllocId>,
    /// The ended one that what comes next in the slot depends on.
    pub(crate) needed: Option<AllocId>,
}

impl SlotIndex {
    /// The newest allocation, ended or not.
    pub(crate) fn latest(&self) -> Option<AllocId> {
        self.live.last().max(self.ended.last()).copied()
    }
}

/// One group of a job.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupIndex {
    pub(crate) slots: BTreeMap<Slot, SlotIndex>,
    /// Slots whose wanted instance is of an older version and has no successor yet.
    pub(crate) outdated: BTreeSet<Slot>,
    /// Slots in the course of a replacement, or without a ready instance: they use up the budget.
    pub(crate) busy: BTreeSet<Slot>,
    /// Batch: slots whose work is over, with whether it succeeded.
    pub(crate) done: BTreeMap<Slot, crate::reconcile::Work>,
}

/// What allocations have in common that can be placed in one go: job, version, group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClassKey {
    pub(crate) job: JobId,
    pub(crate) version: JobVersion,
    pub(crate) group: GroupName,
}

impl ClassKey {
    pub(crate) fn of(alloc: &Alloc) -> ClassKey {
        ClassKey { job: alloc.job.clone(), version: alloc.version, group: alloc.group.clone() }
    }
}

/// What one of a class needs of a node, and who would go for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    pub(crate) resources: Resources,
    pub(crate) priority: Priority,
}

/// What is known of a version of a job for good.
#[derive(Clone, Debug)]
struct Template {
    /// Of each group, see [`template_digest`].
    digests: BTreeMap<GroupName, u64>,
    /// The jobs to which a group has a relation.
    names: BTreeSet<JobId>,
    /// The groups that are fenced.
    fenced: BTreeSet<GroupName>,
    /// Whether a group has rules of any kind.
    ruled: bool,
    /// Its priority, where its allocations may be made to go for others.
    preemptible: Option<Priority>,
}

/// All indexes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    pub(crate) agents: BTreeMap<AgentKey, NodeId>,
    /// Nodes by name. A name can be that of several: of one that is ready, and of others that are lost.
    pub(crate) named: BTreeMap<NodeName, BTreeSet<NodeId>>,
    pub(crate) jobs: BTreeMap<JobId, BTreeMap<GroupName, GroupIndex>>,
    /// Allocations that have not ended, per job.
    pub(crate) live: BTreeMap<JobId, u32>,
    /// Those on their way out for one of higher priority.
    pub(crate) preempted: BTreeSet<AllocId>,
    /// Those for whom others go or have gone.
    pub(crate) preempting: BTreeSet<AllocId>,
    /// Those that are on their way: to being ready, or to their end.
    pub(crate) moving: BTreeSet<AllocId>,
    /// Those that are being moved, each with the one that is to take over: it was not told to stop.
    pub(crate) moves: BTreeMap<AllocId, AllocId>,
    pub(crate) live_on: BTreeMap<NodeId, BTreeSet<AllocId>>,
    pub(crate) ended_on: BTreeMap<NodeId, BTreeSet<AllocId>>,
    /// Those of `live_on` that are fenced.
    pub(crate) fenced_on: BTreeMap<NodeId, BTreeSet<AllocId>>,
    pub(crate) waiting: BTreeMap<ClassKey, BTreeSet<AllocId>>,
    /// Of each of these classes, what one needs: asked for all of them whenever room appears.
    pub(crate) needs: BTreeMap<ClassKey, Need>,
    /// Ended allocations that nothing depends on any more, oldest first: they are kept for questions alone.
    pub(crate) spent: BTreeSet<(Timestamp, AllocId)>,
    /// Allocations that were given up with their node, and that it may still run.
    pub(crate) haunting: BTreeMap<NodeId, BTreeSet<AllocId>>,
    pub(crate) commands_at: BTreeSet<(Timestamp, CommandKey)>,
    pub(crate) ledger_of: BTreeSet<(AllocId, EventId)>,
    /// How many allocations there are of each version, ended ones too.
    pub(crate) version_refs: BTreeMap<(JobId, JobVersion), u32>,
    templates: BTreeMap<(JobId, JobVersion), Template>,
    /// How many versions there are of each priority that others may make go.
    preemptible: BTreeMap<Priority, u32>,
    /// By job: the jobs of which some version has a relation to it, with how many versions.
    related: BTreeMap<JobId, BTreeMap<JobId, u32>>,
}

impl Index {
    /// The indexes of a copy, which has neither ledger nor commands.
    pub(crate) fn copy(&self) -> Index {
        Index { commands_at: BTreeSet::new(), ledger_of: BTreeSet::new(), ..self.clone() }
    }

    pub(crate) fn group(&self, job: &JobId, group: &GroupName) -> Option<&GroupIndex> {
        self.jobs.get(job)?.get(group)
    }

    pub(crate) fn group_mut(&mut self, job: &JobId, group: &GroupName) -> &mut GroupIndex {
        self.jobs.entry(job.clone()).or_default().entry(group.clone()).or_default()
    }

    pub(crate) fn slot(&self, job: &JobId, group: &GroupName, slot: Slot) -> Option<&SlotIndex> {
        self.group(job, group)?.slots.get(&slot)
    }

    /// What decides whether an instance has to be replaced: see [`template_digest`].
    pub(crate) fn template(&self, job: &JobId, version: JobVersion, group: &GroupName) -> Option<u64> {
        self.templates.get(&(job.clone(), version))?.digests.get(group).copied()
    }

    /// Whether the group is fenced in this version of the job.
    pub(crate) fn is_fenced(&self, job: &JobId, version: JobVersion, group: &GroupName) -> bool {
        self.templates.get(&(job.clone(), version)).is_some_and(|template| template.fenced.contains(group))
    }

    pub(crate) fn add_templates(&mut self, version: JobVersion, spec: &JobSpec) {
        let key = (spec.id.clone(), version);
        if self.templates.contains_key(&key) {
            return;
        }
        let digests = spec.groups.iter().map(|group| (group.name.clone(), template_digest(spec, &group.name)));
        let names: BTreeSet<JobId> = relations_of(spec).map(|relation| relation.of(&spec.id.namespace)).collect();
        let ruled = spec.groups.iter().any(|group| group.rules != Rules::default());
        for job in &names {
            *self.related.entry(job.clone()).or_default().entry(spec.id.clone()).or_default() += 1;
        }
        let preemptible = (spec.preemptible == Preemptible::Yes).then_some(spec.priority);
        if let Some(priority) = preemptible {
            *self.preemptible.entry(priority).or_default() += 1;
        }
        let fenced = spec.groups.iter().filter(|group| group.lease().is_some()).map(|group| group.name.clone());
        let (digests, fenced) = (digests.collect(), fenced.collect());
        self.templates.insert(key, Template { digests, names, fenced, ruled, preemptible });
    }

    /// The jobs of which some version has a relation to this one.
    pub(crate) fn named_by(&self, job: &JobId) -> Option<impl Iterator<Item = &JobId>> {
        self.related.get(job).map(BTreeMap::keys)
    }

    /// The lowest priority that there is of those that others may make go.
    pub(crate) fn lowest_preemptible(&self) -> Option<Priority> {
        self.preemptible.keys().next().copied()
    }

    /// Whether rules of its own or of others are about where the job's allocations are.
    pub(crate) fn has_rules_around(&self, job: &JobId) -> bool {
        self.related.contains_key(job) || self.versions_of(job).any(|(_, template)| template.ruled)
    }

    /// The jobs whose rules may say something else when an allocation of this one has moved: itself, those that name it,
    /// and those that it names.
    pub(crate) fn affected_by(&self, job: &JobId) -> BTreeSet<JobId> {
        let named = self.versions_of(job).flat_map(|(_, template)| &template.names);
        let naming = self.related.get(job).into_iter().flat_map(BTreeMap::keys);
        named.chain(naming).chain([job]).cloned().collect()
    }

    fn versions_of<'a>(&'a self, job: &'a JobId) -> impl Iterator<Item = (JobVersion, &'a Template)> {
        let first = (job.clone(), JobVersion(0));
        let of_job = self.templates.range(first..).take_while(move |((of, _), _)| of == job);
        of_job.map(|((_, version), template)| (*version, template))
    }

    /// The classes of a job that have somebody waiting.
    pub(crate) fn waiting_of<'a>(&'a self, job: &'a JobId) -> impl Iterator<Item = ClassKey> {
        let classes = self.versions_of(job).flat_map(move |(version, template)| {
            let groups = template.digests.keys().cloned();
            groups.map(move |group| ClassKey { job: job.clone(), version, group })
        });
        classes.filter(|class| self.waiting.contains_key(class))
    }

    /// The allocations of a job, ended ones too.
    pub(crate) fn of_job(&self, job: &JobId) -> impl Iterator<Item = AllocId> {
        let slots = self.jobs.get(job).into_iter().flat_map(BTreeMap::values).flat_map(|group| group.slots.values());
        slots.flat_map(|slot| slot.live.iter().chain(&slot.ended).copied())
    }

    pub(crate) fn drop_templates(&mut self, job: &JobId, version: JobVersion) {
        let Some(template) = self.templates.remove(&(job.clone(), version)) else { return };
        if let Some(priority) = template.preemptible {
            take_one(&mut self.preemptible, &priority);
        }
        for named in template.names {
            let Some(by) = self.related.get_mut(&named) else { continue };
            take_one(by, job);
            if by.is_empty() {
                self.related.remove(&named);
            }
        }
    }

    pub(crate) fn add_alloc(&mut self, alloc: &Alloc) {
        let slot = self.group_mut(&alloc.job, &alloc.group).slots.entry(Slot::of(alloc)).or_default();
        if alloc.is_ended() {
            slot.ended.insert(alloc.id);
        } else {
            slot.live.insert(alloc.id);
            *self.live.entry(alloc.job.clone()).or_default() += 1;
        }
        *self.version_refs.entry((alloc.job.clone(), alloc.version)).or_default() += 1;
        if let Some(placement) = alloc.placement() {
            let on = if alloc.is_ended() { &mut self.ended_on } else { &mut self.live_on };
            on.entry(placement.node).or_default().insert(alloc.id);
            if !alloc.is_ended() && self.is_fenced(&alloc.job, alloc.version, &alloc.group) {
                self.fenced_on.entry(placement.node).or_default().insert(alloc.id);
            }
        }
        if is_leaving_for_another(alloc) {
            self.preempted.insert(alloc.id);
        }
        if preempting_on(alloc).is_some() {
            self.preempting.insert(alloc.id);
        }
        if is_moving(alloc) {
            self.moving.insert(alloc.id);
        }
        if is_queued(alloc) {
            self.waiting.entry(ClassKey::of(alloc)).or_default().insert(alloc.id);
        }
        self.note_move(alloc);
        self.sort_ended(alloc);
    }

    /// A move is under way while both are there and the new one was not told to stop.
    fn note_move(&mut self, alloc: &Alloc) {
        if alloc.is_ended() {
            self.moves.remove(&alloc.id);
        }
        let Some(old) = alloc.moved_from().filter(|_| is_wanted(alloc)) else { return };
        if self.slot(&alloc.job, &alloc.group, Slot::of(alloc)).is_some_and(|slot| slot.live.contains(&old)) {
            self.moves.insert(old, alloc.id);
        }
    }

    /// Puts an ended allocation among those that nothing depends on any more, or takes it out.
    pub(crate) fn sort_ended(&mut self, alloc: &Alloc) {
        let AllocState::Ended { at, .. } = alloc.state else { return };
        let needed = self.slot(&alloc.job, &alloc.group, Slot::of(alloc)).and_then(|slot| slot.needed);
        if needed == Some(alloc.id) || self.is_haunting(alloc) {
            self.spent.remove(&(at, alloc.id));
        } else {
            self.spent.insert((at, alloc.id));
        }
    }

    fn is_haunting(&self, alloc: &Alloc) -> bool {
        let on = alloc.placement().and_then(|placement| self.haunting.get(&placement.node));
        on.is_some_and(|ids| ids.contains(&alloc.id))
    }

    /// Says which ended allocation of a slot is needed. Gives back those about which that is news.
    pub(crate) fn need(&mut self, job: &JobId, group: &GroupName, slot: Slot, needed: Option<AllocId>) -> Vec<AllocId> {
        let group = self.jobs.get_mut(job).and_then(|groups| groups.get_mut(group));
        let Some(slot) = group.and_then(|group| group.slots.get_mut(&slot)) else { return Vec::new() };
        let before = std::mem::replace(&mut slot.needed, needed);
        if before == needed { Vec::new() } else { before.into_iter().chain(needed).collect() }
    }

    /// What comes next in the slots of a job depends on nothing any more. Gives back what was needed.
    pub(crate) fn need_nothing(&mut self, job: &JobId) -> Vec<AllocId> {
        let groups = self.jobs.get_mut(job).into_iter().flat_map(BTreeMap::values_mut);
        groups.flat_map(|group| group.slots.values_mut()).filter_map(|slot| slot.needed.take()).collect()
    }

    pub(crate) fn remove_alloc(&mut self, alloc: &Alloc) {
        self.leave_slot(alloc);
        take_one(&mut self.version_refs, &(alloc.job.clone(), alloc.version));
        if !alloc.is_ended() {
            take_one(&mut self.live, &alloc.job);
        }
        if let Some(placement) = alloc.placement() {
            let on = if alloc.is_ended() { &mut self.ended_on } else { &mut self.live_on };
            drop_member(on, &placement.node, alloc.id);
            drop_member(&mut self.fenced_on, &placement.node, alloc.id);
        }
        self.preempted.remove(&alloc.id);
        self.preempting.remove(&alloc.id);
        self.moving.remove(&alloc.id);
        if let Some(old) = alloc.moved_from().filter(|old| self.moves.get(old) == Some(&alloc.id)) {
            self.moves.remove(&old);
        }
        if is_queued(alloc) {
            let class = ClassKey::of(alloc);
            drop_member(&mut self.waiting, &class, alloc.id);
            if !self.waiting.contains_key(&class) {
                self.needs.remove(&class);
            }
        }
        if let AllocState::Ended { at, .. } = alloc.state {
            self.spent.remove(&(at, alloc.id));
        }
    }

    /// Forgets that an ended allocation may still run on a node. Says whether that is news.
    pub(crate) fn exorcise(&mut self, node: NodeId, alloc: AllocId) -> bool {
        let haunts = self.haunting.get(&node).is_some_and(|ids| ids.contains(&alloc));
        drop_member(&mut self.haunting, &node, alloc);
        haunts
    }

    fn leave_slot(&mut self, alloc: &Alloc) {
        let Some(groups) = self.jobs.get_mut(&alloc.job) else { return };
        let Some(group) = groups.get_mut(&alloc.group) else { return };
        let at = Slot::of(alloc);
        if let Some(slot) = group.slots.get_mut(&at) {
            slot.live.remove(&alloc.id);
            slot.ended.remove(&alloc.id);
            slot.needed.take_if(|needed| *needed == alloc.id);
            if slot.live.is_empty() && slot.ended.is_empty() {
                group.slots.remove(&at);
            }
        }
        if group.slots.is_empty() {
            groups.remove(&alloc.group);
        }
        if groups.is_empty() {
            self.jobs.remove(&alloc.job);
        }
    }

    /// A node has this name no more.
    pub(crate) fn forget_name(&mut self, name: &NodeName, node: NodeId) {
        drop_member(&mut self.named, name, node);
    }

    pub(crate) fn add_ledger(&mut self, entry: &LedgerEntry) {
        if let Some(alloc) = entry.what.alloc() {
            self.ledger_of.insert((alloc, entry.id));
        }
    }

    pub(crate) fn remove_ledger(&mut self, entry: &LedgerEntry) {
        if let Some(alloc) = entry.what.alloc() {
            self.ledger_of.remove(&(alloc, entry.id));
        }
    }

    /// The entries about an allocation, oldest first.
    pub(crate) fn ledger_of(&self, alloc: AllocId) -> impl DoubleEndedIterator<Item = EventId> + '_ {
        let last = EventId::new(berth_model::Incarnation(u32::MAX), u64::MAX);
        self.ledger_of.range((alloc, EventId::new(berth_model::Incarnation(0), 0))..=(alloc, last)).map(|(_, e)| *e)
    }
}

fn relations_of(spec: &JobSpec) -> impl Iterator<Item = &Relation> {
    spec.groups.iter().flat_map(|group| &group.rules.relations)
}

/// Whether an instance of the group by the one specification is the same by the other, and so is treated as the newer says.
pub fn runs_the_same(one: &JobSpec, other: &JobSpec, group: &GroupName) -> bool {
    template_digest(one, group) == template_digest(other, group)
}

/// A digest of all that an instance of the group is made from. Two versions with the same digest differ in nothing
/// that a running instance would notice, so it is not replaced.
fn template_digest(spec: &JobSpec, group: &GroupName) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    spec.kind.hash(&mut hasher);
    spec.constraints.hash(&mut hasher);
    if let Some(group) = spec.group(group) {
        group.constraints.hash(&mut hasher);
        group.rules.hash(&mut hasher);
        group.network.hash(&mut hasher);
        group.tasks.hash(&mut hasher);
        group.restart.hash(&mut hasher);
        // Agents and shims have to know of this alone; what else is said of partitions holds for what runs already.
        if let Some(lease) = group.lease() {
            lease.hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// The node on which others go or have gone for it, if it waits for that.
pub(crate) fn preempting_on(alloc: &Alloc) -> Option<NodeId> {
    match &alloc.state {
        AllocState::Waiting { reason: WaitReason::Preempting { node, .. }, .. } => Some(*node),
        AllocState::Waiting { .. }
        | AllocState::Placed { .. }
        | AllocState::Running { .. }
        | AllocState::Stopping { .. }
        | AllocState::Ended { .. } => None,
    }
}

/// Whether it was told to stop for one of higher priority.
pub(crate) fn is_leaving_for_another(alloc: &Alloc) -> bool {
    matches!(alloc.state, AllocState::Stopping { cause: Cause::Preemption { .. }, .. })
}

fn take_one<K: Ord + Clone>(counts: &mut BTreeMap<K, u32>, key: &K) {
    match counts.get_mut(key) {
        Some(count) if *count > 1 => *count -= 1,
        Some(_) | None => {
            counts.remove(key);
        }
    }
}

fn drop_member<K: Ord, V: Ord>(sets: &mut BTreeMap<K, BTreeSet<V>>, key: &K, member: V) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(&member);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}

//! The state of the cluster as the core holds it, with the indexes that keep every step cheap.
//!
//! All writes go through `put_…` and `delete_…`: they keep the indexes and the board right, mark what has to be looked
//! at again, and note in the journal what the next commits must write. Nothing here decides anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use berth_model::{
    Alloc, AllocId, AllocState, BuiltIn, Cause, CommandRecord, EventId, Format, GroupName, IdempotencyKey, Job, JobId,
    JobSpec, JobState, JobVersion, LedgerEntry, Meta, Namespace, Node, NodeId, Outcome, Placement, Policy, Principal,
    SetPolicy, Snapshot, Timestamp, Trust, TrustId, WaitReason,
};
use berth_placement::{Board, Class, Eligibility, Hold, Standing, reservation};

use crate::index::{ClassKey, Index, Need, Slot, is_leaving_for_another, preempting_on};
use crate::journal::{Journal, Key, Takes};

/// What has to be looked at again before the step ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dirty {
    /// Slots with a changed allocation, or with a changed wish.
    pub(crate) slots: BTreeSet<(JobId, GroupName, Slot)>,
    /// Jobs that may have ended.
    pub(crate) jobs: BTreeSet<JobId>,
    /// Classes with new members that wait.
    pub(crate) classes: BTreeSet<ClassKey>,
    /// Where room has appeared for those who wait.
    pub(crate) room: Room,
    /// Jobs of which something has come to a place or left one, where rules may be about them.
    pub(crate) moved: BTreeSet<JobId>,
    /// Something has happened that no plan foresees.
    pub(crate) unforeseen: bool,
    /// Nodes whose desired state has changed.
    pub(crate) desired: BTreeSet<NodeId>,
    /// Nodes on which an allocation has changed in any way.
    pub(crate) touched: BTreeSet<NodeId>,
    /// Nodes that are drained, on which something has changed.
    pub(crate) emptying: BTreeSet<NodeId>,
    /// What was placed in this step, for the checker.
    pub(crate) placed: BTreeSet<AllocId>,
    /// Who was told to go in this step, and for whom, for the checker.
    pub(crate) preempted: BTreeMap<AllocId, AllocId>,
    /// Groups in which this step began a replacement, for the checker.
    pub(crate) begun: BTreeSet<(JobId, GroupName)>,
    /// Who is to take over from one that this step began to move, for the checker.
    pub(crate) moves: BTreeSet<AllocId>,
    /// What was made in this step, for the checker.
    pub(crate) created: BTreeSet<AllocId>,
}

/// Where room has appeared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// On these nodes. On all others there is no more than when those who wait were last tried.
    On(BTreeSet<NodeId>),
    /// Nodes have come, gone or changed: also why somebody waits may be another reason now.
    Everywhere,
}

impl Default for Room {
    fn default() -> Self {
        Room::On(BTreeSet::new())
    }
}

impl Room {
    pub(crate) fn appears_on(&mut self, node: NodeId) {
        match self {
            Room::On(nodes) => drop(nodes.insert(node)),
            Room::Everywhere => {}
        }
    }
}

/// What has changed since the optimiser was told.
#[derive(Debug, Default)]
pub(crate) struct Untold {
    pub(crate) nodes: BTreeSet<NodeId>,
    pub(crate) allocs: BTreeSet<AllocId>,
}

impl Untold {
    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.allocs.is_empty()
    }
}

/// Under which a command is stored.
pub(crate) type CommandKey = (Principal, Namespace, IdempotencyKey);

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) meta: Meta,
    /// The newer format that an operator has asked for, until the commit goes out that tells of it.
    pub(crate) finalising: Option<Format>,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) versions: BTreeMap<(JobId, JobVersion), JobSpec>,
    pub(crate) allocs: BTreeMap<AllocId, Alloc>,
    pub(crate) commands: BTreeMap<CommandKey, CommandRecord>,
    pub(crate) ledger: BTreeMap<EventId, LedgerEntry>,
    /// By what is placed.
    pub(crate) policy: Arc<Policy>,
    /// When and why it was set. None: nobody has, and the server's setting holds.
    pub(crate) policy_changed: Option<(Timestamp, Cause)>,
    /// Whom the cluster trusts.
    pub(crate) trust: BTreeMap<TrustId, Trust>,
    pub(crate) index: Index,
    pub(crate) board: Board,
    pub(crate) journal: Journal,
    pub(crate) dirty: Dirty,
    /// What the optimiser has not been told of yet.
    pub(crate) untold: Untold,
    /// Classes that would make others go if a budget allowed it, or if those had proven themselves.
    pub(crate) held_back: BTreeSet<ClassKey>,
    #[cfg(feature = "planted-bugs")]
    pub(crate) bug: Option<crate::planted::Bug>,
}

impl State {
    /// The state that a store holds. This policy holds until somebody sets one.
    pub(crate) fn load(snapshot: Snapshot, policy: BuiltIn) -> State {
        let (policy, policy_changed) = match snapshot.policy {
            Some(SetPolicy { policy, changed }) => (policy, Some(changed)),
            None => (policy.policy(), None),
        };
        let mut state = State { meta: snapshot.meta, policy: Arc::new(policy), policy_changed, ..State::default() };
        state.trust = snapshot.trust.into_iter().map(|trust| (trust.id(), trust)).collect();
        for node in snapshot.nodes {
            state.put_node(node);
        }
        for (version, spec) in snapshot.job_versions {
            let id = spec.id.clone();
            state.index.add_templates(version, &spec);
            state.versions.insert((id, version), spec);
        }
        for job in snapshot.jobs {
            state.put_job(job);
        }
        for alloc in snapshot.allocs {
            state.put_alloc(alloc);
        }
        for record in snapshot.commands {
            state.index.commands_at.insert((record.at, command_key(&record)));
            state.commands.insert(command_key(&record), record);
        }
        for entry in snapshot.ledger {
            state.index.add_ledger(&entry);
            state.ledger.insert(entry.id, entry);
        }
        state.journal = Journal::default();
        state.dirty = Dirty::default();
        state
    }

    /// The state as a store would hold it.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            meta: self.meta,
            nodes: self.nodes.values().cloned().collect(),
            jobs: self.jobs.values().cloned().collect(),
            job_versions: self.versions.iter().map(|((_, version), spec)| (*version, spec.clone())).collect(),
            allocs: self.allocs.values().cloned().collect(),
            commands: self.commands.values().cloned().collect(),
            ledger: self.ledger.values().cloned().collect(),
            policy: self.set_policy(),
            trust: self.trust.values().cloned().collect(),
        }
    }

    /// The policy that somebody has set.
    pub(crate) fn set_policy(&self) -> Option<SetPolicy> {
        let changed = self.policy_changed.clone()?;
        Some(SetPolicy { policy: (*self.policy).clone(), changed })
    }

    /// The specification of a version, be it the newest or an older one that is still kept.
    pub(crate) fn spec(&self, job: &JobId, version: JobVersion) -> Option<&JobSpec> {
        match self.jobs.get(job) {
            Some(newest) if newest.version == version => Some(&newest.spec),
            Some(_) | None => self.versions.get(&(job.clone(), version)),
        }
    }

    /// Whether an allocation runs what the newest version says. A version that changes only counts, budgets or texts
    /// leaves what runs as it is.
    pub(crate) fn is_current(&self, alloc: &Alloc) -> bool {
        let Some(job) = self.jobs.get(&alloc.job) else { return false };
        job.version == alloc.version
            || self.index.template(&alloc.job, job.version, &alloc.group)
                == self.index.template(&alloc.job, alloc.version, &alloc.group)
    }

    /// The specification that says how an allocation is to be treated: the newest, where it leaves what the allocation
    /// runs as it is, else its own.
    pub(crate) fn speaks_for(&self, alloc: &Alloc) -> Option<&JobSpec> {
        match self.jobs.get(&alloc.job) {
            Some(job) if self.is_current(alloc) => Some(&job.spec),
            Some(_) | None => self.spec(&alloc.job, alloc.version),
        }
    }

    /// Whether an allocation is where, and runs what, it should, and nobody is to take over from it elsewhere: else it is
    /// to be replaced.
    pub(crate) fn is_in_place(&self, alloc: &Alloc) -> bool {
        self.is_current(alloc) && !self.index.moves.contains_key(&alloc.id) && !self.has_to_leave(alloc)
    }

    /// Places by another policy from now on. Whoever waits is tried again: a gang may fit where others are put elsewhere.
    pub(crate) fn put_policy(&mut self, set: SetPolicy) {
        let SetPolicy { policy, changed } = set;
        (self.policy, self.policy_changed) = (Arc::new(policy), Some(changed));
        self.dirty.room = Room::Everywhere;
        self.untold.nodes.extend(self.nodes.keys());
        self.untold.allocs.extend(self.allocs.keys());
        self.journal.touch(Key::Policy, Takes::Nothing);
    }

    pub(crate) fn put_trust(&mut self, trust: Trust) {
        self.journal.touch(Key::Trust(trust.id()), Takes::Nothing);
        self.trust.insert(trust.id(), trust);
    }

    pub(crate) fn delete_trust(&mut self, id: &TrustId) {
        if self.trust.remove(id).is_some() {
            self.journal.touch(Key::Trust(id.clone()), Takes::Nothing);
        }
    }

    pub(crate) fn put_node(&mut self, node: Node) {
        let eligibility = eligibility(&node);
        let old = self.nodes.get(&node.id);
        // Also less of it is worth a look: those who wait may do so for another reason now.
        let room = old.is_none_or(|old| self::eligibility(old) != eligibility || old.fingerprint != node.fingerprint);
        self.board.put_node(node.id, &node.fingerprint, eligibility);
        #[cfg(feature = "planted-bugs")]
        if self.bug == Some(crate::planted::Bug::CapacityOffByOne) {
            let mut larger = node.fingerprint.clone();
            larger.resources.cpu.0 += 1000;
            self.board.put_node(node.id, &larger, eligibility);
        }
        if room {
            self.dirty.room = Room::Everywhere;
            self.dirty.unforeseen = true;
        }
        let renamed = old.filter(|old| old.fingerprint.name != node.fingerprint.name);
        if let Some(old) = renamed {
            self.index.forget_name(&old.fingerprint.name, old.id);
        }
        self.index.named.entry(node.fingerprint.name.clone()).or_default().insert(node.id);
        self.index.agents.insert(node.agent.clone(), node.id);
        if room {
            self.untold.nodes.insert(node.id);
        }
        self.journal.touch(Key::Node(node.id), Takes::Nothing);
        self.nodes.insert(node.id, node);
    }

    pub(crate) fn delete_node(&mut self, id: NodeId) {
        let Some(node) = self.nodes.remove(&id) else { return };
        self.board.remove_node(id);
        self.untold.nodes.insert(id);
        self.dirty.room = Room::Everywhere;
        self.index.forget_name(&node.fingerprint.name, id);
        if self.index.agents.get(&node.agent) == Some(&id) {
            self.index.agents.remove(&node.agent);
        }
        self.journal.touch(Key::Node(id), Takes::Nothing);
        let given_up = self.index.haunting.remove(&id);
        self.sort_ended(given_up.into_iter().flatten());
    }

    /// The node does not run the ended allocation any more.
    pub(crate) fn exorcise(&mut self, node: NodeId, id: AllocId) {
        if self.index.exorcise(node, id) {
            self.sort_ended([id]);
        }
    }

    /// Says which ended allocation what comes next in a slot depends on.
    pub(crate) fn need(&mut self, job: &JobId, group: &GroupName, slot: Slot, needed: Option<AllocId>) {
        let news = self.index.need(job, group, slot, needed);
        self.sort_ended(news);
    }

    /// The job is over: how its allocations ended is of interest to those who ask, and to nothing else.
    pub(crate) fn need_nothing(&mut self, job: &JobId) {
        let news = self.index.need_nothing(job);
        self.sort_ended(news);
    }

    fn sort_ended(&mut self, ids: impl IntoIterator<Item = AllocId>) {
        for alloc in ids.into_iter().filter_map(|id| self.allocs.get(&id)) {
            self.index.sort_ended(alloc);
        }
    }

    /// Puts a job. When its version changed, the version before is kept for those that run it.
    pub(crate) fn put_job(&mut self, job: Job) {
        let id = job.spec.id.clone();
        self.index.add_templates(job.version, &job.spec);
        if self.jobs.get(&id).is_none_or(|old| old.version != job.version) {
            for group in &job.spec.groups {
                self.board.expect(Class { job: &job.spec, group }, u64::from(group.count));
            }
        }
        self.journal.touch(Key::Job(id.clone()), Takes::Nothing);
        let version = job.version;
        if let Some(old) = self.jobs.insert(id.clone(), job)
            && old.version != version
        {
            if self.index.version_refs.contains_key(&(id.clone(), old.version)) {
                self.journal.tie_version(&id, old.version);
                self.versions.insert((id.clone(), old.version), old.spec);
            } else {
                self.index.drop_templates(&id, old.version);
            }
            // What runs on may have another priority now.
            let holding = self.index.of_job(&id).filter_map(|alloc| self.allocs.get(&alloc));
            let holds = holding.filter_map(|alloc| {
                let hold = self.board.held(alloc.id)?.clone();
                Some((alloc.id, Hold { standing: self.standing(alloc), ..hold }))
            });
            for (alloc, hold) in holds.collect::<Vec<_>>() {
                self.board.hold(alloc, hold);
            }
        }
        self.dirty.jobs.insert(id);
    }

    pub(crate) fn delete_job(&mut self, id: &JobId) {
        if let Some(job) = self.jobs.remove(id) {
            self.index.drop_templates(id, job.version);
            self.journal.touch(Key::Job(id.clone()), Takes::Nothing);
        }
    }

    pub(crate) fn put_alloc(&mut self, alloc: Alloc) {
        let (id, slot) = (alloc.id, Slot::of(&alloc));
        let old = self.allocs.remove(&id);
        self.mark(old.as_ref(), &alloc);
        if let Some(old) = &old {
            self.index.remove_alloc(old);
        } else {
            self.dirty.created.insert(id);
        }
        if let Some(Outcome::Lost(node)) = outcome(&alloc)
            && self.nodes.contains_key(node)
        {
            self.index.haunting.entry(*node).or_default().insert(id);
        }
        self.index.add_alloc(&alloc);
        if is_queued(&alloc) {
            self.note_need(ClassKey::of(&alloc));
        }
        self.untold.allocs.insert(id);
        // Whether another of the slot can be moved may hang on this one.
        let others = self.index.slot(&alloc.job, &alloc.group, slot).into_iter().flat_map(|slot| &slot.live);
        self.untold.allocs.extend(others);
        self.rehold(&alloc);
        let took = alloc.occupies().is_some() && old.as_ref().is_none_or(|old| old.occupies().is_none());
        if took {
            self.dirty.placed.insert(id);
            // The board holds it already: placing did that.
            self.has_moved(alloc.job.clone(), None);
        }
        self.journal.touch(Key::Alloc(id), if took { Takes::Room } else { Takes::Nothing });
        self.dirty.slots.insert((alloc.job.clone(), alloc.group.clone(), slot));
        self.allocs.insert(id, alloc);
    }

    fn note_need(&mut self, class: ClassKey) {
        if self.index.needs.contains_key(&class) {
            return;
        }
        let Some(spec) = self.spec(&class.job, class.version) else { return };
        let Some(group) = spec.group(&class.group) else { return };
        let need = Need { resources: group.resources(), priority: spec.priority };
        self.index.needs.insert(class, need);
    }

    /// Marks what the change from `old` to `new` makes worth looking at.
    fn mark(&mut self, old: Option<&Alloc>, new: &Alloc) {
        let node = new.placement().map(|p| p.node);
        if let Some(node) = node {
            self.dirty.touched.insert(node);
            if self.drain_of(node).is_some() {
                self.dirty.emptying.insert(node);
            }
            if old.is_none_or(|old| is_wanted(old) != is_wanted(new)) {
                self.dirty.desired.insert(node);
            }
        }
        if let Some(Outcome::Failed(_) | Outcome::Lost(_) | Outcome::Complete) = outcome(new) {
            self.dirty.unforeseen = true;
        }
        if new.is_ended() {
            self.dirty.jobs.insert(new.job.clone());
        }
        let was_queued = old.is_some_and(is_queued);
        // The others of its class may make somebody go for them now.
        let stood_first = old.is_some_and(|old| preempting_on(old).is_some() && preempting_on(new).is_none());
        if is_queued(new) && !was_queued || stood_first {
            self.dirty.classes.insert(ClassKey::of(new));
        }
        if old.is_some_and(is_leaving_for_another) && !is_leaving_for_another(new) {
            self.budget_freed();
        }
    }

    /// A budget of those that may go for others has grown, or one has proven itself: those that were held back by that are
    /// looked at again.
    pub(crate) fn budget_freed(&mut self) {
        self.dirty.classes.append(&mut self.held_back);
    }

    /// What the allocation holds on the board, by its state. One for whom others have to go holds what they leave behind
    /// before they do, so that nobody of a lower priority takes it.
    fn rehold(&mut self, alloc: &Alloc) {
        let held = match preempting_on(alloc) {
            Some(_) => self.reservation(alloc),
            None => self.hold_of(alloc, alloc.occupies().and(alloc.placement())),
        };
        let (before, after) = (self.board.held(alloc.id).map(|hold| hold.node), held.as_ref().map(|hold| hold.node));
        match held {
            Some(hold) => self.board.hold(alloc.id, hold),
            None => drop(self.board.release(alloc.id)),
        }
        if before != after {
            self.has_moved(alloc.job.clone(), before);
        }
    }

    /// What others have to know of an allocation that they would make go. None: it is not here, or on its way out.
    pub(crate) fn standing(&self, alloc: &Alloc) -> Option<Standing> {
        let here = match alloc.state {
            AllocState::Placed { .. } | AllocState::Running { .. } => true,
            AllocState::Waiting { .. } | AllocState::Stopping { .. } | AllocState::Ended { .. } => false,
        };
        let spec = self.speaks_for(alloc).filter(|_| here)?;
        Some(Standing { priority: spec.priority, preemptible: spec.preemptible, since: alloc.created })
    }

    /// An allocation holds something elsewhere now, or nothing any more.
    fn has_moved(&mut self, job: JobId, from: Option<NodeId>) {
        if let Some(node) = from {
            self.dirty.room.appears_on(node);
        }
        if self.index.has_rules_around(&job) {
            self.dirty.moved.insert(job);
        }
    }

    /// What was given up does not run any more.
    pub(crate) fn release_ghost(&mut self, id: AllocId) {
        let Some(hold) = self.board.held(id) else { return };
        let (node, job) = (hold.node, hold.job.clone());
        self.untold.allocs.insert(id);
        self.board.release(id);
        self.has_moved(job, Some(node));
    }

    /// What an allocation holds at `placement`.
    pub(crate) fn hold_of(&self, alloc: &Alloc, placement: Option<&Placement>) -> Option<Hold> {
        let placement = placement?;
        let group = self.spec(&alloc.job, alloc.version)?.group(&alloc.group)?;
        Some(Hold { standing: self.standing(alloc), ..Hold::of(&alloc.job, group, placement) })
    }

    /// What is kept free for an allocation that waits for others to go: all but the dynamic ports, which are chosen when
    /// it is placed.
    fn reservation(&self, alloc: &Alloc) -> Option<Hold> {
        let AllocState::Waiting { reason: WaitReason::Preempting { node, victims, .. }, .. } = &alloc.state else {
            return None;
        };
        let job = self.spec(&alloc.job, alloc.version)?;
        let class = Class { job, group: job.group(&alloc.group)? };
        let leaving: Vec<AllocId> = victims.iter().copied().chain([alloc.id]).collect();
        Some(reservation(&self.board, class, *node, &leaving))
    }

    /// Gives up for a moment what is kept free for others to go, see [`State::reserve`].
    pub(crate) fn lift(&mut self, reserved: &[AllocId]) {
        for id in reserved {
            self.board.release(*id);
        }
    }

    /// Keeps room free again for those of them that still wait for it.
    pub(crate) fn reserve(&mut self, lifted: &[AllocId]) {
        for id in lifted.iter().filter(|id| self.index.preempting.contains(id)) {
            let alloc = &self.allocs[id];
            if let Some(hold) = self.reservation(alloc) {
                self.board.hold(*id, hold);
            }
        }
    }

    pub(crate) fn delete_alloc(&mut self, id: AllocId) {
        // It had ended; but it may hold room as one that a node still shows.
        self.release_ghost(id);
        let Some(alloc) = self.allocs.remove(&id) else { return };
        self.untold.allocs.insert(id);
        self.index.remove_alloc(&alloc);
        if let Some(placement) = alloc.placement() {
            self.index.exorcise(placement.node, id);
            self.dirty.desired.insert(placement.node);
            self.dirty.touched.insert(placement.node);
        }
        self.journal.touch(Key::Alloc(id), Takes::Nothing);
        let version = (alloc.job, alloc.version);
        if !self.index.version_refs.contains_key(&version) && self.versions.remove(&version).is_some() {
            self.index.drop_templates(&version.0, version.1);
            self.journal.touch(Key::Version(version.0, version.1), Takes::Nothing);
        }
    }

    /// Puts a command's outcome into the same transaction as the object that `with` names.
    pub(crate) fn put_command(&mut self, record: CommandRecord, with: Key) {
        #[cfg(feature = "planted-bugs")]
        if self.bug == Some(crate::planted::Bug::KeyNotStored) {
            return;
        }
        self.journal.tie_command(with, record.clone());
        self.index.commands_at.insert((record.at, command_key(&record)));
        self.commands.insert(command_key(&record), record);
    }

    pub(crate) fn delete_command(&mut self, key: &CommandKey) {
        if let Some(record) = self.commands.remove(key) {
            self.index.commands_at.remove(&(record.at, key.clone()));
            self.journal.touch(Key::Command(key.clone()), Takes::Nothing);
        }
    }

    /// Puts an entry of the ledger into the same transaction as the object that `with` names, where sizes allow.
    pub(crate) fn put_ledger(&mut self, entry: LedgerEntry, with: Key) {
        self.index.add_ledger(&entry);
        self.journal.tie_ledger(with, entry.clone());
        self.ledger.insert(entry.id, entry);
    }

    pub(crate) fn delete_ledger(&mut self, id: EventId) {
        if let Some(entry) = self.ledger.remove(&id) {
            self.index.remove_ledger(&entry);
            self.journal.touch(Key::Ledger(id), Takes::Nothing);
        }
    }

    /// Those on their way out for one of higher priority.
    pub(crate) fn allocs_leaving(&self) -> impl Iterator<Item = &Alloc> {
        self.index.preempted.iter().filter_map(|id| self.allocs.get(id))
    }

    /// Whether the job is wanted.
    pub(crate) fn is_active(&self, job: &JobId) -> bool {
        self.jobs.get(job).is_some_and(|job| match job.state {
            JobState::Active => true,
            JobState::Stopping { .. } | JobState::Ended { .. } => false,
        })
    }
}

/// The key under which a command is stored.
pub(crate) fn command_key(record: &CommandRecord) -> CommandKey {
    (record.principal.clone(), record.namespace.clone(), record.key.clone())
}

/// Whether the allocation waits for nothing but a place.
pub(crate) fn is_queued(alloc: &Alloc) -> bool {
    match &alloc.state {
        AllocState::Waiting { reason, .. } => match reason {
            WaitReason::Queued
            | WaitReason::NoNodes
            | WaitReason::NoNodeFits { .. }
            | WaitReason::GangIncomplete { .. }
            | WaitReason::Preempting { .. } => true,
            WaitReason::BackOff { .. } => false,
        },
        AllocState::Placed { .. }
        | AllocState::Running { .. }
        | AllocState::Stopping { .. }
        | AllocState::Ended { .. } => false,
    }
}

/// Whether its node should have the allocation run.
pub(crate) fn is_wanted(alloc: &Alloc) -> bool {
    match alloc.state {
        AllocState::Placed { .. } | AllocState::Running { .. } => true,
        AllocState::Waiting { .. } | AllocState::Stopping { .. } | AllocState::Ended { .. } => false,
    }
}

/// How an ended allocation ended.
pub(crate) fn outcome(alloc: &Alloc) -> Option<&Outcome> {
    match &alloc.state {
        AllocState::Ended { outcome, .. } => Some(outcome),
        AllocState::Waiting { .. }
        | AllocState::Placed { .. }
        | AllocState::Running { .. }
        | AllocState::Stopping { .. } => None,
    }
}

/// Whether a node may be given new allocations.
fn eligibility(node: &Node) -> Eligibility {
    match (&node.drain, node.takes_work()) {
        _ if !node.is_eligible() => Eligibility::Lost,
        (Some(_), _) => Eligibility::Draining,
        (None, false) => Eligibility::DiskFull,
        (None, true) => Eligibility::Ready,
    }
}

//! What would happen from now on if every node did what it is told and no task failed.
//!
//! In rounds: every node that was told something new reports that it is so, the store takes what is committed; where
//! nobody has anything to report, time passes to the next timer. A batch task runs on: when its work ends is not known.

use std::collections::{BTreeMap, BTreeSet};

use berth_model::control::{CommitId, Effect, Event, RequestId};
use berth_model::{
    AllocId, AllocState, BrokenBudget, CheckName, CheckSpec, CheckState, CheckStatus, CommandRequest, CommandResult,
    Desired, Ended, Goal, Millis, Mutation, NodeId, NodeReport, ObservedAlloc, Phase, PlanEnd, Refusal, Revision,
    TaskName, TaskSpec, TaskState, TaskStatus, Timestamp, WaitReason,
};

use super::budget::Readiness;
use crate::core::Core;
use crate::pace::{Pace, is_moving};

/// Rounds that a plan looks ahead.
const MAX_ROUNDS: u32 = 5_000;

/// The time that a round takes: what comes later is younger.
const A_ROUND: Millis = Millis::from_secs(1);

/// A copy of the core on its way to rest.
pub(super) struct Future {
    pub(super) core: Core,
    now: Timestamp,
    wake: Option<Timestamp>,
    reply: Option<CommandResult>,
    round: u32,
    serial: u64,
    /// In which round an allocation was placed, and in which it was told to stop or ended.
    pub(super) placed: BTreeMap<AllocId, u32>,
    pub(super) stopped: BTreeMap<AllocId, u32>,
    /// For whom others were told to go, and who they are.
    pub(super) preempted: BTreeMap<AllocId, BTreeSet<AllocId>>,
    /// Made or changed on the way.
    pub(super) touched: BTreeSet<AllocId>,
    /// Nodes that have something to report.
    due: BTreeSet<NodeId>,
    readiness: Readiness,
}

impl Future {
    pub(super) fn new(core: Core, now: Timestamp) -> Future {
        let readiness = Readiness::of(&core);
        let mut future = Future {
            now: now.max(core.now),
            core,
            wake: None,
            reply: None,
            round: 1,
            serial: 0,
            placed: BTreeMap::new(),
            stopped: BTreeMap::new(),
            preempted: BTreeMap::new(),
            touched: BTreeSet::new(),
            due: BTreeSet::new(),
            readiness,
        };
        let core = &future.core;
        future.due = core.state.index.moving.iter().filter_map(|id| core.allocs()[id].occupies()).collect();
        future
    }

    /// Carries out a command, or tells why it is refused.
    pub(super) fn command(&mut self, command: CommandRequest) -> Result<(), Refusal> {
        self.step(Event::Command { request: RequestId(0), command: Box::new(command) });
        match self.reply.take() {
            Some(Err(refusal)) => Err(refusal),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    pub(super) fn lose(&mut self, nodes: &BTreeSet<NodeId>) {
        self.core.now = self.now;
        self.core.silence(nodes);
        self.step(Event::Woke);
    }

    /// Lets rounds pass in step until nothing follows any more.
    pub(super) fn come_to_rest(&mut self) -> PlanEnd {
        self.core.keep_step();
        self.step(Event::Woke);
        while self.core.pace != Pace::Free {
            if self.round >= MAX_ROUNDS {
                return PlanEnd::CutShort;
            }
            self.round += 1;
            self.now = self.now + A_ROUND;
            let due = std::mem::take(&mut self.due);
            if due.is_empty() {
                let Some(at) = self.wake.take() else { return PlanEnd::AtRest };
                self.now = self.now.max(at);
                self.step(Event::Woke);
            }
            for node in due {
                self.report(node);
            }
        }
        PlanEnd::AtRest
    }

    pub(super) fn broken_budgets(&self) -> Vec<BrokenBudget> {
        self.readiness.broken()
    }

    /// A step, and the store's answers to what it commits.
    fn step(&mut self, event: Event) {
        let mut next = Some(event);
        let mut commits: std::collections::VecDeque<CommitId> = std::collections::VecDeque::new();
        while let Some(event) = next {
            let mut out = Vec::new();
            self.core.step(self.now, event, &mut out);
            for effect in out {
                match effect {
                    Effect::Commit { commit, mutations } => {
                        mutations.iter().for_each(|mutation| self.note(mutation));
                        commits.push_back(commit);
                    }
                    Effect::Reply { result, .. } => self.reply = Some(result),
                    Effect::WakeAt(at) => self.wake = Some(at),
                    Effect::Send { .. } | Effect::Close { .. } => {}
                    Effect::StepDown(why) => unreachable!("no commit of a copy fails: {why:?}"),
                }
            }
            next = commits.pop_front().map(|commit| Event::Committed { commit, revision: Revision(commit.0) });
        }
    }

    /// Remembers what was decided about an allocation.
    fn note(&mut self, mutation: &Mutation) {
        let Mutation::PutAlloc(alloc) = mutation else { return };
        let id = alloc.id;
        self.touched.insert(id);
        self.readiness.follow(&self.core, alloc);
        if is_moving(alloc) {
            self.due.extend(alloc.occupies());
        }
        match &alloc.state {
            AllocState::Placed { .. } => _ = self.placed.entry(id).or_insert(self.round),
            AllocState::Stopping { .. } | AllocState::Ended { .. } => {
                self.stopped.entry(id).or_insert(self.round);
            }
            AllocState::Waiting { reason: WaitReason::Preempting { victims, .. }, .. } => {
                self.preempted.entry(id).or_default().extend(victims);
            }
            AllocState::Waiting { .. } | AllocState::Running { .. } => {}
        }
    }

    /// A node reports that everything on it is as it should be.
    fn report(&mut self, node: NodeId) {
        let is_lost = self.core.nodes().get(&node).is_none_or(|node| !node.is_eligible());
        let Some(session) = self.core.session_of(node).filter(|_| !is_lost) else { return };
        self.serial += 1;
        let desired = self.core.desired(node);
        let conditions = self.core.nodes().get(&node).map(|n| n.conditions.keys().copied().collect());
        let report = NodeReport {
            serial: self.serial,
            digest: desired.digest,
            conditions: conditions.unwrap_or_default(),
            allocs: obeyed(&self.core, &desired, self.now),
        };
        self.step(Event::AgentReport { session, report });
    }
}

/// Every allocation of a node as it is once the node has done what it was told.
fn obeyed(core: &Core, desired: &Desired, now: Timestamp) -> Vec<ObservedAlloc> {
    let as_told = |wanted: &berth_model::DesiredAlloc| {
        let known = core.allocs().get(&wanted.id).map(|alloc| &alloc.tasks);
        let status = |name: &TaskName| known.and_then(|tasks| tasks.get(name)).cloned();
        let tasks = wanted.group.tasks.iter().map(|task| {
            let status = match wanted.goal {
                Goal::Run => healthy(task, running(status(&task.name), now), now),
                Goal::Stop => status(&task.name).unwrap_or(idle(TaskState::Done)),
            };
            (task.name.clone(), status)
        });
        let phase = match wanted.goal {
            Goal::Run => Phase::Running,
            Goal::Stop => Phase::Ended(Ended::Stopped),
        };
        ObservedAlloc { id: wanted.id, phase, tasks: tasks.collect() }
    };
    desired.allocs.iter().map(as_told).collect()
}

/// A task that runs, or has ended well, goes on as it is; any other has begun.
fn running(known: Option<TaskStatus>, now: Timestamp) -> TaskStatus {
    let begun = TaskState::Running { pid: 1, started: now };
    match known {
        Some(status) => match status.state {
            TaskState::Running { .. } | TaskState::Done => status,
            TaskState::Pending | TaskState::BackOff { .. } => TaskStatus { state: begun, ..status },
        },
        None => idle(begun),
    }
}

/// Checks that are still open pass. One that fails goes on failing.
fn healthy(task: &TaskSpec, mut status: TaskStatus, now: Timestamp) -> TaskStatus {
    let open = |check: &&CheckSpec| {
        check.kind.gates() && status.checks.get(&check.name).is_none_or(|known| known.state == CheckState::Pending)
    };
    let open: Vec<CheckName> = task.checks.iter().filter(open).map(|check| check.name.clone()).collect();
    let passes = CheckStatus { state: CheckState::Passing, since: now, failures: 0, output: String::new() };
    status.checks.extend(open.into_iter().map(|name| (name, passes.clone())));
    status
}

fn idle(state: TaskState) -> TaskStatus {
    TaskStatus { state, restarts: 0, last_exit: None, checks: BTreeMap::new() }
}

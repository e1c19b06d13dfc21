//! Reports: what an agent says of its node, and what follows for each allocation.
//!
//! A report only counts as saying that something is *absent* when it carries the digest of what the node should have
//! now; one that is about an older wish proves nothing by silence.

use std::collections::{BTreeMap, BTreeSet};

use berth_model::control::{Effect, SessionId};
use berth_model::{
    Alloc, AllocId, AllocState, Cause, CheckName, CheckState, Ended, Failure, FailureKind, Happening, NodeId,
    NodeReport, ObservedAlloc, Outcome, Phase, TaskName, TaskState, TaskStatus, Timer, Timestamp,
};

use crate::core::Core;
use crate::journal::Key;

impl Core {
    /// An agent reports.
    pub(crate) fn report(&mut self, session: SessionId, report: NodeReport, out: &mut Vec<Effect>) {
        let Some(node) = self.sessions.get(&session).copied() else { return };
        let now = self.now;
        let Some(link) = self.links.get_mut(&node) else { return };
        link.heard = now;
        let news = link.last.as_ref().is_none_or(|last| last.digest != report.digest || last.allocs != report.allocs);
        let cause = Cause::Report { node, serial: report.serial };
        self.root = Some(cause.clone());
        self.take_conditions(node, &report.conditions);
        let current = self.digest_of(node);
        if news {
            self.observe(node, &report, report.digest == current, &cause);
        }
        self.returned(session, node, report.serial, out);
        self.ask_for_leases(node, session, &report);
        // What the report itself changed is pushed when the step ends; here only a stale agent is put right.
        if report.digest != current && !self.state.dirty.desired.contains(&node) {
            self.correct(node, session, current, out);
        }
        self.remember(node, report);
    }

    /// Remembers the report, so that the next one that says the same costs nothing. Should anything on the node change
    /// by the end of this step, the memory is dropped again.
    fn remember(&mut self, node: NodeId, report: NodeReport) {
        if let Some(link) = self.links.get_mut(&node) {
            link.last = Some(report);
        }
    }

    fn observe(&mut self, node: NodeId, report: &NodeReport, current: bool, cause: &Cause) {
        let seen: BTreeSet<AllocId> = report.allocs.iter().map(|observed| observed.id).collect();
        for observed in &report.allocs {
            self.observe_alloc(node, observed, cause);
        }
        if current {
            for id in self.live_on(node).into_iter().filter(|id| !seen.contains(id)) {
                self.absent(id, cause);
            }
            self.lay_ghosts(node, &seen);
        }
    }

    fn observe_alloc(&mut self, node: NodeId, observed: &ObservedAlloc, cause: &Cause) {
        let Some(alloc) = self.state.allocs.get(&observed.id) else { return };
        if alloc.placement().is_none_or(|placement| placement.node != node) {
            return;
        }
        match &alloc.state {
            AllocState::Waiting { .. } => {}
            AllocState::Ended { .. } => self.ghost(node, observed),
            AllocState::Placed { .. } => match &observed.phase {
                Phase::Running => {
                    self.update_tasks(observed, cause);
                    self.running(observed.id, observed.tasks.clone(), cause);
                }
                Phase::Ended(ended) => self.ended(node, observed, ended, cause),
                Phase::Preparing(_) | Phase::Starting | Phase::Stopping => self.update_tasks(observed, cause),
            },
            AllocState::Running { .. } => match &observed.phase {
                Phase::Running if self.was_restarted(observed) => {
                    self.update_tasks(observed, cause);
                    self.running(observed.id, observed.tasks.clone(), cause);
                }
                Phase::Ended(ended) => self.ended(node, observed, ended, cause),
                Phase::Preparing(_) | Phase::Starting => {
                    self.update_tasks(observed, cause);
                    self.unready(observed.id);
                }
                Phase::Running => {
                    self.update_tasks(observed, cause);
                    self.heed_checks(observed.id, cause);
                }
                Phase::Stopping => self.update_tasks(observed, cause),
            },
            AllocState::Stopping { .. } => match &observed.phase {
                Phase::Ended(ended) => self.ended(node, observed, ended, cause),
                Phase::Preparing(_) | Phase::Starting | Phase::Running | Phase::Stopping => {
                    self.update_tasks(observed, cause);
                }
            },
        }
    }

    /// Whether a task was started again since the last look, or was between two runs then.
    fn was_restarted(&self, observed: &ObservedAlloc) -> bool {
        let known = &self.alloc(observed.id).tasks;
        observed.tasks.iter().any(|(name, now)| {
            known.get(name).is_none_or(|then| {
                let idle = matches!(then.state, TaskState::Pending | TaskState::BackOff { .. });
                now.restarts != then.restarts || idle
            })
        })
    }

    /// An allocation whose checks tell when it is ready is so while they pass.
    pub(crate) fn heed_checks(&mut self, id: AllocId, cause: &Cause) {
        let alloc = self.alloc(id);
        let AllocState::Running { ready, .. } = &alloc.state else { return };
        let Some(group) = self.group_of(alloc).filter(|group| group.is_gated()) else { return };
        match (group.passes(&alloc.tasks), ready) {
            (true, None) => self.ready(id, cause.clone()),
            (false, Some(_)) => self.unready(id),
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// Not every task runs any more, or not every check passes: being ready begins anew.
    fn unready(&mut self, id: AllocId) {
        let mut alloc = self.alloc(id).clone();
        if let AllocState::Running { ready, .. } = &mut alloc.state
            && ready.take().is_some()
        {
            self.state.put_alloc(alloc);
        }
    }

    /// Writes down what the agent says of the tasks, where it is news.
    fn update_tasks(&mut self, observed: &ObservedAlloc, cause: &Cause) {
        let alloc = self.alloc(observed.id);
        if alloc.tasks == observed.tasks {
            return;
        }
        let mut alloc = alloc.clone();
        let restarting = restarting(&alloc.tasks, &observed.tasks);
        let failing = failing(&alloc.tasks, &observed.tasks);
        alloc.tasks = observed.tasks.clone();
        let job = alloc.job.clone();
        self.state.put_alloc(alloc);
        for (task, exit) in restarting {
            let what = Happening::TaskRestarting { alloc: observed.id, job: job.clone(), task, exit };
            self.state.note(self.now, Key::Alloc(observed.id), cause.clone(), what);
        }
        for (task, check, output) in failing {
            let what = Happening::CheckFailing { alloc: observed.id, job: job.clone(), task, check, output };
            self.state.note(self.now, Key::Alloc(observed.id), cause.clone(), what);
        }
    }

    fn ended(&mut self, node: NodeId, observed: &ObservedAlloc, ended: &Ended, cause: &Cause) {
        let told = matches!(self.alloc(observed.id).state, AllocState::Stopping { .. });
        let outcome = match ended {
            Ended::Complete => Outcome::Complete,
            // It was asked to end: with which status it did so is the tasks' business.
            Ended::Stopped | Ended::Failed(_) if told => stopped(self.alloc(observed.id)),
            // It has done nothing wrong: nobody could reach its node.
            Ended::Failed(failure) if failure.kind == FailureKind::Fenced => Outcome::Lost(node),
            Ended::Failed(failure) => Outcome::Failed(failure.clone()),
            Ended::Stopped => Outcome::Failed(Failure {
                kind: FailureKind::Runtime,
                message: "the agent stopped the allocation without having been told to".to_owned(),
            }),
        };
        let mut alloc = self.alloc(observed.id).clone();
        alloc.tasks = observed.tasks.clone();
        self.state.put_alloc(alloc);
        self.end(observed.id, outcome, cause.clone());
    }

    /// The node has everything it was told and this is not there: it is gone. What is only placed may not have been
    /// begun, and will be.
    fn absent(&mut self, id: AllocId, cause: &Cause) {
        match self.alloc(id).state {
            AllocState::Running { .. } => {
                let message = "the node does not know the allocation any more; its data folder may have been wiped";
                let failure = Failure { kind: FailureKind::Runtime, message: message.to_owned() };
                self.end(id, Outcome::Failed(failure), cause.clone());
            }
            AllocState::Stopping { .. } => self.end(id, stopped(self.alloc(id)), cause.clone()),
            AllocState::Waiting { .. } | AllocState::Placed { .. } | AllocState::Ended { .. } => {}
        }
    }

    /// Something that was given up still runs, as after a partition: until it is gone it holds its room on the board,
    /// or what is placed next would not fit beside it.
    fn ghost(&mut self, node: NodeId, observed: &ObservedAlloc) {
        match observed.phase {
            Phase::Ended(_) => {
                if self.links.get_mut(&node).is_some_and(|link| link.ghosts.remove(&observed.id)) {
                    self.state.dirty.emptying.insert(node);
                }
                self.state.release_ghost(observed.id);
                self.state.exorcise(node, observed.id);
            }
            Phase::Preparing(_) | Phase::Starting | Phase::Running | Phase::Stopping => {
                self.hold_for_ghost(node, observed.id);
            }
        }
    }

    fn hold_for_ghost(&mut self, node: NodeId, id: AllocId) {
        let alloc = self.alloc(id);
        let (Some(hold), Some(link)) = (self.state.hold_of(alloc, alloc.placement()), self.links.get_mut(&node)) else {
            return;
        };
        self.state.board.hold(id, hold);
        link.ghosts.insert(id);
    }

    /// A new leader has not heard yet what still runs on nodes that were lost once.
    pub(crate) fn recall_all_ghosts(&mut self) {
        let returned: Vec<NodeId> = self.state.nodes.values().filter(|n| n.is_eligible()).map(|n| n.id).collect();
        for node in returned {
            self.recall_ghosts(node);
        }
    }

    /// What was given up with a lost node that has come back may run there, or begin: it may have been told of it
    /// before it was told to give it up. It holds its room until the node knows better and does not show it.
    pub(crate) fn recall_ghosts(&mut self, node: NodeId) {
        for id in self.state.index.haunting.get(&node).cloned().unwrap_or_default() {
            self.hold_for_ghost(node, id);
        }
    }

    /// Ghosts that a node which has been told of their end does not show any more are gone.
    fn lay_ghosts(&mut self, node: NodeId, seen: &BTreeSet<AllocId>) {
        let Some(link) = self.links.get_mut(&node) else { return };
        let gone: Vec<AllocId> = link.ghosts.iter().filter(|id| !seen.contains(id)).copied().collect();
        if !gone.is_empty() {
            self.state.dirty.emptying.insert(node);
        }
        for id in gone {
            link.ghosts.remove(&id);
            self.state.release_ghost(id);
        }
        let haunting = self.state.index.haunting.get(&node).into_iter().flatten();
        for id in haunting.filter(|id| !seen.contains(id)).copied().collect::<Vec<_>>() {
            self.state.exorcise(node, id);
        }
    }

    /// An allocation may have run for `min_ready`.
    pub(crate) fn min_ready_due(&mut self, id: AllocId, due: Timestamp) {
        let Some(alloc) = self.state.allocs.get(&id) else { return };
        let AllocState::Running { since, ready: None, .. } = alloc.state else { return };
        let idle = |task: &TaskStatus| matches!(task.state, TaskState::Pending | TaskState::BackOff { .. });
        let Some(min_ready) = self.min_ready(alloc) else { return };
        if since + min_ready > self.now || alloc.tasks.values().any(idle) {
            return;
        }
        let cause = self.timer(Timer::MinReady, due);
        self.ready(id, cause);
    }

    /// Sets the timers that the stored allocations ask for, and ends what a lost node still seems to have.
    pub(crate) fn resume_allocs(&mut self) {
        let ids: Vec<AllocId> = self.state.allocs.keys().copied().collect();
        for id in ids {
            self.resume_alloc(id);
        }
        let lost: Vec<NodeId> = self.state.nodes.values().filter(|n| !n.is_eligible()).map(|n| n.id).collect();
        for node in lost {
            self.give_up(node);
        }
    }
}

/// The tasks that ended and will be started again.
fn restarting(
    then: &BTreeMap<TaskName, TaskStatus>,
    now: &BTreeMap<TaskName, TaskStatus>,
) -> Vec<(TaskName, berth_model::Exit)> {
    let news = now.iter().filter_map(|(name, status)| {
        let exit = status.last_exit.as_ref()?;
        let over = matches!(status.state, TaskState::Done);
        let known = then.get(name).and_then(|then| then.last_exit.as_ref());
        (!over && known != Some(exit)).then(|| (name.clone(), exit.clone()))
    });
    news.collect()
}

/// The checks that began to fail, with what was wrong.
fn failing(
    then: &BTreeMap<TaskName, TaskStatus>,
    now: &BTreeMap<TaskName, TaskStatus>,
) -> Vec<(TaskName, CheckName, String)> {
    let checks = now.iter().flat_map(|(task, status)| status.checks.iter().map(move |check| (task, check)));
    let begins = |task: &TaskName, check: &CheckName| {
        let known = then.get(task).and_then(|then| then.checks.get(check));
        known.is_none_or(|known| known.state != CheckState::Failing)
    };
    let news = checks.filter(|(task, (name, check))| check.state == CheckState::Failing && begins(task, name));
    news.map(|(task, (name, check))| (task.clone(), name.clone(), check.output.clone())).collect()
}

/// How one ends that was told to stop.
fn stopped(alloc: &Alloc) -> Outcome {
    match &alloc.state {
        AllocState::Stopping { cause: Cause::Preemption { by, job }, .. } => {
            Outcome::Preempted { by: *by, job: job.clone() }
        }
        AllocState::Stopping { cause: Cause::Drain { node }, .. } => Outcome::Drained(*node),
        AllocState::Stopping { .. }
        | AllocState::Waiting { .. }
        | AllocState::Placed { .. }
        | AllocState::Running { .. }
        | AllocState::Ended { .. } => Outcome::Stopped,
    }
}

//! One allocation: its keeper (the shim), its tasks, and how it is brought to its end.
//!
//! Events change what is known; `advance` then asks for whatever is missing on the way to the goal. It is the
//! only place that asks for anything, so that a lost or doubled event can delay but not mislead.

use std::collections::BTreeMap;

use berth_model::{
    AllocId, BootTime, Bytes, CheckName, CheckSpec, DesiredAlloc, Ended, Exit, ExitKind, Failure, FailureKind, Found,
    FoundShim, Goal, Kill, Millis, NotReady, ObservedAlloc, Phase, Progress, Remembered, Retry, ShimTask,
    ShimTaskState, TaskName, TaskSpec, Timestamp,
};

use crate::health::Turn;
use crate::task::{Killing, Run, Task, Verdict, back_off, disk_exceeded, preparation_failure};
use crate::{Effect, Question, RunningTask};

/// Tries to make an allocation ready before it counts as failed.
pub(crate) const PREPARE_TRIES: u32 = 4;
/// The wait after the first failed try; doubles with each further one.
const PREPARE_DELAY: Millis = Millis(1000);
/// What that doubling stops at.
const PREPARE_MAX_DELAY: Millis = Millis::from_secs(30);
/// The wait after which force is used again on what has not ended by it: the first may have been lost.
/// Longer than a driver waits for an answer.
const FORCE_AGAIN: Millis = Millis::from_secs(15);

/// What keeps the allocation's tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Keeper {
    /// Nothing; it has to be prepared.
    None,
    /// `Prepare` was asked for.
    Preparing(Progress),
    /// `Prepare` failed; the next try is due.
    BackOff { until: Timestamp },
    /// A shim is there.
    Shim,
    /// The shim was killed; `EndOrphans` was asked for.
    Orphans,
    /// `Remove` was asked for.
    Removing,
    /// Nothing, and nothing will be again.
    Removed,
}

/// Until when a fenced allocation may run, as far as this life of the agent was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lease {
    /// It was told nothing yet. A shim that it has found may know of a lease that has not ended.
    None,
    /// The shim has yet to hear of it.
    Untold(BootTime),
    /// The shim was told.
    Told(BootTime),
}

/// Whether the server still lists the allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    Yes,
    No,
}

/// Whether what the server does not know of still runs here. It has given the room of it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Free,
    Taken,
}

/// Whether the ledger can be written. What has to be remembered first is not asked for otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    Works,
    Fails,
}

/// What an allocation has to respect beside itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around {
    pub(crate) room: Room,
    pub(crate) memory: Memory,
}

/// One allocation of this node.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    desired: DesiredAlloc,
    listed: Listed,
    keeper: Keeper,
    lease: Lease,
    tasks: Vec<Task>,
    /// How it is going to end, or has ended. None: it should run.
    ending: Option<Ended>,
    prepare_failures: u32,
    /// When it has something to do although nothing happens, as its core has noted.
    pub(crate) due: Option<Timestamp>,
    /// Whether the ledger has to be told.
    unsaved: bool,
    /// Whether the server has to be told at once.
    pub(crate) news: bool,
}

impl Work {
    /// An allocation that the server lists for the first time.
    pub(crate) fn new(desired: DesiredAlloc, now: Timestamp) -> Work {
        let mut tasks: Vec<Task> = desired.group.tasks.iter().map(|spec| Task::new(spec, now)).collect();
        let (keeper, ending) = match desired.goal {
            Goal::Run => (Keeper::None, None),
            // It was placed and called off before this agent heard of it: nothing to undo.
            Goal::Stop => {
                tasks.iter_mut().for_each(Task::give_up);
                (Keeper::Removed, Some(Ended::Stopped))
            }
        };
        let (listed, prepare_failures) = (Listed::Yes, 0);
        let lease = Lease::None;
        Work { desired, listed, keeper, lease, tasks, ending, prepare_failures, due: None, unsaved: true, news: true }
    }

    /// An allocation as the ledger and its shim tell of it when the agent begins.
    pub(crate) fn load(found: Found, now: Timestamp, out: &mut Vec<Effect>) -> Work {
        let Remembered { desired, mut tasks, ended } = found.remembered;
        let latest = now + desired.group.restart.max_delay.max(desired.group.restart.delay);
        let restore = |spec: &TaskSpec| match tasks.remove(&spec.name) {
            Some(remembered) => Task::restore(spec, remembered, now, latest),
            None => Task::new(spec, now),
        };
        let tasks = desired.group.tasks.iter().map(restore).collect();
        let stop = (desired.goal == Goal::Stop).then_some(Ended::Stopped);
        let mut work = Work {
            desired,
            listed: Listed::Yes,
            keeper: Keeper::None,
            lease: Lease::None,
            tasks,
            ending: ended.clone().or(stop),
            prepare_failures: 0,
            due: None,
            unsaved: false,
            news: true,
        };
        work.recall_end();
        work.meet_shim(found.shim, ended.is_some(), now, out);
        work.advance(now, Around { room: Room::Taken, memory: Memory::Works }, out);
        work
    }

    /// An end that was decided but not reached before the agent was restarted is decided anew from the exits.
    fn recall_end(&mut self) {
        if self.ending.is_some() {
            return;
        }
        let kind = self.desired.kind;
        let failed = self.tasks.iter().filter(|t| t.has_failed(kind));
        if let Some(first) = failed.min_by_key(|t| t.last_exit.as_ref().map(|exit| exit.at)) {
            self.ending = Some(Ended::Failed(first.failure(&self.desired.group.restart)));
        } else if self.all_done() {
            self.ending = Some(Ended::Complete);
        }
    }

    fn meet_shim(&mut self, shim: FoundShim, ended: bool, now: Timestamp, out: &mut Vec<Effect>) {
        match shim {
            FoundShim::Alive(tasks) => {
                self.keeper = Keeper::Shim;
                self.take_exits(&tasks, now);
                self.adopt(&tasks, now, out);
            }
            FoundShim::Orphaned(tasks) => {
                self.keeper = Keeper::Orphans;
                self.take_exits(&tasks, now);
                out.push(Effect::EndOrphans(self.desired.id));
            }
            FoundShim::Gone(tasks) => {
                self.take_exits(&tasks, now);
                self.lose_live(now, &shim_lost());
            }
            FoundShim::Rebooted => self.lose_live(now, &rebooted()),
        }
        if ended && self.keeper == Keeper::None {
            self.keeper = Keeper::Removed;
        }
    }

    /// Handles the exits that happened while nobody looked.
    fn take_exits(&mut self, tasks: &BTreeMap<TaskName, ShimTask>, now: Timestamp) {
        for (name, shim) in tasks {
            if let ShimTaskState::Exited(exit) = &shim.state {
                self.task_exited(name, shim.run, exit.clone(), now);
            }
        }
    }

    /// Takes over what a living shim keeps. A start that never reached it is asked for again under the same
    /// number: a shim begins a run once, so asking twice is safe.
    fn adopt(&mut self, tasks: &BTreeMap<TaskName, ShimTask>, now: Timestamp, out: &mut Vec<Effect>) {
        for task in self.tasks.iter_mut().filter(|t| t.is_live()) {
            match tasks.get(&task.name).filter(|shim| shim.run == task.run).map(|shim| &shim.state) {
                Some(ShimTaskState::Running { pid, started }) => {
                    task.state = Run::Running { pid: *pid, started: *started };
                    task.health.runs(now);
                }
                Some(ShimTaskState::Starting | ShimTaskState::Exited(_)) => {}
                None if self.ending.is_some() => task.state = Run::Done,
                None => {
                    out.push(Effect::Start { alloc: self.desired.id, task: task.name.clone(), run: task.run });
                }
            }
        }
    }

    /// The server lists it with this goal. A stop is never taken back.
    pub(crate) fn listed(&mut self, goal: Goal) {
        self.listed = Listed::Yes;
        match goal {
            Goal::Run => {}
            Goal::Stop => self.stop(),
        }
    }

    /// The server no longer lists it: it is to be ended, and then forgotten.
    pub(crate) fn unlisted(&mut self) {
        self.listed = Listed::No;
        self.stop();
    }

    fn stop(&mut self) {
        if self.desired.goal != Goal::Stop {
            self.desired.goal = Goal::Stop;
            self.unsaved = true;
            self.news = true;
        }
        if self.ending.is_none() {
            self.ending = Some(Ended::Stopped);
        }
    }

    /// The server has answered a report that was sent at this moment. Its shim hears of it when there is one.
    pub(crate) fn leased(&mut self, since: BootTime) {
        if let Some(lease) = self.desired.group.lease() {
            self.lease = Lease::Untold(since + lease);
        }
    }

    fn tell_lease(&mut self, out: &mut Vec<Effect>) {
        if let (Keeper::Shim, Lease::Untold(until)) = (&self.keeper, self.lease) {
            self.lease = Lease::Told(until);
            out.push(Effect::Lease { alloc: self.desired.id, until });
        }
    }

    /// How far the preparation is. No news: it travels with the next heartbeat.
    pub(crate) fn progress(&mut self, progress: Progress) {
        if let Keeper::Preparing(known) = &mut self.keeper {
            *known = progress;
        }
    }

    /// `Prepare` was answered.
    pub(crate) fn prepared(&mut self, now: Timestamp, result: Result<(), NotReady>) {
        if !matches!(self.keeper, Keeper::Preparing(_)) {
            return;
        }
        self.news = true;
        match result {
            Ok(()) => {
                self.prepare_failures = 0;
                self.keeper = Keeper::Shim;
                if let Lease::Told(until) = self.lease {
                    self.lease = Lease::Untold(until);
                }
            }
            Err(NotReady { failure, retry }) => self.preparation_failed(now, &failure, retry),
        }
    }

    fn preparation_failed(&mut self, now: Timestamp, failure: &Failure, retry: Retry) {
        let earlier = self.prepare_failures;
        self.prepare_failures += 1;
        let until = now + back_off(PREPARE_DELAY, PREPARE_MAX_DELAY, earlier as usize);
        self.keeper = Keeper::BackOff { until };
        // Told with every task, so that the user sees it after the first try and not after the last.
        for task in self.tasks.iter_mut().filter(|t| t.state != Run::Done) {
            task.last_exit = Some(Exit { at: now, how: ExitKind::Failure(failure.clone()) });
            let until = match task.state {
                Run::BackOff { until: own } => own.max(until),
                Run::Pending | Run::Starting | Run::Running { .. } | Run::Done => until,
            };
            task.state = Run::BackOff { until };
        }
        let last = match retry {
            Retry::MayHelp => self.prepare_failures >= PREPARE_TRIES,
            Retry::Pointless => true,
        };
        if self.ending.is_none() && last {
            self.ending = Some(Ended::Failed(preparation_failure(failure, self.prepare_failures)));
        }
        self.unsaved = true;
    }

    /// A shim says something of a task.
    pub(crate) fn task(&mut self, now: Timestamp, name: &TaskName, shim: ShimTask) {
        match shim.state {
            ShimTaskState::Starting => {}
            ShimTaskState::Running { pid, started } => {
                let run = shim.run;
                if let Some(task) = self.tasks.iter_mut().find(|t| t.name == *name && t.run == run)
                    && task.state == Run::Starting
                {
                    task.state = Run::Running { pid, started };
                    task.health.runs(now);
                    self.news = true;
                }
            }
            ShimTaskState::Exited(exit) => self.task_exited(name, shim.run, exit, now),
        }
    }

    fn task_exited(&mut self, name: &TaskName, run: u32, exit: Exit, now: Timestamp) {
        let Some(task) = self.tasks.iter_mut().find(|t| t.name == *name && t.run == run && t.is_live()) else {
            return; // Of an earlier run, or told before.
        };
        (self.unsaved, self.news) = (true, true);
        let exit = task.told(exit);
        if self.ending.is_some() {
            task.end(exit);
            return;
        }
        if let ExitKind::Failure(failure) = &exit.how
            && failure.kind == FailureKind::Fenced
        {
            // No restart can mend it: by now another may run elsewhere.
            self.ending = Some(Ended::Failed(failure.clone()));
            task.end(exit);
            return;
        }
        match task.exited(now, exit, self.desired.kind, &self.desired.group.restart) {
            Verdict::Again => {}
            Verdict::Done if self.all_done() => self.ending = Some(Ended::Complete),
            Verdict::Done => {}
            Verdict::Failed(failure) => self.ending = Some(Ended::Failed(failure)),
        }
    }

    /// The runs whose use of the disk has a limit. Not those that are only starting: they clear away what is left of
    /// the one before.
    pub(crate) fn limited_in_disk(&self) -> impl Iterator<Item = RunningTask> {
        let alloc = self.desired.id;
        let tasks = self.tasks.iter().zip(&self.desired.group.tasks);
        let limited = tasks.filter(|(task, spec)| task.is_running() && spec.resources.disk != Bytes(0));
        limited.map(move |(task, _)| RunningTask { alloc, task: task.name.clone(), run: task.run })
    }

    /// What a run holds on the disk was measured. One that holds too much is ended by its kill policy, and has failed.
    pub(crate) fn disk_used(&mut self, of: &RunningTask, used: Bytes) {
        if self.ending.is_some() {
            return;
        }
        let tasks = self.tasks.iter_mut().zip(&self.desired.group.tasks);
        for (task, spec) in tasks.filter(|(task, _)| task.name == of.task && task.run == of.run && task.is_live()) {
            let asked = spec.resources.disk;
            if used > asked && asked != Bytes(0) && task.condemned.is_none() {
                task.condemned = Some(disk_exceeded(used, asked));
            }
        }
    }

    /// A question of a check was answered. A run that fails one that restarts it is ended by its kill policy, and has failed.
    pub(crate) fn answered(
        &mut self,
        now: Timestamp,
        name: &TaskName,
        run: u32,
        check: &CheckName,
        answer: Result<String, String>,
    ) {
        if self.ending.is_some() {
            return;
        }
        let asked = |task: &&mut Task| task.name == *name && task.run == run && task.pid().is_some();
        let Some(task) = self.tasks.iter_mut().find(asked) else { return };
        match task.health.answered(check, answer, now) {
            Turn::None => return,
            Turn::Turned => {}
            Turn::Fatal(failure) => task.condemned = Some(failure),
        }
        (self.unsaved, self.news) = (true, true);
    }

    /// Asks what is due of the tasks that run.
    fn ask(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        let DesiredAlloc { id, ports, .. } = &self.desired;
        for task in &mut self.tasks {
            let Some(pid) = task.pid() else { continue };
            for CheckSpec { name: check, probe, timeout, .. } in task.health.ask(now) {
                let port = probe.port().and_then(|port| ports.get(port)).copied();
                let (task, run) = (task.name.clone(), task.run);
                out.push(Effect::Ask(Box::new(Question { alloc: *id, task, run, pid, check, probe, port, timeout })));
            }
        }
    }

    /// The shim died; what it kept has to be ended before anything else.
    pub(crate) fn shim_lost(&mut self, out: &mut Vec<Effect>) {
        if self.keeper == Keeper::Shim {
            self.keeper = Keeper::Orphans;
            self.news = true;
            out.push(Effect::EndOrphans(self.desired.id));
        }
    }

    /// `EndOrphans` is done.
    pub(crate) fn orphans_ended(&mut self, now: Timestamp) {
        if self.keeper == Keeper::Orphans {
            self.keeper = Keeper::None;
            self.news = true;
            self.lose_live(now, &shim_lost());
        }
    }

    /// `Remove` is done.
    pub(crate) fn removed(&mut self) {
        if self.keeper == Keeper::Removing {
            self.keeper = Keeper::Removed;
            (self.unsaved, self.news) = (true, true);
        }
    }

    /// Every live run is over, and nobody can tell how it ended.
    fn lose_live(&mut self, now: Timestamp, failure: &Failure) {
        let live: Vec<_> = self.tasks.iter().filter(|t| t.is_live()).map(|t| (t.name.clone(), t.run)).collect();
        for (name, run) in live {
            self.task_exited(&name, run, Exit { at: now, how: ExitKind::Failure(failure.clone()) }, now);
        }
    }

    /// An effect that was asked for was not begun: as if it had not been asked for.
    pub(crate) fn not_begun(&mut self, now: Timestamp, effect: &Effect) {
        match effect {
            Effect::Remember(_) => self.unsaved = true,
            Effect::Prepare(_) => {
                if let Keeper::Preparing(_) = self.keeper {
                    self.keeper = Keeper::None;
                }
            }
            Effect::Start { task, run, .. } => {
                if let Some(task) = self.tasks.iter_mut().find(|t| t.name == *task) {
                    task.not_begun(now, *run);
                }
            }
            Effect::Ask(question) => {
                if let Some(task) = self.tasks.iter_mut().find(|t| t.name == question.task && t.run == question.run) {
                    task.health.not_asked(&question.check, now);
                }
            }
            Effect::Lease { .. }
            | Effect::Signal { .. }
            | Effect::EndOrphans(_)
            | Effect::Remove(_)
            | Effect::Purge(_) => {}
            Effect::RememberEpoch(_)
            | Effect::Forget(_)
            | Effect::Report(_)
            | Effect::ReportAgain { .. }
            | Effect::WakeAt(_) => {}
        }
    }

    /// Asks for whatever is missing on the way to the goal. The ledger hears of it first.
    ///
    /// While the ledger cannot be written only what ends something is asked for: that frees what the node is short
    /// of, and an end that is forgotten is no more than an end that has to be asked for again.
    pub(crate) fn advance(&mut self, now: Timestamp, around: Around, out: &mut Vec<Effect>) {
        let mut asked = Vec::new();
        self.tell_lease(&mut asked);
        match (&self.ending, around.memory) {
            (Some(_), _) => self.advance_to_end(now, &mut asked),
            (None, Memory::Works) => {
                self.kill_condemned(now, &mut asked);
                self.advance_to_run(now, around.room, &mut asked);
                if self.keeper == Keeper::Shim {
                    self.ask(now, &mut asked);
                }
            }
            (None, Memory::Fails) => self.kill_condemned(now, &mut asked),
        }
        if self.unsaved && around.memory == Memory::Works {
            out.push(Effect::Remember(Box::new(self.remember())));
            self.unsaved = false;
        }
        out.append(&mut asked);
    }

    fn advance_to_run(&mut self, now: Timestamp, room: Room, out: &mut Vec<Effect>) {
        match self.keeper {
            Keeper::None => self.prepare(out),
            Keeper::BackOff { until } if until <= now => self.prepare(out),
            // What ran before holds its room since then; what is new waits until it has its own. What is fenced waits
            // for a lease, also to run again.
            Keeper::Shim if self.waits_for(room) => {}
            Keeper::Shim => {
                let tasks = self.tasks.iter_mut().zip(&self.desired.group.tasks);
                for (task, spec) in tasks.filter(|(task, _)| task.is_due(now)) {
                    task.begin_run(now, &spec.checks);
                    (self.unsaved, self.news) = (true, true);
                    out.push(Effect::Start { alloc: self.desired.id, task: task.name.clone(), run: task.run });
                }
            }
            Keeper::BackOff { .. } | Keeper::Preparing(_) | Keeper::Orphans => {}
            Keeper::Removing | Keeper::Removed => {
                unreachable!("allocation {} is removed before its end was decided", self.desired.id)
            }
        }
    }

    fn waits_for(&self, room: Room) -> bool {
        let unleased = self.lease == Lease::None && self.desired.group.lease().is_some();
        unleased || room == Room::Taken && self.tasks.iter().all(|t| t.run == 0)
    }

    fn prepare(&mut self, out: &mut Vec<Effect>) {
        self.keeper = Keeper::Preparing(Progress::default());
        self.news = true;
        out.push(Effect::Prepare(Box::new(self.desired.clone())));
    }

    fn advance_to_end(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        self.tasks.iter_mut().for_each(Task::give_up);
        match self.keeper {
            Keeper::Shim if self.tasks.iter().any(Task::is_live) => self.kill(now, Task::is_live, out),
            Keeper::Shim | Keeper::None | Keeper::Preparing(_) | Keeper::BackOff { .. } => {
                self.keeper = Keeper::Removing;
                self.news = true;
                out.push(Effect::Remove(self.desired.id));
            }
            Keeper::Orphans | Keeper::Removing | Keeper::Removed => {}
        }
    }

    /// Kills what has to end although its allocation goes on.
    fn kill_condemned(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        if self.keeper == Keeper::Shim {
            self.kill(now, Task::is_condemned, out);
        }
    }

    /// Kills tasks by their kill policies: asks, and after its timeout uses force.
    fn kill(&mut self, now: Timestamp, which: fn(&Task) -> bool, out: &mut Vec<Effect>) {
        for (task, spec) in self.tasks.iter_mut().zip(&self.desired.group.tasks).filter(|(t, _)| which(t)) {
            let signal = match task.killing {
                Killing::No if spec.kill.timeout == Millis(0) => Kill::Force,
                Killing::No => Kill::Ask(spec.kill.signal),
                Killing::Asked { force_at } | Killing::Forced { again_at: force_at } if force_at <= now => Kill::Force,
                Killing::Asked { .. } | Killing::Forced { .. } => continue,
            };
            task.killing = match signal {
                Kill::Ask(_) => Killing::Asked { force_at: now + spec.kill.timeout },
                Kill::Force => Killing::Forced { again_at: now + FORCE_AGAIN },
            };
            self.news = true;
            out.push(Effect::Signal { alloc: self.desired.id, task: task.name.clone(), run: task.run, signal });
        }
    }

    /// When `advance` has something to do although nothing happens.
    pub(crate) fn next_wake(&self, around: Around) -> Option<Timestamp> {
        let runs = around.memory == Memory::Works;
        let tasks = self.tasks.iter().filter_map(|task| match (&task.state, task.killing) {
            (Run::BackOff { until }, _) if runs && self.keeper == Keeper::Shim && !self.waits_for(around.room) => {
                Some(*until)
            }
            // Without its shim a run cannot be signalled: it ends with the orphans.
            (
                Run::Starting | Run::Running { .. },
                Killing::Asked { force_at: at } | Killing::Forced { again_at: at },
            ) if self.keeper == Keeper::Shim => Some(at),
            (Run::Pending | Run::Starting | Run::Running { .. } | Run::BackOff { .. } | Run::Done, _) => None,
        });
        let keeper = match self.keeper {
            Keeper::BackOff { until } if runs => Some(until),
            Keeper::BackOff { .. }
            | Keeper::None
            | Keeper::Preparing(_)
            | Keeper::Shim
            | Keeper::Orphans
            | Keeper::Removing
            | Keeper::Removed => None,
        };
        let asks = runs && self.ending.is_none() && self.keeper == Keeper::Shim;
        let checks = self.tasks.iter().filter(|task| asks && task.pid().is_some()).filter_map(|task| task.health.due());
        tasks.chain(keeper).chain(checks).min()
    }

    /// Whether it may hold room here that the server has given away.
    pub(crate) fn is_unknown(&self) -> bool {
        self.listed == Listed::No && self.keeper != Keeper::Removed
    }

    /// Whether nothing is left of it, and the server has forgotten it.
    pub(crate) fn is_over(&self) -> bool {
        self.listed == Listed::No && self.keeper == Keeper::Removed
    }

    fn all_done(&self) -> bool {
        self.tasks.iter().all(|t| t.state == Run::Done)
    }

    fn remember(&self) -> Remembered {
        let ended = self.ending.clone().filter(|_| self.keeper == Keeper::Removed);
        let tasks = self.tasks.iter().map(|t| (t.name.clone(), t.remember())).collect();
        Remembered { desired: self.desired.clone(), tasks, ended }
    }

    /// As the server is told of it.
    pub(crate) fn observe(&self) -> ObservedAlloc {
        let tasks = self.tasks.iter().map(|t| (t.name.clone(), t.status())).collect();
        ObservedAlloc { id: self.desired.id, phase: self.phase(), tasks }
    }

    fn phase(&self) -> Phase {
        match (&self.ending, &self.keeper) {
            (Some(ended), Keeper::Removed) => Phase::Ended(ended.clone()),
            (Some(_), _) => Phase::Stopping,
            (None, Keeper::Shim) if self.tasks.iter().all(Task::is_up) => Phase::Running,
            // After a shim was lost a new one is prepared; the allocation had started all the same.
            (None, _) if self.tasks.iter().any(|t| t.run > 0) => Phase::Starting,
            (None, Keeper::Preparing(progress)) => Phase::Preparing(*progress),
            (None, Keeper::None | Keeper::BackOff { .. }) => Phase::Preparing(Progress::default()),
            (None, Keeper::Shim | Keeper::Orphans | Keeper::Removing | Keeper::Removed) => Phase::Starting,
        }
    }

    #[cfg(feature = "planted-bugs")]
    pub(crate) fn forget_restarts(&mut self) {
        self.tasks.iter_mut().for_each(Task::forget_restarts);
    }

    /// Whether it should run.
    pub(crate) fn goal(&self) -> Goal {
        self.desired.goal
    }

    /// Its id.
    pub(crate) fn id(&self) -> AllocId {
        self.desired.id
    }
}

/// A run ended with its shim; whoever could have told how is gone.
fn shim_lost() -> Failure {
    let message = "its shim was killed, and it was ended with it".to_owned();
    Failure { kind: FailureKind::ShimLost, message }
}

/// A run ended with its machine.
fn rebooted() -> Failure {
    Failure { kind: FailureKind::Rebooted, message: "the node was rebooted".to_owned() }
}

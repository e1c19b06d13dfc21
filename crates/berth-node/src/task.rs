//! One task: its runs and its restart policy. Knows nothing of its siblings or of what keeps it.

use std::fmt::Write as _;

use berth_model::{
    Bytes, CheckSpec, Exit, ExitKind, Failure, FailureKind, JobKind, Millis, RememberedTask, RestartPolicy, TaskName,
    TaskSpec, TaskState, TaskStatus, Timestamp,
};

use crate::health::Health;

/// Restarts remembered of a task, whatever its policy allows: the ledger stays bounded. A policy that allows
/// more within its interval is taken to allow this many.
pub(crate) const MAX_RESTARTS_IN_WINDOW: usize = 1000;
/// The longest message of a failure, in characters.
const MAX_MESSAGE: usize = 1000;

/// Where the newest run of a task stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// Nothing was started yet.
    Pending,
    /// `Start` was asked for and not yet answered.
    Starting,
    /// It runs.
    Running { pid: u32, started: Timestamp },
    /// It ended; the next is due.
    BackOff { until: Timestamp },
    /// Over, for good.
    Done,
}

/// How far the killing of a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Killing {
    /// Nobody wants it dead.
    No,
    /// It was asked to end; force follows.
    Asked { force_at: Timestamp },
    /// Every process of it was to be killed; once more when nothing is heard of its end.
    Forced { again_at: Timestamp },
}

/// What a task's end means for its allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It will be started again.
    Again,
    /// Its work is done.
    Done,
    /// Its policy allows no more.
    Failed(Failure),
}

/// One task of an allocation.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) name: TaskName,
    pub(crate) run: u32,
    pub(crate) state: Run,
    pub(crate) killing: Killing,
    /// Why its run has to end, although its allocation should go on.
    pub(crate) condemned: Option<Failure>,
    restarts: Vec<Timestamp>,
    restarted: u32,
    pub(crate) last_exit: Option<Exit>,
    pub(crate) health: Health,
}

impl Task {
    pub(crate) fn new(spec: &TaskSpec, now: Timestamp) -> Task {
        Task {
            name: spec.name.clone(),
            run: 0,
            state: Run::Pending,
            killing: Killing::No,
            condemned: None,
            restarts: Vec::new(),
            restarted: 0,
            last_exit: None,
            health: Health::begin(&spec.checks, now),
        }
    }

    /// A task as the ledger tells of it. What was started counts as starting until its shim says more.
    pub(crate) fn restore(spec: &TaskSpec, remembered: RememberedTask, now: Timestamp, latest: Timestamp) -> Task {
        let state = match remembered.status.state {
            TaskState::Pending | TaskState::Running { .. } if remembered.run > 0 => Run::Starting,
            TaskState::Pending | TaskState::Running { .. } => Run::Pending,
            // The clock may have been set back in the meantime: no wait is longer than the policy's longest.
            TaskState::BackOff { until } => Run::BackOff { until: until.min(latest) },
            TaskState::Done => Run::Done,
        };
        let health = Health::restore(&spec.checks, remembered.status.checks, now);
        // A run that was to be ended is known by the check that it has failed.
        let condemned = health.fatal().filter(|_| state == Run::Starting);
        Task {
            name: spec.name.clone(),
            run: remembered.run,
            state,
            killing: Killing::No,
            condemned,
            restarts: remembered.restarts,
            restarted: remembered.status.restarts,
            last_exit: remembered.status.last_exit,
            health,
        }
    }

    pub(crate) fn remember(&self) -> RememberedTask {
        RememberedTask { status: self.status(), restarts: self.restarts.clone(), run: self.run }
    }

    pub(crate) fn status(&self) -> TaskStatus {
        let state = match self.state {
            Run::Pending | Run::Starting => TaskState::Pending,
            Run::Running { pid, started } => TaskState::Running { pid, started },
            Run::BackOff { until } => TaskState::BackOff { until },
            Run::Done => TaskState::Done,
        };
        TaskStatus { state, restarts: self.restarted, last_exit: self.last_exit.clone(), checks: self.health.status() }
    }

    #[cfg(feature = "planted-bugs")]
    pub(crate) fn forget_restarts(&mut self) {
        self.restarts.clear();
    }

    /// Whether a process of it may exist.
    pub(crate) fn is_live(&self) -> bool {
        match self.state {
            Run::Starting | Run::Running { .. } => true,
            Run::Pending | Run::BackOff { .. } | Run::Done => false,
        }
    }

    /// Whether it is known to run.
    pub(crate) fn is_running(&self) -> bool {
        match self.state {
            Run::Running { .. } => true,
            Run::Pending | Run::Starting | Run::BackOff { .. } | Run::Done => false,
        }
    }

    /// Whether a process of it may exist that has to end.
    pub(crate) fn is_condemned(&self) -> bool {
        self.is_live() && self.condemned.is_some()
    }

    /// How its run ended: for the reason for which it was made to, where there is one.
    pub(crate) fn told(&mut self, exit: Exit) -> Exit {
        match self.condemned.take() {
            Some(failure) => Exit { at: exit.at, how: ExitKind::Failure(failure) },
            None => exit,
        }
    }

    /// Whether it runs, or has done its work.
    pub(crate) fn is_up(&self) -> bool {
        match self.state {
            Run::Running { .. } | Run::Done => true,
            Run::Pending | Run::Starting | Run::BackOff { .. } => false,
        }
    }

    /// Whether it should be started now, if its shim is there.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        match self.state {
            Run::Pending => true,
            Run::BackOff { until } => until <= now,
            Run::Starting | Run::Running { .. } | Run::Done => false,
        }
    }

    /// The pid of the run that can be asked something now.
    pub(crate) fn pid(&self) -> Option<u32> {
        match self.state {
            Run::Running { pid, .. } if self.condemned.is_none() => Some(pid),
            Run::Running { .. } | Run::Pending | Run::Starting | Run::BackOff { .. } | Run::Done => None,
        }
    }

    /// Begins the next run, and counts it unless it is the first.
    pub(crate) fn begin_run(&mut self, now: Timestamp, checks: &[CheckSpec]) {
        assert!(!self.is_live() && self.state != Run::Done, "task {} begins a run beside another", self.name);
        if self.run > 0 {
            self.restarted = self.restarted.saturating_add(1);
            self.restarts.push(now);
        }
        self.run = self.run.checked_add(1).expect("4 billion restarts take longer than any node lives");
        self.state = Run::Starting;
        self.killing = Killing::No;
        self.health = Health::begin(checks, now);
    }

    /// Takes back `begin_run`: the start was never handed on.
    pub(crate) fn not_begun(&mut self, now: Timestamp, run: u32) {
        if self.run != run || self.state != Run::Starting {
            return;
        }
        self.run -= 1;
        self.killing = Killing::No;
        self.state = match self.run {
            0 => Run::Pending,
            // It was due, and stays so.
            _ => Run::BackOff { until: now },
        };
        if self.run > 0 {
            self.restarts.pop();
            self.restarted = self.restarted.saturating_sub(1);
        }
    }

    /// The allocation is ending: what does not run will not be started any more.
    pub(crate) fn give_up(&mut self) {
        match self.state {
            Run::Pending | Run::BackOff { .. } => self.state = Run::Done,
            Run::Starting | Run::Running { .. } | Run::Done => {}
        }
    }

    /// A run that nobody misses has ended.
    pub(crate) fn end(&mut self, exit: Exit) {
        self.state = Run::Done;
        self.killing = Killing::No;
        self.last_exit = Some(exit);
    }

    /// A run has ended by itself: decides by the restart policy.
    pub(crate) fn exited(&mut self, now: Timestamp, exit: Exit, kind: JobKind, policy: &RestartPolicy) -> Verdict {
        let done = is_success(kind, &exit);
        self.end(exit);
        if done {
            return Verdict::Done;
        }
        let window = policy.interval;
        self.restarts.retain(|at| now.since(*at) < window);
        let used = self.restarts.len();
        if used >= attempts(policy) {
            return Verdict::Failed(self.failure(policy));
        }
        self.state = Run::BackOff { until: now + back_off(policy.delay, policy.max_delay, used) };
        Verdict::Again
    }

    /// Whether it has failed beyond its policy, as told by what is remembered of it.
    pub(crate) fn has_failed(&self, kind: JobKind) -> bool {
        self.state == Run::Done && self.last_exit.as_ref().is_some_and(|exit| !is_success(kind, exit))
    }

    /// What to tell of a task whose policy allows no more.
    pub(crate) fn failure(&self, policy: &RestartPolicy) -> Failure {
        let (kind, how) = match self.last_exit.as_ref().map(|exit| &exit.how) {
            Some(ExitKind::Status(status)) => (FailureKind::Exit, format!("ended with status {status}")),
            Some(ExitKind::Signal(signal)) => (FailureKind::Exit, format!("was ended by signal {signal}")),
            Some(ExitKind::OutOfMemory) => {
                (FailureKind::OutOfMemory, "was killed by the kernel for its memory limit".to_owned())
            }
            Some(ExitKind::Failure(failure)) => (failure.kind, format!("failed: {}", failure.message)),
            None => (FailureKind::Runtime, "never ran".to_owned()),
        };
        let mut message = format!("task `{}` {how}", self.name);
        let spent = match self.restarts.len() {
            0 => "; its restart policy allows no restart".to_owned(),
            1 => format!("; restarted once within {}, its restart policy allows no more", policy.interval),
            n => format!("; restarted {n} times within {}, its restart policy allows no more", policy.interval),
        };
        // What happened may be as long as it likes; what the policy says of it must not be cut away.
        shorten(&mut message, MAX_MESSAGE.saturating_sub(spent.chars().count()));
        write!(message, "{spent}").expect("writing to a string does not fail");
        Failure { kind, message }
    }
}

/// A service is meant to run for ever, so any end of it is a failure.
fn is_success(kind: JobKind, exit: &Exit) -> bool {
    match kind {
        JobKind::Batch => exit.how == ExitKind::Status(0),
        JobKind::Service | JobKind::System => false,
    }
}

fn attempts(policy: &RestartPolicy) -> usize {
    usize::try_from(policy.attempts).map_or(MAX_RESTARTS_IN_WINDOW, |n| n.min(MAX_RESTARTS_IN_WINDOW))
}

/// `delay`, doubled `times` times, at most `max`.
pub(crate) fn back_off(delay: Millis, max: Millis, times: usize) -> Millis {
    let doubled = (0..times.min(64)).fold(delay.0, |ms, _| ms.saturating_mul(2));
    Millis(doubled.min(max.0.max(delay.0)))
}

/// Cuts `text` down to `limit` characters and shows that it did.
pub(crate) fn shorten(text: &mut String, limit: usize) {
    if text.chars().count() > limit {
        let cut = text.char_indices().nth(limit.saturating_sub(1)).map_or(text.len(), |(at, _)| at);
        text.truncate(cut);
        text.push('…');
    }
}

/// The failure of a run that holds more of the disk than its task asked for.
pub(crate) fn disk_exceeded(used: Bytes, asked: Bytes) -> Failure {
    // What rounds to the same is told to the byte.
    let used = if used.to_string() == asked.to_string() { format!("{}B", used.0) } else { used.to_string() };
    let message = format!(
        "used {used} of disk, asked for {asked}; have it write less or remove what it does not need, or ask for more \
         with `resources.disk`"
    );
    Failure { kind: FailureKind::DiskExceeded, message }
}

/// The failure of an allocation that could not be made ready in `tries` tries.
pub(crate) fn preparation_failure(failure: &Failure, tries: u32) -> Failure {
    let mut message = match tries {
        1 => format!("not made ready: {}", failure.message),
        _ => format!("not made ready in {tries} tries: {}", failure.message),
    };
    shorten(&mut message, MAX_MESSAGE);
    Failure { kind: failure.kind, message }
}

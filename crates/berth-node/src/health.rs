//! The checks of one task: which is due, and what its answers mean. Knows nothing of how a question is asked.
//!
//! A check belongs to a run: each run begins with all of them pending. While a startup check has not passed, no other is
//! asked; the first of a liveness check comes an interval after the run began. One question of a check is under way at a time; the next is due an interval after the one before was *asked*, or as
//! soon as that is answered where the answer took longer.

use std::collections::BTreeMap;

use berth_model::{
    CheckKind, CheckName, CheckSpec, CheckState, CheckStatus, Failure, FailureKind, Millis, Timestamp, limits,
};

use crate::task::shorten;

/// A question that was not answered for so long after its timeout was lost.
const LOST_AFTER: Millis = Millis::from_secs(30);
/// Whether it is ready is told of a task no more often than this, however it flaps.
const LEAST_TIME: Millis = Millis::from_secs(1);

/// The checks of a task, in the order of its specification.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    checks: Vec<Check>,
}

#[derive(Clone, Debug)]
struct Check {
    spec: CheckSpec,
    status: CheckStatus,
    /// Good answers in a row.
    successes: u32,
    /// Failures in a row.
    failures: u32,
    /// When it is asked next, or given up as lost while a question is under way.
    due: Timestamp,
    /// When the question that is under way was asked.
    asked: Option<Timestamp>,
}

/// What an answer led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing that anybody has to be told at once.
    None,
    /// The check stands otherwise than before.
    Turned,
    /// The check failed, and the task has to be restarted for it.
    Fatal(Failure),
}

impl Health {
    /// The checks of a run that begins.
    pub(crate) fn begin(specs: &[CheckSpec], now: Timestamp) -> Health {
        Health { checks: specs.iter().map(|spec| Check::new(spec.clone(), pending(now), now)).collect() }
    }

    /// As they are remembered of a run that goes on. All are asked again at once.
    pub(crate) fn restore(specs: &[CheckSpec], mut known: BTreeMap<CheckName, CheckStatus>, now: Timestamp) -> Health {
        let restore = |spec: &CheckSpec| {
            let status = known.remove(&spec.name).unwrap_or_else(|| pending(now));
            Check::new(spec.clone(), status, now)
        };
        Health { checks: specs.iter().map(restore).collect() }
    }

    /// The run is there. Nobody is dead before having had a moment to live.
    pub(crate) fn runs(&mut self, now: Timestamp) {
        let open = self.checks.iter_mut().filter(|check| check.status.state == CheckState::Pending);
        for check in open.filter(|check| check.spec.kind == CheckKind::Liveness) {
            check.due = now + check.spec.interval;
        }
    }

    /// Why the run has to end, where it has failed a check that restarts it.
    pub(crate) fn fatal(&self) -> Option<Failure> {
        let fatal = |check: &&Check| check.status.state == CheckState::Failing && check.spec.kind.restarts();
        self.checks.iter().find(fatal).map(Check::failure)
    }

    pub(crate) fn status(&self) -> BTreeMap<CheckName, CheckStatus> {
        self.checks.iter().map(|check| (check.spec.name.clone(), check.status.clone())).collect()
    }

    /// When the next question is due; none where nothing is to be asked any more.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        self.open().map(|check| check.due).min()
    }

    /// Takes the questions that are due as asked.
    pub(crate) fn ask(&mut self, now: Timestamp) -> Vec<CheckSpec> {
        let started = self.has_started();
        let due = self.checks.iter_mut().filter(|check| check.is_open(started) && check.is_due(now));
        let ask = |check: &mut Check| {
            check.asked = Some(now);
            check.due = now + check.spec.timeout + LOST_AFTER;
            check.spec.clone()
        };
        due.map(ask).collect()
    }

    /// A question was never handed on: it is due again.
    pub(crate) fn not_asked(&mut self, name: &CheckName, now: Timestamp) {
        for check in self.checks.iter_mut().filter(|check| check.spec.name == *name) {
            check.asked = None;
            check.due = now;
        }
    }

    /// The answer to a question: what it said, or what was wrong.
    pub(crate) fn answered(&mut self, name: &CheckName, answer: Result<String, String>, now: Timestamp) -> Turn {
        let Some(check) = self.checks.iter_mut().find(|check| check.spec.name == *name) else { return Turn::None };
        let Some(asked) = check.asked.take() else { return Turn::None };
        check.due = (asked + check.spec.interval).max(now);
        check.take(answer, now)
    }

    fn has_started(&self) -> bool {
        self.checks.iter().all(|check| check.spec.kind != CheckKind::Startup || check.has_passed())
    }

    fn open(&self) -> impl Iterator<Item = &Check> {
        let started = self.has_started();
        self.checks.iter().filter(move |check| check.is_open(started))
    }
}

impl Check {
    fn new(spec: CheckSpec, status: CheckStatus, due: Timestamp) -> Check {
        Check { spec, status, successes: 0, failures: 0, due, asked: None }
    }

    fn has_passed(&self) -> bool {
        self.status.state == CheckState::Passing
    }

    /// Whether it is asked again.
    fn is_open(&self, started: bool) -> bool {
        match self.spec.kind {
            CheckKind::Startup => !self.has_passed(),
            CheckKind::Readiness | CheckKind::Liveness => started,
        }
    }

    /// A clock that was set back makes nobody wait until it has caught up.
    fn is_due(&self, now: Timestamp) -> bool {
        let longest = self.spec.interval.max(Millis(self.spec.timeout.0 + LOST_AFTER.0));
        self.due <= now || self.due > now + longest
    }

    /// Whether it may turn again; at once where the clock was set back since it did.
    fn has_stood(&self, now: Timestamp) -> bool {
        let since = self.status.since;
        since > now || now.since(since) >= LEAST_TIME
    }

    fn take(&mut self, answer: Result<String, String>, now: Timestamp) -> Turn {
        let (state, enough, output) = match answer {
            Ok(output) => {
                (self.successes, self.failures) = (self.successes.saturating_add(1), 0);
                (CheckState::Passing, self.successes >= self.spec.successes, output)
            }
            Err(output) => {
                (self.successes, self.failures) = (0, self.failures.saturating_add(1));
                (CheckState::Failing, self.failures >= self.spec.failures, output)
            }
        };
        let is_fatal = enough && state == CheckState::Failing && self.spec.kind.restarts();
        let may_turn = is_fatal || self.status.state == CheckState::Pending || self.has_stood(now);
        let turned = enough && self.status.state != state && may_turn;
        if turned {
            self.status = CheckStatus { state, since: now, failures: self.failures, output: cut(output) };
        } else if !self.has_passed() && self.failures > self.status.failures && self.failures.is_power_of_two() {
            (self.status.failures, self.status.output) = (self.failures, cut(output));
        }
        match (is_fatal, turned) {
            (true, _) => Turn::Fatal(self.failure()),
            (false, true) => Turn::Turned,
            (false, false) => Turn::None,
        }
    }

    fn failure(&self) -> Failure {
        let CheckSpec { name, kind, .. } = &self.spec;
        let times = match self.status.failures {
            1 => "once".to_owned(),
            n => format!("{n} times in a row"),
        };
        let message = format!("{kind} check `{name}` failed {times}: {}", self.status.output);
        Failure { kind: FailureKind::Unhealthy, message }
    }
}

fn pending(now: Timestamp) -> CheckStatus {
    CheckStatus { state: CheckState::Pending, since: now, failures: 0, output: String::new() }
}

fn cut(mut output: String) -> String {
    shorten(&mut output, limits::CHECK_OUTPUT);
    output
}

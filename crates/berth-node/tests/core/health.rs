//! What checks do to an allocation, as its server and its user see it.

use berth_model::*;
use berth_node::{Effect, Event};

use crate::machine::*;

fn check(kind: CheckKind, failures: u32) -> CheckSpec {
    CheckSpec {
        name: kind.to_string().parse().unwrap(),
        kind,
        probe: Probe::Tcp { port: "http".parse().unwrap() },
        interval: Millis(2000),
        timeout: Millis(1000),
        successes: 1,
        failures,
    }
}

/// An allocation of one task with these checks, which runs.
fn checked(checks: Vec<CheckSpec>) -> Machine {
    let mut machine = Machine::new();
    machine.welcome(1);
    let waits = checks.iter().any(|check| check.kind == CheckKind::Liveness);
    machine.desire(1, vec![with_checks(checks)], true);
    machine.settle();
    if waits {
        begin_asking(&mut machine);
    }
    machine
}

/// Liveness is asked for the first time when an interval has passed.
fn begin_asking(machine: &mut Machine) {
    machine.pass(Millis(2000));
    while machine.perform() || machine.deliver() {}
}

fn with_checks(checks: Vec<CheckSpec>) -> DesiredAlloc {
    let mut alloc = desired(1, JobKind::Service, &["web"]);
    alloc.group.tasks[0].checks = checks;
    alloc.ports.insert("http".parse().unwrap(), Port(8080));
    alloc
}

/// The names of the checks that wait for an answer.
fn asked(machine: &Machine) -> Vec<String> {
    machine.asked.iter().map(|question| question.check.to_string()).collect()
}

/// Answers all that is asked, and lets what follows be done.
fn answer(machine: &mut Machine, answer: Result<&str, &str>) {
    let answer = answer.map(str::to_owned).map_err(str::to_owned);
    for question in std::mem::take(&mut machine.asked) {
        let (alloc, task, run, check) = (question.alloc, question.task, question.run, question.check);
        machine.step(Event::Answered { alloc, task, run, check, answer: answer.clone() });
    }
    while machine.perform() || machine.deliver() {}
}

/// So many rounds of questions with this answer, each when it is due.
fn rounds(machine: &mut Machine, count: u32, with: Result<&str, &str>) {
    for _ in 0..count {
        answer(machine, with);
        machine.pass(Millis(2000));
        while machine.perform() || machine.deliver() {}
    }
}

fn status(machine: &Machine) -> TaskStatus {
    machine.reports.last().unwrap().allocs[0].tasks[&name("web")].clone()
}

fn of(machine: &Machine, kind: CheckKind) -> CheckStatus {
    status(machine).checks[&kind.to_string().parse::<CheckName>().unwrap()].clone()
}

fn state(machine: &Machine, kind: CheckKind) -> CheckState {
    of(machine, kind).state
}

#[test]
fn nothing_else_is_asked_before_a_task_has_started_and_then_all_at_once() {
    let all = [CheckKind::Startup, CheckKind::Readiness, CheckKind::Liveness];
    let mut machine = checked(all.map(|kind| check(kind, 3)).into());
    assert_eq!(asked(&machine), ["startup"]);
    assert_eq!(machine.asked[0].port, Some(Port(8080)));
    rounds(&mut machine, 2, Err("connection refused"));
    assert_eq!(asked(&machine), ["startup"]);
    answer(&mut machine, Ok("fine"));
    assert_eq!(asked(&machine), ["readiness", "liveness"]);
    rounds(&mut machine, 3, Ok("fine"));
    assert_eq!(asked(&machine), ["readiness", "liveness"], "what has passed once is not asked in that run again");
    assert!(all.iter().all(|kind| state(&machine, *kind) == CheckState::Passing), "{:?}", status(&machine));
}

#[test]
fn readiness_turns_after_its_thresholds_and_restarts_nothing() {
    let mut readiness = check(CheckKind::Readiness, 3);
    readiness.successes = 2;
    let mut machine = checked(vec![readiness]);
    let seen = |machine: &Machine| state(machine, CheckKind::Readiness);
    rounds(&mut machine, 1, Ok("fine"));
    assert_eq!(seen(&machine), CheckState::Pending, "one good answer of two");
    answer(&mut machine, Ok("fine"));
    machine.pass(Millis(20));
    while machine.perform() {}
    assert_eq!(seen(&machine), CheckState::Passing, "told at once, but for the gap between two reports");
    machine.pass(Millis(2000));
    rounds(&mut machine, 2, Err("busy"));
    rounds(&mut machine, 1, Ok("fine"));
    assert_eq!(seen(&machine), CheckState::Passing, "failures count in a row alone");
    rounds(&mut machine, 3, Err("busy"));
    let told = of(&machine, CheckKind::Readiness);
    assert_eq!((told.state, told.failures, told.output.as_str()), (CheckState::Failing, 3, "busy"));
    rounds(&mut machine, 50, Err("busy"));
    assert_eq!((machine.phase(alloc_id(1)), status(&machine).restarts), (Some(&Phase::Running), 0));
    rounds(&mut machine, 2, Ok("fine"));
    assert_eq!(seen(&machine), CheckState::Passing);
}

#[test]
fn a_task_that_fails_its_liveness_is_restarted_by_its_policies_and_fails_with_what_was_said() {
    let mut machine = checked(vec![check(CheckKind::Liveness, 2)]);
    for run in 1..=3 {
        assert_eq!(machine.asked[0].run, run);
        assert_eq!(state(&machine, CheckKind::Liveness), CheckState::Pending, "each run begins anew");
        rounds(&mut machine, 2, Err("status 500: deadlock"));
        // In odd runs a task of this world ignores being asked to end; force follows after five seconds.
        machine.pass(Millis(5000));
        machine.settle();
        begin_asking(&mut machine);
    }
    let message = "task `web` failed: liveness check `liveness` failed 2 times in a row: status 500: deadlock; restarted 2 \
                   times within 60s, its restart policy allows no more";
    let failure = Failure { kind: FailureKind::Unhealthy, message: message.to_owned() };
    assert_eq!(machine.phase(alloc_id(1)), Some(&Phase::Ended(Ended::Failed(failure))));
    assert_eq!(asked(&machine), Vec::<String>::new());
}

#[test]
fn a_task_that_does_not_start_in_time_is_restarted() {
    let mut machine = checked(vec![check(CheckKind::Startup, 3), check(CheckKind::Readiness, 3)]);
    rounds(&mut machine, 3, Err("no answer within 1s"));
    machine.pass(Millis(5000));
    machine.settle();
    assert_eq!((status(&machine).restarts, asked(&machine)), (1, vec!["startup".to_owned()]));
}

#[test]
fn the_answer_of_a_run_that_is_over_is_not_held_against_the_next() {
    let mut machine = checked(vec![check(CheckKind::Liveness, 1)]);
    let late = machine.asked.remove(0);
    machine.exit(alloc_id(1), &name("web"), ExitKind::Status(1));
    machine.settle();
    let (alloc, task, run, check) = (late.alloc, late.task, late.run, late.check);
    machine.step(Event::Answered { alloc, task, run, check, answer: Err("gone".to_owned()) });
    machine.settle();
    assert_eq!((status(&machine).restarts, state(&machine, CheckKind::Liveness)), (1, CheckState::Pending));
}

#[test]
fn an_agent_that_is_restarted_still_knows_what_passed_and_asks_again() {
    let mut machine = checked(vec![check(CheckKind::Startup, 3), check(CheckKind::Readiness, 3)]);
    answer(&mut machine, Ok("fine"));
    answer(&mut machine, Ok("fine"));
    machine.restart_agent();
    machine.welcome(1);
    machine.settle();
    assert_eq!(state(&machine, CheckKind::Readiness), CheckState::Passing, "no gap for those who ask by name");
    assert_eq!(asked(&machine), ["readiness"]);
}

#[test]
fn a_question_that_is_lost_is_asked_again() {
    let mut machine = checked(vec![check(CheckKind::Readiness, 3)]);
    machine.asked.clear();
    machine.pass(Millis(30_000));
    while machine.perform() || machine.deliver() {}
    assert_eq!(asked(&machine), Vec::<String>::new(), "one question at a time");
    machine.pass(Millis(1000));
    while machine.perform() || machine.deliver() {}
    assert_eq!(asked(&machine), ["readiness"]);
}

#[test]
fn a_failure_that_reads_differently_every_time_is_not_news_every_time() {
    let mut machine = checked(vec![check(CheckKind::Readiness, 1)]);
    let mut told = Vec::new();
    for round in 0..100 {
        rounds(&mut machine, 1, Err(&format!("request {round} failed")));
        told.push(of(&machine, CheckKind::Readiness).output);
    }
    told.dedup();
    assert!(told.len() <= 8, "{told:?}");
}

#[test]
fn a_stopping_task_is_asked_nothing() {
    let mut machine = checked(vec![check(CheckKind::Liveness, 1)]);
    machine.desire(1, vec![stopped(with_checks(vec![check(CheckKind::Liveness, 1)]))], true);
    machine.asked.clear();
    machine.settle();
    machine.pass(Millis(60_000));
    machine.settle();
    assert_eq!(asked(&machine), Vec::<String>::new());
}

#[test]
fn a_clock_that_is_set_back_does_not_silence_the_checks() {
    let mut machine = checked(vec![check(CheckKind::Readiness, 3)]);
    answer(&mut machine, Ok("fine"));
    machine.now = Timestamp(machine.now.0 - 600_000);
    machine.step(Event::Woke);
    while machine.perform() || machine.deliver() {}
    assert_eq!(asked(&machine), ["readiness"]);
}

#[test]
fn a_check_that_answers_well_now_and_then_is_not_news_every_time() {
    let mut readiness = check(CheckKind::Readiness, 1);
    readiness.successes = 2;
    let mut machine = checked(vec![readiness]);
    let mut told = Vec::new();
    for round in 0..100 {
        rounds(&mut machine, 1, Err(&format!("request {round} failed")));
        rounds(&mut machine, 1, Ok("fine"));
        told.push(of(&machine, CheckKind::Readiness).output);
    }
    told.dedup();
    assert_eq!(told, ["request 0 failed"]);
}

#[test]
fn a_check_that_flaps_is_told_once_a_second() {
    let mut readiness = check(CheckKind::Readiness, 1);
    readiness.interval = Millis(100);
    let mut machine = checked(vec![readiness]);
    let mut since = Vec::new();
    for round in 0..200 {
        answer(&mut machine, if round % 2 == 0 { Ok("fine") } else { Err("busy") });
        machine.pass(Millis(100));
        while machine.perform() || machine.deliver() {}
        since.push(of(&machine, CheckKind::Readiness).since);
    }
    since.dedup();
    assert!((2..=22).contains(&since.len()), "{since:?}");
}

#[test]
fn a_clock_that_is_set_back_does_not_hold_up_what_turns() {
    let mut machine = checked(vec![check(CheckKind::Readiness, 1)]);
    rounds(&mut machine, 1, Ok("fine"));
    machine.now = Timestamp(machine.now.0 - 600_000);
    machine.step(Event::Woke);
    while machine.perform() || machine.deliver() {}
    rounds(&mut machine, 1, Err("busy"));
    assert_eq!(state(&machine, CheckKind::Readiness), CheckState::Failing);
}

#[test]
fn a_run_that_was_to_be_ended_for_a_check_still_is_after_a_restart_of_the_agent() {
    let mut machine = checked(vec![check(CheckKind::Liveness, 1)]);
    machine.step(Event::Answered {
        alloc: alloc_id(1),
        task: name("web"),
        run: 1,
        check: "liveness".parse().unwrap(),
        answer: Err("dead".to_owned()),
    });
    while machine.perform() || machine.deliver() {}
    assert_eq!(machine.live(alloc_id(1)), 1, "asked to end, which it ignores");
    machine.restart_agent();
    machine.welcome(1);
    machine.settle();
    machine.pass(Millis(5000));
    machine.settle();
    let last = status(&machine).last_exit.map(|exit| exit.how);
    assert!(
        matches!(&last, Some(ExitKind::Failure(failure)) if failure.kind == FailureKind::Unhealthy),
        "ended by force and told as what it was: {last:?}"
    );
}

#[test]
fn liveness_is_counted_from_when_the_run_is_there() {
    let mut machine = Machine::new();
    machine.welcome(1);
    machine.desire(1, vec![with_checks(vec![check(CheckKind::Liveness, 1)])], true);
    // Everything but the start is done at once; the word that it runs takes long.
    while !machine.trace.iter().any(|effect| matches!(effect, Effect::Start { .. })) {
        assert!(machine.perform() || machine.deliver());
    }
    while machine.perform() {}
    machine.pass(Millis(10_000));
    while machine.perform() || machine.deliver() {}
    assert_eq!(asked(&machine), Vec::<String>::new());
    begin_asking(&mut machine);
    assert_eq!(asked(&machine), ["liveness"]);
}

//! What a user sees of one agent: restarts, failures, stops, and what it makes of its own absence.

use crate::machine::*;
use berth_model::*;
use berth_node::{Effect, Event, RunningTask};

fn running(kind: JobKind, tasks: &[&str]) -> Machine {
    let mut machine = Machine::new();
    machine.welcome(1);
    machine.desire(1, vec![desired(1, kind, tasks)], true);
    machine.settle();
    machine
}

fn failure(machine: &Machine) -> Failure {
    match machine.phase(alloc_id(1)) {
        Some(Phase::Ended(Ended::Failed(failure))) => failure.clone(),
        other => panic!("not failed but {other:?}"),
    }
}

fn status(machine: &Machine, task: &str) -> TaskStatus {
    machine.reports.last().unwrap().allocs[0].tasks[&name(task)].clone()
}

/// Lets what is under way be done, without moving the clock.
fn run_now(machine: &mut Machine) {
    while machine.perform() || machine.deliver() {}
}

#[test]
fn tasks_start_in_the_order_of_the_group_after_the_ledger_knows() {
    let machine = running(JobKind::Service, &["web", "api", "db"]);
    let order: Vec<String> = machine
        .trace
        .iter()
        .filter_map(|effect| match effect {
            Effect::Remember(r) => Some(format!("remember {}", r.tasks.values().map(|t| t.run).max().unwrap())),
            Effect::Prepare(_) => Some("prepare".to_owned()),
            Effect::Start { task, run, .. } => Some(format!("start {task} {run}")),
            _ => None,
        })
        .collect();
    assert_eq!(order, ["remember 0", "prepare", "remember 1", "start web 1", "start api 1", "start db 1"]);
    assert_eq!(machine.phase(alloc_id(1)), Some(&Phase::Running));
}

#[test]
fn a_service_restarts_with_doubling_back_off_and_then_fails_by_name() {
    let mut machine = running(JobKind::Service, &["web", "side"]);
    for (restarts, wait) in [(0, 1000), (1, 2000)] {
        machine.exit(alloc_id(1), &name("web"), ExitKind::Status(3));
        run_now(&mut machine);
        machine.pass(Millis(50));
        run_now(&mut machine);
        let until = machine.now + Millis(wait - 50);
        assert_eq!(status(&machine, "web").state, TaskState::BackOff { until });
        assert_eq!(status(&machine, "web").restarts, restarts);
        machine.settle();
        assert_eq!(machine.phase(alloc_id(1)), Some(&Phase::Running));
    }
    machine.exit(alloc_id(1), &name("web"), ExitKind::Status(3));
    machine.settle();
    let message = "task `web` ended with status 3; restarted 2 times within 60s, its restart policy allows no more";
    assert_eq!(failure(&machine), Failure { kind: FailureKind::Exit, message: message.to_owned() });
    assert_eq!(machine.live(alloc_id(1)), 0, "the sibling is ended with it");
}

#[test]
fn restarts_outside_the_window_do_not_count() {
    let mut machine = running(JobKind::Service, &["web"]);
    for _ in 0..6 {
        machine.exit(alloc_id(1), &name("web"), ExitKind::Status(0));
        machine.settle();
        machine.pass(Millis::from_secs(61));
        machine.settle();
        assert_eq!(machine.phase(alloc_id(1)), Some(&Phase::Running));
    }
    assert_eq!(status(&machine, "web").restarts, 6);
}

#[test]
fn a_batch_is_complete_when_every_task_ended_with_0() {
    let mut machine = running(JobKind::Batch, &["one", "two"]);
    machine.exit(alloc_id(1), &name("one"), ExitKind::Status(0));
    machine.settle();
    assert_eq!(machine.phase(alloc_id(1)), Some(&Phase::Running));
    machine.exit(alloc_id(1), &name("two"), ExitKind::Status(0));
    machine.settle();
    assert_eq!(machine.phase(alloc_id(1)), Some(&Phase::Ended(Ended::Complete)));
    assert!(machine.logs.contains(&alloc_id(1)), "its logs stay while the server knows it");
}

#[test]
fn a_task_that_ignores_its_signal_is_killed_after_its_timeout() {
    let mut machine = running(JobKind::Service, &["web"]);
    machine.desire(1, vec![stopped(desired(1, JobKind::Service, &["web"]))], true);
    run_now(&mut machine);
    assert_eq!(machine.live(alloc_id(1)), 1);
    machine.pass(Millis(4999));
    run_now(&mut machine);
    assert_eq!(machine.live(alloc_id(1)), 1, "it has its whole timeout");
    machine.pass(Millis(1));
    machine.settle();
    assert_eq!(machine.phase(alloc_id(1)), Some(&Phase::Ended(Ended::Stopped)));
    assert!(machine.ledger.contains_key(&alloc_id(1)), "remembered until the server has forgotten it");
    machine.desire(1, Vec::new(), true);
    machine.settle();
    assert!(machine.ledger.is_empty() && machine.logs.is_empty());
}

#[test]
fn an_allocation_that_is_stopped_before_it_was_heard_of_is_reported_as_stopped() {
    let mut machine = Machine::new();
    machine.welcome(1);
    machine.desire(1, vec![stopped(desired(1, JobKind::Service, &["web"]))], true);
    machine.settle();
    assert_eq!(machine.phase(alloc_id(1)), Some(&Phase::Ended(Ended::Stopped)));
    assert!(!machine.trace.iter().any(|e| matches!(e, Effect::Prepare(_))));
}

#[test]
fn a_failed_preparation_is_told_at_once_and_tried_again_a_few_times() {
    let mut machine = Machine::new();
    machine.prepare_fails = 99;
    machine.welcome(1);
    machine.desire(1, vec![desired(1, JobKind::Service, &["web"])], true);
    run_now(&mut machine);
    machine.pass(Millis(20));
    run_now(&mut machine);
    let exit = status(&machine, "web").last_exit.unwrap();
    let told = Failure { kind: FailureKind::Image, message: "no such image".to_owned() };
    assert_eq!(exit.how, ExitKind::Failure(told));
    machine.settle();
    assert_eq!(failure(&machine).message, "not made ready in 4 tries: no such image");
    assert_eq!(machine.prepare_fails, 95);
}

#[test]
fn a_preparation_that_no_retry_can_mend_fails_at_once() {
    let mut machine = Machine::new();
    (machine.prepare_fails, machine.prepare_retry) = (99, Retry::Pointless);
    machine.welcome(1);
    machine.desire(1, vec![desired(1, JobKind::Service, &["web"])], true);
    machine.settle();
    assert_eq!(failure(&machine).message, "not made ready: no such image");
    assert_eq!(machine.prepare_fails, 98);
}

#[test]
fn exits_during_the_agents_absence_are_reported_and_running_tasks_keep_their_pids() {
    let mut machine = running(JobKind::Batch, &["one", "two"]);
    let before = status(&machine, "two").state;
    machine.exit(alloc_id(1), &name("one"), ExitKind::Status(0));
    machine.restart_agent();
    machine.welcome(1);
    run_now(&mut machine);
    assert_eq!(status(&machine, "one").state, TaskState::Done);
    assert_eq!(status(&machine, "one").last_exit.unwrap().how, ExitKind::Status(0));
    assert_eq!(status(&machine, "two").state, before);
    assert_eq!(status(&machine, "two").restarts, 0);
}

#[test]
fn a_killed_shim_ends_its_tasks_and_the_restart_policy_decides() {
    let mut machine = running(JobKind::Service, &["web"]);
    for _ in 0..2 {
        machine.kill_shim(alloc_id(1));
        machine.settle();
        assert_eq!(machine.phase(alloc_id(1)), Some(&Phase::Running));
    }
    machine.kill_shim(alloc_id(1));
    machine.settle();
    assert_eq!(failure(&machine).kind, FailureKind::ShimLost);
    assert!(failure(&machine).message.starts_with("task `web` failed: its shim was killed"));
}

#[test]
fn a_reboot_fails_every_task_once_and_restarts_here() {
    let mut machine = running(JobKind::Service, &["web"]);
    machine.reboot();
    machine.welcome(1);
    machine.settle();
    assert_eq!(machine.phase(alloc_id(1)), Some(&Phase::Running));
    let status = status(&machine, "web");
    assert_eq!(status.restarts, 1);
    let Some(Exit { how: ExitKind::Failure(failure), .. }) = status.last_exit else { panic!("{status:?}") };
    assert_eq!(failure.kind, FailureKind::Rebooted);
}

#[test]
fn an_order_of_an_older_epoch_is_refused() {
    let mut machine = running(JobKind::Service, &["web"]);
    machine.welcome(3);
    machine.desire(2, Vec::new(), false);
    machine.settle();
    assert_eq!(machine.phase(alloc_id(1)), Some(&Phase::Running));
}

#[test]
fn a_restarted_agent_refuses_what_its_earlier_life_would_have_refused() {
    let mut machine = running(JobKind::Service, &["web"]);
    machine.welcome(3);
    machine.settle();
    machine.restart_agent();
    let sent = machine.reports.len();
    machine.welcome(2);
    machine.desire(2, Vec::new(), false);
    run_now(&mut machine);
    assert_eq!(machine.live(alloc_id(1)), 1);
    assert_eq!(machine.reports.len(), sent, "not a word to a server that has lost the lead");
}

#[test]
fn what_the_server_does_not_know_of_is_gone_before_anything_new_begins() {
    let mut machine = running(JobKind::Service, &["web"]);
    machine.desire(1, vec![desired(2, JobKind::Service, &["web"])], true);
    run_now(&mut machine);
    assert_eq!((machine.live(alloc_id(1)), machine.live(alloc_id(2))), (1, 0), "its room may be the same");
    assert!(machine.shims.contains_key(&alloc_id(2)), "made ready in the meantime");
    machine.settle();
    assert_eq!((machine.live(alloc_id(1)), machine.live(alloc_id(2))), (0, 1));
}

#[test]
fn a_kill_that_is_overtaken_by_the_loss_of_the_shim_does_not_spin() {
    let mut machine = running(JobKind::Service, &["web"]);
    machine.desire(1, vec![stopped(desired(1, JobKind::Service, &["web"]))], true);
    run_now(&mut machine);
    machine.kill_shim(alloc_id(1));
    machine.deliver();
    machine.now = machine.now + Millis(6000);
    machine.trace.clear();
    machine.step(Event::Woke);
    let now = machine.now;
    let past = machine.trace.iter().any(|effect| matches!(effect, Effect::WakeAt(at) if *at <= now));
    assert!(!past, "asks to be woken for a kill that it cannot carry out: {:?}", machine.trace);
    machine.settle();
    assert_eq!(machine.phase(alloc_id(1)), Some(&Phase::Ended(Ended::Stopped)));
}

#[test]
fn nothing_is_sent_without_a_stream_and_each_stream_counts_from_1() {
    let mut machine = running(JobKind::Service, &["web"]);
    machine.step(Event::Disconnected);
    let sent = machine.reports.len();
    machine.exit(alloc_id(1), &name("web"), ExitKind::Status(1));
    run_now(&mut machine);
    machine.pass(Millis(1000));
    run_now(&mut machine);
    assert_eq!(machine.reports.len(), sent);
    assert_eq!(machine.live(alloc_id(1)), 1, "work went on");
    machine.welcome(1);
    run_now(&mut machine);
    assert_eq!(machine.reports.last().unwrap().serial, 1);
    assert_eq!(status(&machine, "web").restarts, 1);
}

#[test]
fn a_clock_that_was_set_back_does_not_silence_the_heartbeat() {
    let mut machine = running(JobKind::Service, &["web"]);
    let sent = machine.reports.len();
    machine.now = Timestamp(machine.now.0 - 3600);
    machine.step(Event::Woke);
    run_now(&mut machine);
    assert_eq!(machine.reports.len(), sent + 1);
}

/// A service whose disk was just filled, with its stop ordered.
fn stopped_on_a_full_disk(tasks: &[&str]) -> Machine {
    let mut machine = running(JobKind::Service, tasks);
    machine.ledger_fails = true;
    machine.desire(1, vec![stopped(desired(1, JobKind::Service, tasks))], true);
    run_now(&mut machine);
    machine
}

#[test]
fn what_fills_the_disk_of_the_ledger_can_be_stopped() {
    let mut machine = stopped_on_a_full_disk(&["web"]);
    machine.pass(Millis(5000));
    run_now(&mut machine);
    assert_eq!(machine.live(alloc_id(1)), 0);
    assert!(!machine.shims.contains_key(&alloc_id(1)), "it is removed, which frees the disk");
    assert_eq!(machine.phase(alloc_id(1)), Some(&Phase::Running), "its end is not told before it is remembered");
    machine.faults_stop();
    machine.settle();
    assert_eq!(machine.phase(alloc_id(1)), Some(&Phase::Ended(Ended::Stopped)));
    assert_eq!(machine.ledger[&alloc_id(1)].ended, Some(Ended::Stopped));
}

#[test]
fn the_room_of_what_was_removed_is_used_for_the_ledger_at_once() {
    let mut machine = stopped_on_a_full_disk(&["web"]);
    machine.pass(Millis(5000));
    while machine.shims.contains_key(&alloc_id(1)) {
        assert!(machine.perform() || machine.deliver());
    }
    machine.ledger_fails = false;
    run_now(&mut machine);
    assert_eq!(machine.ledger[&alloc_id(1)].ended, Some(Ended::Stopped), "without waiting for the next try");
}

#[test]
fn nothing_is_started_that_the_ledger_does_not_know_and_the_node_stays_alive() {
    let mut machine = running(JobKind::Service, &["web", "side"]);
    machine.ledger_fails = true;
    machine.exit(alloc_id(1), &name("web"), ExitKind::Status(3));
    machine.desire(1, vec![desired(1, JobKind::Service, &["web", "side"]), desired(2, JobKind::Batch, &["one"])], true);
    let (told, before) = (machine.reports.len(), machine.reports.last().unwrap().clone());
    for _ in 0..600 {
        run_now(&mut machine);
        machine.pass(Millis(100));
    }
    assert_eq!((machine.live(alloc_id(1)), machine.live(alloc_id(2))), (1, 0));
    assert!(!machine.shims.contains_key(&alloc_id(2)));
    let beats = &machine.reports[told..];
    assert!(beats.len() >= 55, "{} signs of life within a minute", beats.len());
    assert!(beats.iter().all(|beat| (beat.digest, &beat.allocs) == (before.digest, &before.allocs)));
    assert!((5..20).contains(&machine.ledger_failures), "tried {} times within a minute", machine.ledger_failures);

    machine.faults_stop();
    machine.settle();
    assert_eq!((machine.live(alloc_id(1)), machine.live(alloc_id(2))), (2, 1));
    assert_eq!(machine.ledger[&alloc_id(1)].tasks[&name("web")].status.restarts, 1, "a start given back is no start");
    assert_eq!(status(&machine, "web").restarts, 1);
}

#[test]
fn a_start_that_waits_for_the_ledger_does_not_hold_up_a_stop() {
    let mut machine = running(JobKind::Service, &["web", "side"]);
    machine.ledger_fails = true;
    machine.exit(alloc_id(1), &name("web"), ExitKind::Status(3));
    run_now(&mut machine);
    machine.pass(Millis(20_000));
    run_now(&mut machine);
    machine.desire(1, vec![stopped(desired(1, JobKind::Service, &["web", "side"]))], true);
    for _ in 0..2 {
        run_now(&mut machine);
        machine.pass(Millis(5000));
    }
    run_now(&mut machine);
    assert!(!machine.shims.contains_key(&alloc_id(1)), "neither task lives, and both are removed");
}

#[test]
fn force_that_got_lost_is_used_again_until_the_end_is_known() {
    let mut machine = running(JobKind::Service, &["web"]);
    machine.signals_lost = 4;
    machine.desire(1, vec![stopped(desired(1, JobKind::Service, &["web"]))], true);
    run_now(&mut machine);
    for _ in 0..4 {
        assert_eq!(machine.live(alloc_id(1)), 1);
        machine.pass(Millis::from_secs(15));
        run_now(&mut machine);
    }
    assert_eq!(machine.live(alloc_id(1)), 0);
    machine.settle();
    assert_eq!(machine.phase(alloc_id(1)), Some(&Phase::Ended(Ended::Stopped)));
}

#[test]
fn a_restarted_agent_begins_nothing_new_before_it_has_heard_what_should_be() {
    let mut machine = running(JobKind::Service, &["web"]);
    machine.desire(1, vec![desired(2, JobKind::Service, &["web"])], true);
    run_now(&mut machine);
    machine.restart_agent();
    run_now(&mut machine);
    assert_eq!(machine.live(alloc_id(2)), 0, "its room may be that of the other, which lives");
    machine.welcome(1);
    machine.desire(1, vec![desired(2, JobKind::Service, &["web"])], true);
    machine.settle();
    assert_eq!((machine.live(alloc_id(1)), machine.live(alloc_id(2))), (0, 1));
}

fn measured(machine: &mut Machine, run: u32, used: Bytes) {
    let run = RunningTask { alloc: alloc_id(1), task: name("web"), run };
    machine.step(Event::DiskUsed { run, used });
    run_now(machine);
}

/// `web` with a mebibyte of disk beside `side`, which may have what it likes.
fn limited_in_disk() -> Machine {
    let mut alloc = desired(1, JobKind::Service, &["web", "side"]);
    alloc.group.tasks[0].resources.disk = Bytes::mib(1);
    let mut machine = Machine::new();
    machine.welcome(1);
    machine.desire(1, vec![alloc], true);
    machine.settle();
    machine
}

#[test]
fn a_task_that_uses_more_disk_than_it_asked_for_fails_by_its_restart_policy() {
    let mut machine = limited_in_disk();
    for run in 1..=3 {
        let limited: Vec<RunningTask> = machine.core.limited_in_disk().collect();
        assert_eq!(limited, [RunningTask { alloc: alloc_id(1), task: name("web"), run }]);
        measured(&mut machine, run, Bytes::mib(1));
        assert_eq!(machine.live(alloc_id(1)), 2, "it may use what it asked for");
        measured(&mut machine, run, Bytes::mib(12));
        machine.settle();
        // By its kill policy: a task of this world ignores being asked in odd runs, and force follows.
        machine.pass(Millis(5000));
        machine.settle();
    }
    let message = "task `web` failed: used 12MiB of disk, asked for 1MiB; have it write less or remove what it does \
                   not need, or ask for more with `resources.disk`; restarted 2 times within 60s, its restart policy \
                   allows no more";
    assert_eq!(failure(&machine), Failure { kind: FailureKind::DiskExceeded, message: message.to_owned() });
    assert_eq!(machine.live(alloc_id(1)), 0, "the sibling is ended with it");
}

#[test]
fn what_a_run_before_used_is_not_held_against_this_one() {
    let mut machine = limited_in_disk();
    machine.exit(alloc_id(1), &name("web"), ExitKind::Status(3));
    machine.settle();
    measured(&mut machine, 1, Bytes::mib(12));
    machine.settle();
    assert_eq!((machine.phase(alloc_id(1)), status(&machine, "web").restarts), (Some(&Phase::Running), 1));
}

#[test]
fn too_much_disk_ends_a_task_also_while_the_ledger_cannot_be_written() {
    let mut machine = limited_in_disk();
    machine.ledger_fails = true;
    // Another task's end is what has to be remembered, and cannot.
    machine.exit(alloc_id(1), &name("side"), ExitKind::Status(3));
    run_now(&mut machine);
    measured(&mut machine, 1, Bytes(Bytes::mib(1).0 + 1));
    machine.pass(Millis(5000));
    run_now(&mut machine);
    assert_eq!(machine.live(alloc_id(1)), 0);
    machine.faults_stop();
    machine.settle();
    let told = status(&machine, "web").last_exit.unwrap().how;
    let ExitKind::Failure(failure) = told else { panic!("{told:?}") };
    assert!(failure.message.starts_with("used 1048577B of disk, asked for 1MiB; "), "{}", failure.message);
}

fn disk_free(machine: &mut Machine, free: u64) -> bool {
    machine.step(Event::DiskFree { free: Bytes::mib(free), reserve: Bytes::mib(100) });
    run_now(machine);
    machine.pass(Millis(1000));
    run_now(machine);
    machine.reports.last().unwrap().conditions.contains(&NodeCondition::DiskFull)
}

#[test]
fn a_full_disk_is_told_until_there_is_room_to_spare() {
    let mut machine = running(JobKind::Service, &["web"]);
    let told: Vec<bool> = [100, 99, 100, 124, 125, 100].map(|free| disk_free(&mut machine, free)).into();
    assert_eq!(told, [false, true, true, true, false, false]);
}

#[test]
fn a_full_disk_is_told_also_while_the_ledger_cannot_be_written() {
    let mut machine = running(JobKind::Service, &["web"]);
    machine.ledger_fails = true;
    machine.exit(alloc_id(1), &name("web"), ExitKind::Status(3));
    run_now(&mut machine);
    assert!(disk_free(&mut machine, 0));
    assert!(machine.ledger_failures > 0);
    assert_eq!(machine.phase(alloc_id(1)), Some(&Phase::Running), "nothing else that is new is told");
}

#[test]
fn after_a_restart_of_the_agent_too_what_is_new_waits_for_the_room_of_what_is_not_listed_any_more() {
    let mut machine = running(JobKind::Service, &["web"]);
    machine.desire(1, vec![desired(2, JobKind::Service, &["api"])], true);
    run_now(&mut machine);
    assert_eq!(
        (machine.live(alloc_id(1)), machine.live(alloc_id(2))),
        (1, 0),
        "the old one ignores being asked to end"
    );
    machine.restart_agent();
    machine.welcome(1);
    machine.desire(1, vec![desired(2, JobKind::Service, &["api"])], true);
    run_now(&mut machine);
    assert_eq!((machine.live(alloc_id(1)), machine.live(alloc_id(2))), (1, 0), "its room may be the same");
    machine.pass(Millis(5000));
    machine.settle();
    assert_eq!((machine.live(alloc_id(1)), machine.live(alloc_id(2))), (0, 1));
}

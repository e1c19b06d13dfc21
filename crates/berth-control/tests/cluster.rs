//! What the core does, told as stories of small clusters.

mod world;

use berth_model::testkit::{batch, machine, service, system};
use berth_model::*;
use world::{Fate, World, job_id};

fn two_nodes() -> World {
    let mut w = World::new();
    w.node(machine("a"));
    w.node(machine("b"));
    w
}

#[test]
fn a_service_is_placed_runs_and_becomes_ready() {
    let mut w = two_nodes();
    let done = w.run(service("web").count(2)).unwrap();
    assert_eq!(done, CommandOutcome::JobVersion { job: job_id("web"), version: JobVersion(1), changed: true });
    assert_eq!(w.live("web"), ["web[0] v1 placed a", "web[1] v1 placed b"]);
    w.reports();
    assert_eq!(w.live("web"), ["web[0] v1 running a", "web[1] v1 running b"]);
    w.pass(1_500);
    assert_eq!(w.live("web"), ["web[0] v1 ready a", "web[1] v1 ready b"]);
    w.stop("web").unwrap();
    w.pass(500);
    assert_eq!(w.all("web"), ["web[0] v1 stopped a", "web[1] v1 stopped b"]);
    let state = &w.core.jobs()[&job_id("web")].state;
    assert!(matches!(state, JobState::Ended { outcome: JobOutcome::Stopped, .. }), "{state:?}");
}

#[test]
fn a_lost_nodes_work_runs_elsewhere_and_stops_there_when_it_returns() {
    let mut w = two_nodes();
    w.run(service("web").count(2)).unwrap();
    w.pass(2_000);
    w.cut("a");
    w.pass(7_000);
    assert_eq!(w.all("web"), ["web[0] v1 lost a", "web[1] v1 ready b", "web[0] v1 ready b"]);
    w.connect("a");
    w.pass(1_000);
    assert_eq!(w.core.summary().nodes_ready, 2);
    let desired = w.agents["a"].desired.clone().unwrap();
    assert!(desired.allocs.iter().all(|a| a.goal == Goal::Stop), "{desired:?}");
}

#[test]
fn an_update_replaces_one_after_the_other_and_waits_for_each() {
    let mut w = two_nodes();
    w.run(service("web").count(2)).unwrap();
    w.pass(2_000);
    w.run(service("web").count(2).command("/bin/new")).unwrap();
    assert_eq!(w.live("web"), ["web[0] v1 ready a", "web[1] v1 ready b", "web[0] v2 placed a"]);
    w.pass(5_000);
    assert_eq!(w.live("web"), ["web[0] v2 ready a", "web[1] v2 ready b"]);
    assert!(w.core.job_versions().contains_key(&(job_id("web"), JobVersion(1))), "kept for the ended");
}

#[test]
fn a_broken_update_leaves_the_old_instances_alone() {
    let mut w = two_nodes();
    w.run(service("web").count(2)).unwrap();
    w.pass(2_000);
    let old: Vec<AllocId> = w.core.allocs().keys().copied().collect();
    for id in old {
        w.fates.insert(id.to_string(), Fate::Run);
    }
    w.fates.insert("web".to_owned(), Fate::Fail);
    w.run(service("web").count(2).command("/bin/new")).unwrap();
    w.pass(20_000);
    let live = w.live("web");
    assert_eq!(live[..2], ["web[0] v1 ready a", "web[1] v1 ready b"]);
    assert_eq!(live[2..], ["web[0] v2 waiting back-off -"]);
}

#[test]
fn a_fixed_port_that_only_the_old_instance_holds_is_given_up_first() {
    let mut w = World::new();
    w.node(machine("a"));
    w.run(service("web").fixed_port("http", 80)).unwrap();
    w.pass(2_000);
    w.run(service("web").fixed_port("http", 80).command("/bin/new")).unwrap();
    assert_eq!(w.live("web"), ["web[0] v1 stopping a", "web[0] v2 waiting no-room -"]);
    w.pass(2_000);
    assert_eq!(w.live("web"), ["web[0] v2 ready a"]);
}

#[test]
fn a_failed_service_is_tried_again_elsewhere_after_a_back_off() {
    let mut w = two_nodes();
    w.fates.insert("web".to_owned(), Fate::Fail);
    w.run(service("web")).unwrap();
    w.reports();
    assert_eq!(w.all("web"), ["web[0] v1 failed a", "web[0] v1 waiting back-off -"]);
    w.fates.clear();
    w.pass(3_000);
    assert_eq!(w.all("web"), ["web[0] v1 failed a", "web[0] v1 ready b"]);
}

#[test]
fn batch_work_is_done_once_and_the_job_ends() {
    let mut w = two_nodes();
    w.fates.insert("sum".to_owned(), Fate::Complete);
    w.run(batch("sum").count(3)).unwrap();
    w.pass(1_000);
    assert_eq!(w.all("sum"), ["sum[0] v1 complete a", "sum[1] v1 complete b", "sum[2] v1 complete a"]);
    let state = &w.core.jobs()[&job_id("sum")].state;
    assert!(matches!(state, JobState::Ended { outcome: JobOutcome::Complete, .. }), "{state:?}");
    let again = w.run(batch("sum").count(3)).unwrap();
    assert_eq!(again, CommandOutcome::JobVersion { job: job_id("sum"), version: JobVersion(2), changed: true });
    w.pass(1_000);
    assert_eq!(w.all("sum").len(), 6);
}

#[test]
fn batch_work_that_fails_four_times_fails_the_job() {
    let mut w = two_nodes();
    w.fates.insert("sum".to_owned(), Fate::Fail);
    w.run(batch("sum")).unwrap();
    w.pass(20_000);
    assert_eq!(w.all("sum").len(), 4);
    let state = &w.core.jobs()[&job_id("sum")].state;
    assert!(matches!(state, JobState::Ended { outcome: JobOutcome::Failed, .. }), "{state:?}");
}

#[test]
fn a_system_job_follows_the_nodes() {
    let mut w = two_nodes();
    w.run(system("log").constraint("zone", Operator::Unset)).unwrap();
    w.node(machine("c").attribute("zone", "x"));
    w.node(machine("d"));
    w.pass(2_000);
    assert_eq!(w.live("log"), ["log[0] v1 ready a", "log[0] v1 ready b", "log[0] v1 ready d"]);
    w.cut("b");
    w.pass(7_000);
    assert_eq!(w.live("log"), ["log[0] v1 ready a", "log[0] v1 ready d"]);
    w.connect("b");
    w.pass(2_000);
    assert_eq!(w.live("log"), ["log[0] v1 ready a", "log[0] v1 ready d", "log[0] v1 ready b"]);
    w.run(system("log").constraint("zone", Operator::Unset).command("/bin/new")).unwrap();
    w.pass(10_000);
    assert_eq!(w.live("log"), ["log[0] v2 ready a", "log[0] v2 ready b", "log[0] v2 ready d"]);
}

#[test]
fn nothing_new_is_placed_where_the_disk_is_full_and_what_runs_there_stays() {
    let mut w = World::new();
    let node = w.node(machine("a"));
    w.run(service("web")).unwrap();
    w.pass(2_000);
    let since = w.now;
    w.agents.get_mut("a").unwrap().conditions.insert(NodeCondition::DiskFull);
    w.report("a");
    let told = |w: &World| w.core.nodes()[&node].conditions.clone();
    assert_eq!(told(&w), [(NodeCondition::DiskFull, since)].into());
    w.run(service("next")).unwrap();
    w.pass(2_000);
    assert_eq!(told(&w), [(NodeCondition::DiskFull, since)].into(), "it is full since then");
    assert_eq!(w.live("web"), ["web[0] v1 ready a"]);
    let waiting = w.core.job_allocs(&job_id("next"))[0].state.clone();
    let AllocState::Waiting { reason: WaitReason::NoNodeFits { filtered, verdict, .. }, .. } = waiting else {
        panic!("{waiting:?}")
    };
    assert_eq!((filtered, verdict), (Filtered::from([(Filter::DiskFull, 1)]), Verdict::Waiting));
    // Whoever leads next knows it too.
    assert_eq!(w.disk.snapshot().nodes[0].conditions, told(&w));
    w.agents.get_mut("a").unwrap().conditions.clear();
    w.pass(2_000);
    assert_eq!((told(&w).len(), w.live("next")), (0, vec!["next[0] v1 ready a".to_owned()]));
}

#[test]
fn a_leader_whose_clock_was_set_back_waits_no_longer_than_it_would_have() {
    let mut w = two_nodes();
    w.fates.insert("bad".to_owned(), Fate::Fail);
    w.run(service("bad")).unwrap();
    w.run(service("web")).unwrap();
    w.reports();
    assert_eq!(w.live("bad"), ["bad[0] v1 waiting back-off -"]);
    assert_eq!(w.live("web"), ["web[0] v1 running b"]);
    w.now = Timestamp(w.now.0 - 900_000);
    w.lead_anew();
    w.fates.remove("bad");
    w.pass(5_000);
    assert_eq!(w.live("web"), ["web[0] v1 ready b"]);
    assert_eq!(w.live("bad"), ["bad[0] v1 ready b"], "tried again, and elsewhere");
}

#[test]
fn agents_have_time_to_find_a_new_leader() {
    let mut w = two_nodes();
    w.run(service("web").count(2)).unwrap();
    w.pass(5_000);
    w.cut("a");
    w.lead_anew();
    w.pass(14_000);
    assert_eq!(w.live("web"), ["web[0] v1 ready a", "web[1] v1 ready b"]);
    w.connect("a");
    w.pass(1_000);
    // Once it has come, it has no more time than any.
    w.cut("a");
    w.pass(4_000);
    assert_eq!(w.live("web")[0], "web[0] v1 ready a");
    w.pass(2_000);
    assert_eq!(w.all("web")[0], "web[0] v1 lost a");
    // And one that never comes is lost.
    w.connect("a");
    w.pass(20_000);
    w.cut("b");
    w.lead_anew();
    w.pass(22_000);
    assert!(w.live("web").iter().all(|line| line.ends_with("ready a")), "{:?}", w.live("web"));
}

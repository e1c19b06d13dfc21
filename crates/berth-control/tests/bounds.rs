//! What agents and time could make grow without end.

mod world;

use berth_control::{Beginning, Core, Effect, Event, SessionId, Settings};
use berth_model::testkit::{batch, machine, name, service};
use berth_model::*;
use world::{Fate, World};

#[test]
fn ended_allocations_of_large_jobs_do_not_swell_what_a_node_is_told() {
    let mut w = World::new();
    let node = w.node(machine("a"));
    const JOBS: usize = 60;
    const BYTES: usize = 100_000;
    for n in 0..JOBS {
        let job = format!("large-{n}");
        let mut spec = batch(&job);
        spec.0.groups[0].tasks[0].env.insert("LARGE".to_owned(), "x".repeat(BYTES));
        w.fates.insert(job, Fate::Complete);
        w.run(spec).unwrap();
        w.reports();
    }
    let ended = w.core.allocs().values().filter(|alloc| alloc.is_ended()).count();
    assert_eq!(ended, JOBS);
    let told = w.core.desired(node).allocs;
    assert!((20..45).contains(&told.len()), "about 4 MiB of them are kept, not {}", told.len());
    let newest = w.core.allocs().keys().next_back().copied().unwrap();
    assert_eq!(told.last().unwrap().id, newest, "and the newest at that");

    // However many are of one kind, what they have in common counts once.
    let mut spec = batch("alike").count(100);
    spec.0.groups[0].tasks[0].env.insert("LARGE".to_owned(), "x".repeat(BYTES));
    w.fates.insert("alike".to_owned(), Fate::Complete);
    w.run(spec).unwrap();
    w.pass(30_000);
    assert!(w.core.desired(node).allocs.len() > 100);
}

#[test]
fn there_is_an_end_to_the_nodes_that_may_register() {
    let mut out = Vec::new();
    let now = Timestamp(1_000_000);
    let mut core = Core::load(
        Beginning { settings: Settings::default(), snapshot: Snapshot::default(), epoch: world::EPOCH, now },
        &mut out,
    );
    let mut connect = |n: usize| {
        out.clear();
        let hello = machine(&format!("n{n}")).hello();
        core.step(now, Event::AgentConnected { session: SessionId(n as u64), hello }, &mut out);
        out.iter().find_map(|effect| match effect {
            Effect::Close { reason, .. } => Some(reason.clone()),
            Effect::Commit { .. }
            | Effect::Reply { .. }
            | Effect::Send { .. }
            | Effect::WakeAt(_)
            | Effect::StepDown(_) => None,
        })
    };
    for n in 1..=limits::NODES {
        assert_eq!(connect(n), None);
    }
    let reason = connect(limits::NODES + 1).expect("refused");
    assert!(reason.starts_with("the cluster has 100000 nodes, lost ones included, and takes no more"), "{reason}");
    assert_eq!(connect(17), None, "one that is known comes back");
}

#[test]
fn a_job_that_runs_is_told_why_it_cannot_become_another_kind() {
    let mut w = World::new();
    w.node(machine("a"));
    w.run(service("web")).unwrap();
    let refused = w.run(batch("web")).unwrap_err();
    let Refusal::Invalid { problem, .. } = refused else { panic!("{refused:?}") };
    assert_eq!(problem, "the job runs as a service job and cannot become a batch job while it does");
    assert_eq!(w.core.jobs()[&world::job_id("web")].spec.id.name, name("web"));
}

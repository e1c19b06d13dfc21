//! Plans: what they tell, and that they change nothing.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use std::collections::BTreeSet;

use berth_control::*;
use berth_model::testkit::{Spec, batch, machine, service, system};
use berth_model::*;
use world::{World, job_id, reason_word};

fn principal() -> Principal {
    Principal("root".to_owned())
}

fn plan(w: &World, request: &PlanRequest) -> Plan {
    w.core.plan(w.now, &principal(), request).unwrap()
}

fn run(w: &World, spec: Spec) -> Plan {
    plan(w, &PlanRequest::Command(Command::Run(Box::new(spec.0))))
}

fn drain(nodes: BTreeSet<NodeId>) -> PlanRequest {
    PlanRequest::Command(Command::Drain { nodes, deadline: None })
}

/// One line for each change, one for each that waits.
fn lines(w: &World, plan: &Plan) -> Vec<String> {
    let to = |target: &Target| {
        let ports: Vec<String> = target.ports.values().map(|port| format!(":{port}")).collect();
        format!("{}{}", w.node_name(target.node), ports.concat())
    };
    let changes = plan.changes.iter().map(|change| {
        let what = match &change.what {
            Planned::Start(target) => format!("start {}", to(target)),
            Planned::Replace(source, target) => format!("replace {} {}", w.node_name(source.node), to(target)),
            Planned::Move(source, target) => format!("move {} {}", w.node_name(source.node), to(target)),
            Planned::Stop(source) => format!("stop {}", w.node_name(source.node)),
        };
        format!("{} {}[{}] v{} {what}", change.wave, change.job.name, change.index, change.version)
    });
    let waits = plan
        .waits
        .iter()
        .map(|wait| format!("{}[{}] v{} {}", wait.job.name, wait.index, wait.version, reason_word(&wait.reason)));
    changes.chain(waits).collect()
}

fn three_nodes() -> World {
    let mut w = World::new();
    for name in ["a", "b", "c"] {
        w.node(machine(name));
    }
    w
}

fn node(w: &World, name: &str) -> BTreeSet<NodeId> {
    w.core.nodes().values().filter(|node| node.fingerprint.name.as_str() == name).map(|node| node.id).collect()
}

#[test]
fn a_new_job_starts_at_once_and_what_does_not_fit_waits() {
    let mut w = three_nodes();
    let told = run(&w, service("web").count(2).fixed_port("http", 8080));
    assert_eq!(lines(&w, &told), ["1 web[0] v1 start a:8080", "1 web[1] v1 start b:8080"]);
    assert_eq!((told.before.nodes, told.before.used.cpu, told.after.used.cpu), (3, CpuMillis(0), CpuMillis(1000)));

    w.run(service("web").count(2).fixed_port("http", 8080)).unwrap();
    w.pass(3_000);
    let told = run(&w, service("other").count(2).fixed_port("http", 8080));
    assert_eq!(lines(&w, &told), ["1 other[0] v1 start c:8080", "other[1] v1 no-room"]);
    assert!(run(&w, service("web").count(2).fixed_port("http", 8080)).changes.is_empty(), "it is so already");
}

#[test]
fn an_update_goes_in_waves_and_stops_what_is_too_many() {
    let mut w = three_nodes();
    w.run(service("web").count(4)).unwrap();
    w.pass(3_000);
    let told = run(&w, service("web").count(3).command("/bin/new").max_parallel(2));
    let wanted =
        ["1 web[0] v2 replace a b", "1 web[1] v2 replace b c", "1 web[3] v1 stop a", "2 web[2] v2 replace c a"];
    assert_eq!(lines(&w, &told), wanted);
    assert!(told.broken_budgets.is_empty() && told.end == PlanEnd::AtRest);
}

#[test]
fn what_needs_the_place_of_the_old_says_that_more_is_missing_than_allowed_only_when_it_is() {
    let mut w = World::new();
    w.node(machine("a").cpu(1_000));
    w.run(service("web").count(2)).unwrap();
    w.pass(3_000);
    let told = run(&w, service("web").count(2).command("/bin/new"));
    assert_eq!(lines(&w, &told), ["2 web[0] v2 replace a a", "3 web[1] v2 replace a a"]);
    assert!(told.broken_budgets.is_empty(), "one at a time is allowed to be missing");

    let mut w = three_nodes();
    w.run(service("web").count(6)).unwrap();
    w.pass(3_000);
    let told = plan(&w, &PlanRequest::Lose(node(&w, "b")));
    assert_eq!(lines(&w, &told), ["1 web[1] v1 move b a", "1 web[4] v1 move b c"]);
    let broken = &told.broken_budgets[0];
    assert_eq!((broken.missing, broken.allowed), (2, 1));
    assert_eq!((told.before.nodes, told.after.nodes), (3, 2));
}

#[test]
fn a_drained_node_is_emptied_within_the_budget_and_its_batch_work_goes_on() {
    let mut w = three_nodes();
    w.run(service("web").count(6)).unwrap();
    w.run(system("log")).unwrap();
    w.run(batch("sum").count(3)).unwrap();
    w.fates.insert("sum".to_owned(), world::Fate::Run);
    w.pass(3_000);
    let told = plan(&w, &drain(node(&w, "a")));
    assert_eq!(lines(&w, &told), ["1 web[0] v1 move a b", "2 web[3] v1 move a c"]);
    assert!(told.broken_budgets.is_empty());
}

#[test]
fn a_drain_with_no_time_is_planned_to_its_end() {
    let mut w = three_nodes();
    w.run(service("web").count(3)).unwrap();
    w.run(system("log")).unwrap();
    w.run(batch("sum").count(3)).unwrap();
    w.fates.insert("sum".to_owned(), world::Fate::Run);
    w.pass(3_000);
    let at_once = Command::Drain { nodes: node(&w, "a"), deadline: Some(Millis(0)) };
    let told = plan(&w, &PlanRequest::Command(at_once.clone()));
    let mut found = lines(&w, &told);
    found.sort();
    let on_a = w.core.node_allocs(*node(&w, "a").first().unwrap()).filter(|a| a.job == job_id("sum")).count();
    let moved = found.iter().filter(|line| line.contains("sum") && line.contains("move a")).count();
    assert!(moved == on_a && moved > 0, "{found:?}");
    assert!(found.iter().any(|line| line.ends_with("log[0] v1 stop a")), "{found:?}");
    w.answer(at_once).unwrap();
    w.pass(20_000);
    assert_eq!(w.core.node_allocs(*node(&w, "a").first().unwrap()).count(), 0);
    let planned = |job: &str| found.iter().filter(|line| line.contains(job) && line.contains("move a")).count();
    let on_others = |job: &str| w.live(job).iter().filter(|line| !line.ends_with(" a")).count();
    assert_eq!((on_others("sum"), on_others("web"), planned("web")), (3, 3, 1));
}

#[test]
fn a_plan_changes_nothing() {
    let mut w = three_nodes();
    w.run(service("web").count(3)).unwrap();
    // In the middle of everything: not all of it is durable, and agents have not yet heard of all.
    w.store_stalled = true;
    w.ask("half", Command::Run(Box::new(service("web").count(5).command("/bin/new").0)));
    let (before, shown) = (w.core.state_digest(), format!("{:?}", w.core));
    for request in [
        PlanRequest::Command(Command::Run(Box::new(service("more").count(4).0))),
        PlanRequest::Command(Command::Stop(job_id("web"))),
        drain(node(&w, "a")),
        PlanRequest::Lose(node(&w, "b")),
    ] {
        let one = plan(&w, &request);
        let same = w.core.planner().plan(w.now, &principal(), &request).unwrap();
        assert!(same.regret_before.is_some() && same.regret_after.is_some(), "{same:?}");
        assert_eq!(one, Plan { regret_before: None, regret_after: None, ..same });
    }
    assert_eq!((w.core.state_digest(), format!("{:?}", w.core)), (before, shown));
    w.store_stalled = false;
    w.drain();
}

/// Runs a job under a plan.
fn run_as(w: &mut World, key: &str, spec: &Spec, plan: PlanId) -> Option<CommandResult> {
    let command = Box::new(CommandRequest {
        principal: principal(),
        namespace: Namespace::default(),
        key: IdempotencyKey(key.to_owned()),
        plan: Some(plan),
        command: Command::Run(Box::new(spec.0.clone())),
    });
    let request = RequestId(u64::try_from(1_000 + w.replies.len()).unwrap());
    w.event(Event::Command { request, command });
    w.replies.get(&request).cloned()
}

/// An update of two at a time under its plan, of which one node does not report: the new one beside it is ready.
fn half_done() -> World {
    let mut w = three_nodes();
    w.run(service("web").count(2)).unwrap();
    w.pass(3_000);
    let next = service("web").count(2).command("/bin/new").max_parallel(2);
    let plan = run(&w, next.clone());
    assert_eq!(lines(&w, &plan), ["1 web[0] v2 replace a c", "1 web[1] v2 replace b b"]);
    w.cut("b");
    run_as(&mut w, "under a plan", &next, plan.id);
    w.pass(3_000);
    w
}

#[test]
fn under_a_plan_nothing_is_decided_before_everything_is_at_rest() {
    let mut w = half_done();
    assert!(w.live("web").contains(&"web[0] v2 ready c".to_owned()), "{:?}", w.live("web"));
    assert!(w.live("web").contains(&"web[0] v1 ready a".to_owned()), "its time has not come: {:?}", w.live("web"));
    w.connect("b");
    w.pass(3_000);
    let mut live = w.live("web");
    live.sort();
    assert_eq!(live, ["web[0] v2 ready c", "web[1] v2 ready b"]);
}

#[test]
fn what_a_plan_does_not_foresee_ends_its_hold() {
    let mut w = half_done();
    w.run(service("other")).unwrap();
    w.pass(1_000);
    assert!(!w.live("web").contains(&"web[0] v1 ready a".to_owned()), "a command: {:?}", w.live("web"));

    let mut w = half_done();
    w.node(machine("d"));
    w.pass(1_000);
    assert!(!w.live("web").contains(&"web[0] v1 ready a".to_owned()), "a node: {:?}", w.live("web"));
}

/// Whatever comes next, what has been reported already has its consequences: the next plan says so, and they come.
#[test]
fn a_plan_tells_what_another_has_held_up() {
    let w = half_done();
    let told = run(&w, service("other"));
    assert!(lines(&w, &told).contains(&"1 web[0] v1 stop a".to_owned()), "{:?}", lines(&w, &told));
}

/// Those who wait until others may go for them are looked at again, although the time came while others were waited for.
#[test]
fn who_has_proven_itself_under_a_plan_may_go_after_it() {
    let mut w = World::new();
    w.node(machine("a"));
    w.run(service("low").cpu(3_000).priority(20)).unwrap();
    w.pass(2_000);
    w.run(service("high").cpu(3_000).priority(80)).unwrap();
    w.pass(3_000);
    w.node(machine("b"));
    w.pass(3_000);
    assert_eq!(w.live("low"), ["low[0] v1 ready b"]);
    w.run(service("middle").cpu(3_000).priority(50)).unwrap();
    assert_eq!(w.live("middle"), ["middle[0] v1 waiting no-room -"], "low has gone for another just now");
    let slow = service("slow").min_ready(900_000);
    let plan = run(&w, slow.clone());
    run_as(&mut w, "slow", &slow, plan.id);
    w.pass(700_000);
    assert_eq!(w.live("middle"), ["middle[0] v1 waiting no-room -"], "slow is waited for");
    w.run(service("other")).unwrap();
    assert_eq!(w.live("middle"), ["middle[0] v1 waiting preempting -"]);
}

#[test]
fn a_command_under_a_plan_does_that_or_nothing() {
    let mut w = three_nodes();
    let web = service("web").count(2);
    let planned = run(&w, web.clone()).id;
    w.run(service("first").cpu(2_000)).unwrap();
    let now = run(&w, web.clone()).id;
    assert_ne!(planned, now);
    assert_eq!(run_as(&mut w, "k1", &web, planned), Some(Err(Refusal::PlanChanged { plan: planned, now })));
    assert!(w.all("web").is_empty(), "nothing was done");

    // What does not matter to the plan may change.
    w.pass(3_000);
    assert!(matches!(run_as(&mut w, "k2", &web, now), Some(Ok(_))));
    // Sent again, it is answered again, although it would do nothing now.
    assert!(matches!(run_as(&mut w, "k2", &web, now), Some(Ok(_))));
}

#[test]
fn what_is_refused_cannot_be_planned() {
    let w = three_nodes();
    let missing = w.core.plan(w.now, &principal(), &PlanRequest::Command(Command::Stop(job_id("web"))));
    assert_eq!(missing, Err(Refusal::NoSuchJob(job_id("web"))));
    let alloc = AllocId::new(Incarnation(1), 7);
    let missing = w.core.plan(w.now, &principal(), &PlanRequest::Command(Command::StopAlloc(alloc)));
    assert_eq!(missing, Err(Refusal::NoSuchAlloc(alloc)));
    let nobody = Principal(String::new());
    let refused = w.core.plan(w.now, &nobody, &PlanRequest::Command(Command::Run(Box::new(service("web").0))));
    assert!(matches!(refused, Err(Refusal::NotAuthorized { .. })), "{refused:?}");
}

#[test]
fn the_id_of_a_plan_is_read_as_it_is_written() {
    let w = three_nodes();
    let id = run(&w, service("web")).id;
    assert_eq!(id.to_string().parse(), Ok(id));
    for wrong in ["", "p", "p12", &id.to_string().to_uppercase(), &format!("{id}0")] {
        assert!(wrong.parse::<PlanId>().is_err(), "{wrong}");
    }
}

//! What is told about those who wait: who holds the resources, and remedies that work when they are carried out.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use std::collections::BTreeSet;

use berth_control::Settings;
use berth_model::testkit::{Machine, Spec, batch, machine, service, system};
use berth_model::*;
use world::{World, job_id};

/// Why something does not run: what is there, and the job that waits in it.
struct Case {
    cause: &'static str,
    machines: Vec<Machine>,
    settings: Settings,
    /// Run first, and ready, before the one that waits.
    before: Vec<Spec>,
    /// What goes wrong after that.
    then: fn(&mut World),
    waits: Spec,
}

fn case(cause: &'static str, before: Vec<Spec>, waits: Spec) -> Case {
    let machines = vec![machine("a"), machine("b")];
    Case { cause, machines, settings: Settings::default(), before, then: |_| (), waits }
}

impl Case {
    fn on(self, machines: impl IntoIterator<Item = Machine>) -> Case {
        Case { machines: machines.into_iter().collect(), ..self }
    }

    fn then(self, then: fn(&mut World)) -> Case {
        Case { then, ..self }
    }

    /// The cluster with the job that waits, and why.
    fn world(&self) -> World {
        let mut w = World::with(self.settings.clone());
        for machine in &self.machines {
            w.node(machine.clone());
        }
        for spec in &self.before {
            w.run(spec.clone()).unwrap();
            w.pass(2_000);
        }
        (self.then)(&mut w);
        w.run(self.waits.clone()).unwrap();
        w.pass(1_000);
        w
    }
}

/// Carries a remedy out, as it says.
fn carry_out(w: &mut World, act: &Act) {
    match act {
        Act::Change { job, change } => {
            let mut spec = w.core.jobs()[job].spec.clone();
            change.apply(&mut spec);
            w.answer(Command::Run(Box::new(spec))).unwrap();
        }
        Act::Deploy { job, .. } => {
            w.run(service(job.name.as_str()).cpu(100)).unwrap();
        }
        Act::Stop(allocs) => {
            for alloc in allocs {
                w.answer(Command::StopAlloc(*alloc)).unwrap();
            }
        }
        Act::Repair { node, fault } => {
            let name = w.node_name(*node);
            match fault {
                Fault::Lost => w.connect(&name),
                Fault::Draining => drop(w.answer(Command::Enable([*node].into())).unwrap()),
                Fault::DiskFull => w.agents.get_mut(&name).unwrap().conditions = BTreeSet::new(),
            }
        }
        Act::AddNodes { count, shape } => {
            for nth in 0..*count {
                let mut machine = machine(&format!("new-{nth}"));
                machine.0.resources = shape.resources;
                machine.0.attributes = shape.attributes.clone();
                machine.0.devices = shape.devices.clone();
                machine.0.dynamic_ports = shape.dynamic_ports;
                w.node(machine);
            }
        }
        Act::PreemptMax(most) => w.restart(|settings| settings.preempt_max = *most),
    }
}

/// The oldest of the job that waits.
fn waiting(w: &World, job: &str) -> Option<AllocId> {
    let waits = |alloc: &&&Alloc| matches!(alloc.state, AllocState::Waiting { .. });
    w.core.job_allocs(&job_id(job)).iter().find(waits).map(|alloc| alloc.id)
}

fn advice(w: &World, job: &str) -> Advice {
    let id = waiting(w, job).unwrap_or_else(|| panic!("nothing of {job} waits: {:?}", w.live(job)));
    w.core.advice(id).unwrap_or_else(|| panic!("no advice about {job}: {:?}", w.live(job)))
}

/// Whether all that is wanted of the job runs.
fn runs(w: &World, job: &str) -> bool {
    let live = w.live(job);
    !live.is_empty() && live.iter().all(|line| line.contains("ready"))
}

/// A thing that an act is of, in a word.
fn kind(act: &Act) -> &'static str {
    match act {
        Act::Change { change: Change::Priority(_), .. } => "priority",
        Act::Change { change: Change::DropJobConstraint(_), .. } => "drop job constraint",
        Act::Change { change: Change::Group { change, .. }, .. } => match change {
            GroupChange::DropConstraint(_) => "drop constraint",
            GroupChange::DropDeviceConstraint { .. } => "drop device constraint",
            GroupChange::Ask { .. } => "ask less",
            GroupChange::Devices { .. } => "fewer devices",
            GroupChange::Port { .. } => "port",
            GroupChange::AtMost { .. } => "at most more",
            GroupChange::DropAtMost(_) => "drop at most",
            GroupChange::DropRelation(_) => "drop relation",
            GroupChange::Count(_) => "count",
            GroupChange::MaxParallel(_) => "max parallel",
        },
        Act::Deploy { .. } => "deploy",
        Act::Stop(_) => "stop",
        Act::Repair { .. } => "repair",
        Act::AddNodes { .. } => "add nodes",
        Act::PreemptMax(_) => "preempt max",
    }
}

fn pool() -> Operator {
    Operator::Is("gold".to_owned())
}

fn near(job: &str) -> Spec {
    service("waits").relation(Sense::Near, job, Domain::Node, Strength::Required)
}

fn every_operator() -> Vec<Case> {
    let text = || "x".to_owned();
    let operators = [
        Operator::Is(text()),
        Operator::IsNot("linux".to_owned()),
        Operator::In(vec![text(), "y".to_owned()]),
        Operator::NotIn(vec!["linux".to_owned(), text()]),
        Operator::Unset,
        Operator::Glob("win*".to_owned()),
        Operator::Compare(Ordering::AtLeast, "6.1".to_owned()),
        Operator::Compare(Ordering::Less, "6.1".to_owned()),
    ];
    let of_kernel = operators.map(|operator| service("waits").constraint("kernel.name", operator));
    let set = service("waits").constraint("label.ssd", Operator::Set);
    of_kernel.into_iter().chain([set]).map(|waits| case("constraint", vec![], waits)).collect()
}

fn causes() -> Vec<Case> {
    let full = |job: &str| service(job).count(2).at_most(1, Domain::Node);
    let gpus = |m: Machine| m.device("gpu", "g0", "a100").device("gpu", "g1", "a100");
    let mut of_job = service("waits");
    of_job.0.constraints.push(Constraint { attribute: "label.pool".to_owned(), operator: pool() });
    let one = || [machine("a")];
    let cut = |w: &mut World| {
        w.cut("b");
        w.pass(10_000);
    };
    let drained = |w: &mut World| {
        let b = w.agents["b"].node.unwrap();
        w.answer(Command::Drain { nodes: [b].into(), deadline: None }).unwrap();
        w.pass(1_000);
    };
    let disk_full = |w: &mut World| {
        w.agents.get_mut("b").unwrap().conditions.insert(NodeCondition::DiskFull);
        w.pass(1_000);
    };
    let budget = Settings { preempt_max: 1, ..Settings::default() };
    let pair = || service("low").count(4).cpu(1_000).priority(20);
    let mut cases = vec![
        case("wrong pool", vec![], service("waits").constraint("label.pool", pool())),
        case("wrong pool of the job", vec![], of_job),
        case("cpu", vec![full("web").cpu(2_500)], service("waits").cpu(2_000)),
        case("cpu that no node has", vec![], service("waits").cpu(5_000)),
        case("memory", vec![full("web").memory(6_000)], service("waits").memory(3_000)),
        case("disk", vec![], disk(service("waits"), 200)),
        case("network", vec![full("web").network(700)], service("waits").network(400)),
        case("port", vec![full("web").fixed_port("http", 80)], service("waits").fixed_port("http", 80)),
        case("devices", vec![], service("waits").devices("g", "gpu", 3)).on([gpus(machine("a"))]),
        case("taken devices", vec![service("web").devices("g", "gpu", 1)], service("waits").devices("g", "gpu", 2))
            .on([gpus(machine("a"))]),
        case(
            "share",
            vec![service("web").device_share("g", "gpu", 600)],
            service("waits").device_share("g", "gpu", 500),
        )
        .on([machine("a").device("gpu", "g0", "a100")]),
        case("model", vec![], service("waits").devices("g", "gpu", 1).device_model("h100")).on([gpus(machine("a"))]),
        case("no device", vec![], service("waits").devices("g", "gpu", 1)),
        case("gang", vec![], service("waits").count(3).cpu(3_000).gang()),
        case(
            "lost node",
            vec![full("web").cpu(1_500)],
            service("waits").cpu(2_000).constraint("label.b", Operator::Set),
        )
        .on([machine("a"), machine("b").attribute("label.b", "1")])
        .then(cut),
        case("drained node", vec![], service("waits").constraint("label.b", Operator::Set))
            .on([machine("a"), machine("b").attribute("label.b", "1")])
            .then(drained),
        case("full node", vec![], service("waits").constraint("label.b", Operator::Set))
            .on([machine("a"), machine("b").attribute("label.b", "1")])
            .then(disk_full),
        case("budget of the group", vec![pair()], service("waits").cpu(2_000).priority(80)).on(one()),
        Case {
            settings: budget,
            ..case("budget of the cluster", vec![pair().max_parallel(4)], service("waits").cpu(2_000).priority(80))
                .on(one())
        },
        case("affinity to nothing", vec![], near("ghost")),
        case("affinity to a full node", vec![service("web").cpu(4_000)], near("web")),
        case("distinct hosts", vec![], service("waits").count(3).at_most(1, Domain::Node)),
        case("at most in a rack", vec![], service("waits").at_most(1, Domain::rack())),
        case(
            "apart",
            vec![full("web")],
            service("waits").relation(Sense::Apart, "web", Domain::Node, Strength::Required),
        ),
        case(
            "shunned",
            vec![full("web").relation(Sense::Apart, "waits", Domain::Node, Strength::Required)],
            service("waits"),
        ),
        case("priority", vec![full("low").cpu(4_000).priority(60)], service("waits").cpu(3_999)),
        case("stopping", vec![service("low").cpu(4_000).unpreemptible()], service("waits").cpu(3_999)).on(one()),
        case("system", vec![service("web").cpu(3_900)], system("waits").cpu(200)).on(one()),
        case("batch", vec![full("web").memory(8_000)], batch("waits").memory(1_000)),
        case("no nodes", vec![], service("waits")).on([]),
    ];
    cases.extend(every_operator());
    cases
}

fn disk(mut spec: Spec, gib: u64) -> Spec {
    spec.0.groups[0].tasks[0].resources.disk = Bytes::gib(gib);
    spec
}

#[test]
fn who_seeks_a_job_is_placed_as_soon_as_that_job_is() {
    let mut w = World::new();
    w.node(machine("a"));
    w.run(near("later")).unwrap();
    w.pass(1_000);
    assert_eq!(w.live("waits"), ["waits[0] v1 waiting no-room -"]);
    w.run(service("later")).unwrap();
    assert_eq!(w.live("waits"), ["waits[0] v1 placed a"]);
}

#[test]
fn a_new_priority_is_that_of_what_waits_and_of_what_runs() {
    let mut w = World::new();
    w.node(machine("a"));
    w.run(service("web").count(2).max_parallel(2).cpu(3_000)).unwrap();
    w.run(service("other").cpu(3_000).priority(60)).unwrap();
    w.pass(5_000);
    assert_eq!(w.live("other"), ["other[0] v1 ready a"], "it made room for the higher priority");
    w.run(service("web").count(2).max_parallel(2).cpu(3_000).priority(70)).unwrap();
    w.pass(5_000);
    assert_eq!(w.live("other"), ["other[0] v1 waiting no-room -"]);
    let ready = |w: &World| w.live("web").iter().filter(|line| line.contains("ready")).count();
    assert_eq!(ready(&w), 1, "what waited took the place by the new priority: {:?}", w.live("web"));
    w.pass(700_000);
    assert_eq!(ready(&w), 1, "and nobody goes for one of the same job: {:?}", w.live("web"));
}

#[test]
fn those_who_hold_most_of_what_is_lacking_are_named_first() {
    let mut w = World::new();
    w.node(machine("a"));
    w.node(machine("b").memory(1_000));
    for (job, memory) in [("small", 1_100), ("large", 4_000), ("middle", 2_000)] {
        w.run(service(job).memory(memory)).unwrap();
    }
    w.run(service("waits").memory(2_500)).unwrap();
    w.pass(1_000);
    let advice = advice(&w, "waits");
    let [held] = advice.held.as_slice() else { panic!("one node would be large enough: {advice:?}") };
    assert_eq!((w.node_name(held.node).as_str(), &held.scarce), ("a", &Scarce::Dimension(Dimension::Memory)));
    let holders: Vec<_> = held.holders.iter().map(|h| (h.job.name.as_str(), h.amount >> 20)).collect();
    assert_eq!(holders, [("large", 4_000), ("middle", 2_000), ("small", 1_100)]);
    assert_eq!(held.more, 0);
}

#[test]
fn of_many_holders_a_few_are_named_and_the_rest_counted() {
    let mut w = World::new();
    w.node(machine("a"));
    w.run(service("web").count(8).cpu(500)).unwrap();
    w.run(service("waits").cpu(3_000)).unwrap();
    w.pass(1_000);
    let advice = advice(&w, "waits");
    assert_eq!((advice.held[0].holders.len(), advice.held[0].more), (5, 3));
}

#[test]
fn less_is_asked_by_as_little_as_will_do() {
    let mut w = World::new();
    w.node(machine("a"));
    w.run(service("web").memory(6_000)).unwrap();
    w.run(service("waits").memory(3_000)).unwrap();
    w.pass(1_000);
    let asks = advice(&w, "waits").remedies.into_iter().find_map(|remedy| match remedy.act {
        Act::Change { change: Change::Group { change: GroupChange::Ask { amount, .. }, .. }, .. } => Some(amount),
        _ => None,
    });
    assert_eq!(asks, Some(Amount::Memory(Bytes::mib(8_192 - 6_000))));
}

#[test]
fn nothing_is_advised_about_what_runs_backs_off_or_has_a_place_coming() {
    let mut w = World::new();
    w.node(machine("a"));
    w.run(service("low").cpu(3_000).priority(20)).unwrap();
    w.pass(2_000);
    let low = w.core.job_allocs(&job_id("low"))[0].id;
    assert_eq!(w.core.advice(low), None);
    w.run(service("high").cpu(3_000).priority(80)).unwrap();
    let high = w.core.job_allocs(&job_id("high"))[0].id;
    assert_eq!(w.core.advice(high), None, "others are leaving for it");
}

/// What is told first of each cause.
const FIRST: [(&str, &str); 22] = [
    ("wrong pool", "drop constraint"),
    ("wrong pool of the job", "drop job constraint"),
    ("cpu that no node has", "ask less"),
    ("disk", "ask less"),
    ("port", "port"),
    ("devices", "fewer devices"),
    ("taken devices", "priority"),
    ("model", "drop device constraint"),
    ("no device", "add nodes"),
    ("gang", "count"),
    ("lost node", "repair"),
    ("full node", "repair"),
    ("budget of the group", "max parallel"),
    ("budget of the cluster", "preempt max"),
    ("affinity to nothing", "deploy"),
    ("distinct hosts", "at most more"),
    ("at most in a rack", "drop at most"),
    ("apart", "drop relation"),
    ("shunned", "drop relation"),
    ("priority", "priority"),
    ("stopping", "stop"),
    ("no nodes", "add nodes"),
];

#[test]
fn each_cause_has_the_least_demanding_remedy_first() {
    let told = causes().into_iter().map(|case| {
        let remedies = advice(&case.world(), "waits").remedies;
        (case.cause, remedies.first().map(|remedy| kind(&remedy.act)))
    });
    let told: Vec<_> = told.collect();
    for (cause, first) in FIRST {
        assert!(told.contains(&(cause, Some(first))), "{cause}: not {first} in {told:?}");
    }
}

#[test]
fn every_remedy_that_is_told_works_when_it_is_carried_out() {
    for case in causes() {
        let remedies = advice(&case.world(), "waits").remedies;
        assert!(!remedies.is_empty(), "{}: nothing would help", case.cause);
        for remedy in &remedies {
            let mut w = case.world();
            carry_out(&mut w, &remedy.act);
            w.pass(20_000);
            assert!(runs(&w, "waits"), "{}: {remedy:?} does not help: {:?}", case.cause, w.live("waits"));
        }
    }
}

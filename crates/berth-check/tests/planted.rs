//! The checker is checked: every fault is planted in a sound plan, and must be found alone.

use std::collections::BTreeMap;

use berth_check::{
    Budget, Fence, Finding, Gang, Granted, Moved, NodeView, Occupant, PlanView, Preemption, check, check_commit,
};
use berth_model::testkit::{Spec, batch, machine, name, service};
use berth_model::*;

const LIFE: Incarnation = Incarnation(1);

struct Case {
    node: Node,
    job: JobSpec,
    allocs: Vec<Alloc>,
    entries: Vec<Option<LedgerEntry>>,
    budget: (u32, u32),
}

impl Case {
    fn occupants(&self) -> Vec<Occupant<'_>> {
        let group = &self.job.groups[0];
        self.allocs.iter().map(|alloc| Occupant { alloc, node: &self.node, group }).collect()
    }
}

/// The findings about an allocation of `web` beside one of another job that is there already.
fn beside(web: Spec, there: Spec, where_: fn(&mut Node)) -> Vec<Finding> {
    let node = |id: u64| Node {
        id: NodeId::new(LIFE, id),
        agent: AgentKey("k".to_owned()),
        fingerprint: machine("a").attribute(Domain::RACK, "r1").0,
        state: NodeState::Ready { since: Timestamp(1) },
        conditions: BTreeMap::new(),
        drain: None,
    };
    let (own, mut other) = (node(1), node(1));
    where_(&mut other);
    let (mut new, mut old) = (alloc(&web.0, 1, 80, 20_000), alloc(&there.0, 2, 80, 20_000));
    for alloc in [&mut new, &mut old] {
        grants(alloc).clear();
        ports(alloc).clear();
    }
    let group = &web.0.groups[0];
    check(&PlanView {
        granted: vec![Granted { alloc: &new, node: &own, job: &web.0, group }],
        occupants: vec![
            Occupant { alloc: &new, node: &own, group },
            Occupant { alloc: &old, node: &other, group: &there.0.groups[0] },
        ],
        ..PlanView::default()
    })
}

fn ports(alloc: &mut Alloc) -> &mut BTreeMap<PortName, Port> {
    let AllocState::Placed { placement, .. } = &mut alloc.state else { unreachable!("that is how it was made") };
    &mut placement.ports
}

#[test]
fn every_planted_fault_of_rules_is_found() {
    let elsewhere: fn(&mut Node) = |node| {
        node.id = NodeId::new(LIFE, 2);
        node.fingerprint.attributes.insert(Domain::RACK.to_owned(), "r2".to_owned());
    };
    let in_the_rack: fn(&mut Node) = |node| node.id = NodeId::new(LIFE, 2);
    let relation = |sense| service("web").relation(sense, "cache", Domain::rack(), Strength::Required);

    let twice = beside(service("web").at_most(1, Domain::rack()), service("web"), in_the_rack);
    assert!(matches!(twice[..], [Finding::TooManyTogether { found: 2, allowed: 1, .. }]), "{twice:?}");
    let apart = beside(service("web").at_most(1, Domain::rack()), service("web"), elsewhere);
    assert_eq!(apart, []);
    let nowhere = beside(service("web").at_most(1, Domain::zone()), service("web"), elsewhere);
    assert!(matches!(nowhere[..], [Finding::TooManyTogether { .. }]), "in no zone at all: {nowhere:?}");

    let far = beside(relation(Sense::Near), service("cache"), elsewhere);
    assert!(matches!(far[..], [Finding::RelationBroken { .. }]), "{far:?}");
    assert_eq!(beside(relation(Sense::Near), service("cache"), in_the_rack), []);
    let near = beside(relation(Sense::Apart), service("cache"), in_the_rack);
    assert!(matches!(near[..], [Finding::RelationBroken { .. }]), "{near:?}");
    assert_eq!(beside(relation(Sense::Apart), service("cache"), elsewhere), []);

    let shy = service("shy").relation(Sense::Apart, "web", Domain::rack(), Strength::Required);
    let shunned = beside(service("web"), shy.clone(), in_the_rack);
    assert!(matches!(shunned[..], [Finding::Shunned { .. }]), "{shunned:?}");
    assert_eq!(beside(service("web"), shy, elsewhere), []);

    let own = service("web").relation(Sense::Near, "web", Domain::rack(), Strength::Required);
    let strayed = beside(own.clone(), service("web"), elsewhere);
    assert!(matches!(strayed[..], [Finding::RelationBroken { .. }]), "{strayed:?}");
    assert_eq!(beside(own, service("cache"), elsewhere), [], "the first of its kind");
}

#[test]
fn a_gang_in_part_is_found() {
    let job = service("web").gang().0;
    let gang = |placed, waiting| Gang { job: &job.id, group: &job.groups[0].name, placed, waiting };
    let found = |placed, waiting| check(&PlanView { gangs: vec![gang(placed, waiting)], ..PlanView::default() });
    assert!(matches!(found(2, 1)[..], [Finding::GangBroken { placed: 2, waiting: 1, .. }]));
    assert_eq!((found(3, 0), found(0, 3)), (vec![], vec![]));
}

#[test]
fn every_planted_fault_of_preemption_is_found() {
    let found = |of: Spec, by: Spec, leaving, (in_all, allowed)| {
        let (victim, preemptor) = (AllocId::new(LIFE, 1), AllocId::new(LIFE, 2));
        let group = &of.0.groups[0];
        let preemption = Preemption { victim, of: &of.0, group, by: preemptor, preemptor: &by.0, leaving };
        let preemptions = vec![preemption];
        check(&PlanView { preemptions, leaving: in_all, may_leave: allowed, ..PlanView::default() })
    };
    let (low, high) = (|| service("low").priority(10), || service("high").priority(90));
    assert_eq!(found(low(), high(), 1, (1, 1)), []);
    for (of, by) in [(high(), low()), (low(), service("even").priority(10))] {
        let inverted = found(of, by, 1, (1, 1));
        assert!(matches!(inverted[..], [Finding::PriorityInverted { .. }]), "{inverted:?}");
    }
    assert!(matches!(found(low().unpreemptible(), high(), 1, (1, 1))[..], [Finding::NotPreemptible { .. }]));
    assert!(matches!(found(low(), high(), 2, (2, 2))[..], [Finding::GroupPreempted { leaving: 2, allowed: 1, .. }]));
    assert!(matches!(found(low(), high(), 1, (3, 2))[..], [Finding::TooManyPreempted { leaving: 3, allowed: 2 }]));
}

#[test]
fn every_planted_fault_of_a_move_is_found() {
    let running = |mut alloc: Alloc, node: u64, ready| {
        let AllocState::Placed { mut placement, since } = alloc.state else { unreachable!("that is how it was made") };
        placement.node = NodeId::new(LIFE, node);
        alloc.state = AllocState::Running { placement, since, ready };
        alloc
    };
    let found = |job: Spec, ready, to: u64, index, (moving, may_move)| {
        let from = running(alloc(&job.0, 1, 80, 20_000), 1, ready);
        let to = Alloc { index, ..running(alloc(&job.0, 2, 80, 20_000), to, None) };
        let moves = vec![Moved { from: &from, to: &to, job: &job.0 }];
        check(&PlanView { moves, moving, may_move, ..PlanView::default() })
    };
    let ready = Some(Timestamp(1));
    assert_eq!(found(service("web"), ready, 2, 0, (1, 1)), []);
    for wrong in [
        found(batch("work"), ready, 2, 0, (1, 1)),
        found(service("web"), None, 2, 0, (1, 1)),
        found(service("web"), ready, 1, 0, (1, 1)),
        found(service("web"), ready, 2, 1, (1, 1)),
    ] {
        assert!(matches!(wrong[..], [Finding::MovedWrongly { .. }]), "{wrong:?}");
    }
    let many = found(service("web"), ready, 2, 0, (2, 1));
    assert!(matches!(many[..], [Finding::TooManyMoved { moving: 2, allowed: 1 }]), "{many:?}");
}

fn sound() -> Case {
    let job = service("web")
        .fixed_port("http", 80)
        .dynamic_port("admin")
        .constraint("zone", Operator::Is("z".into()))
        .device_share("show", "gpu", 600)
        .devices("train", "gpu", 1)
        .device_model("a100")
        .0;
    let node = Node {
        id: NodeId::new(LIFE, 1),
        agent: AgentKey("k".to_owned()),
        fingerprint: machine("a").attribute("zone", "z").device("gpu", "g0", "t4").device("gpu", "g1", "a100").0,
        state: NodeState::Ready { since: Timestamp(1) },
        conditions: BTreeMap::new(),
        drain: None,
    };
    let alloc = alloc(&job, 1, 80, 20_000);
    let what = Happening::AllocCreated { alloc: alloc.id, job: job.id.clone(), replaces: None };
    let cause = Cause::Command(CommandId::new(LIFE, 1));
    let entry = LedgerEntry { id: EventId::new(LIFE, 1), at: Timestamp(1), cause, what };
    Case { node, job, allocs: vec![alloc], entries: vec![Some(entry)], budget: (1, 1) }
}

fn alloc(job: &JobSpec, counter: u64, http: u16, admin: u16) -> Alloc {
    let explanation = Explanation {
        policy: BuiltIn::Balanced.spec().name,
        policy_version: PolicyVersion(0),
        considered: 1,
        filtered: Filtered::new(),
        chosen: vec![],
        runner_up: None,
    };
    let ports = BTreeMap::from([(name("http"), Port(http)), (name("admin"), Port(admin))]);
    let devices = BTreeMap::from([(name("show"), vec![name("g0")]), (name("train"), vec![name("g1")])]);
    let placement =
        Placement { node: NodeId::new(LIFE, 1), ports, devices, decision: DecisionId::new(LIFE, 1), explanation };
    Alloc {
        id: AllocId::new(LIFE, counter),
        job: job.id.clone(),
        version: JobVersion(1),
        group: name("main"),
        index: 0,
        bound_to: None,
        replaces: None,
        failures: 0,
        created: Timestamp(1),
        cause: Cause::Command(CommandId::new(LIFE, 1)),
        state: AllocState::Placed { placement, since: Timestamp(1) },
        tasks: BTreeMap::new(),
    }
}

fn grants(alloc: &mut Alloc) -> &mut DeviceGrants {
    let AllocState::Placed { placement, .. } = &mut alloc.state else { unreachable!("that is how it was made") };
    &mut placement.devices
}

/// The plan with other devices for one of the two wishes.
fn regranted(wish: &str, ids: &[&str]) -> Vec<Finding> {
    let mut case = sound();
    grants(&mut case.allocs[0]).insert(name(wish), ids.iter().map(|id| name(id)).collect());
    findings(&case)
}

#[test]
fn every_planted_fault_of_devices_is_found() {
    for (what, found) in [
        ("too few", regranted("train", &[])),
        ("too many", regranted("show", &["g0", "g1"])),
        ("not there", regranted("show", &["g7"])),
        ("unsuited", regranted("train", &["g0"])),
        ("not asked for", regranted("more", &["g0"])),
    ] {
        assert!(found.iter().any(|f| matches!(f, Finding::DeviceWrong { .. })), "{what}: {found:?}");
    }
    let both = regranted("show", &["g1"]);
    assert!(matches!(&both[..], [Finding::DeviceOverCommitted { taken: 1_600, .. }]), "{both:?}");
    let mut other_kind = sound();
    other_kind.node.fingerprint.devices[0].kind = name("fpga");
    let found = findings(&other_kind);
    assert!(matches!(&found[..], [Finding::DeviceWrong { .. }]), "{found:?}");
}

fn findings(case: &Case) -> Vec<Finding> {
    let group = &case.job.groups[0];
    check(&PlanView {
        nodes: vec![NodeView { node: &case.node, allocs: case.allocs.iter().map(|a| (a, group)).collect() }],
        granted: case.allocs.iter().map(|alloc| Granted { alloc, node: &case.node, job: &case.job, group }).collect(),
        budgets: vec![Budget {
            job: &case.job.id,
            group: &group.name,
            replacing: case.budget.0,
            allowed: case.budget.1,
        }],
        occupants: case.occupants(),
        created: case.allocs.iter().zip(&case.entries).map(|(a, e)| (a.id, e.as_ref())).collect(),
        ..PlanView::default()
    })
}

#[test]
fn a_sound_plan_has_no_findings() {
    assert_eq!(findings(&sound()), []);
}

#[test]
fn every_planted_fault_is_found() {
    let plant = |fault: fn(&mut Case)| {
        let mut case = sound();
        fault(&mut case);
        findings(&case)
    };
    let cpu = plant(|c| c.job.groups[0].tasks[0].resources.cpu = CpuMillis(5_000));
    assert!(matches!(cpu[..], [Finding::OverCapacity { dimension: Dimension::Cpu, used: 5_000, .. }]), "{cpu:?}");
    let memory = plant(|c| c.node.fingerprint.resources.memory = Bytes(1));
    assert!(matches!(memory[..], [Finding::OverCapacity { dimension: Dimension::Memory, .. }]), "{memory:?}");
    let disk = plant(|c| c.job.groups[0].tasks[0].resources.disk = Bytes(u64::MAX));
    assert!(matches!(disk[..], [Finding::OverCapacity { dimension: Dimension::Disk, .. }]), "{disk:?}");
    let network = plant(|c| c.job.groups[0].tasks[0].resources.network = Mbits(1_001));
    assert!(matches!(network[..], [Finding::OverCapacity { dimension: Dimension::Network, .. }]), "{network:?}");
    let twice = plant(|c| {
        c.job.groups[0].tasks[0].devices.clear();
        c.allocs = vec![alloc(&c.job, 1, 80, 20_000), alloc(&c.job, 2, 80, 20_001)];
        c.allocs.iter_mut().for_each(|alloc| grants(alloc).clear());
    });
    assert!(matches!(twice[..], [Finding::PortTwice { port: Port(80), .. }]), "{twice:?}");
    let fixed = plant(|c| c.allocs = vec![alloc(&c.job, 1, 81, 20_000)]);
    assert!(matches!(fixed[..], [Finding::PortWrong { .. }]), "{fixed:?}");
    let dynamic = plant(|c| c.allocs = vec![alloc(&c.job, 1, 80, 30_000)]);
    assert!(matches!(dynamic[..], [Finding::PortWrong { .. }]), "{dynamic:?}");
    let zone = plant(|c| drop(c.node.fingerprint.attributes.insert("zone".to_owned(), "y".to_owned())));
    assert!(matches!(zone[..], [Finding::ConstraintBroken { .. }]), "{zone:?}");
    let agent = plant(|c| {
        c.job.groups[0].on_partition = OnPartition::Fence { lease: Millis(10_000) };
        drop(c.node.fingerprint.attributes.insert("agent.protocol".to_owned(), "1".to_owned()));
    });
    assert!(matches!(agent[..], [Finding::AgentTooOld { protocol: Some(1), .. }]), "{agent:?}");
    let driver = plant(|c| drop(c.node.fingerprint.attributes.remove("driver.exec")));
    assert!(matches!(driver[..], [Finding::DriverMissing { driver: "exec", .. }]), "{driver:?}");
    let cause = Cause::Timer { timer: Timer::Heartbeat, due: Timestamp(1) };
    let mut case = sound();
    case.node.state = NodeState::Lost { since: Timestamp(1), cause };
    assert!(matches!(findings(&case)[..], [Finding::NodeLost { .. }]));
    let drain = Drain {
        since: Timestamp(1),
        asked: Timestamp(1),
        cause: case.allocs[0].cause.clone(),
        deadline: None,
        done: None,
    };
    let mut drained = sound();
    drained.node.drain = Some(drain);
    assert!(matches!(findings(&drained)[..], [Finding::Draining { .. }]));
    let full = plant(|c| c.node.conditions = [(NodeCondition::DiskFull, Timestamp(1))].into());
    assert!(matches!(full[..], [Finding::DiskFull { .. }]), "{full:?}");
    let bound = plant(|c| c.allocs[0].bound_to = Some(NodeId::new(LIFE, 9)));
    assert!(matches!(bound[..], [Finding::WrongNode { .. }]), "{bound:?}");
    let budget = plant(|c| c.budget = (2, 1));
    assert!(matches!(budget[..], [Finding::BudgetExceeded { replacing: 2, .. }]), "{budget:?}");
    let cause = plant(|c| c.entries = vec![None]);
    assert!(matches!(cause[..], [Finding::NoCause { .. }]), "{cause:?}");
}

#[test]
fn a_commit_beyond_its_fences_is_found() {
    let epoch = Epoch { incarnation: LIFE, counter: 2 };
    let counters = Meta { allocs: 5, nodes: 1, commands: 1, decisions: 1, events: 1, ..Meta::default() };
    let meta = Meta { format: Format(3), incarnation: LIFE, epoch, ..counters };
    let fence = Fence { epoch, before: meta };
    let put = Mutation::PutMeta;
    assert_eq!(check_commit(&fence, &[put(meta)]), []);
    assert!(matches!(check_commit(&fence, &[])[..], [Finding::MetaMissing { count: 0 }]));
    assert!(matches!(check_commit(&fence, &[put(meta), put(meta)])[..], [Finding::MetaMissing { count: 2 }]));
    let old = Meta { epoch: Epoch { incarnation: LIFE, counter: 1 }, ..meta };
    assert!(matches!(check_commit(&fence, &[put(old)])[..], [Finding::WrongEpoch { .. }]));
    let back = Meta { allocs: 4, ..meta };
    assert!(matches!(check_commit(&fence, &[put(back)])[..], [Finding::CounterWentBack { before: 5, after: 4, .. }]));
    let older = Meta { format: Format(2), ..meta };
    assert!(matches!(check_commit(&fence, &[put(older)])[..], [Finding::FormatWentBack { .. }]));
    let unknown = Mutation::PutAlloc(Box::new(alloc(&service("web").0, 6, 80, 20_000)));
    assert!(matches!(check_commit(&fence, &[put(meta), unknown])[..], [Finding::NotIssued { .. }]));
    let many = vec![Mutation::DeleteNode(NodeId::new(LIFE, 1)); 100];
    let many = [vec![put(meta)], many].concat();
    assert!(matches!(check_commit(&fence, &many)[..], [Finding::TooManyMutations { count: 101 }]));
}

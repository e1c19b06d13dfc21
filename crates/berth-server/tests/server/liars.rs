//! Agents with a good token that lie: what they say is bounded, and harms nobody else.

use std::collections::BTreeMap;

use berth_api::client::{AgentStream, FromServer, new_key};
use berth_api::wire::v1 as wire;
use berth_model::{
    AllocId, Bytes, CheckState, CheckStatus, CpuMillis, Ended, Exit, ExitKind, Failure, FailureKind, Hello,
    Incarnation, ObservedAlloc, Order, Phase, Resources, TaskName, TaskState, TaskStatus, Timestamp, limits, testkit,
};
use berth_server::StoreKind;

use crate::cluster::{Agent, Cluster, until, web};

/// A cluster of two nodes with a service of two allocations, one on each.
async fn two() -> (Cluster, [(Agent, AllocId); 2]) {
    let cluster = Cluster::start(StoreKind::Memory).await;
    let (mut one, mut other) = (cluster.agent("one").await, cluster.agent("other").await);
    cluster.client.run_job(&web(2), &new_key()).await.unwrap();
    let mut ids = Vec::new();
    for agent in [&mut one, &mut other] {
        let desired = agent.desired(|desired| desired.allocs.len() == 1).await;
        agent.all_run(&desired).await;
        ids.push(desired.allocs[0].id);
    }
    for id in &ids {
        let show = || async { cluster.client.alloc(*id).await.unwrap() };
        until(show, |alloc| matches!(alloc.state, wire::AllocState::Running { .. })).await;
    }
    (cluster, [(one, ids[0]), (other, ids[1])])
}

fn failure(length: usize) -> Failure {
    Failure { kind: FailureKind::Runtime, message: "é".repeat(length / 2) }
}

fn failing(message: usize) -> TaskStatus {
    let exit = Exit { at: Timestamp(1), how: ExitKind::Failure(failure(message)) };
    TaskStatus { state: TaskState::Done, restarts: u32::MAX, last_exit: Some(exit), checks: BTreeMap::new() }
}

fn observed(id: AllocId, phase: Phase, tasks: BTreeMap<TaskName, TaskStatus>) -> ObservedAlloc {
    ObservedAlloc { id, phase, tasks }
}

/// What the server says when it has had enough of an agent.
async fn closed(agent: &mut Agent) -> String {
    loop {
        if let FromServer::Close { reason } = agent.next().await {
            return reason;
        }
    }
}

#[tokio::test]
async fn a_message_as_long_as_a_book_is_cut() {
    let (cluster, [(mut one, mine), _]) = two().await;
    let long = Phase::Ended(Ended::Failed(failure(4 << 20)));
    one.report(vec![observed(mine, long, BTreeMap::from([(testkit::name("main"), failing(4 << 20))]))]).await;
    let show = || async { cluster.client.alloc(mine).await.unwrap() };
    let ended = until(show, |alloc| matches!(alloc.state, wire::AllocState::Ended { .. })).await;
    let wire::AllocState::Ended { outcome: wire::Outcome::Failed { failure }, .. } = ended.state else {
        panic!("it has failed: {:?}", ended.state)
    };
    assert!(failure.message.len() <= limits::MESSAGE_BYTES, "{}", failure.message.len());
    assert!(failure.message.starts_with("éé") && failure.message.ends_with('…'));
    cluster.stop().await;
}

#[tokio::test]
async fn an_allocation_of_more_tasks_than_there_can_be_is_refused_with_a_reason() {
    let (cluster, [(mut one, mine), _]) = two().await;
    let tasks = (0..limits::TASKS + 1).map(|n| (testkit::name(&format!("t{n}")), failing(2)));
    one.report(vec![observed(mine, Phase::Running, tasks.collect())]).await;
    assert_eq!(
        closed(&mut one).await,
        format!("a report is not understood: allocation {mine} has 33 tasks, of at most 32")
    );
    cluster.client.status().await.unwrap();
    cluster.stop().await;
}

#[tokio::test]
async fn checks_are_bounded_in_count_and_in_what_they_say() {
    let (cluster, [(mut one, mine), _]) = two().await;
    let status = |output: usize| CheckStatus {
        state: CheckState::Failing,
        since: Timestamp(1),
        failures: u32::MAX,
        output: "é".repeat(output),
    };
    let with = |count: usize, output| {
        let checks = (0..count).map(|n| (testkit::name(&format!("c{n}")), status(output))).collect();
        let task = TaskStatus { checks, ..crate::cluster::running() };
        vec![observed(mine, Phase::Running, BTreeMap::from([(testkit::name("main"), task)]))]
    };
    one.report(with(limits::CHECKS, 1 << 16)).await;
    let show = || async { cluster.client.alloc(mine).await.unwrap() };
    let told = until(show, |alloc| alloc.tasks.values().any(|task| !task.checks.is_empty())).await;
    let longest = told.tasks.values().flat_map(|task| task.checks.values()).map(|check| check.output.len()).max();
    assert!(longest.is_some_and(|longest| longest <= 4 * limits::CHECK_OUTPUT), "{longest:?}");
    one.report(with(limits::CHECKS + 1, 1)).await;
    assert_eq!(
        closed(&mut one).await,
        format!("a report is not understood: a task of allocation {mine} has 9 checks, of at most 8")
    );
    cluster.stop().await;
}

#[tokio::test]
async fn what_is_said_of_others_and_of_what_is_not_there_changes_nothing() {
    let (cluster, [(mut one, mine), (_other, theirs)]) = two().await;
    let lost = |id| observed(id, Phase::Ended(Ended::Failed(failure(10))), BTreeMap::new());
    let nowhere = AllocId::new(Incarnation(7), u64::MAX);
    let still = observed(mine, Phase::Running, BTreeMap::from([(testkit::name("main"), crate::cluster::running())]));
    one.report(vec![still.clone(), lost(theirs), lost(nowhere)]).await;
    // The next change of its own is seen, and so the report before it was.
    one.report(vec![observed(mine, Phase::Ended(Ended::Complete), BTreeMap::new())]).await;
    let show = || async { cluster.client.alloc(mine).await.unwrap() };
    until(show, |alloc| matches!(alloc.state, wire::AllocState::Ended { .. })).await;
    let untouched = cluster.client.alloc(theirs).await.unwrap();
    assert!(matches!(untouched.state, wire::AllocState::Running { .. }), "{:?}", untouched.state);
    // What has ended does not begin again.
    one.report(vec![still]).await;
    let status = || async { cluster.client.status().await.unwrap() };
    until(status, |status| status.allocs.running == 1).await;
    cluster.stop().await;
}

async fn refused(cluster: &Cluster, hello: Hello) -> String {
    let mut stream = match AgentStream::connect(cluster.client.target(), hello).await {
        Ok(stream) => stream,
        Err(error) => return error.refusal().expect("the server answers").message.clone(),
    };
    panic!("the server took it and said {:?}", stream.orders.next().await)
}

#[tokio::test]
async fn a_machine_that_cannot_be_is_refused_with_a_reason() {
    let cluster = Cluster::start(StoreKind::Memory).await;
    let machine = || testkit::machine("liar");
    let huge =
        Resources { cpu: CpuMillis(u64::MAX), memory: Bytes(u64::MAX), disk: Bytes(u64::MAX), ..Resources::default() };
    let mut resources = machine();
    resources.0.resources = huge;
    let mut address = machine();
    address.0.address = "a".repeat(1000);
    let mut version = machine();
    version.0.agent_version = "9".repeat(1000);
    let ports = machine().dynamic_ports(30_000, 20_000);
    let attribute = machine().attribute("label.essay", &"x".repeat(1 << 20));
    let many = (0..100_000).fold(machine(), |machine, n| machine.attribute(&format!("a{n}"), "1"));
    let devices = (0..1000).fold(machine(), |machine, n| machine.device("gpu", &format!("g{n}"), "t4"));
    let device_twice = machine().device("gpu", "g0", "t4").device("fpga", "g0", "u50");
    let cases = [
        (devices, "the machine's devices are 1000, of at most 256"),
        (device_twice, "the machine has two devices with the id g0"),
        (resources, "the machine's cpu is 18446744073709551615m, of at most"),
        (address, "the machine's address has 1000 bytes"),
        (version, "the machine's agent version has 1000 bytes"),
        (ports, "the machine's dynamic ports end before they begin"),
        (attribute, "the machine's attributes have"),
        (many, "the machine's attributes have"),
    ];
    for (machine, reason) in cases {
        let told = refused(&cluster, machine.hello()).await;
        assert!(told.contains(reason), "{told}");
    }
    assert!(cluster.client.nodes().await.unwrap().is_empty());
    cluster.stop().await;
}

#[tokio::test]
async fn a_machine_with_nothing_gets_nothing() {
    let cluster = Cluster::start(StoreKind::Memory).await;
    let mut machine = testkit::machine("empty");
    machine.0.resources = Resources::default();
    machine.0.attributes.clear();
    let _agent = cluster.agent_on(machine).await;
    cluster.client.run_job(&web(1), &new_key()).await.unwrap();
    let why = cluster.client.why_job(&web(1).id).await.unwrap();
    assert!(matches!(why.waiting[0].reason, wire::WaitReason::NoNodeFits { .. }), "{:?}", why.waiting);
    let advice = why.waiting[0].advice.as_ref().expect("it waits for a place");
    assert!(matches!(advice.remedies[0].act, wire::Act::AddNodes { count: 1, .. }), "{advice:?}");
    let one = cluster.client.why_alloc(why.waiting[0].example.0).await.unwrap();
    assert_eq!(one.advice.as_ref(), Some(advice), "of the one as of the group");
    cluster.stop().await;
}

#[tokio::test]
async fn an_agent_with_anothers_name_is_turned_away() {
    let (cluster, [(_one, mine), _]) = two().await;
    let mut hello = testkit::machine("one").hello();
    hello.agent.0.push_str("-forged");
    let mut stream = AgentStream::connect(cluster.client.target(), hello).await.unwrap();
    let first = stream.orders.next().await.unwrap().unwrap();
    let FromServer::Close { reason } = first else { panic!("not closed but {first:?}") };
    assert!(reason.contains("the name one is in use by node n1-1"), "{reason}");
    let alloc = cluster.client.alloc(mine).await.unwrap();
    assert!(matches!(alloc.state, wire::AllocState::Running { .. }));
    assert!(!matches!(first_order(&cluster).await, Order::Desired(_)));
    cluster.stop().await;
}

/// A new agent is welcomed as ever.
async fn first_order(cluster: &Cluster) -> Order {
    let mut stream = AgentStream::connect(cluster.client.target(), testkit::machine("late").hello()).await.unwrap();
    match stream.orders.next().await.unwrap().unwrap() {
        FromServer::Order(order) => order,
        other => panic!("{other:?} is no order"),
    }
}

#[tokio::test]
async fn what_many_allocations_have_in_common_is_sent_once() {
    let cluster = Cluster::start(StoreKind::Memory).await;
    let mut agent = cluster.agent_on(testkit::machine("n").cpu(1_000_000).memory(1_000_000)).await;
    let mut spec = web(400);
    spec.groups[0].tasks[0].env.insert("LARGE".to_owned(), "x".repeat(100_000));
    cluster.client.run_job(&spec, &new_key()).await.unwrap();
    // More than any line may hold, were it sent for each.
    let desired = agent.desired(|desired| desired.allocs.len() == 400).await;
    assert!(desired.allocs.iter().all(|alloc| alloc.group == spec.groups[0]));
    let bytes = wire::encode_line(&wire::Desired::from(desired)).len();
    assert!(bytes < 1 << 20, "{bytes}");
    cluster.stop().await;
}

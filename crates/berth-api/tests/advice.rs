//! What could be done about what waits: as JSON, which programs rely on, and as phrases, which people read.

use berth_api::wire::v1::{Advice, NodeNames, ToWire as _};
use berth_model::testkit::name;
use berth_model::*;

/// Knows the node n1-1 by name.
struct Names;

impl NodeNames for Names {
    fn node_name(&self, node: NodeId) -> Option<NodeName> {
        (node.counter == 1).then(|| name("alpha"))
    }
}

const LIFE: Incarnation = Incarnation(1);

fn alloc(n: u64) -> AllocId {
    AllocId::new(LIFE, n)
}

fn job(text: &str) -> JobId {
    JobId { namespace: Namespace::default(), name: name(text) }
}

fn of_group(change: GroupChange) -> Act {
    Act::Change { job: job("web"), change: Change::Group { group: name("main"), change } }
}

fn advice(acts: Vec<Act>) -> berth_model::Advice {
    let node = NodeId::new(LIFE, 1);
    let holder = Holder { alloc: alloc(4), job: job("cache"), amount: 2 << 30 };
    let held = Held { node, scarce: Scarce::Dimension(Dimension::Memory), holders: vec![holder], more: 2 };
    let remedy = |act| Remedy { act, node: Some(node), preempts: Vec::new() };
    berth_model::Advice { held: vec![held], remedies: acts.into_iter().map(remedy).collect() }
}

fn every_act() -> Vec<Act> {
    let ssd = || Constraint { attribute: "label.ssd".to_owned(), operator: Operator::Set };
    let to = Peer { job: name("db"), group: None };
    let relation = Relation { to, sense: Sense::Apart, within: Domain::rack(), strength: Strength::Required };
    let rule = AtMost { count: 1, per: Domain::Node };
    let device: DeviceName = name("g");
    let devices = vec![Device {
        kind: name("gpu"),
        id: "g0".parse().expect("an id"),
        attributes: std::collections::BTreeMap::new(),
        paths: Vec::new(),
    }];
    let shape = NodeShape {
        resources: testkit::resources(4_000, 8_192, 1_024),
        attributes: [("label.ssd".to_owned(), "true".to_owned())].into_iter().collect(),
        devices,
        dynamic_ports: (Port(20_000), Port(20_999)),
    };
    vec![
        Act::Change { job: job("web"), change: Change::Priority(Priority(61)) },
        Act::Change { job: job("web"), change: Change::DropJobConstraint(ssd()) },
        of_group(GroupChange::DropConstraint(ssd())),
        of_group(GroupChange::DropDeviceConstraint { device: device.clone(), constraint: ssd() }),
        of_group(GroupChange::Ask { task: name("task"), amount: Amount::Memory(Bytes::gib(3)) }),
        of_group(GroupChange::Devices { device: device.clone(), amount: DeviceAmount::Count(1) }),
        of_group(GroupChange::Devices { device, amount: DeviceAmount::Share(Thousandths(400)) }),
        of_group(GroupChange::Port { port: name("http"), fixed: None }),
        of_group(GroupChange::Port { port: name("http"), fixed: Some(Port(81)) }),
        of_group(GroupChange::AtMost { rule: rule.clone(), count: 2 }),
        of_group(GroupChange::DropAtMost(rule)),
        of_group(GroupChange::DropRelation(relation)),
        of_group(GroupChange::Count(2)),
        of_group(GroupChange::MaxParallel(2)),
        Act::Deploy { job: job("db"), group: None },
        Act::Stop(vec![alloc(4), alloc(7)]),
        Act::Repair { node: NodeId::new(LIFE, 2), fault: Fault::Lost },
        Act::AddNodes { count: 1, shape: Box::new(shape) },
        Act::PreemptMax(3),
    ]
}

#[test]
fn every_act_has_a_stable_form_and_is_read_as_it_was_written() {
    let told = advice(every_act()).to_wire(&Names);
    let json = serde_json::to_string_pretty(&told).expect("it has text keys");
    assert_eq!(serde_json::from_str::<Advice>(&json).expect("it reads what it wrote"), told);
    insta::assert_snapshot!("advice_json", json);
}

#[test]
fn every_act_is_a_phrase() {
    let mut advice = advice(every_act());
    advice.remedies[0].preempts = vec![alloc(4)];
    let told = advice.to_wire(&Names);
    let phrases: Vec<String> = told.remedies.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!("advice_phrases", phrases.join("\n"));
}

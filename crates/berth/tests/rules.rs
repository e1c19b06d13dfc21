//! Every rule that a job file knows, with real nodes: what the plan said is what runs, and who makes room does so once.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use support::lab::Lab;
use support::picture::{SOON, expected, json, name, picture, wait_for_nodes, wait_for_rest};
use support::{id, root, until};

const NODES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/lab-nodes.toml");
const SHOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/every-rule.yaml");

/// Runs a job of one group of these `rules`, which may ask for nothing but processors.
fn run(lab: &Lab, name: &str, priority: u32, cpu: &str, rules: &str) {
    let file = lab.dir.path().join(format!("{name}.yaml"));
    let text = format!(
        "job: {name}\npriority: {priority}\ngroups:\n  - name: main\n    {rules}\n    update: {{min_ready: 0s}}\n    tasks:\n      \
         - {{name: sleeper, command: [/bin/sleep, infinity], kill: {{timeout: 100ms}}, resources: {{cpu: {cpu}}}}}\n"
    );
    fs::write(&file, text).unwrap();
    lab.ok(&["run", file.to_str().unwrap(), "--detach"]);
}

/// Plans the shop, runs it as planned, and finds it done.
fn run_as_planned(lab: &Lab, path: &str, others: &BTreeSet<&str>, known: bool) -> Value {
    let mut jobs = others.clone();
    jobs.extend(known.then_some("shop"));
    let before = picture(lab, &jobs);
    let plan = json(lab, &["plan", path]);
    lab.ok(&["run", path, "--plan-id", plan["id"].as_str().unwrap()]);
    jobs.insert("shop");
    wait_for_rest(lab, &jobs);
    assert_eq!(picture(lab, &jobs), expected(before, &plan), "{plan:#}");
    plan
}

fn of_state<'a>(allocs: &'a [Value], kind: &str) -> Vec<&'a Value> {
    allocs.iter().filter(|alloc| alloc["state"]["kind"] == kind).collect()
}

/// The one of a job that was preempted, and the one that took its place.
fn victim_and_successor(lab: &Lab, job: &str) -> (Value, Value) {
    let allocs = lab.allocs(job);
    let ended = of_state(&allocs, "ended");
    assert_eq!(ended.len(), 1, "{job} has made room once: {allocs:#?}");
    assert_eq!(ended[0]["state"]["outcome"]["kind"], "preempted", "{allocs:#?}");
    assert_eq!(allocs.len(), 2, "{allocs:#?}");
    let successor = allocs.iter().find(|alloc| alloc["replaces"] == ended[0]["id"]).unwrap();
    (ended[0].clone(), successor.clone())
}

#[test]
fn a_job_with_every_rule_runs_as_planned_and_makes_others_go_once() {
    if !root() {
        return;
    }
    let lab = Lab::up_with("5", &["--nodes", NODES]);
    wait_for_nodes(&lab, 5);
    run(
        &lab,
        "cache",
        50,
        "50m",
        "count: 2\n    constraints: [{attribute: node.name, operator: in, values: [node-1, node-4]}]",
    );
    run(&lab, "encoder", 50, "50m", "constraints: [{attribute: node.name, value: node-2}]");
    run(&lab, "nightly", 10, "1", "constraints: [{attribute: node.name, value: node-5}]");
    run(&lab, "reindex", 20, "800m", "prefer: [{attribute: node.name, value: node-3, weight: 1000}]");
    let others = BTreeSet::from(["cache", "encoder", "nightly", "reindex"]);
    wait_for_rest(&lab, &others);

    let plan = run_as_planned(&lab, SHOP, &others, false);
    assert_rules_hold(&lab);
    assert_victims_are_told(&lab, &plan);

    // The new version's `report` and `index` need the room of the old ones: nobody slips in while it is free.
    let next = lab.dir.path().join("next.yaml");
    fs::write(&next, fs::read_to_string(SHOP).unwrap().replace("infinity", "'86400'")).unwrap();
    run_as_planned(&lab, next.to_str().unwrap(), &others, true);
    assert_rules_hold(&lab);
    let (_, waits) = victim_and_successor(&lab, "nightly");
    assert_eq!(waits["state"]["kind"], "waiting", "{waits:#}");

    // Who has gone elsewhere is left alone there, even by a higher priority.
    let (_, elsewhere) = victim_and_successor(&lab, "reindex");
    let node = name(&elsewhere["state"]["placement"]["node"]);
    run(&lab, "rush", 95, "1500m", &format!("constraints: [{{attribute: node.name, value: {node}}}]"));
    let rush = lab.allocs("rush");
    assert_eq!(rush[0]["state"]["reason"]["kind"], "no_node_fits", "{rush:#?}");
    lab.ok(&["stop", "rush"]);
    assert_eq!(victim_and_successor(&lab, "reindex").1["id"], elsewhere["id"]);

    // With the room comes the place, and nobody has gone twice.
    lab.ok(&["stop", "shop"]);
    let again = until("a place for who waits", SOON, || {
        let (_, successor) = victim_and_successor(&lab, "nightly");
        successor["state"]["ready"].is_string().then_some(successor)
    });
    assert_eq!(again["id"], waits["id"]);
}

/// What the file asks for, looked up on the nodes that `lab-nodes.toml` describes.
fn assert_rules_hold(lab: &Lab) {
    let allocs = lab.allocs("shop");
    let running = of_state(&allocs, "running");
    let nodes = |group: &str| {
        let of = running.iter().filter(|alloc| alloc["group"] == group);
        let mut nodes: Vec<String> = of.map(|alloc| name(&alloc["state"]["placement"]["node"])).collect();
        nodes.sort();
        nodes
    };
    assert_eq!(nodes("web"), ["node-1", "node-3", "node-4", "node-5"], "one in each rack, none beside the encoder");
    assert_eq!(nodes("edge"), ["node-1", "node-4"]);
    assert_eq!(nodes("train"), ["node-2", "node-3"]);
    assert_eq!(nodes("preview"), ["node-4", "node-4"]);
    assert_eq!(nodes("report"), ["node-5"]);
    assert_eq!(nodes("index"), ["node-3"]);
    let previews = running.iter().filter(|alloc| alloc["group"] == "preview");
    assert!(previews.clone().all(|alloc| alloc["state"]["placement"]["devices"]["half"][0] == "GPU-t1"));
}

/// One waits since nobody else has room, the other has gone elsewhere, and both know for whom.
fn assert_victims_are_told(lab: &Lab, plan: &Value) {
    let (nightly, waits) = victim_and_successor(lab, "nightly");
    assert!(lab.ok(&["why", id(&nightly)]).contains("preempted by"), "{nightly:#}");
    let told = lab.ok(&["why", id(&waits)]);
    assert!(told.contains("too little cpu left") && told.contains("default/shop"), "{told}");
    let planned = plan["waits"].as_array().unwrap();
    assert_eq!(planned.len(), 1, "{plan:#}");
    assert_eq!(planned[0]["reason"]["kind"], waits["state"]["reason"]["kind"], "{plan:#}");

    let (reindex, elsewhere) = victim_and_successor(lab, "reindex");
    assert_eq!(name(&reindex["state"]["placement"]["node"]), "node-3");
    assert_eq!(elsewhere["state"]["kind"], "running", "{elsewhere:#}");
    assert!(lab.ok(&["why", id(&elsewhere)]).contains(id(&reindex)), "{elsewhere:#}");
}

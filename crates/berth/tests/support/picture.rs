//! Who is where in a lab, and what a plan says of that.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::lab::Lab;
use super::until;

/// Within which things have to come about.
pub const SOON: Duration = Duration::from_secs(120);

/// Job, group, index, and the node of a system job.
pub type Place = (String, String, u64, String);
/// Version, node, ports and devices.
pub type Instance = (String, String, String, String);

fn place(of: &Value, node: &str) -> Place {
    let job = of["job"].as_str().unwrap().to_owned();
    let node = if job == "default/logger" { node.to_owned() } else { String::new() };
    (job, of["group"].as_str().unwrap().to_owned(), of["index"].as_u64().unwrap(), node)
}

fn instance(of: &Value, given: &Value, node: String) -> Instance {
    let told = |key: &str| given.get(key).map_or("{}".to_owned(), Value::to_string);
    (of["version"].as_str().unwrap().to_owned(), node, told("ports"), told("devices"))
}

/// The name of a node, where there is one.
pub fn name(node: &Value) -> String {
    node["name"].as_str().unwrap_or_default().to_owned()
}

/// Who is where.
pub fn picture(lab: &Lab, jobs: &BTreeSet<&str>) -> BTreeMap<Place, Instance> {
    let mut picture = BTreeMap::new();
    for alloc in jobs.iter().flat_map(|job| lab.allocs(job)) {
        if alloc["state"]["kind"] == "running" {
            let placement = &alloc["state"]["placement"];
            let node = name(&placement["node"]);
            picture.insert(place(&alloc, &node), instance(&alloc, placement, node.clone()));
        }
    }
    picture
}

/// What a plan makes of a picture.
pub fn expected(mut picture: BTreeMap<Place, Instance>, plan: &Value) -> BTreeMap<Place, Instance> {
    for change in plan["changes"].as_array().unwrap() {
        let to = name(if change["kind"] == "stop" { &change["from"] } else { &change["to"] });
        let at = place(change, &to);
        if change["kind"] == "stop" {
            picture.remove(&at);
            continue;
        }
        picture.insert(at, instance(change, change, to));
    }
    // What waits in a new version leaves the old one where it is; what waits in the same has lost its place.
    for wait in plan["waits"].as_array().unwrap() {
        let at = place(wait, &name(&wait["bound_to"]));
        if picture.get(&at).is_some_and(|(version, ..)| wait["version"] == **version) {
            picture.remove(&at);
        }
    }
    picture
}

/// Waits until all that these jobs have is ready, has ended, or waits.
pub fn wait_for_rest(lab: &Lab, jobs: &BTreeSet<&str>) {
    until("the cluster at rest", SOON, || {
        let allocs: Vec<Value> = jobs.iter().flat_map(|job| lab.allocs(job)).collect();
        let at_rest = |alloc: &Value| match alloc["state"]["kind"].as_str().unwrap() {
            "running" => alloc["state"]["ready"].is_string(),
            state => state == "ended" || state == "waiting",
        };
        allocs.iter().all(at_rest).then_some(())
    });
}

/// Waits until so many nodes are ready.
pub fn wait_for_nodes(lab: &Lab, count: usize) {
    until("ready nodes", SOON, || {
        let nodes = json(lab, &["node", "list"]);
        let ready = nodes["nodes"].as_array()?.iter().filter(|node| node["state"]["kind"] == "ready").count();
        (ready == count).then_some(())
    });
}

/// What a command prints with `--json`.
pub fn json(lab: &Lab, args: &[&str]) -> Value {
    serde_json::from_str(&lab.ok(&[args, &["--json"]].concat())).unwrap()
}

//! What `berth plan` says is what `berth run` does: same nodes, same ports, with real nodes and real processes.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;

use serde_json::Value;
use support::lab::Lab;
use support::picture::{expected, json, name, picture, wait_for_nodes, wait_for_rest};
use support::{root, text};

/// A job of one group whose task sleeps.
struct Job {
    name: &'static str,
    kind: &'static str,
    count: u32,
    port: &'static str,
    cpu: &'static str,
    release: u32,
    parallel: u32,
}

const WEB: Job =
    Job { name: "web", kind: "service", count: 3, port: "http: dynamic", cpu: "100m", release: 1, parallel: 2 };
const DB: Job = Job { name: "db", port: "sql: 25432", count: 2, parallel: 1, ..WEB };
const API: Job = Job { name: "api", port: "", count: 5, cpu: "200m", parallel: 3, ..WEB };
const LOGGER: Job = Job { name: "logger", kind: "system", port: "", count: 1, ..WEB };
const WORK: Job = Job { name: "work", kind: "batch", port: "", count: 4, ..WEB };
const HUGE: Job = Job { name: "huge", port: "", count: 2, cpu: "900", ..WEB };

impl Job {
    fn text(&self) -> String {
        let count = if self.kind == "system" { String::new() } else { format!("    count: {}\n", self.count) };
        let ports = if self.port.is_empty() { String::new() } else { format!(", ports: {{{}}}", self.port) };
        format!(
            "job: {}\nkind: {}\ngroups:\n  - name: main\n{count}    update: {{max_parallel: {}, min_ready: 0s}}\n    tasks:\n      \
             - {{name: sleeper, driver: exec, command: [/bin/sleep, '100000'], kill: {{timeout: 100ms}}, env: {{RELEASE: '{}'}}, \
             resources: {{cpu: {}, memory: 16MiB{ports}}}}}\n",
            self.name, self.kind, self.parallel, self.release, self.cpu
        )
    }
}

enum Step {
    Run(Job),
    Stop(&'static str),
}

/// Twenty changes, one after the other.
fn steps() -> Vec<Step> {
    use Step::{Run, Stop};
    vec![
        Run(WEB),
        Run(DB),
        Run(Job { release: 2, ..WEB }),
        Run(Job { release: 2, count: 6, ..WEB }),
        Run(Job { release: 2, count: 4, ..WEB }),
        Run(API),
        Run(LOGGER),
        Run(Job { release: 2, ..API }),
        Stop("db"),
        Run(Job { count: 3, ..DB }),
        Run(WORK),
        Run(Job { release: 2, ..LOGGER }),
        Run(Job { release: 2, count: 4, cpu: "300m", ..WEB }),
        Run(HUGE),
        Run(Job { release: 3, count: 8, ..API }),
        Stop("huge"),
        Run(Job { release: 2, count: 3, ..DB }),
        Run(Job { release: 3, count: 4, parallel: 1, ..WEB }),
        Run(Job { count: 5, ..DB }),
        Stop("web"),
    ]
}

#[test]
fn twenty_runs_do_what_their_plans_said() {
    if !root() {
        return;
    }
    let lab = Lab::up("5");
    wait_for_nodes(&lab, 5);
    let file = lab.dir.path().join("job.yaml");
    let path = file.to_str().unwrap();
    let mut jobs = BTreeSet::new();
    let mut waves = 0;
    for (nth, step) in steps().into_iter().enumerate() {
        let before = picture(&lab, &jobs);
        let plan = match &step {
            Step::Run(job) => {
                jobs.insert(job.name);
                std::fs::write(&file, job.text()).unwrap();
                let plan = json(&lab, &["plan", path]);
                // Every other run names its plan; both must do the same.
                let named = if nth % 2 == 0 { vec!["--plan-id", plan["id"].as_str().unwrap()] } else { Vec::new() };
                lab.ok(&[&["run", path, "--detach"], &named[..]].concat());
                plan
            }
            Step::Stop(job) => {
                let plan = json(&lab, &["plan", "stop", job]);
                lab.ok(&["stop", job]);
                plan
            }
        };
        wait_for_rest(&lab, &jobs);
        waves = waves
            .max(plan["changes"].as_array().unwrap().iter().map(|c| c["wave"].as_u64().unwrap()).max().unwrap_or(0));
        assert_eq!(picture(&lab, &jobs), expected(before, &plan), "step {nth}: {plan:#}");
    }
    assert!(waves >= 3, "no update took more than {waves} waves");
    assert_refused_when_changed(&lab, path);
    assert_lost_nodes_are_told(&lab);
}

/// Another job comes between the plan and the run, and takes what was planned.
fn assert_refused_when_changed(lab: &Lab, path: &str) {
    let fixed = |name| Job { name, port: "sql: 25999", count: 2, ..WEB };
    std::fs::write(path, fixed("late").text()).unwrap();
    let plan = json(lab, &["plan", path]);
    let id = plan["id"].as_str().unwrap();
    std::fs::write(path, fixed("early").text()).unwrap();
    lab.ok(&["run", path]);
    std::fs::write(path, fixed("late").text()).unwrap();
    let refused = lab.command(&["run", path, "--plan-id", id]).output().unwrap();
    let told = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(4), "{told}");
    assert!(told.contains("has changed since plan") && told.contains("late.main[0]"), "{told}");
    // One that the server has forgotten, as after a restart, holds all the same: it would have to do just that.
    let forgotten = lab.command(&["run", path, "--plan-id", &format!("p{:032}", 7)]).output().unwrap();
    assert_eq!(forgotten.status.code(), Some(4), "{}", text(&forgotten.stderr));
    assert!(lab.command(&["status", "late"]).output().unwrap().status.code() == Some(3), "nothing was run");
}

fn assert_lost_nodes_are_told(lab: &Lab) {
    let on: Vec<Value> = lab.allocs("api").into_iter().filter(|a| a["state"]["kind"] == "running").collect();
    let node = name(&on[0]["state"]["placement"]["node"]);
    for what in ["drain", "lose"] {
        let plan = json(lab, &["plan", what, &node]);
        let changes = plan["changes"].as_array().unwrap();
        let moved = changes.iter().filter(|change| change["kind"] == "move" && name(&change["from"]) == node);
        assert!(moved.count() > 0, "{plan:#}");
        assert!(changes.iter().all(|change| name(&change["to"]) != node), "{plan:#}");
        assert_eq!((&plan["before"]["nodes"], &plan["after"]["nodes"]), (&5.into(), &4.into()));
    }
}

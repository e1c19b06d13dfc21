//! This release and the next one side by side: server, agent and shims in every mixture, upgraded and taken back in every
//! order, and tasks that notice nothing.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::{BERTH, Cluster, id, image, process, root, started, until};

const SOON: Duration = Duration::from_secs(60);

/// Builds the stand-in for the next release beside the program under test, from what is on this disk alone.
///
/// With the features that tests ask for: it then shares most of what they are built from.
fn next() -> PathBuf {
    let folder = Path::new(BERTH).parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--offline", "--workspace", "--bin", "berth-next"]);
    cargo.args(["--features", "berth/next,berth-model/testkit,berth-store/testkit,berth-sim/planted-bugs"]);
    cargo.arg("--target-dir").arg(folder.parent().unwrap());
    // Tests run as root, and what is built belongs to whoever builds; who changed the user may have changed the path too.
    let owner = folder.metadata().unwrap();
    cargo.uid(owner.uid()).gid(owner.gid());
    let toolchain = Path::new(env!("CARGO")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    cargo.env("PATH", format!("{}:{path}", toolchain.display()));
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().unwrap().success(), "the next release does not build");
    folder.join("berth-next")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Release {
    This,
    Next,
}

/// What runs, and what has to be so of it.
struct Rollout {
    cluster: Cluster,
    next: PathBuf,
    server: Release,
    agent: Release,
    /// Tasks that were there from the first, each with its process.
    before: BTreeMap<String, (u64, u64)>,
    /// Jobs that were started on the way.
    jobs: Vec<String>,
}

impl Rollout {
    fn begin(next: PathBuf) -> Rollout {
        let cluster = Cluster::start();
        for (name, partition) in [("plain", "replace"), ("fenced", "fence")] {
            run(&cluster, name, partition);
        }
        let allocs = ["plain", "fenced"].map(|name| cluster.ready(name, 1).remove(0));
        let before = allocs.iter().map(|alloc| (id(alloc).to_owned(), process(alloc, "only"))).collect();
        Rollout { cluster, next, server: Release::This, agent: Release::This, before, jobs: Vec::new() }
    }

    fn program(&self, release: Release) -> PathBuf {
        match release {
            Release::This => BERTH.into(),
            Release::Next => self.next.clone(),
        }
    }

    fn change_server(&mut self, to: Release) {
        self.cluster.kill_server();
        (self.server, self.cluster.server_program) = (to, self.program(to));
        self.cluster.start_server();
        self.check();
    }

    fn change_agent(&mut self, to: Release) {
        self.cluster.kill_agent();
        (self.agent, self.cluster.agent_program) = (to, self.program(to));
        self.cluster.start_agent();
        self.check();
    }

    /// Everything that people do still works, and what ran before runs on.
    fn check(&mut self) {
        let now = format!("server {:?}, agent {:?}", self.server, self.agent);
        self.cluster.wait_for_agent();
        let protocol = if [self.server, self.agent] == [Release::Next; 2] { "3" } else { "2" };
        until(&format!("{now}: protocol {protocol}"), SOON, || {
            (self.protocol().as_deref() == Some(protocol)).then_some(())
        });
        for (alloc, process) in &self.before {
            let shown = self.alloc(alloc);
            assert_eq!(&support::process(&shown, "only"), process, "{now}");
            assert_eq!(started(process.0), Some(process.1), "{now}");
            assert_eq!(shown["tasks"]["only"]["restarts"], 0, "{now}: {shown}");
            assert_eq!(self.cluster.ok(&["exec", alloc, "--", "echo", "here"]), "here\n", "{now}");
        }
        // A shim of the agent's release is begun, and one that may be of another is told to end.
        let name = format!("step-{}", self.jobs.len());
        run(&self.cluster, &name, "keep");
        let alloc = self.cluster.ready(&name, 1).remove(0);
        assert_eq!(self.cluster.ok(&["exec", id(&alloc), "--", "echo", "here"]), "here\n", "{now}");
        if let Some(last) = self.jobs.last() {
            let (pid, start) = process(&self.cluster.ready(last, 1)[0], "only");
            self.cluster.ok(&["stop", last]);
            assert_ne!(started(pid), Some(start), "{now}: {last} was not ended");
        }
        self.jobs.push(name);
    }

    fn alloc(&self, wanted: &str) -> Value {
        let of = |job| self.cluster.allocs(job).into_iter();
        of("plain").chain(of("fenced")).find(|alloc| id(alloc) == wanted).unwrap()
    }

    /// What server and agent speak with each other.
    fn protocol(&self) -> Option<String> {
        let nodes = self.cluster.try_json(&["node", "list"])?;
        Some(nodes["nodes"][0]["attributes"]["agent.protocol"].as_str()?.to_owned())
    }
}

fn run(cluster: &Cluster, name: &str, partition: &str) {
    let text = format!(
        "job: {name}
groups:
  - name: only
    on_partition: {partition}
    update: {{min_ready: 0s}}
    tasks:
      - name: only
        image: {}
        command: [sleep, '100477']
        resources: {{cpu: 20m, memory: 16MiB, disk: 8MiB}}
        kill: {{timeout: 500ms}}
",
        image()
    );
    let file = cluster.file(&format!("{name}.yaml"), &text);
    cluster.ok(&["run", file.to_str().unwrap()]);
}

#[test]
fn upgrades_and_downgrades_in_every_order_change_no_task() {
    use Release::{Next, This};
    if !root() {
        return;
    }
    let mut rollout = Rollout::begin(next());
    // Every way from one mixture to another, once.
    rollout.change_agent(Next);
    rollout.change_server(Next);
    rollout.change_agent(This);
    rollout.change_server(This);
    rollout.change_server(Next);
    rollout.change_agent(Next);
    rollout.change_server(This);
    rollout.change_agent(This);
    for job in ["plain", "fenced"] {
        rollout.cluster.ok(&["stop", job]);
    }
    for (pid, start) in rollout.before.values() {
        assert_ne!(started(*pid), Some(*start), "a task outlived its job");
    }
}

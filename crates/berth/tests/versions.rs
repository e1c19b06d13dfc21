//! This release and the next one side by side: server, agent and shims in every mixture, upgraded and taken back in every
//! order, and tasks that notice nothing.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use berth_api::client::new_key;
use berth_api::wire::v1::CommandOutcome;
use berth_store::testkit::TestEtcd;
use serde_json::Value;
use support::servers::Servers;
use support::writers::Writers;
use support::{BERTH, Cluster, id, image, process, root, started, until};

const SOON: Duration = Duration::from_secs(60);

/// Builds the stand-in for the next release beside the program under test, from what is on this disk alone.
///
/// With the features that tests ask for: it then shares most of what they are built from.
fn next() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build_next).clone()
}

fn build_next() -> PathBuf {
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

    /// From here on there is no way back for the server.
    fn finalise(&mut self) {
        let format = |cluster: &Cluster| cluster.json(&["status"])["status"]["format"].as_u64();
        let outcome = |cluster: &Cluster| cluster.json(&["finalise"]);
        assert_eq!(format(&self.cluster), Some(2), "nobody has finalised anything");
        let nothing = outcome(&self.cluster);
        assert_eq!((nothing["format"].as_u64(), &nothing["changed"]), (Some(2), &Value::Bool(false)), "{nothing}");
        self.change_server(Release::Next);
        assert!(self.cluster.ok(&["status"]).contains("`berth finalise`"));
        let done = outcome(&self.cluster);
        assert_eq!((done["format"].as_u64(), &done["changed"]), (Some(3), &Value::Bool(true)), "{done}");
        self.check();
        self.cluster.kill_server();
        self.cluster.server_program = self.program(Release::This);
        let told = self.cluster.server_gives_up();
        assert!(
            told.contains("has version 3 and this program knows versions up to 2: run the newer program"),
            "{told}"
        );
        self.cluster.server_program = self.program(Release::Next);
        self.cluster.start_server();
        self.check();
        assert_eq!(format(&self.cluster), Some(3));
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
    rollout.finalise();
    for job in ["plain", "fenced"] {
        rollout.cluster.ok(&["stop", job]);
    }
    for (pid, start) in rollout.before.values() {
        assert_ne!(started(*pid), Some(*start), "a task outlived its job");
    }
}

#[test]
fn servers_of_two_releases_share_a_store_until_it_is_finalised() {
    let next = next();
    let run = async {
        let etcd = TestEtcd::start(1, &[]);
        let mut servers = Servers::start(&etcd, 3);
        servers.leader().await;
        let mut writers = Writers::start(&servers.client(), 4);
        // Up, with every mixture on the way, and whoever leads is killed each time.
        while let Some(at) = one_of(&servers, &next, false).await {
            change(&mut servers, &mut writers, at, &next).await;
            assert_eq!(servers.client().status().await.unwrap().format, 2);
            if one_of(&servers, &next, false).await.is_some() {
                not_yet(&servers, &next).await;
            }
        }
        // Down, until one of the older release leads what the newer has written.
        while let Some(at) = one_of(&servers, &next, true).await {
            change(&mut servers, &mut writers, at, BERTH.as_ref()).await;
            not_yet(&servers, &next).await;
        }
        for at in 0..3 {
            change(&mut servers, &mut writers, at, &next).await;
        }
        writers.acknowledged().await;
        // The announcements of those that were killed end with their leases.
        let end = tokio::time::Instant::now() + SOON;
        let outcome = loop {
            match servers.client().finalise(&new_key()).await {
                Ok(outcome) => break outcome,
                Err(error) => assert!(tokio::time::Instant::now() < end, "{error}"),
            }
        };
        assert_eq!(outcome, CommandOutcome::Finalised { format: 3, changed: true });
        servers.kill(0);
        servers.programs[0] = BERTH.into();
        let told = servers.gives_up(0);
        assert!(told.contains("has version 3 and this program knows versions up to 2"), "{told}");
        writers.forget();
        writers.acknowledged().await;
        servers.programs[0] = next.clone();
        servers.run(0);
        writers.check().await;
        assert_eq!(servers.client().status().await.unwrap().format, 3);
    };
    tokio::runtime::Runtime::new().unwrap().block_on(run);
}

/// While a server of this release is there, nothing is finalised: neither by it nor behind its back.
async fn not_yet(servers: &Servers, next: &Path) {
    let leads = servers.leader().await;
    let answer = servers.client().finalise(&new_key()).await;
    if servers.programs[leads] == next {
        let told = answer.unwrap_err().to_string();
        assert!(told.contains("reads formats up to 2, and this would begin 3; upgrade it first, or stop it"), "{told}");
    } else {
        assert_eq!(answer.unwrap(), CommandOutcome::Finalised { format: 2, changed: false });
    }
}

/// A server that is of the next release, or that is not; the leader, where it is one.
async fn one_of(servers: &Servers, next: &Path, is_next: bool) -> Option<usize> {
    let leads = servers.leader().await;
    let mut all: Vec<usize> = (0..servers.programs.len()).collect();
    all.sort_by_key(|at| *at != leads);
    all.into_iter().find(|at| (servers.programs[*at] == next) == is_next)
}

/// Kills a server and starts it as another program, while commands go on.
async fn change(servers: &mut Servers, writers: &mut Writers, at: usize, program: &Path) {
    servers.kill(at);
    servers.programs[at] = program.to_owned();
    servers.run(at);
    servers.answers(at).await;
    writers.forget();
    writers.acknowledged().await;
}

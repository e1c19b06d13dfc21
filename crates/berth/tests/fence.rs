//! What is fenced, with real processes and pulled cables: somebody who looks at nothing but processes never sees two, and
//! work runs again soon after it may. `BERTH_PARTITIONS` says how often the cable is pulled, `BERTH_SEED` when.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::lab::Lab;
use support::picture::{name, wait_for_nodes};
use support::{processes_with, root, until};

/// What nobody else on this machine sleeps for.
const FENCED: &str = "100431";
const LEASE: Duration = Duration::from_secs(4);
/// What the server waits for beside the lease and the drift of clocks, and how much later work may run again.
const KILLED_WITHIN: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(10);

const JOB: &str = "\
job: fenced
groups:
  - name: main
    on_partition: fence
    lease: 4s
    update: {min_ready: 0s}
    tasks:
      - {name: sleeper, driver: exec, command: [/bin/sleep, '100431'], kill: {timeout: 100ms}, resources: {cpu: 100m, memory: 16MiB}}
";

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Random enough to pull cables by (Knuth, The Art of Computer Programming 2, section 3.3.4, line 26).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Looks at processes all the time, and at nothing else.
fn watch(most: &AtomicUsize, looks: &AtomicUsize, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        most.fetch_max(processes_with(&["sleep", FENCED]).len(), Ordering::Relaxed);
        looks.fetch_add(1, Ordering::Relaxed);
        // Only the pace of looking.
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// The node on which the job runs, when it runs on one alone and is ready.
fn ready_on(lab: &Lab) -> Option<String> {
    let allocs = lab.allocs("fenced");
    let mut ready = allocs.iter().filter(|alloc| alloc["state"]["ready"].is_string());
    let node = name(&ready.next()?["state"]["placement"]["node"]);
    (ready.next().is_none() && processes_with(&["sleep", FENCED]).len() == 1).then_some(node)
}

#[test]
fn what_is_fenced_never_runs_twice_and_runs_again_soon() {
    if !root() {
        return;
    }
    let lab = Lab::up("3");
    wait_for_nodes(&lab, 3);
    let file = lab.dir.path().join("fenced.yaml");
    std::fs::write(&file, JOB).unwrap();
    lab.ok(&["run", file.to_str().unwrap()]);
    let (most, looks, done) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let slowest = std::thread::scope(|scope| {
        scope.spawn(|| watch(&most, &looks, &done));
        let pulled = std::panic::catch_unwind(|| pull_cables(&lab));
        done.store(true, Ordering::Relaxed);
        pulled.unwrap()
    });
    println!("{} looks; it ran elsewhere {slowest:?} after a cut at the latest", looks.into_inner());
    assert_eq!(most.into_inner(), 1, "two ran at once");
}

/// Pulls the cable of the node on which the job runs, again and again. The longest from a cut until it ran elsewhere.
fn pull_cables(lab: &Lab) -> Duration {
    let (times, mut random) = (setting("BERTH_PARTITIONS", 4), Random(setting("BERTH_SEED", 1)));
    let mut slowest = Duration::ZERO;
    for round in 0..times {
        let node = until("the job runs", Duration::from_secs(60), || ready_on(lab));
        let cut = Duration::from_millis(200 + random.below(12_000));
        // Now and then the agent is killed too: the shim holds the lease by itself.
        let kills = random.below(3) == 0;
        println!("round {round}: {node} is cut off for {cut:?}{}", if kills { ", its agent killed" } else { "" });
        let begun = Instant::now();
        lab.ok(&["lab", "partition", "--name", &lab.name, &node]);
        if kills {
            lab.ok(&["lab", "exec", "--name", &lab.name, &node, "--", "pkill", "-9", "-f", "berth agent"]);
        }
        let allowed = LEASE + KILLED_WITHIN;
        let elsewhere = || ready_on(lab).filter(|other| *other != node);
        if cut > allowed + LATEST / 2 {
            until("it runs elsewhere", allowed + LATEST, elsewhere);
            slowest = slowest.max(begun.elapsed());
        }
        while begun.elapsed() < cut {
            std::thread::park_timeout(Duration::from_millis(20));
        }
        if kills {
            lab.ok(&["lab", "restart", "--name", &lab.name, &node]);
        }
        lab.ok(&["lab", "heal", "--name", &lab.name, &node]);
        until("it runs again", allowed + LATEST, || ready_on(lab));
    }
    slowest
}

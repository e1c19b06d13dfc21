//! Figures instead of verdicts, with `cargo test --test runtime -- --figures`: what a shim weighs, and
//! how long a container takes beside `runc run` in the same run.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use berth_runtime::OciRuntime;

use crate::world::{self, Case, World, alloc, container, main_task};

/// Runs that a median is taken of.
const RUNS: u32 = 30;
/// Containers that only sleep.
const SLEEPERS: usize = 100;

/// Measures and prints.
pub fn print() {
    let cases: [Case; 3] =
        [|world| Box::pin(weight(world)), |world| Box::pin(create_to_exit(world)), |world| Box::pin(sleepers(world))];
    for case in cases {
        world::run(OciRuntime::Builtin, case);
    }
}

/// A shim that keeps a container which runs, with an agent connected.
async fn weight(world: &mut World) {
    let task = container(&world.image, &["sleep", "1000"]);
    let alloc = world.start(task).await;
    world.running(alloc).await;
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", world.shim_pid(alloc))).unwrap();
    for line in
        rollup.lines().filter(|line| ["Rss:", "Pss:", "Private_Dirty:"].iter().any(|name| line.starts_with(name)))
    {
        println!("shim {line}");
    }
}

async fn create_to_exit(world: &mut World) {
    let mut ours = Vec::new();
    let mut last = None;
    for _ in 0..RUNS {
        let desired = alloc(vec![container(&world.image, &["true"])]);
        world.prepare(&desired).await.unwrap();
        let began = Instant::now();
        world.runtime.start(desired.id, &main_task(), 1).await.unwrap();
        world.exit(desired.id).await;
        ours.push(began.elapsed());
        last = Some(desired.id);
    }
    let last = last.unwrap();
    let dir = world.config.data_dir.join("allocs").join(last.to_string());
    // runc removes nothing of ours: the bundle's root is gone with the shim's mounts, so a copy runs.
    let bundle = world.config.data_dir.join("bundle");
    let layer = fs::read_link(dir.join("tasks/main/lower/0")).unwrap();
    fs::create_dir(&bundle).unwrap();
    let spec = fs::read_to_string(dir.join("tasks/main/bundle/config.json")).unwrap();
    let root = dir.join("tasks/main/root");
    let spec = spec.replace(root.to_str().unwrap(), layer.to_str().unwrap());
    // The one built in loads a filter that was compiled before; runc gets the profile that it was compiled from.
    let mut spec: serde_json::Value = serde_json::from_str(&spec).unwrap();
    spec["linux"]["seccomp"] = serde_json::to_value(berth_runtime::seccomp::default_profile()).unwrap();
    fs::write(bundle.join("config.json"), spec.to_string()).unwrap();
    let mut theirs = Vec::new();
    for run in 0..RUNS {
        let began = Instant::now();
        let mut command = Command::new("runc");
        command.arg("--root").arg(world.config.data_dir.join("runc")).arg("run").arg("--bundle").arg(&bundle);
        assert!(command.arg(format!("figure-{run}")).status().unwrap().success());
        theirs.push(began.elapsed());
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!(
        "create to exit of true: {ours:?}, runc run: {theirs:?}, ratio {:.2}",
        ours.as_secs_f64() / theirs.as_secs_f64()
    );
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

async fn sleepers(world: &mut World) {
    let task = container(&world.image, &["sleep", "1000"]);
    let began = Instant::now();
    let mut allocs = Vec::new();
    for _ in 0..SLEEPERS {
        allocs.push(world.start(task.clone()).await);
    }
    for alloc in allocs {
        world.running(alloc).await;
    }
    println!("{SLEEPERS} sleeping containers, one after the other, shims included: {:?}", began.elapsed());
}

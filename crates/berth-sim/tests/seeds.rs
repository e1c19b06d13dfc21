//! Five hundred clusters with everything that can go wrong, and the same of each seed every time.

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use berth_sim::{Options, Outcome, ProfileName, run};

/// Runs seeds from `first` on, as many as `count`, on every processor; the first failure stops all.
fn run_seeds(first: u64, count: u64, options: &Options) -> Vec<Outcome> {
    let next = AtomicU64::new(first);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return done;
            }
            let outcome = run(seed, options);
            if !outcome.is_well() {
                next.store(first + count, Ordering::Relaxed);
            }
            done.push(outcome);
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(8);
    let done = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|w| w.join().expect("a simulation catches its panics")).collect()
    });
    check_all(done)
}

fn check_all(mut done: Vec<Outcome>) -> Vec<Outcome> {
    done.sort_by_key(|outcome| outcome.seed.parse::<u64>().expect("a seed is a number"));
    if let Some(outcome) = done.iter().find(|outcome| !outcome.is_well()) {
        panic!("{outcome}");
    }
    for outcome in &done {
        let enough = if outcome.profile == ProfileName::Partitions { 40 } else { 200 };
        assert!(outcome.nodes >= 5 && outcome.allocs >= enough, "too small to tell: {outcome}");
    }
    done
}

#[test]
fn every_invariant_holds_in_500_seeds() {
    let done = run_seeds(1, 500, &Options::default());
    assert_eq!(done.len(), 500);
    let servers: u32 = done.iter().map(|outcome| outcome.servers).sum();
    assert!(servers > 1000, "hardly any server died in {servers} reigns: the faults are too mild");
}

#[test]
fn every_invariant_holds_where_only_tasks_fail() {
    run_seeds(1, 20, &Options::default().profile(ProfileName::Calm));
}

#[test]
fn every_invariant_holds_while_the_policy_changes() {
    run_seeds(1, 40, &Options::default().profile(ProfileName::Policies));
}

#[test]
fn every_invariant_holds_while_nodes_are_drained_and_enabled() {
    run_seeds(1, 40, &Options::default().profile(ProfileName::Drains));
}

#[test]
fn every_invariant_holds_while_services_are_moved_and_they_come_to_rest() {
    let done = run_seeds(1, 12, &Options::default().profile(ProfileName::Balance));
    let moves: u64 = done.iter().map(|outcome| outcome.moves).sum();
    // The clusters are crowded: there is seldom room beside what runs.
    assert!(moves >= 5, "{moves} moves in 12 clusters: they are too few to tell");
}

#[test]
fn a_seed_gives_the_same_history_every_time() {
    for seed in [1, 77, 4_000_000_000_000] {
        let (one, two) = (run(seed, &Options::default()), run(seed, &Options::default()));
        assert_eq!(one, two);
        assert_ne!(one.digest, run(seed + 1, &Options::default()).digest);
    }
}

#[test]
fn an_outcome_tells_how_to_see_it_again() {
    let outcome = run(9, &Options::default());
    let json = serde_json::to_value(&outcome).expect("an outcome is plain data");
    assert_eq!(json["seed"], "9");
    assert!(outcome.to_string().starts_with("seed 9 (faults): "));
}

/// A run of a machine's clock is off by up to 200 millionths, which is what servers reckon with.
#[test]
fn what_is_fenced_never_runs_twice_in_2000_partitions() {
    let done = run_seeds(1, 120, &Options::default().profile(ProfileName::Partitions));
    let cut_off: u64 = done.iter().map(|outcome| outcome.cut_off_fenced).sum();
    assert!(cut_off >= 2_000, "machines with fenced work were cut off {cut_off} times");
}

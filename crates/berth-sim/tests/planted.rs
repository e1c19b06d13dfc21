//! The simulator is itself checked: each planted bug is found within 500 seeds.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use berth_sim::{Bug, Options, Outcome, run};

const SEEDS: u64 = 500;

/// The first failure that a bug leads to, on every processor.
fn hunt(bug: Bug) -> Option<Outcome> {
    let options = Options::default().bug(bug).profile(bug.profile());
    let (next, found) = (AtomicU64::new(1), AtomicBool::new(false));
    let worker = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > SEEDS || found.load(Ordering::Relaxed) {
                return None;
            }
            let outcome = run(seed, &options);
            if !outcome.is_well() {
                found.store(true, Ordering::Relaxed);
                return Some(outcome);
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(8);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().find_map(|w| w.join().expect("a simulation catches its panics"))
    })
}

#[test]
fn every_planted_bug_is_found_within_500_seeds() {
    assert!(Bug::ALL.len() >= 10, "only {} bugs", Bug::ALL.len());
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        match hunt(*bug) {
            Some(outcome) => {
                let broken = outcome.broken.expect("it was found");
                println!("{bug:?}: seed {}: invariant {}: {}", outcome.seed, broken.number, broken.what);
            }
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

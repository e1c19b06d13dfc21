//! What a plan says is what a run does: same instances, same nodes, same ports, in clusters at rest and with whatever
//! change, each node in its own time.

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use berth_sim::{Foreseen, foresee};

/// Clusters, and changes in each.
const SEEDS: u64 = 150;
const CHANGES: u32 = 10;

fn foresee_seeds(first: u64, count: u64) -> Foreseen {
    let next = AtomicU64::new(first);
    let worker = || {
        let mut sum = Foreseen::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return sum;
            }
            sum = sum.and(foresee(seed, CHANGES));
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(8);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let done = workers.into_iter().map(|worker| worker.join().expect("a simulation does not panic"));
        done.reduce(Foreseen::and).expect("there is a thread")
    })
}

#[test]
fn a_thousand_runs_do_what_their_plans_said() {
    let foreseen = foresee_seeds(1, SEEDS);
    eprintln!("{} of {} that named no plan went otherwise later on", foreseen.strayed, foreseen.free);
    assert_eq!(foreseen.surprises, Vec::<String>::new());
    assert!(foreseen.plans >= 1_000, "{} plans", foreseen.plans);
    assert!(foreseen.changing >= 700 && foreseen.in_waves >= 150 && foreseen.waiting >= 100, "{foreseen:?}");
}

//! Larger changes: a repair takes at most a fifth more work than a solve from scratch of what is changed, there and back.
//! `scripts/bench-flow.sh deltas` measures the same with a large cluster.

#[path = "../examples/generate/cluster.rs"]
#[expect(dead_code, reason = "the generator uses the rest")]
mod cluster;
#[path = "../examples/generate/keys.rs"]
#[expect(dead_code, reason = "the generator uses the rest")]
mod keys;
#[path = "../examples/generate/random.rs"]
mod random;

use berth_flow::{Budget, Follower, Instance, Network, Outcome, certify};
use keys::{Keys, Pair};

const SEEDS: u64 = 3;

fn optimum(outcome: &Outcome) -> (i128, u64) {
    let Outcome::Optimal { cost, steps } = outcome else { panic!("every task can wait, but {outcome:?}") };
    (*cost, *steps)
}

fn repair(before: &Instance, after: &Instance) {
    let mut scratch = Network::from_instance(after).expect("far from any limit");
    let (least, most) = optimum(&scratch.solve(Budget::UNLIMITED));
    let mut network = Network::from_instance(before).expect("far from any limit");
    network.solve(Budget::UNLIMITED);
    for change in Follower::new(&network).follow(&network, after) {
        network.apply(&change).expect("far from any limit");
    }
    let (cost, steps) = optimum(&network.resolve(Budget::UNLIMITED));
    assert_eq!((certify(&network, &network.solution()).map(|proof| proof.cost), cost), (Ok(least), least));
    assert_eq!(network.solution(), network.clone().into_solution());
    assert!(5 * steps <= 6 * most, "{steps} steps, {most} from scratch");
}

/// Changes of a cluster of 1,000 machines with 12,000 slots.
fn pairs(keys: &str) -> impl Iterator<Item = Pair> {
    (1..=SEEDS).map(move |seed| {
        let keys = format!("machines=1000 seed={seed} {keys}");
        let words: Vec<String> = keys.split(' ').map(str::to_owned).collect();
        cluster::pair(&mut Keys::parse(&words).expect("keys and numbers"))
    })
}

/// Such a change, and its opposite.
fn there_and_back(keys: &str) {
    for Pair { base, changed } in pairs(keys) {
        repair(&base, &changed);
        repair(&changed, &base);
    }
}

#[test]
fn a_hundredth_of_the_tasks_ends_and_as_much_arrives() {
    there_and_back("util=90 ends=108 arrives=108");
}

#[test]
fn a_tenth_of_the_tasks_ends_and_as_much_arrives() {
    there_and_back("util=90 ends=1080 arrives=1080");
}

#[test]
fn a_rack_goes_and_comes_back() {
    // A hundredth of the cluster. One of forty machines is given up after a quarter of the work, a little too late.
    there_and_back("rack=10 util=90 ends=0 arrives=0 breaks=1");
}

#[test]
fn all_costs_of_a_job_change() {
    there_and_back("util=90 ends=0 arrives=0 recosts=1");
}

#[test]
fn a_large_job_comes_and_goes() {
    there_and_back("util=50 ends=0 arrives=800 largest=800");
}

#[test]
fn an_empty_cluster_fills() {
    // The opposite is no work at all from scratch.
    pairs("util=0 ends=0 arrives=10800 largest=1080").for_each(|pair| repair(&pair.base, &pair.changed));
}

#[test]
fn more_tasks_come_than_there_are_slots_and_go_again() {
    there_and_back("util=95 ends=0 arrives=1200 largest=120");
}

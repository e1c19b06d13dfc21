//! Clusters with more tasks than slots, where a search from both ends leaves most leaves for later: nothing shorter may be
//! among those that both have left.

#[path = "../examples/generate/cluster.rs"]
#[expect(dead_code, reason = "the generator uses the rest")]
mod cluster;
#[path = "../examples/generate/keys.rs"]
#[expect(dead_code, reason = "the generator uses the rest")]
mod keys;
#[path = "../examples/generate/random.rs"]
mod random;

use berth_flow::{Budget, Network, Outcome, certify};
use keys::{Keys, Pair};

#[test]
fn what_is_left_out_from_both_ends_hides_no_shorter_path() {
    // The first three went wrong, and one in forty others.
    let known = [(200, 29), (400, 3), (400, 6)];
    for (machines, seed) in known.into_iter().chain((0..40).map(|seed| (200, seed))) {
        let words = [format!("machines={machines}"), format!("seed={seed}"), "util=105".to_owned()];
        let Pair { changed, .. } = cluster::pair(&mut Keys::parse(&words).expect("keys and numbers"));
        let mut network = Network::from_instance(&changed).expect("far from any limit");
        let outcome = network.solve(Budget::UNLIMITED);
        let Outcome::Optimal { cost, .. } = outcome else { panic!("every task can wait, but {outcome:?}") };
        let proof = certify(&network, &network.solution());
        assert_eq!(proof.map(|proof| proof.cost), Ok(cost), "{machines} machines, seed {seed}");
    }
}

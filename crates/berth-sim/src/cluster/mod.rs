//! A large healthy cluster through the production core, to measure it: filled, then a churn of ends and arrivals.
//!
//! Nothing goes wrong here: agents obey at once and commits are durable at once, so that what is measured is the
//! decision core alone. The caller has the clock; this crate has none.

mod fill;
mod mix;
mod report;

use std::time::Duration;

use berth_model::BuiltIn;

pub(crate) use report::percentile;
pub use report::{ClusterReport, Milliseconds};

use crate::random::Random;
use fill::Cluster;
use mix::Mix;

/// Ends and arrivals before the first round that counts: the code and its memory are warm then.
const WARM_UP_ROUNDS: u32 = 5;

/// What is simulated.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// How many machines.
    pub machines: u32,
    /// How much of the machines' processor time is asked for in the end, in percent. More than 100 leaves work waiting.
    pub utilisation: u32,
    /// How many rounds of churn.
    pub rounds: u32,
    /// How many allocations end, and how many are asked for, in each round.
    pub churn: u32,
    /// What chance begins with.
    pub seed: u64,
    /// The placement policy.
    pub policy: BuiltIn,
}

/// What the caller measures with, since a simulation has no clock of its own.
pub trait Meter {
    /// Processor time of this thread so far.
    fn elapsed(&mut self) -> Duration;
    /// What is going on, for people.
    fn say(&mut self, what: String);
}

/// Simulates the cluster.
pub fn cluster(options: &ClusterOptions, meter: &mut dyn Meter) -> ClusterReport {
    let mut mix = Mix::new(options.machines, Random::new(options.seed));
    let mut cluster = Cluster::new(options.policy, meter);
    cluster.add_machines(&mut mix, options.machines);
    let filling = cluster.fill(&mut mix, options.utilisation);
    cluster.settle();
    let mut report = ClusterReport::new(options, &filling);
    for round in 0..WARM_UP_ROUNDS + options.rounds {
        cluster.say(format!("round {round}"));
        let times = cluster.churn(&mut mix, options.churn);
        if round >= WARM_UP_ROUNDS {
            report.add(&times);
        }
    }
    report.finish(cluster.waiting());
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that goes on by a millisecond whenever it is read.
    struct Ticks(u64);

    impl Meter for Ticks {
        fn elapsed(&mut self) -> Duration {
            self.0 += 1;
            Duration::from_millis(self.0)
        }
        fn say(&mut self, _: String) {}
    }

    fn run(utilisation: u32, seed: u64) -> ClusterReport {
        let options =
            ClusterOptions { machines: 60, utilisation, rounds: 3, churn: 10, seed, policy: BuiltIn::Balanced };
        cluster(&options, &mut Ticks(0))
    }

    #[test]
    fn a_cluster_is_filled_as_far_as_was_asked_and_churns() {
        let report = run(80, 7);
        assert!((300..1_500).contains(&report.tasks), "{} tasks on 60 machines", report.tasks);
        assert!((790..=850).contains(&report.cpu_permille), "{} permille of the processors", report.cpu_permille);
        assert_eq!(report.rounds, 3);
        assert_eq!(report.fast_path_ms.count(), 30);
    }

    #[test]
    fn what_does_not_fit_waits() {
        assert!(run(130, 7).waiting > 0);
    }

    #[test]
    fn the_same_seed_gives_the_same_cluster() {
        assert_eq!(run(90, 3).tasks, run(90, 3).tasks);
        assert_ne!(run(90, 3).tasks, run(90, 4).tasks);
    }
}

//! What came of it, for people and for programs.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::ClusterOptions;
use super::fill::{Filling, Times};

/// What the production core did with a large cluster. The names are those of `--json`.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterReport {
    /// How many machines.
    pub machines: u32,
    /// Allocations that were placed when the cluster was filled.
    pub tasks: u64,
    /// Processor time that was asked for, of 1,000 that there is.
    pub cpu_permille: u64,
    /// Allocations without a place in the end.
    pub waiting: u32,
    /// A request for one allocation, from the command to its checked plan.
    pub fast_path_ms: Milliseconds,
    /// A round: all ends, all arrivals, what follows from them, and the optimiser.
    pub round_ms: Milliseconds,
    /// The optimiser's part of a round.
    pub optimiser_ms: Milliseconds,
    /// How many rounds were counted.
    pub rounds: u32,
    /// In how many of them a certified flow proved a bound.
    pub certified_rounds: u32,
    /// By how many percent everything costs more than the proven bound, in the mean of those.
    pub regret_pct: f64,
    /// How many moves were proposed in all rounds.
    pub moves: u64,
    /// Placements in a second of the core's time, while the cluster was filled.
    pub placements_per_second: u64,
}

impl ClusterReport {
    pub(crate) fn new(options: &ClusterOptions, filling: &Filling) -> ClusterReport {
        let micros = filling.took.as_micros().max(1);
        let per_second = u128::from(filling.placed) * 1_000_000 / micros;
        ClusterReport {
            machines: options.machines,
            tasks: filling.placed,
            cpu_permille: filling.cpu_permille,
            waiting: 0,
            fast_path_ms: Milliseconds::default(),
            round_ms: Milliseconds::default(),
            optimiser_ms: Milliseconds::default(),
            rounds: 0,
            certified_rounds: 0,
            regret_pct: 0.0,
            moves: 0,
            placements_per_second: u64::try_from(per_second).unwrap_or(u64::MAX),
        }
    }

    pub(crate) fn add(&mut self, times: &Times) {
        self.rounds += 1;
        self.round_ms.0.push(times.round);
        self.optimiser_ms.0.push(times.optimiser);
        if let Some(balance) = &times.balance {
            self.moves += balance.proposals.iter().map(|proposal| proposal.moves.len() as u64).sum::<u64>();
            if let Some(regret) = balance.regret_permille() {
                self.certified_rounds += 1;
                self.regret_pct += (regret as f64 / 10.0 - self.regret_pct) / f64::from(self.certified_rounds);
            }
        }
        self.fast_path_ms.0.extend(&times.requests);
    }

    pub(crate) fn finish(&mut self, waiting: u32) {
        self.waiting = waiting;
        self.round_ms.0.sort_unstable();
        self.optimiser_ms.0.sort_unstable();
        self.fast_path_ms.0.sort_unstable();
    }
}

impl fmt::Display for ClusterReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "machines               {}", self.machines)?;
        writeln!(f, "tasks                  {}, {} wait", self.tasks, self.waiting)?;
        let (whole, tenth) = (self.cpu_permille / 10, self.cpu_permille % 10);
        writeln!(f, "asked of processors    {whole}.{tenth} %")?;
        writeln!(f, "a request              {}", self.fast_path_ms)?;
        writeln!(f, "a round, of {:<10} {}", self.rounds, self.round_ms)?;
        writeln!(f, "of it, the optimiser   {}", self.optimiser_ms)?;
        writeln!(f, "certified              {} of {}", self.certified_rounds, self.rounds)?;
        writeln!(f, "regret                 {:.2} % at most, in the mean", self.regret_pct)?;
        writeln!(f, "proposed moves         {}", self.moves)?;
        writeln!(f, "placements per second  {}", self.placements_per_second)
    }
}

/// Times, of which the median, the 99th percentile and the longest are told, in milliseconds.
#[derive(Clone, Debug, Default)]
pub struct Milliseconds(Vec<Duration>);

impl Milliseconds {
    /// How many times there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// Ready to be told.
    pub(crate) fn sorted(mut self) -> Milliseconds {
        self.0.sort_unstable();
        self
    }

    /// The time that so many percent do not exceed.
    fn percentile(&self, percent: usize) -> f64 {
        percentile(&self.0, percent).map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
    }
}

/// What so many percent of the sorted values do not exceed, by nearest rank. None where there are no values.
pub(crate) fn percentile<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

impl Serialize for Milliseconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Told {
            p50: f64,
            p99: f64,
            max: f64,
        }
        Told { p50: self.percentile(50), p99: self.percentile(99), max: self.percentile(100) }.serialize(serializer)
    }
}

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, max] = [50, 99, 100].map(|percent| self.percentile(percent));
        write!(f, "{p50:.3} ms in the median, {p99:.3} ms at 99 %, {max:.3} ms at most")
    }
}

//! Machines that register, jobs that arrive, tasks that run at once and end when chance says so.

use std::time::Duration;

use berth_control::Event;
use berth_model::{Balance, BuiltIn, JobSpec, Millis};

use super::Meter;
use super::mix::Mix;
use crate::healthy::Healthy;

/// So many rounds the optimiser may take for its first look; more than a cluster of any size takes.
const MOST_FIRST_ROUNDS: u32 = 1_000;

/// How filling went.
pub(crate) struct Filling {
    /// Allocations that were placed.
    pub(crate) placed: u64,
    /// Time in the steps that placed them.
    pub(crate) took: Duration,
    /// Processor time that they ask for, of 1,000 that there is.
    pub(crate) cpu_permille: u64,
}

/// The times of one round of churn.
#[derive(Default)]
pub(crate) struct Times {
    /// Each request, from the command to its checked plan.
    pub(crate) requests: Vec<Duration>,
    /// The optimiser, from being told what has changed to proposals that were tried.
    pub(crate) optimiser: Duration,
    /// What it found out.
    pub(crate) balance: Option<Balance>,
    /// All of the round.
    pub(crate) round: Duration,
}

/// A healthy cluster, and how much of it is asked for.
pub(crate) struct Cluster<'a> {
    healthy: Healthy,
    meter: &'a mut dyn Meter,
    cpu: u64,
    asked_cpu: u64,
}

impl<'a> Cluster<'a> {
    pub(crate) fn new(policy: BuiltIn, meter: &'a mut dyn Meter) -> Cluster<'a> {
        Cluster { healthy: Healthy::new(policy), meter, cpu: 0, asked_cpu: 0 }
    }

    pub(crate) fn say(&mut self, what: String) {
        self.meter.say(what);
    }

    /// Allocations without a place.
    pub(crate) fn waiting(&self) -> u32 {
        self.healthy.core.summary().waiting
    }

    pub(crate) fn add_machines(&mut self, mix: &mut Mix, machines: u32) {
        for number in 0..machines {
            if number.is_multiple_of(1_000) {
                self.say(format!("machine {number} of {machines}"));
            }
            let hello = mix.machine(number);
            self.cpu += hello.fingerprint.resources.cpu.0;
            self.healthy.connect(hello);
        }
    }

    /// Jobs arrive until they ask for so many percent of the processor time.
    pub(crate) fn fill(&mut self, mix: &mut Mix, utilisation: u32) -> Filling {
        let wanted = u128::from(self.cpu) * u128::from(utilisation) / 100;
        let mut took = Duration::ZERO;
        while u128::from(self.asked_cpu) < wanted {
            // The last jobs are small, so that no large one goes far beyond.
            let left = (wanted - u128::from(self.asked_cpu)) / 1_000;
            let job = mix.job(u64::try_from(left / 4).expect("a part of 64 bits").max(1));
            took += self.ask(job);
            self.healthy.agents_report();
            if self.healthy.requests().is_multiple_of(100) {
                self.say(format!("filled to {} % of {utilisation} %", self.asked_cpu * 100 / self.cpu));
            }
        }
        let placed = self.healthy.core.allocs().values().filter(|alloc| alloc.occupies().is_some()).count() as u64;
        Filling { placed, took, cpu_permille: self.asked_cpu * 1_000 / self.cpu }
    }

    /// So many allocations end, and as many are asked for, one by one.
    pub(crate) fn churn(&mut self, mix: &mut Mix, churn: u32) -> Times {
        let mut times = Times::default();
        let begun = self.meter.elapsed();
        for _ in 0..churn {
            self.end_one(mix);
        }
        self.healthy.agents_report();
        for _ in 0..churn {
            times.requests.push(self.ask(mix.job(1)));
        }
        self.healthy.agents_report();
        self.balance(&mut times);
        times.round = self.meter.elapsed() - begun;
        times
    }

    /// The optimiser looks at the filled cluster, in as many rounds as that takes.
    pub(crate) fn settle(&mut self) {
        for round in 1..=MOST_FIRST_ROUNDS {
            self.say(format!("first look of the optimiser, round {round}"));
            let mut times = Times::default();
            self.balance(&mut times);
            if times.balance.is_some_and(|balance| balance.bound.is_some()) {
                return;
            }
        }
    }

    /// The optimiser looks at what the round has changed.
    fn balance(&mut self, times: &mut Times) {
        // As long as the core waits for further changes.
        self.healthy.now = self.healthy.now + Millis::from_secs(5);
        let begun = self.meter.elapsed();
        self.healthy.event(Event::Woke);
        times.optimiser = self.meter.elapsed() - begun;
        times.balance = self.healthy.core.balance().map(|(_, balance)| balance.clone());
        // Until what has arrived has proved itself, which is no work of the optimiser's.
        self.healthy.now = self.healthy.now + Millis::from_secs(5);
        self.healthy.event(Event::Woke);
    }

    /// Some batch allocation completes.
    fn end_one(&mut self, mix: &mut Mix) {
        if self.healthy.batch.is_empty() {
            return;
        }
        let index = mix.random().index(self.healthy.batch.len());
        let (machine, id) = self.healthy.batch.swap_remove(index);
        self.healthy.complete(machine, id);
    }

    /// Asks for a job, and says how long its step took.
    fn ask(&mut self, job: JobSpec) -> Duration {
        let group = &job.groups[0];
        self.asked_cpu += group.resources().cpu.0 * u64::from(group.count);
        let begun = self.meter.elapsed();
        self.healthy.ask(job);
        let took = self.meter.elapsed() - begun;
        self.healthy.perform();
        self.healthy.written.clear();
        took
    }
}

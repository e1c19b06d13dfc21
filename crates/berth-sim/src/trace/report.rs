//! What came of a replay.

use berth_model::Timestamp;
use serde::Serialize;

use super::read::Amounts;
use super::waits::WaitsFor;
use crate::cluster::{Milliseconds, percentile};

/// What the production core did with a trace. The names are those of `--json`.
#[derive(Clone, Debug, Serialize)]
pub struct TraceReport {
    /// How many machines.
    pub nodes: u32,
    /// How many services.
    pub services: usize,
    /// How many instances came.
    pub instances: usize,
    /// How many of them were placed.
    pub placed: u64,
    /// How many waited at all.
    pub waited: u64,
    /// How many went away, or waited still in the end, without having been placed.
    pub not_placed: u64,
    /// How long those waited that did.
    pub wait_seconds: Seconds,
    /// The same by what they lacked, most instances first.
    pub waits: Vec<WaitsFor>,
    /// A change of a service, from the command to its checked plan.
    pub change_ms: Milliseconds,
    /// What was in use, hour by hour.
    pub cells: Vec<TraceCell>,
}

/// How things stood at one time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TraceCell {
    /// Hours since the trace began.
    pub hours: f64,
    /// Instances that have a place.
    pub placed: u64,
    /// Instances that wait.
    pub waiting: u64,
    /// What is taken of all machines' processors, in percent.
    pub cpu_pct: f64,
    /// Of their GPUs.
    pub gpu_pct: f64,
    /// Of the bandwidth of their network cards.
    pub rdma_pct: f64,
    /// Of their memory.
    pub memory_pct: f64,
    /// Of their disks.
    pub disk_pct: f64,
}

impl TraceCell {
    pub(super) fn new(at: Timestamp, placed: u64, waiting: u64, taken: &Sum, all: &Sum) -> TraceCell {
        let pct = |of: fn(&Sum) -> u64| 100.0 * of(taken) as f64 / of(all).max(1) as f64;
        TraceCell {
            hours: at.0 as f64 / 3_600_000.0,
            placed,
            waiting,
            cpu_pct: pct(|sum| sum.cpu_milli),
            gpu_pct: pct(|sum| sum.gpus),
            rdma_pct: pct(|sum| sum.rdma_pct),
            memory_pct: pct(|sum| sum.memory_mib),
            disk_pct: pct(|sum| sum.disk_mib),
        }
    }
}

/// Amounts of many.
pub(super) type Sum = Amounts;

impl Sum {
    pub(super) const NOTHING: Sum = Sum { cpu_milli: 0, gpus: 0, rdma_pct: 0, memory_mib: 0, disk_mib: 0 };

    /// With so many times the other one more.
    pub(super) fn add(&mut self, other: Amounts, times: u64) {
        self.cpu_milli += other.cpu_milli * times;
        self.gpus += other.gpus * times;
        self.rdma_pct += other.rdma_pct * times;
        self.memory_mib += other.memory_mib * times;
        self.disk_mib += other.disk_mib * times;
    }

    /// Without the other one.
    pub(super) fn take(&mut self, other: Amounts) {
        self.cpu_milli -= other.cpu_milli;
        self.gpus -= other.gpus;
        self.rdma_pct -= other.rdma_pct;
        self.memory_mib -= other.memory_mib;
        self.disk_mib -= other.disk_mib;
    }
}

/// Times in the trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Seconds {
    /// The median.
    pub p50: f64,
    /// What 99 % do not exceed.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Seconds {
    pub(super) fn of(mut millis: Vec<u64>) -> Seconds {
        millis.sort_unstable();
        let at = |percent| percentile(&millis, percent).map_or(0.0, |millis| millis as f64 / 1_000.0);
        Seconds { p50: at(50), p99: at(99), max: at(100) }
    }
}

//! Replays a trace of services: instances come and go by their own times, on machines that are given, through the
//! production core. What cannot be placed waits, as it would in production, and the report tells for what and how long.
//!
//! A service is a job whose count follows the trace. Which of its instances goes when one is deleted is the core's choice,
//! as it is for whoever lowers a count.

mod read;
mod report;
mod services;
mod waits;

use std::collections::{BTreeMap, BTreeSet};

use berth_control::Event;
use berth_model::{AllocId, AllocState, BuiltIn, JobId, Millis, Timestamp};

pub use crate::table::TraceError;
pub use read::{Alike, Amounts, Machines, Trace, read_instances, read_machines};
pub use report::{Seconds, TraceCell, TraceReport};
pub use waits::{Lack, WaitsFor};

use crate::cluster::{Meter, Milliseconds};
use crate::healthy::Healthy;
use read::{Counts, Happens};
use report::Sum;
use waits::{End, Waits};

/// Replays the trace. `seen` is told after each of its steps.
pub fn replay(
    trace: &Trace,
    machines: &[Machines],
    policy: BuiltIn,
    meter: &mut dyn Meter,
    mut seen: impl FnMut(),
) -> TraceReport {
    let mut replay = Replay::new(trace, policy, meter);
    replay.add_machines(machines);
    for ((at, what), counts) in &trace.moments {
        replay.go_on_to(Timestamp(*at));
        replay.change(*what, counts);
        seen();
    }
    replay.finish()
}

/// A replay under way.
struct Replay<'a> {
    trace: &'a Trace,
    healthy: Healthy,
    meter: &'a mut dyn Meter,
    /// Instances that there should be now, by kind.
    counts: Vec<u32>,
    kinds: BTreeMap<JobId, usize>,
    nodes: u32,
    all: Sum,
    taken: Sum,
    /// Who has a place, with its kind.
    seated: BTreeMap<AllocId, usize>,
    placed: u64,
    waits: Waits,
    changes: Milliseconds,
    cells: Vec<TraceCell>,
}

/// Between two cells.
const HOUR: Millis = Millis::from_secs(3_600);
/// Cells between two times at which the core is woken: a day's. Nothing that is told here waits for it.
const WAKES: usize = 24;

impl<'a> Replay<'a> {
    fn new(trace: &'a Trace, policy: BuiltIn, meter: &'a mut dyn Meter) -> Replay<'a> {
        let ids = trace.alike.iter().enumerate().map(|(kind, alike)| (services::service(kind, alike, 0).id, kind));
        Replay {
            trace,
            healthy: Healthy::new(policy),
            meter,
            counts: vec![0; trace.alike.len()],
            kinds: ids.collect(),
            nodes: 0,
            all: Sum::NOTHING,
            taken: Sum::NOTHING,
            seated: BTreeMap::new(),
            placed: 0,
            waits: Waits::default(),
            changes: Milliseconds::default(),
            cells: Vec::new(),
        }
    }

    fn add_machines(&mut self, machines: &[Machines]) {
        for kind in machines {
            self.all.add(kind.each, u64::from(kind.count));
            for _ in 0..kind.count {
                self.nodes += 1;
                self.healthy.connect(services::hello(u64::from(self.nodes), kind));
            }
        }
    }

    /// Hours pass until then.
    fn go_on_to(&mut self, at: Timestamp) {
        while self.next_hour() < at {
            let hour = self.next_hour();
            self.note_cell(hour);
            if self.cells.len().is_multiple_of(WAKES) {
                self.wake(hour);
            }
        }
        self.healthy.now = self.healthy.now.max(at);
    }

    /// The core does what it has put off: it forgets what ended long ago, and its optimiser looks at what has changed.
    fn wake(&mut self, at: Timestamp) {
        self.healthy.now = at;
        self.healthy.event(Event::Woke);
        self.healthy.agents_report();
        self.look();
    }

    fn next_hour(&self) -> Timestamp {
        Timestamp(0) + Millis(HOUR.0 * self.cells.len() as u64)
    }

    fn note_cell(&mut self, at: Timestamp) {
        let (placed, waiting) = (self.seated.len() as u64, self.waits.count() as u64);
        self.cells.push(TraceCell::new(at, placed, waiting, &self.taken, &self.all));
    }

    /// Instances come or go, and the cluster is left to settle.
    fn change(&mut self, what: Happens, counts: &Counts) {
        for (kind, by) in counts {
            let count = &mut self.counts[*kind];
            *count = match what {
                Happens::Come => *count + by,
                Happens::Gone | Happens::GoneAtOnce => *count - by,
            };
            let service = services::service(*kind, &self.trace.alike[*kind], *count);
            let begun = self.meter.elapsed();
            self.healthy.ask(service);
            let took = self.meter.elapsed() - begun;
            self.changes.push(took);
            self.healthy.perform();
        }
        self.healthy.agents_report();
        self.look();
    }

    /// Looks at what has become of the allocations that were written.
    fn look(&mut self) {
        let written: BTreeSet<AllocId> = std::mem::take(&mut self.healthy.written).into_iter().collect();
        let now = self.healthy.now;
        for id in written {
            let alloc = self.healthy.core.allocs().get(&id);
            match alloc.map(|alloc| &alloc.state) {
                Some(AllocState::Waiting { reason, .. }) => self.waits.wait(id, Lack::of(reason), now),
                Some(AllocState::Placed { .. } | AllocState::Running { .. } | AllocState::Stopping { .. }) => {
                    let kind = alloc.map(|alloc| self.kinds[&alloc.job]).expect("it is there");
                    self.waits.end(id, End::Placed, now);
                    self.seat(id, kind);
                }
                Some(AllocState::Ended { placement, .. }) => {
                    let end = if placement.is_some() { End::Placed } else { End::Not };
                    self.waits.end(id, end, now);
                    self.unseat(id);
                }
                None => {
                    self.waits.end(id, End::Not, now);
                    self.unseat(id);
                }
            }
        }
    }

    fn seat(&mut self, id: AllocId, kind: usize) {
        if self.seated.insert(id, kind).is_none() {
            self.placed += 1;
            self.taken.add(self.trace.alike[kind].each, 1);
        }
    }

    fn unseat(&mut self, id: AllocId) {
        if let Some(kind) = self.seated.remove(&id) {
            self.taken.take(self.trace.alike[kind].each);
        }
    }

    fn finish(mut self) -> TraceReport {
        let now = self.healthy.now;
        self.note_cell(now);
        self.waits.end_all(now);
        let (waited, wait_seconds, waits) = self.waits.told();
        let services: BTreeSet<&str> = self.trace.alike.iter().map(|alike| alike.service.as_str()).collect();
        TraceReport {
            nodes: self.nodes,
            services: services.len(),
            instances: self.trace.instances,
            placed: self.placed,
            waited,
            not_placed: waits.iter().map(|waits| waits.not_placed).sum(),
            wait_seconds,
            waits,
            change_ms: self.changes.sorted(),
            cells: self.cells,
        }
    }
}

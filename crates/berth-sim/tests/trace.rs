//! Replays of small traces of our own.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use berth_model::BuiltIn;
use berth_sim::Meter;
use berth_sim::trace::{Lack, TraceReport, read_instances, read_machines, replay};

/// Nobody looks at the time.
struct Still;

impl Meter for Still {
    fn elapsed(&mut self) -> Duration {
        Duration::ZERO
    }
    fn say(&mut self, _: String) {}
}

const MACHINES: &str = include_str!("trace/machines.csv");
const INSTANCES: &str = include_str!("trace/instances.csv");

fn replayed(machines: &str, instances: &str) -> TraceReport {
    let machines = read_machines(machines.as_bytes(), "machines.csv").unwrap();
    let trace = read_instances(instances.as_bytes(), "instances.csv").unwrap();
    let mut steps = 0;
    let report = replay(&trace, &machines, BuiltIn::Balanced, &mut Still, || steps += 1);
    assert_eq!(steps, trace.steps());
    assert_eq!(report.placed + report.not_placed, report.instances as u64, "everyone is accounted for");
    report
}

/// Reason, instances, of them not placed, and the longest wait in seconds.
fn waits(report: &TraceReport) -> Vec<(Lack, u64, u64, f64)> {
    report.waits.iter().map(|w| (w.reason, w.instances, w.not_placed, w.seconds.max)).collect()
}

#[test]
fn the_fixture_waits_for_what_it_lacks() {
    let report = replayed(MACHINES, INSTANCES);
    assert_eq!((report.nodes, report.services, report.instances), (3, 4, 11));
    assert_eq!((report.waited, report.not_placed), (4, 3), "{:#?}", report.waits);
    let mut told = waits(&report);
    told.sort_by_key(|(reason, ..)| *reason);
    // Processors come free when another service shrinks. A service that has one on each machine shrinks before its third
    // has found a place. Who wants a third GPU waits until the trace ends; who wants more processors than a machine has, for
    // as long as it is there.
    assert_eq!(
        told,
        [
            (Lack::Cpu, 1, 0, 1_000.0),
            (Lack::Gpu, 1, 1, 7_200.0),
            (Lack::PerNode, 1, 1, 3_000.0),
            (Lack::Never, 1, 1, 4_000.0),
        ]
    );
}

#[test]
fn cells_tell_what_is_taken_hour_by_hour() {
    let report = replayed(MACHINES, INSTANCES);
    let hours: Vec<f64> = report.cells.iter().map(|cell| cell.hours).collect();
    assert_eq!(hours[..4], [0.0, 1.0, 2.0, 3.0]);
    assert_eq!(hours.len(), 5, "and the end: {hours:?}");
    let first = &report.cells[0];
    assert_eq!((first.placed, first.waiting), (4, 0), "those that were there before");
    assert!((first.gpu_pct - 100.0).abs() < 1e-9, "{first:?}");
    let last = report.cells.last().unwrap();
    assert_eq!(last.waiting, 1);
}

#[test]
fn one_that_goes_as_it_comes_is_placed_and_leaves_nothing_behind() {
    let machines = "role,count,cpu,gpu,rdma,memory,disk\nCN,1,8,0,100,8,10\n";
    let head = INSTANCES.lines().next().unwrap();
    let line = |come: &str, gone: &str| format!("i,CN,a,4,4,0,0,1,1,1.0,1.0,1.0,1.0,-1,{come},,{gone}\n");
    let report = replayed(machines, &format!("{head}\n{}{}", line("5", "5"), line("5", "")));
    assert_eq!((report.placed, report.not_placed), (2, 0));
    assert_eq!(report.cells.last().unwrap().placed, 1);
}

#[test]
fn the_same_trace_gives_the_same_report() {
    let told = || serde_json::to_string(&replayed(MACHINES, INSTANCES)).unwrap();
    assert_eq!(told(), told());
}

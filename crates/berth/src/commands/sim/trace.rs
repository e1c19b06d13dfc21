//! `berth sim trace`: a trace of services by their own times, and who waited for what.

use std::process::ExitCode;

use berth_sim::trace::{Lack, TraceCell, TraceReport, read_instances, read_machines, replay};

use super::picture::{self, Axis, Curve, Panel};
use super::source::read;
use super::watch::Watch;
use crate::args::TraceArgs;
use crate::output::{Format, Progress, table};

/// Rows of the table of what was in use: about so many.
const ROWS: usize = 16;

/// Replays the trace.
pub fn trace(args: &TraceArgs, format: Format) -> anyhow::Result<ExitCode> {
    let machines = read(&args.nodes, read_machines)?;
    let trace = read(&args.instances, read_instances)?;
    let progress = Progress::counting(format, trace.steps());
    progress.say(args.instances.display().to_string());
    let report = replay(&trace, &machines, args.policy.into(), &mut Watch(&progress), || progress.step());
    progress.end();
    if let Some(file) = &args.svg {
        picture::write(file, &title(&report), &[in_use(&report), waiting(&report)])?;
    }
    format.show(&report, text)?;
    Ok(ExitCode::SUCCESS)
}

fn title(report: &TraceReport) -> String {
    let TraceReport { instances, services, nodes, .. } = report;
    format!("{instances} instances of {services} services on {nodes} nodes")
}

fn days(report: &TraceReport) -> Axis {
    Axis::up_to("time in the trace, days", report.cells.iter().map(|cell| cell.hours / 24.0))
}

fn in_use(report: &TraceReport) -> Panel {
    let curve = |name: &str, of: fn(&TraceCell) -> f64| Curve {
        name: name.to_owned(),
        points: report.cells.iter().map(|cell| (cell.hours / 24.0, of(cell))).collect(),
    };
    let curves = vec![
        curve("processors", |cell| cell.cpu_pct),
        curve("GPUs", |cell| cell.gpu_pct),
        curve("network cards", |cell| cell.rdma_pct),
        curve("memory", |cell| cell.memory_pct),
        curve("disk", |cell| cell.disk_pct),
    ];
    Panel { x: days(report), y: Axis { name: "allocated, % of all nodes", range: 0.0..100.0 }, curves }
}

fn waiting(report: &TraceReport) -> Panel {
    let points: Vec<(f64, f64)> = report.cells.iter().map(|cell| (cell.hours / 24.0, cell.waiting as f64)).collect();
    let y = Axis::up_to("instances that wait", points.iter().map(|(_, waiting)| *waiting));
    Panel { x: days(report), y, curves: vec![Curve { name: "waiting".to_owned(), points }] }
}

fn text(report: &TraceReport) -> String {
    let TraceReport { nodes, services, instances, placed, waited, not_placed, wait_seconds: wait, .. } = report;
    let mut text = format!(
        "nodes       {nodes}\nservices    {services}\ninstances   {instances}: {placed} placed, {not_placed} never\n\
         waited      {waited}, {} in the median, {} at 99 %, {} at most\na change    {}\n",
        span(wait.p50),
        span(wait.p99),
        span(wait.max),
        report.change_ms
    );
    if !report.waits.is_empty() {
        let rows = report.waits.iter().map(|waits| {
            let [p50, p99, max] = [waits.seconds.p50, waits.seconds.p99, waits.seconds.max].map(span);
            let (instances, never) = (waits.instances.to_string(), waits.not_placed.to_string());
            [sentence(waits.reason).to_owned(), instances, never, p50, p99, max]
        });
        text += &format!("\n{}", table(["WAITED FOR", "INSTANCES", "NEVER PLACED", "MEDIAN", "99 %", "MOST"], rows));
    }
    let every = report.cells.len().div_ceil(ROWS).max(1);
    let rows = report.cells.iter().step_by(every).map(row);
    text + &format!("\n{}", table(["AT", "PLACED", "WAITING", "CPU", "GPU", "RDMA", "MEMORY", "DISK"], rows))
}

fn row(cell: &TraceCell) -> [String; 8] {
    let pct = |value: f64| format!("{value:.1} %");
    [
        span(cell.hours * 3_600.0),
        cell.placed.to_string(),
        cell.waiting.to_string(),
        pct(cell.cpu_pct),
        pct(cell.gpu_pct),
        pct(cell.rdma_pct),
        pct(cell.memory_pct),
        pct(cell.disk_pct),
    ]
}

fn sentence(lack: Lack) -> &'static str {
    match lack {
        Lack::Cpu => "processors",
        Lack::Gpu => "GPUs",
        Lack::Rdma => "network cards",
        Lack::Memory => "memory",
        Lack::Disk => "disk",
        Lack::PerNode => "nodes with fewer of the service",
        Lack::Role => "nodes of its role",
        Lack::Never => "a node that could ever take it",
        Lack::Other => "something else",
    }
}

/// Seconds for people.
fn span(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.0} s"),
        120.0..7_200.0 => format!("{:.0} min", seconds / 60.0),
        7_200.0..172_800.0 => format!("{:.1} h", seconds / 3_600.0),
        _ => format!("{:.1} d", seconds / 86_400.0),
    }
}

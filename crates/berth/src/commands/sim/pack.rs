//! `berth sim pack`: the packing experiment on a trace.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use berth_sim::pack::{Batches, Cell, Knowledge, Packing, read_nodes, read_order, read_pods};
use clap::ValueEnum;
use serde::Serialize;

use super::picture::{self, Axis, Curve, Panel};
use super::source::read;
use crate::args::{PackArgs, PackMix};
use crate::output::{Format, Progress, table};

/// What `--json` prints.
#[derive(Serialize)]
struct Packed {
    policy: String,
    batch: u32,
    placed: u64,
    rejected: u64,
    moves: u64,
    seconds: f64,
    cells: Vec<Cell>,
}

/// Arrived percents that a table shows.
const SHOWN: [u64; 8] = [50, 80, 90, 95, 100, 110, 120, 130];

/// Packs the pods in each order.
pub fn pack(args: &PackArgs, format: Format) -> anyhow::Result<ExitCode> {
    let nodes = read(&args.nodes, read_nodes)?;
    let pods = read(&args.pods, read_pods)?;
    let read_order = |file: &PathBuf| read(file, |input, name| read_order(input, name, &pods));
    let orders = args.order.iter().map(read_order).collect::<anyhow::Result<Vec<_>>>()?;
    let knowledge = match args.mix {
        PackMix::Known => Knowledge::Known,
        PackMix::Learned => Knowledge::Learned,
    };
    let weighed = args.policy.into();
    let policy = args.policy.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    let count = |of: u64| usize::try_from(of).unwrap_or(usize::MAX);
    let moves = u64::from(args.batch) * u64::from(args.moves) / 100;
    let batches = Batches { arrivals: count(u64::from(args.batch)), moves: count(moves) };
    let mut curves = Vec::new();
    let progress = Progress::counting(format, orders.iter().map(Vec::len).sum());
    for (file, order) in args.order.iter().zip(&orders) {
        progress.say(file.display().to_string());
        let began = Instant::now();
        let Packing { placed, rejected, moves, cells, decisions: _ } =
            berth_sim::pack::pack(&nodes, &pods, order, weighed, knowledge, batches, || progress.step());
        let (policy, seconds) = (policy.clone(), began.elapsed().as_secs_f64());
        let packed = Packed { policy, batch: args.batch, placed, rejected, moves, seconds, cells };
        format.show_line(&packed, |packed| text(file, packed))?;
        curves.push(curve(file, &packed.cells));
    }
    progress.end();
    if let Some(file) = &args.svg {
        picture::write(file, &format!("Packing GPUs with the policy {policy}"), &[panel(curves)])?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Arrived percents below which everything fits, and nothing is to be seen.
const DULL: f64 = 60.0;

fn curve(order: &Path, cells: &[Cell]) -> Curve {
    let name = order.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let points = cells.iter().map(|cell| (cell.arrived_pct as f64, cell.allocated_pct)).collect();
    Curve { name, points }
}

fn panel(mut curves: Vec<Curve>) -> Panel {
    let arrived = curves.iter().flat_map(|curve| curve.points.iter().map(|(arrived, _)| *arrived));
    let mut x = Axis::up_to("GPUs asked for, % of all", arrived);
    let mut y = Axis { name: "GPUs allocated, % of all", range: 0.0..100.0 };
    if x.range.end > DULL {
        (x.range.start, y.range.start) = (DULL, DULL);
    }
    let all = (0_u32..=100).map(|percent| (f64::from(percent), f64::from(percent)));
    curves.push(Curve { name: "all that was asked for".to_owned(), points: all.collect() });
    Panel { x, y, curves }
}

fn text(file: &Path, packed: &Packed) -> String {
    let shown = packed.cells.iter().filter(|cell| SHOWN.contains(&cell.arrived_pct));
    let rows = shown.map(|cell| [format!("{} %", cell.arrived_pct), format!("{:.2} %", cell.allocated_pct)]);
    format!(
        "{}: {} placed, {} rejected, {} moved, in {:.1} s\n{}",
        file.display(),
        packed.placed,
        packed.rejected,
        packed.moves,
        packed.seconds,
        table(["ARRIVED", "ALLOCATED"], rows)
    )
}

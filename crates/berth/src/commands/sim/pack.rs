//! `berth sim pack`: the packing experiment on a trace.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use berth_model::BuiltIn;
use berth_sim::pack::{Batches, Cell, Knowledge, Packing, TraceError, read_nodes, read_order, read_pods};
use clap::ValueEnum;
use serde::Serialize;

use crate::args::{PackArgs, PackMix, PackPolicy};
use crate::exit::{Status, failed};
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
    let weighed = match args.policy {
        PackPolicy::Balanced => BuiltIn::Balanced,
        PackPolicy::Pack => BuiltIn::Pack,
        PackPolicy::Spread => BuiltIn::Spread,
        PackPolicy::Fragmentation => BuiltIn::Fragmentation,
    };
    let policy = args.policy.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    let count = |of: u64| usize::try_from(of).unwrap_or(usize::MAX);
    let moves = u64::from(args.batch) * u64::from(args.moves) / 100;
    let batches = Batches { arrivals: count(u64::from(args.batch)), moves: count(moves) };
    let progress = Progress::counting(format, orders.iter().map(Vec::len).sum());
    for (file, order) in args.order.iter().zip(&orders) {
        progress.say(file.display().to_string());
        let began = Instant::now();
        let Packing { placed, rejected, moves, cells, decisions: _ } =
            berth_sim::pack::pack(&nodes, &pods, order, weighed, knowledge, batches, || progress.step());
        let (policy, seconds) = (policy.clone(), began.elapsed().as_secs_f64());
        let packed = Packed { policy, batch: args.batch, placed, rejected, moves, seconds, cells };
        format.show_line(&packed, |packed| text(file, packed))?;
    }
    progress.end();
    Ok(ExitCode::SUCCESS)
}

fn read<T>(path: &Path, read: impl FnOnce(File, &str) -> Result<T, TraceError>) -> anyhow::Result<T> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| failed(Status::Usage, format!("cannot read {name}: {error}")))?;
    read(file, &name).map_err(|error| failed(Status::Usage, error.to_string()))
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

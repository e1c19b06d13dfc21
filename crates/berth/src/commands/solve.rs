//! `berth solve`: min-cost flow problems in DIMACS files, from scratch and from one file to the next.
//!
//! What is timed is the solver alone, by the thread's processor time. Every answer is then certified by code
//! that shares nothing with the solver, against the file itself.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use berth_flow::{
    ArcId, Bound, Budget, ChangeError, CutSums, Follower, Instance, Network, NodeId, Outcome, Solution, certify,
    certify_cut, certify_cycle, dimacs,
};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::args::SolveArgs;
use crate::exit::{Status, failed};
use crate::output::{Format, table};

/// How much is read at once.
const BUFFER_BYTES: usize = 1 << 18;
/// The most nodes or arcs of a witness that a sentence names.
const NAMED: usize = 8;

/// What `--json` prints: one solve by itself, or that and those of the changed files.
#[derive(Serialize)]
#[serde(untagged)]
enum Solved<'a> {
    One(&'a Solve),
    Several(Followed<'a>),
}

/// With `--then`.
#[derive(Serialize)]
struct Followed<'a> {
    scratch: &'a Solve,
    /// The last of them.
    resolve: &'a Solve,
    /// All of them, where there are several.
    #[serde(skip_serializing_if = "<[Solve]>::is_empty")]
    resolves: &'a [Solve],
}

/// One solve.
#[derive(Serialize)]
struct Solve {
    status: &'static str,
    /// Absent where there is no optimum.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<i128>,
    cpu_ms: f64,
    steps: u64,
    /// How many changes were applied; absent from scratch.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<usize>,
    certified: bool,
    /// The nodes that prove that there is no flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    cut: Option<Vec<u32>>,
    /// The arcs that prove that there is no least cost, by their places among the file's arcs.
    #[serde(skip_serializing_if = "Option::is_none")]
    cycle: Option<Vec<u32>>,
    /// Where there is no optimum, or no proof of it.
    #[serde(skip)]
    trouble: Option<Trouble>,
}

/// Why a command that has done all it was asked for still fails.
enum Trouble {
    /// The problem has no optimum, and why.
    NoOptimum(String),
    /// The answer is not proven: the solver has a fault.
    NotProven(String),
}

/// Solves the file, then what the others make of it.
pub fn solve(args: &SolveArgs, format: Format) -> anyhow::Result<ExitCode> {
    check_streams(args)?;
    let mut instance = read(&args.file)?;
    let mut network = Network::from_instance(&instance).map_err(|error| refused(&args.file, &instance, error))?;
    let mut follower = Follower::new(&instance);
    let (outcome, cpu_ms) = timed(|| network.solve(Budget::UNLIMITED));
    let mut answer = answer(&instance, &network, &follower, outcome, cpu_ms);
    let mut solves = vec![answer.solve];
    for file in &args.then {
        let after = read(file)?;
        let changes = follower.follow(&instance, &after);
        let (outcome, cpu_ms) = timed(|| {
            for change in &changes {
                network.apply(change)?;
            }
            Ok(network.resolve(Budget::UNLIMITED))
        });
        let outcome = outcome.map_err(|error| refused(file, &after, error))?;
        instance = after;
        answer = self::answer(&instance, &network, &follower, outcome, cpu_ms);
        solves.push(Solve { changes: Some(changes.len()), ..answer.solve });
    }
    let last = solves.last().expect("there is at least one");
    if let (Some(path), Some(cost)) = (&args.flows, last.cost) {
        write_flows(path, &instance, &answer.flows, cost)?;
    }
    show(args, &solves, format)
}

/// Standard input is there once, and standard output has the figures.
fn check_streams(args: &SolveArgs) -> anyhow::Result<()> {
    let is_stream = |path: &&PathBuf| path.as_os_str() == "-";
    if std::iter::once(&args.file).chain(&args.then).filter(is_stream).count() > 1 {
        return Err(failed(Status::Usage, "standard input (`-`) can be one of the files only; name the others"));
    }
    if args.flows.iter().any(|path| is_stream(&path)) {
        return Err(failed(Status::Usage, "--flows writes a file, since standard output has the figures; name a file"));
    }
    Ok(())
}

/// The network's refusal, with the first place in the file where it says no.
fn refused(file: &Path, instance: &Instance, error: ChangeError) -> anyhow::Error {
    let mut network = Network::new();
    let node = instance.supplies.iter().position(|supply| network.add_node(*supply).is_err());
    let arc = |network: &mut Network| instance.arcs.iter().position(|arc| network.add_arc(*arc).is_err());
    let place = match (node, node.is_none().then(|| arc(&mut network)).flatten()) {
        (Some(node), _) => format!(": node {}", node + 1),
        (None, Some(at)) => {
            let arc = &instance.arcs[at];
            format!(": arc {} from node {} to node {}", at + 1, arc.tail.0 + 1, arc.head.0 + 1)
        }
        (None, None) => String::new(),
    };
    failed(Status::Usage, format!("{}{place}: {error}", file.display()))
}

fn read(path: &Path) -> anyhow::Result<Instance> {
    let wrong = |name: &str, error: anyhow::Error| failed(Status::Usage, format!("cannot read {name}: {error:#}"));
    if path.as_os_str() == "-" {
        let input = BufReader::with_capacity(BUFFER_BYTES, std::io::stdin().lock());
        return dimacs::read(input).map_err(|error| wrong("standard input", error.into()));
    }
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| wrong(&name, error.into()))?;
    dimacs::read(BufReader::with_capacity(BUFFER_BYTES, file)).map_err(|error| wrong(&name, error.into()))
}

fn write_flows(path: &Path, instance: &Instance, flows: &[i64], cost: i128) -> anyhow::Result<()> {
    let write = |file| dimacs::write_flow(instance, flows.iter().copied(), cost, BufWriter::new(file));
    let written = File::create(path).and_then(write);
    written.map_err(|error| failed(Status::Usage, format!("cannot write {}: {error}", path.display())))
}

/// What came of the work, and the milliseconds of processor time that it took.
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let nanoseconds = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        now.tv_sec * 1_000_000_000 + now.tv_nsec
    };
    let began = nanoseconds();
    let came = work();
    // Whole microseconds: more would be noise.
    let microseconds = (nanoseconds() - began) / 1000;
    (came, microseconds as f64 / 1000.0)
}

/// A solve with the flows of the file's arcs.
struct Answer {
    solve: Solve,
    flows: Vec<i64>,
}

fn answer(instance: &Instance, network: &Network, follower: &Follower, outcome: Outcome, cpu_ms: f64) -> Answer {
    let mut solution = network.solution();
    // From the network's order to the file's.
    let flow = |id: &ArcId| solution.flows.get(id.0 as usize).copied().unwrap_or_default();
    solution.flows = follower.arcs().iter().map(flow).collect();
    let none = |status, steps, trouble| Solve {
        status,
        cost: None,
        cpu_ms,
        steps,
        changes: None,
        certified: !matches!(trouble, Trouble::NotProven(_)),
        cut: None,
        cycle: None,
        trouble: Some(trouble),
    };
    let solve = match outcome {
        Outcome::Optimal { cost, steps } => {
            let trouble = not_optimal(instance, &solution, cost).map(Trouble::NotProven);
            let certified = trouble.is_none();
            let (changes, cut, cycle) = (None, None, None);
            Solve { status: "optimal", cost: Some(cost), cpu_ms, steps, changes, certified, cut, cycle, trouble }
        }
        Outcome::Infeasible { cut, steps } => {
            let trouble = match certify_cut(instance, &cut) {
                Ok(sums) => Trouble::NoOptimum(no_flow(instance, &cut, sums)),
                Err(refutation) => Trouble::NotProven(refutation.to_string()),
            };
            let nodes = cut.iter().map(|node| node.0 + 1).collect();
            Solve { cut: Some(nodes), ..none("infeasible", steps, trouble) }
        }
        Outcome::Unbounded { cycle, steps } => {
            let mut places: Vec<(ArcId, u32)> = follower.arcs().iter().copied().zip(0..).collect();
            places.sort_unstable();
            let place = |id| places.binary_search_by_key(&id, |(id, _)| *id).ok().map(|at| places[at].1);
            // What the network has and the file has not would refute it.
            let cycle: Vec<u32> = cycle.into_iter().map(|id| place(id).unwrap_or(u32::MAX - 1)).collect();
            let ids: Vec<ArcId> = cycle.iter().copied().map(ArcId).collect();
            let trouble = match certify_cycle(instance, &ids) {
                Ok(()) => Trouble::NoOptimum(no_minimum(instance, &cycle)),
                Err(refutation) => Trouble::NotProven(refutation.to_string()),
            };
            Solve { cycle: Some(cycle.iter().map(|place| place + 1).collect()), ..none("unbounded", steps, trouble) }
        }
        Outcome::Unfinished { unrouted, steps } => {
            let trouble = format!("{unrouted} units are left, though the work had no limit");
            none("unfinished", steps, Trouble::NotProven(trouble))
        }
    };
    Answer { solve, flows: solution.flows }
}

fn not_optimal(instance: &Instance, solution: &Solution, cost: i128) -> Option<String> {
    match certify(instance, solution) {
        Ok(certificate) if certificate.cost == cost => None,
        Ok(certificate) => Some(format!("the flow costs {}, and {cost} was told", certificate.cost)),
        Err(refutation) => Some(refutation.to_string()),
    }
}

fn no_flow(instance: &Instance, cut: &[NodeId], sums: CutSums) -> String {
    let CutSums { supply, least, most } = sums;
    if cut.len() == instance.supplies.len() {
        return format!("there is no flow: all supplies together are {supply}, and must be 0");
    }
    let nodes = named(cut.iter().map(|node| (node.0 + 1).to_string()), cut.len());
    let (who, them) = match cut {
        [_] => (format!("node {nodes} supplies {supply}"), "it"),
        [..] => (format!("the nodes {nodes} supply {supply} together"), "them"),
    };
    let bound = match (least, most) {
        (_, Bound::At(most)) if supply > most => format!("at most {most} can leave {them}"),
        (least, _) => format!("at least {least} must leave {them}"),
    };
    format!("there is no flow: {who}, and {bound}")
}

fn no_minimum(instance: &Instance, cycle: &[u32]) -> String {
    let arcs = cycle.iter().map(|place| &instance.arcs[*place as usize]);
    let cost: i128 = arcs.clone().map(|arc| i128::from(arc.cost)).sum();
    let nodes = named(arcs.map(|arc| (arc.tail.0 + 1).to_string()), cycle.len());
    format!("there is no least cost: the arcs around the nodes {nodes} have no capacity and cost {cost} together")
}

/// The first of many.
fn named(all: impl Iterator<Item = String>, count: usize) -> String {
    let some: Vec<String> = all.take(NAMED).collect();
    let more = count - some.len();
    some.join(", ") + &if more == 0 { String::new() } else { format!(" and {more} more") }
}

fn show(args: &SolveArgs, solves: &[Solve], format: Format) -> anyhow::Result<ExitCode> {
    let solved = match solves {
        [one] => Solved::One(one),
        [scratch, resolve] => Solved::Several(Followed { scratch, resolve, resolves: &[] }),
        [scratch, .., resolve] => Solved::Several(Followed { scratch, resolve, resolves: &solves[1..] }),
        [] => unreachable!("there is at least one"),
    };
    let files = || std::iter::once(&args.file).chain(&args.then);
    let row = |(file, solve): (&PathBuf, &Solve)| {
        let number = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
        [
            file.display().to_string(),
            solve.status.to_owned(),
            number(solve.cost.map(|cost| cost.to_string())),
            format!("{:.3}", solve.cpu_ms),
            solve.steps.to_string(),
            number(solve.changes.map(|changes| changes.to_string())),
            if solve.certified { "yes" } else { "NO" }.to_owned(),
        ]
    };
    let columns = ["FILE", "STATUS", "COST", "CPU MS", "STEPS", "CHANGES", "CERTIFIED"];
    format.show_line(&solved, |_| table(columns, files().zip(solves).map(row)))?;
    for (file, solve) in files().zip(solves) {
        let name = file.display();
        match &solve.trouble {
            Some(Trouble::NotProven(why)) => anyhow::bail!("{name}: the answer is wrong, report it: {why}"),
            Some(Trouble::NoOptimum(why)) => return Err(failed(Status::NotReached, format!("{name}: {why}"))),
            None => {}
        }
    }
    Ok(ExitCode::SUCCESS)
}

//! `berth solve`: min-cost flow problems in DIMACS files, from scratch and from one file to the next.
//!
//! What is timed is the solver alone, by the thread's processor time. Every answer is then certified by code
//! that shares nothing with the solver, against the file itself, which is read again for it.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use berth_flow::{
    Arc, ArcId, Bound, Budget, ChangeError, CutSums, Follower, Instance, Network, NodeId, Outcome, Problem, Solution,
    certify, certify_cut, certify_cycle, dimacs,
};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use self::source::Source;
use crate::args::SolveArgs;
use crate::exit::{Status, failed};
use crate::output::{Format, table};

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
    let (mut source, mut network) = Source::open(&args.file)?;
    let (outcome, cpu_ms) = timed(|| network.solve(Budget::UNLIMITED));
    // Without other files the network makes room for the certificate.
    let (mut solution, followed) = if args.then.is_empty() {
        (network.into_solution(), None)
    } else {
        (network.solution(), Some((Follower::new(&network), network)))
    };
    let mut solves = vec![answer(&source, &solution, outcome, cpu_ms)?];
    if let Some((mut follower, mut network)) = followed {
        for file in &args.then {
            let (next, after) = Source::read(file)?;
            let changes = follower.follow(&network, &after);
            let (outcome, cpu_ms) = timed(|| {
                for change in &changes {
                    network.apply(change)?;
                }
                Ok(network.resolve(Budget::UNLIMITED))
            });
            let outcome = outcome.map_err(|error| refused(&next.name(), &after, error))?;
            source = next;
            solution = in_the_files_order(network.solution(), &follower);
            let answer = answer(&source, &solution, in_places(outcome, &follower), cpu_ms)?;
            solves.push(Solve { changes: Some(changes.len()), ..answer });
        }
    }
    let last = solves.last().expect("there is at least one");
    if let (Some(path), Some(cost)) = (&args.flows, last.cost) {
        write_flows(path, &source, &solution.flows, cost)?;
    }
    show(args, &solves, format)
}

/// The solution by the places of the file's arcs. Its nodes are numbered as the network's are.
fn in_the_files_order(solution: Solution, follower: &Follower) -> Solution {
    let flow = |id: &ArcId| solution.flows.get(id.0 as usize).copied().unwrap_or_default();
    Solution { flows: follower.arcs().iter().map(flow).collect(), prices: solution.prices }
}

/// The outcome by the places of the file's arcs.
fn in_places(outcome: Outcome, follower: &Follower) -> Outcome {
    let Outcome::Unbounded { cycle, steps } = outcome else { return outcome };
    let mut places: Vec<(ArcId, u32)> = follower.arcs().iter().copied().zip(0..).collect();
    places.sort_unstable();
    let place = |id| places.binary_search_by_key(&id, |(id, _)| *id).ok().map(|at| places[at].1);
    // What the network has and the file has not would refute it.
    let cycle = cycle.into_iter().map(|id| ArcId(place(id).unwrap_or(u32::MAX - 1))).collect();
    Outcome::Unbounded { cycle, steps }
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
fn refused(file: &str, instance: &Instance, error: ChangeError) -> anyhow::Error {
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
    failed(Status::Usage, format!("{file}{place}: {error}"))
}

fn write_flows(path: &Path, source: &Source, flows: &[i64], cost: i128) -> anyhow::Result<()> {
    if source.is_at(path) {
        let problem = format!("--flows {} would overwrite the problem; name another file", path.display());
        return Err(failed(Status::Usage, problem));
    }
    let arcs = source.arcs().map(|(_, arc)| arc);
    let write = |file| dimacs::write_flow(arcs, flows.iter().copied(), cost, BufWriter::new(file));
    let written = File::create(path).and_then(write);
    written.map_err(|error| failed(Status::Usage, format!("cannot write {}: {error}", path.display())))?;
    source.check()
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

/// A solve with its proof, for which the file is read again.
fn answer(source: &Source, solution: &Solution, outcome: Outcome, cpu_ms: f64) -> anyhow::Result<Solve> {
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
            let trouble = not_optimal(source, solution, cost).map(Trouble::NotProven);
            let certified = trouble.is_none();
            let (changes, cut, cycle) = (None, None, None);
            Solve { status: "optimal", cost: Some(cost), cpu_ms, steps, changes, certified, cut, cycle, trouble }
        }
        Outcome::Infeasible { cut, steps } => {
            let trouble = match certify_cut(source, &cut) {
                Ok(sums) => Trouble::NoOptimum(no_flow(source, &cut, sums)),
                Err(refutation) => Trouble::NotProven(refutation.to_string()),
            };
            let nodes = cut.iter().map(|node| node.0 + 1).collect();
            Solve { cut: Some(nodes), ..none("infeasible", steps, trouble) }
        }
        Outcome::Unbounded { cycle, steps } => {
            let trouble = match certify_cycle(source, &cycle) {
                Ok(()) => Trouble::NoOptimum(no_minimum(source, &cycle)),
                Err(refutation) => Trouble::NotProven(refutation.to_string()),
            };
            Solve { cycle: Some(cycle.iter().map(|arc| arc.0 + 1).collect()), ..none("unbounded", steps, trouble) }
        }
        Outcome::Unfinished { unrouted, steps } => {
            let trouble = format!("{unrouted} units are left, though the work had no limit");
            none("unfinished", steps, Trouble::NotProven(trouble))
        }
    };
    source.check()?;
    Ok(solve)
}

fn not_optimal(source: &Source, solution: &Solution, cost: i128) -> Option<String> {
    match certify(source, solution) {
        Ok(certificate) if certificate.cost == cost => None,
        Ok(certificate) => Some(format!("the flow costs {}, and {cost} was told", certificate.cost)),
        Err(refutation) => Some(refutation.to_string()),
    }
}

fn no_flow(source: &Source, cut: &[NodeId], sums: CutSums) -> String {
    let CutSums { supply, least, most } = sums;
    if cut.len() == source.node_count() {
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

fn no_minimum(source: &Source, cycle: &[ArcId]) -> String {
    let on_cycle: BTreeSet<&ArcId> = cycle.iter().collect();
    let found: BTreeMap<ArcId, Arc> = source.arcs().filter(|(id, _)| on_cycle.contains(id)).collect();
    let arcs = cycle.iter().filter_map(|id| found.get(id));
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

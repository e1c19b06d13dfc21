//! Measures a network that lives long: a thousand rounds of ends and arrivals, each repaired and certified, every fiftieth
//! compared with a solve from scratch. Prints one line of JSON.
//!
//! ```text
//! churn MACHINES PER_CENT [ROUNDS]
//! churn 12500 90
//! ```
#![expect(clippy::disallowed_methods, reason = "a program of its own, beside the pure crate")]

#[path = "../generate/random.rs"]
#[expect(dead_code, reason = "the generator uses the rest")]
mod random;
mod world;

use std::process::ExitCode;

use berth_flow::{Budget, Problem};
use rustix::time::{ClockId, clock_gettime};
use world::{Against, Shape, World};

/// Machines in a rack, and tasks on a machine.
const RACK: u32 = 40;
const SLOTS: u32 = 12;
/// Tasks that end in a round, and tasks that arrive.
const CHURN: usize = 100;

/// The thread's processor time.
fn microseconds() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    (now.tv_sec * 1_000_000 + now.tv_nsec / 1000).unsigned_abs()
}

/// What some rounds took together.
#[derive(Default)]
struct Sum {
    microseconds: u64,
    steps: u64,
}

fn sum(rounds: &[Sum]) -> Sum {
    let (mut microseconds, mut steps) = (0, 0);
    for round in rounds {
        microseconds += round.microseconds;
        steps += round.steps;
    }
    Sum { microseconds, steps }
}

fn run(machines: u32, util: u64, rounds: usize) -> String {
    let shape = Shape { machines, racks: machines.div_ceil(RACK), slots: SLOTS };
    let mut world = World::new(shape, shape.tasks(util), 1);
    world.network.solve(Budget::UNLIMITED);
    let arcs = world.network.arcs().count();
    let mut took = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let began = microseconds();
        world.churn(CHURN);
        let steps = world.resolve();
        took.push(Sum { microseconds: microseconds() - began, steps });
        world.check(if round % 50 == 0 { Against::Scratch } else { Against::Certificate });
    }
    let share = (rounds / 10).max(1);
    let (first, last) = (sum(&took[..share]), sum(&took[rounds - share..]));
    let mean = |sum: &Sum| sum.microseconds / share as u64;
    format!(
        "{{\"arcs\":{arcs},\"rounds\":{rounds},\"compared\":{share},\"first_us\":{},\"last_us\":{},\"first_steps\":{},\"last_steps\":{}}}",
        mean(&first),
        mean(&last),
        first.steps / share as u64,
        last.steps / share as u64,
    )
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Option<Vec<u32>> = args.iter().map(|arg| arg.parse().ok().filter(|number| *number > 0)).collect();
    let line = match numbers.as_deref() {
        Some(&[machines, util]) => run(machines, util.into(), 1000),
        Some(&[machines, util, rounds]) => run(machines, util.into(), rounds as usize),
        _ => {
            eprintln!("usage: churn MACHINES PER_CENT [ROUNDS]");
            return ExitCode::from(2);
        }
    };
    println!("{line}");
    ExitCode::SUCCESS
}

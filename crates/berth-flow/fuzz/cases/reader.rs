//! Bytes as a DIMACS file: a problem or an error, the same however the file comes in pieces; and a small problem has
//! an answer with a proof.

use std::error::Error as _;
use std::io::BufReader;

use berth_flow::{Budget, Instance, Network, Outcome, certify, certify_cut, certify_cycle, dimacs};

/// Larger problems are not written and solved: what that takes is known.
const MOST: usize = 200;

/// Panics where the reader breaks a promise.
pub fn run(bytes: &[u8]) {
    let whole = dimacs::read(bytes);
    let size = 1 + bytes.first().map_or(0, |byte| usize::from(*byte) % 40);
    match (&whole, &dimacs::read(BufReader::with_capacity(size, bytes))) {
        (Ok(instance), Ok(_)) if instance.supplies.len() > MOST => {}
        (Ok(instance), Ok(other)) => {
            assert_eq!(instance, other);
            is_read_again(instance);
            is_solved(instance);
        }
        (Err(error), Err(other)) => {
            assert_eq!(told(error), told(other));
            has_a_place(error, bytes);
        }
        (whole, cut) => panic!("{whole:?} in one piece, {cut:?} in pieces of {size}"),
    }
}

fn told(error: &dimacs::ReadError) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

fn has_a_place(error: &dimacs::ReadError, bytes: &[u8]) {
    use dimacs::ReadError::{ArcsMissing, Line, NoHeader, Read};
    let lines = bytes.split(|byte| *byte == b'\n').count() as u64;
    match error {
        Line { line, .. } => assert!((1..=lines).contains(line), "line {line} of {lines}"),
        NoHeader { line } | ArcsMissing { line, .. } => assert!(*line <= lines, "line {line} of {lines}"),
        Read { .. } => panic!("bytes do not fail to be read"),
    }
    let told = told(error);
    assert!(told.len() < 400 && !told.contains(|letter: char| letter.is_control()), "{told:?}");
}

fn is_read_again(instance: &Instance) {
    let mut text = Vec::new();
    dimacs::write(instance, &mut text).expect("memory takes everything");
    assert_eq!(&dimacs::read(&text[..]).expect("what was written"), instance);
}

fn is_solved(instance: &Instance) {
    if instance.arcs.len() > MOST {
        return;
    }
    let Ok(mut network) = Network::from_instance(instance) else { return };
    match network.solve(Budget::UNLIMITED) {
        Outcome::Optimal { cost, .. } => {
            assert_eq!(certify(instance, &network.solution()).map(|proof| proof.cost), Ok(cost));
        }
        Outcome::Infeasible { cut, .. } => drop(certify_cut(instance, &cut).expect("a proof")),
        Outcome::Unbounded { cycle, .. } => certify_cycle(instance, &cycle).expect("a proof"),
        Outcome::Unfinished { unrouted, steps } => panic!("{unrouted} units left after {steps} steps without a limit"),
    }
}

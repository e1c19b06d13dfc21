//! Writes problems and flows.

use std::io::{self, Write};

use crate::problem::{Arc, Instance, UNLIMITED};

/// Writes a problem in the DIMACS format. Reading it again gives the same instance. `out` is best buffered.
///
/// # Errors
/// Where `out` fails.
pub fn write(instance: &Instance, mut out: impl Write) -> io::Result<()> {
    writeln!(out, "p min {} {}", instance.supplies.len(), instance.arcs.len())?;
    for (node, supply) in (1_u64..).zip(&instance.supplies) {
        if *supply != 0 {
            writeln!(out, "n {node} {supply}")?;
        }
    }
    for arc in &instance.arcs {
        let (tail, head) = (u64::from(arc.tail.0) + 1, u64::from(arc.head.0) + 1);
        // The number that other readers know, where it cannot be meant as such.
        let capacity = if arc.capacity == UNLIMITED && arc.lower >= 0 { -1 } else { arc.capacity };
        writeln!(out, "a {tail} {head} {} {capacity} {}", arc.lower, arc.cost)?;
    }
    out.flush()
}

/// Writes a flow in the DIMACS format: `s COST`, then a line `f TAIL HEAD FLOW` for each arc, in the order of
/// the arcs, also where nothing flows: only its place tells an arc from its parallels. `flows` are those of
/// the arcs, in the same order; `arcs` are those of the problem. `out` is best buffered.
///
/// # Errors
/// Where `out` fails.
pub fn write_flow(
    arcs: impl IntoIterator<Item = Arc>,
    flows: impl IntoIterator<Item = i64>,
    cost: i128,
    mut out: impl Write,
) -> io::Result<()> {
    writeln!(out, "s {cost}")?;
    for (arc, flow) in arcs.into_iter().zip(flows) {
        writeln!(out, "f {} {} {flow}", u64::from(arc.tail.0) + 1, u64::from(arc.head.0) + 1)?;
    }
    out.flush()
}

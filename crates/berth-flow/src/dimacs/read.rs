//! Reads a problem.

use std::io::BufRead;

use crate::dimacs::error::{Field, LineError, ReadError};
use crate::dimacs::lines::{Fields, each_line, shown};
use crate::problem::{Arc, Instance, NodeId, UNLIMITED};

/// The most bytes of a line, without its end.
pub const MAX_LINE_BYTES: usize = 65_536;
/// The most nodes of a problem.
pub const MAX_NODES: u32 = 1 << 26;
/// The most arcs of a problem.
pub const MAX_ARCS: u32 = 1 << 31;
/// Arcs for which memory is taken before the first one is read.
const FIRST_ARCS: usize = 1 << 12;

/// Reads a problem in the DIMACS format, as the [module](crate::dimacs) describes it.
///
/// The file passes by once, in the reader's own pieces; what is kept is the instance, without slack.
///
/// # Errors
/// The first line that is wrong, with what was expected there and what was found.
pub fn read(reader: impl BufRead) -> Result<Instance, ReadError> {
    let mut problem: Option<Begun> = None;
    let line = each_line(reader, MAX_LINE_BYTES, |line, text| take(&mut problem, line, text))?;
    let problem = problem.ok_or(ReadError::NoHeader { line })?;
    let found = problem.instance.arcs.len();
    if found < problem.declared_arcs {
        return Err(ReadError::ArcsMissing { declared: problem.declared_arcs as u64, found: found as u64, line });
    }
    Ok(problem.instance)
}

/// A problem from its header on.
struct Begun {
    header_line: u64,
    declared_arcs: usize,
    instance: Instance,
    /// A bit per node: whether its `n` line was there.
    supplied: Vec<u64>,
}

fn take(problem: &mut Option<Begun>, line: u64, text: &[u8]) -> Result<(), LineError> {
    let mut fields = Fields::new(text);
    let Some(kind) = fields.next() else { return Ok(()) };
    match (kind, problem) {
        (b"a", Some(problem)) => problem.arc(fields),
        (b"n", Some(problem)) => problem.supply(fields),
        (b"p", problem @ None) => {
            *problem = Some(Begun::from_header(line, fields)?);
            Ok(())
        }
        (b"p", Some(problem)) => Err(LineError::SecondHeader { first: problem.header_line }),
        ([kind @ (b'a' | b'n')], None) => Err(LineError::BeforeHeader { kind: char::from(*kind) }),
        // A comment needs no space after its letter in files that are about.
        ([b'c', ..], _) => Ok(()),
        _ => Err(LineError::Kind { found: shown(kind) }),
    }
}

impl Begun {
    fn from_header(line: u64, mut fields: Fields<'_>) -> Result<Begun, LineError> {
        let kind = fields.next().ok_or(LineError::FieldMissing { field: Field::ProblemKind })?;
        if kind != b"min" {
            return Err(LineError::ProblemKind { found: shown(kind) });
        }
        let nodes = fields.number(Field::NodeCount, 0, i64::from(MAX_NODES))? as usize;
        let declared_arcs = fields.number(Field::ArcCount, 0, i64::from(MAX_ARCS))? as usize;
        fields.end()?;
        // Zeros that nobody has touched take no memory yet.
        let instance = Instance { supplies: vec![0; nodes], arcs: Vec::new() };
        Ok(Begun { header_line: line, declared_arcs, instance, supplied: vec![0; nodes.div_ceil(64)] })
    }

    fn node(&self, fields: &mut Fields<'_>, field: Field) -> Result<u32, LineError> {
        let number = fields.number(field, 1, self.instance.supplies.len() as i64)?;
        Ok((number - 1) as u32)
    }

    fn supply(&mut self, mut fields: Fields<'_>) -> Result<(), LineError> {
        let node = self.node(&mut fields, Field::Node)?;
        let supply = fields.number(Field::Supply, i64::MIN, i64::MAX)?;
        fields.end()?;
        let (word, bit) = (node as usize / 64, 1 << (node % 64));
        if self.supplied[word] & bit != 0 {
            return Err(LineError::SupplyRepeated { node: node + 1 });
        }
        self.supplied[word] |= bit;
        self.instance.supplies[node as usize] = supply;
        Ok(())
    }

    fn arc(&mut self, mut fields: Fields<'_>) -> Result<(), LineError> {
        let tail = NodeId(self.node(&mut fields, Field::Tail)?);
        let head = NodeId(self.node(&mut fields, Field::Head)?);
        let lower = fields.number(Field::Lower, i64::MIN, i64::MAX)?;
        let capacity = fields.number(Field::Capacity, i64::MIN, i64::MAX)?;
        let cost = fields.number(Field::Cost, i64::MIN, i64::MAX)?;
        fields.end()?;
        let capacity = if capacity == -1 && lower >= 0 { UNLIMITED } else { capacity };
        if capacity < lower {
            let remedy = if lower >= 0 { -1 } else { UNLIMITED };
            return Err(LineError::BoundsCrossed { lower, capacity, remedy });
        }
        self.make_room()?;
        self.instance.arcs.push(Arc { tail, head, lower, capacity, cost });
        Ok(())
    }

    /// Doubles what is there, up to what the header says: an honest file ends with no slack, and a header
    /// that promises too much takes no memory.
    fn make_room(&mut self) -> Result<(), LineError> {
        let arcs = &mut self.instance.arcs;
        if arcs.len() == self.declared_arcs {
            return Err(LineError::ArcsExtra { declared: self.declared_arcs as u64 });
        }
        if arcs.len() == arcs.capacity() {
            let wanted = arcs.len().max(FIRST_ARCS).min(self.declared_arcs - arcs.len());
            arcs.reserve_exact(wanted);
        }
        Ok(())
    }
}

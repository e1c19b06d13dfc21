//! Reads a problem, item by item or as a whole.

use std::io::BufRead;

use crate::dimacs::error::{Field, LineError, ReadError};
use crate::dimacs::lines::{Fields, Lines, shown};
use crate::error::ChangeError;
use crate::network::Network;
use crate::problem::{Arc, Instance, NodeId, UNLIMITED};

/// The most bytes of a line, without its end.
pub const MAX_LINE_BYTES: usize = 65_536;
/// The most nodes of a problem.
pub const MAX_NODES: u32 = 1 << 26;
/// The most arcs of a problem.
pub const MAX_ARCS: u32 = 1 << 31;
/// The fewest bytes of an `a` line.
const LEAST_ARC_BYTES: u64 = "a 1 1 0 1 1\n".len() as u64;

/// What a line says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item {
    /// How many nodes and arcs there are: the first item of all.
    Size {
        /// The number of nodes.
        nodes: usize,
        /// The number of arcs.
        arcs: usize,
    },
    /// The supply of a node; 0 where nothing is said of it.
    Supply {
        /// The node.
        node: NodeId,
        /// Its supply.
        supply: i64,
    },
    /// The next arc.
    Arc(Arc),
}

/// The items of a file, in its order, and at the end an error if something is wrong. The file passes by once, in the
/// reader's own pieces, and nothing is kept of it but which nodes had their `n` line.
pub struct Items<R> {
    lines: Lines<R>,
    begun: Option<Begun>,
    is_over: bool,
}

/// A problem from its header on.
struct Begun {
    header_line: u64,
    nodes: usize,
    declared_arcs: usize,
    found_arcs: usize,
    /// A bit per node: whether its `n` line was there.
    supplied: Vec<u64>,
}

/// Reads a problem in the DIMACS format, as the [module](crate::dimacs) describes it, item by item.
pub fn items<R: BufRead>(reader: R) -> Items<R> {
    Items { lines: Lines::new(reader, MAX_LINE_BYTES), begun: None, is_over: false }
}

/// Reads a problem in the DIMACS format, as the [module](crate::dimacs) describes it.
///
/// # Errors
/// The first line that is wrong, with what was expected there and what was found.
pub fn read(reader: impl BufRead) -> Result<Instance, ReadError> {
    let mut instance = Instance::default();
    for item in items(reader) {
        match item? {
            // Zeros that nobody has touched take no memory yet.
            Item::Size { nodes, .. } => instance.supplies = vec![0; nodes],
            Item::Supply { node, supply } => instance.supplies[node.index()] = supply,
            Item::Arc(arc) => instance.arcs.push(arc),
        }
    }
    instance.arcs.shrink_to_fit();
    Ok(instance)
}

/// Reads a problem in the DIMACS format straight into a network: that of [`Network::from_instance`], without the memory
/// for the instance. For a reader of so many bytes, room is made at once.
///
/// # Errors
/// The first line that is wrong, or whose node or arc the network refuses.
pub fn read_network(reader: impl BufRead, bytes: Option<u64>) -> Result<Network, ReadError> {
    let mut items = items(reader);
    let mut network = Network::new();
    let mut declared = 0;
    while let Some(item) = items.next() {
        let taken = match item? {
            Item::Size { nodes, arcs } => {
                declared = nodes;
                let most = bytes.map_or(0, |bytes| (bytes / LEAST_ARC_BYTES) as usize);
                network.reserve(nodes.min(2 * most), arcs.min(most));
                Ok(())
            }
            item => take_in(&mut network, item),
        };
        taken.map_err(|error| items.refused(error))?;
    }
    network.grow_to(declared).map_err(|error| items.refused(error))?;
    network.list_arcs();
    Ok(network)
}

/// Nodes come as far as they are needed: a header that promises too many takes no memory until the file is whole.
fn take_in(network: &mut Network, item: Item) -> Result<(), ChangeError> {
    match item {
        Item::Size { .. } => Ok(()),
        Item::Supply { node, supply } => {
            network.grow_to(node.index() + 1)?;
            network.set_supply(node, supply)
        }
        Item::Arc(arc) => {
            network.grow_to(arc.tail.max(arc.head).index() + 1)?;
            network.add_arc(arc).map(drop)
        }
    }
}

impl<R: BufRead> Iterator for Items<R> {
    type Item = Result<Item, ReadError>;

    fn next(&mut self) -> Option<Result<Item, ReadError>> {
        if self.is_over {
            return None;
        }
        let item = self.read_on().transpose();
        self.is_over = !matches!(item, Some(Ok(_)));
        item
    }
}

impl<R: BufRead> Items<R> {
    fn refused(&self, error: ChangeError) -> ReadError {
        ReadError::Line { line: self.lines.line(), source: LineError::Refused(error) }
    }

    fn read_on(&mut self) -> Result<Option<Item>, ReadError> {
        loop {
            match self.lines.next(|line, text| take(&mut self.begun, line, text))? {
                Some(Some(item)) => return Ok(Some(item)),
                Some(None) => {}
                None => return self.end().map(|()| None),
            }
        }
    }

    fn end(&self) -> Result<(), ReadError> {
        let line = self.lines.line();
        let Some(begun) = &self.begun else { return Err(ReadError::NoHeader { line }) };
        if begun.found_arcs < begun.declared_arcs {
            let (declared, found) = (begun.declared_arcs as u64, begun.found_arcs as u64);
            return Err(ReadError::ArcsMissing { declared, found, line });
        }
        Ok(())
    }
}

fn take(begun: &mut Option<Begun>, line: u64, text: &[u8]) -> Result<Option<Item>, LineError> {
    let mut fields = Fields::new(text);
    let Some(kind) = fields.next() else { return Ok(None) };
    match (kind, begun) {
        (b"a", Some(begun)) => begun.arc(fields).map(Some),
        (b"n", Some(begun)) => begun.supply(fields).map(Some),
        (b"p", begun @ None) => {
            let header = Begun::from_header(line, fields)?;
            let size = Item::Size { nodes: header.nodes, arcs: header.declared_arcs };
            *begun = Some(header);
            Ok(Some(size))
        }
        (b"p", Some(begun)) => Err(LineError::SecondHeader { first: begun.header_line }),
        ([kind @ (b'a' | b'n')], None) => Err(LineError::BeforeHeader { kind: char::from(*kind) }),
        // A comment needs no space after its letter in files that are about.
        ([b'c', ..], _) => Ok(None),
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
        Ok(Begun { header_line: line, nodes, declared_arcs, found_arcs: 0, supplied: vec![0; nodes.div_ceil(64)] })
    }

    fn node(&self, fields: &mut Fields<'_>, field: Field) -> Result<NodeId, LineError> {
        let number = fields.number(field, 1, self.nodes as i64)?;
        Ok(NodeId((number - 1) as u32))
    }

    fn supply(&mut self, mut fields: Fields<'_>) -> Result<Item, LineError> {
        let node = self.node(&mut fields, Field::Node)?;
        let supply = fields.number(Field::Supply, i64::MIN, i64::MAX)?;
        fields.end()?;
        let (word, bit) = (node.index() / 64, 1 << (node.index() % 64));
        if self.supplied[word] & bit != 0 {
            return Err(LineError::SupplyRepeated { node: node.0 + 1 });
        }
        self.supplied[word] |= bit;
        Ok(Item::Supply { node, supply })
    }

    fn arc(&mut self, mut fields: Fields<'_>) -> Result<Item, LineError> {
        let tail = self.node(&mut fields, Field::Tail)?;
        let head = self.node(&mut fields, Field::Head)?;
        let lower = fields.number(Field::Lower, i64::MIN, i64::MAX)?;
        let capacity = fields.number(Field::Capacity, i64::MIN, i64::MAX)?;
        let cost = fields.number(Field::Cost, i64::MIN, i64::MAX)?;
        fields.end()?;
        let capacity = if capacity == -1 && lower >= 0 { UNLIMITED } else { capacity };
        if capacity < lower {
            let remedy = if lower >= 0 { -1 } else { UNLIMITED };
            return Err(LineError::BoundsCrossed { lower, capacity, remedy });
        }
        if self.found_arcs == self.declared_arcs {
            return Err(LineError::ArcsExtra { declared: self.declared_arcs as u64 });
        }
        self.found_arcs += 1;
        Ok(Item::Arc(Arc { tail, head, lower, capacity, cost }))
    }
}

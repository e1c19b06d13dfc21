//! What is wrong with a file, and where.

use std::{fmt, io};

use thiserror::Error;

use crate::error::ChangeError;

/// A file that cannot be read as a problem.
#[derive(Debug, Error)]
pub enum ReadError {
    /// Reading itself failed.
    #[error("cannot read on after line {line}")]
    Read {
        /// The last whole line before it.
        line: u64,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// A line is wrong.
    #[error("line {line}")]
    Line {
        /// Which one, from 1.
        line: u64,
        /// What is wrong with it.
        #[source]
        source: LineError,
    },
    /// There is no `p` line.
    #[error("expected a line `p min NODES ARCS`, found the end of the file after line {line}")]
    NoHeader {
        /// The last line.
        line: u64,
    },
    /// The file ends too early.
    #[error(
        "expected {declared} arcs as the `p` line says, found {found} before the end of the file after line {line}"
    )]
    ArcsMissing {
        /// The number of arcs that the header says.
        declared: u64,
        /// The number of arcs that there are.
        found: u64,
        /// The last line.
        line: u64,
    },
}

/// What is wrong with a line: what was expected there, and what was found.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum LineError {
    /// A line without an end.
    #[error("expected a line end within {limit} bytes, found none")]
    TooLong {
        /// The most bytes that a line may have.
        limit: usize,
    },
    /// A line of no known kind.
    #[error("expected a line that begins with `c`, `p`, `n` or `a`, found `{found}`")]
    Kind {
        /// How it begins.
        found: String,
    },
    /// A problem of another kind.
    #[error("expected the kind of problem `min`, found `{found}`")]
    ProblemKind {
        /// The kind, such as `max`.
        found: String,
    },
    /// A line that ends too early.
    #[error("expected {field}, found the end of the line")]
    FieldMissing {
        /// The first field that is not there.
        field: Field,
    },
    /// A field that is no number, or none that is possible there.
    #[error("expected {field}, a whole number from {least} to {greatest}, found `{found}`")]
    FieldWrong {
        /// The field.
        field: Field,
        /// The least number that it may be.
        least: i64,
        /// The greatest number that it may be.
        greatest: i64,
        /// What it is.
        found: String,
    },
    /// A line with too much on it.
    #[error("expected the end of the line, found `{found}`")]
    FieldExtra {
        /// The first field that is too much.
        found: String,
    },
    /// A second `p` line.
    #[error("expected one `p` line, found another after that of line {first}")]
    SecondHeader {
        /// Where the first one is.
        first: u64,
    },
    /// A line for which the header is needed.
    #[error("expected a line `p min NODES ARCS` first, found a line `{kind}`")]
    BeforeHeader {
        /// `n` or `a`.
        kind: char,
    },
    /// A second supply for a node.
    #[error("expected one `n` line for each node, found another for node {node}")]
    SupplyRepeated {
        /// The node, as the file numbers it.
        node: u32,
    },
    /// More arcs than promised.
    #[error("expected {declared} arcs as the `p` line says, found one more")]
    ArcsExtra {
        /// The number of arcs that the header says.
        declared: u64,
    },
    /// No flow fits.
    #[error(
        "expected a capacity of at least the lower bound {lower}, found {capacity}; for an arc without a limit \
         write {remedy}"
    )]
    BoundsCrossed {
        /// The lower bound.
        lower: i64,
        /// The capacity.
        capacity: i64,
        /// The capacity that means no limit there.
        remedy: i64,
    },
    /// A line that a network does not take.
    #[error("{0}")]
    Refused(ChangeError),
}

/// A number on a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// `min`, on the `p` line.
    ProblemKind,
    /// On the `p` line.
    NodeCount,
    /// On the `p` line.
    ArcCount,
    /// On an `n` line.
    Node,
    /// On an `n` line.
    Supply,
    /// On an `a` line.
    Tail,
    /// On an `a` line.
    Head,
    /// On an `a` line.
    Lower,
    /// On an `a` line.
    Capacity,
    /// On an `a` line.
    Cost,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Field::ProblemKind => "the kind of problem",
            Field::NodeCount => "the number of nodes",
            Field::ArcCount => "the number of arcs",
            Field::Node => "a node",
            Field::Supply => "its supply",
            Field::Tail => "the arc's tail",
            Field::Head => "the arc's head",
            Field::Lower => "its lower bound",
            Field::Capacity => "its capacity",
            Field::Cost => "its cost",
        })
    }
}

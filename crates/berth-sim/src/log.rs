//! What happened in a simulation: a digest of all of it, and the last lines in full.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};

/// Lines that are kept in full, for a failure to tell.
const KEPT: usize = 40;

/// The log of one simulation.
#[derive(Debug)]
pub(crate) struct Log {
    digest: u64,
    lines: u64,
    last: VecDeque<String>,
}

impl Log {
    /// A log without lines.
    pub(crate) fn new() -> Log {
        Log { digest: 0xcbf2_9ce4_8422_2325, lines: 0, last: VecDeque::new() }
    }

    /// Adds a line.
    pub(crate) fn line(&mut self, now: u64, what: fmt::Arguments<'_>) {
        let mut line = if self.last.len() >= KEPT { self.last.pop_front().unwrap_or_default() } else { String::new() };
        line.clear();
        write!(line, "{:>8}.{:03} {what}", now / 1000, now % 1000).expect("writing to a string does not fail");
        for byte in line.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.lines += 1;
        self.last.push_back(line);
    }

    /// A digest (FNV-1a) of every line.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    /// How many lines there were.
    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    /// The last lines, oldest first.
    pub(crate) fn last(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}

//! What tasks write: framed, rotated files, one chain per task of an allocation.
//!
//! A shim writes (`writer`), an agent reads (`reader`); they share nothing but the files and their
//! format (`frame`). Nothing here interprets what a task says.

pub(crate) mod frame;
pub(crate) mod reader;
pub(crate) mod writer;

use std::fs;
use std::path::Path;

pub use frame::{LogRecord, LogStream};
pub use reader::{LogFrom, LogQuery};

#[cfg(test)]
mod tests;

/// The file with the number `number` of a task's chain.
fn file_name(task: &str, number: u64) -> String {
    format!("{task}.{number}.log")
}

/// The numbers of a task's files, ascending.
fn numbers(dir: &Path, task: &str) -> Vec<u64> {
    let names = fs::read_dir(dir).into_iter().flatten().flatten().filter_map(|e| e.file_name().into_string().ok());
    let mut numbers: Vec<u64> = names
        .filter_map(|name| name.strip_prefix(task)?.strip_prefix('.')?.strip_suffix(".log")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
}

//! What fuzzing has found and collected, run again: each file of `tests/corpus` through its target in `fuzz`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(clippy::disallowed_methods, reason = "reads files, unlike the crate")]

#[path = "../fuzz/cases/changes.rs"]
mod changes;
#[path = "../fuzz/cases/reader.rs"]
mod reader;

use std::fs;
use std::path::Path;

fn replay(name: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        // Shown where the run panics.
        println!("{}", file.display());
        run(&fs::read(&file).unwrap());
    }
}

#[test]
fn files_of_the_reader_are_read_or_refused() {
    replay("reader", reader::run);
}

#[test]
fn sequences_of_changes_keep_the_network_exact() {
    replay("changes", changes::run);
}

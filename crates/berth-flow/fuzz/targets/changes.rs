//! Any bytes as changes and solves: `cargo +nightly fuzz run changes`, in the crate's folder.
#![no_main]

#[path = "../cases/changes.rs"]
mod changes;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| changes::run(bytes));

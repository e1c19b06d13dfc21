//! Any bytes as a file: `cargo +nightly fuzz run reader`, in the crate's folder.
#![no_main]

#[path = "../cases/reader.rs"]
mod reader;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| reader::run(bytes));

//! The `berth` binary: parses the command line, builds the role that was asked for, waits for it.

fn main() {}

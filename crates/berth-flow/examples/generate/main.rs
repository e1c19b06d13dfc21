//! Writes pairs of problems to measure with: `PREFIX.base.min`, and `PREFIX.changed.min` after some change.
//!
//! ```text
//! generate SHAPE PREFIX [KEY=NUMBER]...
//! generate cluster /tmp/g machines=12500 util=99 seed=7
//! ```
//!
//! Equal arguments give equal files, on any machine. The keys of each shape are those that its function names;
//! every shape knows `seed`.
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a program of its own, beside the pure crate")]

mod cluster;
mod general;
mod keys;
mod random;

use std::fs::File;
use std::io::{self, BufWriter};
use std::process::ExitCode;

use berth_flow::{Instance, dimacs};
use keys::{Keys, Pair};

fn generate(args: &[String]) -> Result<(), String> {
    let [shape, prefix, keys @ ..] = args else {
        return Err("usage: generate cluster|netgen|grid|assignment|equal|hub PREFIX [KEY=NUMBER]...".to_owned());
    };
    let mut keys = Keys::parse(keys)?;
    let pair = match shape.as_str() {
        "cluster" => cluster::pair(&mut keys),
        "equal" => cluster::equal(&mut keys),
        "netgen" => general::netgen(&mut keys),
        "grid" => general::grid(&mut keys),
        "assignment" => general::assignment(&mut keys),
        "hub" => general::hub(&mut keys),
        other => return Err(format!("no shape is called {other}")),
    };
    if let Some(key) = keys.left() {
        return Err(format!("{shape} has no key {key}"));
    }
    let put = |name: String, instance| write(&name, instance).map_err(|error| format!("cannot write {name}: {error}"));
    put(format!("{prefix}.base.min"), &pair.base)?;
    put(format!("{prefix}.changed.min"), &pair.changed)
}

fn write(name: &str, instance: &Instance) -> io::Result<()> {
    dimacs::write(instance, BufWriter::new(File::create(name)?))
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match generate(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("generate: {message}");
            ExitCode::from(2)
        }
    }
}

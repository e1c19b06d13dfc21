//! Writes pairs of problems to measure with: `PREFIX.base.min`, and `PREFIX.changed.min` after some change.
//!
//! ```text
//! generate SHAPE PREFIX [KEY=NUMBER]...
//! generate cluster /tmp/g machines=12500 util=99 seed=7
//! ```
//!
//! Equal arguments give equal files, on any machine. The keys of each shape are those of its `Keys` below;
//! every shape knows `seed`.
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a program of its own, beside the pure crate")]

mod cluster;
mod general;
mod random;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter};
use std::process::ExitCode;

use berth_flow::{Instance, dimacs};

/// A problem, and what becomes of it.
struct Pair {
    base: Instance,
    changed: Instance,
}

/// The arguments of a shape, taken one by one.
struct Keys(BTreeMap<String, u64>);

impl Keys {
    fn parse(args: &[String]) -> Result<Keys, String> {
        let pair = |arg: &String| {
            let (key, value) = arg.split_once('=').ok_or(format!("expected KEY=NUMBER, found {arg}"))?;
            let value = value.parse().map_err(|_| format!("expected a whole number for {key}, found {value}"))?;
            Ok((key.to_owned(), value))
        };
        args.iter().map(pair).collect::<Result<_, String>>().map(Keys)
    }

    fn take(&mut self, key: &str, default: u64) -> u64 {
        self.0.remove(key).unwrap_or(default)
    }
}

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
    if let Some(key) = keys.0.keys().next() {
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

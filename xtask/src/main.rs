//! Checks of this workspace: `cargo xtask layers` and `cargo xtask tidy`.
//!
//! Builds and runs nothing else: that is the Makefile's work.

mod dependencies;
mod layers;
mod markdown;
mod rust_source;
mod text;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.parent().expect("xtask is a folder of the workspace");
    let command = std::env::args().nth(1);
    let faults = match command.as_deref() {
        Some("layers") => layers::run(root)?,
        Some("tidy") => tidy::run(root)?,
        Some(_) | None => {
            eprintln!("usage: cargo xtask layers|tidy");
            return Ok(ExitCode::from(2));
        }
    };
    for fault in &faults {
        eprintln!("{fault}");
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

//! The runtime against this machine's kernel: one suite, run with the library and with `runc`.
//!
//! Needs root. This program is its own shim (`PROGRAM shim FOLDER`), which is why it has a harness of
//! its own: each case runs alone, and after each nothing may be left of it.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod cases;
mod figures;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use berth_runtime::{OciRuntime, shim};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [command, dir] = args.as_slice()
        && command == "shim"
    {
        return shim::main(Path::new(dir));
    }
    if args.iter().any(|arg| arg == "--figures") {
        figures::print();
        return ExitCode::SUCCESS;
    }
    if args.iter().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    if !rustix::process::geteuid().is_root() {
        println!("runtime: skipped, needs root");
        return ExitCode::SUCCESS;
    }
    let mut failed = 0;
    for (runtime, oci) in [("builtin", OciRuntime::Builtin), ("runc", OciRuntime::Program("/usr/sbin/runc".into()))] {
        for (name, case) in cases::ALL {
            let name = format!("{runtime}::{name}");
            if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
                continue;
            }
            let began = Instant::now();
            let passed = catch_unwind(AssertUnwindSafe(|| world::run(oci.clone(), *case))).is_ok();
            println!("test {name} ... {} ({} ms)", if passed { "ok" } else { "FAILED" }, began.elapsed().as_millis());
            failed += u32::from(!passed);
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

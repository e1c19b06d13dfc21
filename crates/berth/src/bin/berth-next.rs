//! A stand-in for the next release, for tests of upgrades: every version that is negotiated is one higher.

use std::process::ExitCode;

fn main() -> ExitCode {
    berth::main()
}

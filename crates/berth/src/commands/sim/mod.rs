//! `berth sim`: simulated clusters, with faults or to be measured.

mod cluster;
mod pack;
mod picture;
mod source;
mod trace;
mod watch;

use std::process::ExitCode;

use berth_sim::{Options, ProfileName};

use crate::output::{Format, Progress};

pub use cluster::run as cluster;
pub use pack::pack;
pub use trace::trace;

/// Runs the seeds one after the other. A seed that breaks an invariant makes the command fail.
pub fn run(profile: ProfileName, first: u64, seeds: u64, format: Format) -> anyhow::Result<ExitCode> {
    let progress = Progress::start(format);
    let options = Options::default().profile(profile);
    let mut failed = false;
    for seed in first..first.saturating_add(seeds) {
        progress.say(format!("seed {seed}"));
        let outcome = berth_sim::run(seed, &options);
        failed |= !outcome.is_well();
        format.show_line(&outcome, |outcome| format!("{outcome}\n"))?;
    }
    progress.end();
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

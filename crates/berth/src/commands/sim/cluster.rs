//! `berth sim cluster`: the production core with a large healthy cluster, measured.

use std::process::ExitCode;

use anyhow::Context as _;
use berth_sim::ClusterOptions;
use serde::Serialize;

use super::watch::Watch;
use crate::output::{Format, Progress};

/// What `--json` prints.
#[derive(Serialize)]
struct Measured {
    #[serde(flatten)]
    report: berth_sim::ClusterReport,
    /// The most that the process has held, in megabytes.
    rss_mb: u64,
}

/// Fills the cluster, lets work come and go, and tells how long the core took.
pub fn run(options: &ClusterOptions, format: Format) -> anyhow::Result<ExitCode> {
    let progress = Progress::start(format);
    let report = berth_sim::cluster(options, &mut Watch(&progress));
    progress.end();
    let status = procfs::process::Process::myself().and_then(|this| this.status());
    let most_kib = status.context("cannot read how much memory this process has held")?.vmhwm;
    let rss_mb = most_kib.unwrap_or(0) * 1024 / 1_000_000;
    format.show(&Measured { report, rss_mb }, |measured| {
        format!("{}memory                 {} MB\n", measured.report, measured.rss_mb)
    })?;
    Ok(ExitCode::SUCCESS)
}

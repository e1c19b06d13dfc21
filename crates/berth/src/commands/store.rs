//! `berth store`: moves the cluster's state while no server runs.

use anyhow::Context as _;
use berth_server::{Direction, StoreKind};
use serde::Serialize;

use super::roles::wrong;
use crate::args::{ServerArgs, StoreCommand};
use crate::config;
use crate::exit::{Status, failed};
use crate::output::{Format, Progress, print};

/// What was moved.
#[derive(Serialize)]
struct Moved {
    records: usize,
}

/// Moves the state to etcd, or back.
pub async fn carry_out(command: StoreCommand, format: Format) -> anyhow::Result<()> {
    let (args, direction): (ServerArgs, Direction) = match command {
        StoreCommand::ToEtcd(args) => (args, Direction::ToEtcd),
        StoreCommand::ToFile(args) => (args, Direction::ToFile),
    };
    let (config, taken) = config::server(&args).map_err(wrong)?;
    if args.config.print_config {
        return print(&taken.to_string());
    }
    let StoreKind::Etcd(etcd) = config.store else {
        return Err(failed(Status::Usage, "no etcd is named: say where it is with --etcd"));
    };
    let progress = Progress::start(format);
    let told = |records| progress.say(format!("{records} records"));
    let moved = berth_server::move_state(&config.data_dir, etcd, direction, told).await;
    progress.end();
    let records = moved.context("the cluster's state was not moved")?;
    let next = match direction {
        Direction::ToEtcd => "start the servers with `--etcd`",
        Direction::ToFile => "start the server without `--etcd`",
    };
    format.show(&Moved { records }, |moved| format!("{} records were moved: {next}\n", moved.records))
}

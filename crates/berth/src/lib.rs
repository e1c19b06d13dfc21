//! The `berth` program: parses the command line, builds the role that was asked for, waits for it.

mod args;
mod commands;
mod config;
mod exit;
mod memory;
mod output;
mod quantity;
mod settings;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};

/// All that the program does.
pub fn main() -> ExitCode {
    // The shim and a lab node's init are small, single-threaded programs of their own: nothing is
    // built before them.
    let cli = Cli::parse();
    match &cli.command {
        Command::Shim { folder } => return berth_runtime::shim::main(folder),
        Command::LabEntry { arguments } => return berth_lab::init_main(arguments.clone()),
        _ => {}
    }
    memory::share_one_arena();
    match commands::dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("berth: {error:#}");
            exit::code(&error)
        }
    }
}

//! Containers made by a program with the command line of `runc`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio as Inherit};

use berth_model::{Failure, FailureKind};
use serde::Deserialize;

use super::{Place, Stdio, no_such_command};
use crate::error::{failure, io_failure};

/// Makes a container and starts its program; gives the pid.
pub(crate) fn run(program: &Path, place: &Place<'_>, stdio: Stdio) -> Result<u32, Failure> {
    let mut command = command(program, place)?;
    command.args(["run", "--detach", "--bundle"]).arg(place.bundle);
    finish(command, place, Some(stdio))
}

/// Runs a command in a container that runs.
pub(crate) fn exec(
    program: &Path,
    place: &Place<'_>,
    process: &Path,
    stdio: Option<Stdio>,
    console: Option<&Path>,
) -> Result<u32, Failure> {
    let mut command = command(program, place)?;
    command.args(["exec", "--detach", "--process"]).arg(process);
    if let Some(console) = console {
        // By name, from its folder: paths of sockets are limited to 108 bytes.
        let folder = console.parent().unwrap_or(place.bundle);
        command.current_dir(folder).arg("--console-socket").arg(console.file_name().unwrap_or_default());
    }
    finish(command, place, stdio)
}

fn command(program: &Path, place: &Place<'_>) -> Result<Command, Failure> {
    fs::create_dir_all(place.state).map_err(|error| io_failure("make the runtime's folder", &error))?;
    let _ = fs::remove_file(place.state.join("log.json"));
    let mut command = Command::new(program);
    command.arg("--root").arg(place.state);
    command.arg("--log").arg(place.state.join("log.json")).args(["--log-format", "json"]);
    Ok(command)
}

fn finish(mut command: Command, place: &Place<'_>, stdio: Option<Stdio>) -> Result<u32, Failure> {
    let pid_file = place.state.join("pid");
    command.arg("--pid-file").arg(&pid_file).arg(place.id);
    match stdio {
        Some(stdio) => command.stdin(stdio.stdin).stdout(stdio.stdout).stderr(stdio.stderr),
        None => command.stdin(Inherit::null()).stdout(Inherit::null()).stderr(Inherit::null()),
    };
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|error| io_failure(format_args!("run {name}"), &error))?;
    if !status.success() {
        return Err(explain(&name, &place.state.join("log.json")));
    }
    let pid = fs::read_to_string(&pid_file).map_err(|error| io_failure("read the pid file", &error))?;
    pid.trim().parse().map_err(|_| failure(FailureKind::Runtime, format!("{name} wrote `{pid}` as a pid")))
}

/// A line of the program's log.
#[derive(Deserialize)]
struct Line {
    level: String,
    msg: String,
}

fn explain(program: &str, log: &Path) -> Failure {
    let log = fs::read_to_string(log).unwrap_or_default();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let said = lines.rev().find(|line| line.level == "error").map(|line| line.msg).unwrap_or_default();
    // `... unable to start container process: exec: "nothing": executable file not found in $PATH`
    let exec = said.split_once("exec: \"").and_then(|(_, rest)| rest.split_once("\": "));
    match exec {
        Some((command, why)) => no_such_command(command, why),
        None => failure(FailureKind::Runtime, format!("{program} cannot make the container: {said}")),
    }
}

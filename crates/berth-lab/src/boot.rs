//! Powering a node on, seen from the host: start its init, join it to the bridge, let it go.
//!
//! The state file knows the init before the init is allowed to do anything, so a crash in between leaves no stranger.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::init::{BootConfig, entry};
use crate::process::ProcessId;
use crate::state::{LabState, LabsDir, Power, write_json};
use crate::{LabError, NodeName, cgroup, net};

/// How long a node may take to boot, on a machine that is busy with other nodes.
const BOOT: Duration = Duration::from_secs(60);

/// Boots a node and records it as on.
pub(crate) fn power_on(state: &mut LabState, dir: &LabsDir, name: &NodeName, node_dir: &Path) -> Result<(), LabError> {
    let node = state.node(name)?;
    let config = BootConfig {
        lab: state.name.clone(),
        node: name.clone(),
        node_dir: node_dir.to_path_buf(),
        address: node.address,
        entry: state.entry.clone(),
        command: node.command.clone(),
        env: node.env.clone(),
    };
    let host_link = state.name.host_link(node.index);
    let file = node_dir.join("boot.json");
    write_json(&file, &config)?;
    forget_role(node_dir)?;
    cgroup::destroy(&state.name, Some(name))?;
    cgroup::create(&state.name, name)?;

    let mut dialogue = Dialogue::start(&config, &file)?;
    let init = dialogue.init(name)?;
    state.node_mut(name)?.power = Power::On { init };
    state.save(dir)?;
    let booted = net::attach(&state.name.bridge(), &host_link, init.pid).and_then(|()| dialogue.go(name));
    if booted.is_err() {
        cgroup::destroy(&state.name, Some(name))?;
        state.node_mut(name)?.power = Power::Off;
        state.save(dir)?;
    }
    booted
}

/// The record of the role belongs to the last boot.
fn forget_role(node_dir: &Path) -> Result<(), LabError> {
    let record = node_dir.join("run/role.json");
    match std::fs::remove_file(&record) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(LabError::io("remove", &record)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The talk with the init of a node over its standard input and output, line by line.
struct Dialogue {
    /// The short process that leaves the init behind.
    boot: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    deadline: Instant,
}

impl Dialogue {
    fn start(config: &BootConfig, file: &Path) -> Result<Dialogue, LabError> {
        let log_path = config.node_dir.join("run/role.log");
        let log = File::options().create(true).append(true).open(&log_path);
        let log = log.map_err(LabError::io("open", &log_path))?;
        let mut command = entry(&config.entry);
        command.arg("boot").arg(file).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).current_dir("/");
        let mut boot = command.spawn().map_err(LabError::io("start the boot of", &config.node_dir))?;
        let input = boot.stdin.take().expect("the pipe was asked for above");
        let output = boot.stdout.take().expect("the pipe was asked for above");
        Ok(Dialogue { boot, input, lines: read_lines(output), deadline: Instant::now() + BOOT })
    }

    fn line(&mut self, node: &NodeName) -> Result<String, LabError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => {
                Err(LabError::Timeout { what: format!("node {node} to boot"), seconds: BOOT.as_secs() })
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(LabError::Boot { node: node.to_string(), said: "its init ended; see its log".to_owned() })
            }
        }
    }

    /// Learns who the init is.
    fn init(&mut self, node: &NodeName) -> Result<ProcessId, LabError> {
        let line = self.line(node)?;
        // The short process has said all it has to say, and must not stay as a corpse.
        self.boot.wait().map_err(LabError::io("wait for the boot of", Path::new(node.as_str())))?;
        let pid = line.strip_prefix("pid ").and_then(|pid| pid.parse().ok());
        let gone = || LabError::Boot { node: node.to_string(), said: line.clone() };
        pid.and_then(ProcessId::of).ok_or_else(gone)
    }

    /// Lets the init set the node up, and waits until it has.
    fn go(&mut self, node: &NodeName) -> Result<(), LabError> {
        self.input.write_all(b"go\n").map_err(LabError::io("talk to the init of", Path::new(node.as_str())))?;
        match self.line(node)? {
            line if line == "ready" => Ok(()),
            said => Err(LabError::Boot { node: node.to_string(), said }),
        }
    }
}

/// Reads lines on a thread that ends with the pipe, so that waiting can have a deadline.
fn read_lines(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok).take(16) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

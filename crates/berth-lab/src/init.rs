//! What runs inside the machine that a node pretends to be: the way into its namespaces, and its process 1.
//!
//! Everything here is the berth program started again with a hidden command. It knows no roles: it runs the command
//! that it was given, keeps its output, reaps what is orphaned, and starts the command again only when told to.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use crate::mounts::{self, LAB_RUN};
use crate::process::ProcessId;
use crate::state::{read_json, write_json};
use crate::{LabError, LabName, NodeName, cgroup, net};

/// Everything a node has of its own.
const NAMESPACES: [CloneFlags; 6] = [
    CloneFlags::CLONE_NEWNS,
    CloneFlags::CLONE_NEWPID,
    CloneFlags::CLONE_NEWNET,
    CloneFlags::CLONE_NEWUTS,
    CloneFlags::CLONE_NEWIPC,
    CloneFlags::CLONE_NEWCGROUP,
];
/// How long an orderly shutdown waits for the role.
const ORDERLY: Duration = Duration::from_secs(10);
/// A role's log above this size is put aside when the role starts again.
const LOG_LIMIT: u64 = 16 << 20;
/// Programs of a node, the lab's own first.
const PATH: &str = "/run/berth-lab/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Exit code when a lab command itself fails, as opposed to the command that it runs.
const FAILED: u8 = 125;

/// What a node needs to know to boot; written by the host beside the node's folders.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BootConfig {
    pub lab: LabName,
    pub node: NodeName,
    pub node_dir: PathBuf,
    pub address: Ipv4Addr,
    /// Program and first arguments that lead here.
    pub entry: Vec<String>,
    pub command: Vec<String>,
    pub env: Vec<(String, String)>,
}

/// What the init of a node tells about its role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoleRecord {
    /// How often the role was started since the node's boot.
    pub starts: u32,
    pub state: RoleRecordState,
}

/// State of the role's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RoleRecordState {
    /// With the pid as the node sees it.
    Running {
        pid: i32,
    },
    Exited {
        code: i32,
    },
    Killed {
        signal: i32,
    },
    /// The program could not be started at all.
    Failed {
        message: String,
    },
}

/// Entry of the hidden command: `boot FILE`, `node FILE`, `role -- CMD`, `enter LAB NODE PID START -- CMD`.
///
/// Must be called before the process starts any thread.
pub fn init_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<String> = arguments.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["boot", file] => boot(Path::new(file)),
        ["node", file] => run_node(Path::new(file)),
        ["role", "--", program, rest @ ..] => Err(run_role(program, rest)),
        ["enter", lab, node, pid, start, "--", program, rest @ ..] => enter(lab, node, pid, start, program, rest),
        _unknown => {
            eprintln!("this command is for the lab's own use");
            return ExitCode::from(FAILED);
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("{}", chain(&error));
        ExitCode::from(FAILED)
    })
}

/// An error and everything behind it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn all_namespaces() -> CloneFlags {
    NAMESPACES.into_iter().collect()
}

/// In the host's namespaces: takes the cgroups and namespaces of a node and leaves behind its process 1.
fn boot(file: &Path) -> Result<ExitCode, LabError> {
    let config: BootConfig = read_json(file)?;
    // Away from the terminal and process group of whoever brings the lab up: Ctrl-C must not end nodes.
    rustix::process::setsid().map_err(LabError::io("leave the session for", file))?;
    cgroup::join(&config.lab, &config.node)?;
    let v2_group = cgroup::v2_group(&config.lab, &config.node)?;
    unshare(all_namespaces()).map_err(LabError::io("make namespaces for", file))?;
    v2_group.as_deref().map_or(Ok(()), leave_v2_root)?;
    let child = entry(&config.entry).arg("node").arg(file).spawn();
    let child = child.map_err(LabError::io("start init of", &config.node_dir))?;
    println!("pid {}", child.id());
    Ok(ExitCode::SUCCESS)
}

/// After the namespace was rooted at the node's v2 group, its processes move one down: see [`cgroup::join`].
fn leave_v2_root(group: &Path) -> Result<(), LabError> {
    let leaf = group.join(cgroup::INIT_LEAF);
    fs::create_dir_all(&leaf).map_err(LabError::io("create cgroup", &leaf))?;
    let procs = leaf.join("cgroup.procs");
    fs::write(&procs, "0").map_err(LabError::io("join cgroup", &procs))?;
    cgroup::enable_controllers(group)
}

/// A command that starts this program again.
pub(crate) fn entry(words: &[String]) -> Command {
    let (program, first) = words.split_first().expect("an entry has a program: checked when the lab was made");
    let mut command = Command::new(program);
    command.args(first);
    command
}

/// Process 1 of a node: sets it up, tells the host, and then minds its processes until it is switched off.
fn run_node(file: &Path) -> Result<ExitCode, LabError> {
    let signals = blocked_signals()?;
    let config: BootConfig = read_json(file)?;
    let mut line = String::new();
    let host = io::stdin().lock().read_line(&mut line);
    host.map_err(LabError::io("hear from the host about", file))?;
    if line != "go\n" {
        // The host gave up, or was killed, before the node was known to anybody.
        return Ok(ExitCode::from(FAILED));
    }
    let ready = set_up(&config).and_then(|()| silence(&config));
    if let Err(error) = ready {
        println!("error {}", chain(&error));
        return Ok(ExitCode::from(FAILED));
    }
    let mut node = Node { config, role: None, starts: 0, reported: None };
    node.start_role()?;
    node.mind(&signals)
}

/// The signals of process 1 are read from a descriptor; none interrupts it.
fn blocked_signals() -> Result<SignalFd, LabError> {
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        mask.add(signal);
    }
    let init = Path::new("signals of init");
    mask.thread_block().map_err(LabError::io("block", init))?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(LabError::io("read", init))
}

fn set_up(config: &BootConfig) -> Result<(), LabError> {
    let hostname = config.node.as_str();
    rustix::system::sethostname(hostname.as_bytes()).map_err(LabError::io("name the host", Path::new(hostname)))?;
    net::configure_node(config.address)?;
    let program = config.entry.first().map(PathBuf::from).unwrap_or_default();
    mounts::enter_root(&config.node_dir, &program)?;
    fs::write("/etc/hostname", format!("{hostname}\n")).map_err(LabError::io("write", Path::new("/etc/hostname")))
}

/// Tells the host that all is well, then lets go of its pipes.
fn silence(config: &BootConfig) -> Result<(), LabError> {
    println!("ready");
    let null = Path::new("/dev/null");
    let file = OpenOptions::new().read(true).write(true).open(null).map_err(LabError::io("open", null))?;
    let log = open_log(config)?;
    rustix::stdio::dup2_stdin(&file).map_err(LabError::io("redirect to", null))?;
    rustix::stdio::dup2_stdout(&log).map_err(LabError::io("redirect to", null))?;
    rustix::stdio::dup2_stderr(&log).map_err(LabError::io("redirect to", null))
}

/// Opens the log of the role for appending; a big one is put aside, so at most two such files exist.
fn open_log(config: &BootConfig) -> Result<File, LabError> {
    let path = Path::new(LAB_RUN).join("role.log");
    if fs::metadata(&path).is_ok_and(|about| about.len() > LOG_LIMIT) {
        fs::rename(&path, path.with_extension("log.1")).map_err(LabError::io("put aside", &path))?;
    }
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let mut file = file.map_err(LabError::io("open", &path))?;
    writeln!(file, "--- {} on {} ---", config.command.join(" "), config.node).map_err(LabError::io("write", &path))?;
    Ok(file)
}

/// State of process 1.
struct Node {
    config: BootConfig,
    role: Option<Child>,
    starts: u32,
    reported: Option<RoleRecord>,
}

impl Node {
    fn start_role(&mut self) -> Result<(), LabError> {
        let log = open_log(&self.config)?;
        let errors = log.try_clone().map_err(LabError::io("share the log of", &self.config.node_dir))?;
        let environment = self.config.env.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        // Through this program once more, because our blocked signals would be inherited by the role.
        let mut command = Command::new(format!("{LAB_RUN}/bin/berth"));
        command.args(self.config.entry.iter().skip(1)).args(["role", "--"]).args(&self.config.command);
        command.env_clear().env("PATH", PATH).env("HOME", "/root").env("LANG", "C.UTF-8").envs(environment);
        command.stdin(Stdio::null()).stdout(log).stderr(errors).current_dir("/");
        self.starts += 1;
        let state = match command.spawn() {
            Ok(child) => {
                let pid = child.id().cast_signed();
                self.role = Some(child);
                RoleRecordState::Running { pid }
            }
            Err(error) => RoleRecordState::Failed { message: error.to_string() },
        };
        self.report(state)
    }

    fn report(&mut self, state: RoleRecordState) -> Result<(), LabError> {
        let record = RoleRecord { starts: self.starts, state };
        write_json(&Path::new(LAB_RUN).join("role.json"), &record)?;
        self.reported = Some(record);
        Ok(())
    }

    /// Waits for signals for ever; ends after an orderly shutdown. The kernel then ends all that is left in the node.
    fn mind(&mut self, signals: &SignalFd) -> Result<ExitCode, LabError> {
        let mut deadline: Option<Instant> = None;
        loop {
            self.reap()?;
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if deadline.is_some() && (self.role.is_none() || left == Some(Duration::ZERO)) {
                return Ok(ExitCode::SUCCESS);
            }
            match next_signal(signals, left)? {
                Some(Signal::SIGTERM | Signal::SIGINT) => {
                    deadline.get_or_insert_with(|| Instant::now() + ORDERLY);
                    self.terminate_role();
                }
                Some(Signal::SIGHUP) if self.role.is_none() && deadline.is_none() => self.start_role()?,
                _nothing_to_do => {}
            }
        }
    }

    fn terminate_role(&self) {
        if let Some(pid) = self.role.as_ref().and_then(|child| rustix::process::Pid::from_raw(child.id().cast_signed()))
        {
            // The role is our child and not yet reaped, so the pid is still its own.
            let _ended_already = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }

    /// Buries every dead child: the role, and the orphans of the node.
    fn reap(&mut self) -> Result<(), LabError> {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            let (pid, state) = match status {
                WaitStatus::Exited(pid, code) => (pid, RoleRecordState::Exited { code }),
                WaitStatus::Signaled(pid, signal, _core) => (pid, RoleRecordState::Killed { signal: signal as i32 }),
                WaitStatus::StillAlive => return Ok(()),
                _stopped_or_traced => continue,
            };
            if self.role.as_ref().is_some_and(|child| child.id().cast_signed() == pid.as_raw()) {
                self.role = None;
                self.report(state)?;
            }
        }
        Ok(())
    }
}

/// The next signal, or nothing when the time is over.
fn next_signal(signals: &SignalFd, timeout: Option<Duration>) -> Result<Option<Signal>, LabError> {
    let about = Path::new("signals of init");
    let timeout = timeout.map(|t| Timespec { tv_sec: t.as_secs() as i64, tv_nsec: i64::from(t.subsec_nanos()) });
    let fd = signals.as_fd();
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(LabError::io("wait for", about)(errno)),
    }
    let info = signals.read_signal().map_err(LabError::io("read", about))?;
    Ok(info.and_then(|info| Signal::try_from(info.ssi_signo.cast_signed()).ok()))
}

/// Becomes the role. Returns only when that is impossible.
fn run_role(program: &str, arguments: &[&str]) -> LabError {
    let path = Path::new(program);
    if let Err(errno) = SigSet::all().thread_unblock() {
        return LabError::io("unblock signals for", path)(errno);
    }
    if let Err(errno) = rustix::process::setsid() {
        return LabError::io("make a session for", path)(errno);
    }
    LabError::io("start", path)(Command::new(program).args(arguments).exec())
}

/// From the host: runs a command inside a node and ends as it ended.
fn enter(
    lab: &str,
    node: &str,
    pid: &str,
    start: &str,
    program: &str,
    arguments: &[&str],
) -> Result<ExitCode, LabError> {
    let (lab, node): (LabName, NodeName) = (lab.parse()?, node.parse()?);
    let off = || LabError::NodeOff(node.to_string());
    let (Ok(pid), Ok(start_ticks)) = (pid.parse(), start.parse()) else { return Err(off()) };
    let init = ProcessId { pid, start_ticks }.hold().ok_or_else(off)?;
    cgroup::join(&lab, &node)?;
    setns(init.fd(), all_namespaces()).map_err(LabError::io("enter node", Path::new(node.as_str())))?;
    rustix::process::chdir("/").map_err(LabError::io("change to", Path::new("/")))?;
    // A new pid namespace holds only for children.
    let status = Command::new(program).args(arguments).env("PATH", PATH).env("HOME", "/root").status();
    match status {
        Ok(status) => Ok(ExitCode::from(exit_code(status))),
        Err(error) => {
            eprintln!("cannot start {program} on node {node}: {error}");
            Ok(ExitCode::from(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }))
        }
    }
}

/// As a shell tells it: the code, or 128 and the signal.
fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or_default();
    u8::try_from(code).unwrap_or(u8::MAX)
}

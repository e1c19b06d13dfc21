//! A lab from the outside: bring up, look at, break, mend, take down.
//!
//! Knows neither the API nor the roles: the caller says which command each node runs and what to wait for.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use procfs::process::Process;
use rustix::process::Signal;

use crate::boot::power_on;
use crate::init::{RoleRecord, RoleRecordState, entry};
use crate::process::ProcessId;
use crate::state::{LabState, LabsDir, NodeState, Power, read_json};
use crate::{LabError, LabName, NodeName, cgroup, mounts, net};

/// Most nodes in one lab; the last part of an address.
const NODES_MAX: usize = 200;
/// How long a node that was switched off may take to vanish.
const OFF: Duration = Duration::from_secs(30);
/// How long a role may take to be started again by its init.
const RESTART: Duration = Duration::from_secs(10);
/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(10);
/// How much of a log an error message shows.
const LOG_TAIL: u64 = 2000;

/// A lab that exists.
#[derive(Debug)]
pub struct Lab {
    dir: LabsDir,
    state: LabState,
}

/// What a new node runs.
#[derive(Clone, Debug, Default)]
pub struct NodeSpec {
    /// Program and arguments of the role. `berth` means the program that made the lab.
    pub command: Vec<String>,
    /// Environment besides `PATH`, `HOME` and `LANG`.
    pub env: Vec<(String, String)>,
    /// Files that exist before the role starts.
    pub files: Vec<NodeFile>,
}

/// A file of a node, below `/var/lib/berth`; mode 0600.
#[derive(Clone, Debug)]
pub struct NodeFile {
    /// Path below `/var/lib/berth`.
    pub path: PathBuf,
    /// Its content.
    pub content: Vec<u8>,
}

/// What `status` shows of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// Name of the node.
    pub name: NodeName,
    /// Address on the lab's subnet.
    pub address: Ipv4Addr,
    /// The command of its role.
    pub command: Vec<String>,
    /// The node's process 1 while it is powered on.
    pub init: Option<ProcessId>,
    /// What became of the role.
    pub role: RoleStatus,
    /// The log of the role, on the host.
    pub log: PathBuf,
}

/// State of the role of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleStatus {
    /// The node is powered off.
    Off,
    /// Running, with its pid as the host sees it.
    Running(ProcessId),
    /// Ended with this code.
    Exited(i32),
    /// Killed by this signal.
    Killed(i32),
    /// Could not be started.
    Failed(String),
    /// Between two of the others.
    Changing,
}

impl std::fmt::Display for RoleStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RoleStatus::Off => f.write_str("off"),
            RoleStatus::Running(process) => write!(f, "running as {}", process.pid),
            RoleStatus::Exited(code) => write!(f, "ended with status {code}"),
            RoleStatus::Killed(signal) => write!(f, "killed by signal {signal}"),
            RoleStatus::Failed(message) => write!(f, "not started: {message}"),
            RoleStatus::Changing => f.write_str("changing"),
        }
    }
}

/// Takes a lab down when it is dropped before all went well.
struct Unfinished(Option<Lab>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(lab) = self.0.take()
            && let Err(error) = down(&lab.dir, &lab.state.name)
        {
            tracing::warn!(lab = %lab.state.name, %error, "remains of a lab that did not come up");
        }
    }
}

/// Makes a lab. `build` adds its nodes and waits for them; when it fails or panics, nothing is left behind.
///
/// `entry` is the program, and its first arguments, that lead to [`crate::init_main`].
pub fn up<E: From<LabError>>(
    dir: &LabsDir,
    name: &LabName,
    entry: Vec<String>,
    build: impl FnOnce(&mut Lab) -> Result<(), E>,
) -> Result<Lab, E> {
    let lab = Lab::create(dir, name, entry)?;
    let mut unfinished = Unfinished(Some(lab));
    if let Some(lab) = unfinished.0.as_mut() {
        build(lab)?;
    }
    Ok(unfinished.0.take().expect("only this line takes the lab out"))
}

/// Takes a lab down, also one whose state is lost or half made. True when there was anything to take down.
pub fn down(dir: &LabsDir, name: &LabName) -> Result<Down, LabError> {
    require_root()?;
    let folder = dir.lab(name);
    let traces = folder.exists() || cgroup::labs()?.contains(name) || net::exists(&name.bridge())?;
    // By name, not by the state file: that may be older than the last node, or unreadable.
    cgroup::destroy(name, None)?;
    net::delete(&name.bridge())?;
    for index in 1..=u8::try_from(NODES_MAX).unwrap_or(u8::MAX) {
        if !traces {
            break;
        }
        net::delete(&name.host_link(index))?;
    }
    berth_runtime::tree::remove(&folder).map_err(LabError::io("remove", &folder))?;
    Ok(if traces { Down::Removed } else { Down::NothingThere })
}

/// What taking a lab down found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    /// A lab, or remains of one, now gone.
    Removed,
    /// Nothing of that name.
    NothingThere,
}

pub(crate) fn require_root() -> Result<(), LabError> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(LabError::NotRoot) }
}

impl Lab {
    fn create(dir: &LabsDir, name: &LabName, entry: Vec<String>) -> Result<Lab, LabError> {
        require_root()?;
        assert!(!entry.is_empty(), "an entry names a program");
        let _lock = dir.lock()?;
        if dir.lab(name).exists() || cgroup::labs()?.contains(name) || net::exists(&name.bridge())? {
            return Err(LabError::Exists(name.to_string()));
        }
        let subnet = net::free_subnet()?;
        let folder = dir.lab(name);
        fs::create_dir(&folder).map_err(LabError::io("create", &folder))?;
        let lab = Lab { dir: dir.clone(), state: LabState::new(name.clone(), entry, subnet) };
        let mut unfinished = Unfinished(Some(lab));
        if let Some(lab) = unfinished.0.as_ref() {
            lab.state.save(dir)?;
            net::create_bridge(&name.bridge(), lab.gateway())?;
        }
        Ok(unfinished.0.take().expect("only this line takes the lab out"))
    }

    /// Opens a lab that exists.
    pub fn open(dir: &LabsDir, name: &LabName) -> Result<Lab, LabError> {
        require_root()?;
        Ok(Lab { dir: dir.clone(), state: LabState::load(dir, name)? })
    }

    /// Name of the lab.
    pub fn name(&self) -> &LabName {
        &self.state.name
    }

    /// The lab's bridge on the host.
    pub fn bridge(&self) -> String {
        self.state.name.bridge()
    }

    /// The host's address on the lab's subnet.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.state.subnet.to_bits() | 1)
    }

    /// The folder of a node on the host: `data` is its `/var/lib/berth`, `run/role.log` its log.
    pub fn node_dir(&self, node: &NodeName) -> PathBuf {
        self.dir.lab(&self.state.name).join("nodes").join(node.as_str())
    }

    /// Address of a node.
    pub fn address(&self, node: &NodeName) -> Result<Ipv4Addr, LabError> {
        Ok(self.state.node(node)?.address)
    }

    /// The addresses that the next nodes will have, so many of them.
    pub fn next_addresses(&self, count: usize) -> Vec<Ipv4Addr> {
        let first = self.state.nodes.len() + 2;
        let address = |last: usize| u32::try_from(last).ok().map(|last| self.state.subnet.to_bits() | last);
        (first..first + count).filter_map(address).map(Ipv4Addr::from_bits).collect()
    }

    /// Adds a node and powers it on. `spec` gets the address that the node will have.
    pub fn add_node(&mut self, name: &NodeName, spec: impl FnOnce(Ipv4Addr) -> NodeSpec) -> Result<(), LabError> {
        let _lock = self.reload()?;
        let lab = self.state.name.to_string();
        if self.state.node(name).is_ok() {
            return Err(LabError::NodeExists { lab, node: name.to_string() });
        }
        let index = u8::try_from(self.state.nodes.len() + 1).ok().filter(|index| usize::from(*index) <= NODES_MAX);
        let index = index.ok_or(LabError::Full { lab, max: NODES_MAX })?;
        let address = Ipv4Addr::from_bits(self.state.subnet.to_bits() | u32::from(index + 1));
        let spec = spec(address);
        mounts::create_folders(&self.node_dir(name))?;
        for file in &spec.files {
            self.write_file(name, file)?;
        }
        let NodeSpec { command, env, files: _written } = spec;
        self.state.nodes.push(NodeState { name: name.clone(), index, address, command, env, power: Power::Off });
        self.write_hosts()?;
        self.state.save(&self.dir)?;
        self.power_on(name)
    }

    /// Writes a file into a node's `/var/lib/berth`.
    pub fn write_file(&self, node: &NodeName, file: &NodeFile) -> Result<(), LabError> {
        let path = self.node_dir(node).join("data").join(&file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(LabError::io("create", parent))?;
        }
        let opened = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&path);
        let mut opened = opened.map_err(LabError::io("create", &path))?;
        opened.write_all(&file.content).map_err(LabError::io("write", &path))
    }

    /// Reads a file of a node's `/var/lib/berth`.
    pub fn read_file(&self, node: &NodeName, path: &Path) -> Result<Vec<u8>, LabError> {
        let path = self.node_dir(node).join("data").join(path);
        fs::read(&path).map_err(LabError::io("read", &path))
    }

    /// Every node knows every other by name.
    fn write_hosts(&self) -> Result<(), LabError> {
        let mut hosts = String::from("127.0.0.1 localhost\n::1 localhost\n");
        for node in &self.state.nodes {
            hosts.push_str(&format!("{} {}\n", node.address, node.name));
        }
        for node in &self.state.nodes {
            let path = self.node_dir(&node.name).join(mounts::HOSTS);
            fs::write(&path, &hosts).map_err(LabError::io("write", &path))?;
        }
        Ok(())
    }

    /// Takes the lock and reads again what other commands may have changed.
    fn reload(&mut self) -> Result<fs::File, LabError> {
        let lock = self.dir.lock()?;
        self.state = LabState::load(&self.dir, &self.state.name)?;
        Ok(lock)
    }

    fn power_on(&mut self, name: &NodeName) -> Result<(), LabError> {
        let node_dir = self.node_dir(name);
        let dir = self.dir.clone();
        power_on(&mut self.state, &dir, name, &node_dir)
    }

    /// Powers a node on again: the same file system, a new boot.
    pub fn start(&mut self, name: &NodeName) -> Result<(), LabError> {
        let _lock = self.reload()?;
        match self.state.node(name)?.power {
            Power::On { init } if init.is_alive() => Err(LabError::NodeOn(name.to_string())),
            Power::On { .. } | Power::Off => self.power_on(name),
        }
    }

    /// Cuts the power of a node: every process in it is gone at once, files stay.
    pub fn kill(&mut self, name: &NodeName) -> Result<(), LabError> {
        self.switch_off(name, Signal::KILL)
    }

    /// Shuts a node down in order: its role is asked to end first, for ten seconds.
    pub fn shut_down(&mut self, name: &NodeName) -> Result<(), LabError> {
        self.switch_off(name, Signal::TERM)
    }

    fn switch_off(&mut self, name: &NodeName, signal: Signal) -> Result<(), LabError> {
        let _lock = self.reload()?;
        let init = self.state.node(name)?.held_init()?;
        cgroup::thaw(&self.state.name, Some(name))?;
        init.signal(signal)?;
        if !init.wait_end(OFF) {
            return Err(LabError::Timeout { what: format!("node {name} to power off"), seconds: OFF.as_secs() });
        }
        cgroup::destroy(&self.state.name, Some(name))?;
        net::delete(&self.state.name.host_link(self.state.node(name)?.index))?;
        self.state.node_mut(name)?.power = Power::Off;
        self.state.save(&self.dir)
    }

    /// Starts the role of a node again after it ended or was killed; the node itself goes on.
    pub fn restart_role(&mut self, name: &NodeName) -> Result<(), LabError> {
        let _lock = self.reload()?;
        let init = self.state.node(name)?.held_init()?;
        let before = self.role_record(name)?;
        if matches!(before.state, RoleRecordState::Running { .. }) && !self.role_died_just_now(name, &before)? {
            return Err(LabError::RoleRunning(name.to_string()));
        }
        init.signal(Signal::HUP)?;
        let what = format!("the role of node {name} to start again");
        poll_until(&what, RESTART, || Ok(self.role_record(name)?.starts > before.starts))
    }

    /// Whether a role that is recorded as running ends, which its init tells a moment after the kill.
    fn role_died_just_now(&self, name: &NodeName, before: &RoleRecord) -> Result<bool, LabError> {
        if matches!(self.role_status(name)?, RoleStatus::Running(_)) {
            return Ok(false);
        }
        let what = format!("the end of the role of node {name} to be noticed");
        poll_until(&what, RESTART, || Ok(self.role_record(name)? != *before))?;
        Ok(true)
    }

    /// Cuts a node off from the others and from the host; it runs on.
    pub fn partition(&self, name: &NodeName) -> Result<(), LabError> {
        net::set_link(&self.state.name.host_link(self.state.node(name)?.index), net::LinkState::Down)
    }

    /// Ends a partition.
    pub fn heal(&self, name: &NodeName) -> Result<(), LabError> {
        net::set_link(&self.state.name.host_link(self.state.node(name)?.index), net::LinkState::Up)
    }

    /// A command that, when run on the host, runs `words` inside a node and ends with the same code.
    pub fn exec<S: AsRef<OsStr>>(&self, name: &NodeName, words: &[S]) -> Result<Command, LabError> {
        let node = self.state.node(name)?;
        let init = node.init().ok_or_else(|| LabError::NodeOff(name.to_string()))?;
        let mut command = entry(&self.state.entry);
        command.args(["enter", self.state.name.as_str(), name.as_str()]);
        command.args([init.pid.to_string(), init.start_ticks.to_string()]).arg("--").args(words);
        Ok(command)
    }

    /// All nodes in the order in which they were added.
    pub fn status(&self) -> Result<Vec<NodeStatus>, LabError> {
        let status = |node: &NodeState| {
            Ok(NodeStatus {
                name: node.name.clone(),
                address: node.address,
                command: node.command.clone(),
                init: node.init(),
                role: self.role_status(&node.name)?,
                log: self.role_log(&node.name),
            })
        };
        self.state.nodes.iter().map(status).collect()
    }

    /// The log of a node's role, on the host.
    pub fn role_log(&self, name: &NodeName) -> PathBuf {
        self.node_dir(name).join("run/role.log")
    }

    fn role_record(&self, name: &NodeName) -> Result<RoleRecord, LabError> {
        read_json(&self.node_dir(name).join("run/role.json"))
    }

    /// What became of the role of a node.
    pub fn role_status(&self, name: &NodeName) -> Result<RoleStatus, LabError> {
        if self.state.node(name)?.init().is_none() {
            return Ok(RoleStatus::Off);
        }
        Ok(match self.role_record(name) {
            Ok(RoleRecord { state: RoleRecordState::Running { pid }, .. }) => {
                self.on_host(name, pid)?.map_or(RoleStatus::Changing, RoleStatus::Running)
            }
            Ok(RoleRecord { state: RoleRecordState::Exited { code }, .. }) => RoleStatus::Exited(code),
            Ok(RoleRecord { state: RoleRecordState::Killed { signal }, .. }) => RoleStatus::Killed(signal),
            Ok(RoleRecord { state: RoleRecordState::Failed { message }, .. }) => RoleStatus::Failed(message),
            Err(LabError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => RoleStatus::Changing,
            Err(error) => return Err(error),
        })
    }

    /// The host's view of a pid of a node.
    fn on_host(&self, name: &NodeName, pid: i32) -> Result<Option<ProcessId>, LabError> {
        let is_it = |host: &i32| {
            let status = Process::new(*host).and_then(|process| process.status()).ok();
            status.and_then(|status| status.nspid).is_some_and(|pids| pids.get(1) == Some(&pid))
        };
        Ok(cgroup::pids(&self.state.name, Some(name))?.into_iter().find(is_it).and_then(ProcessId::of))
    }

    /// Waits until a probe says yes; fails early, with the end of the log, when the role of the node ends.
    pub fn wait_until(
        &self,
        name: &NodeName,
        what: &str,
        timeout: Duration,
        mut probe: impl FnMut() -> bool,
    ) -> Result<(), LabError> {
        poll_until(what, timeout, || {
            if probe() {
                return Ok(true);
            }
            let role = self.role_status(name)?;
            match role {
                RoleStatus::Running(_) | RoleStatus::Changing => Ok(false),
                RoleStatus::Off | RoleStatus::Exited(_) | RoleStatus::Killed(_) | RoleStatus::Failed(_) => {
                    let log = tail(&self.role_log(name));
                    Err(LabError::RoleEnded { node: name.to_string(), how: role.to_string(), log })
                }
            }
        })
    }

    /// Waits until the role of a node answers on a TCP port.
    pub fn wait_port(&self, name: &NodeName, port: u16, timeout: Duration) -> Result<(), LabError> {
        let address = SocketAddr::from((self.address(name)?, port));
        let connects = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok();
        self.wait_until(name, &format!("node {name} to answer on {address}"), timeout, connects)
    }

    /// Waits until a file of a node's `/var/lib/berth` is there and not empty, and reads it.
    pub fn wait_file(&self, name: &NodeName, path: &Path, timeout: Duration) -> Result<Vec<u8>, LabError> {
        let what = format!("node {name} to write {}", path.display());
        self.wait_until(name, &what, timeout, || self.read_file(name, path).is_ok_and(|text| !text.is_empty()))?;
        self.read_file(name, path)
    }
}

impl NodeState {
    /// The node's process 1, if it is alive.
    fn init(&self) -> Option<ProcessId> {
        match self.power {
            Power::On { init } if init.is_alive() => Some(init),
            Power::On { .. } | Power::Off => None,
        }
    }

    fn held_init(&self) -> Result<crate::process::Held, LabError> {
        let held = self.init().and_then(ProcessId::hold);
        held.ok_or_else(|| LabError::NodeOff(self.name.to_string()))
    }
}

fn poll_until(what: &str, timeout: Duration, mut done: impl FnMut() -> Result<bool, LabError>) -> Result<(), LabError> {
    let deadline = Instant::now() + timeout;
    while !done()? {
        if Instant::now() > deadline {
            return Err(LabError::Timeout { what: what.to_owned(), seconds: timeout.as_secs() });
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// The end of a log; whatever can be read of it.
fn tail(path: &Path) -> String {
    let read = || {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL).read_to_end(&mut bytes)?;
        Ok::<_, io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_else(|error| format!("(unreadable: {error})"))
}

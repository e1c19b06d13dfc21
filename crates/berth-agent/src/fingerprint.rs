//! What the agent finds out about its machine.

use std::collections::BTreeMap;
use std::path::Path;

use berth_model::{Bytes, CpuMillis, Domain, Fingerprint, Mbits, Resources};
use procfs::Current;

use crate::{AgentError, Config};

/// Memory that is never given to allocations: the agent, the shims and the system need some.
const SYSTEM_MEMORY: Bytes = Bytes::mib(128);

/// Looks at the machine.
pub fn take(config: &Config) -> Result<Fingerprint, AgentError> {
    let found = resources(config)?;
    let mut attributes = attributes(config)?;
    attributes.insert("cpu.cores".into(), (found.cpu.0 / 1000).to_string());
    attributes.insert("memory.mib".into(), (found.memory.0 >> 20).to_string());
    Ok(Fingerprint {
        name: config.name.clone(),
        address: config.address.clone(),
        resources: found,
        attributes,
        devices: config.devices.clone(),
        dynamic_ports: config.dynamic_ports,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

fn resources(config: &Config) -> Result<Resources, AgentError> {
    let cpu = match config.offer.cpu {
        Some(cpu) => cpu,
        None => std::thread::available_parallelism()
            .map(|cores| CpuMillis(cores.get() as u64 * 1000))
            .map_err(|source| AgentError::Fingerprint { what: "the number of cores", source: source.into() })?,
    };
    let memory = match config.offer.memory {
        Some(memory) => memory,
        None => procfs::Meminfo::current()
            .map(|info| Bytes(info.mem_total.saturating_sub(SYSTEM_MEMORY.0)))
            .map_err(|source| AgentError::Fingerprint { what: "the memory", source: source.into() })?,
    };
    let disk = match config.offer.disk {
        Some(disk) => disk,
        None => free_disk(&config.data_dir)?,
    };
    let network = config.offer.network.unwrap_or_else(link_speed);
    Ok(Resources { cpu, memory, disk, network })
}

/// What the kernel says of the link that leads out; without such a link, or a speed of it, nothing is known to be scarce.
fn link_speed() -> Mbits {
    let routes = procfs::net::route().unwrap_or_default();
    let out = routes.into_iter().find(|route| route.destination.is_unspecified() && route.mask.is_unspecified());
    let told = out.and_then(|route| std::fs::read_to_string(format!("/sys/class/net/{}/speed", route.iface)).ok());
    // A link that is down or has no speed tells -1.
    let speed = told.and_then(|text| text.trim().parse().ok()).filter(|speed: &u64| *speed > 0);
    speed.map_or(Mbits::UNLIMITED, Mbits)
}

/// Nine tenths of what is free: images and logs live on the same disk.
fn free_disk(folder: &Path) -> Result<Bytes, AgentError> {
    let Space { free, .. } =
        space(folder).map_err(|source| AgentError::Fingerprint { what: "the free disk", source: source.into() })?;
    Ok(Bytes(free.0 / 10 * 9))
}

/// What a disk has.
pub(crate) struct Space {
    /// What may still be written.
    pub(crate) free: Bytes,
    /// In all.
    pub(crate) total: Bytes,
}

/// Asks the disk of a folder.
pub(crate) fn space(folder: &Path) -> std::io::Result<Space> {
    let stat = rustix::fs::statvfs(folder)?;
    let bytes = |blocks: u64| Bytes(blocks.saturating_mul(stat.f_frsize));
    Ok(Space { free: bytes(stat.f_bavail), total: bytes(stat.f_blocks) })
}

fn attributes(config: &Config) -> Result<BTreeMap<String, String>, AgentError> {
    let uname = rustix::system::uname();
    let text = |c: &std::ffi::CStr| c.to_string_lossy().into_owned();
    let kernel = text(uname.release());
    let mut found = BTreeMap::from([
        ("node.name".to_owned(), config.name.to_string()),
        ("kernel.name".to_owned(), text(uname.sysname()).to_lowercase()),
        ("kernel.version".to_owned(), kernel.split(['-', '+']).next().unwrap_or(&kernel).to_owned()),
        ("cpu.arch".to_owned(), text(uname.machine())),
        ("cgroup.version".to_owned(), cgroup_version().to_owned()),
        ("driver.container".to_owned(), "1".to_owned()),
        ("driver.exec".to_owned(), "1".to_owned()),
        ("agent.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
    ]);
    let place = [(Domain::RACK, &config.rack), (Domain::ZONE, &config.zone)];
    found.extend(place.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?))));
    found.extend(os_release());
    found.extend(config.labels.iter().map(|(key, value)| (format!("label.{key}"), value.clone())));
    Ok(found)
}

/// `2` where the unified hierarchy is the whole of it, `1` otherwise.
fn cgroup_version() -> &'static str {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { "2" } else { "1" }
}

/// `os.name` and `os.version`, where the system tells them.
fn os_release() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim_matches('"').to_owned())
    };
    [("os.name", value("ID")), ("os.version", value("VERSION_ID"))]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
}

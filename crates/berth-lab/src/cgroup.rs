//! The cgroups of a lab: one folder per node in every hierarchy that the host has mounted, v1 and v2.
//!
//! A node gets a cgroup namespace rooted there, so what its runtime creates stays below. No limits are set here.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use procfs::process::Process;
use rustix::process::Signal;

use crate::process::ProcessId;
use crate::{LabError, LabName, NodeName};

/// How long the kernel may take to bury what was killed.
const BURIAL: Duration = Duration::from_secs(20);
/// Between two looks at a cgroup that empties.
const PAUSE: Duration = Duration::from_millis(5);

/// One mounted cgroup hierarchy of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub mount_point: PathBuf,
    pub kind: Kind,
}

/// Version of a hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// With the mount option that names its controllers, such as `cpu,cpuacct` or `name=systemd`.
    V1 {
        option: String,
    },
    V2,
}

/// All hierarchies in the order in which they are mounted.
pub(crate) fn hierarchies() -> Result<Vec<Hierarchy>, LabError> {
    let path = Path::new("/proc/self/mountinfo");
    let unreadable = |error: procfs::ProcError| LabError::io("read", path)(io::Error::other(error));
    let mounts = Process::myself().and_then(|me| me.mountinfo()).map_err(unreadable)?;
    let mut found: Vec<Hierarchy> = Vec::new();
    for mount in mounts.0 {
        let kind = match mount.fs_type.as_str() {
            "cgroup2" => Kind::V2,
            "cgroup" => Kind::V1 { option: v1_option(mount.super_options.iter()) },
            _other_file_system => continue,
        };
        // Not only mounts whose root is `/`: inside a node, and in a container, the root is shown as another path.
        if !found.iter().any(|have| have.kind == kind) {
            found.push(Hierarchy { mount_point: mount.mount_point, kind });
        }
    }
    Ok(found)
}

/// The option that mounts the same v1 hierarchy again: its controllers or its name.
fn v1_option<'a>(options: impl Iterator<Item = (&'a String, &'a Option<String>)>) -> String {
    let ignored = ["rw", "ro", "xattr", "clone_children", "noprefix", "cpuset_v2_mode", "release_agent"];
    let mut words = BTreeSet::new();
    for (key, value) in options.filter(|(key, _)| !ignored.contains(&key.as_str())) {
        match value {
            Some(value) => words.insert(format!("{key}={value}")),
            None => words.insert(key.clone()),
        };
    }
    words.into_iter().collect::<Vec<_>>().join(",")
}

/// Makes an empty cgroup for a node in every hierarchy.
pub(crate) fn create(lab: &LabName, node: &NodeName) -> Result<(), LabError> {
    for hierarchy in hierarchies()? {
        let lab_path = hierarchy.mount_point.join(lab.cgroup());
        let node_path = lab_path.join(node.as_str());
        for path in [&lab_path, &node_path] {
            match fs::create_dir(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(LabError::io("create cgroup", path)(error));
                }
                Ok(()) | Err(_) => make_usable(&hierarchy, path)?,
            }
        }
    }
    Ok(())
}

/// A new cpuset has no processors, and a new v2 group no controllers: both would refuse the first process or limit.
fn make_usable(hierarchy: &Hierarchy, path: &Path) -> Result<(), LabError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    match &hierarchy.kind {
        Kind::V1 { option } if option.split(',').any(|word| word == "cpuset") => {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let file_path = path.join(file);
                let value = fs::read(parent.join(file)).map_err(LabError::io("read", &parent.join(file)))?;
                fs::write(&file_path, value).map_err(LabError::io("write", &file_path))?;
            }
            Ok(())
        }
        Kind::V1 { .. } => Ok(()),
        Kind::V2 => enable_controllers(parent),
    }
}

/// Hands every controller that a v2 group has to its children.
pub(crate) fn enable_controllers(path: &Path) -> Result<(), LabError> {
    let available = path.join("cgroup.controllers");
    let names = fs::read_to_string(&available).map_err(LabError::io("read", &available))?;
    let control = path.join("cgroup.subtree_control");
    for name in names.split_whitespace() {
        // One at a time, and a refusal is not fatal: a controller with real-time threads or threaded children may
        // refuse, and then only limits of that kind are missing in the nodes.
        if let Err(error) = fs::write(&control, format!("+{name}")) {
            tracing::debug!(controller = name, path = %control.display(), %error, "controller not handed down");
        }
    }
    Ok(())
}

/// Moves the calling process into the cgroups of a node.
pub(crate) fn join(lab: &LabName, node: &NodeName) -> Result<(), LabError> {
    for hierarchy in hierarchies()? {
        let node_path = hierarchy.mount_point.join(lab.cgroup()).join(node.as_str());
        // The group that init was moved to: a v2 group with controllers for its children holds no processes.
        let leaf = node_path.join(INIT_LEAF);
        let target = if hierarchy.kind == Kind::V2 && leaf.exists() { leaf } else { node_path };
        let file = target.join("cgroup.procs");
        fs::write(&file, "0").map_err(LabError::io("join cgroup", &file))?;
    }
    Ok(())
}

/// The v2 group of a node as the host sees it, if the host has that tree.
pub(crate) fn v2_group(lab: &LabName, node: &NodeName) -> Result<Option<PathBuf>, LabError> {
    let v2 = hierarchies()?.into_iter().find(|hierarchy| hierarchy.kind == Kind::V2);
    Ok(v2.map(|hierarchy| hierarchy.mount_point.join(lab.cgroup()).join(node.as_str())))
}

/// Where the init of a node lives in the v2 tree, below the node's own group.
pub(crate) const INIT_LEAF: &str = "init";

/// All pids in the cgroups of a node, or of the whole lab, as the host sees them.
pub(crate) fn pids(lab: &LabName, node: Option<&NodeName>) -> Result<BTreeSet<i32>, LabError> {
    let mut all = BTreeSet::new();
    for root in roots(lab, node)? {
        for group in tree(&root) {
            let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            all.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
        }
    }
    Ok(all)
}

/// Lets frozen processes of v1 run again: a frozen one does not die of SIGKILL, and holds up the end of its init.
pub(crate) fn thaw(lab: &LabName, node: Option<&NodeName>) -> Result<(), LabError> {
    for root in roots(lab, node)? {
        for group in tree(&root) {
            let state = group.join("freezer.state");
            if state.exists()
                && let Err(error) = fs::write(&state, "THAWED")
            {
                tracing::debug!(path = %state.display(), %error, "cgroup not thawed");
            }
        }
    }
    Ok(())
}

/// Kills everything in the cgroups and removes them; for a whole lab when no node is named. Removing nothing is fine.
pub(crate) fn destroy(lab: &LabName, node: Option<&NodeName>) -> Result<(), LabError> {
    let deadline = Instant::now() + BURIAL;
    thaw(lab, node)?;
    loop {
        let pids = pids(lab, node)?;
        for held in pids.iter().filter_map(|pid| ProcessId::of(*pid)).filter_map(ProcessId::hold) {
            held.signal(Signal::KILL)?;
        }
        let left: Vec<PathBuf> = roots(lab, node)?.into_iter().filter(|root| !remove_tree(root)).collect();
        match left.first() {
            None => return Ok(()),
            Some(path) if Instant::now() > deadline => {
                let what = format!("cgroup {} to become empty", path.display());
                return Err(LabError::Timeout { what, seconds: BURIAL.as_secs() });
            }
            Some(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Names of labs that have cgroups, with or without a folder.
pub(crate) fn labs() -> Result<BTreeSet<LabName>, LabError> {
    let mut names = BTreeSet::new();
    for hierarchy in hierarchies()? {
        let entries = fs::read_dir(&hierarchy.mount_point).map_err(LabError::io("list", &hierarchy.mount_point))?;
        let found = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names.extend(found.filter_map(|name| name.strip_prefix("berth-lab-")?.parse().ok()));
    }
    Ok(names)
}

fn roots(lab: &LabName, node: Option<&NodeName>) -> Result<Vec<PathBuf>, LabError> {
    let below = |hierarchy: Hierarchy| {
        let path = hierarchy.mount_point.join(lab.cgroup());
        node.map_or(path.clone(), |node| path.join(node.as_str()))
    };
    Ok(hierarchies()?.into_iter().map(below).filter(|path| path.is_dir()).collect())
}

/// A group and all below it, parents first.
fn tree(root: &Path) -> Vec<PathBuf> {
    let mut all = vec![root.to_path_buf()];
    let mut next = 0;
    while let Some(path) = all.get(next).cloned() {
        next += 1;
        let entries = fs::read_dir(&path).into_iter().flatten().flatten();
        all.extend(entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()));
    }
    all
}

/// Removes a group and all below it; false when something is still in there.
fn remove_tree(root: &Path) -> bool {
    for path in tree(root).iter().rev() {
        // Busy groups are looked at again by the caller.
        let _still_busy = fs::remove_dir(path);
    }
    !root.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_v1_hierarchy_is_known_by_its_controllers_or_its_name() {
        let options = [("rw", None), ("cpu", None), ("cpuacct", None), ("xattr", None)];
        let options: Vec<_> = options.iter().map(|(k, v)| ((*k).to_owned(), v.map(str::to_owned))).collect();
        assert_eq!(v1_option(options.iter().map(|(k, v)| (k, v))), "cpu,cpuacct");
        let named =
            [("name".to_owned(), Some("systemd".to_owned())), ("release_agent".to_owned(), Some("/x".to_owned()))];
        assert_eq!(v1_option(named.iter().map(|(k, v)| (k, v))), "name=systemd");
    }
}

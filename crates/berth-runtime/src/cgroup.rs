//! Control groups as far as they are ours: going into one, ending what is in one, removing one, and
//! whether the kernel killed for memory. Limits are set by what makes the container.
//!
//! A group is a relative path, the same below the root of every hierarchy. Version 1 has many
//! hierarchies, version 2 has one; a machine can have both.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io, thread};

/// The hierarchies of this machine.
#[derive(Clone, Debug)]
pub(crate) struct Cgroups {
    v1: Vec<Hierarchy>,
    v2: Option<PathBuf>,
}

/// A hierarchy of version 1.
#[derive(Clone, Debug)]
struct Hierarchy {
    root: PathBuf,
    controllers: String,
}

impl Hierarchy {
    fn has(&self, controller: &str) -> bool {
        self.controllers.split(',').any(|c| c == controller)
    }
}

/// Attempts to end or remove something, two milliseconds apart.
const ATTEMPTS: u32 = 500;
const PAUSE: Duration = Duration::from_millis(2);
/// Hierarchies of version 1 that a shim enters: those that account for it or could end it.
const SHIM_CONTROLLERS: [&str; 4] = ["memory", "pids", "cpu", "name=systemd"];

impl Cgroups {
    /// Looks at what is mounted.
    pub fn detect() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/self/mountinfo")?))
    }

    fn parse(mountinfo: &str) -> Self {
        let mut found = Self { v1: Vec::new(), v2: None };
        for line in mountinfo.lines() {
            let Some((before, after)) = line.split_once(" - ") else { continue };
            let Some(root) = before.split(' ').nth(4).map(PathBuf::from) else { continue };
            let mut after = after.split(' ');
            match after.next() {
                Some("cgroup") => {
                    let controllers = after.nth(1).unwrap_or_default().to_owned();
                    if found.v1.iter().all(|h| h.controllers != controllers) {
                        found.v1.push(Hierarchy { root, controllers });
                    }
                }
                Some("cgroup2") if found.v2.is_none() => found.v2 = Some(root),
                Some(_) | None => {}
            }
        }
        found
    }

    /// Whether version 2 has the controllers.
    pub fn is_unified(&self) -> bool {
        self.v1.is_empty()
    }

    fn roots(&self) -> impl Iterator<Item = &Path> {
        self.v1.iter().map(|h| h.root.as_path()).chain(self.v2.as_deref())
    }

    /// Puts the calling process into a group, which is made where it is missing.
    pub fn enter(&self, group: &str) -> io::Result<()> {
        let v1 = self.v1.iter().filter(|h| SHIM_CONTROLLERS.iter().any(|c| h.has(c))).map(|h| h.root.as_path());
        for root in v1.chain(self.v2.as_deref()) {
            let dir = root.join(group);
            fs::create_dir_all(&dir)?;
            fs::write(dir.join("cgroup.procs"), "0")?;
        }
        Ok(())
    }

    /// The processes in a group and below it.
    pub fn processes(&self, group: &str) -> Vec<i32> {
        let mut pids = Vec::new();
        for root in self.roots() {
            walk(&root.join(group), &mut |dir| {
                let listed = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
                pids.extend(listed.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
            });
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Sends `SIGKILL` to every process of a group, once.
    pub fn kill(&self, group: &str) {
        if let Some(root) = &self.v2 {
            walk(&root.join(group), &mut |dir| {
                // Missing before Linux 5.14; what follows does not need it.
                let _ = fs::write(dir.join("cgroup.kill"), "1");
            });
        }
        for pid in self.processes(group) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }

    /// Ends every process of a group and waits until the last is gone. Blocks; bounded.
    pub fn end(&self, group: &str) -> io::Result<()> {
        for _ in 0..ATTEMPTS {
            if self.processes(group).is_empty() {
                return Ok(());
            }
            self.kill(group);
            thread::sleep(PAUSE);
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("{} processes do not end", self.processes(group).len())))
    }

    /// Removes a group without processes, and those below it. Blocks for a moment at most.
    pub fn remove(&self, group: &str) -> io::Result<()> {
        for root in self.roots() {
            let mut dirs = Vec::new();
            walk(&root.join(group), &mut |dir| dirs.push(dir.to_owned()));
            for dir in dirs.iter().rev() {
                remove_dir(dir)?;
            }
        }
        Ok(())
    }

    /// Removes a group where it is empty; others may be using it.
    pub fn remove_unused(&self, group: &str) {
        for root in self.roots() {
            let _ = fs::remove_dir(root.join(group));
        }
    }

    /// How often the kernel killed in this group for memory.
    pub fn oom_kills(&self, group: &str) -> u64 {
        let v1 = self.v1.iter().find(|h| h.has("memory")).map(|h| h.root.join(group).join("memory.oom_control"));
        let v2 = || self.v2.as_ref().map(|root| root.join(group).join("memory.events"));
        let Some(file) = v1.or_else(v2) else { return 0 };
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
    }
}

/// A group that was just left can be busy for a moment.
fn remove_dir(dir: &Path) -> io::Result<()> {
    let mut last = Ok(());
    for _ in 0..ATTEMPTS {
        last = fs::remove_dir(dir);
        match &last {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => thread::sleep(PAUSE),
            Err(_) => return last,
        }
    }
    last
}

/// Calls `visit` for a folder and those below it, parents first. Depth is bounded: ours are two deep,
/// and a task that has made groups of its own is followed a little further.
fn walk(dir: &Path, visit: &mut impl FnMut(&Path)) {
    walk_to(dir, 8, visit);
}

fn walk_to(dir: &Path, depth: u32, visit: &mut impl FnMut(&Path)) {
    if !dir.is_dir() {
        return;
    }
    visit(dir);
    let Some(depth) = depth.checked_sub(1) else { return };
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk_to(&entry.path(), depth, visit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_read_from_mountinfo() {
        let hybrid = "26 25 0:23 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      27 25 0:24 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                      28 25 0:25 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let found = Cgroups::parse(hybrid);
        assert!(!found.is_unified());
        assert_eq!(found.v1.len(), 2);
        assert_eq!(found.v2.as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));

        let unified = "26 25 0:23 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        assert!(Cgroups::parse(unified).is_unified());
    }
}

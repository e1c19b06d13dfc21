//! The file system of a node: the host's, read-only, with places of its own to write to.
//!
//! Not an overlay, but for `/etc`: the root of a host may itself be one, or several mounts, and the kernel stacks only
//! two. What is mounted here lives in the node's mount namespace and goes with it; nothing is mounted in the host's.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use procfs::process::Process;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};

use crate::LabError;
use crate::cgroup::{self, Hierarchy, Kind};

/// Where a node finds its own program, log and status; the host sees it as the folder `run` of the node.
pub(crate) const LAB_RUN: &str = "/run/berth-lab";

/// Places of the host that a node must not see: devices and processes that are not its own, and things that come and
/// go, which a node would pin.
const HIDDEN: [&str; 7] = ["proc", "sys", "run", "tmp", "mnt", "media", "var/lib/docker"];

/// Folders of a node that last as long as the lab, and where they appear in it.
const KEPT: [(&str, &str); 2] = [("data", "var/lib/berth"), ("log", "var/log")];

/// What a node writes to `/etc`, and overlayfs's own folder beside it.
const ETC: [&str; 2] = ["etc", "etc-work"];

/// Names of the lab's nodes, below the folder of one: written to by the host while the node runs.
pub(crate) const HOSTS: &str = "run/hosts";

/// Makes the folders of a node on the host.
pub(crate) fn create_folders(node_dir: &Path) -> Result<(), LabError> {
    for name in ["root", "data", "log", "run/bin"].into_iter().chain(ETC) {
        let path = node_dir.join(name);
        fs::create_dir_all(&path).map_err(LabError::io("create", &path))?;
    }
    // The place where the node's data will appear must exist below a root that is read-only by then.
    let place = Path::new("/var/lib/berth");
    fs::create_dir_all(place).map_err(LabError::io("create", place))?;
    // Places for files to be mounted to, and the names.
    for name in ["run/bin/berth", "etc/hosts", HOSTS] {
        let path = node_dir.join(name);
        fs::File::create(&path).map_err(LabError::io("create", &path))?;
    }
    // Whoever brings the lab up may let others read nothing of theirs; in the node everybody reads these.
    for (name, mode) in [("etc", 0o755), (HOSTS, 0o644)] {
        let path = node_dir.join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(LabError::io("open up", &path))?;
    }
    Ok(())
}

/// Called in the node's new mount namespace: builds the root and moves into it.
pub(crate) fn enter_root(node_dir: &Path, program: &Path) -> Result<(), LabError> {
    let hierarchies = cgroup::hierarchies()?;
    let root = node_dir.join("root");
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(LabError::io("make private", Path::new("/")))?;
    mount_bind_recursive("/", &root).map_err(LabError::io("bind the host's files to", &root))?;
    for name in HIDDEN {
        detach_below(&root, name)?;
    }
    make_read_only(&root)?;
    for (source, target) in KEPT {
        bind(&node_dir.join(source), &root.join(target))?;
    }
    mount_etc(node_dir, &root.join("etc"))?;
    mount_kernel_files(&root)?;
    mount_cgroups(&root, &hierarchies)?;
    let run = root.join("run/berth-lab");
    fs::create_dir_all(&run).map_err(LabError::io("create", &run))?;
    bind(&node_dir.join("run"), &run)?;
    bind(program, &run.join("bin/berth"))?;
    pivot(&root)
}

fn bind(source: &Path, target: &Path) -> Result<(), LabError> {
    mount_bind(source, target).map_err(LabError::io("bind to", target))
}

/// The host's `/etc` below what the node writes, and its own file of names: what the host writes to must not be part
/// of an overlay that is mounted.
fn mount_etc(node_dir: &Path, target: &Path) -> Result<(), LabError> {
    // The folders by short names: commas and colons in paths would need escapes.
    rustix::process::chdir(node_dir).map_err(LabError::io("change to", node_dir))?;
    let [upper, work] = ETC;
    let options = c_string(&format!("lowerdir=/etc,upperdir={upper},workdir={work},index=off"))?;
    let mounted = mount("overlay", target, "overlay", MountFlags::empty(), Some(options.as_c_str()));
    mounted.map_err(LabError::io("mount an overlay at", target))?;
    bind(&node_dir.join(HOSTS), &target.join("hosts"))
}

fn mount_points() -> Result<Vec<PathBuf>, LabError> {
    let path = Path::new("/proc/self/mountinfo");
    let unreadable = |error: procfs::ProcError| LabError::io("read", path)(io::Error::other(error));
    let mounts = Process::myself().and_then(|me| me.mountinfo()).map_err(unreadable)?;
    Ok(mounts.0.into_iter().map(|mount| mount.mount_point).collect())
}

/// Takes the mounts at and below a place out of the new root.
fn detach_below(root: &Path, name: &str) -> Result<(), LabError> {
    let place = root.join(name);
    let mut inside: Vec<PathBuf> = mount_points()?.into_iter().filter(|path| path.starts_with(&place)).collect();
    inside.reverse();
    for path in inside {
        unmount(&path, UnmountFlags::DETACH).map_err(LabError::io("unmount", &path))?;
    }
    Ok(())
}

/// Makes every mount of the new root read-only. Device files can still be written to.
fn make_read_only(root: &Path) -> Result<(), LabError> {
    for path in mount_points()?.into_iter().filter(|path| path.starts_with(root)) {
        let flags = MountFlags::BIND | MountFlags::RDONLY;
        // A mount hidden below another one cannot be reached by its path, neither by us nor by the node.
        match mount_remount(&path, flags, c"") {
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
            other => other.map_err(LabError::io("make read-only", &path))?,
        }
    }
    Ok(())
}

/// Fresh kernel file systems of the node's own namespaces.
fn mount_kernel_files(root: &Path) -> Result<(), LabError> {
    let safe = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let scratch = MountFlags::NOSUID | MountFlags::NODEV;
    new_mount("proc", &root.join("proc"), safe, c"")?;
    new_mount("sysfs", &root.join("sys"), safe, c"")?;
    new_mount("tmpfs", &root.join("run"), scratch, c"mode=0755")?;
    new_mount("tmpfs", &root.join("tmp"), scratch, c"mode=1777")?;
    new_mount("tmpfs", &root.join("dev/shm"), scratch, c"mode=1777")?;
    let pts = MountFlags::NOSUID | MountFlags::NOEXEC;
    new_mount("devpts", &root.join("dev/pts"), pts, c"newinstance,ptmxmode=0666,mode=0620")
}

fn new_mount(kind: &str, target: &Path, flags: MountFlags, options: &std::ffi::CStr) -> Result<(), LabError> {
    mount(kind, target, kind, flags, Some(options)).map_err(LabError::io("mount", target))
}

/// Mounts the hierarchies where the host has them. In the cgroup namespace their root is the node's own group.
fn mount_cgroups(root: &Path, hierarchies: &[Hierarchy]) -> Result<(), LabError> {
    let safe = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let base = root.join("sys/fs/cgroup");
    let one_tree = hierarchies.iter().any(|h| h.mount_point == Path::new("/sys/fs/cgroup"));
    if !one_tree && base.exists() {
        new_mount("tmpfs", &base, safe, c"mode=0755")?;
    }
    for hierarchy in hierarchies {
        let relative = hierarchy.mount_point.strip_prefix("/").unwrap_or(&hierarchy.mount_point);
        let target = root.join(relative);
        if !target.starts_with(&base) {
            continue;
        }
        fs::create_dir_all(&target).map_err(LabError::io("create", &target))?;
        match &hierarchy.kind {
            Kind::V2 => new_mount("cgroup2", &target, safe, c"")?,
            Kind::V1 { option } => mount("cgroup", &target, "cgroup", safe, Some(c_string(option)?.as_c_str()))
                .map_err(LabError::io("mount", &target))?,
        }
    }
    Ok(())
}

fn c_string(text: &str) -> Result<std::ffi::CString, LabError> {
    std::ffi::CString::new(text).map_err(|error| LabError::io("pass on", Path::new(text))(io::Error::from(error)))
}

/// Makes `root` the root of the file system and forgets the old one.
fn pivot(root: &Path) -> Result<(), LabError> {
    rustix::process::chdir(root).map_err(LabError::io("change to", root))?;
    rustix::process::pivot_root(".", ".").map_err(LabError::io("make a root of", root))?;
    unmount(".", UnmountFlags::DETACH).map_err(LabError::io("unmount", Path::new("the old root")))?;
    rustix::process::chdir("/").map_err(LabError::io("change to", Path::new("/")))
}

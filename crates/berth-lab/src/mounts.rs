//! The file system of a node: the host's, read-only, with places of its own to write to.
//!
//! Not an overlay: the root of a host may itself be one, or several mounts, and the kernel stacks only two. What is
//! mounted here lives in the node's mount namespace and goes with it; nothing is mounted in the host's.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
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
const KEPT: [(&str, &str); 3] = [("data", "var/lib/berth"), ("etc", "etc"), ("log", "var/log")];

/// Makes the folders of a node on the host. `/etc` starts as a copy of the host's.
pub(crate) fn create_folders(node_dir: &Path) -> Result<(), LabError> {
    for name in ["root", "data", "log", "run/bin"] {
        let path = node_dir.join(name);
        fs::create_dir_all(&path).map_err(LabError::io("create", &path))?;
    }
    // The place where the node's data will appear must exist below a root that is read-only by then.
    let place = Path::new("/var/lib/berth");
    fs::create_dir_all(place).map_err(LabError::io("create", place))?;
    let program = node_dir.join("run/bin/berth");
    fs::File::create(&program).map_err(LabError::io("create", &program))?;
    copy_tree(Path::new("/etc"), &node_dir.join("etc"))
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

/// Copies folders, files and links with modes and owners; sockets and devices are left out.
fn copy_tree(from: &Path, to: &Path) -> Result<(), LabError> {
    let about = fs::symlink_metadata(from).map_err(LabError::io("look at", from))?;
    let kind = about.file_type();
    if kind.is_symlink() {
        let target = fs::read_link(from).map_err(LabError::io("read link", from))?;
        return symlink(target, to).map_err(LabError::io("create link", to));
    }
    if kind.is_dir() {
        fs::create_dir_all(to).map_err(LabError::io("create", to))?;
        for entry in fs::read_dir(from).map_err(LabError::io("list", from))? {
            let entry = entry.map_err(LabError::io("list", from))?;
            copy_tree(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else if kind.is_file() {
        fs::copy(from, to).map_err(LabError::io("copy to", to))?;
    } else {
        return Ok(());
    }
    use std::os::unix::fs::MetadataExt;
    std::os::unix::fs::chown(to, Some(about.uid()), Some(about.gid())).map_err(LabError::io("give away", to))?;
    fs::set_permissions(to, about.permissions()).map_err(LabError::io("set mode of", to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_links_and_modes() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::write(from.join("sub/secret"), "x").unwrap();
        fs::set_permissions(from.join("sub/secret"), fs::Permissions::from_mode(0o600)).unwrap();
        symlink("nowhere", from.join("link")).unwrap();
        let to = dir.path().join("to");
        copy_tree(&from, &to).unwrap();
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("nowhere"));
        let mode = fs::metadata(to.join("sub/secret")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

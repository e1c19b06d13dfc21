//! Root file systems: layers of an image under a writable one, or the host's files.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2};

use super::Folders;
use super::user::Who;
use crate::plan::RootPlan;
use crate::tree;

/// Folders of the host's root that a host program gets anew instead of as they are.
const OWN: [&str; 5] = ["proc", "sys", "dev", "tmp", "run"];

/// Files by which names are looked up. Where a service of the host keeps them, they are links to `/run`.
const NAME_FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// Makes the root anew: what the last run wrote to it is gone.
pub(super) fn make(folders: &Folders, root: &RootPlan) -> io::Result<()> {
    clear(folders)?;
    make_dir(&folders.root, 0o755)?;
    make_dir(&folders.work, 0o755)?;
    match root {
        RootPlan::Layers { layers, .. } => overlay(folders, layers),
        RootPlan::Host => {
            make_dir(&folders.tmp, 0o1777)?;
            host_links(&folders.root)
        }
    }
}

/// Takes the mount of the last run away, and what was written to it.
fn clear(folders: &Folders) -> io::Result<()> {
    match umount2(&folders.root, MntFlags::MNT_DETACH) {
        Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
        Err(error) => return Err(error.into()),
    }
    for dir in [&folders.upper, &folders.overlay, &folders.lower, &folders.tmp, &folders.root, &folders.state] {
        tree::remove(dir)?;
    }
    Ok(())
}

fn make_dir(dir: &Path, mode: u32) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(mode))
}

/// Mount options are limited to a page, and `:` and `,` in paths would need escapes; so the layers are
/// named by links with short names, relative to a folder that this process goes to.
fn overlay(folders: &Folders, layers: &[PathBuf]) -> io::Result<()> {
    for dir in [&folders.upper, &folders.overlay, &folders.lower] {
        make_dir(dir, 0o755)?;
    }
    let mut lower = Vec::with_capacity(layers.len());
    for (number, layer) in layers.iter().enumerate() {
        symlink(layer, folders.lower.join(number.to_string()))?;
        lower.push(number.to_string());
    }
    std::env::set_current_dir(&folders.lower)?;
    let options = format!("lowerdir={},upperdir=../upper,workdir=../overlay", lower.join(":"));
    let mounted = mount(Some("overlay"), &folders.root, Some("overlay"), MsFlags::MS_NODEV, Some(options.as_str()));
    std::env::set_current_dir("/")?;
    mounted.map_err(io::Error::from)
}

/// The links at the top of the host's root (`/bin` to `usr/bin`, mostly); folders are bound by the
/// runtime, see [`host_folders`].
fn host_links(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir("/")? {
        let entry = entry?;
        if entry.file_type()?.is_symlink() {
            symlink(fs::read_link(entry.path())?, root.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// The folders at the top of the host's root that a host program sees.
pub(super) fn host_folders() -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/")? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if entry.file_type()?.is_dir()
            && !OWN.contains(&name.as_str())
            && Path::new("/").join(&name) != Path::new(super::WORK_DIR)
        {
            found.push(name);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// What a host program needs of the host's `/run`, which is otherwise full of other programs' sockets.
pub(super) fn needed_of_run() -> Vec<PathBuf> {
    needed_below(Path::new("/run"), NAME_FILES.map(Path::new))
}

fn needed_below<const N: usize>(run: &Path, files: [&Path; N]) -> Vec<PathBuf> {
    let targets = files.into_iter().filter_map(|file| fs::canonicalize(file).ok());
    targets.filter(|target| target.starts_with(run) && target.is_file()).collect()
}

/// Gives the task's own folders to its user, and makes the folder that its program starts in.
pub(super) fn own(folders: &Folders, root: &RootPlan, working_dir: &str, who: &Who) -> io::Result<()> {
    chown(&folders.work, Some(who.uid), Some(who.gid))?;
    match root {
        RootPlan::Layers { .. } => make_inside(&folders.root, Path::new(working_dir)),
        RootPlan::Host => Ok(()),
    }
}

/// Makes a folder and its parents inside a root that may hold hostile links.
fn make_inside(root: &Path, path: &Path) -> io::Result<()> {
    let mut at = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let top = at.try_clone()?;
    let mut walked = PathBuf::new();
    for part in path.components() {
        let Component::Normal(name) = part else { continue };
        match mkdirat(&at, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        walked.push(name);
        at = openat2(
            &top,
            &walked,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT,
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_for_names_are_kept_where_they_are_links_to_run() {
        let dir = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(dir.path()).unwrap();
        let (run, etc) = (base.join("run"), base.join("etc"));
        fs::create_dir_all(run.join("resolve")).unwrap();
        fs::create_dir(&etc).unwrap();
        fs::write(run.join("resolve/stub.conf"), "").unwrap();
        fs::write(etc.join("hosts"), "").unwrap();
        symlink("../run/resolve/stub.conf", etc.join("resolv.conf")).unwrap();
        symlink("../run/nothing", etc.join("dangling")).unwrap();
        symlink("../run/resolve", etc.join("folder")).unwrap();
        let files = ["resolv.conf", "hosts", "dangling", "folder", "missing"].map(|name| etc.join(name));
        let found = needed_below(&run, files.each_ref().map(PathBuf::as_path));
        assert_eq!(found, [run.join("resolve/stub.conf")]);
    }
}

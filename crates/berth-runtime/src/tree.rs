//! Removes folders that tasks have filled, whatever they made of them.
//!
//! The removal is neither recursive nor deep in descriptors: what lies deeper than the second level is moved up to
//! the first until nothing is left. It follows no link and goes into no mount. It is meant for folders that nobody
//! fills any more.

use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, DirEntry, FileType, Mode, OFlags, RenameFlags, ResolveFlags, openat, openat2, renameat_with,
    unlinkat,
};
use rustix::io::Errno;

/// How a folder is opened: only if it is one.
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes a folder with all that is in it, or a file, or a link; fine where there is nothing. Blocks for as long as
/// that takes. Fails where a mount is in the way, or the disk is too full to move anything.
pub fn remove(path: &Path) -> io::Result<()> {
    let removed = match openat(CWD, path, FOLDER, Mode::empty()) {
        Ok(top) => empty(&top).and_then(|()| unlinkat(CWD, path, AtFlags::REMOVEDIR)),
        Err(Errno::NOTDIR | Errno::LOOP) => unlinkat(CWD, path, AtFlags::empty()),
        Err(error) => Err(error),
    };
    match removed {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Empties a folder, pass by pass, for as long as passes change something.
fn empty(top: &OwnedFd) -> rustix::io::Result<()> {
    let mut lift = Lift { top, names: 0, changes: 0, full: false };
    loop {
        let before = lift.changes;
        let mut is_empty = true;
        for entry in Dir::read_from(top)? {
            let entry = entry?;
            if is_own(&entry) {
                continue;
            }
            is_empty = false;
            if !lift.remove(top, &entry)? {
                lift.clear(entry.file_name())?;
            }
        }
        if is_empty {
            return Ok(());
        }
        if lift.changes == before {
            return Err(if lift.full { Errno::NOSPC } else { Errno::NOTEMPTY });
        }
    }
}

struct Lift<'a> {
    top: &'a OwnedFd,
    /// The number in the last name that was given to something moved up.
    names: u64,
    /// What was removed and moved.
    changes: u64,
    /// Whether the disk had no room for a name.
    full: bool,
}

impl Lift<'_> {
    /// Removes a file, a link or an empty folder; false for a folder that is not empty.
    fn remove(&mut self, dir: &OwnedFd, entry: &DirEntry) -> rustix::io::Result<bool> {
        let removed = match entry.file_type() {
            FileType::Directory => unlinkat(dir, entry.file_name(), AtFlags::REMOVEDIR),
            FileType::Unknown => match unlinkat(dir, entry.file_name(), AtFlags::empty()) {
                Err(Errno::ISDIR) => unlinkat(dir, entry.file_name(), AtFlags::REMOVEDIR),
                removed => removed,
            },
            _ => unlinkat(dir, entry.file_name(), AtFlags::empty()),
        };
        match removed {
            Ok(()) => self.changes += 1,
            Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Removes what is in a folder of the first level, moves its folders up, and removes it. What a file system
    /// does not list while the folder changes is left to the next pass.
    fn clear(&mut self, name: &CStr) -> rustix::io::Result<()> {
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let dir = openat2(self.top, name, FOLDER, Mode::empty(), inside)?;
        for entry in Dir::read_from(&dir)? {
            let entry = entry?;
            if !is_own(&entry) && !self.remove(&dir, &entry)? {
                self.move_up(&dir, entry.file_name())?;
            }
        }
        match unlinkat(self.top, name, AtFlags::REMOVEDIR) {
            Ok(()) => self.changes += 1,
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn move_up(&mut self, dir: &OwnedFd, name: &CStr) -> rustix::io::Result<()> {
        loop {
            self.names += 1;
            let free = format!(".removed-{}", self.names);
            match renameat_with(dir, name, self.top, free, RenameFlags::NOREPLACE) {
                Ok(()) => {
                    self.changes += 1;
                    return Ok(());
                }
                // Of an earlier try that was cut off.
                Err(Errno::EXIST) => {}
                // The new name may need room; what else is removed makes some.
                Err(Errno::NOSPC | Errno::DQUOT) => {
                    self.full = true;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_own(entry: &DirEntry) -> bool {
    matches!(entry.file_name().to_bytes(), b"." | b"..")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use rustix::fs::mkdirat;

    use super::*;

    /// More levels than a process may have files open, and than any stack has frames for.
    const DEEP: usize = 50_000;
    /// Levels after which there is a wide one.
    const WIDE_EVERY: usize = 10_000;

    fn make_deep(top: &Path) {
        let mut at = openat(CWD, top, FOLDER, Mode::empty()).unwrap();
        for level in 0..DEEP {
            mkdirat(&at, "d", Mode::RWXU).unwrap();
            if level % WIDE_EVERY == 0 {
                for number in 0..500 {
                    mkdirat(&at, format!("wide-{number}"), Mode::RWXU).unwrap();
                    mkdirat(&at, format!("wide-{number}/full"), Mode::RWXU).unwrap();
                    let file = format!("file-{number}");
                    openat(&at, file, OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
                }
            }
            at = openat(&at, "d", FOLDER, Mode::empty()).unwrap();
        }
    }

    #[test]
    fn a_deep_and_wide_tree_is_removed_and_what_it_links_to_is_not() {
        // In memory where there is such a folder: a disk takes ten times as long to make the tree.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let kept = dir.path().join("kept");
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "kept").unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("closed/inside")).unwrap();
        fs::write(tree.join("closed/inside/file"), "").unwrap();
        for link in ["link", "closed/link", "closed/inside/link"] {
            symlink(&kept, tree.join(link)).unwrap();
        }
        fs::create_dir(tree.join(".removed-1")).unwrap();
        fs::write(tree.join(".removed-1/file"), "").unwrap();
        make_deep(&tree);
        for closed in ["closed/inside", "closed"] {
            fs::set_permissions(tree.join(closed), fs::Permissions::from_mode(0o000)).unwrap();
        }
        let small_stack = std::thread::Builder::new().stack_size(256 << 10);
        small_stack.spawn(move || remove(&tree)).unwrap().join().unwrap().unwrap();
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["kept"]);
        assert_eq!(fs::read_to_string(kept.join("file")).unwrap(), "kept");
    }

    #[test]
    fn links_files_and_nothing_are_removed_too() {
        let dir = tempfile::tempdir().unwrap();
        let (kept, link) = (dir.path().join("kept"), dir.path().join("link"));
        fs::create_dir(&kept).unwrap();
        symlink(&kept, &link).unwrap();
        remove(&link).unwrap();
        remove(&link).unwrap();
        assert!(kept.exists() && !link.is_symlink());
    }

    #[test]
    fn a_mount_is_not_gone_into() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: this test needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let mounted = dir.path().join("tree/mounted");
        fs::create_dir_all(&mounted).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
                // SAFETY: a mount namespace of its own takes nothing from the thread that others rely on.
                unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.unwrap();
                mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
                mount("none", &mounted, "tmpfs", MountFlags::empty(), None::<&CStr>).unwrap();
                fs::write(mounted.join("kept"), "").unwrap();
                assert!(remove(&dir.path().join("tree")).is_err());
                assert!(mounted.join("kept").exists());
            });
        });
    }
}

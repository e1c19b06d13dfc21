//! How much of the disk lies below a folder that a task fills while it is measured.
//!
//! The walk follows no link and goes into no mount. It is neither recursive nor deep in descriptors: one folder is open
//! at a time, and the names of those that are still to be seen are kept, a bounded number of them. What is not seen,
//! since the task moved it meanwhile or there is too much of it, is not counted: the answer is never too high for long.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use berth_model::Bytes;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, statat};
use rustix::io::Errno;

/// How a folder is opened: only if it is one.
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// What `st_blocks` counts in.
const BLOCK: u64 = 512;
/// The most that is kept of names of folders that are still to be seen.
const NAMES: usize = 8 << 20;
/// Files and folders that are looked at, at most.
const LOOKS: u64 = 10_000_000;

/// What lies below a folder, itself not counted; nothing where there is none. Blocks for as long as it takes to look at
/// every file.
pub(crate) fn below(path: &Path) -> io::Result<Bytes> {
    let top = match openat(CWD, path, FOLDER, Mode::empty()) {
        Ok(top) => top,
        Err(Errno::NOENT) => return Ok(Bytes(0)),
        Err(error) => return Err(error.into()),
    };
    let mut walk = Walk { at: top, above: Vec::new(), names: Names::default(), looks: 0, bytes: 0 };
    walk.list()?;
    while let Some(next) = walk.next() {
        match next {
            Next::Down(name) => walk.down(&name)?,
            Next::Up => {
                if !walk.up()? {
                    break;
                }
            }
        }
    }
    Ok(Bytes(walk.bytes))
}

/// A folder by what no other shares while it is there.
type Identity = (u64, u64);

/// What to do next.
enum Next {
    Down(CString),
    Up,
}

struct Walk {
    /// The folder that is being looked at.
    at: OwnedFd,
    /// Those above it: which they are, and how long the names are that belong to them and to those above them.
    above: Vec<(Identity, usize)>,
    names: Names,
    looks: u64,
    bytes: u64,
}

impl Walk {
    /// Counts what is in the folder, and keeps the names of its folders.
    fn list(&mut self) -> io::Result<()> {
        for entry in Dir::read_from(&self.at)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.looks += 1;
            if self.looks > LOOKS {
                break;
            }
            match statat(&self.at, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => self.names.push(name),
                Ok(stat) => self.bytes = self.bytes.saturating_add(share(blocks(&stat), stat.st_nlink)),
                // It was removed meanwhile.
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// None when all has been seen.
    fn next(&mut self) -> Option<Next> {
        let own = self.above.last().map_or(0, |(_, names)| *names);
        match self.names.pop_above(own) {
            Some(name) => Some(Next::Down(name)),
            None if self.above.is_empty() => None,
            None => Some(Next::Up),
        }
    }

    fn down(&mut self, name: &CStr) -> io::Result<()> {
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let dir = match openat2(&self.at, name, FOLDER, Mode::empty(), inside) {
            Ok(dir) => dir,
            // Removed or replaced meanwhile, or a mount.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.bytes = self.bytes.saturating_add(blocks(&fstat(&dir)?));
        self.above.push((identity(&fstat(&self.at)?), self.names.len()));
        self.at = dir;
        self.list()
    }

    /// Says whether that led back to where it came from. It does not where the task has moved the folder.
    fn up(&mut self) -> io::Result<bool> {
        let Some((above, _)) = self.above.pop() else { return Ok(false) };
        let dir = match openat(&self.at, "..", FOLDER, Mode::empty()) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let same = identity(&fstat(&dir)?) == above;
        self.at = dir;
        Ok(same)
    }
}

fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

fn blocks(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(BLOCK)
}

/// A file's blocks, shared out among its names: those of all names together are counted once, without a memory of what
/// was seen. A task's files have no names outside of its folders. (How wide a number of names is differs by machine.)
fn share(bytes: u64, names: impl Into<u64>) -> u64 {
    bytes / names.into().max(1)
}

/// Names, the last first, in one piece of memory.
#[derive(Default)]
struct Names(Vec<u8>);

impl Names {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn push(&mut self, name: &CStr) {
        let bytes = name.to_bytes_with_nul();
        if self.0.len() + bytes.len() <= NAMES {
            self.0.extend_from_slice(bytes);
        }
    }

    /// The last name, if it begins at `start` or later.
    fn pop_above(&mut self, start: usize) -> Option<CString> {
        let end = self.0.len();
        if end <= start {
            return None;
        }
        let begin = self.0[start..end - 1].iter().rposition(|byte| *byte == 0).map_or(start, |at| start + at + 1);
        let name = CString::from_vec_with_nul(self.0.split_off(begin));
        Some(name.expect("each name was pushed with the one nul at its end"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use rustix::fs::mkdirat;

    use super::*;

    /// More levels than a process may have files open, and than any stack has frames for.
    const DEEP: usize = 30_000;

    fn size_of(path: &Path) -> u64 {
        fs::symlink_metadata(path).unwrap().blocks() * BLOCK
    }

    #[test]
    fn files_are_counted_by_their_blocks_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let (top, elsewhere) = (dir.path().join("top"), dir.path().join("elsewhere"));
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::write(&elsewhere, vec![1; 1 << 20]).unwrap();
        fs::write(top.join("a/file"), vec![1; 300_000]).unwrap();
        fs::write(top.join("a/b/other"), vec![1; 20_000]).unwrap();
        // As long as it likes, and empty.
        fs::File::create(top.join("holes")).unwrap().set_len(1 << 40).unwrap();
        symlink(&elsewhere, top.join("link")).unwrap();
        symlink("..", top.join("a/b/round")).unwrap();
        let paths =
            ["a", "a/file", "a/b", "a/b/other", "a/b/round", "holes", "link"].map(|path| size_of(&top.join(path)));
        fs::hard_link(top.join("a/file"), top.join("again")).unwrap();
        fs::hard_link(top.join("a/file"), top.join("a/b/once-more")).unwrap();
        let (wanted, found) = (paths.iter().sum::<u64>(), below(&top).unwrap().0);
        assert!(wanted.abs_diff(found) < 3, "{found} instead of {wanted}: only sharing out may round");
        assert!(found > 300_000 && found < 1 << 20);
        assert_eq!(below(&dir.path().join("nothing")).unwrap(), Bytes(0));
    }

    #[test]
    fn a_deep_and_wide_tree_is_seen_to_its_end() {
        // In memory where there is such a folder: a disk takes ten times as long to make the tree.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let top = dir.path().join("top");
        fs::create_dir(&top).unwrap();
        let mut at = openat(CWD, &top, FOLDER, Mode::empty()).unwrap();
        for level in 0..DEEP {
            for side in ["before", "d", "z-after"].iter().filter(|name| **name == "d" || level % 1000 == 0) {
                mkdirat(&at, *side, Mode::RWXU).unwrap();
            }
            at = openat(&at, "d", FOLDER, Mode::empty()).unwrap();
        }
        let file = openat(&at, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
        rustix::io::write(&file, &[1; 4096]).unwrap();
        // The last that is seen: after all that is deeper.
        fs::write(top.join("before/file"), [1; 4096]).unwrap();
        let small_stack = std::thread::Builder::new().stack_size(256 << 10);
        let (path, wanted) = (top.clone(), 2 * size_of(&top.join("before/file")));
        let found = small_stack.spawn(move || below(&path)).unwrap().join().unwrap().unwrap().0;
        // Folders take room on some file systems.
        assert!(found >= wanted, "{found} of {wanted}");
        crate::tree::remove(&top).unwrap();
    }

    #[test]
    fn a_mount_is_not_gone_into() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: this test needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let mounted = dir.path().join("top/mounted");
        fs::create_dir_all(&mounted).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
                // SAFETY: a mount namespace of its own takes nothing from the thread that others rely on.
                unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.unwrap();
                mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
                mount("none", &mounted, "tmpfs", MountFlags::empty(), None::<&CStr>).unwrap();
                fs::write(mounted.join("file"), vec![1; 1 << 20]).unwrap();
                assert!(below(&dir.path().join("top")).unwrap().0 < 1 << 20);
            });
        });
    }
}

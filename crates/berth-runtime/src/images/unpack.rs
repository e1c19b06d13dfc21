//! Unpacks one layer's tar stream into a folder that overlayfs takes as a lower directory.
//!
//! The stream is not trusted: every path is resolved by the kernel below the folder (`openat2` with
//! `RESOLVE_IN_ROOT`), so neither `..`, an absolute path, a symbolic nor a hard link leads out of it;
//! entries, bytes and header sizes are bounded. Nothing is merged here: a layer knows only itself, and
//! whiteouts become the marks that overlayfs understands.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};
use thiserror::Error;

use crate::tree;

/// What one layer may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Entries of the archive.
    pub(super) entries: u64,
    /// Bytes of all files together, unpacked, and of the archive's headers.
    pub(super) bytes: u64,
    /// Bytes of memory for what is remembered of folders until the end.
    pub(super) folders: u64,
}

/// Headers beyond the fixed one (long names, extended attributes) of one entry; the tar library reads
/// them into memory whole.
const MAX_HEADERS: u64 = 1 << 20;
/// What remembering a folder takes beside its path, roughly.
const REMEMBERED: u64 = 64;
/// As the kernel has it.
const MAX_PATH: usize = 4096;
/// Of a tar archive.
const BLOCK: u64 = 512;
const COPY_BUFFER: usize = 128 << 10;
/// How a folder is opened to put something into it.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Other names of this form are notes of aufs to itself.
const RESERVED: &[u8] = b".wh..wh.";

/// Why a layer could not be unpacked.
#[derive(Debug, Error)]
pub(super) enum UnpackError {
    /// The stream ended early, or is not a tar archive.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// An entry that no honest tool writes.
    #[error("refused the entry `{entry}`: {why}")]
    Unsafe {
        /// Its path.
        entry: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// More entries than allowed.
    #[error("refused a layer of more than {0} entries")]
    TooMany(u64),
    /// More bytes than allowed.
    #[error("refused a layer of more than {} unpacked", berth_model::Bytes(*.0))]
    TooBig(u64),
    /// More, or longer, names of folders than are remembered.
    #[error("refused a layer with folders whose names take more than {}", berth_model::Bytes(*.0))]
    TooManyFolders(u64),
    /// The folder's file system refused.
    #[error("cannot write {} ({})", path.display(), berth_model::Bytes(*wanted))]
    Write {
        /// What was being written.
        path: PathBuf,
        /// How large it is.
        wanted: u64,
        /// What was said.
        #[source]
        source: io::Error,
    },
}

/// Unpacks `archive` into the empty folder `into`; says how many bytes its files have.
pub(super) fn unpack(archive: impl Read, into: &Path, limits: Limits) -> Result<u64, UnpackError> {
    let headers = Rc::new(Headers::default());
    let mut archive = Archive::new(Guarded { inner: archive, headers: Rc::clone(&headers) });
    let mut layer = Layer::open(into, limits)?;
    let mut entries = archive.entries().map_err(UnpackError::Read)?;
    let mut seen = 0;
    loop {
        // Entries are read to their end below, so that the library reads only headers here.
        headers.left.set(Some(MAX_HEADERS));
        let next = entries.next();
        let ended = headers.ended_before_one();
        headers.left.set(None);
        let mut entry = match next {
            None => break,
            Some(Ok(entry)) => entry,
            // Some tools leave out the zeros at the end. What came before has been read whole.
            Some(Err(_)) if ended && seen > 0 => break,
            Some(Err(error)) => return Err(UnpackError::Read(error)),
        };
        seen += 1;
        if seen > limits.entries {
            return Err(UnpackError::TooMany(limits.entries));
        }
        layer.count(headers.read.take())?;
        let before = layer.bytes;
        layer.add(&mut entry)?;
        layer.drain(&mut entry)?;
        if layer.bytes - before < entry.size() {
            return Err(UnpackError::Read(io::ErrorKind::UnexpectedEof.into()));
        }
    }
    layer.finish()
}

/// What is known of the stream's end while a header is read.
#[derive(Default)]
struct Headers {
    /// Bytes that may still be read; None while contents are read.
    left: Cell<Option<u64>>,
    /// Bytes that were read and not counted yet.
    read: Cell<u64>,
    /// Whether the stream ended.
    ended: Cell<bool>,
}

impl Headers {
    /// Whether the stream ended before a whole header came.
    fn ended_before_one(&self) -> bool {
        self.ended.get() && self.left.get().is_some_and(|left| MAX_HEADERS - left < BLOCK)
    }
}

/// Passes at most [`MAX_HEADERS`] of headers.
struct Guarded<R> {
    inner: R,
    headers: Rc<Headers>,
}

impl<R: Read> Read for Guarded<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(left) = self.headers.left.get() else { return self.inner.read(buf) };
        if left == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "headers of one entry exceed 1 MiB"));
        }
        let room = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let n = self.inner.read(&mut buf[..room])?;
        self.headers.left.set(Some(left - n as u64));
        self.headers.read.set(self.headers.read.get() + n as u64);
        self.headers.ended.set(n == 0 && room > 0);
        Ok(n)
    }
}

/// A layer on its way to the disk.
struct Layer {
    root: OwnedFd,
    base: PathBuf,
    limits: Limits,
    /// Of files.
    bytes: u64,
    /// Of files and headers.
    counted: u64,
    /// The folder of the last entry: archives list a folder's files one after the other.
    last: Option<(PathBuf, OwnedFd)>,
    /// Folders and the times they get at the end, when nothing is put into them any more.
    folders: BTreeMap<PathBuf, Timespec>,
    /// Memory that they take.
    remembered: u64,
    buffer: Vec<u8>,
}

/// Extended attributes: names and values.
type Xattrs = Vec<(OsString, Vec<u8>)>;

/// What a header says, checked.
struct Meta {
    path: PathBuf,
    kind: EntryType,
    mode: Mode,
    uid: Uid,
    gid: Gid,
    time: Timespec,
    xattrs: Xattrs,
    link: Option<PathBuf>,
    device: u64,
    size: u64,
}

impl Layer {
    fn open(base: &Path, limits: Limits) -> Result<Layer, UnpackError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, base, flags, Mode::empty()).map_err(|e| write_error(base, 0, e.into()))?;
        let (last, folders, buffer) = (None, BTreeMap::new(), vec![0; COPY_BUFFER]);
        let (bytes, counted, remembered) = (0, 0, 0);
        Ok(Layer { root, base: base.to_owned(), limits, bytes, counted, last, folders, remembered, buffer })
    }

    fn add<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<(), UnpackError> {
        let meta = Meta::read(entry)?;
        let Some(name) = meta.path.file_name().map(OsStr::to_owned) else {
            // The layer's root itself.
            let root = self.root_dir().map_err(|e| self.failed(&meta, e))?;
            return self.dress(root, &meta);
        };
        let folder = meta.path.parent().unwrap_or(Path::new("")).to_owned();
        self.enter(&folder).map_err(|e| self.failed(&meta, e))?;
        if let Some(removed) = name.as_bytes().strip_prefix(WHITEOUT) {
            return self.whiteout(&name, OsStr::from_bytes(removed), &meta);
        }
        match meta.kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => self.file(&name, &meta, entry),
            EntryType::Directory => self.folder(&name, &meta),
            EntryType::Symlink => self.symlink(&name, &meta).map_err(|e| self.failed(&meta, e)),
            EntryType::Link => self.hard_link(&name, &meta),
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                self.node(&name, &meta).map_err(|e| self.failed(&meta, e))
            }
            EntryType::XGlobalHeader => Ok(()),
            _ => Err(refused(&meta.path, "its type is unknown")),
        }
    }

    fn root_dir(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.root, ".", flags, Mode::empty())?)
    }

    /// Opens `path` below the root, following links as a process with that root would.
    fn within(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        Ok(rustix::fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
    }

    /// Makes `folder` the one that entries go to, creating what is missing of it.
    fn enter(&mut self, folder: &Path) -> io::Result<()> {
        if self.last.as_ref().is_some_and(|(path, _)| path == folder) {
            return Ok(());
        }
        let dir = match self.within(folder, FOLDER) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.make_way(folder)?,
            other => other?,
        };
        self.last = Some((folder.to_owned(), dir));
        Ok(())
    }

    /// Makes what is missing of `folder`. Goes down from folder to folder, since a path may be long and lead through
    /// links: to walk all of it for each of its parts would be slow.
    fn make_way(&self, folder: &Path) -> io::Result<OwnedFd> {
        let (mut dir, mut made) = (self.within(Path::new(""), FOLDER)?, PathBuf::new());
        for part in folder.components() {
            made.push(part);
            match rustix::fs::mkdirat(&dir, part.as_os_str(), Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            dir = match rustix::fs::openat(&dir, part.as_os_str(), FOLDER | OFlags::NOFOLLOW, Mode::empty()) {
                Err(Errno::LOOP | Errno::NOTDIR) => self.within(&made, FOLDER)?,
                opened => opened?,
            };
        }
        Ok(dir)
    }

    fn dir(&self) -> &OwnedFd {
        &self.last.as_ref().expect("`add` enters a folder first").1
    }

    /// The kind of what is at `name` in the current folder.
    fn found(&self, name: &OsStr) -> io::Result<Option<(FileType, u64)>> {
        match rustix::fs::statat(self.dir(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some((FileType::from_raw_mode(stat.st_mode), stat.st_rdev))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes what an earlier entry left at `name`.
    fn clear(&mut self, name: &OsStr) -> io::Result<()> {
        match self.found(name)? {
            None => Ok(()),
            Some((FileType::Directory, _)) => {
                let dir = self.dir().as_raw_fd();
                tree::remove(&Path::new(&format!("/proc/self/fd/{dir}")).join(name))
            }
            Some(_) => Ok(rustix::fs::unlinkat(self.dir(), name, AtFlags::empty())?),
        }
    }

    fn whiteout(&mut self, name: &OsStr, removed: &OsStr, meta: &Meta) -> Result<(), UnpackError> {
        if name.as_bytes() == OPAQUE {
            return mark_opaque(self.dir()).map_err(|e| self.failed(meta, e));
        }
        if name.as_bytes().starts_with(RESERVED) {
            return Ok(());
        }
        if removed.is_empty() || removed == "." || removed == ".." {
            return Err(refused(&meta.path, "it hides nothing that can have a name"));
        }
        self.hide(removed).map_err(|e| self.failed(meta, e))
    }

    /// A whiteout hides what lower layers have, not what this one has.
    fn hide(&mut self, name: &OsStr) -> io::Result<()> {
        match self.found(name)? {
            Some((FileType::Directory, _)) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                mark_opaque(rustix::fs::openat(self.dir(), name, flags, Mode::empty())?)
            }
            Some(_) => Ok(()),
            None => Ok(rustix::fs::mknodat(self.dir(), name, FileType::CharacterDevice, Mode::empty(), 0)?),
        }
    }

    fn folder(&mut self, name: &OsStr, meta: &Meta) -> Result<(), UnpackError> {
        let dir = self.make_folder(name).map_err(|e| self.failed(meta, e))?;
        self.dress(dir, meta)
    }

    fn make_folder(&mut self, name: &OsStr) -> io::Result<OwnedFd> {
        let found = self.found(name)?;
        let hidden = matches!(found, Some((FileType::CharacterDevice, 0)));
        if !matches!(found, Some((FileType::Directory, _))) {
            self.clear(name)?;
            rustix::fs::mkdirat(self.dir(), name, Mode::from_raw_mode(0o700))?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(self.dir(), name, flags, Mode::empty())?;
        if hidden {
            mark_opaque(&dir)?;
        }
        Ok(dir)
    }

    /// Gives a folder its owner, mode and attributes; its times come at the end.
    fn dress(&mut self, dir: OwnedFd, meta: &Meta) -> Result<(), UnpackError> {
        own(&dir, meta).map_err(|e| self.failed(meta, e))?;
        if self.folders.insert(meta.path.clone(), meta.time).is_none() {
            self.remembered += REMEMBERED + meta.path.as_os_str().len() as u64;
        }
        if self.remembered > self.limits.folders {
            return Err(UnpackError::TooManyFolders(self.limits.folders));
        }
        Ok(())
    }

    fn file<R: Read>(&mut self, name: &OsStr, meta: &Meta, entry: &mut Entry<'_, R>) -> Result<(), UnpackError> {
        self.clear(name).map_err(|e| self.failed(meta, e))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(self.dir(), name, flags, Mode::from_raw_mode(0o600));
        let mut file = File::from(file.map_err(|e| self.failed(meta, e.into()))?);
        loop {
            let n = entry.read(&mut self.buffer).map_err(UnpackError::Read)?;
            if n == 0 {
                break;
            }
            self.count_contents(n as u64)?;
            file.write_all(&self.buffer[..n]).map_err(|e| self.failed(meta, e))?;
        }
        own(&file, meta)
            .and_then(|()| Ok(rustix::fs::futimens(&file, &both(meta.time))?))
            .map_err(|e| self.failed(meta, e))
    }

    fn symlink(&mut self, name: &OsStr, meta: &Meta) -> io::Result<()> {
        self.clear(name)?;
        let target = meta.link.as_deref().unwrap_or(Path::new(""));
        rustix::fs::symlinkat(target, self.dir(), name)?;
        self.own_unopened(name, meta)
    }

    fn hard_link(&mut self, name: &OsStr, meta: &Meta) -> Result<(), UnpackError> {
        let target = inside(meta.link.as_deref().unwrap_or(Path::new("")))
            .ok_or_else(|| refused(&meta.path, "its link leads out of the layer"))?;
        let Some(target_name) = target.file_name().filter(|_| target != meta.path) else {
            return Err(refused(&meta.path, "it is a hard link to itself or to the root"));
        };
        let parent = self.within(target.parent().unwrap_or(Path::new("")), OFlags::PATH | OFlags::DIRECTORY);
        let parent = parent.map_err(|_| refused(&meta.path, "it is a hard link to nothing in its layer"))?;
        self.clear(name).map_err(|e| self.failed(meta, e))?;
        match rustix::fs::linkat(parent, target_name, self.dir(), name, AtFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::NOENT) => Err(refused(&meta.path, "it is a hard link to nothing in its layer")),
            Err(Errno::PERM) => Err(refused(&meta.path, "it is a hard link to a folder")),
            Err(error) => Err(self.failed(meta, error.into())),
        }
    }

    fn node(&mut self, name: &OsStr, meta: &Meta) -> io::Result<()> {
        self.clear(name)?;
        let kind = match meta.kind {
            EntryType::Char => FileType::CharacterDevice,
            EntryType::Block => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        rustix::fs::mknodat(self.dir(), name, kind, Mode::from_raw_mode(0o600), meta.device)?;
        self.own_unopened(name, meta)
    }

    /// Owner, mode and times of what must not be opened: links, devices, pipes.
    fn own_unopened(&self, name: &OsStr, meta: &Meta) -> io::Result<()> {
        let at = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(self.dir(), name, Some(meta.uid), Some(meta.gid), at)?;
        if meta.kind != EntryType::Symlink {
            // Made by this function's caller a moment ago, so it is no link that could be followed.
            rustix::fs::chmodat(self.dir(), name, meta.mode, AtFlags::empty())?;
        }
        Ok(rustix::fs::utimensat(self.dir(), name, &both(meta.time), at)?)
    }

    fn count_contents(&mut self, bytes: u64) -> Result<(), UnpackError> {
        self.bytes += bytes;
        self.count(bytes)
    }

    fn count(&mut self, bytes: u64) -> Result<(), UnpackError> {
        self.counted += bytes;
        if self.counted > self.limits.bytes { Err(UnpackError::TooBig(self.limits.bytes)) } else { Ok(()) }
    }

    /// Reads what an entry without contents has nevertheless.
    fn drain<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<(), UnpackError> {
        loop {
            match entry.read(&mut self.buffer).map_err(UnpackError::Read)? {
                0 => return Ok(()),
                n => self.count_contents(n as u64)?,
            }
        }
    }

    /// Sets the folders' times, and waits until all is on the disk.
    fn finish(self) -> Result<u64, UnpackError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        for (path, time) in &self.folders {
            // A later entry may have replaced the folder by something else.
            if let Ok(dir) = self.within(path, flags) {
                rustix::fs::futimens(dir, &both(*time)).map_err(|e| write_error(&self.base.join(path), 0, e.into()))?;
            }
        }
        // One call for many small files: a layer that is renamed into place must be whole after a power loss.
        let synced = self.root_dir().and_then(|dir| Ok(rustix::fs::syncfs(dir)?));
        synced.map_err(|e| write_error(&self.base, self.bytes, e))?;
        Ok(self.bytes)
    }

    fn failed(&self, meta: &Meta, source: io::Error) -> UnpackError {
        // Some of it is the archive's fault, not the disk's: a path through a file, or round in circles.
        let why = match Errno::from_io_error(&source) {
            Some(Errno::NOTDIR) => "its folder is a file",
            Some(Errno::NOENT) => "its folder is a link to nothing",
            Some(Errno::LOOP) => "its folder is a link to itself",
            Some(Errno::NAMETOOLONG) => "a part of its path is too long",
            Some(Errno::TOOBIG | Errno::RANGE) => "an extended attribute is larger than the kernel takes",
            _ => return write_error(&self.base.join(&meta.path), meta.size, source),
        };
        refused(&meta.path, why)
    }
}

impl Meta {
    fn read<R: Read>(entry: &mut Entry<'_, R>) -> Result<Meta, UnpackError> {
        let raw = PathBuf::from(OsStr::from_bytes(&entry.path_bytes()));
        let path = inside(&raw).ok_or_else(|| refused(&raw, "its path leads out of the layer"))?;
        let link = entry.link_name_bytes().map(|link| PathBuf::from(OsStr::from_bytes(&link)));
        let kind = entry.header().entry_type();
        if let Some(why) = unusable(&path, link.as_deref(), kind) {
            return Err(refused(&path, why));
        }
        let (xattrs, mtime_nanos) = extensions(entry)?;
        let header = entry.header();
        let number = |what: io::Result<u64>| what.map_err(UnpackError::Read);
        let id = |what: io::Result<u64>| {
            let id = number(what)?;
            u32::try_from(id)
                .ok()
                .filter(|id| *id != u32::MAX)
                .ok_or_else(|| refused(&path, "its owner is no 32-bit number"))
        };
        let seconds = i64::try_from(number(header.mtime())?).unwrap_or(0);
        let time = Timespec { tv_sec: seconds, tv_nsec: mtime_nanos };
        Ok(Meta {
            kind,
            mode: Mode::from_raw_mode(header.mode().map_err(UnpackError::Read)? & 0o7777),
            uid: Uid::from_raw(id(header.uid())?),
            gid: Gid::from_raw(id(header.gid())?),
            time,
            xattrs,
            link,
            device: device(header)?,
            size: entry.size(),
            path: path.clone(),
        })
    }
}

/// What keeps the kernel from taking the names of an entry.
fn unusable(path: &Path, link: Option<&Path>, kind: EntryType) -> Option<&'static str> {
    let names = || std::iter::once(path).chain(link).map(|name| name.as_os_str().as_bytes());
    if names().any(|name| name.len() >= MAX_PATH) {
        Some("its path is longer than the kernel takes")
    } else if names().any(|name| name.contains(&0)) {
        Some("its path holds a zero byte")
    } else if kind == EntryType::Symlink && link.is_none_or(|link| link.as_os_str().is_empty()) {
        Some("it is a link to nothing")
    } else {
        None
    }
}

/// The device number of a device; other entries may have anything in its place.
fn device(header: &tar::Header) -> Result<u64, UnpackError> {
    if !matches!(header.entry_type(), EntryType::Char | EntryType::Block) {
        return Ok(0);
    }
    let major = header.device_major().map_err(UnpackError::Read)?.unwrap_or(0);
    let minor = header.device_minor().map_err(UnpackError::Read)?.unwrap_or(0);
    Ok(rustix::fs::makedev(major, minor))
}

/// Extended attributes that a container may bring, and the part of the time below a second.
fn extensions<R: Read>(entry: &mut Entry<'_, R>) -> Result<(Xattrs, i64), UnpackError> {
    let mut xattrs = Vec::new();
    let mut nanos = 0;
    let Some(all) = entry.pax_extensions().map_err(UnpackError::Read)? else { return Ok((xattrs, nanos)) };
    for extension in all {
        let extension = extension.map_err(UnpackError::Read)?;
        let key = extension.key_bytes();
        if key == b"mtime" {
            nanos = fraction(extension.value_bytes());
        } else if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            // `trusted.` would steer overlayfs, `security.selinux` and `system.` belong to the host.
            if name == b"security.capability" || name.starts_with(b"user.") {
                xattrs.push((OsStr::from_bytes(name).to_owned(), extension.value_bytes().to_vec()));
            }
        }
    }
    Ok((xattrs, nanos))
}

fn both(time: Timespec) -> Timestamps {
    Timestamps { last_access: time, last_modification: time }
}

/// The nanoseconds of a time such as `1700000000.25`.
fn fraction(time: &[u8]) -> i64 {
    let Some(dot) = time.iter().position(|b| *b == b'.') else { return 0 };
    let digits = time[dot + 1..].iter().take_while(|b| b.is_ascii_digit());
    let padded = digits.map(|b| i64::from(b - b'0')).chain(std::iter::repeat(0));
    padded.take(9).fold(0, |sum, digit| sum * 10 + digit)
}

/// `path` as one below the root; None where it leads out of it.
fn inside(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => clean.push(part),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(clean)
}

/// Owner first: a change of owner clears the set-uid bits and the capabilities.
fn own(fd: impl AsFd, meta: &Meta) -> io::Result<()> {
    let fd = fd.as_fd();
    rustix::fs::fchown(fd, Some(meta.uid), Some(meta.gid))?;
    rustix::fs::fchmod(fd, meta.mode)?;
    for (name, value) in &meta.xattrs {
        match rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()) {
            Ok(()) => {}
            // Not every file system has `user.` attributes, and programs live without them.
            Err(Errno::OPNOTSUPP) if name.as_bytes().starts_with(b"user.") => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn mark_opaque(dir: impl AsFd) -> io::Result<()> {
    Ok(rustix::fs::fsetxattr(dir, "trusted.overlay.opaque", b"y", XattrFlags::empty())?)
}

fn refused(path: &Path, why: &'static str) -> UnpackError {
    UnpackError::Unsafe { entry: path.to_string_lossy().chars().take(200).collect(), why }
}

fn write_error(path: &Path, wanted: u64, source: io::Error) -> UnpackError {
    UnpackError::Write { path: path.to_owned(), wanted, source }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Entries of every kind, some of them hostile.
    fn archive() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut add = |kind: EntryType, path: &[u8], link: &str, contents: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o644);
            header.set_size(contents.len() as u64);
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path);
            header.set_link_name_literal(link).unwrap();
            header.set_cksum();
            builder.append(&header, contents).unwrap();
        };
        add(EntryType::Directory, b"d", "", b"");
        add(EntryType::Symlink, b"d/up", "../../..", b"");
        add(EntryType::Regular, b"d/up/x", "", b"1");
        add(EntryType::Symlink, b"abs", "/", b"");
        add(EntryType::Regular, b"abs/y", "", b"2");
        add(EntryType::Link, b"hard", "d/up/x", b"");
        add(EntryType::Regular, b"d/.wh.gone", "", b"");
        add(EntryType::Regular, b"d/.wh..wh..opq", "", b"");
        add(EntryType::Fifo, b"pipe", "", b"");
        builder.into_inner().unwrap()
    }

    /// Mends the checksums, so that what is changed inside a header is looked at.
    fn with_checksums(mut bytes: Vec<u8>) -> Vec<u8> {
        for block in bytes.chunks_exact_mut(512) {
            if block[257..262] == *b"ustar" {
                block[148..156].fill(b' ');
                let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
                block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn no_archive_writes_outside_or_panics(
            changes in prop::collection::vec((0usize..6000, prop::sample::select(b"./a\x000127xgLK5".to_vec())), 0..12),
            cut in 0usize..6000,
        ) {
            let mut bytes = archive();
            for (at, byte) in changes {
                let len = bytes.len();
                bytes[at % len] = byte;
            }
            bytes.truncate(bytes.len().max(cut));
            let outer = tempfile::tempdir().unwrap();
            let inner = outer.path().join("a/b/c/layer");
            std::fs::create_dir_all(&inner).unwrap();
            let limits = Limits { entries: 100, bytes: 1 << 20, folders: 1 << 20 };
            let _ = unpack(&with_checksums(bytes)[..], &inner, limits);
            for (folder, only) in [("", "a"), ("a", "b"), ("a/b", "c"), ("a/b/c", "layer")] {
                let found: Vec<_> = std::fs::read_dir(outer.path().join(folder)).unwrap().map(|e| e.unwrap().file_name()).collect();
                prop_assert_eq!(found, [only]);
            }
        }
    }
}

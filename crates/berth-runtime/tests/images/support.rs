//! Layouts to fetch from, stores to fetch into, and what goes wrong in both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use berth_model::{Failure, FailureKind, Retry};
use berth_runtime::images::build::LayoutWriter;
use berth_runtime::images::{Credential, Image, ImageConfig, ImageReference, Store, StoreConfig};
use tempfile::TempDir;

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until a folder is empty.
#[track_caller]
pub fn nothing_in(folder: &Path) {
    let deadline = Instant::now() + PATIENCE;
    while !names(folder).is_empty() {
        assert!(Instant::now() < deadline, "{:?} stay in {}", names(folder), folder.display());
        std::thread::yield_now();
    }
}

/// A tar stream under construction.
pub struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    pub fn new() -> Tar {
        Tar(tar::Builder::new(Vec::new()))
    }

    pub fn file(self, path: &str, contents: &[u8]) -> Tar {
        self.entry(path, tar::EntryType::Regular, 0o644, contents)
    }

    pub fn folder(self, path: &str) -> Tar {
        self.entry(path, tar::EntryType::Directory, 0o755, b"")
    }

    pub fn link(mut self, kind: tar::EntryType, path: &str, target: &str) -> Tar {
        let mut header = header(kind, 0o777, 0);
        header.set_link_name_literal(target).unwrap();
        set_path(&mut header, path);
        self.0.append(&header, &b""[..]).unwrap();
        self
    }

    /// The path goes in as it is, `..` and all: the library's own writer would refuse it.
    pub fn entry(mut self, path: &str, kind: tar::EntryType, mode: u32, contents: &[u8]) -> Tar {
        let mut header = header(kind, mode, contents.len() as u64);
        set_path(&mut header, path);
        self.0.append(&header, contents).unwrap();
        self
    }

    pub fn raw(mut self, header: &mut tar::Header, path: &str, contents: &[u8]) -> Tar {
        set_path(header, path);
        self.0.append(header, contents).unwrap();
        self
    }

    pub fn pax(mut self, pairs: &[(&str, &[u8])]) -> Tar {
        self.0.append_pax_extensions(pairs.iter().copied()).unwrap();
        self
    }

    pub fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

pub fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_600_000_000);
    header.set_size(size);
    header
}

fn set_path(header: &mut tar::Header, path: &str) {
    header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_cksum();
}

/// A folder that is gone at the end, with a layout and a store in it.
pub struct World {
    pub folder: TempDir,
    pub store: Store,
}

impl World {
    pub fn new() -> World {
        World::with(StoreConfig::default())
    }

    pub fn with(config: StoreConfig) -> World {
        World::in_folder(tempfile::tempdir().unwrap(), config)
    }

    /// In memory where there is such a folder: a disk takes minutes over tens of thousands of folders.
    pub fn in_memory(config: StoreConfig) -> World {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        World::in_folder(folder.unwrap(), config)
    }

    fn in_folder(folder: TempDir, config: StoreConfig) -> World {
        let store = Store::open(&folder.path().join("images"), config).unwrap();
        World { folder, store }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn layout(&self) -> PathBuf {
        self.path("layout")
    }

    /// Writes an image with these layers, the base first, into the layout.
    pub fn image(&self, tag: &str, layers: Vec<Vec<u8>>) {
        write_image(&self.layout(), tag, &layers);
    }

    pub async fn ensure(&self, reference: &str) -> Result<Image, Failure> {
        self.ensure_as(reference, None).await
    }

    pub async fn ensure_as(&self, reference: &str, credential: Option<&Credential>) -> Result<Image, Failure> {
        let reference = ImageReference::parse(reference).unwrap();
        self.store.ensure(&reference, credential, |_| ()).await.map_err(|not_ready| not_ready.failure)
    }

    /// What is said of another try, after one that fails.
    pub async fn retry(&self, reference: &str) -> Retry {
        let reference = ImageReference::parse(reference).unwrap();
        self.store.ensure(&reference, None, |_| ()).await.expect_err("it should have failed").retry
    }

    /// Fetches what `tag` of the layout names.
    pub async fn fetch(&self, tag: &str) -> Result<Image, Failure> {
        self.ensure(&format!("oci:{}:{tag}", self.layout().display())).await
    }

    /// A failure of this kind, whose sentence contains the words; and nothing half done lies about.
    #[track_caller]
    pub fn expect_failure(&self, result: Result<Image, Failure>, kind: FailureKind, words: &[&str]) -> String {
        let failure = result.expect_err("it should have failed");
        assert_eq!(failure.kind, kind, "{}", failure.message);
        for word in words {
            assert!(failure.message.contains(word), "no {word:?} in: {}", failure.message);
        }
        self.nothing_unfinished();
        failure.message
    }

    /// Whether a layer is being unpacked: small files are written in the same place, but no folders.
    pub fn unpacks(&self) -> bool {
        std::fs::read_dir(self.path("images/tmp")).unwrap().any(|entry| entry.unwrap().path().is_dir())
    }

    /// Waits until nothing half done lies about: of several layers, one fails and the others go soon after.
    #[track_caller]
    pub fn nothing_unfinished(&self) {
        nothing_in(&self.path("images/tmp"));
    }
}

pub fn write_image(layout: &Path, tag: &str, layers: &[Vec<u8>]) {
    let mut writer = LayoutWriter::open(layout).unwrap();
    for layer in layers {
        writer
            .layer(|out| {
                out.write_all(layer).unwrap();
                Ok(())
            })
            .unwrap();
    }
    let config = ImageConfig { cmd: vec!["/bin/sh".to_owned()], ..ImageConfig::default() };
    writer.finish(&config, tag).unwrap();
}

pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Every path below `folder`, with what it holds.
pub fn contents(folder: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    walk(folder, folder, &mut all);
    all
}

fn walk(root: &Path, folder: &Path, all: &mut BTreeMap<String, String>) {
    for name in names(folder) {
        let path = folder.join(name);
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let shown = path.strip_prefix(root).unwrap().display().to_string();
        if meta.is_dir() {
            all.insert(shown, "folder".to_owned());
            walk(root, &path, all);
        } else if meta.is_file() {
            all.insert(shown, String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned());
        } else if meta.is_symlink() {
            all.insert(shown, format!("-> {}", std::fs::read_link(&path).unwrap().display()));
        } else {
            all.insert(shown, "device".to_owned());
        }
    }
}

/// Runs a program to its end, which must be a good one.
#[track_caller]
pub fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("cannot run {program}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// 80 kB that no packing makes much smaller.
pub fn noise() -> Vec<u8> {
    (0..20_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

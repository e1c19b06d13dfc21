//! The cache's folder. Everything in it is named by its digest and put there by a rename, so that what
//! has its name is whole; what a crash left unfinished lies in `tmp` and goes at the next opening.
//!
//! ```text
//! lock                                held while a process has the cache open
//! tmp/                                unfinished
//! blobs/sha256/HEX                    manifests and configurations
//! layers/sha256/DIFF-ID/fs/           an unpacked layer, a lower directory for overlayfs
//! layers/sha256/DIFF-ID/layer.json    its size
//! images/HEX.json                     an image that is complete; its time is that of its last use
//! names/HEX.json                      what a reference led to; HEX is the digest of its text
//! ```

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tempfile::{NamedTempFile, TempDir};
use tracing::warn;

use super::digest::Digest;
use super::error::ImageError;
use crate::tree;

/// Version of the JSON files below. A reader refuses others: they are then fetched anew.
const VERSION: u32 = 1;

/// An image that is complete in the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ImageRecord {
    version: u32,
    pub(super) manifest: Digest,
    pub(super) config: Digest,
    /// The base first.
    pub(super) layers: Vec<Digest>,
}

impl ImageRecord {
    pub(super) fn new(manifest: Digest, config: Digest, layers: Vec<Digest>) -> ImageRecord {
        ImageRecord { version: VERSION, manifest, config, layers }
    }
}

/// What a reference led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NameRecord {
    version: u32,
    pub(super) reference: String,
    pub(super) manifest: Digest,
}

/// What is known of an unpacked layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LayerRecord {
    version: u32,
    /// Of its files together.
    pub(super) bytes: u64,
}

/// A folder in `tmp` that is removed with its value, unless it is kept. Images make folders deeper than a removal that
/// calls itself could go, so that this is not left to [`TempDir`].
pub(super) struct Unfinished {
    path: PathBuf,
    keep: bool,
}

impl Unfinished {
    fn new_in(tmp: &Path) -> Result<Unfinished, ImageError> {
        let made = TempDir::new_in(tmp).map_err(|e| ImageError::cache("make a folder in", tmp, 0, e))?;
        Ok(Unfinished { path: made.keep(), keep: false })
    }

    fn keep(mut self) {
        self.keep = true;
    }

    /// Removes it at once, and tells how that went.
    pub(super) fn remove(mut self) -> Result<(), ImageError> {
        self.keep = true;
        tree::remove(&self.path).map_err(|e| ImageError::cache("remove", &self.path, 0, e))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = tree::remove(&self.path)
        {
            warn!(path = %self.path.display(), %error, "cannot remove an unfinished folder of the image cache");
        }
    }
}

/// The cache's folder, open.
pub(super) struct Cache {
    root: PathBuf,
    /// Its lock ends with the process.
    _lock: File,
}

impl Cache {
    /// Opens the cache in `root`, or makes it, and removes what a crash left unfinished.
    pub(super) fn open(root: &Path) -> Result<Cache, ImageError> {
        fs::create_dir_all(root).map_err(|e| ImageError::cache("make", root, 0, e))?;
        // Images bring set-uid programs and devices; nobody else on the host is to reach them.
        let private = fs::set_permissions(root, Permissions::from_mode(0o700));
        private.map_err(|e| ImageError::cache("protect", root, 0, e))?;
        let path = root.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(|e| ImageError::cache("open", &path, 0, e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(ImageError::InUse { path: root.to_owned() }),
            Err(fs::TryLockError::Error(error)) => return Err(ImageError::cache("lock", path, 0, error)),
        }
        let cache = Cache { root: root.to_owned(), _lock: lock };
        let tmp = cache.tmp();
        tree::remove(&tmp).map_err(|e| ImageError::cache("empty", tmp, 0, e))?;
        for folder in ["tmp", "blobs/sha256", "layers/sha256", "images", "names"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(|e| ImageError::cache("make", &path, 0, e))?;
        }
        Ok(cache)
    }

    pub(super) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    fn blob_path(&self, digest: Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    fn layer_path(&self, diff_id: Digest) -> PathBuf {
        self.root.join("layers/sha256").join(diff_id.hex())
    }

    fn image_path(&self, manifest: Digest) -> PathBuf {
        self.root.join("images").join(manifest.hex() + ".json")
    }

    fn name_path(&self, reference: &str) -> PathBuf {
        self.root.join("names").join(Digest::of(reference.as_bytes()).hex() + ".json")
    }

    /// The folder of a layer that is complete.
    pub(super) fn layer(&self, diff_id: Digest) -> Option<PathBuf> {
        Some(self.layer_path(diff_id).join("fs")).filter(|path| path.is_dir())
    }

    /// A new folder for a layer, and in it the place to unpack to.
    pub(super) fn new_layer(&self) -> Result<(Unfinished, PathBuf), ImageError> {
        let folder = Unfinished::new_in(&self.tmp())?;
        let fs = folder.path.join("fs");
        fs::create_dir(&fs).map_err(|e| ImageError::cache("make", &fs, 0, e))?;
        // `TempDir` makes private folders; programs in a container are not always root.
        let open = fs::set_permissions(&folder.path, Permissions::from_mode(0o755));
        open.and_then(|()| fs::set_permissions(&fs, Permissions::from_mode(0o755)))
            .map_err(|e| ImageError::cache("open up", &fs, 0, e))?;
        Ok((folder, fs))
    }

    /// Gives a layer that is unpacked and on the disk its name.
    pub(super) fn keep_layer(&self, folder: Unfinished, diff_id: Digest, bytes: u64) -> Result<(), ImageError> {
        let record = LayerRecord { version: VERSION, bytes };
        self.put_json(&folder.path.join("layer.json"), &record)?;
        let to = self.layer_path(diff_id);
        match fs::rename(&folder.path, &to) {
            Ok(()) => folder.keep(),
            // Somebody whose fetch was given up came first after all; the contents are the same.
            Err(_) if to.join("fs").is_dir() => return Ok(()),
            Err(error) => return Err(ImageError::cache("make", to, 0, error)),
        }
        self.sync_parent(&to)
    }

    /// The size of an unpacked layer; 0 where it is not known.
    pub(super) fn layer_bytes(&self, diff_id: Digest) -> u64 {
        let record: Option<LayerRecord> = read_json(&self.layer_path(diff_id).join("layer.json"));
        record.filter(|record| record.version == VERSION).map_or(0, |record| record.bytes)
    }

    /// A manifest or configuration, if it is here and still what its name says.
    pub(super) fn blob(&self, digest: Digest) -> Option<Vec<u8>> {
        fs::read(self.blob_path(digest)).ok().filter(|bytes| Digest::of(bytes) == digest)
    }

    pub(super) fn keep_blob(&self, digest: Digest, bytes: &[u8]) -> Result<(), ImageError> {
        self.put(&self.blob_path(digest), bytes)
    }

    /// The image with this manifest, if it is complete.
    pub(super) fn image(&self, manifest: Digest) -> Option<ImageRecord> {
        let record: ImageRecord = read_json(&self.image_path(manifest))?;
        let complete = record.version == VERSION && record.layers.iter().all(|diff_id| self.layer(*diff_id).is_some());
        complete.then_some(record)
    }

    /// What `reference` led to when it was last asked for.
    pub(super) fn named(&self, reference: &str) -> Option<ImageRecord> {
        let name: NameRecord = read_json(&self.name_path(reference))?;
        (name.version == VERSION && name.reference == reference).then_some(())?;
        self.image(name.manifest)
    }

    /// Records that the image is complete, is what `reference` leads to, and is used now.
    pub(super) fn keep_image(&self, reference: &str, image: &ImageRecord) -> Result<(), ImageError> {
        let path = self.image_path(image.manifest);
        if self.image(image.manifest).as_ref() != Some(image) {
            self.put_json(&path, image)?;
        }
        // A file written within the same tick of the kernel's clock as another gets the same time as it, so
        // the time is set even when the file is new: the order of use decides what is collected first.
        let touched = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        touched.map_err(|e| ImageError::cache("touch", &path, 0, e))?;
        let name = NameRecord { version: VERSION, reference: reference.to_owned(), manifest: image.manifest };
        let path = self.name_path(reference);
        if read_json(&path).as_ref() == Some(&name) { Ok(()) } else { self.put_json(&path, &name) }
    }

    fn put_json(&self, path: &Path, value: &impl Serialize) -> Result<(), ImageError> {
        let text = serde_json::to_vec(value).expect("digests, texts and numbers always make JSON");
        self.put(path, &text)
    }

    fn put(&self, path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
        let written = NamedTempFile::new_in(self.tmp()).and_then(|mut file| {
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)
        });
        written.map_err(|e| ImageError::cache("write", path, bytes.len() as u64, e))?;
        self.sync_parent(path)
    }

    fn sync_parent(&self, path: &Path) -> Result<(), ImageError> {
        let parent = path.parent().unwrap_or(&self.root);
        let synced = File::open(parent).and_then(|folder| folder.sync_all());
        synced.map_err(|e| ImageError::cache("write", parent, 0, e))
    }

    /// All images that have a record, with the time of their last use.
    pub(super) fn images(&self) -> Result<Vec<(SystemTime, ImageRecord)>, ImageError> {
        let mut images = Vec::new();
        for (name, path) in self.list("images")? {
            let manifest = name.strip_suffix(".json").and_then(Digest::from_hex);
            let Some(record) = manifest.and_then(|_| read_json::<ImageRecord>(&path)) else { continue };
            let used = fs::metadata(&path).and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            images.push((used, record));
        }
        Ok(images)
    }

    pub(super) fn blobs(&self) -> Result<Vec<Digest>, ImageError> {
        Ok(self.list("blobs/sha256")?.iter().filter_map(|(name, _)| Digest::from_hex(name)).collect())
    }

    pub(super) fn layers(&self) -> Result<Vec<Digest>, ImageError> {
        Ok(self.list("layers/sha256")?.iter().filter_map(|(name, _)| Digest::from_hex(name)).collect())
    }

    /// Removes the image's record, and the names that lead to it.
    pub(super) fn forget_image(&self, manifest: Digest) -> Result<(), ImageError> {
        let path = self.image_path(manifest);
        fs::remove_file(&path).map_err(|e| ImageError::cache("remove", &path, 0, e))?;
        for (_, path) in self.list("names")? {
            if read_json::<NameRecord>(&path).is_none_or(|name| name.manifest == manifest) {
                fs::remove_file(&path).map_err(|e| ImageError::cache("remove", &path, 0, e))?;
            }
        }
        Ok(())
    }

    pub(super) fn remove_blob(&self, digest: Digest) -> Result<(), ImageError> {
        let path = self.blob_path(digest);
        fs::remove_file(&path).map_err(|e| ImageError::cache("remove", &path, 0, e))
    }

    /// Takes a layer's name from it, which is quick; what is to be deleted, which is not, comes back.
    pub(super) fn condemn_layer(&self, diff_id: Digest) -> Result<Unfinished, ImageError> {
        let folder = Unfinished::new_in(&self.tmp())?;
        let from = self.layer_path(diff_id);
        let moved = fs::rename(&from, folder.path.join("old"));
        moved.map_err(|e| ImageError::cache("remove", &from, 0, e))?;
        Ok(folder)
    }

    fn list(&self, folder: &str) -> Result<Vec<(String, PathBuf)>, ImageError> {
        let path = self.root.join(folder);
        let entries = fs::read_dir(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let entries = entries.map_err(|e| ImageError::cache("list", &path, 0, e))?;
        Ok(entries.iter().map(|e| (e.file_name().to_string_lossy().into_owned(), e.path())).collect())
    }
}

/// A record that is missing or cannot be read counts as not there: what it names is fetched anew.
fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// Written by version 1; must stay readable.
    #[test]
    fn records_of_version_1_are_read() {
        let digest = Digest::of(b"");
        let image =
            format!(r#"{{"version":1,"manifest":"sha256:{HEX}","config":"sha256:{HEX}","layers":["sha256:{HEX}"]}}"#);
        let expected = ImageRecord::new(digest, digest, vec![digest]);
        assert_eq!(serde_json::from_str::<ImageRecord>(&image).unwrap(), expected);
        assert_eq!(serde_json::to_string(&expected).unwrap(), image);
        let name = format!(r#"{{"version":1,"reference":"a.b/c:1","manifest":"sha256:{HEX}"}}"#);
        let expected = NameRecord { version: 1, reference: "a.b/c:1".to_owned(), manifest: digest };
        assert_eq!(serde_json::from_str::<NameRecord>(&name).unwrap(), expected);
        let layer = LayerRecord { version: 1, bytes: 77 };
        assert_eq!(serde_json::from_str::<LayerRecord>(r#"{"version":1,"bytes":77}"#).unwrap(), layer);
    }

    #[test]
    fn what_a_crash_left_goes_and_two_processes_cannot_share() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let (half, fs) = cache.new_layer().unwrap();
        let unfinished = half.path.clone();
        half.keep();
        fs::write(fs.join("half"), "x").unwrap();
        assert!(matches!(Cache::open(folder.path()), Err(ImageError::InUse { .. })));
        drop(cache);
        Cache::open(folder.path()).unwrap();
        assert!(!unfinished.exists());
    }
}

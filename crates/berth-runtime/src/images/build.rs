//! Makes images: an OCI layout from a folder, or from layers given as tar streams. The same input
//! gives the same digests. For demonstrations and tests; no replacement for a build tool, and nothing
//! is taken from other images.

use std::fs::{self, File, FileType, Metadata};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use oci_spec::image::{
    ANNOTATION_REF_NAME, Config, Descriptor, ImageConfigurationBuilder, ImageIndex, ImageIndexBuilder,
    ImageManifestBuilder, MediaType, OciLayoutBuilder, Os, PlatformBuilder, RootFsBuilder,
};
use thiserror::Error;

use super::digest::Digest;
use super::manifest::{ImageConfig, architecture};

/// Why an image could not be made.
#[derive(Debug, Error)]
pub enum BuildError {
    /// A file or folder refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What was said.
        #[source]
        source: io::Error,
    },
    /// A socket or the like, which has no place in an image.
    #[error("{} is neither a file, a folder, a link, a device nor a pipe", path.display())]
    Kind {
        /// It.
        path: PathBuf,
    },
    /// An existing `index.json` that cannot be read.
    #[error("cannot read the index of the layout {}", path.display())]
    Index {
        /// The layout.
        path: PathBuf,
        /// What was said.
        #[source]
        source: serde_json::Error,
    },
    /// A document that breaks the rules of OCI.
    #[error("cannot write the image's documents")]
    Document(#[from] oci_spec::OciSpecError),
}

/// Writes the folder `root` as an image of one layer into the layout folder `layout`, which is made
/// where it is missing, under `tag`; an image that had the tag loses it. Everything belongs to root and
/// to the year 1970 in the image, so that the digest depends on names, contents and modes alone.
pub fn from_folder(root: &Path, config: &ImageConfig, layout: &Path, tag: &str) -> Result<Digest, BuildError> {
    let mut writer = LayoutWriter::open(layout)?;
    writer.layer(|out| {
        let mut archive = tar::Builder::new(out);
        archive.follow_symlinks(false);
        add_folder(&mut archive, root, Path::new("."))?;
        archive.into_inner().map(drop).map_err(|e| failed("write", layout, e))
    })?;
    writer.finish(config, tag)
}

/// An image on its way into a layout folder.
pub struct LayoutWriter {
    folder: PathBuf,
    layers: Vec<Descriptor>,
    diff_ids: Vec<String>,
}

impl LayoutWriter {
    /// Opens the layout folder `folder`, or makes it.
    pub fn open(folder: &Path) -> Result<LayoutWriter, BuildError> {
        let blobs = folder.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(|e| failed("make the folder", &blobs, e))?;
        let marker = OciLayoutBuilder::default().image_layout_version("1.0.0").build()?;
        write(&folder.join("oci-layout"), marker.to_string()?.as_bytes())?;
        Ok(LayoutWriter { folder: folder.to_owned(), layers: Vec::new(), diff_ids: Vec::new() })
    }

    /// Adds a layer, above those added before: `fill` writes its tar stream.
    pub fn layer(&mut self, fill: impl FnOnce(&mut dyn Write) -> Result<(), BuildError>) -> Result<(), BuildError> {
        let path = self.folder.join("layer.tmp");
        let file = File::create(&path).map_err(|e| failed("make", &path, e))?;
        // The gzip header gets no name and no time, so that equal layers have equal digests.
        let mut plain =
            HashingWriter::new(GzEncoder::new(HashingWriter::new(io::BufWriter::new(file)), Compression::fast()));
        fill(&mut plain)?;
        let (diff_id, gzip) = plain.finish();
        let packed = gzip.finish().map_err(|e| failed("write", &path, e))?;
        let (digest, mut file) = packed.finish();
        file.flush().map_err(|e| failed("write", &path, e))?;
        let size = fs::metadata(&path).map_err(|e| failed("look at", &path, e))?.len();
        let to = self.blob(digest);
        fs::rename(&path, &to).map_err(|e| failed("make", &to, e))?;
        self.layers.push(descriptor(MediaType::ImageLayerGzip, digest, size));
        self.diff_ids.push(diff_id.to_string());
        Ok(())
    }

    /// Writes the image's documents; gives the digest of its manifest.
    pub fn finish(self, config: &ImageConfig, tag: &str) -> Result<Digest, BuildError> {
        let rootfs = RootFsBuilder::default().typ("layers").diff_ids(self.diff_ids.clone()).build()?;
        let document = ImageConfigurationBuilder::default()
            .architecture(architecture())
            .os(Os::Linux)
            .rootfs(rootfs)
            .config(run_config(config))
            .build()?;
        let config = self.document(MediaType::ImageConfig, document.to_string()?.as_bytes())?;
        let manifest = ImageManifestBuilder::default()
            .schema_version(2u32)
            .media_type(MediaType::ImageManifest)
            .config(config)
            .layers(self.layers.clone())
            .build()?;
        let mut manifest = self.document(MediaType::ImageManifest, manifest.to_string()?.as_bytes())?;
        let digest = manifest.digest().to_string().parse().expect("it was made from one of our digests");
        let platform = PlatformBuilder::default().architecture(architecture()).os(Os::Linux).build()?;
        manifest.set_platform(Some(platform));
        manifest.set_annotations(Some([(ANNOTATION_REF_NAME.to_owned(), tag.to_owned())].into()));
        self.index(manifest, tag)?;
        Ok(digest)
    }

    /// Lists `manifest` in `index.json` in place of what had the tag.
    fn index(&self, manifest: Descriptor, tag: &str) -> Result<(), BuildError> {
        let path = self.folder.join("index.json");
        let mut manifests = match fs::read(&path) {
            Ok(bytes) => {
                let index: Result<ImageIndex, _> = serde_json::from_slice(&bytes);
                index.map_err(|source| BuildError::Index { path: self.folder.clone(), source })?.manifests().clone()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed("read", &path, error)),
        };
        manifests.retain(|entry| {
            entry.annotations().as_ref().and_then(|a| a.get(ANNOTATION_REF_NAME)).is_none_or(|name| name != tag)
        });
        manifests.push(manifest);
        let index = ImageIndexBuilder::default()
            .schema_version(2u32)
            .media_type(MediaType::ImageIndex)
            .manifests(manifests)
            .build()?;
        write(&path, index.to_string()?.as_bytes())
    }

    fn document(&self, kind: MediaType, bytes: &[u8]) -> Result<Descriptor, BuildError> {
        let digest = Digest::of(bytes);
        write(&self.blob(digest), bytes)?;
        Ok(descriptor(kind, digest, bytes.len() as u64))
    }

    fn blob(&self, digest: Digest) -> PathBuf {
        self.folder.join("blobs/sha256").join(digest.hex())
    }
}

fn descriptor(kind: MediaType, digest: Digest, size: u64) -> Descriptor {
    let digest: oci_spec::image::Digest = digest.to_string().parse().expect("our digests are digests to others");
    Descriptor::new(kind, size, digest)
}

fn run_config(config: &ImageConfig) -> Config {
    let mut run = Config::default();
    let some = |list: &Vec<String>| Some(list.clone()).filter(|list| !list.is_empty());
    run.set_env(some(&config.env))
        .set_entrypoint(some(&config.entrypoint))
        .set_cmd(some(&config.cmd))
        .set_user(config.user.clone())
        .set_working_dir(config.working_dir.clone())
        .set_stop_signal(config.stop_signal.clone());
    run
}

/// Adds `root`/`name` and all below it, in order of names.
fn add_folder<W: Write>(archive: &mut tar::Builder<W>, root: &Path, name: &Path) -> Result<(), BuildError> {
    let path = root.join(name);
    let meta = fs::symlink_metadata(&path).map_err(|e| failed("look at", &path, e))?;
    if !meta.is_dir() {
        return add_entry(archive, &path, name, &meta);
    }
    let mut header = header(&meta, tar::EntryType::Directory, 0);
    archive.append_data(&mut header, name.join(""), io::empty()).map_err(|e| failed("pack", &path, e))?;
    let list = fs::read_dir(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut names: Vec<_> = list.map_err(|e| failed("list", &path, e))?.iter().map(fs::DirEntry::file_name).collect();
    names.sort();
    names.into_iter().try_for_each(|child| add_folder(archive, root, &name.join(child)))
}

fn add_entry<W: Write>(
    archive: &mut tar::Builder<W>,
    path: &Path,
    name: &Path,
    meta: &Metadata,
) -> Result<(), BuildError> {
    let kind = entry_type(meta.file_type()).ok_or_else(|| BuildError::Kind { path: path.to_owned() })?;
    let done = match kind {
        tar::EntryType::Regular => {
            let file = File::open(path).map_err(|e| failed("read", path, e))?;
            archive.append_data(&mut header(meta, kind, meta.len()), name, file)
        }
        tar::EntryType::Symlink => {
            let target = fs::read_link(path).map_err(|e| failed("read", path, e))?;
            archive.append_link(&mut header(meta, kind, 0), name, target)
        }
        _ => {
            let mut header = header(meta, kind, 0);
            let device = meta.rdev();
            header
                .set_device_major(rustix::fs::major(device))
                .and_then(|()| header.set_device_minor(rustix::fs::minor(device)))
                .and_then(|()| archive.append_data(&mut header, name, io::empty()))
        }
    };
    done.map_err(|e| failed("pack", path, e))
}

fn entry_type(kind: FileType) -> Option<tar::EntryType> {
    let kinds = [
        (kind.is_file(), tar::EntryType::Regular),
        (kind.is_symlink(), tar::EntryType::Symlink),
        (kind.is_char_device(), tar::EntryType::Char),
        (kind.is_block_device(), tar::EntryType::Block),
        (kind.is_fifo(), tar::EntryType::Fifo),
    ];
    kinds.into_iter().find(|(is, _)| *is).map(|(_, kind)| kind)
}

fn header(meta: &Metadata, kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(meta.permissions().mode() & 0o7777);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let mut temporary = path.as_os_str().as_bytes().to_vec();
    temporary.extend_from_slice(b".tmp");
    let temporary = PathBuf::from(std::ffi::OsStr::from_bytes(&temporary));
    fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path)).map_err(|e| failed("write", path, e))
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> BuildError {
    BuildError::Io { operation, path: path.to_owned(), source }
}

/// Passes bytes on, and hashes them on the way.
struct HashingWriter<W> {
    inner: W,
    hasher: sha2::Sha256,
}

impl<W: Write> HashingWriter<W> {
    fn new(inner: W) -> HashingWriter<W> {
        HashingWriter { inner, hasher: sha2::Digest::new() }
    }

    fn finish(self) -> (Digest, W) {
        let bytes: [u8; 32] = sha2::Digest::finalize(self.hasher).into();
        (Digest::from(bytes), self.inner)
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        sha2::Digest::update(&mut self.hasher, &buf[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

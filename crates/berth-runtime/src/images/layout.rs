//! OCI layouts on this machine's disk: a folder, or a tar archive of one. Read only.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use oci_spec::image::{ANNOTATION_REF_NAME, Descriptor, ImageIndex};

use super::digest::Digest;
use super::error::ImageError;
use super::manifest::{self, Blob};

/// Entries of an archive; an image has a handful of files besides its layers.
const MAX_ARCHIVE_ENTRIES: usize = 10_000;
/// Bytes of an archive's headers; the tar library reads a header, long names included, into memory whole.
const MAX_ARCHIVE_HEADERS: u64 = 16 << 20;
/// Tags that an error names.
const MAX_SHOWN: usize = 10;

/// A layout, open for reading.
pub(super) enum Layout {
    /// The folder.
    Folder(PathBuf),
    /// The archive, and where in it each file lies: offset and size.
    Archive(PathBuf, BTreeMap<PathBuf, (u64, u64)>),
}

/// An archive of which only headers are read; contents are passed over.
struct Headers {
    file: File,
    left: u64,
}

impl Read for Headers {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the archive's headers exceed 16 MiB"));
        }
        let n = (&mut self.file).take(self.left).read(buf)?;
        self.left -= n as u64;
        Ok(n)
    }
}

impl Seek for Headers {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Layout {
    /// Lists what the archive `path` holds. Reads its headers only.
    pub(super) fn archive(path: &Path) -> Result<Layout, ImageError> {
        let failed = |source| ImageError::ReadLayout { path: path.to_owned(), source };
        let headers = Headers { file: File::open(path).map_err(failed)?, left: MAX_ARCHIVE_HEADERS };
        let mut archive = tar::Archive::new(headers);
        let mut files = BTreeMap::new();
        for (n, entry) in archive.entries_with_seek().map_err(failed)?.enumerate() {
            if n >= MAX_ARCHIVE_ENTRIES {
                return Err(failed(io::Error::new(io::ErrorKind::InvalidData, "the archive has over 10000 entries")));
            }
            let entry = entry.map_err(failed)?;
            let name = entry.path().map_err(failed)?;
            let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
            files.insert(name, (entry.raw_file_position(), entry.size()));
        }
        Ok(Layout::Archive(path.to_owned(), files))
    }

    fn path(&self) -> &Path {
        match self {
            Layout::Folder(path) | Layout::Archive(path, _) => path,
        }
    }

    /// The index or manifest that `tag` names.
    pub(super) fn find(&self, tag: Option<&str>) -> Result<Blob, ImageError> {
        let (mut file, size) = self.open(Path::new("index.json"))?;
        manifest::bounded("image index", size, manifest::MAX_MANIFEST)?;
        let mut bytes = Vec::new();
        let read = file.read_to_end(&mut bytes);
        read.map_err(|source| ImageError::ReadLayout { path: self.path().join("index.json"), source })?;
        self.choose(&manifest::read_index(&bytes)?, tag)
    }

    fn choose(&self, index: &ImageIndex, tag: Option<&str>) -> Result<Blob, ImageError> {
        let path = || self.path().to_owned();
        let tag_of = |entry: &Descriptor| entry.annotations().as_ref()?.get(ANNOTATION_REF_NAME).cloned();
        let tags: Vec<_> = index.manifests().iter().filter_map(tag_of).take(MAX_SHOWN).collect();
        let found = if tags.is_empty() { "none".to_owned() } else { tags.join(", ") };
        let named = |tag: &str| index.manifests().iter().find(|entry| tag_of(entry).as_deref() == Some(tag));
        let entry = match (tag, index.manifests().as_slice()) {
            (Some(tag), _) => {
                named(tag).ok_or_else(|| ImageError::NoTag { path: path(), tag: tag.to_owned(), found })?
            }
            (None, [only]) => only,
            (None, _) => named("latest").ok_or_else(|| ImageError::WhichTag { path: path(), found })?,
        };
        manifest::blob("image manifest", entry)
    }

    /// Opens the blob `digest`, at its beginning and up to its end.
    pub(super) fn blob(&self, digest: Digest) -> Result<io::Take<File>, ImageError> {
        Ok(self.open(&Path::new("blobs/sha256").join(digest.hex()))?.0)
    }

    /// A failure to read the blob `digest`.
    pub(super) fn unreadable(&self, digest: Digest, source: io::Error) -> ImageError {
        let path = match self {
            Layout::Folder(folder) => folder.join("blobs/sha256").join(digest.hex()),
            Layout::Archive(path, _) => path.clone(),
        };
        ImageError::ReadLayout { path, source }
    }

    fn open(&self, name: &Path) -> Result<(io::Take<File>, u64), ImageError> {
        match self {
            Layout::Folder(folder) => {
                let path = folder.join(name);
                let failed = |source| ImageError::ReadLayout { path: path.clone(), source };
                let file = File::open(&path).map_err(failed)?;
                let size = file.metadata().map_err(failed)?.len();
                // One more than it should be: a file that grows meanwhile is found out by its size.
                Ok((file.take(size.saturating_add(1)), size))
            }
            Layout::Archive(path, files) => {
                let missing = || ImageError::MissingEntry { path: path.clone(), entry: name.display().to_string() };
                let (offset, size) = *files.get(name).ok_or_else(missing)?;
                let failed = |source| ImageError::ReadLayout { path: path.clone(), source };
                let mut file = File::open(path).map_err(failed)?;
                file.seek(SeekFrom::Start(offset)).map_err(failed)?;
                Ok((file.take(size), size))
            }
        }
    }
}

//! Brings one layer from where it is into the cache: reads, checks and unpacks in one pass, on a
//! thread that may block. Nothing keeps its name before its digests are proven.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::{Buf, Bytes};
use flate2::read::MultiGzDecoder;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::cache::Cache;
use super::digest::{Digest, Hashing};
use super::error::ImageError;
use super::layout::Layout;
use super::manifest::{self, Blob, LayerBlob, Packing};
use super::reference::Version;
use super::registry::{Pace, Session};
use super::unpack::{self, Limits, UnpackError};

/// Largest window of a zstd frame: what the tool's own `--long` makes at most. More is a waste of memory.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Where an image comes from, open.
pub(super) enum Source {
    /// A registry.
    Registry(Session),
    /// A folder or archive.
    Layout(Arc<Layout>, Option<String>),
}

/// A layer's bytes on their way here.
pub(super) enum Body {
    Response(Box<reqwest::Response>, Pace),
    File(io::Take<std::fs::File>),
}

impl Source {
    /// What its places are shared out by: the registry, or the disk.
    pub(super) fn host(&self) -> &str {
        match self {
            Source::Registry(session) => session.host(),
            Source::Layout(..) => "",
        }
    }

    /// The document that the reference leads to.
    pub(super) async fn top(&self, version: Option<&Version>) -> Result<Vec<u8>, ImageError> {
        match (self, version) {
            (Source::Registry(session), Some(version)) => {
                let bytes = session.manifest(version).await?;
                match version {
                    Version::Digest(expected) => verified("image manifest", *expected, bytes),
                    Version::Tag(_) => Ok(bytes),
                }
            }
            (Source::Layout(layout, tag), _) => self.manifest(layout.find(tag.as_deref())?).await,
            (Source::Registry(_), None) => unreachable!("a registry's image has a version"),
        }
    }

    /// The index or manifest `blob`.
    pub(super) async fn manifest(&self, blob: Blob) -> Result<Vec<u8>, ImageError> {
        let what = "image manifest";
        manifest::bounded(what, blob.size, manifest::MAX_MANIFEST)?;
        let bytes = match self {
            Source::Registry(session) => session.manifest(&Version::Digest(blob.digest)).await?,
            Source::Layout(layout, _) => read_small(layout, what, blob)?,
        };
        verified(what, blob.digest, bytes)
    }

    /// The configuration `blob`.
    pub(super) async fn config(&self, blob: Blob) -> Result<Vec<u8>, ImageError> {
        let what = "image configuration";
        manifest::bounded(what, blob.size, manifest::MAX_CONFIG)?;
        let bytes = match self {
            Source::Registry(session) => session.small_blob(what, blob.digest, manifest::MAX_CONFIG).await?,
            Source::Layout(layout, _) => read_small(layout, what, blob)?,
        };
        verified(what, blob.digest, bytes)
    }

    /// Begins to read a layer.
    pub(super) async fn layer(&self, digest: Digest) -> Result<Body, ImageError> {
        match self {
            Source::Registry(session) => {
                session.layer(digest).await.map(|(response, pace)| Body::Response(Box::new(response), pace))
            }
            Source::Layout(layout, _) => layout.blob(digest).map(Body::File),
        }
    }

    fn broken(&self, error: reqwest::Error) -> ImageError {
        match self {
            Source::Registry(session) => session.broken(error),
            Source::Layout(..) => unreachable!("a layout on the disk needs no network"),
        }
    }

    fn slow(&self, layer: Digest) -> ImageError {
        match self {
            Source::Registry(session) => session.slow(layer),
            Source::Layout(..) => unreachable!("a layout on the disk needs no network"),
        }
    }
}

fn read_small(layout: &Layout, what: &'static str, blob: Blob) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    let file = layout.blob(blob.digest)?;
    let read = file.take(blob.size.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|source| layout.unreadable(blob.digest, source))?;
    let found = bytes.len() as u64;
    if found == blob.size {
        Ok(bytes)
    } else {
        Err(ImageError::Size { what, digest: blob.digest, expected: blob.size, found })
    }
}

fn verified(what: &'static str, expected: Digest, bytes: Vec<u8>) -> Result<Vec<u8>, ImageError> {
    let found = Digest::of(&bytes);
    if found == expected { Ok(bytes) } else { Err(ImageError::Digest { what, expected, found }) }
}

/// One layer to be fetched.
pub(super) struct LayerFetch {
    pub(super) cache: Arc<Cache>,
    pub(super) source: Arc<Source>,
    pub(super) layer: LayerBlob,
    pub(super) diff_id: Digest,
    pub(super) limits: Limits,
    /// Bytes so far, for those who watch.
    pub(super) fetched: Arc<AtomicU64>,
    /// Its sender goes when nobody waits any more.
    pub(super) wanted: watch::Receiver<()>,
}

impl LayerFetch {
    /// Reads `body` to its end. Blocks; needs the runtime for what comes over the network.
    pub(super) fn run(self, body: Body) -> Result<(), ImageError> {
        let fault = Fault::default();
        let incoming = Incoming {
            body: match body {
                Body::Response(response, pace) => {
                    Reading::Response { response, pace, handle: Handle::current(), chunk: Bytes::new() }
                }
                Body::File(file) => Reading::File(file),
            },
            fault: fault.clone(),
            source: Arc::clone(&self.source),
            fetched: Arc::clone(&self.fetched),
            wanted: self.wanted.clone(),
            blob: self.layer.blob,
            left: self.layer.blob.size,
        };
        let (folder, into) = self.cache.new_layer()?;
        let (result, packed) = self.unpack(Hashing::new(incoming), &into);
        // A local failure is one whatever the bytes are, and reading on would only cost time.
        let local = matches!(result, Err(ImageError::DiskFull { .. } | ImageError::Cache { .. }));
        if !local {
            self.prove(packed, &fault)?;
        }
        let (bytes, found) = result?;
        if found != self.diff_id {
            return Err(ImageError::Digest { what: "contents of a layer", expected: self.diff_id, found });
        }
        if self.wanted.has_changed().is_err() {
            return Err(ImageError::GivenUp);
        }
        self.cache.keep_layer(folder, self.diff_id, bytes)
    }

    /// Unpacks, and gives the reader back for what is behind the archive's end.
    fn unpack(
        &self,
        packed: Hashing<Incoming>,
        into: &std::path::Path,
    ) -> (Result<(u64, Digest), ImageError>, Hashing<Incoming>) {
        match self.layer.packing {
            Packing::Plain => {
                let mut plain = Hashing::new(packed);
                let result = self.unpack_plain(&mut plain, into);
                let (digest, packed) = plain.finish();
                (result.map(|bytes| (bytes, digest)), packed)
            }
            Packing::Gzip => {
                let mut plain = Hashing::new(MultiGzDecoder::new(packed));
                let result = self.unpack_plain(&mut plain, into);
                let (digest, decoder) = plain.finish();
                (result.map(|bytes| (bytes, digest)), decoder.into_inner())
            }
            Packing::Zstd => {
                let decoder = zstd::Decoder::new(packed).and_then(|mut decoder| {
                    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                    Ok(decoder)
                });
                let decoder = decoder.expect("a zstd context is plain memory, and 27 is a valid window");
                let mut plain = Hashing::new(decoder);
                let result = self.unpack_plain(&mut plain, into);
                let (digest, decoder) = plain.finish();
                (result.map(|bytes| (bytes, digest)), decoder.finish().into_inner())
            }
        }
    }

    fn unpack_plain(&self, plain: &mut Hashing<impl Read>, into: &std::path::Path) -> Result<u64, ImageError> {
        let failed = |error| ImageError::unpack(self.layer.blob.digest, error);
        let bytes = unpack::unpack(&mut *plain, into, self.limits).map_err(failed)?;
        // The end marks of the archive belong to its digest, and are bounded like the rest of it.
        let rest = self.limits.bytes.saturating_sub(bytes).saturating_add(1);
        let drained = io::copy(&mut plain.take(rest), &mut io::sink());
        match drained.map_err(|error| failed(UnpackError::Read(error)))? {
            n if n < rest => Ok(bytes),
            _ => Err(failed(UnpackError::TooBig(self.limits.bytes))),
        }
    }

    /// Whether the layer, as it came, is what its digest says. Goes before what was wrong inside it: a
    /// layer that was tampered with or cut short is reported as such, not as a broken archive.
    fn prove(&self, mut packed: Hashing<Incoming>, fault: &Fault) -> Result<(), ImageError> {
        let drained = io::copy(&mut packed, &mut io::sink());
        if let Some(error) = fault.take() {
            return Err(error);
        }
        let count = packed.count();
        let (found, _) = packed.finish();
        let Blob { digest, size } = self.layer.blob;
        if drained.is_ok() && count != size {
            return Err(ImageError::Size { what: "layer", digest, expected: size, found: count });
        }
        if found != digest {
            return Err(ImageError::Digest { what: "layer", expected: digest, found });
        }
        Ok(())
    }
}

/// The error of a reader that readers above it wrap beyond recognition.
#[derive(Clone, Default)]
struct Fault(Arc<Mutex<Option<ImageError>>>);

impl Fault {
    fn set(&self, error: ImageError) -> io::Error {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        io::Error::other("the layer did not arrive")
    }

    fn take(&self) -> Option<ImageError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

enum Reading {
    Response { response: Box<reqwest::Response>, pace: Pace, handle: Handle, chunk: Bytes },
    File(io::Take<std::fs::File>),
}

/// A layer as it comes, never longer than announced.
struct Incoming {
    body: Reading,
    fault: Fault,
    source: Arc<Source>,
    fetched: Arc<AtomicU64>,
    wanted: watch::Receiver<()>,
    blob: Blob,
    left: u64,
}

impl Incoming {
    fn more(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &mut self.body {
            Reading::File(file) => file.read(buf).map_err(|error| {
                let layout = match self.source.as_ref() {
                    Source::Layout(layout, _) => layout,
                    Source::Registry(_) => unreachable!("files come from layouts"),
                };
                self.fault.set(layout.unreadable(self.blob.digest, error))
            }),
            Reading::Response { response, pace, handle, chunk } => {
                while chunk.is_empty() {
                    let wanted = &mut self.wanted;
                    let asked = Instant::now();
                    let next = handle.block_on(async {
                        tokio::select! {
                            next = response.chunk() => Some(next),
                            _ = wanted.changed() => None,
                        }
                    });
                    match next {
                        Some(Ok(Some(next))) if pace.keeps_up(asked.elapsed(), next.len()) => *chunk = next,
                        Some(Ok(Some(_))) => return Err(self.fault.set(self.source.slow(self.blob.digest))),
                        Some(Ok(None)) => return Ok(0),
                        Some(Err(error)) => return Err(self.fault.set(self.source.broken(error))),
                        None => return Err(self.fault.set(ImageError::GivenUp)),
                    }
                }
                let n = chunk.len().min(buf.len());
                chunk.copy_to_slice(&mut buf[..n]);
                Ok(n)
            }
        }
    }
}

impl Read for Incoming {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.wanted.has_changed().is_err() {
            return Err(self.fault.set(ImageError::GivenUp));
        }
        let n = self.more(buf)?;
        if n as u64 > self.left {
            let Blob { digest, size } = self.blob;
            let error = ImageError::Size { what: "layer", digest, expected: size, found: size.saturating_add(1) };
            return Err(self.fault.set(error));
        }
        self.left -= n as u64;
        self.fetched.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

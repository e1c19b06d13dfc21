//! What can go wrong with an image, and what a person is told of it.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use berth_model::{Bytes, Failure, FailureKind, NotReady, Retry};
use thiserror::Error;

use super::digest::Digest;
use super::reference::ImageReference;
use super::unpack::UnpackError;

/// Longest sentence, in characters, that [`Failure`] takes.
const MAX_MESSAGE: usize = 1000;

/// Why an image is not there.
#[derive(Debug, Error)]
pub enum ImageError {
    /// No connection, or none that lasted.
    #[error("cannot reach the registry {host}{hint}")]
    Unreachable {
        /// The registry.
        host: String,
        /// What may be the cause, where we know more than the network does.
        hint: &'static str,
        /// What was said.
        #[source]
        source: reqwest::Error,
    },
    /// The registry lets a layer trickle.
    #[error("the registry {host} sent less than {least} of the layer {layer} in {window:?}")]
    Slow {
        /// The registry.
        host: String,
        /// What was asked for.
        layer: Digest,
        /// What should have come at least.
        least: Bytes,
        /// The time that it was given.
        window: std::time::Duration,
    },
    /// The registry cannot answer now.
    #[error("the registry {host} answered {status} to {what}; it may answer later")]
    Busy {
        /// The registry.
        host: String,
        /// The HTTP status.
        status: u16,
        /// What was asked for.
        what: String,
    },
    /// The registry wants somebody else.
    #[error("the registry {host} refused {what}: {why}")]
    Denied {
        /// The registry.
        host: String,
        /// What was asked for.
        what: String,
        /// What is missing.
        why: &'static str,
    },
    /// The registry has it not.
    #[error("the registry {host} has no {what}")]
    NotFound {
        /// The registry.
        host: String,
        /// What was asked for.
        what: String,
    },
    /// The registry answered something that the protocol does not know.
    #[error("the registry {host} answered {status} to {what}")]
    Answer {
        /// The registry.
        host: String,
        /// The HTTP status.
        status: u16,
        /// What was asked for.
        what: String,
    },
    /// The registry's demand for a token cannot be met.
    #[error("cannot log in to the registry {host}: {why}")]
    Login {
        /// The registry.
        host: String,
        /// What is wrong with its demand.
        why: &'static str,
    },
    /// The HTTP client could not be made.
    #[error("cannot set up HTTPS; are CA certificates installed on this node?")]
    Client(#[source] reqwest::Error),
    /// A layout or archive that cannot be read.
    #[error("cannot read {}", path.display())]
    ReadLayout {
        /// The file.
        path: PathBuf,
        /// What was said.
        #[source]
        source: io::Error,
    },
    /// An archive without a file that it must have.
    #[error("{} has no `{entry}`, so it is no OCI archive or an incomplete one", path.display())]
    MissingEntry {
        /// The archive.
        path: PathBuf,
        /// The entry.
        entry: String,
    },
    /// A layout without the tag.
    #[error("{} has no tag `{tag}`; it has: {found}", path.display())]
    NoTag {
        /// The layout or archive.
        path: PathBuf,
        /// The tag asked for.
        tag: String,
        /// What is there.
        found: String,
    },
    /// A layout with several images, and no tag to choose.
    #[error("{} has several images; add one of these tags: {found}", path.display())]
    WhichTag {
        /// The layout or archive.
        path: PathBuf,
        /// What is there.
        found: String,
    },
    /// JSON that is none, or has not the fields it must have.
    #[error("cannot read the {what}")]
    Json {
        /// Which document.
        what: &'static str,
        /// What was said.
        #[source]
        source: serde_json::Error,
    },
    /// A kind of document or layer that we do not know.
    #[error("the {what} has the media type `{found}`, which is not supported")]
    MediaType {
        /// Which document or layer.
        what: &'static str,
        /// Its type.
        found: String,
    },
    /// No variant for this machine.
    #[error("the image has no variant for {wanted}; it has: {found}")]
    Platform {
        /// What this machine is.
        wanted: String,
        /// What the image is for.
        found: String,
    },
    /// An index of indexes of indexes.
    #[error("the image index is nested too deeply")]
    Nested,
    /// Layers and their digests in the configuration do not match up.
    #[error("the image has {layers} layers but names the contents of {diff_ids}")]
    LayerCount {
        /// In the manifest.
        layers: usize,
        /// In the configuration.
        diff_ids: usize,
    },
    /// Something larger than we take.
    #[error("the {what} is larger than allowed: {size}, at most {limit}")]
    TooBig {
        /// Which document or layer.
        what: &'static str,
        /// Its size, as far as known.
        size: Bytes,
        /// The most.
        limit: Bytes,
    },
    /// More layers than overlayfs takes.
    #[error("the image has {found} layers, at most {limit} are allowed")]
    TooManyLayers {
        /// How many.
        found: usize,
        /// The most.
        limit: usize,
    },
    /// A digest of another algorithm.
    #[error("the {what} is named by a digest that is not supported")]
    DigestKind {
        /// Which document or layer.
        what: &'static str,
        /// What was said.
        #[source]
        source: super::digest::DigestError,
    },
    /// Contents that are not what they should be.
    #[error("the {what} is not what its digest says: expected {expected}, got {found}")]
    Digest {
        /// Which document or layer.
        what: &'static str,
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// Contents that are longer or shorter than they should be.
    #[error("the {what} {digest} is {found} long, not {expected}")]
    Size {
        /// Which document or layer.
        what: &'static str,
        /// What was asked for.
        digest: Digest,
        /// What was announced, in bytes.
        expected: u64,
        /// What came, in bytes; one more than expected where there is more.
        found: u64,
    },
    /// A layer that cannot be unpacked.
    #[error("cannot unpack the layer {layer}")]
    Unpack {
        /// Its digest.
        layer: Digest,
        /// Why.
        #[source]
        source: UnpackFailure,
    },
    /// The disk has no room.
    #[error("the disk is full: cannot write {}: {wanted} wanted, {free} free", path.display())]
    DiskFull {
        /// What was being written.
        path: PathBuf,
        /// How large it is.
        wanted: Bytes,
        /// What was free when the write failed.
        free: Bytes,
    },
    /// The cache cannot be used.
    #[error("cannot {operation} {} in the image cache", path.display())]
    Cache {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What was said.
        #[source]
        source: io::Error,
    },
    /// Another process has the cache open.
    #[error("the image cache {} is in use by another process", path.display())]
    InUse {
        /// Its folder.
        path: PathBuf,
    },
    /// Nobody waits for the image any more.
    #[error("the fetch was given up")]
    GivenUp,
}

/// Why a layer could not be unpacked; a wrapper, so that how it is done stays our own matter.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct UnpackFailure(pub(super) UnpackError);

impl ImageError {
    /// Whether the registry gave no answer, so that what is cached under the same name may serve.
    pub(super) fn is_unanswered(&self) -> bool {
        matches!(self, ImageError::Unreachable { .. } | ImageError::Busy { .. })
    }

    /// A failure to write to the cache, where a full disk is told apart.
    pub(super) fn cache(
        operation: &'static str,
        path: impl Into<PathBuf>,
        wanted: u64,
        source: io::Error,
    ) -> ImageError {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                let free = Bytes(free_at(&path));
                ImageError::DiskFull { path, wanted: Bytes(wanted), free }
            }
            _ => ImageError::Cache { operation, path, source },
        }
    }

    pub(super) fn unpack(layer: Digest, error: UnpackError) -> ImageError {
        match error {
            UnpackError::Write { path, wanted, source } => ImageError::cache("write", path, wanted, source),
            source => ImageError::Unpack { layer, source: UnpackFailure(source) },
        }
    }

    /// Whether the same may go well another time.
    fn retry(&self, reference: &ImageReference) -> Retry {
        match self {
            ImageError::Unreachable { .. }
            | ImageError::Slow { .. }
            | ImageError::Busy { .. }
            | ImageError::DiskFull { .. }
            | ImageError::Cache { .. }
            | ImageError::InUse { .. }
            | ImageError::GivenUp => Retry::MayHelp,
            // Something on the way may have damaged it; the disk gives the same again.
            ImageError::Digest { .. } | ImageError::Size { .. } => match reference {
                ImageReference::Registry(_) => Retry::MayHelp,
                ImageReference::Layout { .. } | ImageReference::Archive { .. } => Retry::Pointless,
            },
            ImageError::Denied { .. }
            | ImageError::NotFound { .. }
            | ImageError::Answer { .. }
            | ImageError::Login { .. }
            | ImageError::Client(_)
            | ImageError::ReadLayout { .. }
            | ImageError::MissingEntry { .. }
            | ImageError::NoTag { .. }
            | ImageError::WhichTag { .. }
            | ImageError::Json { .. }
            | ImageError::MediaType { .. }
            | ImageError::Platform { .. }
            | ImageError::Nested
            | ImageError::LayerCount { .. }
            | ImageError::TooBig { .. }
            | ImageError::TooManyLayers { .. }
            | ImageError::DigestKind { .. }
            | ImageError::Unpack { .. } => Retry::Pointless,
        }
    }

    /// The failure as the node's core and people get it.
    pub(super) fn into_not_ready(self, reference: &ImageReference) -> NotReady {
        let retry = self.retry(reference);
        let kind = match &self {
            ImageError::Digest { .. } | ImageError::Size { .. } => FailureKind::ImageDigest,
            ImageError::DiskFull { .. } => FailureKind::DiskFull,
            ImageError::Cache { .. } | ImageError::InUse { .. } | ImageError::Client(_) | ImageError::GivenUp => {
                FailureKind::Runtime
            }
            _ => FailureKind::Image,
        };
        let message = format!("image {reference}: {}", chain(&self));
        NotReady { failure: Failure { kind, message: message.chars().take(MAX_MESSAGE).collect() }, retry }
    }
}

/// An error and what led to it, in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// What the file system of `path` has free; 0 where it does not say.
fn free_at(path: &std::path::Path) -> u64 {
    let there = path.ancestors().find(|path| path.exists());
    there.and_then(|path| rustix::fs::statvfs(path).ok()).map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize))
}

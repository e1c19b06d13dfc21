//! The image store of one agent: makes sure that an image is there, and collects what nobody needs.
//!
//! A digest is never asked for again once it is here. A tag is asked for each time, since tags move;
//! when the registry does not answer, what the tag led to last time serves. Images are shared by all
//! jobs of the node: whoever may name one by digest gets it from the cache, whatever its credential.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use berth_model::{Bytes, NotReady, Progress};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::watch;
use tracing::{info, warn};

use super::cache::{Cache, ImageRecord};
use super::digest::Digest;
use super::error::ImageError;
use super::fetch::{LayerFetch, Source};
use super::layout::Layout;
use super::manifest::{self, Document, ImageConfig, LayerBlob, Manifest};
use super::places::Places;
use super::reference::{ImageReference, Version};
use super::registry::{Clients, Credential, Patience, Session};
use super::unpack::Limits;

/// An index may point to an index; more steps than this are a circle or a joke.
const MAX_INDEXES: usize = 3;
/// Between two reports of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// Images of one registry whose documents are fetched at the same time.
const RESOLVING: usize = 8;

/// Limits of a store.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Unpacked layers that are kept although no allocation needs them, together with those in use.
    pub keep: Bytes,
    /// Most bytes of one layer, unpacked, the headers of its archive included.
    pub max_layer: Bytes,
    /// Most memory for the names of one layer's folders, which are needed until all of it is unpacked.
    pub max_folders: Bytes,
    /// Most entries of one layer.
    pub max_entries: u64,
    /// Layers fetched at the same time from one registry, or from the disk; four times as many from all.
    pub parallel: usize,
    /// How long registries are waited for.
    pub patience: Patience,
}

impl Default for StoreConfig {
    fn default() -> StoreConfig {
        StoreConfig {
            keep: Bytes::gib(20),
            max_layer: Bytes::gib(32),
            max_folders: Bytes::mib(64),
            max_entries: 1_000_000,
            parallel: 3,
            patience: Patience::default(),
        }
    }
}

/// An image that is here. What a value of this type names is not collected while the value lives; who
/// lets go of it names its digest to [`Store::collect`] for as long as the layers are mounted.
#[derive(Clone, Debug)]
pub struct Image {
    /// Of its manifest.
    pub digest: Digest,
    /// Its layers' folders, ready as lower directories of overlayfs, the topmost first.
    pub layers: Vec<PathBuf>,
    /// How it wants to be run.
    pub config: ImageConfig,
    /// Keeps it from being collected.
    _pin: Arc<Pin>,
}

/// What a collection removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Images.
    pub images: usize,
    /// Layers.
    pub layers: usize,
    /// Bytes of the layers' files.
    pub freed: Bytes,
}

/// The store. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    cache: Arc<Cache>,
    config: StoreConfig,
    clients: Arc<Clients>,
    /// For documents.
    resolving: Places,
    /// For layers.
    fetching: Places,
    /// Layers that somebody fetches from a host, so that all others wait for the same bytes. By host: what one
    /// only claims to have must not hold up those who ask another.
    slots: Mutex<BTreeMap<(String, Digest), Weak<Slot>>>,
    pins: Arc<Pins>,
}

/// One layer being fetched.
#[derive(Default)]
struct Slot {
    turn: tokio::sync::Mutex<()>,
    fetched: Arc<AtomicU64>,
}

/// How often each digest is held, by fetches under way and by [`Image`]s.
#[derive(Debug, Default)]
struct Pins(Mutex<BTreeMap<Digest, usize>>);

impl Pins {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Holds some digests.
#[derive(Debug)]
struct Pin {
    pins: Arc<Pins>,
    digests: Vec<Digest>,
}

impl Pin {
    fn new(pins: &Arc<Pins>, digests: Vec<Digest>) -> Arc<Pin> {
        let mut held = pins.lock();
        digests.iter().for_each(|digest| *held.entry(*digest).or_default() += 1);
        drop(held);
        Arc::new(Pin { pins: Arc::clone(pins), digests })
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut held = self.pins.lock();
        for digest in &self.digests {
            if let Some(count) = held.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    held.remove(digest);
                }
            }
        }
    }
}

/// An image whose documents are here, and its layers perhaps.
struct Resolved {
    record: ImageRecord,
    layers: Vec<LayerBlob>,
    config: ImageConfig,
    pin: Arc<Pin>,
}

impl Store {
    /// Opens the store in the folder `dir`, or makes it. Blocks, shortly.
    pub fn open(dir: &Path, config: StoreConfig) -> Result<Store, ImageError> {
        let inner = Inner {
            cache: Arc::new(Cache::open(dir)?),
            resolving: Places::new(RESOLVING),
            fetching: Places::new(config.parallel),
            clients: Arc::new(Clients::new(config.patience)),
            config,
            slots: Mutex::default(),
            pins: Arc::default(),
        };
        Ok(Store { inner: Arc::new(inner) })
    }

    /// Makes sure that the image is here. Several at a time are well, of the same image too: each layer
    /// is fetched once. `progress` is called now and then, with what is still to be fetched as total.
    /// Dropping the future gives the fetch up, unless others wait for it.
    pub async fn ensure(
        &self,
        reference: &ImageReference,
        credential: Option<&Credential>,
        progress: impl Fn(Progress),
    ) -> Result<Image, NotReady> {
        let ensured = self.inner.ensure(reference, credential, &progress).await;
        ensured.map_err(|error| error.into_not_ready(reference))
    }

    /// Removes what is neither in use nor among the most recently used [`StoreConfig::keep`] bytes.
    /// `in_use` are the digests of the images that allocations run from. Blocks while files are deleted.
    pub fn collect(&self, in_use: &BTreeSet<Digest>) -> Result<Collected, ImageError> {
        self.inner.collect(in_use)
    }
}

impl Inner {
    async fn ensure(
        &self,
        reference: &ImageReference,
        credential: Option<&Credential>,
        progress: &impl Fn(Progress),
    ) -> Result<Image, ImageError> {
        let name = reference.to_string();
        let fixed = matches!(reference, ImageReference::Registry(r) if matches!(r.version, Version::Digest(_)));
        if fixed && let Some(image) = self.cached(&name)? {
            return Ok(image);
        }
        let source = Arc::new(self.source(reference, credential)?);
        let resolved = match self.resolve(&source, reference).await {
            Err(error) if error.is_unanswered() => {
                let Some(image) = self.cached(&name)? else { return Err(error) };
                let why = super::error::chain(&error);
                warn!(image = %name, digest = %image.digest, %why, "registry gave no answer, using the cached image");
                return Ok(image);
            }
            resolved => resolved?,
        };
        self.fetch(&source, &resolved, progress).await?;
        self.cache.keep_image(&name, &resolved.record)?;
        self.image(&resolved.record, resolved.config, resolved.pin)
    }

    fn source(&self, reference: &ImageReference, credential: Option<&Credential>) -> Result<Source, ImageError> {
        Ok(match reference {
            ImageReference::Registry(reference) => {
                Source::Registry(Session::new(Arc::clone(&self.clients), reference.clone(), credential.cloned()))
            }
            ImageReference::Layout { folder, tag } => {
                Source::Layout(Arc::new(Layout::Folder(folder.clone())), tag.clone())
            }
            ImageReference::Archive { file, tag } => Source::Layout(Arc::new(Layout::archive(file)?), tag.clone()),
        })
    }

    /// What the name led to last time, if all of it is here.
    fn cached(&self, name: &str) -> Result<Option<Image>, ImageError> {
        let Some(record) = self.cache.named(name) else { return Ok(None) };
        let pin = self.pin(&record);
        // Looked at again under the pin: a collection may have come in between.
        let (Some(record), Some(config)) = (self.cache.named(name), self.cache.blob(record.config)) else {
            return Ok(None);
        };
        self.cache.keep_image(name, &record)?;
        self.image(&record, manifest::config(&config)?.0, pin).map(Some)
    }

    fn pin(&self, record: &ImageRecord) -> Arc<Pin> {
        let digests = record.layers.iter().chain([&record.manifest, &record.config]).copied().collect();
        Pin::new(&self.pins, digests)
    }

    fn image(&self, record: &ImageRecord, config: ImageConfig, pin: Arc<Pin>) -> Result<Image, ImageError> {
        let mut layers = Vec::new();
        for diff_id in record.layers.iter().rev() {
            let folder = self.cache.layer(*diff_id).expect("a pinned layer stays");
            // Overlayfs refuses a folder twice, and only the topmost occurrence of a layer shows.
            if !layers.contains(&folder) {
                layers.push(folder);
            }
        }
        Ok(Image { digest: record.manifest, layers, config, _pin: pin })
    }

    /// Follows the reference to its manifest and configuration.
    async fn resolve(&self, source: &Source, reference: &ImageReference) -> Result<Resolved, ImageError> {
        let _place = self.resolving.take(source.host()).await;
        let version = match reference {
            ImageReference::Registry(reference) => Some(&reference.version),
            ImageReference::Layout { .. } | ImageReference::Archive { .. } => None,
        };
        let mut bytes = source.top(version).await?;
        for _ in 0..MAX_INDEXES {
            match manifest::read(&bytes)? {
                Document::Manifest(manifest) => return self.documents(source, &bytes, manifest).await,
                Document::Index(ours) => bytes = source.manifest(ours).await?,
            }
        }
        Err(ImageError::Nested)
    }

    async fn documents(&self, source: &Source, bytes: &[u8], manifest: Manifest) -> Result<Resolved, ImageError> {
        let digest = Digest::of(bytes);
        let documents = Pin::new(&self.pins, vec![digest, manifest.config.digest]);
        let config_bytes = match self.cache.blob(manifest.config.digest) {
            Some(bytes) => bytes,
            None => {
                let bytes = source.config(manifest.config).await?;
                self.cache.keep_blob(manifest.config.digest, &bytes)?;
                bytes
            }
        };
        let (config, diff_ids) = manifest::config(&config_bytes)?;
        if diff_ids.len() != manifest.layers.len() {
            return Err(ImageError::LayerCount { layers: manifest.layers.len(), diff_ids: diff_ids.len() });
        }
        let record = ImageRecord::new(digest, manifest.config.digest, diff_ids);
        let pin = self.pin(&record);
        if self.cache.blob(digest).is_none() {
            self.cache.keep_blob(digest, bytes)?;
        }
        drop(documents);
        Ok(Resolved { record, layers: manifest.layers, config, pin })
    }

    /// Fetches the layers that are not here.
    async fn fetch(
        &self,
        source: &Arc<Source>,
        resolved: &Resolved,
        progress: &impl Fn(Progress),
    ) -> Result<(), ImageError> {
        let mut missing = BTreeMap::new();
        for (diff_id, layer) in resolved.record.layers.iter().zip(&resolved.layers) {
            if self.cache.layer(*diff_id).is_none() {
                missing.insert(*diff_id, (*layer, self.slot(source.host(), *diff_id)));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let total = missing.values().map(|(layer, _)| layer.blob.size).fold(0, u64::saturating_add);
        let slots: Vec<_> = missing.values().map(|(_, slot)| Arc::clone(slot)).collect();
        let so_far = || {
            let done = slots.iter().map(|slot| slot.fetched.load(Ordering::Relaxed)).fold(0, u64::saturating_add);
            Progress { done: Bytes(done.min(total)), total: Bytes(total) }
        };
        let layers = missing.into_iter().map(|(diff_id, (layer, slot))| self.layer(source, layer, diff_id, slot));
        let mut all = std::pin::pin!(
            futures::stream::iter(layers).buffer_unordered(self.config.parallel.max(1)).try_collect::<()>()
        );
        let mut tick = tokio::time::interval(PROGRESS_EVERY);
        loop {
            tokio::select! {
                result = &mut all => {
                    result?;
                    progress(Progress { done: Bytes(total), total: Bytes(total) });
                    return Ok(());
                }
                _ = tick.tick() => progress(so_far()),
            }
        }
    }

    fn slot(&self, host: &str, diff_id: Digest) -> Arc<Slot> {
        let key = (host.to_owned(), diff_id);
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, slot| slot.strong_count() > 0);
        if let Some(slot) = slots.get(&key).and_then(Weak::upgrade) {
            return slot;
        }
        let slot = Arc::new(Slot::default());
        slots.insert(key, Arc::downgrade(&slot));
        slot
    }

    /// Fetches one layer, or waits until somebody else has; if they fail, it is our turn to try, with our
    /// own credential.
    async fn layer(
        &self,
        source: &Arc<Source>,
        layer: LayerBlob,
        diff_id: Digest,
        slot: Arc<Slot>,
    ) -> Result<(), ImageError> {
        let _turn = slot.turn.lock().await;
        if self.cache.layer(diff_id).is_some() {
            return Ok(());
        }
        let _place = self.fetching.take(source.host()).await;
        slot.fetched.store(0, Ordering::Relaxed);
        let body = source.layer(layer.blob.digest).await?;
        // Goes with this future: so the blocking half learns that its waiting half has gone.
        let (_waiting, wanted) = watch::channel(());
        let fetch = LayerFetch {
            cache: Arc::clone(&self.cache),
            source: Arc::clone(source),
            layer,
            diff_id,
            limits: Limits {
                entries: self.config.max_entries,
                bytes: self.config.max_layer.0,
                folders: self.config.max_folders.0,
            },
            fetched: Arc::clone(&slot.fetched),
            wanted,
        };
        match tokio::task::spawn_blocking(move || fetch.run(body)).await {
            Ok(result) => result,
            Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
            // The runtime is shutting down.
            Err(_) => Err(ImageError::GivenUp),
        }
    }

    fn collect(&self, in_use: &BTreeSet<Digest>) -> Result<Collected, ImageError> {
        let mut collected = Collected::default();
        let mut condemned = Vec::new();
        {
            // While this is held, no fetch can begin to rely on what is about to go. Names only change
            // here; the files are deleted afterwards.
            let pins = self.pins.lock();
            let mut images = self.cache.images()?;
            images.sort_by_key(|(used, image)| (*used, image.manifest));
            let held = |image: &ImageRecord| in_use.contains(&image.manifest) || pins.contains_key(&image.manifest);
            let (mut kept, mut unused): (Vec<_>, Vec<_>) =
                images.into_iter().map(|(_, image)| image).partition(|image| held(image));
            let mut layers: BTreeSet<Digest> = kept.iter().flat_map(|image| image.layers.iter().copied()).collect();
            // The most recently used first, as long as they fit.
            while let Some(image) = unused.pop() {
                let with: BTreeSet<_> = layers.iter().chain(&image.layers).copied().collect();
                if with.iter().map(|layer| self.cache.layer_bytes(*layer)).sum::<u64>() > self.config.keep.0 {
                    unused.push(image);
                    break;
                }
                layers = with;
                kept.push(image);
            }
            for image in &unused {
                self.cache.forget_image(image.manifest)?;
                collected.images += 1;
            }
            for layer in self.cache.layers()? {
                if !layers.contains(&layer) && !pins.contains_key(&layer) {
                    collected.freed.0 += self.cache.layer_bytes(layer);
                    collected.layers += 1;
                    condemned.push(self.cache.condemn_layer(layer)?);
                }
            }
            let blobs: BTreeSet<_> = kept.iter().flat_map(|image| [image.manifest, image.config]).collect();
            for blob in self.cache.blobs()? {
                if !blobs.contains(&blob) && !pins.contains_key(&blob) {
                    self.cache.remove_blob(blob)?;
                }
            }
        }
        for folder in condemned {
            folder.remove()?;
        }
        info!(images = collected.images, layers = collected.layers, freed = %collected.freed, "images collected");
        Ok(collected)
    }
}

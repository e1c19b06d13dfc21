//! Reads indexes, manifests and configurations, of OCI and of Docker (version 2, schema 2).
//! Bytes in, values out: nothing is fetched or stored here.

use berth_model::Bytes;
use oci_spec::image::{Arch, Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType, Os};
use serde::Deserialize;

use super::digest::Digest;
use super::error::ImageError;

/// Most bytes of an index or a manifest; registries refuse larger ones on push.
pub(super) const MAX_MANIFEST: u64 = 4 << 20;
/// Most bytes of a configuration.
pub(super) const MAX_CONFIG: u64 = 8 << 20;
/// Most layers: what fits into one mount of overlayfs, and what Docker allows too.
pub(super) const MAX_LAYERS: usize = 127;
/// Entries of an index that an error names.
const MAX_SHOWN: usize = 8;

const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";

/// What we ask a registry for.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// What an image says about how to run it. The job's own words go first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// `NAME=value` each.
    pub env: Vec<String>,
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// Arguments for the entrypoint; without one, the program itself.
    pub cmd: Vec<String>,
    /// `user`, `uid`, `user:group` or `uid:gid`.
    pub user: Option<String>,
    /// Where the program starts.
    pub working_dir: Option<String>,
    /// How it wants to be asked to end: a name or number.
    pub stop_signal: Option<String>,
}

/// A blob as a manifest names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blob {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// How a layer's tar stream is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// A layer as a manifest names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayerBlob {
    pub(super) blob: Blob,
    pub(super) packing: Packing,
}

/// A manifest.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub(super) config: Blob,
    /// The base first, as manifests have it.
    pub(super) layers: Vec<LayerBlob>,
}

/// What a reference leads to.
pub(super) enum Document {
    /// An image.
    Manifest(Manifest),
    /// Several variants of one; this is ours.
    Index(Blob),
}

/// The fields that tell an index from a manifest.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    schema_version: u32,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
}

/// Reads an index or a manifest.
pub(super) fn read(bytes: &[u8]) -> Result<Document, ImageError> {
    let outline: Outline = json("image manifest", bytes)?;
    let kind = outline.media_type.as_deref();
    if outline.schema_version != 2 {
        let found = format!("{} (schema version {})", kind.unwrap_or("none"), outline.schema_version);
        return Err(ImageError::MediaType { what: "image manifest", found });
    }
    let index = match kind {
        Some(DOCKER_INDEX) => true,
        Some(DOCKER_MANIFEST) => false,
        Some(other) => match MediaType::from(other) {
            MediaType::ImageIndex => true,
            MediaType::ImageManifest => false,
            _ => return Err(ImageError::MediaType { what: "image manifest", found: other.to_owned() }),
        },
        // The field is optional in OCI documents.
        None => outline.manifests.is_some(),
    };
    if index { ours(&read_index(bytes)?).map(Document::Index) } else { manifest(bytes).map(Document::Manifest) }
}

/// Reads an index as such, for the tags in a layout's `index.json`.
pub(super) fn read_index(bytes: &[u8]) -> Result<ImageIndex, ImageError> {
    json("image index", bytes)
}

fn manifest(bytes: &[u8]) -> Result<Manifest, ImageError> {
    let manifest: ImageManifest = json("image manifest", bytes)?;
    let config = manifest.config();
    match config.media_type() {
        MediaType::ImageConfig => {}
        MediaType::Other(kind) if kind == DOCKER_CONFIG => {}
        other => return Err(ImageError::MediaType { what: "image configuration", found: other.to_string() }),
    }
    let found = manifest.layers().len();
    if found > MAX_LAYERS {
        return Err(ImageError::TooManyLayers { found, limit: MAX_LAYERS });
    }
    let layers = manifest.layers().iter().map(layer).collect::<Result<_, _>>()?;
    Ok(Manifest { config: blob("image configuration", config)?, layers })
}

fn layer(descriptor: &Descriptor) -> Result<LayerBlob, ImageError> {
    let packing = match descriptor.media_type() {
        MediaType::ImageLayer | MediaType::ImageLayerNonDistributable => Packing::Plain,
        MediaType::ImageLayerGzip | MediaType::ImageLayerNonDistributableGzip => Packing::Gzip,
        MediaType::ImageLayerZstd | MediaType::ImageLayerNonDistributableZstd => Packing::Zstd,
        MediaType::Other(kind) if kind == DOCKER_LAYER => Packing::Plain,
        MediaType::Other(kind) if kind == DOCKER_LAYER_GZIP => Packing::Gzip,
        MediaType::Other(kind) if kind == DOCKER_LAYER_ZSTD => Packing::Zstd,
        other => return Err(ImageError::MediaType { what: "layer", found: other.to_string() }),
    };
    Ok(LayerBlob { blob: blob("layer", descriptor)?, packing })
}

/// A descriptor as ours.
pub(super) fn blob(what: &'static str, descriptor: &Descriptor) -> Result<Blob, ImageError> {
    let digest = descriptor.digest().to_string().parse();
    let digest = digest.map_err(|source| ImageError::DigestKind { what, source })?;
    Ok(Blob { digest, size: descriptor.size() })
}

/// The entry of an index that is for this machine. One that names no platform will do where it is the
/// only image: the configuration is asked later.
fn ours(index: &ImageIndex) -> Result<Blob, ImageError> {
    let entries = index.manifests();
    let fits = |entry: &&Descriptor| {
        entry.platform().as_ref().is_some_and(|p| *p.os() == Os::Linux && *p.architecture() == architecture())
    };
    let found = entries.iter().find(fits).or(match entries.as_slice() {
        [only] if only.platform().is_none() => Some(only),
        _ => None,
    });
    let platform = |entry: &Descriptor| match entry.platform() {
        Some(platform) => format!("{}/{}", platform.os(), platform.architecture()),
        None => "unnamed".to_owned(),
    };
    match found {
        Some(entry) => blob("image manifest", entry),
        None => Err(ImageError::Platform {
            wanted: wanted(),
            found: entries.iter().take(MAX_SHOWN).map(platform).collect::<Vec<_>>().join(", "),
        }),
    }
}

/// Reads a configuration: how to run the image, and the digests of its layers' contents.
pub(super) fn config(bytes: &[u8]) -> Result<(ImageConfig, Vec<Digest>), ImageError> {
    let read: ImageConfiguration = json("image configuration", bytes)?;
    if *read.os() != Os::Linux || *read.architecture() != architecture() {
        let found = format!("{}/{}", read.os(), read.architecture());
        return Err(ImageError::Platform { wanted: wanted(), found });
    }
    let diff_id = |text: &String| text.parse().map_err(|source| ImageError::DigestKind { what: "layer", source });
    let diff_ids = read.rootfs().diff_ids().iter().map(diff_id).collect::<Result<_, _>>()?;
    let Some(run) = read.config() else { return Ok((ImageConfig::default(), diff_ids)) };
    // Docker writes "" for what is not set.
    let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let config = ImageConfig {
        env: run.env().clone().unwrap_or_default(),
        entrypoint: run.entrypoint().clone().unwrap_or_default(),
        cmd: run.cmd().clone().unwrap_or_default(),
        user: set(run.user()),
        working_dir: set(run.working_dir()),
        stop_signal: set(run.stop_signal()),
    };
    Ok((config, diff_ids))
}

/// What this machine is, in the words of images.
pub(super) fn architecture() -> Arch {
    match std::env::consts::ARCH {
        "x86_64" => Arch::Amd64,
        "aarch64" => Arch::ARM64,
        other => Arch::from(other),
    }
}

fn wanted() -> String {
    format!("linux/{}", architecture())
}

/// Refuses what is announced as larger than we take.
pub(super) fn bounded(what: &'static str, size: u64, limit: u64) -> Result<(), ImageError> {
    if size > limit { Err(ImageError::TooBig { what, size: Bytes(size), limit: Bytes(limit) }) } else { Ok(()) }
}

fn json<'a, T: Deserialize<'a>>(what: &'static str, bytes: &'a [u8]) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|source| ImageError::Json { what, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn index(kind: &str, platforms: &[&str]) -> String {
        let entry = |p: &&str| {
            format!(r#"{{"mediaType":"{DOCKER_MANIFEST}","digest":"sha256:{HEX}","size":7,"platform":{p}}}"#)
        };
        let entries = platforms.iter().map(entry).collect::<Vec<_>>().join(",");
        format!(r#"{{"schemaVersion":2,"mediaType":"{kind}","manifests":[{entries}]}}"#)
    }

    fn one_layer(layer: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{DOCKER_MANIFEST}",
               "config":{{"mediaType":"{DOCKER_CONFIG}","digest":"sha256:{HEX}","size":2}},
               "layers":[{{"mediaType":"{layer}","digest":"sha256:{HEX}","size":3}}]}}"#
        )
    }

    fn error(text: &str) -> String {
        match read(text.as_bytes()) {
            Ok(_) => panic!("read {text}"),
            Err(error) => super::super::error::chain(&error),
        }
    }

    #[test]
    fn docker_manifests_are_read() {
        for (kind, packing) in
            [(DOCKER_LAYER, Packing::Plain), (DOCKER_LAYER_GZIP, Packing::Gzip), (DOCKER_LAYER_ZSTD, Packing::Zstd)]
        {
            match read(one_layer(kind).as_bytes()).unwrap() {
                Document::Manifest(manifest) => assert_eq!(manifest.layers[0].packing, packing),
                Document::Index(_) => panic!("a manifest was read as an index"),
            }
        }
    }

    #[test]
    fn an_index_gives_the_variant_of_this_machine() {
        let ours = format!(r#"{{"os":"linux","architecture":"{}"}}"#, architecture());
        let text = index(DOCKER_INDEX, &[r#"{"os":"windows","architecture":"amd64"}"#, &ours]);
        assert!(matches!(read(text.as_bytes()).unwrap(), Document::Index(blob) if blob.size == 7));
        let said =
            error(&index("application/vnd.oci.image.index.v1+json", &[r#"{"os":"linux","architecture":"s390x"}"#]));
        assert_eq!(said, format!("the image has no variant for linux/{}; it has: linux/s390x", architecture()));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        assert_eq!(
            error(&one_layer("application/vnd.wasm.content.layer.v1+wasm")),
            "the layer has the media type `application/vnd.wasm.content.layer.v1+wasm`, which is not supported"
        );
        assert!(error(r#"{"schemaVersion":1,"name":"x"}"#).contains("schema version 1"));
        assert!(error("<html>").starts_with("cannot read the image manifest: expected value"));
        let other = one_layer(DOCKER_LAYER).replace(&format!("sha256:{HEX}"), &format!("sha512:{HEX}{HEX}"));
        assert!(error(&other).contains("named by a digest that is not supported: `sha512:"));
    }

    #[test]
    fn a_configuration_of_another_machine_is_refused() {
        let text = r#"{"os":"linux","architecture":"s390x","rootfs":{"type":"layers","diff_ids":[]}}"#;
        assert!(matches!(config(text.as_bytes()), Err(ImageError::Platform { .. })));
    }
}

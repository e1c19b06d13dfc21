//! Images: from a registry, an OCI layout folder or an archive into a content-addressed cache of
//! unpacked layers, ready to be mounted. Mounts nothing, runs nothing, and decides nothing about when
//! to try again.
//!
//! [`Store`] is the way in; [`build`] makes images. Inside, from the outside in: `reference` reads what
//! a job says, `registry` and `layout` are where images come from, `manifest` reads their documents,
//! `fetch` proves and `unpack` writes a layer, `places` shares out who may fetch, `cache` is the folder.

pub mod build;
mod cache;
mod digest;
mod error;
mod fetch;
mod layout;
mod manifest;
mod places;
mod reference;
mod registry;
mod store;
mod unpack;

pub use digest::{Digest, DigestError};
pub use error::{ImageError, UnpackFailure};
pub use manifest::ImageConfig;
pub use reference::{ImageReference, ReferenceError, RegistryReference, Version};
pub use registry::{Credential, Patience};
pub use store::{Collected, Image, Store, StoreConfig};

//! Images. For now a reference `oci:FOLDER` names a folder that is a root file system.

use std::path::{Path, PathBuf};

use berth_model::{Failure, FailureKind, Progress};

/// What an image says about how to run it.
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

/// An image that is here.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its layers' folders, the topmost first.
    pub layers: Vec<PathBuf>,
    /// How it wants to be run.
    pub config: ImageConfig,
}

/// Where an image is.
#[derive(Clone, Debug)]
pub struct ImageReference(PathBuf);

impl ImageReference {
    /// Reads a reference.
    pub fn parse(text: &str) -> Result<Self, std::io::Error> {
        let folder = text.strip_prefix("oci:").ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(Self(folder.into()))
    }
}

/// What an agent may show to a registry.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A bearer token.
    Token(String),
}

/// Limits of a store.
#[derive(Clone, Debug, Default)]
pub struct StoreConfig {}

/// The store.
#[derive(Clone)]
pub struct Store {}

impl Store {
    /// Opens the store.
    pub fn open(_: &Path, _: StoreConfig) -> Result<Self, std::io::Error> {
        Ok(Self {})
    }

    /// Makes sure that the image is here.
    pub async fn ensure(
        &self,
        reference: &ImageReference,
        _: Option<&Credential>,
        _: impl Fn(Progress),
    ) -> Result<Image, Failure> {
        if reference.0.is_dir() {
            Ok(Image { layers: vec![reference.0.clone()], config: ImageConfig::default() })
        } else {
            Err(Failure { kind: FailureKind::Image, message: format!("no folder {}", reference.0.display()) })
        }
    }
}

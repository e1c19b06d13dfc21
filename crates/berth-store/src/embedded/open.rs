//! Finding, making and checking the file of an embedded store.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::{Builder, DatabaseError};

use super::engine::{Engine, FORMAT, SetupError};
use crate::OpenError;
use crate::error::Damage;

/// Memory that the engine may use to keep pages at hand.
const CACHE_BYTES: usize = 32 << 20;

/// Opens the store in this file, made anew with its folder when it is not there.
pub(super) fn open(path: &Path) -> Result<Engine, OpenError> {
    make_if_missing(path)?;
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(cannot("open", path))?;
    file.set_permissions(Permissions::from_mode(0o600)).map_err(cannot("set the mode of", path))?;
    // The engine is meant to answer damage with an error, but it also has assertions: a person with a
    // damaged file is owed a sentence in either case.
    match catch_unwind(AssertUnwindSafe(|| open_file(path, file))) {
        Ok(opened) => opened,
        Err(panic) => {
            let source = Damage::EnginePanic(panic_message(panic.as_ref()));
            Err(OpenError::Damaged { path: path.to_owned(), source })
        }
    }
}

/// Makes an empty store under another name and moves it into place when it is whole: a file whose making
/// was cut off by a power loss is one that the engine refuses for ever.
///
/// The folder is locked meanwhile: of two that begin at once, the one that comes second is told at once
/// what it would be told a moment later, that the store is in use.
fn make_if_missing(path: &Path) -> Result<(), OpenError> {
    if !is_missing(path)? {
        return Ok(());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(cannot("make the folder of", path))?;
    let folder = File::open(folder).map_err(cannot("open the folder of", path))?;
    folder.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => OpenError::InUse { path: path.to_owned() },
        TryLockError::Error(source) => cannot("lock the folder of", path)(source),
    })?;
    if !is_missing(path)? {
        return Ok(());
    }
    let unfinished = path.with_added_extension("new");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(cannot("make", &unfinished))?;
    let synced = file.try_clone().map_err(cannot("make", &unfinished))?;
    let database = builder().create_file(file).map_err(|error| database_error(&unfinished, error))?;
    drop(Engine::open(database).map_err(|error| setup_error(&unfinished, error))?);
    synced.sync_all().map_err(cannot("sync", &unfinished))?;
    std::fs::rename(&unfinished, path).map_err(cannot("move into place", path))?;
    folder.sync_all().map_err(cannot("sync the folder of", path))
}

/// An empty file counts as missing: it holds nothing that could be lost.
fn is_missing(path: &Path) -> Result<bool, OpenError> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(found.is_file() && found.len() == 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(cannot("look at", path)(error)),
    }
}

fn cannot(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Prepare { operation, path, source }
}

fn open_file(path: &Path, file: File) -> Result<Engine, OpenError> {
    let database = builder().create_file(file).map_err(|error| database_error(path, error))?;
    Engine::open(database).map_err(|error| setup_error(path, error))
}

fn setup_error(path: &Path, error: SetupError) -> OpenError {
    let path = path.to_owned();
    match error {
        SetupError::Foreign => OpenError::Foreign { path },
        SetupError::Newer(found) => OpenError::NewerFormat { path, found, known: FORMAT },
        SetupError::Damage(source) => OpenError::Damaged { path, source },
        SetupError::Engine(source) => OpenError::Engine { path, source },
    }
}

/// How the engine is set up, whatever it stands on.
pub(super) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn database_error(path: &Path, error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { path: path.to_owned() },
        error => setup_error(path, error.into()),
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it did not say why".to_owned())
}

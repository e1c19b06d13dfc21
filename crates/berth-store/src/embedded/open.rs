//! Finding, making and checking the file of an embedded store.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::{Builder, Database, DatabaseError, StorageError};

use super::engine::{Engine, FORMAT, SetupError};
use crate::OpenError;
use crate::error::Damage;

/// Memory that the engine may use to keep pages at hand.
const CACHE_BYTES: usize = 32 << 20;

/// Opens the store in this file, made anew with its folder when it is not there.
pub(super) fn open(path: &Path) -> Result<Engine, OpenError> {
    let prepared = |operation| move |source| OpenError::Prepare { operation, path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(prepared("make the folder of"))?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(prepared("open"))?;
    // The mode above binds only a new file, and only as far as the umask lets it.
    file.set_permissions(Permissions::from_mode(0o600)).map_err(prepared("set the mode of"))?;
    // A file is there after a power loss only when its folder's entry is durable too.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(prepared("sync the folder of"))?;
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

fn open_file(path: &Path, file: File) -> Result<Engine, OpenError> {
    let mut database = builder().create_file(file).map_err(|error| database_error(path, error))?;
    check(path, &mut database)?;
    Engine::open(database).map_err(|error| match error {
        SetupError::Foreign => OpenError::Foreign { path: path.to_owned() },
        SetupError::Newer(found) => OpenError::NewerFormat { path: path.to_owned(), found, known: FORMAT },
        SetupError::Damage(source) => OpenError::Damaged { path: path.to_owned(), source },
        SetupError::Engine(source) => OpenError::Engine { path: path.to_owned(), source },
    })
}

/// How the engine is set up, whatever it stands on.
pub(super) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Reads the whole file against its checksums, so that damage is found now and not in the middle of a
/// reign. The server reads it all anyhow when it begins.
fn check(path: &Path, database: &mut Database) -> Result<(), OpenError> {
    match database.check_integrity() {
        Ok(true) => Ok(()),
        Ok(false) => Err(OpenError::Damaged { path: path.to_owned(), source: Damage::Checksums }),
        Err(error) => Err(database_error(path, error)),
    }
}

fn database_error(path: &Path, error: DatabaseError) -> OpenError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { path },
        DatabaseError::Storage(StorageError::Io(source)) if source.kind() == io::ErrorKind::InvalidData => {
            OpenError::Damaged { path, source: Damage::Engine(Box::new(redb::Error::Io(source))) }
        }
        DatabaseError::Storage(StorageError::Corrupted(_)) | DatabaseError::RepairAborted => {
            OpenError::Damaged { path, source: Damage::Engine(Box::new(error.into())) }
        }
        error => OpenError::Engine { path, source: Box::new(error.into()) },
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it did not say why".to_owned())
}

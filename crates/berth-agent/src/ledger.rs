//! The agent's ledger: what it remembers of its allocations, in a small store of its own.
//!
//! The embedded store is used because it is tested against kill -9 and power loss, and because it makes
//! many small writes durable with one sync. A store that failed once is closed, and opened anew for the next
//! write: what it has made durable is known only then.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use berth_model::{AllocId, Epoch, Remembered};
use berth_record::{decode_epoch, decode_remembered, encode_epoch, encode_remembered, key};
use berth_store::{Applied, Embedded, MAX_BYTES, MAX_OPERATIONS, Operation, Store, StoreError, Transaction};

use crate::AgentError;

/// The keys of a page when the ledger is read.
const PAGE: usize = 500;

/// What there is to write.
#[derive(Debug, Default)]
pub struct Entries {
    /// The highest epoch heard of, when it has grown.
    pub epoch: Option<Epoch>,
    /// The newest record of each allocation; None: it is forgotten.
    pub allocs: BTreeMap<AllocId, Option<Remembered>>,
}

impl Entries {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.epoch.is_none() && self.allocs.is_empty()
    }
}

/// Everything that the ledger holds.
#[derive(Debug, Default)]
pub struct Contents {
    /// The highest epoch heard of.
    pub epoch: Epoch,
    /// In order of ids.
    pub allocs: Vec<Remembered>,
}

/// The ledger.
pub struct Ledger {
    path: PathBuf,
    /// None after a failure.
    store: Option<Embedded>,
}

impl Ledger {
    /// Opens the ledger of a data folder. Blocks while it is read for damage.
    pub fn open(data_dir: &Path) -> Result<Ledger, AgentError> {
        let path = data_dir.join("ledger.redb");
        let store = Some(open(&path)?);
        Ok(Ledger { path, store })
    }

    /// Everything remembered.
    pub async fn read(&mut self) -> Result<Contents, AgentError> {
        let path = self.path.clone();
        let failed = |e| failed(&path, "read", e);
        let store = self.opened().await?;
        let mut all = Contents::default();
        let mut start = key::FIRST.to_vec();
        loop {
            let (page, _) = store.range(&start, key::END, PAGE, None).await.map_err(|e| failed(e.into()))?;
            let Some(last) = page.last() else { return Ok(all) };
            start = [last.key.as_slice(), b"\0"].concat();
            for row in page {
                if row.key == key::EPOCH_KEY {
                    all.epoch = decode_epoch(&row.value).map_err(|e| failed(e.into()))?;
                } else {
                    let place = String::from_utf8_lossy(&row.key);
                    all.allocs.push(decode_remembered(&place, &row.value).map_err(|e| failed(e.into()))?);
                }
            }
        }
    }

    /// Writes the entries, durably, in as few transactions as the store's limits allow. After a failure some
    /// of them may be durable; the next write opens the store anew.
    pub async fn write(&mut self, entries: Entries) -> Result<(), AgentError> {
        if entries.is_empty() {
            return Ok(());
        }
        let written = commit(self.opened().await?, entries).await;
        if let Err(error) = written {
            let store = self.store.take();
            // It waits for its threads.
            let _ = tokio::task::spawn_blocking(move || drop(store)).await;
            return Err(failed(&self.path, "write", error.into()));
        }
        Ok(())
    }

    async fn opened(&mut self) -> Result<&Embedded, AgentError> {
        let store = match self.store.take() {
            Some(store) => store,
            None => {
                let path = self.path.clone();
                let opened = tokio::task::spawn_blocking(move || open(&path)).await;
                opened.unwrap_or_else(|panicked| Err(failed(&self.path, "open", panicked.into())))?
            }
        };
        Ok(self.store.insert(store))
    }
}

fn open(path: &Path) -> Result<Embedded, AgentError> {
    Embedded::open(path).map_err(|source| failed(path, "open", source.into()))
}

async fn commit(store: &Embedded, entries: Entries) -> Result<(), StoreError> {
    let transaction = |operations| store.commit(Transaction { guards: Vec::new(), operations });
    let under_way: Vec<_> = batches(entries).into_iter().map(transaction).collect();
    for commit in under_way {
        match commit.await? {
            Applied::At(_) => {}
            Applied::Refused => unreachable!("a transaction without guards is never refused"),
        }
    }
    Ok(())
}

fn failed(path: &Path, operation: &'static str, source: Box<dyn std::error::Error + Send + Sync>) -> AgentError {
    AgentError::Ledger { operation, path: path.to_owned(), source }
}

/// Transactions within the store's limits.
fn batches(entries: Entries) -> Vec<Vec<Operation>> {
    let epoch = entries.epoch.map(|epoch| Operation::Put(key::EPOCH_KEY.to_vec(), encode_epoch(epoch)));
    let allocs = entries.allocs.into_iter().map(|(alloc, remembered)| match remembered {
        Some(remembered) => Operation::Put(key::alloc(alloc), encode_remembered(&remembered)),
        None => Operation::Delete(key::alloc(alloc)),
    });
    let mut batches: Vec<Vec<Operation>> = Vec::new();
    let mut bytes = 0;
    for operation in epoch.into_iter().chain(allocs) {
        let size = match &operation {
            Operation::Put(key, value) => key.len() + value.len(),
            Operation::Delete(key) => key.len(),
        };
        match batches.last_mut() {
            Some(batch) if batch.len() < MAX_OPERATIONS && bytes + size <= MAX_BYTES => {
                batch.push(operation);
                bytes += size;
            }
            Some(_) | None => {
                batches.push(vec![operation]);
                bytes = size;
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use berth_model::Incarnation;
    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
    use rustix::thread::UnshareFlags;

    use super::*;

    fn epoch(counter: u64) -> Entries {
        Entries { epoch: Some(Epoch { incarnation: Incarnation(1), counter }), allocs: BTreeMap::new() }
    }

    /// Calls with a folder on a file system of this size, which nobody but the calling thread and its own see.
    fn on_a_disk_of(size: &str, test: impl FnOnce(&Path) + Send) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // SAFETY: a mount namespace of its own takes nothing from the thread that others rely on.
                unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.unwrap();
                mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
                let size = std::ffi::CString::new(format!("size={size}")).unwrap();
                mount("none", path, "tmpfs", MountFlags::empty(), Some(size.as_c_str())).unwrap();
                test(path);
            });
        });
    }

    #[test]
    fn a_full_disk_is_an_error_and_the_ledger_goes_on_when_there_is_room_again() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: this test needs root");
            return;
        }
        on_a_disk_of("8m", |path| {
            let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
            tokio.block_on(async {
                let mut ledger = Ledger::open(path).unwrap();
                ledger.write(epoch(1)).await.unwrap();
                let filler = path.join("filler");
                let mut file = File::create(&filler).unwrap();
                while file.write_all(&[1; 4096]).is_ok() {}
                // What lies in place can still be overwritten, for a while.
                let mut counter = 2;
                let error = loop {
                    match ledger.write(epoch(counter)).await {
                        Ok(()) => counter += 1,
                        Err(error) => break error,
                    }
                    assert!(counter < 10_000, "the disk does not get full");
                };
                assert!(error.to_string().starts_with("cannot write the agent's ledger"), "{error}");
                assert!(ledger.write(epoch(counter)).await.is_err(), "it is still full");
                drop(file);
                std::fs::remove_file(&filler).unwrap();
                ledger.write(epoch(counter)).await.unwrap();
                assert_eq!(Some(ledger.read().await.unwrap().epoch), epoch(counter).epoch);
            });
        });
    }
}

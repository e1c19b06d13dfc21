//! The agent's ledger: what it remembers of its allocations, in a small store of its own.
//!
//! The embedded store is used because it is tested against kill -9 and power loss, and because it makes
//! many small writes durable with one sync.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use berth_model::{AllocId, Epoch, Remembered};
use berth_record::{decode_epoch, decode_remembered, encode_epoch, encode_remembered, key};
use berth_store::{Applied, Embedded, MAX_BYTES, MAX_OPERATIONS, Operation, Store, Transaction};

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
    store: Embedded,
}

impl Ledger {
    /// Opens the ledger of a data folder. Blocks while it is read for damage.
    pub fn open(data_dir: &Path) -> Result<Ledger, AgentError> {
        let path = data_dir.join("ledger.redb");
        let store = Embedded::open(&path).map_err(|source| AgentError::Ledger {
            operation: "open",
            path: path.clone(),
            source: source.into(),
        })?;
        Ok(Ledger { path, store })
    }

    /// Everything remembered.
    pub async fn read(&self) -> Result<Contents, AgentError> {
        let mut all = Contents::default();
        let mut start = key::FIRST.to_vec();
        loop {
            let (page, _) = self.store.range(&start, key::END, PAGE).await.map_err(|e| self.failed("read", e))?;
            let Some(last) = page.last() else { return Ok(all) };
            start = [last.key.as_slice(), b"\0"].concat();
            for row in page {
                if row.key == key::EPOCH_KEY {
                    all.epoch = decode_epoch(&row.value).map_err(|e| self.failed("read", e))?;
                } else {
                    let place = String::from_utf8_lossy(&row.key);
                    all.allocs.push(decode_remembered(&place, &row.value).map_err(|e| self.failed("read", e))?);
                }
            }
        }
    }

    /// Writes the entries, durably, in as few transactions as the store's limits allow.
    pub async fn write(&self, entries: Entries) -> Result<(), AgentError> {
        let mut under_way = Vec::new();
        for operations in batches(entries) {
            under_way.push(self.store.commit(Transaction { guards: Vec::new(), operations }));
        }
        for commit in under_way {
            match commit.await.map_err(|e| self.failed("write", e))? {
                Applied::At(_) => {}
                Applied::Refused => unreachable!("a transaction without guards is never refused"),
            }
        }
        Ok(())
    }

    fn failed(
        &self,
        operation: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> AgentError {
        AgentError::Ledger { operation, path: self.path.clone(), source: source.into() }
    }
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

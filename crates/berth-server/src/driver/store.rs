//! The backends behind one type, and how a backend that has failed is opened anew.

use std::path::PathBuf;
use std::sync::Arc;

use berth_model::Revision;
use berth_record::key;
use berth_store::{
    Applied, Embedded, Etcd, EtcdOptions, KeyValue, Memory, OpenError, Store, StoreError, Transaction, Watch,
};

/// Records read at once.
const PAGE: usize = 16_384;

/// A store of whichever kind.
#[derive(Debug)]
pub enum AnyStore {
    /// In this process.
    Memory(Arc<Memory>),
    /// In a file.
    Embedded(Embedded),
    /// In an etcd.
    Etcd(Box<Etcd>),
    /// Closed; it did not open again.
    Closed,
}

/// Where a store is opened.
#[derive(Clone, Debug)]
pub enum StorePlace {
    /// In this process.
    Memory,
    /// In this file.
    Embedded(PathBuf),
    /// In this etcd.
    Etcd(EtcdOptions),
}

impl StorePlace {
    /// Opens the store. Blocks while its file is checked.
    pub async fn open(&self) -> Result<AnyStore, OpenError> {
        match self {
            StorePlace::Memory => Ok(AnyStore::Memory(Arc::new(Memory::new()))),
            StorePlace::Embedded(path) => {
                let path = path.clone();
                let opened = tokio::task::spawn_blocking(move || Embedded::open(&path)).await;
                opened.expect("opening does not panic, and nobody cancels it").map(AnyStore::Embedded)
            }
            StorePlace::Etcd(options) => Ok(AnyStore::Etcd(Box::new(Etcd::open(options.clone()).await?))),
        }
    }

    /// Opens a store anew: after a failure it is only then known what is durable. What is in this process stays as it
    /// is.
    pub async fn reopen(&self, store: AnyStore) -> Result<AnyStore, OpenError> {
        match store {
            AnyStore::Memory(memory) => Ok(AnyStore::Memory(memory)),
            AnyStore::Embedded(embedded) => {
                // It waits for its threads, which must not happen on a thread of the runtime.
                let closed = tokio::task::spawn_blocking(move || drop(embedded)).await;
                closed.expect("closing does not panic, and nobody cancels it");
                self.open().await
            }
            AnyStore::Etcd(_) | AnyStore::Closed => self.open().await,
        }
    }
}

/// The right to take the lead, for as long as it lasts.
#[derive(Debug)]
pub enum Mandate {
    /// The store is this server's alone.
    Always,
    /// Of an election.
    Elected(berth_store::Mandate),
}

impl Mandate {
    /// Waits until it is over.
    pub async fn lost(&mut self) {
        match self {
            Mandate::Always => std::future::pending().await,
            Mandate::Elected(mandate) => mandate.lost().await,
        }
    }
}

impl AnyStore {
    /// See [`Store::watch`].
    pub async fn watch(&self, prefix: &[u8], from: Revision) -> Result<Watch, StoreError> {
        match self {
            AnyStore::Memory(store) => store.watch(prefix, from).await,
            AnyStore::Embedded(store) => store.watch(prefix, from).await,
            AnyStore::Etcd(store) => store.watch(prefix, from).await,
            AnyStore::Closed => Err(StoreError::Closed),
        }
    }

    /// See [`Store::get`].
    pub async fn get(&self, key: &[u8]) -> Result<(Option<KeyValue>, Revision), StoreError> {
        match self {
            AnyStore::Memory(store) => store.get(key).await,
            AnyStore::Embedded(store) => store.get(key).await,
            AnyStore::Etcd(store) => store.get(key).await,
            AnyStore::Closed => Err(StoreError::Closed),
        }
    }

    /// See [`Store::range`].
    pub async fn range(
        &self,
        start: &[u8],
        end: &[u8],
        limit: usize,
        at: Option<Revision>,
    ) -> Result<(Vec<KeyValue>, Revision), StoreError> {
        match self {
            AnyStore::Memory(store) => store.range(start, end, limit, at).await,
            AnyStore::Embedded(store) => store.range(start, end, limit, at).await,
            AnyStore::Etcd(store) => store.range(start, end, limit, at).await,
            AnyStore::Closed => Err(StoreError::Closed),
        }
    }

    /// Gives everything that the store holds, in order, all of one revision, which it tells.
    /// [`StoreError::Compacted`] where a store that knows no other state than the newest was written to meanwhile.
    pub async fn read_all(&self, mut take: impl FnMut(KeyValue)) -> Result<Revision, StoreError> {
        let (mut start, mut at) = (key::FIRST.to_vec(), None);
        loop {
            let (rows, revision) = self.range(&start, key::END, PAGE, at).await?;
            at = Some(revision);
            let is_last = rows.len() < PAGE;
            match rows.last() {
                Some(last) if !is_last => start = [&last.key[..], &[0]].concat(),
                Some(_) | None => {}
            }
            rows.into_iter().for_each(&mut take);
            if is_last {
                return Ok(revision);
            }
        }
    }

    /// See [`Store::commit`]: carried out in the order of the calls.
    pub fn commit(&self, transaction: Transaction) -> futures::future::BoxFuture<'static, Result<Applied, StoreError>> {
        match self {
            AnyStore::Memory(store) => Box::pin(store.commit(transaction)),
            AnyStore::Embedded(store) => Box::pin(store.commit(transaction)),
            AnyStore::Etcd(store) => Box::pin(store.commit(transaction)),
            AnyStore::Closed => Box::pin(std::future::ready(Err(StoreError::Closed))),
        }
    }
}

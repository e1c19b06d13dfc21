//! The store in an etcd (its v3 API), which outlives the loss of any one machine.
//!
//! Revisions are etcd's, less one: an etcd of its own that is new is at revision 0 here. Where others write to the same
//! etcd there are revisions without a change of ours.
//!
//! One task carries out transactions, one after the other. Those that wait meanwhile and have the same guards share the
//! next transaction of etcd, so that many cost few of its syncs. An outcome that is not known - no answer in time, a
//! connection that broke, an election among the members - ends the task: the store has to be opened anew, and whoever
//! leads then fences what may still be on its way, with a guard that no longer holds.

mod commit;
mod election;
mod error;
mod lease;
mod options;
mod presence;
mod upkeep;
mod watch;

use std::future::Future;
use std::sync::{Arc, Mutex};

use berth_model::Revision;
use etcd_client::{Client, GetOptions, ResponseHeader};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

pub use self::election::{Leader, Mandate};
pub use self::error::EtcdError;
pub use self::options::EtcdOptions;
pub use self::presence::Server;

use self::commit::Write;
use self::options::within;
use crate::transaction::validate;
use crate::{Applied, KeyValue, OpenError, Store, StoreError, Transaction, WATCHERS, Watch};

/// Transactions that may wait for etcd.
const WRITE_QUEUE: usize = 1_024;
/// Rows that are asked for at once. Many: for each page etcd counts all rows that are left, which would make small pages of
/// a large store a matter of minutes.
const PAGE: usize = 16_384;
/// Bytes of an answer, at most: a page of large rows.
const ANSWER_BYTES: usize = 128 << 20;

/// The store in an etcd. Needs a Tokio runtime, as its client does.
#[derive(Debug)]
pub struct Etcd {
    options: EtcdOptions,
    link: Link,
    writes: mpsc::Sender<Write>,
    watchers: Arc<Semaphore>,
    /// What runs beside it and ends with it: the upkeep, and one for each watcher.
    tasks: Mutex<JoinSet<()>>,
}

/// A way to etcd, and to our part of it.
#[derive(Clone)]
struct Link {
    client: Client,
    prefix: Arc<[u8]>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("prefix", &String::from_utf8_lossy(&self.prefix)).finish_non_exhaustive()
    }
}

impl Etcd {
    /// Opens the store in this etcd. Its members have to be there: a majority of them answers, and there is space left or
    /// some can be made.
    pub async fn open(options: EtcdOptions) -> Result<Etcd, OpenError> {
        let failed = |source| OpenError::Etcd { members: options.members(), source };
        let client = options.connect().await.map_err(failed)?;
        let link = Link { client, prefix: options.prefix.as_bytes().into() };
        let revision = link.revision().await.map_err(failed)?;
        upkeep::make_space(&options, &link).await.map_err(failed)?;
        tracing::info!(members = options.members(), prefix = options.prefix, revision = revision.0, "store opened");
        let (writes, to_write) = mpsc::channel(WRITE_QUEUE);
        let written = Arc::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(upkeep::run(options.clone(), link.clone(), Arc::clone(&written)));
        // Not among the tasks that end with the store: what was handed in is carried out.
        tokio::spawn(commit::run(link.clone(), to_write, written));
        Ok(Etcd { options, link, writes, watchers: Arc::new(Semaphore::new(WATCHERS)), tasks: Mutex::new(tasks) })
    }

    /// Has something go on beside the store, and end with it.
    fn beside(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().expect("nothing panics while it holds the tasks");
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
}

impl Link {
    /// A key as etcd has it.
    fn full(&self, key: &[u8]) -> Vec<u8> {
        [&self.prefix, key].concat()
    }

    /// A row of etcd as ours.
    fn row(&self, row: &etcd_client::KeyValue) -> KeyValue {
        let key = row.key().strip_prefix(&*self.prefix).unwrap_or(row.key());
        KeyValue { key: key.to_vec(), value: row.value().to_vec(), modified: ours(row.mod_revision()) }
    }

    async fn get(&self, key: &[u8], options: GetOptions) -> Result<(Vec<KeyValue>, Revision), EtcdError> {
        let mut client = self.client.kv_client().max_decoding_message_size(ANSWER_BYTES);
        let answer = within("read", client.get(self.full(key), Some(options))).await?;
        Ok((answer.kvs().iter().map(|row| self.row(row)).collect(), newest(answer.header())))
    }

    /// The newest revision.
    async fn revision(&self) -> Result<Revision, EtcdError> {
        Ok(self.get(&[], GetOptions::new().with_prefix().with_count_only()).await?.1)
    }

    async fn range(
        &self,
        start: &[u8],
        end: &[u8],
        limit: usize,
        mut at: Option<Revision>,
    ) -> Result<(Vec<KeyValue>, Revision), EtcdError> {
        let mut rows: Vec<KeyValue> = Vec::new();
        let mut start = start.to_vec();
        let mut most = PAGE;
        while start.as_slice() < end && rows.len() < limit {
            let count = most.min(limit - rows.len());
            let mut options = GetOptions::new().with_range(self.full(end));
            options = options.with_limit(i64::try_from(count).unwrap_or(i64::MAX));
            if let Some(at) = at {
                options = options.with_revision(theirs(at));
            }
            let (page, revision) = match self.get(&start, options).await {
                Ok(page) => page,
                // Its rows are large.
                Err(EtcdError::TooLong) if count > 1 => {
                    most = (count / 8).max(1);
                    continue;
                }
                Err(error) => return Err(error),
            };
            at.get_or_insert(revision);
            let is_last = page.len() < count;
            rows.extend(page);
            match rows.last() {
                Some(last) if !is_last => start = [&last.key[..], &[0]].concat(),
                Some(_) | None => break,
            }
        }
        let at = match at {
            Some(at) => at,
            None => self.revision().await?,
        };
        Ok((rows, at))
    }
}

/// A revision of etcd as ours.
fn ours(revision: i64) -> Revision {
    Revision(u64::try_from(revision).unwrap_or(0).saturating_sub(1))
}

/// A revision of ours as etcd's.
fn theirs(revision: Revision) -> i64 {
    i64::try_from(revision.0 + 1).unwrap_or(i64::MAX)
}

/// The revision of an answer.
fn newest(header: Option<&ResponseHeader>) -> Revision {
    ours(header.map_or(0, ResponseHeader::revision))
}

impl Store for Etcd {
    async fn get(&self, key: &[u8]) -> Result<(Option<KeyValue>, Revision), StoreError> {
        let asked = self.link.get(key, GetOptions::new()).await;
        let (rows, revision) = asked.map_err(|error| error.of_store("get", Revision(0)))?;
        Ok((rows.into_iter().next(), revision))
    }

    async fn range(
        &self,
        start: &[u8],
        end: &[u8],
        limit: usize,
        at: Option<Revision>,
    ) -> Result<(Vec<KeyValue>, Revision), StoreError> {
        let asked = self.link.range(start, end, limit, at).await;
        asked.map_err(|error| error.of_store("range", at.unwrap_or_default()))
    }

    fn commit(&self, transaction: Transaction) -> impl Future<Output = Result<Applied, StoreError>> + Send + use<> {
        let queued = validate(&transaction).and_then(|()| {
            let (reply, answer) = oneshot::channel();
            self.writes.try_send(Write { transaction, reply }).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => StoreError::Busy,
                mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
            })?;
            Ok(answer)
        });
        async move { queued?.await.map_err(|_| StoreError::Closed)? }
    }

    async fn watch(&self, prefix: &[u8], from: Revision) -> Result<Watch, StoreError> {
        let place = Arc::clone(&self.watchers).try_acquire_owned().map_err(|_| StoreError::TooManyWatchers)?;
        let (watch, telling) = watch::begin(&self.options, &self.link, prefix, from).await?;
        self.beside(async move {
            telling.await;
            drop(place);
        });
        Ok(watch)
    }
}

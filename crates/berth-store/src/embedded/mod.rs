//! The embedded store: one file, one writer thread that commits what waits as a group, one reader thread.
//!
//! A transaction is acknowledged after the engine's durable commit and not before. While one commit
//! waits for the disk, the transactions that come in meanwhile gather and share the next one, so that
//! many cost few syncs. An engine that has failed once is asked for no further commit: what it has made
//! durable is known only after opening it anew. Reads go on, from what was acknowledged.

mod engine;
mod open;
#[cfg(test)]
mod power_loss;

use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use berth_model::Revision;
use tokio::sync::{mpsc, oneshot};

use self::engine::{Done, Engine, Reader};
use crate::feed::Feed;
use crate::transaction::{Outcome, bytes, validate};
use crate::{Applied, KeyValue, OpenError, Store, StoreError, Transaction, Watch};

/// Transactions that may wait for the writer.
const WRITE_QUEUE: usize = 1_024;
/// Transactions that share one durable commit of the engine, at most.
const GROUP: usize = 256;
/// Bytes of transactions beyond which no further one joins a group.
const GROUP_BYTES: usize = 8 << 20;
/// Reads that may wait for the reader; more wait in their callers.
const READ_QUEUE: usize = 64;

/// The store in one file of this machine.
#[derive(Debug)]
pub struct Embedded {
    /// None only while being dropped.
    writes: Option<mpsc::Sender<Write>>,
    /// None only while being dropped.
    reads: Option<mpsc::Sender<Read>>,
    feed: Arc<Mutex<Feed>>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Write {
    transaction: Transaction,
    reply: oneshot::Sender<Result<Applied, StoreError>>,
}

#[derive(Debug)]
enum Read {
    Get { key: Vec<u8>, reply: oneshot::Sender<Result<(Option<KeyValue>, Revision), StoreError>> },
    Range { start: Vec<u8>, end: Vec<u8>, limit: usize, at: Option<Revision>, reply: oneshot::Sender<RangeResult> },
}

type RangeResult = Result<(Vec<KeyValue>, Revision), StoreError>;

impl Embedded {
    /// Opens the store in this file, made anew (mode 0600, its folder 0700) when it is not there. Reads
    /// all of it once, to find damage; blocks until that is done.
    pub fn open(path: &Path) -> Result<Embedded, OpenError> {
        let engine = open::open(path)?;
        tracing::info!(path = %path.display(), revision = engine.revision().0, "store opened");
        Embedded::start(engine).map_err(|source| OpenError::Thread { path: path.to_owned(), source })
    }

    fn start(engine: Engine) -> Result<Embedded, std::io::Error> {
        let feed = Arc::new(Mutex::new(Feed::new(engine.revision())));
        let (writes, to_write) = mpsc::channel(WRITE_QUEUE);
        let (reads, to_read) = mpsc::channel(READ_QUEUE);
        let reader = engine.reader();
        let reading = spawn("store-read", move || read_loop(&reader, to_read))?;
        let told = feed.clone();
        let writing = spawn("store-write", move || write_loop(engine, to_write, &told))?;
        Ok(Embedded { writes: Some(writes), reads: Some(reads), feed, threads: vec![writing, reading] })
    }

    async fn read<T>(&self, ask: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Read) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let reads = self.reads.as_ref().ok_or(StoreError::Closed)?;
        reads.send(ask(reply)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

impl Drop for Embedded {
    /// Waits until what was handed in is done and the file is closed, so that it can be opened again.
    fn drop(&mut self) {
        self.writes = None;
        self.reads = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }
}

impl Store for Embedded {
    async fn get(&self, key: &[u8]) -> Result<(Option<KeyValue>, Revision), StoreError> {
        self.read(|reply| Read::Get { key: key.to_vec(), reply }).await
    }

    async fn range(
        &self,
        start: &[u8],
        end: &[u8],
        limit: usize,
        at: Option<Revision>,
    ) -> Result<(Vec<KeyValue>, Revision), StoreError> {
        self.read(|reply| Read::Range { start: start.to_vec(), end: end.to_vec(), limit, at, reply }).await
    }

    fn commit(&self, transaction: Transaction) -> impl Future<Output = Result<Applied, StoreError>> + Send + use<> {
        let queued = validate(&transaction).and_then(|()| {
            let writes = self.writes.as_ref().ok_or(StoreError::Closed)?;
            let (reply, answer) = oneshot::channel();
            writes.try_send(Write { transaction, reply }).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => StoreError::Busy,
                mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
            })?;
            Ok(answer)
        });
        async move { queued?.await.map_err(|_| StoreError::Closed)? }
    }

    async fn watch(&self, prefix: &[u8], from: Revision) -> Result<Watch, StoreError> {
        lock(&self.feed).watch(prefix, from)
    }
}

fn lock(feed: &Mutex<Feed>) -> MutexGuard<'_, Feed> {
    feed.lock().expect("nothing panics while it holds the feed")
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, std::io::Error> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body)
}

/// Answers reads until the store is dropped.
fn read_loop(reader: &Reader, mut queue: mpsc::Receiver<Read>) {
    while let Some(read) = queue.blocking_recv() {
        // A caller that has gone away since needs no answer.
        match read {
            Read::Get { key, reply } => drop(reply.send(reader.get(&key))),
            Read::Range { start, end, limit, at, reply } => drop(reply.send(reader.range(&start, &end, limit, at))),
        }
    }
}

/// Commits what waits, group by group, until the store is dropped or the engine fails.
fn write_loop(mut engine: Engine, mut queue: mpsc::Receiver<Write>, feed: &Mutex<Feed>) {
    while let Some(group) = next_group(&mut queue) {
        let (transactions, replies): (Vec<_>, Vec<_>) =
            group.into_iter().map(|write| (write.transaction, write.reply)).unzip();
        match engine.commit(transactions) {
            Ok(done) => acknowledge(done, replies, feed),
            Err(error) => {
                tracing::error!(error = %error, transactions = replies.len(), "store failed and is closed");
                for reply in replies {
                    let _ = reply.send(Err(error.clone()));
                }
                break;
            }
        }
    }
    lock(feed).close();
}

/// Waits for a transaction, and takes those that are waiting behind it.
fn next_group(queue: &mut mpsc::Receiver<Write>) -> Option<Vec<Write>> {
    let mut group = vec![queue.blocking_recv()?];
    let mut size = bytes(&group[0].transaction);
    while group.len() < GROUP && size < GROUP_BYTES {
        let Ok(write) = queue.try_recv() else { break };
        size += bytes(&write.transaction);
        group.push(write);
    }
    Some(group)
}

fn acknowledge(done: Vec<Done>, replies: Vec<oneshot::Sender<Result<Applied, StoreError>>>, feed: &Mutex<Feed>) {
    for ((outcome, revision), reply) in done.into_iter().zip(replies) {
        let applied = match outcome {
            Outcome::Refused => Applied::Refused,
            Outcome::Unchanged => Applied::At(revision),
            Outcome::Changed(changes) => {
                lock(feed).publish(revision, changes);
                Applied::At(revision)
            }
        };
        // A caller that has gone away since needs no answer.
        let _ = reply.send(Ok(applied));
    }
}

//! Carrying out transactions, in order, several in one of etcd's where that changes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use berth_model::Revision;
use etcd_client::{Compare, CompareOp, Txn, TxnOp};
use tokio::sync::{mpsc, oneshot};

use super::{EtcdError, Link, newest, theirs, within};
use crate::transaction::{bytes, guard_key};
use crate::{Applied, Guard, MAX_BYTES, MAX_OPERATIONS, Operation, StoreError, Transaction};

/// A transaction that waits, and who waits for it.
#[derive(Debug)]
pub(super) struct Write {
    pub transaction: Transaction,
    pub reply: oneshot::Sender<Result<Applied, StoreError>>,
}

/// What was written since the store was opened, for the upkeep.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub revisions: AtomicU64,
    pub bytes: AtomicU64,
}

/// Transactions that are carried out as one: all with the same guards, none writing what another writes or a guard
/// reads. So each comes out as it would have by itself.
struct Pack {
    transaction: Transaction,
    bytes: usize,
    keys: BTreeSet<Vec<u8>>,
    replies: Vec<oneshot::Sender<Result<Applied, StoreError>>>,
}

impl Pack {
    fn new(write: Write) -> Pack {
        let bytes = bytes(&write.transaction);
        let keys = write.transaction.operations.iter().map(|operation| operation.key().to_vec()).collect();
        Pack { transaction: write.transaction, bytes, keys, replies: vec![write.reply] }
    }

    /// Takes a further transaction in. It comes back when it does not fit.
    fn join(&mut self, write: Write) -> Option<Write> {
        let Transaction { guards, operations } = &write.transaction;
        let more: usize = operations.iter().map(Operation::bytes).sum();
        let count = guards.len() + self.transaction.operations.len() + operations.len();
        let is_small = count <= MAX_OPERATIONS && self.bytes + more <= MAX_BYTES;
        let is_apart = || {
            let writes_guarded = |guard| self.keys.contains(guard_key(guard));
            !operations.iter().any(|operation| self.keys.contains(operation.key()))
                && !guards.iter().any(writes_guarded)
        };
        if !is_small || *guards != self.transaction.guards || !is_apart() {
            return Some(write);
        }
        self.bytes += more;
        self.keys.extend(operations.iter().map(|operation| operation.key().to_vec()));
        self.transaction.operations.extend(write.transaction.operations);
        self.replies.push(write.reply);
        None
    }
}

/// Carries out what comes in until the store is closed, or an outcome is not known.
pub(super) async fn run(link: Link, mut queue: mpsc::Receiver<Write>, written: Arc<Written>) {
    let mut next = queue.recv().await;
    while let Some(first) = next.take() {
        let mut pack = Pack::new(first);
        while next.is_none()
            && let Ok(write) = queue.try_recv()
        {
            next = pack.join(write);
        }
        let result = carry_out(&link, &pack.transaction).await;
        if let Ok(Applied::At(_)) = result
            && !pack.transaction.operations.is_empty()
        {
            written.revisions.fetch_add(1, Ordering::Relaxed);
            written.bytes.fetch_add(u64::try_from(pack.bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        let told = result.map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "the store takes no more transactions");
            error.of_store("commit", Revision(0))
        });
        for reply in pack.replies {
            // A caller that has gone away since needs no answer.
            let _ = reply.send(told.clone());
        }
        if told.is_err() {
            return;
        }
        if next.is_none() {
            next = queue.recv().await;
        }
    }
}

async fn carry_out(link: &Link, transaction: &Transaction) -> Result<Applied, EtcdError> {
    let compares: Vec<Compare> = transaction.guards.iter().map(|guard| compare(link, guard)).collect();
    let mut operations: Vec<TxnOp> = transaction.operations.iter().map(|operation| write(link, operation)).collect();
    if operations.is_empty() {
        // A transaction without any would be answered by one member alone, as it was at some time. Reading makes it
        // ask the others: what it is told is as new as if it had written.
        operations.extend(transaction.guards.first().map(|guard| TxnOp::get(link.full(guard_key(guard)), None)));
    }
    let mut client = link.client.kv_client();
    let answer = within("commit", client.txn(Txn::new().when(compares).and_then(operations))).await?;
    Ok(if answer.succeeded() { Applied::At(newest(answer.header())) } else { Applied::Refused })
}

fn compare(link: &Link, guard: &Guard) -> Compare {
    match guard {
        Guard::ModifiedAt(key, revision) => Compare::mod_revision(link.full(key), CompareOp::Equal, theirs(*revision)),
        Guard::ValueIs(key, value) => Compare::value(link.full(key), CompareOp::Equal, value.clone()),
        Guard::Absent(key) => Compare::create_revision(link.full(key), CompareOp::Equal, 0),
    }
}

fn write(link: &Link, operation: &Operation) -> TxnOp {
    match operation {
        Operation::Put(key, value) => TxnOp::put(link.full(key), value.clone(), None),
        Operation::Delete(key) => TxnOp::delete(link.full(key), None),
    }
}

//! What a transaction does, for every backend: limits, guards, then operations.

use std::collections::BTreeSet;

use berth_model::Revision;

use crate::{Change, Guard, KeyValue, MAX_BYTES, MAX_OPERATIONS, Operation, StoreError, Transaction};

/// A value with the revision that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub value: Vec<u8>,
    pub modified: Revision,
}

/// What a backend offers so that a transaction can be carried out on it.
pub(crate) trait Rows {
    type Error;
    /// The row of a key.
    fn row(&self, key: &[u8]) -> Result<Option<Row>, Self::Error>;
    /// Sets a row.
    fn put(&mut self, key: &[u8], value: &[u8], modified: Revision) -> Result<(), Self::Error>;
    /// Removes a row; tells whether there was one.
    fn delete(&mut self, key: &[u8]) -> Result<bool, Self::Error>;
}

/// What a transaction did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A guard did not hold.
    Refused,
    /// The guards held and there was nothing to change.
    Unchanged,
    /// It changed this, in order of keys.
    Changed(Vec<Change>),
}

/// Refuses what is over a limit or not well formed.
pub(crate) fn validate(transaction: &Transaction) -> Result<(), StoreError> {
    let operations = transaction.guards.len() + transaction.operations.len();
    let bytes = bytes(transaction);
    if operations > MAX_OPERATIONS || bytes > MAX_BYTES {
        return Err(StoreError::TooLarge { operations, bytes });
    }
    let mut written = BTreeSet::new();
    for operation in &transaction.operations {
        if operation.key().is_empty() {
            return Err(StoreError::EmptyKey);
        }
        if !written.insert(operation.key()) {
            return Err(StoreError::DuplicateKey);
        }
    }
    if transaction.guards.iter().any(|guard| guard_key(guard).is_empty()) {
        return Err(StoreError::EmptyKey);
    }
    Ok(())
}

/// The bytes of keys and values.
pub(crate) fn bytes(transaction: &Transaction) -> usize {
    transaction.guards.iter().map(guard_bytes).sum::<usize>()
        + transaction.operations.iter().map(Operation::bytes).sum::<usize>()
}

/// The key that a guard looks at.
pub(crate) fn guard_key(guard: &Guard) -> &[u8] {
    match guard {
        Guard::ModifiedAt(key, _) | Guard::ValueIs(key, _) | Guard::Absent(key) => key,
    }
}

fn guard_bytes(guard: &Guard) -> usize {
    match guard {
        Guard::ModifiedAt(key, _) | Guard::Absent(key) => key.len(),
        Guard::ValueIs(key, value) => key.len() + value.len(),
    }
}

/// Carries a transaction out on `rows`; `next` is the revision that its changes get.
///
/// After an error the rows are in between: the caller throws them away.
pub(crate) fn carry_out<R: Rows>(rows: &mut R, transaction: Transaction, next: Revision) -> Result<Outcome, R::Error> {
    for guard in &transaction.guards {
        if !holds(rows, guard)? {
            return Ok(Outcome::Refused);
        }
    }
    let mut changes = Vec::with_capacity(transaction.operations.len());
    for operation in transaction.operations {
        match operation {
            Operation::Put(key, value) => {
                rows.put(&key, &value, next)?;
                changes.push(Change::Put(KeyValue { key, value, modified: next }));
            }
            Operation::Delete(key) => {
                if rows.delete(&key)? {
                    changes.push(Change::Delete { key, revision: next });
                }
            }
        }
    }
    changes.sort_unstable_by(|a, b| a.key().cmp(b.key()));
    Ok(if changes.is_empty() { Outcome::Unchanged } else { Outcome::Changed(changes) })
}

fn holds<R: Rows>(rows: &R, guard: &Guard) -> Result<bool, R::Error> {
    let row = rows.row(guard_key(guard))?;
    Ok(match guard {
        Guard::ModifiedAt(_, revision) => row.is_some_and(|row| row.modified == *revision),
        Guard::ValueIs(_, value) => row.is_some_and(|row| row.value == *value),
        Guard::Absent(_) => row.is_none(),
    })
}

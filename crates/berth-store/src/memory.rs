//! The store in memory: nothing outlives the process, and nothing needs a disk.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{self, Future};
use std::sync::{Mutex, MutexGuard};

use berth_model::Revision;

use crate::feed::Feed;
use crate::transaction::{Outcome, Row, Rows, carry_out, validate};
use crate::{Applied, KeyValue, Store, StoreError, Transaction, Watch, only_newest};

/// The store in memory.
#[derive(Debug)]
pub struct Memory {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rows: BTreeMap<Vec<u8>, Row>,
    revision: Revision,
    feed: Feed,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Memory {
        let revision = Revision(0);
        Memory { state: Mutex::new(State { rows: BTreeMap::new(), revision, feed: Feed::new(revision) }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the state")
    }
}

impl Default for Memory {
    fn default() -> Memory {
        Memory::new()
    }
}

impl State {
    fn commit(&mut self, transaction: Transaction) -> Result<Applied, StoreError> {
        validate(&transaction)?;
        let next = Revision(self.revision.0 + 1);
        let Ok(outcome) = carry_out(&mut self.rows, transaction, next);
        Ok(match outcome {
            Outcome::Refused => Applied::Refused,
            Outcome::Unchanged => Applied::At(self.revision),
            Outcome::Changed(changes) => {
                self.revision = next;
                self.feed.publish(next, changes);
                Applied::At(next)
            }
        })
    }
}

impl Rows for BTreeMap<Vec<u8>, Row> {
    type Error = Infallible;

    fn row(&self, key: &[u8]) -> Result<Option<Row>, Infallible> {
        Ok(self.get(key).cloned())
    }

    fn put(&mut self, key: &[u8], value: &[u8], modified: Revision) -> Result<(), Infallible> {
        self.insert(key.to_vec(), Row { value: value.to_vec(), modified });
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<bool, Infallible> {
        Ok(self.remove(key).is_some())
    }
}

fn key_value(key: &[u8], row: &Row) -> KeyValue {
    KeyValue { key: key.to_vec(), value: row.value.clone(), modified: row.modified }
}

impl Store for Memory {
    async fn get(&self, key: &[u8]) -> Result<(Option<KeyValue>, Revision), StoreError> {
        let state = self.state();
        Ok((state.rows.get(key).map(|row| key_value(key, row)), state.revision))
    }

    async fn range(
        &self,
        start: &[u8],
        end: &[u8],
        limit: usize,
        at: Option<Revision>,
    ) -> Result<(Vec<KeyValue>, Revision), StoreError> {
        let state = self.state();
        only_newest(at, state.revision)?;
        let from = state.rows.range::<[u8], _>((std::ops::Bound::Included(start), std::ops::Bound::Unbounded));
        let found = from.take_while(|(key, _)| key.as_slice() < end).take(limit);
        Ok((found.map(|(key, row)| key_value(key, row)).collect(), state.revision))
    }

    fn commit(&self, transaction: Transaction) -> impl Future<Output = Result<Applied, StoreError>> + Send + use<> {
        future::ready(self.state().commit(transaction))
    }

    async fn watch(&self, prefix: &[u8], from: Revision) -> Result<Watch, StoreError> {
        self.state().feed.watch(prefix, from)
    }
}

//! Loading everything that the store holds, page by page.

use berth_model::{Epoch, Mutation, Snapshot};

use crate::codec::{NEWEST, damaged, decode, decode_epoch, label};
use crate::error::{Problem, RecordError};
use crate::key;

/// Problems that are told one by one.
const TOLD: usize = 16;

/// Everything that the store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// For the core.
    pub snapshot: Snapshot,
    /// The leader that was elected last; None in a new store.
    pub epoch: Option<Epoch>,
}

/// The store holds records that cannot be read. None of it is used.
#[derive(Debug, thiserror::Error)]
#[error("{total} stored records cannot be read, the first of them: {}", first_lines(.first))]
pub struct LoadError {
    /// How many.
    pub total: usize,
    /// The first of them.
    pub first: Vec<RecordError>,
}

/// One problem a line, each with what is behind it: all are of the same rank, so none is the source.
fn first_lines(errors: &[RecordError]) -> String {
    let lines = errors.iter().map(|error| match std::error::Error::source(error) {
        Some(source) => format!("{error} ({source})"),
        None => error.to_string(),
    });
    lines.collect::<Vec<_>>().join("; ")
}

/// Takes keys and values in any order and makes a snapshot of them.
#[derive(Debug, Default)]
pub struct SnapshotBuilder {
    loaded: Loaded,
    records: usize,
    has_meta: bool,
    first: Vec<RecordError>,
    total: usize,
}

impl SnapshotBuilder {
    /// Nothing yet.
    pub fn new() -> SnapshotBuilder {
        SnapshotBuilder::default()
    }

    /// Takes one record. What is wrong with it is told by `finish`, together with the rest.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        let taken = if key == key::EPOCH_KEY {
            decode_epoch(value).map(|epoch| self.loaded.epoch = Some(epoch))
        } else {
            self.records += 1;
            decode(key, value).map(|mutation| self.take(mutation))
        };
        if let Err(error) = taken {
            self.complain(error);
        }
    }

    fn take(&mut self, mutation: Mutation) {
        let snapshot = &mut self.loaded.snapshot;
        match mutation {
            Mutation::PutMeta(meta) => {
                snapshot.meta = meta;
                self.has_meta = true;
            }
            Mutation::PutNode(node) => snapshot.nodes.push(node),
            Mutation::PutJob(job) => snapshot.jobs.push(*job),
            Mutation::PutJobVersion(version, spec) => snapshot.job_versions.push((version, *spec)),
            Mutation::PutAlloc(alloc) => snapshot.allocs.push(*alloc),
            Mutation::PutCommand(record) => snapshot.commands.push(record),
            Mutation::PutLedger(entry) => snapshot.ledger.push(entry),
            Mutation::PutPolicy(policy) => snapshot.policy = Some(*policy),
            Mutation::PutTrust(trust) => snapshot.trust.push(*trust),
            Mutation::DeleteNode(_)
            | Mutation::DeleteJob(_)
            | Mutation::DeleteJobVersion(..)
            | Mutation::DeleteAlloc(_)
            | Mutation::DeleteCommand(..)
            | Mutation::DeleteLedger(_)
            | Mutation::DeleteTrust(_) => unreachable!("only what puts is decoded"),
        }
    }

    fn complain(&mut self, error: RecordError) {
        self.total += 1;
        if self.first.len() < TOLD {
            self.first.push(error);
        }
    }

    /// The snapshot, or what is wrong with the records.
    pub fn finish(mut self) -> Result<Loaded, LoadError> {
        if self.records > 0 && !self.has_meta && self.total == 0 {
            // Without the counters, ids that running tasks hold would be issued again.
            self.complain(damaged(&label(key::META_KEY))(Problem::Missing));
        }
        if self.total > 0 {
            return Err(LoadError { total: self.total, first: self.first });
        }
        let snapshot = &mut self.loaded.snapshot;
        if !self.has_meta {
            // There is nothing yet that an older release could go on with.
            snapshot.meta.format = NEWEST;
        }
        snapshot.nodes.sort_by_key(|node| node.id);
        snapshot.jobs.sort_by(|a, b| a.spec.id.cmp(&b.spec.id));
        snapshot.job_versions.sort_by(|(a, left), (b, right)| (&left.id, a).cmp(&(&right.id, b)));
        snapshot.allocs.sort_by_key(|alloc| alloc.id);
        snapshot.ledger.sort_by_key(|entry| entry.id);
        snapshot.trust.sort_by_key(berth_model::Trust::id);
        Ok(self.loaded)
    }
}

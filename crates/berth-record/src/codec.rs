//! Mutations to keys and values, and back.

use berth_model::{Epoch, Format, Meta, Mutation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Problem, RecordError};
use crate::stored::Stored;
use crate::{key, v2};

/// The newest format that this release reads and, where the store has it, writes.
pub const NEWEST: Format = Format(2 + cfg!(feature = "next") as u32);
/// The oldest that is read.
const OLDEST: Format = Format(1);

/// One write to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The key.
    pub key: Vec<u8>,
    /// The value; None removes the key.
    pub value: Option<Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<T> {
    v: u32,
    record: T,
}

#[derive(Deserialize)]
struct VersionOnly {
    v: u32,
}

/// The writes that a commit means, in the format of its counters, which come first in every commit of the core.
pub fn encode_commit(mutations: &[Mutation]) -> impl Iterator<Item = Write> {
    let format = match mutations.first() {
        Some(Mutation::PutMeta(meta)) => meta.format,
        Some(_) | None => Format::FIRST,
    };
    mutations.iter().map(move |mutation| encode(mutation, format))
}

/// The write that a mutation means in a store of this format. The counters have a format of their own: the store's.
pub fn encode(mutation: &Mutation, format: Format) -> Write {
    match mutation {
        Mutation::PutMeta(meta) => put(key::META_KEY.to_vec(), meta.format, v2::Meta::store(meta)),
        Mutation::PutNode(node) => put(key::node(node.id), format, v2::Node::store(node)),
        Mutation::DeleteNode(id) => delete(key::node(*id)),
        Mutation::PutJob(job) => put(key::job(&job.spec.id), format, v2::Job::store(job)),
        Mutation::DeleteJob(id) => delete(key::job(id)),
        Mutation::PutJobVersion(version, spec) => {
            put(key::job_version(&spec.id, *version), format, v2::JobVersionRecord::new(*version, spec))
        }
        Mutation::DeleteJobVersion(id, version) => delete(key::job_version(id, *version)),
        Mutation::PutAlloc(alloc) => put(key::alloc(alloc.id), format, v2::Alloc::store(alloc)),
        Mutation::DeleteAlloc(id) => delete(key::alloc(*id)),
        Mutation::PutCommand(record) => put(key::command_of(record), format, v2::CommandRecord::store(record)),
        Mutation::DeleteCommand(principal, namespace, key) => delete(key::command(principal, namespace, key)),
        Mutation::PutLedger(entry) => put(key::ledger(entry.id), format, v2::LedgerEntry::store(entry)),
        Mutation::DeleteLedger(id) => delete(key::ledger(*id)),
        Mutation::PutPolicy(policy) => put(key::POLICY_KEY.to_vec(), format, v2::SetPolicy::store(policy)),
        Mutation::PutTrust(trust) => put(key::trust(&trust.id()), format, v2::Trust::store(trust)),
        Mutation::DeleteTrust(id) => delete(key::trust(id)),
    }
}

/// The `Put…` mutation that wrote this key and value. [`key::EPOCH_KEY`] is not one: see [`decode_epoch`].
pub fn decode(key: &[u8], value: &[u8]) -> Result<Mutation, RecordError> {
    let label = label(key);
    let mutation = if key == key::META_KEY {
        Mutation::PutMeta(load_meta(&label, value)?)
    } else if key == key::POLICY_KEY {
        Mutation::PutPolicy(Box::new(load::<v2::SetPolicy, _>(&label, value)?))
    } else if label.starts_with(key::NODES) {
        Mutation::PutNode(load::<v2::Node, _>(&label, value)?)
    } else if label.starts_with(key::JOBS) {
        Mutation::PutJob(Box::new(load::<v2::Job, _>(&label, value)?))
    } else if label.starts_with(key::JOB_VERSIONS) {
        let (version, spec) = read::<v2::JobVersionRecord>(&label, value)?.1.load().map_err(damaged(&label))?;
        Mutation::PutJobVersion(version, Box::new(spec))
    } else if label.starts_with(key::ALLOCS) {
        Mutation::PutAlloc(Box::new(load::<v2::Alloc, _>(&label, value)?))
    } else if label.starts_with(key::COMMANDS) {
        Mutation::PutCommand(load::<v2::CommandRecord, _>(&label, value)?)
    } else if label.starts_with(key::LEDGER) {
        Mutation::PutLedger(load::<v2::LedgerEntry, _>(&label, value)?)
    } else if label.starts_with(key::TRUST) {
        Mutation::PutTrust(Box::new(load::<v2::Trust, _>(&label, value)?))
    } else {
        return Err(RecordError::UnknownKey { key: label });
    };
    let belongs = key_of_put(&mutation);
    if belongs != key {
        return Err(damaged(&label)(Problem::Misplaced(self::label(&belongs))));
    }
    Ok(mutation)
}

/// The `Delete…` mutation that removes this key. Neither [`key::EPOCH_KEY`] nor what there is one of is ever removed.
pub fn decode_removal(key: &[u8]) -> Result<Mutation, RecordError> {
    let label = label(key);
    let removal = key::removal_of(&label).filter(|removal| encode(removal, Format::FIRST).key == key);
    removal.ok_or(RecordError::UnknownKey { key: label })
}

/// The value of [`key::EPOCH_KEY`] in the reign of this epoch. The same epoch gives the same bytes for
/// ever, whatever the format of the store: guards compare them.
pub fn encode_epoch(epoch: Epoch) -> Vec<u8> {
    seal(Format::FIRST, v2::Epoch::store(&epoch))
}

/// The epoch that [`key::EPOCH_KEY`] tells.
pub fn decode_epoch(value: &[u8]) -> Result<Epoch, RecordError> {
    load::<v2::Epoch, _>(&label(key::EPOCH_KEY), value)
}

fn key_of_put(mutation: &Mutation) -> Vec<u8> {
    match mutation {
        Mutation::PutMeta(_) => key::META_KEY.to_vec(),
        Mutation::PutNode(node) => key::node(node.id),
        Mutation::PutJob(job) => key::job(&job.spec.id),
        Mutation::PutJobVersion(version, spec) => key::job_version(&spec.id, *version),
        Mutation::PutAlloc(alloc) => key::alloc(alloc.id),
        Mutation::PutCommand(record) => key::command_of(record),
        Mutation::PutLedger(entry) => key::ledger(entry.id),
        Mutation::PutPolicy(_) => key::POLICY_KEY.to_vec(),
        Mutation::PutTrust(trust) => key::trust(&trust.id()),
        Mutation::DeleteNode(_)
        | Mutation::DeleteJob(_)
        | Mutation::DeleteJobVersion(..)
        | Mutation::DeleteAlloc(_)
        | Mutation::DeleteCommand(..)
        | Mutation::DeleteLedger(_)
        | Mutation::DeleteTrust(_) => unreachable!("only what puts is decoded"),
    }
}

fn put<T: Serialize>(key: Vec<u8>, format: Format, record: T) -> Write {
    Write { key, value: Some(seal(format, record)) }
}

fn delete(key: Vec<u8>) -> Write {
    Write { key, value: None }
}

/// The bytes of a record in this format.
pub(crate) fn seal<T: Serialize>(format: Format, record: T) -> Vec<u8> {
    serde_json::to_vec(&Envelope { v: format.0, record }).expect("stored types have text keys and no failing parts")
}

/// The domain value of a record.
pub(crate) fn load<S, M>(label: &str, value: &[u8]) -> Result<M, RecordError>
where
    S: Stored<M> + DeserializeOwned,
{
    read::<S>(label, value)?.1.load().map_err(damaged(label))
}

/// The counters. Their format is that in which they were written themselves, as everything is from then on.
fn load_meta(label: &str, value: &[u8]) -> Result<Meta, RecordError> {
    let (written, meta) = read::<v2::Meta>(label, value)?;
    let meta: Meta = meta.load().map_err(damaged(label))?;
    Ok(Meta { format: written.max(Format::FIRST), ..meta })
}

/// A record, and the format in which it was written.
fn read<S: DeserializeOwned>(label: &str, value: &[u8]) -> Result<(Format, S), RecordError> {
    let form = |error: serde_json::Error| damaged(label)(Problem::Form(error.to_string()));
    // The version first and alone: a newer record need not have the form of an older one.
    let found = Format(serde_json::from_slice::<VersionOnly>(value).map_err(form)?.v);
    if found > NEWEST {
        return Err(RecordError::Newer { key: label.to_owned(), found, known: NEWEST });
    }
    if found < OLDEST {
        return Err(damaged(label)(Problem::NoSuchVersion(found)));
    }
    Ok((found, serde_json::from_slice::<Envelope<S>>(value).map_err(form)?.record))
}

pub(crate) fn damaged(label: &str) -> impl FnOnce(Problem) -> RecordError {
    let key = label.to_owned();
    move |problem| RecordError::Damaged { key, problem }
}

/// A key for people.
pub(crate) fn label(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

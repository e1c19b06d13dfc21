//! Mutations to keys and values, and back.

use berth_model::{Epoch, Mutation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Problem, RecordError};
use crate::stored::Stored;
use crate::{key, v2};

/// The version that is written.
const VERSION: u32 = 2;
/// The oldest version that is read.
const OLDEST: u32 = 1;

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

/// The write that a mutation means.
pub fn encode(mutation: &Mutation) -> Write {
    match mutation {
        Mutation::PutMeta(meta) => put(key::META_KEY.to_vec(), v2::Meta::store(meta)),
        Mutation::PutNode(node) => put(key::node(node.id), v2::Node::store(node)),
        Mutation::DeleteNode(id) => delete(key::node(*id)),
        Mutation::PutJob(job) => put(key::job(&job.spec.id), v2::Job::store(job)),
        Mutation::DeleteJob(id) => delete(key::job(id)),
        Mutation::PutJobVersion(version, spec) => {
            put(key::job_version(&spec.id, *version), v2::JobVersionRecord::new(*version, spec))
        }
        Mutation::DeleteJobVersion(id, version) => delete(key::job_version(id, *version)),
        Mutation::PutAlloc(alloc) => put(key::alloc(alloc.id), v2::Alloc::store(alloc)),
        Mutation::DeleteAlloc(id) => delete(key::alloc(*id)),
        Mutation::PutCommand(record) => put(key::command_of(record), v2::CommandRecord::store(record)),
        Mutation::DeleteCommand(principal, namespace, key) => delete(key::command(principal, namespace, key)),
        Mutation::PutLedger(entry) => put(key::ledger(entry.id), v2::LedgerEntry::store(entry)),
        Mutation::DeleteLedger(id) => delete(key::ledger(*id)),
        Mutation::PutPolicy(policy) => put(key::POLICY_KEY.to_vec(), v2::SetPolicy::store(policy)),
        Mutation::PutTrust(trust) => put(key::trust(&trust.id()), v2::Trust::store(trust)),
        Mutation::DeleteTrust(id) => delete(key::trust(id)),
    }
}

/// The `Put…` mutation that wrote this key and value. [`key::EPOCH_KEY`] is not one: see [`decode_epoch`].
pub fn decode(key: &[u8], value: &[u8]) -> Result<Mutation, RecordError> {
    let label = label(key);
    let mutation = if key == key::META_KEY {
        Mutation::PutMeta(load::<v2::Meta, _>(&label, value)?)
    } else if key == key::POLICY_KEY {
        Mutation::PutPolicy(Box::new(load::<v2::SetPolicy, _>(&label, value)?))
    } else if label.starts_with(key::NODES) {
        Mutation::PutNode(load::<v2::Node, _>(&label, value)?)
    } else if label.starts_with(key::JOBS) {
        Mutation::PutJob(Box::new(load::<v2::Job, _>(&label, value)?))
    } else if label.starts_with(key::JOB_VERSIONS) {
        let (version, spec) = read::<v2::JobVersionRecord>(&label, value)?.load().map_err(damaged(&label))?;
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
    let removal = key::removal_of(&label).filter(|removal| encode(removal).key == key);
    removal.ok_or(RecordError::UnknownKey { key: label })
}

/// The value of [`key::EPOCH_KEY`] in the reign of this epoch. The same epoch gives the same bytes for
/// ever: guards compare them.
pub fn encode_epoch(epoch: Epoch) -> Vec<u8> {
    seal(v2::Epoch::store(&epoch))
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

fn put<T: Serialize>(key: Vec<u8>, record: T) -> Write {
    Write { key, value: Some(seal(record)) }
}

fn delete(key: Vec<u8>) -> Write {
    Write { key, value: None }
}

/// The bytes of a record of the version that is written.
pub(crate) fn seal<T: Serialize>(record: T) -> Vec<u8> {
    serde_json::to_vec(&Envelope { v: VERSION, record }).expect("stored types have text keys and no failing parts")
}

/// The domain value of a record.
pub(crate) fn load<S, M>(label: &str, value: &[u8]) -> Result<M, RecordError>
where
    S: Stored<M> + DeserializeOwned,
{
    read::<S>(label, value)?.load().map_err(damaged(label))
}

fn read<S: DeserializeOwned>(label: &str, value: &[u8]) -> Result<S, RecordError> {
    let form = |error: serde_json::Error| damaged(label)(Problem::Form(error.to_string()));
    // The version first and alone: a newer record need not have the form of an older one.
    match serde_json::from_slice::<VersionOnly>(value).map_err(form)?.v {
        OLDEST..=VERSION => Ok(serde_json::from_slice::<Envelope<S>>(value).map_err(form)?.record),
        found if found > VERSION => Err(RecordError::Newer { key: label.to_owned(), found, known: VERSION }),
        found => Err(damaged(label)(Problem::NoSuchVersion(found))),
    }
}

pub(crate) fn damaged(label: &str) -> impl FnOnce(Problem) -> RecordError {
    let key = label.to_owned();
    move |problem| RecordError::Damaged { key, problem }
}

/// A key for people.
pub(crate) fn label(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

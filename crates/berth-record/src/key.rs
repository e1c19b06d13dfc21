//! The keys of the store, and how a leader fences its commits with two of them.
//!
//! Keys are text. Those of one kind share a prefix and are in order of their ids: numbers are written
//! in hexadecimal with leading zeros, and the parts of a job's id are separated by a comma, which sorts
//! before every character of a name (a slash would sort after the hyphen, and so put `a-b` before `a`).
//!
//! # Fencing
//!
//! One leader writes. [`EPOCH_KEY`] holds the epoch of the leader and is written only at an election:
//!
//! 1. The new leader reads [`EPOCH_KEY`] (absent in a new store), chooses a higher epoch, and commits
//!    it with the guard `ModifiedAt(EPOCH_KEY, the revision it was read at)`, or `Absent(EPOCH_KEY)`.
//!    Of two candidates that read the same, one is refused.
//! 2. From then on no older leader can commit, so it loads the snapshot page by page. Nothing else
//!    writes: when all pages tell the same revision, they are of one state.
//! 3. Every commit of its reign carries `ValueIs(EPOCH_KEY, encode_epoch(epoch))`, see
//!    [`crate::encode_epoch`]. The guard does not name a revision, so that several commits can be under
//!    way: the revision of the one before is not needed to send the next. The store carries them out in
//!    the order of the calls. Once another leader was elected, every one of them is refused, and none
//!    that follows a refused one can succeed, since an epoch never comes back.
//!
//! [`META_KEY`] is written by every commit of the core and is where a single writer that wants the
//! stricter guard (`ModifiedAt(META_KEY, revision of my last commit)`) finds it.

use berth_model::{
    AllocId, CommandRecord, EventId, IdempotencyKey, Incarnation, JobId, JobVersion, Mutation, Namespace, NodeId,
    Principal, TrustId,
};

/// The counters of the cluster.
pub const META_KEY: &[u8] = b"meta";
/// The epoch of the leader that was elected last.
pub const EPOCH_KEY: &[u8] = b"epoch";
/// The policy that somebody has set.
pub const POLICY_KEY: &[u8] = b"policy";
/// Where the first record can be.
pub const FIRST: &[u8] = b"\0";
/// Behind every record.
pub const END: &[u8] = b"\xff";

/// Prefix of nodes.
pub const NODES: &str = "node/";
/// Prefix of jobs.
pub const JOBS: &str = "job/";
/// Prefix of older versions of jobs.
pub const JOB_VERSIONS: &str = "version/";
/// Prefix of allocations.
pub const ALLOCS: &str = "alloc/";
/// Prefix of commands.
pub const COMMANDS: &str = "command/";
/// Prefix of the ledger.
pub const LEDGER: &str = "event/";

/// Prefix of that of which trust consists.
pub const TRUST: &str = "trust/";
const AUTHORITIES: &str = "authority/";
const TOKENS: &str = "token/";
const MEMBERS: &str = "member/";

/// The key of something of which trust consists.
pub fn trust(id: &TrustId) -> Vec<u8> {
    match id {
        TrustId::Authority(id) => format!("{TRUST}{AUTHORITIES}{id}"),
        TrustId::Token(id) => format!("{TRUST}{TOKENS}{id}"),
        TrustId::Member(node) => format!("{TRUST}{MEMBERS}{node}"),
    }
    .into_bytes()
}

/// The key of a node.
pub fn node(id: NodeId) -> Vec<u8> {
    counted(NODES, id.incarnation.0, id.counter)
}

/// The key of an allocation.
pub fn alloc(id: AllocId) -> Vec<u8> {
    counted(ALLOCS, id.incarnation.0, id.counter)
}

/// The key of an entry of the ledger.
pub fn ledger(id: EventId) -> Vec<u8> {
    counted(LEDGER, id.incarnation.0, id.counter)
}

/// The key of a job.
pub fn job(id: &JobId) -> Vec<u8> {
    format!("{JOBS}{},{}", id.namespace, id.name).into_bytes()
}

/// The key of an older version of a job.
pub fn job_version(id: &JobId, version: JobVersion) -> Vec<u8> {
    format!("{JOB_VERSIONS}{},{},{:016x}", id.namespace, id.name, version.0).into_bytes()
}

/// The key of a command's outcome.
pub fn command(principal: &Principal, namespace: &Namespace, key: &IdempotencyKey) -> Vec<u8> {
    format!("{COMMANDS}{namespace},{},{}", escaped(&principal.0), escaped(&key.0)).into_bytes()
}

/// The key of a command's outcome.
pub(crate) fn command_of(record: &CommandRecord) -> Vec<u8> {
    command(&record.principal, &record.namespace, &record.key)
}

fn counted(prefix: &str, incarnation: u32, counter: u64) -> Vec<u8> {
    format!("{prefix}{incarnation:08x}-{counter:016x}").into_bytes()
}

/// Free text without the characters that separate: every byte that is not a letter, a digit, `.`, `_`
/// or `-` is written as `%` and two hexadecimal digits.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02x}")),
        }
    }
    out
}

/// What the removal of a key means; none where no such key is ever removed.
pub(crate) fn removal_of(key: &str) -> Option<Mutation> {
    if let Some(id) = key.strip_prefix(NODES) {
        let (incarnation, counter) = counts(id)?;
        Some(Mutation::DeleteNode(NodeId::new(incarnation, counter)))
    } else if let Some(id) = key.strip_prefix(ALLOCS) {
        let (incarnation, counter) = counts(id)?;
        Some(Mutation::DeleteAlloc(AllocId::new(incarnation, counter)))
    } else if let Some(id) = key.strip_prefix(LEDGER) {
        let (incarnation, counter) = counts(id)?;
        Some(Mutation::DeleteLedger(EventId::new(incarnation, counter)))
    } else if let Some(id) = key.strip_prefix(JOBS) {
        let (namespace, name) = id.split_once(',')?;
        Some(Mutation::DeleteJob(job_id(namespace, name)?))
    } else if let Some(id) = key.strip_prefix(JOB_VERSIONS) {
        let [namespace, name, version] = parts(id)?;
        let version = u64::from_str_radix(version, 16).ok()?;
        Some(Mutation::DeleteJobVersion(job_id(namespace, name)?, JobVersion(version)))
    } else if let Some(id) = key.strip_prefix(TRUST) {
        let (kind, id) = id.split_at(id.find('/')? + 1);
        Some(Mutation::DeleteTrust(match kind {
            AUTHORITIES => TrustId::Authority(id.parse().ok()?),
            TOKENS => TrustId::Token(id.parse().ok()?),
            MEMBERS => TrustId::Member(id.parse().ok()?),
            _ => return None,
        }))
    } else {
        let [namespace, principal, key] = parts(key.strip_prefix(COMMANDS)?)?;
        let (principal, key) = (Principal(unescaped(principal)?), IdempotencyKey(unescaped(key)?));
        Some(Mutation::DeleteCommand(principal, namespace.parse().ok()?, key))
    }
}

fn counts(id: &str) -> Option<(Incarnation, u64)> {
    let (incarnation, counter) = id.split_once('-')?;
    Some((Incarnation(u32::from_str_radix(incarnation, 16).ok()?), u64::from_str_radix(counter, 16).ok()?))
}

fn job_id(namespace: &str, name: &str) -> Option<JobId> {
    Some(JobId { namespace: namespace.parse().ok()?, name: name.parse().ok()? })
}

fn parts(id: &str) -> Option<[&str; 3]> {
    id.split(',').collect::<Vec<_>>().try_into().ok()
}

fn unescaped(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8(out).ok()
}

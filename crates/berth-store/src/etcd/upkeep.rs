//! Keeping etcd small: what is older than the history that watchers need is compacted, and files that are mostly empty
//! are defragmented, one member after the other. Only who writes does this, which is who leads.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use berth_model::Revision;
use etcd_client::{AlarmAction, AlarmMember, AlarmOptions, AlarmType, Client, CompactionOptions};
use tokio::time::Instant;

use super::commit::Written;
use super::options::{EtcdOptions, within};
use super::{EtcdError, Link, theirs};
use crate::HISTORY_REVISIONS;

/// How often it is looked whether there is something to do.
const PACE: Duration = Duration::from_secs(5);
/// Bytes written since the last compaction after which there is one. As many again may be kept from before it.
const COMPACT_BYTES: u64 = 64 << 20;
/// The same by time, when anything was written at all.
const COMPACT_AFTER: Duration = Duration::from_secs(300);
/// A file smaller than this is not worth defragmenting.
const DEFRAGMENT_BYTES: u64 = 128 << 20;
/// How long a member may take to write its file anew; it answers nobody meanwhile.
const DEFRAGMENT: Duration = Duration::from_secs(120);

/// What had been written at some time.
#[derive(Clone, Copy)]
struct Mark {
    at: Instant,
    revisions: u64,
    bytes: u64,
    newest: Revision,
}

impl Mark {
    fn new(written: &Written, newest: Revision) -> Mark {
        let [revisions, bytes] = [&written.revisions, &written.bytes].map(|count| count.load(Ordering::Relaxed));
        Mark { at: Instant::now(), revisions, bytes, newest }
    }

    /// Whether enough has been written since to compact.
    fn is_due(&self, written: &Written) -> bool {
        let now = Mark::new(written, self.newest);
        let revisions = now.revisions - self.revisions;
        revisions >= u64::try_from(HISTORY_REVISIONS).unwrap_or(u64::MAX)
            || now.bytes - self.bytes >= COMPACT_BYTES
            || (revisions > 0 && now.at - self.at >= COMPACT_AFTER)
    }
}

/// Compacts and defragments, from time to time, until the store is closed.
pub(super) async fn run(options: EtcdOptions, link: Link, written: Arc<Written>) {
    let mut mark = Mark::new(&written, Revision(0));
    loop {
        tokio::time::sleep(PACE).await;
        if !mark.is_due(&written) {
            continue;
        }
        let done = async {
            let newest = link.revision().await?;
            let now = Mark::new(&written, newest);
            compact(&link, mark.newest).await?;
            mark = now;
            defragment_one(&options).await
        };
        if let Err(error) = done.await {
            // A user that may not will not be allowed soon.
            tracing::warn!(error = &error as &dyn std::error::Error, "etcd was not compacted and defragmented");
            tokio::time::sleep(COMPACT_AFTER).await;
        }
    }
}

/// Forgets what was before a revision. Done when the room can be used anew.
async fn compact(link: &Link, before: Revision) -> Result<(), EtcdError> {
    let mut client = link.client.kv_client();
    let options = CompactionOptions::new().with_physical();
    match within("compact", client.compact(theirs(before), Some(options))).await {
        // Others compact it too.
        Ok(_) | Err(EtcdError::Compacted) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A member, and how large its file is.
struct Member {
    client: Client,
    endpoint: String,
    file: u64,
    used: u64,
}

/// The members that answer.
async fn members(options: &EtcdOptions) -> Vec<Member> {
    let mut members = Vec::new();
    for endpoint in &options.endpoints {
        let Ok(mut client) = options.connect_to(endpoint).await else { continue };
        let Ok(status) = within("tell its status", client.status()).await else { continue };
        let [file, used] = [status.db_size(), status.raft_used_db_size()].map(|size| u64::try_from(size).unwrap_or(0));
        members.push(Member { client, endpoint: endpoint.clone(), file, used });
    }
    members
}

/// Writes the file of one member anew, where most of it is empty. The others go on meanwhile.
async fn defragment_one(options: &EtcdOptions) -> Result<(), EtcdError> {
    let mostly_empty = |member: &Member| member.file > DEFRAGMENT_BYTES && member.used < member.file / 2;
    match members(options).await.into_iter().find(mostly_empty) {
        Some(member) => defragment(member).await,
        None => Ok(()),
    }
}

async fn defragment(mut member: Member) -> Result<(), EtcdError> {
    tracing::info!(member = member.endpoint, bytes = member.file, used = member.used, "etcd's file is written anew");
    match tokio::time::timeout(DEFRAGMENT, member.client.defragment()).await {
        Ok(done) => done.map(drop).map_err(|source| EtcdError::refused("defragment", source)),
        Err(_) => Err(EtcdError::Late { operation: "defragment", seconds: DEFRAGMENT.as_secs() }),
    }
}

/// Where the members have used up their space: forgets all that was, writes their files anew, and has them take writes
/// again if that has helped.
pub(super) async fn make_space(options: &EtcdOptions, link: &Link) -> Result<(), EtcdError> {
    let mut client = link.client.clone();
    let alarms = within("tell its alarms", client.alarm(AlarmAction::Get, AlarmType::None, None)).await;
    // One who may not ask finds out when it writes.
    let Ok(alarms) = alarms else { return Ok(()) };
    let full = alarms.alarms().iter().filter(|alarm| alarm.alarm() == AlarmType::Nospace);
    let full: Vec<u64> = full.map(AlarmMember::member_id).collect();
    if full.is_empty() {
        return Ok(());
    }
    tracing::warn!("etcd has used up its space; it is compacted and defragmented");
    compact(link, link.revision().await?).await?;
    let members = members(options).await;
    let mut has_helped = !members.is_empty();
    for member in members {
        let before = member.file;
        let (endpoint, mut after) = (member.endpoint.clone(), member.client.clone());
        defragment(member).await?;
        let status = within("tell its status", after.status()).await?;
        let file = u64::try_from(status.db_size()).unwrap_or(0);
        tracing::info!(member = endpoint, before, after = file, "etcd's file was written anew");
        has_helped &= file < before / 5 * 4;
    }
    if !has_helped {
        return Err(EtcdError::Full);
    }
    for member in full {
        let mut of_member = AlarmOptions::new();
        of_member.with_member(member);
        let disarmed = client.alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(of_member));
        within("disarm its alarm", disarmed).await?;
    }
    Ok(())
}

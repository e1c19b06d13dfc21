//! Who leads: a key that exists for as long as its holder keeps its lease alive.
//!
//! An election only says who should lead, and where it is reached. That no two can write is the affair of the guards in
//! every transaction: so a lease may be revoked by others that know its holder dead, and clocks may do what they like.

use std::time::Duration;

use berth_model::Revision;
use etcd_client::{Client, Compare, CompareOp, PutOptions, Txn, TxnOp};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::options::within;
use super::{Etcd, EtcdError, EtcdOptions, Link};
use crate::{Change, Store as _, StoreError};

/// The key, beside every record: it is behind the last.
const KEY: &[u8] = b"\xffleader";
/// How long a lead lasts without a sign of life.
const LEASE: Duration = Duration::from_secs(5);
/// How often a leader gives one.
const BEAT: Duration = Duration::from_millis(1500);
/// The wait before something that failed is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Where it is reached by others, as it says.
    pub address: String,
    lease: i64,
}

impl Leader {
    fn parse(value: &[u8]) -> Option<Leader> {
        let (lease, address) = std::str::from_utf8(value).ok()?.split_once(' ')?;
        Some(Leader { address: address.to_owned(), lease: i64::from_str_radix(lease, 16).ok()? })
    }
}

/// The lead, for as long as its lease lasts. Dropped, it is given back.
#[derive(Debug)]
pub struct Mandate {
    lost: oneshot::Receiver<()>,
    /// Ends the signs of life, and revokes the lease, when dropped.
    _resign: oneshot::Sender<()>,
}

impl Mandate {
    /// Waits until the lease has run out, or somebody has revoked it.
    pub async fn lost(&mut self) {
        // An error here means that nobody keeps it alive any more.
        let _ = (&mut self.lost).await;
    }
}

impl Etcd {
    /// Stands for election under the address at which others reach this server, and waits until it leads.
    pub async fn campaign(&self, address: &str) -> Result<Mandate, StoreError> {
        let failed = |error: EtcdError| error.of_store("campaign", Revision(0));
        let mut leaders = self.leaders().await?;
        loop {
            if leaders.wait_for(Option::is_none).await.is_err() {
                return Err(StoreError::Closed);
            }
            let since = Instant::now();
            let mut client = self.link.client.clone();
            let seconds = i64::try_from(LEASE.as_secs()).unwrap_or(i64::MAX);
            let granted = within("grant a lease", client.lease_grant(seconds, None)).await.map_err(failed)?;
            let lease = granted.id();
            if claim(&self.link, lease, address).await.map_err(failed)? {
                let (lose, lost) = oneshot::channel();
                let (resign, resigned) = oneshot::channel();
                tokio::spawn(keep(self.options.clone(), client, lease, since, resigned, lose));
                return Ok(Mandate { lost, _resign: resign });
            }
            revoke(&mut client, lease).await;
            // The news of the other one's claim is on its way.
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Who leads, as it changes. Ends when the store is closed.
    pub async fn leaders(&self) -> Result<watch::Receiver<Option<Leader>>, StoreError> {
        let (row, revision) = self.get(KEY).await?;
        let mut changes = self.watch(KEY, Revision(revision.0 + 1)).await?;
        let (tell, told) = watch::channel(row.and_then(|row| Leader::parse(&row.value)));
        let link = self.link.clone();
        self.beside(async move {
            loop {
                let leader = match changes.recv().await {
                    Some(Ok((_, batch))) => batch.into_iter().next_back().and_then(|change| match change {
                        Change::Put(row) => Leader::parse(&row.value),
                        Change::Delete { .. } => None,
                    }),
                    // What was missed is made good by looking.
                    Some(Err(_)) => match link.get(KEY, etcd_client::GetOptions::new()).await {
                        Ok((rows, _)) => rows.first().and_then(|row| Leader::parse(&row.value)),
                        Err(_) => return,
                    },
                    None => return,
                };
                if tell.send(leader).is_err() {
                    return;
                }
            }
        });
        Ok(told)
    }

    /// Ends the lead of one that is known to be dead, before its lease runs out.
    pub async fn evict(&self, leader: &Leader) {
        revoke(&mut self.link.client.clone(), leader.lease).await;
    }
}

/// Writes who leads, if nobody does.
async fn claim(link: &Link, lease: i64, address: &str) -> Result<bool, EtcdError> {
    let vacant = Compare::create_revision(link.full(KEY), CompareOp::Equal, 0);
    let value = format!("{lease:x} {address}");
    let put = TxnOp::put(link.full(KEY), value, Some(PutOptions::new().with_lease(lease)));
    let mut client = link.client.clone();
    let answer = within("take the lead", client.txn(Txn::new().when([vacant]).and_then([put]))).await?;
    Ok(answer.succeeded())
}

async fn revoke(client: &mut Client, lease: i64) {
    if let Err(error) = within("revoke a lease", client.lease_revoke(lease)).await {
        // One that has run out, mostly. Else it runs out by itself.
        tracing::debug!(error = &error as &dyn std::error::Error, "lease not revoked");
    }
}

/// Gives signs of life until the lead is given back, or lost. `since` is when the lease was asked for.
async fn keep(
    options: EtcdOptions,
    mut client: Client,
    lease: i64,
    mut since: Instant,
    mut resigned: oneshot::Receiver<()>,
    lose: oneshot::Sender<()>,
) {
    loop {
        tokio::select! {
            _ = &mut resigned => {
                revoke(&mut client, lease).await;
                return;
            }
            () = tokio::time::sleep(BEAT) => {}
        }
        // From before it is asked for: the lease is never taken to last longer than it does.
        let asked = Instant::now();
        match tokio::time::timeout_at(since + LEASE, beat(&options, &mut client, lease)).await {
            Ok(true) => since = asked,
            Ok(false) | Err(_) => {
                tracing::warn!("the lease of the lead has run out, or was revoked");
                drop(lose);
                return;
            }
        }
    }
}

/// One sign of life, given to whichever member answers; false when the lease is over.
async fn beat(options: &EtcdOptions, client: &mut Client, lease: i64) -> bool {
    loop {
        let answer = async {
            let (mut keeper, mut answers) = client.lease_keep_alive(lease).await?;
            keeper.keep_alive().await?;
            answers.message().await
        };
        if let Ok(Ok(Some(answer))) = tokio::time::timeout(BEAT, answer).await {
            return answer.ttl() > 0;
        }
        tokio::time::sleep(PAUSE).await;
        if let Ok(other) = options.connect().await {
            *client = other;
        }
    }
}

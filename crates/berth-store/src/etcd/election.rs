//! Who leads: a key that exists for as long as its holder keeps its lease alive.
//!
//! An election only says who should lead, and where it is reached. That no two can write is the affair of the guards in
//! every transaction: so a lease may be revoked by others that know its holder dead, and clocks may do what they like.

use berth_model::Revision;
use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp};
use tokio::sync::{oneshot, watch};

use super::lease::{Lease, PAUSE, revoke};
use super::options::within;
use super::{Etcd, EtcdError, EtcdOptions, Link};
use crate::{Change, Store as _, StoreError};

/// The key, beside every record: it is behind the last.
const KEY: &[u8] = b"\xffleader";

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
            let lease = Lease::grant(&self.link).await.map_err(failed)?;
            let id = lease.id;
            if claim(&self.link, id, address).await.map_err(failed)? {
                let (lose, lost) = oneshot::channel();
                let (resign, resigned) = oneshot::channel();
                tokio::spawn(reign(self.options.clone(), lease, resigned, lose));
                return Ok(Mandate { lost, _resign: resign });
            }
            lease.revoke().await;
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

/// Keeps the lead until it is given back, or lost.
async fn reign(options: EtcdOptions, mut lease: Lease, resigned: oneshot::Receiver<()>, lose: oneshot::Sender<()>) {
    let is_lost = tokio::select! {
        _ = resigned => false,
        () = lease.keep(&options) => true,
    };
    if is_lost {
        tracing::warn!("the lease of the lead has run out, or was revoked");
        drop(lose);
    } else {
        lease.revoke().await;
    }
}

//! Leases of etcd: what is written under one is gone when whoever holds it gives no sign of life any more.

use std::time::Duration;

use etcd_client::Client;
use tokio::time::Instant;

use super::options::within;
use super::{EtcdError, EtcdOptions, Link};

/// How long one lasts without a sign of life.
const LASTS: Duration = Duration::from_secs(5);
/// How often its holder gives one.
const BEAT: Duration = Duration::from_millis(1500);
/// The wait before something that failed is tried again.
pub const PAUSE: Duration = Duration::from_millis(200);

/// A lease, for as long as it is kept.
#[derive(Debug)]
pub struct Lease {
    /// Its number.
    pub id: i64,
    /// When it was asked for, or for longer.
    since: Instant,
}

impl Lease {
    /// A new one.
    pub async fn grant(link: &Link) -> Result<Lease, EtcdError> {
        let since = Instant::now();
        let seconds = i64::try_from(LASTS.as_secs()).unwrap_or(i64::MAX);
        let granted = within("grant a lease", link.client.clone().lease_grant(seconds, None)).await?;
        Ok(Lease { id: granted.id(), since })
    }

    /// Gives signs of life until it has run out, or somebody has revoked it.
    pub async fn keep(mut self, options: &EtcdOptions, link: &Link) {
        let mut client = link.client.clone();
        loop {
            tokio::time::sleep(BEAT).await;
            // From before it is asked for: the lease is never taken to last longer than it does.
            let asked = Instant::now();
            match tokio::time::timeout_at(self.since + LASTS, beat(options, &mut client, self.id)).await {
                Ok(true) => self.since = asked,
                Ok(false) | Err(_) => return,
            }
        }
    }
}

/// Ends a lease before it runs out.
pub async fn revoke(link: &Link, lease: i64) {
    if let Err(error) = within("revoke a lease", link.client.clone().lease_revoke(lease)).await {
        // One that has run out, mostly. Else it runs out by itself.
        tracing::debug!(error = &error as &dyn std::error::Error, "lease not revoked");
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

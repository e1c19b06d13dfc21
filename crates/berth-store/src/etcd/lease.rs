//! Leases of etcd: what is written under one is gone when whoever holds it gives no sign of life any more.

use std::time::Duration;

use etcd_client::Client;
use tokio::time::Instant;

use super::options::within;
use super::{EtcdError, EtcdOptions, Link};

/// How long one lasts without a sign of life.
const LASTS: Duration = Duration::from_secs(5);
/// How often its holder gives one.
pub const BEAT: Duration = Duration::from_millis(1500);
/// The wait before something that failed is tried again.
pub const PAUSE: Duration = Duration::from_millis(200);

/// A lease, for as long as it is kept.
pub struct Lease {
    /// Its number.
    pub id: i64,
    /// The member that answered last.
    client: Client,
    /// When it was asked for, or for longer.
    since: Instant,
}

impl Lease {
    /// A new one.
    pub async fn grant(link: &Link) -> Result<Lease, EtcdError> {
        let since = Instant::now();
        let seconds = i64::try_from(LASTS.as_secs()).unwrap_or(i64::MAX);
        let mut client = link.client.clone();
        let id = within("grant a lease", client.lease_grant(seconds, None)).await?.id();
        Ok(Lease { id, client, since })
    }

    /// Gives signs of life until it has run out, or somebody has revoked it.
    pub async fn keep(&mut self, options: &EtcdOptions) {
        loop {
            tokio::time::sleep(BEAT).await;
            if !self.beat(options).await {
                return;
            }
        }
    }

    /// One sign of life, given to whichever member answers before the lease has run out; false when it is over.
    async fn beat(&mut self, options: &EtcdOptions) -> bool {
        // From before it is asked for: the lease is never taken to last longer than it does.
        let asked = Instant::now();
        let end = self.since + LASTS;
        let asking = async {
            loop {
                if let Ok(Ok(lasts)) = tokio::time::timeout(BEAT, prolong(&mut self.client, self.id)).await {
                    return lasts;
                }
                tokio::time::sleep(PAUSE).await;
                if let Ok(other) = options.connect().await {
                    self.client = other;
                }
            }
        };
        let lasts = tokio::time::timeout_at(end, asking).await.unwrap_or(false);
        if lasts {
            self.since = asked;
        }
        lasts
    }

    /// Ends it before it runs out.
    pub async fn revoke(mut self) {
        revoke(&mut self.client, self.id).await;
    }
}

/// Ends a lease before it runs out.
pub async fn revoke(client: &mut Client, lease: i64) {
    if let Err(error) = within("revoke a lease", client.lease_revoke(lease)).await {
        // One that has run out, mostly. Else it runs out by itself.
        tracing::debug!(error = &error as &dyn std::error::Error, "lease not revoked");
    }
}

/// A sign of life; whether the lease was still there.
pub async fn prolong(client: &mut Client, lease: i64) -> Result<bool, etcd_client::Error> {
    let (mut keeper, mut answers) = client.lease_keep_alive(lease).await?;
    keeper.keep_alive().await?;
    Ok(answers.message().await?.is_some_and(|answer| answer.ttl() > 0))
}

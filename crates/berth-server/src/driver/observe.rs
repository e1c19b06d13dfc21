//! Watching who leads: for those who ask, and to notice at once that it is gone.

use std::time::Duration;

use axum::http::Uri;
use berth_store::{Etcd, Leader};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::{Role, Shared};
use crate::ServerError;

/// How long a connection to the leader may take.
const CONNECT: Duration = Duration::from_secs(1);
/// How long an earlier life of this server may seem to lead: its lease, and a little more.
const OWN_LIFE: Duration = Duration::from_secs(10);
/// The wait before the next connection.
const PAUSE: Duration = Duration::from_millis(50);

/// Keeps this server's role what the election says, and has a leader that is gone lose its lead. Ends when the election
/// can be seen no more.
pub async fn leaders(shared: &Shared, etcd: &Etcd, address: &str) -> ServerError {
    let failed = |source| ServerError::Store { operation: "see who leads", source };
    let mut leaders = match etcd.leaders().await {
        Ok(leaders) => leaders,
        Err(source) => return failed(source),
    };
    loop {
        let leader = leaders.borrow_and_update().clone();
        // Our own address is that of an earlier life of this server, whose lease has not run out yet.
        let is_ours = leader.as_ref().is_some_and(|leader| leader.address == address);
        let leader = leader.filter(|_| !is_ours);
        shared.become_role(leader.as_ref().map_or(Role::Leaderless, |leader| Role::Follows(leader.address.clone())));
        tokio::select! {
            changed = leaders.changed() => {
                if changed.is_err() {
                    return failed(berth_store::StoreError::Closed);
                }
            }
            () = watch_over(etcd, leader) => {}
            () = tokio::time::sleep(OWN_LIFE), if is_ours => {
                tracing::error!(address, "another server leads under this one's address: give each its own with `advertise`");
            }
        }
    }
}

/// Keeps a connection to the leader. When it breaks, and the leader's machine says that nobody listens there any more, the
/// leader is dead, and its lease is revoked: the next one need not wait until that has run out. Were it alive
/// nevertheless, what it writes is refused.
async fn watch_over(etcd: &Etcd, leader: Option<Leader>) {
    let place = leader.as_ref().and_then(|leader| host_and_port(&leader.address));
    let (Some(leader), Some(place)) = (leader, place) else { return std::future::pending().await };
    // One that was never reached here may have told a wrong address, which says nothing of its life.
    let mut was_reached = false;
    loop {
        match tokio::time::timeout(CONNECT, TcpStream::connect(&place)).await {
            Ok(Ok(mut connection)) => {
                was_reached = true;
                // It ends when the leader has had enough of a connection without requests, or is gone.
                let _ = connection.read(&mut [0]).await;
            }
            Ok(Err(error)) if was_reached && error.kind() == std::io::ErrorKind::ConnectionRefused => {
                tracing::warn!(leader = leader.address, "the leader is gone");
                etcd.evict(&leader).await;
                return std::future::pending().await;
            }
            Ok(Err(_)) | Err(_) => tokio::time::sleep(CONNECT).await,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn host_and_port(address: &str) -> Option<String> {
    let uri: Uri = address.parse().ok()?;
    let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    Some(format!("{}:{}", uri.host()?, uri.port_u16().unwrap_or(default)))
}

//! Joining a cluster that is there already: a server is given the sealing key, and can sign from then on; and the token
//! that opens the servers to users, so that it is the same on all.

use std::path::Path;
use std::sync::Arc;

use berth_api::client::{Target, Tls as ClientTls};
use berth_api::wire::v1 as wire;
use berth_secrets::{Credentials, SealingKey, Trusted, client_config};

use super::SealingKeyPlace;
use super::sealing::receive;
use crate::{Clock, Join, ServerError, Tls, folder};

/// Joins, where the server is told to and has not joined before.
pub async fn join(tls: &Tls, data_dir: &Path, clock: &Clock) -> Result<(), ServerError> {
    let (SealingKeyPlace::Own(path), Some(join)) = (&tls.sealing_key, &tls.join) else { return Ok(()) };
    if path.exists() {
        return Ok(());
    }
    folder::make(data_dir)?;
    let certified = ask(join, clock).await?;
    if let Some(token) = &certified.token {
        folder::receive_token(data_dir, token)?;
    }
    let key = certified.sealing_key.ok_or(ServerError::NoSealingKey)?;
    let wrong = |source| super::SealingKeyError::Content { place: "the answer".to_owned(), source };
    let key = SealingKey::parse(&key).map_err(wrong).map_err(ServerError::SealingKey)?;
    receive(path, &key).map_err(ServerError::SealingKey)?;
    tracing::info!(servers = join.servers, "joined the cluster");
    Ok(())
}

async fn ask(join: &Join, clock: &Clock) -> Result<wire::Certified, ServerError> {
    let own = Credentials::make().map_err(ServerError::Credentials)?;
    let clock = clock.clone();
    let trusted = Trusted::Pinned(join.token.authority);
    let config = client_config(trusted, Some(&own), Arc::new(move || clock.wall())).map_err(ServerError::Tls)?;
    let target = Target::certified(&join.servers, ClientTls::new(config)).map_err(ServerError::Join)?;
    let request = wire::JoinRequest {
        token: join.token.reveal().to_string(),
        role: wire::Role::Server,
        name: "server".parse().expect("it is a name"),
    };
    berth_api::client::join(&target, &request).await.map_err(ServerError::Join)
}

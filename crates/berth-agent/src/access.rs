//! How the agent shows who it is: it joins with a token, once, keeps its key and its certificate, and renews that.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use berth_api::client::{Target, Tls, join, renew};
use berth_api::wire::v1 as wire;
use berth_secrets::{Credentials, Invitation, Trusted, client_config, from_pem};
use tokio_util::sync::CancellationToken;

use crate::config::{Access, Config};
use crate::link::{chain, spread};
use crate::{AgentError, clock};

/// The folder of the key and the certificate, in the data folder.
const FOLDER: &str = "tls";
/// How often it is looked whether the certificate is due.
const LOOK: Duration = Duration::from_secs(60);
/// The waits between attempts to join: the first, and what doubling stops at.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// The servers, as this agent reaches them. A certificate is renewed for as long as `stop` allows.
pub async fn target(config: &Config, stop: &CancellationToken) -> Result<Target, AgentError> {
    let invitation = match &config.access {
        Access::Token(token) => return Target::new(&config.server, token.reveal()).map_err(AgentError::Server),
        Access::Certificate { join } => join.as_ref(),
    };
    let folder = config.data_dir.join(FOLDER);
    let joined = async |invitation: &Invitation| {
        let own = until_joined(config, invitation, stop).await?;
        own.save(&folder).map_err(AgentError::Credentials)?;
        tracing::info!(key = %own.key_id(), "joined the cluster");
        Keeper::new(config, own, folder.clone())
    };
    let mut keeper = match (Credentials::load(&folder).map_err(AgentError::Credentials)?, invitation) {
        (None, None) => return Err(AgentError::NoJoinToken { node: config.name.clone() }),
        (None, Some(invitation)) => joined(invitation).await?,
        (Some(own), _) => Keeper::new(config, own, folder.clone())?,
    };
    // One that has ended opens nothing but the way to a new one; and one that was shut out may have a new token.
    if !keeper.own.is_good(clock::wall()) || invitation.is_some() {
        match (keeper.renew().await, invitation) {
            (Renewal::Refused, Some(invitation)) => keeper = joined(invitation).await?,
            (Renewal::Done | Renewal::Later | Renewal::Refused, _) => {}
        }
    }
    let target = keeper.target.clone();
    tokio::spawn(stop.clone().run_until_cancelled_owned(keeper.keep()));
    Ok(target)
}

/// Asks to be let in until an answer comes. A server that is not there yet is waited for; one that refuses is not.
async fn until_joined(
    config: &Config,
    invitation: &Invitation,
    stop: &CancellationToken,
) -> Result<Credentials, AgentError> {
    // The same key each time: where an answer is lost, the next one is the same.
    let own = Credentials::make().map_err(AgentError::Credentials)?;
    let trusted = Trusted::Pinned(invitation.authority);
    let tls = client_config(trusted, Some(&own), Arc::new(clock::wall)).map_err(AgentError::Tls)?;
    let target = Target::certified(&config.server, Tls::new(tls)).map_err(AgentError::Server)?;
    let request = wire::JoinRequest {
        token: invitation.reveal().to_string(),
        role: wire::Role::Agent,
        name: config.name.clone().into(),
    };
    let mut wait = RETRY.0;
    loop {
        let error = match join(&target, &request).await {
            Ok(certified) => return understood(&own, &certified),
            Err(error) => error,
        };
        if !error.is_transient() {
            return Err(AgentError::Join(error));
        }
        tracing::warn!(reason = chain(&error), "not joined yet; trying again");
        if stop.run_until_cancelled(tokio::time::sleep(spread(wait))).await.is_none() {
            return Err(AgentError::Join(error));
        }
        wait = (wait * 2).min(RETRY.1);
    }
}

fn understood(own: &Credentials, certified: &wire::Certified) -> Result<Credentials, AgentError> {
    let read = |text: &str| from_pem(text).ok_or(AgentError::NotCertified);
    Ok(own.certified(read(&certified.certificate)?, read(&certified.authorities)?))
}

fn security(own: &Credentials) -> Result<rustls::ClientConfig, AgentError> {
    let trusted = Trusted::authorities(own.authorities().iter().cloned()).map_err(AgentError::Tls)?;
    client_config(trusted, Some(own), Arc::new(clock::wall)).map_err(AgentError::Tls)
}

/// Renews the certificate before it ends.
struct Keeper {
    own: Credentials,
    folder: PathBuf,
    tls: Tls,
    target: Target,
}

/// What came of the wish for a new certificate.
enum Renewal {
    Done,
    /// It is tried again.
    Later,
    /// The cluster does not know this agent, or does not want to.
    Refused,
}

impl Keeper {
    fn new(config: &Config, own: Credentials, folder: PathBuf) -> Result<Keeper, AgentError> {
        let tls = Tls::new(security(&own)?);
        let target = Target::certified(&config.server, tls.clone()).map_err(AgentError::Server)?;
        Ok(Keeper { own, folder, tls, target })
    }

    async fn keep(mut self) {
        loop {
            // Agents that have joined together do not all come back together.
            tokio::time::sleep(spread(LOOK)).await;
            if self.own.is_due(clock::wall()) {
                // It has said what there is to say.
                let _ = self.renew().await;
            }
        }
    }

    /// Renews it, or says why not: it is tried again soon, and what runs does not need it.
    async fn renew(&mut self) -> Renewal {
        let error = match self.renewed().await {
            Ok(own) => {
                tracing::info!(until = own.not_after().map(|end| wire::Time(end).to_string()), "certificate renewed");
                self.own = own;
                return Renewal::Done;
            }
            Err(error) => error,
        };
        let until = self.own.not_after().map(|end| wire::Time(end).to_string());
        tracing::warn!(reason = chain(&error), until, "the certificate is not renewed");
        match &error {
            AgentError::Renew(error) if error.refusal().is_some() && !error.is_transient() => Renewal::Refused,
            // Its servers may have an authority that this agent has missed.
            AgentError::Renew(berth_api::client::ClientError::Untrusted { .. }) => Renewal::Refused,
            _ => {
                let addr = self.target.addr().to_owned();
                self.target.turn_from(&addr);
                Renewal::Later
            }
        }
    }

    async fn renewed(&self) -> Result<Credentials, AgentError> {
        let certified = renew(&self.target.fixed()).await.map_err(AgentError::Renew)?;
        let own = understood(&self.own, &certified)?;
        if !own.is_good(clock::wall()) {
            // Made by a server with a wrong clock, or looked at by a wrong one.
            return Err(AgentError::Clocks);
        }
        let tls = security(&own)?;
        own.save(&self.folder).map_err(AgentError::Credentials)?;
        self.tls.change(tls);
        Ok(own)
    }
}

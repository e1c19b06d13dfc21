//! Trust: authorities, join tokens, joining and renewing.

use berth_model::{AuthorityId, IdempotencyKey};
use reqwest::Method;

use super::call::{Call, path_segment};
use super::{Client, ClientError, Target};
use crate::wire::v1 as wire;

impl Client {
    /// The certificate authorities that are believed, the one that signs first.
    pub async fn authorities(&self) -> Result<wire::Authorities, ClientError> {
        self.call("list certificate authorities", Method::GET, "/v1/ca").fetch().await
    }

    /// Has a new certificate authority sign from now on.
    pub async fn rotate_authority(&self, key: &IdempotencyKey) -> Result<wire::CommandOutcome, ClientError> {
        self.call("make a certificate authority", Method::POST, "/v1/ca/rotate").key(key).fetch().await
    }

    /// Has a certificate authority be believed no more.
    pub async fn retire_authority(
        &self,
        id: AuthorityId,
        force: bool,
        key: &IdempotencyKey,
    ) -> Result<wire::CommandOutcome, ClientError> {
        let call = self.call("retire certificate authority", Method::DELETE, &format!("/v1/ca/{id}")).key(key);
        call.query("force", force.then(|| "true".to_owned())).fetch().await
    }

    /// A join token.
    pub async fn make_token(
        &self,
        request: &wire::TokenRequest,
        key: &IdempotencyKey,
    ) -> Result<wire::Token, ClientError> {
        let body = serde_json::to_value(request).expect("a wish for a token is plain data");
        self.call("make a join token", Method::POST, "/v1/tokens").key(key).json(&body).fetch().await
    }

    /// Shuts a node out.
    pub async fn revoke_node(&self, node: &str, key: &IdempotencyKey) -> Result<wire::CommandOutcome, ClientError> {
        let path = format!("/v1/nodes/{}/revoke", path_segment(node));
        self.call("revoke node", Method::POST, &path).key(key).fetch().await
    }
}

/// Joins a cluster. The key of the connection is the one that the machine is known by from then on.
pub async fn join(target: &Target, request: &wire::JoinRequest) -> Result<wire::Certified, ClientError> {
    let ask = async |server: &Target| {
        let http = server.http_client()?;
        let body = serde_json::to_value(request).expect("a request to join is plain data");
        Call::new(&http, server, "join the cluster", Method::POST, "/v1/join").json(&body).fetch().await
    };
    let mut refused = None;
    for _ in 0..target.count() {
        let server = target.fixed();
        match ask(&server).await {
            Err(error) => match error.leader().and_then(|leader| target.at(leader).ok()) {
                Some(leader) => return ask(&leader).await,
                None if error.is_transient() => {
                    target.turn_from(server.addr());
                    refused = Some(error);
                }
                None => return Err(error),
            },
            joined => return joined,
        }
    }
    Err(refused.expect("there is one server at least"))
}

/// A new certificate for the key of the connection.
pub async fn renew(target: &Target) -> Result<wire::Certified, ClientError> {
    let http = target.http_client()?;
    Call::new(&http, target, "renew the certificate", Method::POST, "/v1/agent/certificate").fetch().await
}

//! Who may enter: users, who know the token; agents, who show their certificate, or the token where there is no TLS. What
//! one may do is decided by the core's `authorize`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use berth_api::wire::v1::{self as wire, ErrorKind};
use berth_model::{NodeName, Principal, Trust, TrustId};
use berth_secrets::{Identity, Peer};
use rustls::pki_types::CertificateDer;
use subtle::ConstantTimeEq;

use super::Api;
use super::error::ApiError;

/// Who has shown the token. The only principal there is until there are policies.
pub fn operator() -> Principal {
    Principal("operator".to_owned())
}

/// How a request came.
#[derive(Clone, Debug)]
pub enum Link {
    /// Without TLS.
    Plain,
    /// With the certificates that the other side has shown, if any; that it has the key was shown too.
    Tls(Arc<[CertificateDer<'static>]>),
}

/// Who asks as an agent.
#[derive(Clone, Debug)]
pub enum Caller {
    /// The agent of this node.
    Node(NodeName),
    /// An agent that knows the token, where there is no TLS.
    Anyone,
}

impl Caller {
    /// Whether it may speak for a node.
    pub fn may_be(&self, node: &NodeName) -> bool {
        match self {
            Caller::Node(name) => name == node,
            Caller::Anyone => true,
        }
    }
}

impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Caller::Node(name) => write!(f, "node {name}"),
            Caller::Anyone => f.write_str("an agent"),
        }
    }
}

/// Lets an agent through, and tells who it is.
pub async fn require_agent(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let caller = match link(&request) {
        Link::Plain => check(request.headers(), &api.token).map(|()| Caller::Anyone),
        Link::Tls(shown) => {
            member(&api, &shown).and_then(|(peer, node)| good(&api, &peer).map(|()| Caller::Node(node)))
        }
    };
    match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}

/// How a request came.
pub fn link(request: &Request) -> Link {
    request.extensions().get::<Link>().cloned().expect("every connection tells what it is")
}

/// The node that has this certificate, be it out of date.
pub fn member(api: &Api, shown: &[CertificateDer<'_>]) -> Result<(Peer, NodeName), ApiError> {
    let anew = "let the machine join with a token: `berth token create --role agent`";
    let refused = |message: String| ApiError::new(ErrorKind::Unauthorized, message).at("certificate").remedy(anew);
    let Some(signer) = api.signer.as_ref().filter(|_| !shown.is_empty()) else {
        return Err(refused("an agent needs a certificate of this cluster".to_owned()));
    };
    let peer = signer.peer(shown).map_err(|error| refused(error.to_string()))?;
    let Identity::Agent(node) = peer.identity.clone() else {
        return Err(refused("the certificate is a server's, and this path is for agents".to_owned()));
    };
    let view = api.shared.view();
    let member = match view.trust.get(&TrustId::Member(node.clone())).map(|trust| &**trust) {
        Some(Trust::Member(member)) => member,
        Some(Trust::Authority(_) | Trust::Token(_)) | None => {
            return Err(refused(format!("no node {node} is in the cluster")));
        }
    };
    if let Some((at, _)) = member.revoked {
        return Err(refused(format!("node {node} was shut out at {}", wire::Time(at))));
    }
    if member.key != peer.key {
        return Err(refused(format!(
            "node {node} has joined with another key since, at {}",
            wire::Time(member.joined.0)
        )));
    }
    Ok((peer, node))
}

/// Whether a certificate is good at this time.
fn good(api: &Api, peer: &Peer) -> Result<(), ApiError> {
    if api.shared.clock.wall() < peer.not_after {
        return Ok(());
    }
    let message = format!("the certificate has ended, at {}", wire::Time(peer.not_after));
    let remedy = "agents renew theirs by themselves: if this one does not, compare its clock with this server's";
    Err(ApiError::new(ErrorKind::Unauthorized, message).at("certificate").remedy(remedy))
}

/// Lets a request through that shows the token.
pub async fn require_token(State(api): State<Api>, request: Request, next: Next) -> Response {
    match check(request.headers(), &api.token) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn check(headers: &HeaderMap, token: &str) -> Result<(), ApiError> {
    let refused = |message: &str| {
        ApiError::new(ErrorKind::Unauthorized, message)
            .at("header Authorization")
            .remedy("send `Authorization: Bearer TOKEN`; the token is in the file `token` in the server's data folder")
    };
    let value = headers.get(header::AUTHORIZATION).ok_or_else(|| refused("a token is needed"))?;
    let bearer = value.as_bytes().split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
    let (_, shown) = bearer.ok_or_else(|| refused("the header is not of the form `Bearer TOKEN`"))?;
    // In constant time, so that the time of a refusal tells nothing of the token.
    if bool::from(shown.ct_eq(token.as_bytes())) { Ok(()) } else { Err(refused("the token is not this server's")) }
}

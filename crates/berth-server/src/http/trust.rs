//! Trust: authorities, join tokens, joining, renewing, shutting out.

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use berth_api::wire::v1::{self as wire, ErrorKind, ToWire as _};
use berth_model::{
    Authority, AuthorityId, Command, CommandRequest, IdempotencyKey, KeyId, Millis, Namespace, NodeName, Principal,
    Role, Trust, TrustCommand, TrustId, limits,
};
use berth_secrets::{Invitation, to_pem};
use rustls::pki_types::CertificateDer;
use serde::de::DeserializeOwned;

use super::Api;
use super::auth::{Link, link, member, operator};
use super::body::read;
use super::error::ApiError;
use super::extract::{Params, Segments, idempotency_key, parse};
use crate::trust::Signer;
use crate::view::View;

/// How long a join token is good where nobody says.
const TOKEN_LIFE: Millis = Millis(3600 * 1000);

/// Lists the certificate authorities that are believed, the one that signs first.
#[utoipa::path(get, path = "/v1/ca", tag = "trust", responses((status = 200, body = wire::Authorities)))]
pub async fn authorities(State(api): State<Api>) -> Json<wire::Authorities> {
    let view = api.shared.view();
    let mut known: Vec<&Authority> = view.trust.values().filter_map(|trust| authority(trust)).collect();
    known.sort_by_key(|authority| std::cmp::Reverse(authority.number));
    let told = |(at, authority): (usize, &Authority)| wire::Authority {
        id: authority.id.into(),
        signs: at == 0,
        not_after: authority.not_after.into(),
        made: authority.made.0.into(),
        cause: authority.made.1.to_wire(&*view),
        certificate: to_pem([&CertificateDer::from(authority.certificate.as_slice())]),
    };
    Json(wire::Authorities { items: known.into_iter().enumerate().map(told).collect() })
}

/// Has a new certificate authority sign from now on. The ones before it stay believed.
#[utoipa::path(post, path = "/v1/ca/rotate", tag = "trust",
    params(("Idempotency-Key" = String, Header, description = "The client's own key for this command.")),
    responses((status = 200, body = wire::CommandOutcome), (status = "4XX", body = wire::ErrorBody),
        (status = 503, body = wire::ErrorBody)))]
pub async fn rotate(State(api): State<Api>, headers: HeaderMap) -> Result<Json<wire::CommandOutcome>, ApiError> {
    let key = idempotency_key(&headers)?;
    if let Some(outcome) = done_before(&api.shared.view(), &operator(), &key) {
        // Another authority would be another command under the same key.
        return Ok(Json(outcome));
    }
    let signer = signer(&api)?.clone();
    let made = tokio::task::spawn_blocking(move || signer.succeed()).await;
    let made = made.map_err(|_| unable(&"no authority was made"))?.map_err(|error| unable(&error))?;
    command(&api, operator(), key, TrustCommand::AddAuthority(Box::new(made))).await.map(Json)
}

/// Has a certificate authority be believed no more.
#[utoipa::path(delete, path = "/v1/ca/{id}", tag = "trust",
    params(("id" = String, Path), RetireParams,
        ("Idempotency-Key" = String, Header, description = "The client's own key for this command.")),
    responses((status = 200, body = wire::CommandOutcome), (status = "4XX", body = wire::ErrorBody),
        (status = 503, body = wire::ErrorBody)))]
pub async fn retire(
    State(api): State<Api>,
    Segments(id): Segments<String>,
    Params(params): Params<RetireParams>,
    headers: HeaderMap,
) -> Result<Json<wire::CommandOutcome>, ApiError> {
    let id: AuthorityId = parse(&id)?;
    let retire = TrustCommand::RetireAuthority { id, force: params.force };
    command(&api, operator(), idempotency_key(&headers)?, retire).await.map(Json)
}

/// How an authority is retired.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RetireParams {
    /// Also while there may be machines that have no certificate of a newer one yet: they are shut out.
    #[serde(default)]
    force: bool,
}

/// Makes a join token.
#[utoipa::path(post, path = "/v1/tokens", tag = "trust",
    params(("Idempotency-Key" = String, Header, description = "The client's own key for this command.")),
    request_body = wire::TokenRequest,
    responses((status = 200, body = wire::Token), (status = "4XX", body = wire::ErrorBody),
        (status = 503, body = wire::ErrorBody)))]
pub async fn make_token(State(api): State<Api>, headers: HeaderMap, body: Body) -> Result<Json<wire::Token>, ApiError> {
    let key = idempotency_key(&headers)?;
    let request: wire::TokenRequest = asked(body, "TokenRequest").await?;
    if done_before(&api.shared.view(), &operator(), &key).is_some() {
        let message = "a token was made under this idempotency key, and is shown once alone";
        return Err(ApiError::new(ErrorKind::Conflict, message).remedy("ask for another one, under a key of its own"));
    }
    let token = Invitation::make(request.role.into(), signer(&api)?.authority().map_err(|error| unable(&error))?);
    let life = request.life_ms.map_or(TOKEN_LIFE, |wire::Number(millis)| Millis(millis.min(limits::TOKEN_LIFE.0 + 1)));
    let expires = api.shared.clock.now() + life;
    let node = request.node.as_ref().map(|node| node.0.clone());
    let add = TrustCommand::AddToken { id: token.id(), role: token.role, node, expires };
    command(&api, operator(), key, add).await?;
    let (role, expires) = (request.role, expires.into());
    Ok(Json(wire::Token { token: token.reveal().to_string(), role, node: request.node, expires }))
}

/// Lets a machine in that shows a join token. The key of its certificate, whoever has signed that, is the one it is known
/// by from then on.
#[utoipa::path(post, path = "/v1/join", tag = "trust", request_body = wire::JoinRequest,
    responses((status = 200, body = wire::Certified), (status = "4XX", body = wire::ErrorBody),
        (status = 503, body = wire::ErrorBody)))]
pub async fn join(State(api): State<Api>, request: Request) -> Result<Json<wire::Certified>, ApiError> {
    let (key, public) = shown_key(&link(&request))?;
    let wire::JoinRequest { token, role, name } = asked(request.into_body(), "JoinRequest").await?;
    let wrong = |error: berth_secrets::InvitationError| {
        ApiError::new(ErrorKind::BadRequest, error.to_string()).at("body.token")
    };
    let token: Invitation = token.parse().map_err(wrong)?;
    if !api.shared.view().trust.contains_key(&TrustId::Token(token.id())) {
        // Without asking the core: anyone may try.
        return Err(berth_model::Refusal::Join(berth_model::JoinRefusal::UnknownToken).into());
    }
    let signer = signer(&api)?;
    let (role, name) = (Role::from(role), name.0);
    // The same machine may ask again, where it has not heard the answer.
    let principal = Principal(format!("token {}", token.id()));
    let join = TrustCommand::Join { token: token.id(), role, name: name.clone(), key };
    command(&api, principal, IdempotencyKey(key.to_string()), join).await?;
    let certified = match role {
        Role::Agent => certified(signer, &name, &public)?,
        Role::Server => {
            let key = signer.sealing_key().map_err(|error| unable(&error))?;
            wire::Certified {
                certificate: String::new(),
                authorities: signer.authorities().map_err(|error| unable(&error))?,
                sealing_key: key.map(|key| key.reveal().to_string()),
                token: Some(api.token.to_string()),
            }
        }
    };
    Ok(Json(certified))
}

/// Gives an agent a new certificate, for the key that it has. One that has ended is enough, within a grace.
#[utoipa::path(post, path = "/v1/agent/certificate", tag = "agents",
    responses((status = 200, body = wire::Certified), (status = "4XX", body = wire::ErrorBody),
        (status = 503, body = wire::ErrorBody)))]
pub async fn renew(State(api): State<Api>, request: Request) -> Result<Json<wire::Certified>, ApiError> {
    let link = link(&request);
    let Link::Tls(shown) = &link else { return Err(no_tls()) };
    let (peer, node) = member(&api, shown)?;
    let late = api.shared.clock.wall().since(peer.not_after);
    if late > api.certificate_grace {
        let message = format!(
            "the certificate ended at {}, {late} ago, and the grace is {}",
            wire::Time(peer.not_after),
            api.certificate_grace
        );
        let remedy = format!("let the machine join anew: `berth token create --role agent --node {node}`");
        return Err(ApiError::new(ErrorKind::Unauthorized, message).at("certificate").remedy(remedy));
    }
    let (_, public) = shown_key(&link)?;
    certified(signer(&api)?, &node, &public).map(Json)
}

/// Shuts a node out of the cluster.
#[utoipa::path(post, path = "/v1/nodes/{node}/revoke", tag = "trust",
    params(("node" = String, Path),
        ("Idempotency-Key" = String, Header, description = "The client's own key for this command.")),
    responses((status = 200, body = wire::CommandOutcome), (status = "4XX", body = wire::ErrorBody),
        (status = 503, body = wire::ErrorBody)))]
pub async fn revoke(
    State(api): State<Api>,
    Segments(node): Segments<String>,
    headers: HeaderMap,
) -> Result<Json<wire::CommandOutcome>, ApiError> {
    let key = idempotency_key(&headers)?;
    let named = api.shared.view().node(&node).map(|node| node.fingerprint.name.clone());
    let name = match named {
        Some(name) => name,
        None => parse(&node)?,
    };
    command(&api, operator(), key, TrustCommand::Revoke(name)).await.map(Json)
}

fn authority(trust: &Trust) -> Option<&Authority> {
    match trust {
        Trust::Authority(authority) => Some(authority),
        Trust::Token(_) | Trust::Member(_) => None,
    }
}

fn certified(signer: &Signer, node: &NodeName, public: &[u8]) -> Result<wire::Certified, ApiError> {
    let certificate = signer.issue(node, public).map_err(|error| unable(&error))?;
    let authorities = signer.authorities().map_err(|error| unable(&error))?;
    Ok(wire::Certified { certificate: to_pem([&certificate]), authorities, sealing_key: None, token: None })
}

/// The key that the other side has shown to have.
fn shown_key(link: &Link) -> Result<(KeyId, Vec<u8>), ApiError> {
    let Link::Tls(shown) = link else { return Err(no_tls()) };
    let wrong = |message: String| ApiError::new(ErrorKind::BadRequest, message).at("certificate");
    let shown = shown.first().ok_or_else(|| {
        wrong("no certificate was shown: its key is the one that a machine is known by".to_owned())
            .remedy("show one in the handshake; whoever has signed it")
    })?;
    berth_secrets::key_of(shown).map_err(|error| wrong(error.to_string()))
}

fn signer(api: &Api) -> Result<&std::sync::Arc<Signer>, ApiError> {
    api.signer.as_ref().ok_or_else(no_tls)
}

fn no_tls() -> ApiError {
    ApiError::new(ErrorKind::Conflict, "this server listens without TLS, so nobody joins it with certificates")
        .remedy("have it listen beyond loopback, or with the setting `tls = \"on\"`")
}

/// What this server cannot do at the moment: its log tells more.
fn unable(error: &dyn std::fmt::Display) -> ApiError {
    ApiError::new(ErrorKind::Unavailable, error.to_string()).remedy("look at this server's log, or ask another one")
}

/// What came of a command under this key, where it was accepted before.
fn done_before(view: &View, principal: &Principal, key: &IdempotencyKey) -> Option<wire::CommandOutcome> {
    view.command_under(principal, &Namespace::default(), key).map(|record| record.outcome.clone().into())
}

/// Trust is the whole cluster's: it is in no namespace.
async fn command(
    api: &Api,
    principal: Principal,
    key: IdempotencyKey,
    command: TrustCommand,
) -> Result<wire::CommandOutcome, ApiError> {
    let command = Command::Trust(command);
    let request = CommandRequest { principal, namespace: Namespace::default(), key, plan: None, command };
    Ok(api.inputs.command(request).await?.into())
}

async fn asked<T: DeserializeOwned>(body: Body, schema: &str) -> Result<T, ApiError> {
    let bytes = read(body, wire::TRUST_REQUEST_BYTES).await?;
    // Without what serde says of it, which may repeat a secret.
    serde_json::from_slice(&bytes).map_err(|error| {
        ApiError::new(
            ErrorKind::BadRequest,
            format!("not a {schema}: line {}, column {}", error.line(), error.column()),
        )
        .at("body")
        .remedy(format!("`{schema}` of GET /v1/openapi.json tells what it may hold"))
    })
}

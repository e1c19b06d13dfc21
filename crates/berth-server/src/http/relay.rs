//! What only the leader can do: done here where this server leads, and handed on to the leader where it does not. An agent's
//! stream is not handed on: the agent is told where the leader is.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use berth_api::client::{Security, stream_client};
use berth_api::wire::v1::{self as wire, ErrorKind};
use berth_model::{KeyId, Refusal, Revision};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::Api;
use super::error::ApiError;
use crate::driver::Role;

/// How long a request waits for a leader while there is none.
const ELECTION: Duration = Duration::from_secs(10);
/// Bytes of a body that is kept to be handed on once more.
const BODY_BYTES: u64 = 256 << 10;
/// How long such a body may take to arrive.
const BODY: Duration = Duration::from_secs(10);
/// How long an answer of the leader's waits for this server to have seen what it speaks of.
const CATCH_UP: Duration = Duration::from_secs(2);
/// How long a connection to the leader may take.
const CONNECT: Duration = Duration::from_secs(2);

/// Tells the leader that a request was handed on: it is not handed on once more.
const RELAYED: HeaderName = HeaderName::from_static("berth-relayed");
/// Tells, of an answer to such a request, the revision that the leader had by then.
const REVISION: HeaderName = HeaderName::from_static("berth-revision");

/// The requests that wait for an election, of which there are only so many: each holds a connection's stream, and whoever
/// asks meanwhile is better told to come back than made to wait in a crowd.
#[derive(Clone, Debug)]
pub struct Electorate(Arc<Semaphore>);

impl Electorate {
    /// Requests that wait at once.
    pub const MOST: usize = 1024;

    /// For this many.
    pub fn new(most: usize) -> Electorate {
        Electorate(Arc::new(Semaphore::new(most)))
    }

    /// What this server is, once somebody leads, or when `end` has come.
    async fn settled(&self, role: &mut watch::Receiver<Role>, end: Instant) -> Result<Role, ApiError> {
        let now = role.borrow_and_update().clone();
        if now != Role::Leaderless {
            return Ok(now);
        }
        let Ok(_place) = self.0.try_acquire() else { return Err(crowded()) };
        let somebody = role.wait_for(|role| *role != Role::Leaderless);
        match tokio::time::timeout_at(end, somebody).await {
            Ok(Ok(role)) => Ok(role.clone()),
            Ok(Err(_)) | Err(_) => Ok(Role::Leaderless),
        }
    }
}

fn crowded() -> ApiError {
    ApiError::new(ErrorKind::Unavailable, "no server leads at the moment, and many requests wait for one already")
        .remedy("ask again in a second; the same idempotency key is safe. If it goes on, look at the servers' logs")
}

/// A request that only the leader can answer.
pub async fn to_leader(State(api): State<Api>, request: Request, next: Next) -> Response {
    let end = Instant::now() + ELECTION;
    let is_relayed = request.headers().contains_key(RELAYED);
    let mut role = api.shared.role();
    let mut request = Asked::Stream(request);
    loop {
        let held = match api.electorate.settled(&mut role, end).await {
            Ok(held) => held,
            Err(error) => return error.into_response(),
        };
        match held {
            Role::Leads => {
                let mut response = next.run(request.into_request()).await;
                if is_relayed {
                    let revision = api.shared.view().revision.0;
                    response.headers_mut().insert(REVISION, revision.into());
                }
                return response;
            }
            Role::Follows(leader) if !is_relayed => {
                request = match request.kept().await {
                    Ok(kept) => kept,
                    Err(error) => return error.into_response(),
                };
                let again = request.again();
                let error = match hand_on(&api, &leader, request.into_request()).await {
                    Ok(response) => return response,
                    Err(error) => error,
                };
                tracing::debug!(leader, error = %error.0, "not handed on");
                // Another one is asked in its place, as soon as there is one.
                let changes = role.wait_for(|role| *role != Role::Follows(leader.clone()));
                let changed = tokio::time::timeout_at(end, changes).await.is_ok();
                match again.filter(|_| changed) {
                    Some(again) => request = again,
                    None => return error.into_response(),
                }
            }
            Role::Storeless => return ApiError::from(Refusal::StoreUnavailable).into_response(),
            Role::Follows(_) | Role::Leaderless => return nobody_leads().into_response(),
        }
    }
}

/// A request that the leader answers best, and every server by itself where no election brings one.
pub async fn to_leader_if_any(State(api): State<Api>, request: Request, next: Next) -> Response {
    let held = match api.electorate.settled(&mut api.shared.role(), Instant::now() + ELECTION).await {
        Ok(held) => held,
        Err(error) => return error.into_response(),
    };
    let Role::Follows(leader) = held else { return next.run(request).await };
    if request.headers().contains_key(RELAYED) {
        return next.run(request).await;
    }
    let asked = match Asked::Stream(request).kept().await {
        Ok(asked) => asked,
        Err(error) => return error.into_response(),
    };
    let again = asked.again();
    match (hand_on(&api, &leader, asked.into_request()).await, again) {
        (Ok(response), _) => response,
        (Err(_), Some(again)) => next.run(again.into_request()).await,
        (Err(error), None) => error.into_response(),
    }
}

/// A request that can be handed on: more than once, where its body is short and all here. What it asks for is asked again
/// safely, since commands carry their keys.
enum Asked {
    Whole(Parts, Bytes),
    Stream(Request),
}

impl Asked {
    /// With its body read, if that says that it is short. Not before it is handed on: who waits for a leader holds nothing.
    async fn kept(self) -> Result<Asked, ApiError> {
        let Asked::Stream(request) = self else { return Ok(self) };
        match request.body().size_hint().upper() {
            Some(length) if length <= BODY_BYTES => {
                let (parts, body) = request.into_parts();
                let whole = tokio::time::timeout(BODY, body.collect()).await;
                let late = |_| ApiError::new(ErrorKind::RequestTimeout, "the body did not arrive in time").at("body");
                let broken =
                    |error| ApiError::new(ErrorKind::BadRequest, format!("the body broke off: {error}")).at("body");
                Ok(Asked::Whole(parts, whole.map_err(late)?.map_err(broken)?.to_bytes()))
            }
            Some(_) | None => Ok(Asked::Stream(request)),
        }
    }

    /// The same once more, if that can be.
    fn again(&self) -> Option<Asked> {
        match self {
            Asked::Whole(parts, body) => Some(Asked::Whole(parts.clone(), body.clone())),
            Asked::Stream(_) => None,
        }
    }

    fn into_request(self) -> Request {
        match self {
            Asked::Whole(parts, body) => Request::from_parts(parts, Body::from(body)),
            Asked::Stream(request) => request,
        }
    }
}

/// A request of an agent, which keeps a connection to the leader itself.
pub async fn leader_only(State(api): State<Api>, request: Request, next: Next) -> Response {
    let role = api.shared.role().borrow().clone();
    match role {
        Role::Leads => next.run(request).await,
        Role::Follows(leader) => {
            let mut error =
                ApiError::new(ErrorKind::NotLeader, format!("the server at {leader} leads, and not this one"))
                    .remedy("ask that one");
            error.0.leader = Some(leader);
            error.into_response()
        }
        Role::Leaderless | Role::Storeless => nobody_leads().into_response(),
    }
}

/// Who leads, as this server knows.
#[utoipa::path(get, path = "/v1/leader", tag = "server", responses((status = 200, body = wire::Leader)))]
pub async fn leader(State(api): State<Api>) -> axum::Json<wire::Leader> {
    let role = api.shared.role().borrow().clone();
    let here = role == Role::Leads;
    axum::Json(wire::Leader { leader: leader_of(&api, role), here })
}

/// Where the leader is reached.
pub fn leader_of(api: &Api, role: Role) -> Option<String> {
    match role {
        Role::Leads => Some(api.address.to_string()),
        Role::Follows(leader) => Some(leader),
        Role::Leaderless | Role::Storeless => None,
    }
}

fn nobody_leads() -> ApiError {
    ApiError::new(ErrorKind::Unavailable, "no server leads at the moment")
        .remedy("ask again; the same idempotency key is safe. If it goes on, look at the servers' logs")
}

/// Has the leader answer.
async fn hand_on(api: &Api, leader: &str, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut asked =
        api.relay.client(api)?.request(parts.method, format!("{leader}{path}")).headers(carried(&parts.headers));
    asked = asked.header(RELAYED, HeaderValue::from_static("1"));
    let sent = asked.body(reqwest::Body::wrap_stream(body.into_data_stream())).send().await;
    let answer = match sent {
        Ok(answer) => answer,
        Err(error) => {
            let message = format!("the server that leads, at {leader}, does not answer: {}", error.without_url());
            let remedy = "ask again; the same idempotency key is safe";
            return Err(ApiError::new(ErrorKind::Unavailable, message).remedy(remedy));
        }
    };
    let answer = axum::http::Response::<reqwest::Body>::from(answer);
    let (mut parts, body) = answer.into_parts();
    parts.version = Version::default();
    parts.headers = carried(&parts.headers);
    if let Some(revision) = parts.headers.remove(REVISION).and_then(|value| value.to_str().ok()?.parse().ok()) {
        // What the asker has done, it can then read here too.
        api.shared.caught_up(Revision(revision), CATCH_UP).await;
    }
    Ok(Response::from_parts(parts, Body::new(body)))
}

/// The headers that go on: all but those of one connection.
fn carried(headers: &HeaderMap) -> HeaderMap {
    const OF_CONNECTION: [HeaderName; 5] =
        [header::CONNECTION, header::HOST, header::TRANSFER_ENCODING, header::UPGRADE, header::TE];
    let mut carried = headers.clone();
    for name in OF_CONNECTION {
        carried.remove(name);
    }
    carried
}

/// What asks the leader: with this server's certificate, where it has one.
#[derive(Clone, Debug, Default)]
pub struct Relay(Arc<Mutex<Option<(Shown, reqwest::Client)>>>);

/// The key of the certificate that a client shows; none: it shows none.
type Shown = Option<KeyId>;

impl Relay {
    fn client(&self, api: &Api) -> Result<reqwest::Client, ApiError> {
        let failed = |error: String| ApiError::new(ErrorKind::Unavailable, format!("cannot ask the leader: {error}"));
        let key = match &api.signer {
            Some(signer) => Some(signer.key_id().map_err(|error| failed(error.to_string()))?),
            None => None,
        };
        let mut held = self.0.lock().expect("nothing panics while it holds the client");
        if let Some((_, client)) = held.as_ref().filter(|(of, _)| *of == key) {
            return Ok(client.clone());
        }
        let security = match &api.signer {
            Some(signer) => Security::Tls(Box::new(signer.client_config().map_err(|error| failed(error.to_string()))?)),
            None => Security::Plain,
        };
        let client = stream_client(security, CONNECT).map_err(|error| failed(error.to_string()))?;
        *held = Some((key, client.clone()));
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn so_many_wait_for_an_election_and_the_next_is_told_to_come_back() {
        let (tell, role) = watch::channel(Role::Leaderless);
        let electorate = Electorate::new(3);
        let end = Instant::now() + Duration::from_secs(3600);
        let mut receivers: Vec<_> = (0..4).map(|_| role.clone()).collect();
        let mut waiting: Vec<_> = receivers.iter_mut().map(|role| Box::pin(electorate.settled(role, end))).collect();
        let turned_away = waiting.pop().unwrap();
        for place in &mut waiting {
            assert!(place.as_mut().now_or_never().is_none(), "it waits");
        }
        let refusal = turned_away.await.unwrap_err();
        assert!(refusal.0.message.contains("many requests wait"), "{refusal:?}");
        drop(waiting.pop());
        let mut another = role.clone();
        let mut another = Box::pin(electorate.settled(&mut another, end));
        assert!(another.as_mut().now_or_never().is_none(), "who goes away leaves a place");
        tell.send(Role::Leads).unwrap();
        for place in waiting {
            assert_eq!(place.await.unwrap(), Role::Leads);
        }
        assert_eq!(another.await.unwrap(), Role::Leads);
        let mut late = role.clone();
        assert_eq!(electorate.settled(&mut late, end).await.unwrap(), Role::Leads, "nobody waits where somebody leads");
    }
}

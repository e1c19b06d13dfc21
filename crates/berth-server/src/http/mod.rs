//! HTTP for users and agents: routes, and what stands before all of them.

mod agent;
mod allocs;
mod auth;
mod body;
mod error;
mod events;
mod extract;
mod jobs;
mod nodes;
mod places;
mod plans;
mod policy;
mod reasons;
mod relay;
mod requests;
mod serve;
mod status;
mod streams;
mod trust;
mod turns;
mod whys;

pub use serve::serve;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use berth_api::wire::v1 as wire;
use berth_model::Millis;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::driver::{Inputs, Shared};
use crate::plans::Plans;
use crate::trust::Signer;

/// Users that may follow events at once.
const FOLLOWERS: usize = 256;

/// What every handler needs.
#[derive(Clone, Debug)]
pub struct Api {
    shared: Arc<Shared>,
    inputs: Inputs,
    token: Arc<str>,
    /// Where others reach this server.
    address: Arc<str>,
    /// None: it listens without TLS.
    signer: Option<Arc<Signer>>,
    /// How long after its end an agent's certificate is good for a new one.
    certificate_grace: Millis,
    stop: CancellationToken,
    followers: Arc<Semaphore>,
    turns: turns::Turns,
    plans: Arc<Plans>,
    planning: Arc<Semaphore>,
    /// Those that wait for an election.
    electorate: relay::Electorate,
    relay: relay::Relay,
}

/// How others reach a server.
#[derive(Debug)]
pub struct Reach {
    /// Where.
    pub address: String,
    /// Whose certificates count; none: it listens without TLS.
    pub signer: Option<Arc<Signer>>,
    /// How long after its end an agent's certificate is good for a new one.
    pub certificate_grace: Millis,
}

impl Api {
    /// Handlers that look into `shared`, hand in to `inputs` and open to `token`.
    pub fn new(shared: Arc<Shared>, inputs: Inputs, token: &str, reach: Reach, stop: CancellationToken) -> Api {
        let Reach { address, signer, certificate_grace } = reach;
        Api {
            shared,
            inputs,
            token: token.into(),
            address: address.into(),
            signer,
            certificate_grace,
            stop,
            followers: Arc::new(Semaphore::new(FOLLOWERS)),
            turns: turns::Turns::new(),
            plans: Arc::default(),
            planning: Arc::new(Semaphore::new(plans::AT_ONCE)),
            electorate: relay::Electorate::new(relay::Electorate::MOST),
            relay: relay::Relay::default(),
        }
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Berth",
        description = "The HTTP interface of a Berth server, version 1. Every path but /healthz needs the header \
            `Authorization: Bearer TOKEN`. Numbers of 64 bits travel as strings. Every answer that is not a success has \
            the body `{\"error\": {\"kind\", \"message\", \"place\"?, \"remedy\"?}}`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
        contact()
    ),
    components(schemas(
        wire::ErrorBody,
        wire::AgentMessage,
        wire::ServerMessage,
        wire::LogRecord,
        wire::ExecRequest
    )),
    tags(
        (name = "jobs"), (name = "allocations"), (name = "nodes"), (name = "plans"), (name = "ledger"), (name = "policy"),
        (name = "server"),
        (name = "trust", description = "Certificate authorities, join tokens, joining, shutting out."),
        (name = "agents", description = "For agents. Streams in both directions, over HTTP/2 alone.")
    )
)]
struct Doc;

/// What every server answers by itself, from what is stored.
fn for_all_servers() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::show))
        .routes(routes!(allocs::list))
        .routes(routes!(allocs::show))
        .routes(routes!(nodes::list))
        .routes(routes!(nodes::show))
        .routes(routes!(events::list))
        .routes(routes!(policy::show))
        .routes(routes!(trust::authorities))
        .routes(routes!(relay::leader))
        .routes(routes!(status::job_schema))
        .routes(routes!(status::openapi_document))
}

/// What only the leader does, or knows: decisions, and what goes through the agents' streams.
fn for_the_leader() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(jobs::run))
        .routes(routes!(jobs::stop))
        .routes(routes!(allocs::stop))
        .routes(routes!(streams::logs))
        .routes(routes!(streams::exec))
        .routes(routes!(nodes::drain))
        .routes(routes!(nodes::enable))
        .routes(routes!(nodes::abandon))
        .routes(routes!(plans::make))
        .routes(routes!(plans::show))
        .routes(routes!(whys::alloc))
        .routes(routes!(whys::job))
        .routes(routes!(policy::set))
        .routes(routes!(status::finalise))
        .routes(routes!(trust::rotate))
        .routes(routes!(trust::retire))
        .routes(routes!(trust::make_token))
        .routes(routes!(trust::revoke))
}

/// The agents' streams.
fn for_agents() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(agent::stream)).routes(routes!(streams::tunnel))
}

/// All paths, by who may ask. `api` is there where they are served, and not where they are only described.
struct Paths {
    for_users: OpenApiRouter<Api>,
    for_agents: OpenApiRouter<Api>,
    /// For machines that are to become a part of the cluster, or to stay one: they look themselves at who asks.
    for_strangers: OpenApiRouter<Api>,
}

fn paths(api: Option<&Api>) -> Paths {
    let (mut leader, mut agents) = (for_the_leader(), for_agents());
    let mut status = OpenApiRouter::new().routes(routes!(status::status));
    let mut for_strangers = OpenApiRouter::new().routes(routes!(trust::join));
    if let Some(api) = api {
        leader = leader.route_layer(from_fn_with_state(api.clone(), relay::to_leader));
        status = status.route_layer(from_fn_with_state(api.clone(), relay::to_leader_if_any));
        agents = agents.route_layer(from_fn_with_state(api.clone(), relay::leader_only));
        for_strangers = for_strangers.route_layer(from_fn_with_state(api.clone(), relay::leader_only));
    }
    let for_users = OpenApiRouter::with_openapi(Doc::openapi()).merge(for_all_servers()).merge(leader).merge(status);
    // Every server signs; and a certificate that has ended is not an agent's any more.
    Paths { for_users, for_agents: agents, for_strangers: for_strangers.routes(routes!(trust::renew)) }
}

/// The whole of HTTP, ready to be served.
fn router(api: Api) -> Router {
    let Paths { for_users, for_agents, for_strangers } = paths(Some(&api));
    let turns = || from_fn_with_state(api.turns.clone(), turns::take_turn);
    let served = |paths: OpenApiRouter<Api>| {
        let (router, _) = paths.split_for_parts();
        router.method_not_allowed_fallback(error::no_such_method)
    };
    let for_users = served(for_users).fallback(error::no_such_path).layer(turns());
    let for_users = for_users.layer(from_fn_with_state(api.clone(), auth::require_token));
    let for_agents = served(for_agents).layer(turns()).layer(from_fn_with_state(api.clone(), auth::require_agent));
    let router = for_users.merge(for_agents).merge(served(for_strangers).layer(turns()));
    router.route("/healthz", axum::routing::get(status::healthz)).with_state(api)
}

/// The OpenAPI document, as committed in `docs/openapi.json`.
pub fn openapi() -> String {
    let Paths { for_users, for_agents, for_strangers } = paths(None);
    let (_, document) = for_users.merge(for_agents).merge(for_strangers).split_for_parts();
    let mut text = document.to_pretty_json().expect("the document has text keys and no failing parts");
    text.push('\n');
    text
}

//! Logs and terminals: a user's request, spliced with one that the agent makes for it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::{Version, header};
use axum::response::{IntoResponse as _, Response};
use berth_api::wire::v1::{self as wire, ErrorKind};
use berth_model::{AllocId, AllocState, NodeId, Refusal, TaskName};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use utoipa::IntoParams;

use super::Api;
use super::agent::require_http2;
use super::auth::Caller;
use super::error::ApiError;
use super::extract::{Params, Segments, parse};
use crate::agents::Unreached;
use crate::tunnels::AgentHalf;

/// How long an agent may take to open a tunnel.
const AGENT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a user may take to say which process is wanted.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Which log lines are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogParams {
    /// Of which task; may be left out where the group has one.
    task: Option<wire::TaskName>,
    /// `both` (where left out), `stdout` or `stderr`.
    #[param(value_type = Option<String>)]
    streams: Option<wire::LogStreams>,
    /// The last so many lines alone.
    last: Option<u32>,
    /// Whether to go on as more is written, until the allocation has ended and all of it was sent.
    #[serde(default)]
    follow: bool,
}

/// Gives log lines of a task: `LogRecord`s, one a line.
#[utoipa::path(get, path = "/v1/allocs/{id}/logs", tag = "allocations", params(("id" = String, Path), LogParams),
    responses((status = 200, body = wire::LogRecord, content_type = "application/x-ndjson"),
        (status = "4XX", body = wire::ErrorBody), (status = "5XX", body = wire::ErrorBody)))]
pub async fn logs(
    State(api): State<Api>,
    Segments(id): Segments<String>,
    Params(params): Params<LogParams>,
) -> Result<Response, ApiError> {
    let id: AllocId = parse(&id)?;
    let (node, task) = find_task(&api, id, params.task.map(|task| task.0), Needs::Placed)?;
    let wanted = wire::TunnelKind::Logs(wire::LogsRequest {
        alloc: id.into(),
        task: task.into(),
        streams: params.streams.unwrap_or_default(),
        from: params.last.map_or(wire::LogsFrom::Oldest, |lines| wire::LogsFrom::Last { lines }),
        follow: params.follow,
    });
    let (from_agent, to_agent, permit) = open_tunnel(&api, node, wanted).await?;
    let gone = CancellationToken::new();
    let user = Spliced { body: from_agent.into_data_stream(), _permit: permit, _gone: gone.clone().drop_guard() };
    drop(to_agent.send(Body::from_stream(news_for_logs(api, id, gone))));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(user)).into_response())
}

/// What an agent that sends logs is sent: a line when the allocation has ended, so that it need not wait for more, and
/// the end when the user has gone.
fn news_for_logs(api: Api, id: AllocId, gone: CancellationToken) -> impl Stream<Item = Infallibly> {
    let user = gone.clone();
    let ended = async move { user.run_until_cancelled(until_ended(&api, id)).await.map(|()| Ok(wire::LOGS_OVER)) };
    let gone = async move {
        gone.cancelled_owned().await;
        None
    };
    stream::once(ended).chain(stream::once(gone)).filter_map(std::future::ready)
}

/// Waits until an allocation has ended, or is not known any more.
async fn until_ended(api: &Api, id: AllocId) {
    let mut written = api.shared.follow_ledger();
    while api.shared.view().allocs.get(&id).is_some_and(|alloc| !alloc.is_ended()) {
        if written.changed().await.is_err() {
            return;
        }
    }
}

type Infallibly = Result<Bytes, std::convert::Infallible>;

/// Runs a process beside a task: frames in both directions, see the documentation of the terminal's tunnel. The first
/// frame is `open`.
#[utoipa::path(post, path = "/v1/allocs/{id}/exec", tag = "allocations", params(("id" = String, Path)),
    request_body(content = Vec<u8>, content_type = "application/x-berth-frames", description = "Frames, `open` first."),
    responses((status = 200, body = Vec<u8>, content_type = "application/x-berth-frames"),
        (status = "4XX", body = wire::ErrorBody), (status = "5XX", body = wire::ErrorBody)))]
pub async fn exec(
    State(api): State<Api>,
    Segments(id): Segments<String>,
    version: Version,
    body: Body,
) -> Result<Response, ApiError> {
    require_http2(version)?;
    let id: AllocId = parse(&id)?;
    let mut body = body.into_data_stream();
    let opened = tokio::time::timeout(OPEN_TIMEOUT, open_frame(&mut body)).await;
    let late = |_| ApiError::new(ErrorKind::RequestTimeout, "no open frame came in time").at("body");
    let (request, rest) = opened.map_err(late)??;
    if request.alloc.0 != id {
        return Err(
            ApiError::new(ErrorKind::BadRequest, "the open frame names another allocation than the path").at("body")
        );
    }
    if request.command.first().is_none_or(String::is_empty) {
        return Err(ApiError::new(ErrorKind::BadRequest, "the open frame names no command").at("body"));
    }
    let (node, _) = find_task(&api, id, Some(request.task.0.clone()), Needs::Running)?;
    let (from_agent, to_agent, permit) = open_tunnel(&api, node, wire::TunnelKind::Exec(request)).await?;
    // Once the agent's half has ended, or the user has gone, the agent is told by the end of the user's half.
    let over = CancellationToken::new();
    let guard = over.clone().drop_guard();
    let rest = stream::iter((!rest.is_empty()).then_some(Ok(rest)));
    let from_user = rest.chain(body).take_until(over.cancelled_owned());
    drop(to_agent.send(Body::from_stream(from_user)));
    let user = Spliced { body: from_agent.into_data_stream(), _permit: permit, _gone: guard };
    Ok(([(header::CONTENT_TYPE, "application/x-berth-frames")], Body::from_stream(user)).into_response())
}

/// Serves a tunnel that the server asked an agent for.
#[utoipa::path(post, path = "/v1/agent/tunnel/{id}", tag = "agents", params(("id" = String, Path)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "4XX", body = wire::ErrorBody)))]
pub async fn tunnel(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Segments(id): Segments<String>,
    version: Version,
    body: Body,
) -> Result<Response, ApiError> {
    require_http2(version)?;
    let gone = || ApiError::new(ErrorKind::NotFound, "nobody waits for this tunnel, or no longer");
    let is_caller = |node| {
        let view = api.shared.view();
        view.nodes.get(&node).is_some_and(|node| caller.may_be(&node.fingerprint.name))
    };
    let waiting = api.shared.tunnels.take(&wire::TunnelId(id), is_caller).ok_or_else(gone)?;
    let (to_agent, arriving) = oneshot::channel();
    waiting.send(AgentHalf { from_agent: body, to_agent }).map_err(|_| gone())?;
    let body = arriving.await.map_err(|_| gone())?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response())
}

/// What an allocation must be for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// On a node, now or formerly.
    Placed,
    /// On a node, with processes.
    Running,
}

/// The node and the task of a request.
fn find_task(api: &Api, id: AllocId, task: Option<TaskName>, needs: Needs) -> Result<(NodeId, TaskName), ApiError> {
    let view = api.shared.view();
    let alloc = view.allocs.get(&id).ok_or(Refusal::NoSuchAlloc(id))?;
    let unfit = |message: String| ApiError::new(ErrorKind::NotFound, message);
    let placement = alloc.placement().ok_or_else(|| {
        unfit(format!("allocation {id} has never been placed on a node"))
            .remedy(format!("`berth why {id}` tells what it waits for"))
    })?;
    let over = matches!(alloc.state, AllocState::Ended { .. });
    if needs == Needs::Running && over {
        return Err(unfit(format!("allocation {id} has ended; no process of it is left")));
    }
    let known: Vec<&TaskName> = match view.group(alloc) {
        Some(group) => group.tasks.iter().map(|task| &task.name).collect(),
        None => alloc.tasks.keys().collect(),
    };
    let named = || known.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    match (task, known.as_slice()) {
        (Some(task), known) if known.contains(&&task) => Ok((placement.node, task)),
        (Some(task), _) => Err(unfit(format!("allocation {id} has no task `{task}`; it has: {}", named()))),
        (None, [only]) => Ok((placement.node, (*only).clone())),
        (None, _) => Err(ApiError::new(ErrorKind::BadRequest, "which task is not told")
            .at("query, task")
            .remedy(format!("name one of: {}", named()))),
    }
}

type Tunnel = (Body, oneshot::Sender<Body>, Arc<OwnedSemaphorePermit>);

/// Asks an agent for a tunnel and waits for it.
async fn open_tunnel(api: &Api, node: NodeId, wanted: wire::TunnelKind) -> Result<Tunnel, ApiError> {
    let too_many =
        || ApiError::new(ErrorKind::Overloaded, "too many logs and terminals are open").remedy("ask again later");
    let mut waiting = api.shared.tunnels.wait(node).ok_or_else(too_many)?;
    let name = || wire::NodeNames::node_ref(&*api.shared.view(), node).to_string();
    api.shared.agents.open_tunnel(node, waiting.id.clone(), wanted).map_err(|unreached| match unreached {
        Unreached::NotConnected => {
            ApiError::new(ErrorKind::Unavailable, format!("the agent of node {} is not connected", name()))
                .remedy("look at the agent, or ask again when it is back")
        }
        Unreached::Slow => ApiError::new(ErrorKind::Unavailable, format!("the agent of node {} is too slow", name()))
            .remedy("ask again"),
    })?;
    let late = || {
        ApiError::new(ErrorKind::AgentTimeout, format!("the agent of node {} did not answer in time", name()))
            .remedy("ask again; if it goes on, look at the agent's log")
    };
    let arrival = tokio::time::timeout(AGENT_TIMEOUT, &mut waiting.arrival).await;
    let half = arrival.map_err(|_| late())?.map_err(|_| late())?;
    Ok((half.from_agent, half.to_agent, waiting.permit.clone()))
}

/// The first frame of a user's stream, and what came with it.
async fn open_frame(body: &mut BodyDataStream) -> Result<(wire::ExecRequest, Bytes), ApiError> {
    let wrong = |message: String| ApiError::new(ErrorKind::BadRequest, message).at("body");
    let mut decoder = wire::FrameDecoder::default();
    loop {
        match decoder.next_frame().map_err(|error| wrong(error.to_string()))? {
            Some(wire::Frame::Open(request)) => return Ok((request, decoder.into_rest())),
            Some(_) => return Err(wrong("the first frame is not `open`".to_owned())),
            None => {}
        }
        match body.next().await {
            Some(Ok(piece)) => decoder.push(&piece),
            Some(Err(_)) | None => return Err(wrong("the body ended before an open frame".to_owned())),
        }
    }
}

/// One direction of a tunnel. Holds the tunnel's place until it is dropped.
struct Spliced {
    body: BodyDataStream,
    _permit: Arc<OwnedSemaphorePermit>,
    /// Tells the other side when this one is dropped.
    _gone: DropGuard,
}

impl Stream for Spliced {
    type Item = Result<Bytes, axum::Error>;
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.body.poll_next_unpin(context)
    }
}

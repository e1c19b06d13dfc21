//! The ledger: a page at a time, or as it is written.

use std::ops::Bound;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use berth_api::wire::v1::{self as wire, ErrorKind, ToWire as _};
use berth_model::{AllocId, EventId, JobId, LedgerEntry};
use bytes::Bytes;
use futures::stream;
use serde::Deserialize;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};
use utoipa::IntoParams;

use super::Api;
use super::error::ApiError;
use super::extract::{Params, page, page_items};
use crate::view::View;

/// Events sent at once.
const BATCH: usize = 128;
/// How often a quiet stream says that it is alive.
const ALIVE: Duration = Duration::from_secs(15);

/// Which events are listed or followed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventParams {
    /// About this job and its allocations alone.
    job: Option<wire::JobId>,
    /// About this allocation alone.
    alloc: Option<wire::AllocId>,
    /// After this event, or `now` for what is yet to come. Left out: from the oldest that is kept.
    after: Option<String>,
    /// 1 to 1000 items; of no effect on a stream.
    limit: Option<usize>,
}

/// What is looked for.
#[derive(Clone, Debug)]
struct Query {
    job: Option<JobId>,
    alloc: Option<AllocId>,
    after: Option<EventId>,
}

impl Query {
    fn wants(&self, entry: &LedgerEntry) -> bool {
        self.job.as_ref().is_none_or(|job| entry.what.job() == Some(job))
            && self.alloc.is_none_or(|alloc| entry.what.alloc() == Some(alloc))
    }

    /// Up to `limit` events, and the last entry that was looked at.
    fn find(&self, view: &View, limit: usize) -> (Vec<wire::Event>, Option<EventId>) {
        let from = self.after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut found = Vec::new();
        let mut looked_at = self.after;
        for (id, entry) in view.ledger.range((from, Bound::Unbounded)) {
            if found.len() == limit {
                break;
            }
            looked_at = Some(*id);
            if self.wants(entry) {
                found.push(entry.to_wire(view));
            }
        }
        (found, looked_at)
    }

    /// Whether entries after `after` are no longer kept.
    fn misses_some(&self, view: &View) -> bool {
        let (Some(after), Some(oldest)) = (self.after, view.ledger.keys().next()) else { return false };
        after.incarnation == oldest.incarnation && after.counter.saturating_add(1) < oldest.counter
    }
}

/// Lists what happened, oldest first. With `Accept: text/event-stream`, sends it as it happens: messages of the type
/// `ledger` with an event as data, one of the type `begin` with the id that the stream begins after, and `error` last.
#[utoipa::path(get, path = "/v1/events", tag = "ledger", params(EventParams),
    responses((status = 200, content((wire::Page<wire::Event> = "application/json"), (String = "text/event-stream"))),
        (status = "4XX", body = wire::ErrorBody)))]
pub async fn list(
    State(api): State<Api>,
    Params(params): Params<EventParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let limit = page_items(params.limit)?;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let follow = accept.contains("text/event-stream");
    // What an event source of a browser sends when it connects again.
    let last_seen = headers.get("Last-Event-ID").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let after = last_seen.or(params.after);
    let after = match after.as_deref() {
        None => None,
        Some("now") => api.shared.view().ledger.keys().next_back().copied(),
        Some(text) => Some(text.parse().map_err(|error: berth_model::ParseError| {
            ApiError::new(ErrorKind::BadRequest, error.to_string())
                .at("query, after")
                .remedy("give an event id or `now`")
        })?),
    };
    let query = Query { job: params.job.map(|job| job.0), alloc: params.alloc.map(|alloc| alloc.0), after };
    if follow {
        return event_stream(api, query);
    }
    let (items, _) = query.find(&api.shared.view(), limit + 1);
    Ok(Json(page(items, limit, |event: &wire::Event| event.id.to_string())).into_response())
}

/// A stream that is under way.
struct Follower {
    api: Api,
    query: Query,
    written: watch::Receiver<u64>,
    begun: bool,
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

fn event_stream(api: Api, query: Query) -> Result<Response, ApiError> {
    let permit = api.followers.clone().try_acquire_owned().map_err(|_| {
        ApiError::new(ErrorKind::Overloaded, "too many streams of events are open")
            .remedy("close some, or ask again later")
    })?;
    let written = api.shared.follow_ledger();
    let follower = Follower { api, query, written, begun: false, ended: false, _permit: permit };
    let body = Body::from_stream(stream::unfold(follower, |mut follower| async move {
        let piece = follower.next().await?;
        Some((Ok::<_, std::convert::Infallible>(piece), follower))
    }));
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, body).into_response())
}

impl Follower {
    /// The next piece of the stream. None: it has ended.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        if !self.begun {
            self.begun = true;
            let after = self.query.after.map(|id| id.to_string()).unwrap_or_default();
            return Some(Bytes::from(format!("event: begin\ndata: {after}\n\n")));
        }
        loop {
            self.written.mark_unchanged();
            if let Some(piece) = self.look() {
                return Some(piece);
            }
            tokio::select! {
                () = self.api.stop.cancelled() => return None,
                changed = self.written.changed() => changed.ok()?,
                () = tokio::time::sleep(ALIVE) => return Some(Bytes::from_static(b": alive\n\n")),
            }
        }
    }

    fn look(&mut self) -> Option<Bytes> {
        use std::fmt::Write as _;
        let view = self.api.shared.view();
        if self.query.misses_some(&view) {
            self.ended = true;
            let error =
                wire::ErrorInfo::new(wire::ErrorKind::NotFound, "events that were to follow are no longer kept")
                    .remedy("follow from the oldest, or from now on");
            let data = serde_json::to_string(&wire::ErrorBody { error }).expect("wire types do not fail");
            return Some(Bytes::from(format!("event: error\ndata: {data}\n\n")));
        }
        let (found, looked_at) = self.query.find(&view, BATCH);
        self.query.after = looked_at;
        let mut text = String::new();
        for event in found {
            let data = serde_json::to_string(&event).expect("wire types do not fail");
            write!(text, "event: ledger\nid: {}\ndata: {data}\n\n", event.id).expect("writing to a string");
        }
        if text.is_empty() { None } else { Some(Bytes::from(text)) }
    }
}

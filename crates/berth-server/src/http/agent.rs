//! Agents' streams: reports in, orders out.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::{Version, header};
use axum::response::{IntoResponse as _, Response};
use berth_api::wire::v1::{self as wire, ErrorKind};
use berth_control::SessionId;
use futures::StreamExt as _;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use crate::agents::{Outbox, QUEUED_MESSAGES};
use crate::driver::{Input, Inputs, LoopEnded};

/// How long an agent may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Why an agent's half of a stream ended.
#[derive(Debug, thiserror::Error)]
enum StreamEnd {
    #[error("a line is not understood")]
    Line(#[from] wire::LineError),
    #[error("a report is not understood")]
    Report(#[from] wire::MessageError),
    #[error("the connection broke")]
    Broken(#[source] axum::Error),
    #[error("a second hello came where only reports may")]
    SecondHello,
    #[error("the agent ended the stream")]
    Ended,
}

/// The lines that an agent sends.
struct Lines {
    body: BodyDataStream,
    decoder: wire::LineDecoder,
}

impl Lines {
    async fn next(&mut self) -> Result<wire::AgentMessage, StreamEnd> {
        loop {
            if let Some(message) = self.decoder.next_line()? {
                return Ok(message);
            }
            match self.body.next().await {
                Some(Ok(piece)) => self.decoder.push(&piece),
                Some(Err(error)) => return Err(StreamEnd::Broken(error)),
                None => {
                    self.decoder.finish()?;
                    return Err(StreamEnd::Ended);
                }
            }
        }
    }
}

/// Keeps up an agent's stream: lines of JSON in both directions, `AgentMessage` in and `ServerMessage` out.
#[utoipa::path(post, path = "/v1/agent/stream", tag = "agents",
    request_body(content = wire::AgentMessage, content_type = "application/x-ndjson"),
    responses((status = 200, body = wire::ServerMessage, content_type = "application/x-ndjson"),
        (status = "4XX", body = wire::ErrorBody)))]
pub async fn stream(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    version: Version,
    body: Body,
) -> Result<Response, ApiError> {
    require_http2(version)?;
    let mut lines = Lines { body: body.into_data_stream(), decoder: wire::LineDecoder::new(wire::AGENT_LINE_BYTES) };
    let hello = hello(&mut lines).await?;
    let name = &hello.fingerprint.name;
    if !caller.may_be(name) {
        let message = format!("the agent says it is node {name}, and its certificate says it is {caller}");
        return Err(ApiError::new(ErrorKind::Forbidden, message)
            .at("line 1, fingerprint.name")
            .remedy("give the agent its old name back, or let it join under the new one, with a new join token"));
    }
    let session = api.shared.next_session();
    let (outbox, messages) = mpsc::channel(QUEUED_MESSAGES);
    let over = CancellationToken::new();
    let guard = over.clone().drop_guard();
    let input = Input::Connected { session, hello, outbox: outbox.clone(), guard };
    api.inputs.stream(input).await.map_err(|LoopEnded| stopping())?;
    let inputs = api.inputs.clone();
    tokio::spawn(async move {
        // The loop has ended the session, and knows it, or the agent has.
        if let Some(Err(end)) = over.run_until_cancelled(read_reports(lines, session, &inputs)).await {
            end_stream(session, &end, &outbox, &inputs).await;
        }
    });
    let orders = ReceiverStream::new(messages);
    let body = Body::from_stream(orders.map(|message| Ok::<_, std::convert::Infallible>(wire::encode_line(&message))));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// Streams in both directions need HTTP/2.
pub fn require_http2(version: Version) -> Result<(), ApiError> {
    if version == Version::HTTP_2 {
        return Ok(());
    }
    Err(ApiError::new(ErrorKind::BadRequest, "this path works in both directions at once, which HTTP/1.1 cannot")
        .remedy("use HTTP/2 with prior knowledge (curl: --http2-prior-knowledge)"))
}

fn stopping() -> ApiError {
    ApiError::new(ErrorKind::Unavailable, "the server is stopping").remedy("ask again")
}

async fn hello(lines: &mut Lines) -> Result<berth_model::Hello, ApiError> {
    let refused = |message: String| ApiError::new(ErrorKind::BadRequest, message).at("line 1");
    let first = tokio::time::timeout(HELLO_TIMEOUT, lines.next()).await;
    let first = first.map_err(|_| ApiError::new(ErrorKind::RequestTimeout, "no hello came in time").at("line 1"))?;
    match first.map_err(|end| refused(chain(&end)))? {
        wire::AgentMessage::Hello(hello) => {
            hello.try_into().map_err(|error: wire::MessageError| refused(chain(&error)))
        }
        wire::AgentMessage::Report(_) => Err(refused("a report came before the hello".to_owned())),
    }
}

/// Hands in reports until the agent or the loop ends the stream. One at a time: a report waits for the loop to have
/// taken the one before, so that an agent that never stops talking fills no queue that others need.
async fn read_reports(mut lines: Lines, session: SessionId, inputs: &Inputs) -> Result<(), StreamEnd> {
    let turn = Arc::new(Semaphore::new(1));
    loop {
        let report = match lines.next().await? {
            wire::AgentMessage::Report(report) => report.try_into()?,
            wire::AgentMessage::Hello(_) => return Err(StreamEnd::SecondHello),
        };
        let turn = turn.clone().acquire_owned().await.expect("nobody closes it");
        if inputs.stream(Input::Report { session, report, turn }).await.is_err() {
            return Ok(());
        }
    }
}

/// Tells whoever is concerned that a stream has ended by the agent's doing.
async fn end_stream(session: SessionId, end: &StreamEnd, outbox: &Outbox, inputs: &Inputs) {
    let reason = chain(end);
    match end {
        StreamEnd::Ended | StreamEnd::Broken(_) => tracing::info!(session = session.0, reason, "agent's stream ended"),
        StreamEnd::Line(_) | StreamEnd::Report(_) | StreamEnd::SecondHello => {
            tracing::warn!(session = session.0, reason, "agent's stream refused");
            // One who does not listen finds the stream ended.
            let _ = outbox.try_send(wire::ServerMessage::Close { reason });
        }
    }
    // A loop that has ended needs no news.
    let _ = inputs.stream(Input::Disconnected { session }).await;
}

/// An error with its sources, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn an_agent_that_never_stops_talking_has_one_report_in_the_queue() {
        let report = wire::NodeReport {
            serial: wire::Number(1),
            digest: wire::Digest(0),
            conditions: Vec::new(),
            allocs: Vec::new(),
        };
        let line = wire::encode_line(&wire::AgentMessage::Report(report));
        let body = Body::from(line.repeat(100)).into_data_stream();
        let lines = Lines { body, decoder: wire::LineDecoder::new(wire::AGENT_LINE_BYTES) };
        let (sender, mut queue) = mpsc::channel(200);
        let inputs = Inputs(sender);
        let mut reading = std::pin::pin!(read_reports(lines, SessionId(1), &inputs));
        for _ in 1..100 {
            assert!(reading.as_mut().now_or_never().is_none());
            assert_eq!(queue.len(), 1);
            drop(queue.recv().await);
            // Or the test's own share of time is used up.
            tokio::task::yield_now().await;
        }
        assert!(matches!(reading.await, Err(StreamEnd::Ended)));
    }
}

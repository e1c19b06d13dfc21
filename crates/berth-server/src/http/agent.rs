//! Agents' streams: reports in, orders out.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::{Version, header};
use axum::response::{IntoResponse as _, Response};
use berth_api::wire::v1::{self as wire, ErrorKind};
use berth_control::SessionId;
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::Api;
use super::error::ApiError;
use crate::agents::QUEUED_MESSAGES;
use crate::driver::{Input, Inputs, LoopEnded};

/// How long an agent may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Why an agent's half of a stream ended.
#[derive(Debug, thiserror::Error)]
enum StreamEnd {
    #[error("a line is not understood")]
    Line(#[from] wire::LineError),
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
pub async fn stream(State(api): State<Api>, version: Version, body: Body) -> Result<Response, ApiError> {
    require_http2(version)?;
    let mut lines = Lines { body: body.into_data_stream(), decoder: wire::LineDecoder::new(wire::AGENT_LINE_BYTES) };
    let hello = hello(&mut lines).await?;
    let session = api.shared.next_session();
    let (outbox, messages) = mpsc::channel(QUEUED_MESSAGES);
    let over = CancellationToken::new();
    let guard = over.clone().drop_guard();
    let input = Input::Connected { session, hello, outbox, guard };
    api.inputs.stream(input).await.map_err(|LoopEnded| stopping())?;
    tokio::spawn(read_reports(lines, session, api.inputs.clone(), over));
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

/// Hands in reports until the agent or the loop ends the stream.
async fn read_reports(mut lines: Lines, session: SessionId, inputs: Inputs, over: CancellationToken) {
    let end = loop {
        let message = match over.run_until_cancelled(lines.next()).await {
            Some(message) => message,
            // The loop has ended the session, and knows it.
            None => return,
        };
        match message {
            Ok(wire::AgentMessage::Report(report)) => {
                if inputs.stream(Input::Report { session, report: report.into() }).await.is_err() {
                    return;
                }
            }
            Ok(wire::AgentMessage::Hello(_)) => break StreamEnd::SecondHello,
            Err(end) => break end,
        }
    };
    tracing::info!(session = session.0, reason = chain(&end), "agent's stream ended");
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

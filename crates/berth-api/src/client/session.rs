//! A process beside a task, as the user who asked for it sees it; and the halves of every two-way stream.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Body, Method, Response};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::call::{broken, send_once, url};
use super::{ClientError, Target};
use crate::wire::v1 as wire;

/// Pieces that may wait to be sent; whoever sends more waits.
const QUEUED_PIECES: usize = 8;

/// How long the other side may take to end its half.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the sending side gave up; breaks the stream, so that the other side does not take the cut for an end.
#[derive(Debug, thiserror::Error)]
#[error("the sender gave up")]
struct GaveUp;

/// The sending half of a two-way stream. Dropping it ends the request's body.
#[derive(Debug)]
pub(super) struct BodySender {
    pieces: mpsc::Sender<Result<Bytes, GaveUp>>,
    operation: &'static str,
    addr: String,
}

impl BodySender {
    pub(super) async fn send(&self, piece: Bytes) -> Result<(), ClientError> {
        let ended = |_| ClientError::Ended { operation: self.operation, addr: self.addr.clone() };
        self.pieces.send(Ok(piece)).await.map_err(ended)
    }

    pub(super) async fn give_up(self) {
        // A stream that is gone already cannot be broken.
        let _ = self.pieces.send(Err(GaveUp)).await;
    }
}

/// The receiving half of a two-way stream.
#[derive(Debug)]
pub(super) struct BodyReceiver {
    response: Response,
    operation: &'static str,
    addr: String,
    /// The connection is this stream's own, and lives as long.
    _http: reqwest::Client,
}

impl BodyReceiver {
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        self.response.chunk().await.map_err(|source| broken(source, self.operation, &self.addr))
    }
}

impl BodyReceiver {
    /// Waits, within bounds, until the other side has ended its half.
    pub(super) async fn drain(mut self) {
        let ended = async { while let Ok(Some(_)) = self.next().await {} };
        // One that does not end is cut.
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, ended).await;
    }
}

/// Opens a two-way stream on a connection of its own. `first` is sent before the answer is awaited.
pub(super) async fn open(
    target: &Target,
    operation: &'static str,
    path: &str,
    first: Option<Bytes>,
) -> Result<(BodySender, BodyReceiver), ClientError> {
    let target = &target.fixed();
    let http = target.stream_client()?;
    let (pieces, queued) = mpsc::channel(QUEUED_PIECES);
    let addr = target.addr().to_owned();
    let sender = BodySender { pieces, operation, addr: addr.clone() };
    if let Some(first) = first {
        sender.send(first).await?;
    }
    let body = Body::wrap_stream(ReceiverStream::new(queued));
    let request = http.request(Method::POST, url(target, path)).body(body);
    let response = send_once(request, operation, target).await?;
    Ok((sender, BodyReceiver { response, operation, addr, _http: http }))
}

/// Sends frames.
#[derive(Debug)]
pub struct FrameSender(BodySender);

impl FrameSender {
    pub(super) fn new(sender: BodySender) -> FrameSender {
        FrameSender(sender)
    }

    /// Sends one; waits while the other side is slow.
    pub async fn send(&self, frame: &wire::Frame) -> Result<(), ClientError> {
        let bytes = frame.encode().map_err(|source| ClientError::Frame { operation: self.0.operation, source })?;
        self.0.send(bytes).await
    }

    /// Ends the stream, and waits until the other side has ended its half. Whoever drops the two halves instead may
    /// cut off what was sent last.
    pub async fn finish(self, receiver: FrameReceiver) {
        drop(self);
        receiver.body.drain().await;
    }

    /// Breaks the stream, so that the other side does not take what it has for everything.
    pub async fn give_up(self) {
        self.0.give_up().await;
    }
}

/// Receives frames.
#[derive(Debug)]
pub struct FrameReceiver {
    body: BodyReceiver,
    decoder: wire::FrameDecoder,
}

impl FrameReceiver {
    pub(super) fn new(body: BodyReceiver) -> FrameReceiver {
        FrameReceiver { body, decoder: wire::FrameDecoder::default() }
    }

    /// The next frame. None: the other side has ended the stream.
    pub async fn next(&mut self) -> Result<Option<wire::Frame>, ClientError> {
        let operation = self.body.operation;
        let wrong = |source| ClientError::Frame { operation, source };
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(wrong)? {
                return Ok(Some(frame));
            }
            match self.body.next().await? {
                Some(piece) => self.decoder.push(&piece),
                None => return self.decoder.finish().map(|()| None).map_err(wrong),
            }
        }
    }
}

/// A process beside a task: input and changes of size go in, output and the exit come out.
#[derive(Debug)]
pub struct Session {
    /// Takes `Stdin` and `Resize`.
    pub input: FrameSender,
    /// Gives `Stdout`, `Stderr`, and last `Exit` or `Error`.
    pub output: FrameReceiver,
}

impl Session {
    pub(super) async fn open(target: &Target, request: &wire::ExecRequest) -> Result<Session, ClientError> {
        let operation = "run a command beside the task";
        let frame = wire::Frame::Open(request.clone());
        let first = frame.encode().map_err(|source| ClientError::Frame { operation, source })?;
        let path = format!("/v1/allocs/{}/exec", request.alloc);
        let (sender, body) = open(target, operation, &path, Some(first)).await?;
        Ok(Session { input: FrameSender::new(sender), output: FrameReceiver::new(body) })
    }
}

//! The agent's side: its stream to the server, and the tunnels that it serves.

use berth_model as model;

use super::session::{BodyReceiver, BodySender, open};
use super::{ClientError, FrameReceiver, FrameSender, Target};
use crate::wire::v1 as wire;

const STREAM: &str = "keep up the agent's stream";
const TUNNEL: &str = "serve a tunnel";

/// What the server says on an agent's stream, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromServer {
    /// An order for the node core. The first is always `Welcome`.
    Order(model::Order),
    /// The server ends the stream.
    Close {
        /// For the agent's log.
        reason: String,
    },
    /// A tunnel is wanted: open it with [`Tunnel::open`].
    OpenTunnel {
        /// Names it.
        id: wire::TunnelId,
        /// What for.
        wanted: wire::TunnelKind,
    },
}

/// An agent's stream, as its two halves.
#[derive(Debug)]
pub struct AgentStream {
    /// Takes reports.
    pub reports: ReportSender,
    /// Gives what the server says.
    pub orders: OrderReceiver,
}

impl AgentStream {
    /// Opens the stream and says hello.
    pub async fn connect(target: &Target, hello: model::Hello) -> Result<AgentStream, ClientError> {
        let first = wire::encode_line(&wire::AgentMessage::Hello(hello.into()));
        let (sender, body) = open(target, STREAM, "/v1/agent/stream", Some(first)).await?;
        let decoder = wire::LineDecoder::new(wire::SERVER_LINE_BYTES);
        Ok(AgentStream { reports: ReportSender(sender), orders: OrderReceiver { body, decoder } })
    }
}

/// Sends an agent's reports. Dropping it ends the stream.
#[derive(Debug)]
pub struct ReportSender(BodySender);

impl ReportSender {
    /// Sends one; waits while the server is slow.
    pub async fn send(&self, report: model::NodeReport) -> Result<(), ClientError> {
        self.0.send(wire::encode_line(&wire::AgentMessage::Report(report.into()))).await
    }
}

/// Receives what the server says.
#[derive(Debug)]
pub struct OrderReceiver {
    body: BodyReceiver,
    decoder: wire::LineDecoder,
}

impl OrderReceiver {
    /// The next message. None: the server has ended the stream. Safe to drop while it waits: nothing is lost.
    pub async fn next(&mut self) -> Result<Option<FromServer>, ClientError> {
        let wrong = |source| ClientError::Line { operation: STREAM, source };
        loop {
            if let Some(message) = self.decoder.next_line().map_err(wrong)? {
                return understand(message).map(Some);
            }
            match self.body.next().await? {
                Some(piece) => self.decoder.push(&piece),
                None => return self.decoder.finish().map(|()| None).map_err(wrong),
            }
        }
    }
}

fn understand(message: wire::ServerMessage) -> Result<FromServer, ClientError> {
    Ok(match message {
        wire::ServerMessage::Welcome { epoch, node, heartbeat_ms } => FromServer::Order(model::Order::Welcome {
            epoch: epoch.into(),
            node: node.into(),
            heartbeat: heartbeat_ms.into(),
        }),
        wire::ServerMessage::Desired(desired) => {
            let desired = model::Desired::try_from(desired);
            let wrong = |source| ClientError::Message { operation: STREAM, source };
            FromServer::Order(model::Order::Desired(desired.map_err(wrong)?))
        }
        wire::ServerMessage::Lease { serial, allocs } => FromServer::Order(model::Order::Lease {
            serial: serial.0,
            allocs: allocs.into_iter().map(model::AllocId::from).collect(),
        }),
        wire::ServerMessage::Close { reason } => FromServer::Close { reason },
        wire::ServerMessage::OpenTunnel { id, wanted } => FromServer::OpenTunnel { id, wanted },
    })
}

/// A tunnel that an agent serves, on a connection of its own.
#[derive(Debug)]
pub struct Tunnel {
    sender: BodySender,
    body: BodyReceiver,
}

impl Tunnel {
    /// Opens the tunnel that the server asked for.
    pub async fn open(target: &Target, id: &wire::TunnelId) -> Result<Tunnel, ClientError> {
        let path = format!("/v1/agent/tunnel/{}", super::call::path_segment(&id.0));
        let (sender, body) = open(target, TUNNEL, &path, None).await?;
        Ok(Tunnel { sender, body })
    }

    /// As a tunnel for a terminal.
    pub fn into_frames(self) -> (FrameSender, FrameReceiver) {
        (FrameSender::new(self.sender), FrameReceiver::new(self.body))
    }

    /// As a tunnel for logs.
    pub fn into_logs(self) -> LogSender {
        LogSender { sender: self.sender, body: self.body }
    }
}

/// What is told to one who sends log records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogNews {
    /// The allocation has ended: what is there is all that there will be.
    Over,
    /// Nobody reads any more.
    ReaderGone,
}

/// Sends log records into a tunnel. Dropping it without [`LogSender::finish`] breaks the stream.
#[derive(Debug)]
pub struct LogSender {
    sender: BodySender,
    body: BodyReceiver,
}

impl LogSender {
    /// Sends one; waits while the reader is slow.
    pub async fn send(&self, record: &wire::LogRecord) -> Result<(), ClientError> {
        self.sender.send(wire::encode_line(record)).await
    }

    /// Waits for what is told of the reader. To be raced against the wait for more lines of a quiet task.
    pub async fn news(&mut self) -> LogNews {
        loop {
            match self.body.next().await {
                // The end may come in a piece of its own, with nothing in it.
                Ok(Some(piece)) if piece.is_empty() => {}
                Ok(Some(_)) => return LogNews::Over,
                Ok(None) | Err(_) => return LogNews::ReaderGone,
            }
        }
    }

    /// Ends the stream: the reader has everything.
    pub async fn finish(self) {
        drop(self.sender);
        self.body.drain().await;
    }

    /// Breaks the stream, so that the reader does not take what it has for everything.
    pub async fn give_up(self) {
        self.sender.give_up().await;
    }
}

//! The link to the server: one stream that is kept up, reports out, orders in. Loses nothing that
//! matters: reports and desired states are whole.

use std::time::Duration;

use berth_api::client::{AgentStream, ClientError, FromServer, Target};
use berth_model::{AgentKey, Epoch, Hello, Order};
use berth_node::Event;
use berth_runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::config::Config;
use crate::driver::LinkEvent;
use crate::{AgentError, fingerprint, tunnel};

/// The waits between attempts to reach a server: the first, and what doubling stops at. Each is spread by half of it.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));
/// Tunnels that are served at the same time; more are left to time out at the server.
const TUNNELS: usize = 256;

/// Keeps the stream up.
pub struct Link {
    /// What the machine is said to be.
    pub config: Config,
    /// Who the agent is.
    pub agent: AgentKey,
    /// Where the servers are.
    pub target: Target,
    /// The server that the stream goes to, where another one than the next has said who leads.
    pub leader: Option<Target>,
    /// For tunnels.
    pub runtime: Runtime,
    /// To the drive loop.
    pub events: mpsc::Sender<LinkEvent>,
    /// The highest epoch heard of: a server of a lower one has lost the lead and does not know it.
    pub epoch: Epoch,
}

impl Link {
    /// Connects, again and again, for as long as the drive loop listens.
    pub async fn run(mut self) {
        let mut wait = RETRY.0;
        let mut told = String::new();
        loop {
            let began = Instant::now();
            let at = self.target.addr().to_owned();
            let ended = self.session().await;
            if began.elapsed() > RETRY.1 {
                // It was up: what was said of earlier troubles is over.
                wait = RETRY.0;
                told.clear();
            }
            match ended {
                Ok(()) => tracing::info!("the server ended the stream"),
                Err(SessionError::Client(error)) if self.turn_to_leader(&error) => continue,
                Err(error) => {
                    // A server that is away for long is told of once.
                    let reason = chain(&error);
                    if reason != told {
                        tracing::warn!(reason, "no stream to a server; work goes on");
                        told = reason;
                    }
                }
            }
            if self.leader.take().is_none() {
                self.target.turn_from(&at);
            }
            if self.events.is_closed() {
                return;
            }
            tokio::time::sleep(spread(wait)).await;
            wait = (wait * 2).min(RETRY.1);
        }
    }

    /// A server that does not lead has said who does: whether that one is tried next. One that was named and does not
    /// lead either is not believed in what it says.
    fn turn_to_leader(&mut self, error: &ClientError) -> bool {
        if self.leader.is_some() {
            return false;
        }
        self.leader = error.leader().and_then(|leader| self.target.at(leader).ok());
        self.leader.is_some()
    }

    /// One stream from its beginning to its end.
    async fn session(&mut self) -> Result<(), SessionError> {
        let server = self.leader.clone().unwrap_or_else(|| self.target.fixed());
        let fingerprint = fingerprint::take(&self.config)?;
        let hello = Hello { agent: self.agent.clone(), fingerprint };
        let AgentStream { reports, mut orders } = AgentStream::connect(&server, hello).await?;
        let (newest, mut to_send) = watch::channel(None);
        let sending = tokio::spawn(async move {
            while to_send.changed().await.is_ok() {
                let report = to_send.borrow_and_update().clone();
                if let Some(report) = report
                    && reports.send(report).await.is_err()
                {
                    return;
                }
            }
        });
        tracing::info!(server = server.addr(), "stream to the server is up");
        self.tell(LinkEvent::Connected(newest)).await;
        let ended = self.receive(&server, &mut orders).await;
        sending.abort();
        self.tell(LinkEvent::Disconnected).await;
        ended
    }

    async fn receive(
        &mut self,
        server: &Target,
        orders: &mut berth_api::client::OrderReceiver,
    ) -> Result<(), SessionError> {
        let mut tunnels = tokio::task::JoinSet::new();
        loop {
            let Some(message) = orders.next().await? else { return Ok(()) };
            match message {
                FromServer::Order(Order::Welcome { epoch, .. }) if epoch < self.epoch => {
                    return Err(SessionError::OldEpoch { theirs: epoch, ours: self.epoch });
                }
                FromServer::Order(Order::Welcome { epoch, node, heartbeat }) => {
                    self.epoch = epoch;
                    tracing::info!(%node, %epoch, "registered");
                    self.tell(LinkEvent::Core(Box::new(Event::Welcome { epoch, node, heartbeat }))).await;
                }
                FromServer::Order(Order::Desired(desired)) => {
                    self.tell(LinkEvent::Core(Box::new(Event::Desired(desired)))).await;
                }
                FromServer::Order(Order::Lease { serial, allocs }) => {
                    self.tell(LinkEvent::Leased { serial, allocs }).await;
                }
                FromServer::Close { reason } => return Err(SessionError::Closed { reason }),
                FromServer::OpenTunnel { id, wanted } => {
                    while tunnels.try_join_next().is_some() {}
                    if tunnels.len() >= TUNNELS {
                        tracing::warn!(tunnel = %id, limit = TUNNELS, "too many tunnels; this one is not served");
                        continue;
                    }
                    tunnels.spawn(tunnel::serve(server.clone(), self.runtime.clone(), id, wanted));
                }
            }
        }
    }

    async fn tell(&self, event: LinkEvent) {
        // The loop is gone only when the agent is ending.
        let _ = self.events.send(event).await;
    }
}

/// A wait between half as long and one and a half times as long: agents that have lost their server at the same moment do
/// not all come back at the same one.
pub(crate) fn spread(wait: Duration) -> Duration {
    let mut random = [0u8; 1];
    // Without randomness all wait the same, which is no fault.
    let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
    wait / 2 + wait * u32::from(random[0]) / 256
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    /// The machine could not be looked at.
    #[error(transparent)]
    Fingerprint(#[from] AgentError),
    /// The connection.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The server does not lead any more.
    #[error(
        "the server's epoch {theirs} is older than {ours}, which this agent has obeyed: it has lost the lead, or its \
         store was replaced; an agent of another cluster needs a data folder of its own"
    )]
    OldEpoch {
        /// The server's.
        theirs: Epoch,
        /// The highest heard of.
        ours: Epoch,
    },
    /// The server wanted it so.
    #[error("the server closed the stream: {reason}")]
    Closed {
        /// Its reason.
        reason: String,
    },
}

/// An error with what is behind it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn agents_do_not_come_back_all_at_once() {
        let waits: BTreeSet<Duration> = (0..100).map(|_| spread(Duration::from_millis(1_000))).collect();
        assert!(waits.len() > 10, "{waits:?}");
        let (first, last) = (waits.first().unwrap(), waits.last().unwrap());
        assert!(*first >= Duration::from_millis(500) && *last < Duration::from_millis(1_500), "{first:?} {last:?}");
    }
}

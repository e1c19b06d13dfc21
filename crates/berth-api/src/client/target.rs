//! Which servers, and with which token.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::ClientError;
use crate::wire::v1 as wire;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long where there are other servers to ask.
const CONNECT_TURN: Duration = Duration::from_secs(2);
/// How often a stream is probed, and how long the other side may take to answer. An agent has to notice that the leader's
/// machine is gone before the next leader misses it.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(3));

/// The servers of a cluster with the token that opens them. One of them is asked until it fails, then the next one. Copies
/// share which one that is.
#[derive(Clone)]
pub struct Target {
    servers: Arc<Servers>,
    token: String,
}

struct Servers {
    /// One at least.
    addrs: Vec<String>,
    /// Which of them is asked.
    current: AtomicUsize,
}

impl fmt::Debug for Target {
    /// Without the token, which belongs in no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("servers", &self.servers.addrs).finish_non_exhaustive()
    }
}

impl Target {
    /// The servers at `addrs`, such as `http://10.0.0.1:4600,http://10.0.0.2:4600`, with their token.
    pub fn new(addrs: &str, token: &str) -> Result<Target, ClientError> {
        let addrs = addrs.split(',').map(|addr| checked(addr.trim())).collect::<Result<Vec<_>, _>>()?;
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ClientError::Token);
        }
        let servers = Arc::new(Servers { addrs, current: AtomicUsize::new(0) });
        Ok(Target { servers, token: token.to_owned() })
    }

    /// The address of the server that is asked, as messages name it.
    pub fn addr(&self) -> &str {
        let current = self.servers.current.load(Ordering::Relaxed);
        &self.servers.addrs[current % self.servers.addrs.len()]
    }

    /// Asks the next server from now on, unless this one is not asked any more.
    pub fn turn_from(&self, addr: &str) {
        let current = self.servers.current.load(Ordering::Relaxed);
        if self.servers.addrs[current % self.servers.addrs.len()] == addr {
            // Whoever was quicker has done the same.
            let _ = self.servers.current.compare_exchange(
                current,
                current.wrapping_add(1),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }

    /// Whether there is no other server to ask.
    pub(super) fn is_alone(&self) -> bool {
        self.servers.addrs.len() == 1
    }

    /// The server that is asked now, alone: what belongs to one conversation stays with one server.
    pub fn fixed(&self) -> Target {
        Target::alone(self.addr().to_owned(), self.token.clone())
    }

    /// Another server with the same token.
    pub fn at(&self, addr: &str) -> Result<Target, ClientError> {
        Ok(Target::alone(checked(addr)?, self.token.clone()))
    }

    fn alone(addr: String, token: String) -> Target {
        Target { servers: Arc::new(Servers { addrs: vec![addr], current: AtomicUsize::new(0) }), token }
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// A client of HTTP for calls.
    pub(super) fn http_client(&self) -> Result<reqwest::Client, ClientError> {
        self.build(self.builder())
    }

    /// A client of HTTP/2 with a connection of its own, for one stream with bodies in both directions.
    pub(super) fn stream_client(&self) -> Result<reqwest::Client, ClientError> {
        let builder = self.builder();
        let builder = if self.is_plain() { builder.http2_prior_knowledge() } else { builder };
        self.build(
            builder
                .http2_keep_alive_interval(KEEP_ALIVE.0)
                .http2_keep_alive_timeout(KEEP_ALIVE.1)
                .http2_keep_alive_while_idle(true)
                .http2_initial_stream_window_size(wire::STREAM_WINDOW)
                .http2_initial_connection_window_size(wire::CONNECTION_WINDOW),
        )
    }

    fn is_plain(&self) -> bool {
        self.servers.addrs.iter().all(|addr| addr.starts_with("http://"))
    }

    fn builder(&self) -> reqwest::ClientBuilder {
        // A second call finds a provider installed and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let connect = if self.is_alone() { CONNECT_TIMEOUT } else { CONNECT_TURN };
        let builder = reqwest::Client::builder().connect_timeout(connect).no_proxy();
        // Without TLS no certificates are needed: a machine that has none must still reach its server.
        if self.is_plain() { builder.tls_certs_only([]) } else { builder }
    }

    fn build(&self, builder: reqwest::ClientBuilder) -> Result<reqwest::Client, ClientError> {
        builder.build().map_err(|source| ClientError::Setup { addr: self.addr().to_owned(), source })
    }
}

/// An address of the form that a server's has, without a slash at its end.
fn checked(addr: &str) -> Result<String, ClientError> {
    let wrong = |problem: &'static str| ClientError::Address { addr: addr.to_owned(), problem };
    let url = reqwest::Url::parse(addr).map_err(|_| wrong("it is not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it begins with neither http:// nor https://"));
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it has more than scheme, host and port"));
    }
    Ok(addr.trim_end_matches('/').to_owned())
}

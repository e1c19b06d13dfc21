//! Which servers, and how one shows who one is.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
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

/// What to do where nobody has said whom to believe.
pub(super) const NAME_AUTHORITIES: &str =
    "name the cluster's authorities with BERTH_CA: a copy of `ca.pem` in a server's data folder";

/// How connections to servers are secured: whom to believe, and what to show. It can change; copies share it.
#[derive(Clone, Debug)]
pub struct Tls(Arc<RwLock<rustls::ClientConfig>>);

impl Tls {
    /// By this.
    pub fn new(config: rustls::ClientConfig) -> Tls {
        Tls(Arc::new(RwLock::new(config)))
    }

    /// By this, from the next connection on.
    pub fn change(&self, config: rustls::ClientConfig) {
        *self.0.write().expect("nothing panics while it holds the settings") = config;
    }

    fn config(&self) -> rustls::ClientConfig {
        self.0.read().expect("nothing panics while it holds the settings").clone()
    }
}

/// The servers of a cluster, and how one shows who one is. One of them is asked until it fails, then the next one. Copies
/// share which one that is.
#[derive(Clone)]
pub struct Target {
    servers: Arc<Servers>,
    token: Option<String>,
    /// None: whoever has a certificate that the machine believes is believed.
    tls: Option<Tls>,
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
        Ok(Target { servers, token: Some(token.to_owned()), tls: None })
    }

    /// The servers at `addrs`, which see by a certificate who asks.
    pub fn certified(addrs: &str, tls: Tls) -> Result<Target, ClientError> {
        let addrs = addrs.split(',').map(|addr| checked(addr.trim())).collect::<Result<Vec<_>, _>>()?;
        if let Some(plain) = addrs.iter().find(|addr| !addr.starts_with("https://")) {
            return Err(ClientError::Address { addr: plain.clone(), problem: "certificates need https://" });
        }
        let servers = Arc::new(Servers { addrs, current: AtomicUsize::new(0) });
        Ok(Target { servers, token: None, tls: Some(tls) })
    }

    /// The same, with connections that are secured so.
    pub fn with_tls(self, tls: Tls) -> Target {
        Target { tls: Some(tls), ..self }
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
        self.alone(self.addr().to_owned())
    }

    /// Another server with the same token.
    pub fn at(&self, addr: &str) -> Result<Target, ClientError> {
        Ok(self.alone(checked(addr)?))
    }

    fn alone(&self, addr: String) -> Target {
        let servers = Arc::new(Servers { addrs: vec![addr], current: AtomicUsize::new(0) });
        Target { servers, token: self.token.clone(), tls: self.tls.clone() }
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// How many servers there are to ask.
    pub(super) fn count(&self) -> usize {
        self.servers.addrs.len()
    }

    /// A client of HTTP for calls.
    pub(super) fn http_client(&self) -> Result<reqwest::Client, ClientError> {
        self.built(self.security().builder(self.patience()).build())
    }

    /// A client of HTTP/2 with a connection of its own, for one stream with bodies in both directions.
    pub(super) fn stream_client(&self) -> Result<reqwest::Client, ClientError> {
        self.built(stream_client(self.security(), self.patience()))
    }

    fn security(&self) -> Security {
        if self.servers.addrs.iter().all(|addr| addr.starts_with("http://")) {
            return Security::Plain;
        }
        self.tls.as_ref().map_or(Security::Public, |tls| Security::Tls(Box::new(tls.config())))
    }

    fn patience(&self) -> Duration {
        if self.is_alone() { CONNECT_TIMEOUT } else { CONNECT_TURN }
    }

    fn built(&self, client: Result<reqwest::Client, reqwest::Error>) -> Result<reqwest::Client, ClientError> {
        let addr = self.addr().to_owned();
        client.map_err(|source| match self.security() {
            Security::Public => {
                let problem = format!("this machine knows no certificates by which it could; {NAME_AUTHORITIES}");
                ClientError::Untrusted { addr, problem }
            }
            Security::Plain | Security::Tls(_) => ClientError::Setup { addr, source },
        })
    }
}

/// How connections are secured.
#[derive(Clone, Debug)]
pub enum Security {
    /// Not at all.
    Plain,
    /// By certificates that the machine believes.
    Public,
    /// By this.
    Tls(Box<rustls::ClientConfig>),
}

impl Security {
    fn builder(self, connect: Duration) -> reqwest::ClientBuilder {
        // A second call finds a provider installed and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder().connect_timeout(connect).no_proxy();
        match self {
            // Without TLS no certificates are needed: a machine that has none must still reach its server.
            Security::Plain => builder.tls_certs_only([]),
            Security::Public => builder,
            Security::Tls(config) => builder.tls_backend_preconfigured(*config),
        }
    }
}

/// A client of HTTP/2, in which answers can begin before questions end. A server that is gone is noticed.
pub fn stream_client(security: Security, connect: Duration) -> Result<reqwest::Client, reqwest::Error> {
    let is_plain = matches!(security, Security::Plain);
    let builder = security.builder(connect);
    let builder = if is_plain { builder.http2_prior_knowledge() } else { builder };
    builder
        .http2_keep_alive_interval(KEEP_ALIVE.0)
        .http2_keep_alive_timeout(KEEP_ALIVE.1)
        .http2_keep_alive_while_idle(true)
        .http2_initial_stream_window_size(wire::STREAM_WINDOW)
        .http2_initial_connection_window_size(wire::CONNECTION_WINDOW)
        .build()
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

//! Which server, and with which token.

use std::fmt;
use std::time::Duration;

use super::ClientError;
use crate::wire::v1 as wire;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often an idle stream is probed, and how long the other side may take to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// A server's address with the token that opens it.
#[derive(Clone)]
pub struct Target {
    addr: String,
    token: String,
}

impl fmt::Debug for Target {
    /// Without the token, which belongs in no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl Target {
    /// The server at `addr`, such as `http://127.0.0.1:4600`, with its token.
    pub fn new(addr: &str, token: &str) -> Result<Target, ClientError> {
        let wrong = |problem: &'static str| ClientError::Address { addr: addr.to_owned(), problem };
        let url = reqwest::Url::parse(addr).map_err(|_| wrong("it is not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("it begins with neither http:// nor https://"));
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it has more than scheme, host and port"));
        }
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ClientError::Token);
        }
        Ok(Target { addr: addr.trim_end_matches('/').to_owned(), token: token.to_owned() })
    }

    /// The address, as messages name it.
    pub fn addr(&self) -> &str {
        &self.addr
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
                .http2_keep_alive_interval(KEEP_ALIVE)
                .http2_keep_alive_timeout(KEEP_ALIVE * 2)
                .http2_keep_alive_while_idle(true)
                .http2_initial_stream_window_size(wire::STREAM_WINDOW)
                .http2_initial_connection_window_size(wire::CONNECTION_WINDOW),
        )
    }

    fn is_plain(&self) -> bool {
        self.addr.starts_with("http://")
    }

    fn builder(&self) -> reqwest::ClientBuilder {
        // A second call finds a provider installed and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).no_proxy();
        // Without TLS no certificates are needed: a machine that has none must still reach its server.
        if self.is_plain() { builder.tls_certs_only([]) } else { builder }
    }

    fn build(&self, builder: reqwest::ClientBuilder) -> Result<reqwest::Client, ClientError> {
        builder.build().map_err(|source| ClientError::Setup { addr: self.addr.clone(), source })
    }
}

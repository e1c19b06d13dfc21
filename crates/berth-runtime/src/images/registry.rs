//! Talks to a registry: the pulling half of the OCI distribution protocol, with its bearer tokens.
//!
//! Written on an HTTP client instead of taken from a library, for what the libraries leave open: an
//! answer's size is bounded before it is in memory, and neither a redirect nor a token's realm can
//! lead from HTTPS to plain HTTP, which is spoken to loopback hosts only. Stores nothing, retries
//! nothing: when to try again is the node core's decision.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use berth_model::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use serde::Deserialize;

use super::digest::Digest;
use super::error::ImageError;
use super::manifest;
use super::reference::{RegistryReference, Version, is_loopback};

const MAX_REDIRECTS: usize = 5;
const MAX_TOKEN: u64 = 64 << 10;

/// How long a registry is waited for. One that says nothing, or next to nothing, gives way to others.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For the head of an answer, and at most between two pieces of it.
    pub silence: Duration,
    /// For a whole document: a manifest, a configuration, a token.
    pub document: Duration,
    /// Time spent waiting for a layer, after which [`Patience::least`] must have come, over and over.
    pub window: Duration,
    /// What must have come in each window.
    pub least: Bytes,
}

impl Default for Patience {
    fn default() -> Patience {
        let seconds = Duration::from_secs;
        Patience {
            connect: seconds(10),
            silence: seconds(30),
            document: seconds(60),
            window: seconds(60),
            least: Bytes(512 << 10),
        }
    }
}

/// Watches that a layer comes fast enough. Only time spent waiting counts: a disk that is slow to take
/// what has come is not the registry's fault.
pub(super) struct Pace {
    patience: Patience,
    waited: Duration,
    came: u64,
}

impl Pace {
    pub(super) fn new(patience: Patience) -> Pace {
        Pace { patience, waited: Duration::ZERO, came: 0 }
    }

    /// Notes that `bytes` came after a wait; false when that is too slow.
    pub(super) fn keeps_up(&mut self, waited: Duration, bytes: usize) -> bool {
        self.waited += waited;
        self.came += bytes as u64;
        if self.waited < self.patience.window {
            return true;
        }
        let enough = self.came >= self.patience.least.0;
        (self.waited, self.came) = (Duration::ZERO, 0);
        enough
    }
}

/// What an agent may show to a registry. Never in a job: a job names it.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// User and password, or what a registry calls an access token of a user.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A bearer token, sent as it is.
    Token(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::Password { user, .. } => write!(f, "Password {{ user: {user:?}, .. }}"),
            Credential::Token(_) => f.write_str("Token(..)"),
        }
    }
}

/// The HTTP clients, shared by all fetches for the sake of their connections. Made when first needed:
/// a machine without any CA certificates can still have images from its disk and its own registry.
pub(super) struct Clients {
    patience: Patience,
    secure: Mutex<Option<Client>>,
    loopback: Mutex<Option<Client>>,
}

impl Clients {
    pub(super) fn new(patience: Patience) -> Clients {
        Clients { patience, secure: Mutex::default(), loopback: Mutex::default() }
    }

    fn of(&self, url: &Url) -> Result<Client, ImageError> {
        let plain = url.scheme() == "http";
        let kept = if plain { &self.loopback } else { &self.secure };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = kept.as_ref() {
            return Ok(client.clone());
        }
        // The HTTP client takes the process's provider; a binary that has chosen one keeps it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // On behalf of this machine, without the proxies of the environment, which are not for it, and without CAs.
        let client = client(self.patience);
        let client = if plain { client.no_proxy().tls_certs_only([]) } else { client };
        let client = client.build().map_err(ImageError::Client)?;
        *kept = Some(client.clone());
        Ok(client)
    }
}

fn client(patience: Patience) -> reqwest::ClientBuilder {
    Client::builder()
        .user_agent(concat!("berth/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(patience.connect)
        .read_timeout(patience.silence)
        .redirect(redirect::Policy::custom(follow))
}

/// Whether a request may go on from `from` to `to`: HTTPS anywhere; plain HTTP to this machine, and
/// only on behalf of this machine, so that no registry can have us talk to our own local services.
fn may_go(from: &Url, to: &Url) -> bool {
    let local = |url: &Url| url.scheme() == "http" && url.host_str().is_some_and(is_loopback);
    to.scheme() == "https" || (local(from) && local(to))
}

fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error("too many redirects")
    } else if !attempt.previous().last().is_some_and(|from| may_go(from, attempt.url())) {
        attempt.error("refused a redirect to plain HTTP")
    } else {
        attempt.follow()
    }
}

/// One fetch from one repository.
pub(super) struct Session {
    clients: std::sync::Arc<Clients>,
    reference: RegistryReference,
    credential: Option<Credential>,
    /// What the registry gave us to show, once it has asked.
    shown: Mutex<Option<HeaderValue>>,
}

/// What a request is for.
#[derive(Clone, Copy)]
enum Want {
    /// Something small, perhaps of certain media types.
    Document(Option<&'static str>),
    /// Something that may take as long as it takes, if it keeps coming.
    Layer,
}

/// A registry's demand, from its `WWW-Authenticate` header.
enum Demand {
    Basic,
    Bearer { realm: Url, service: Option<String>, scope: Option<String> },
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Session {
    pub(super) fn new(
        clients: std::sync::Arc<Clients>,
        reference: RegistryReference,
        credential: Option<Credential>,
    ) -> Session {
        Session { clients, reference, credential, shown: Mutex::new(None) }
    }

    /// The bytes of the index or manifest that `version` names.
    pub(super) async fn manifest(&self, version: &Version) -> Result<Vec<u8>, ImageError> {
        let (version, what) = match version {
            Version::Tag(tag) => (tag.clone(), format!("{} with the tag `{tag}`", self.reference.repository)),
            Version::Digest(digest) => {
                (digest.to_string(), format!("{} with the digest {digest}", self.reference.repository))
            }
        };
        let path = format!("manifests/{version}");
        let response = self.get(&path, Want::Document(Some(manifest::ACCEPT)), &what).await?;
        self.body("image manifest", response, manifest::MAX_MANIFEST).await
    }

    /// The bytes of a small blob.
    pub(super) async fn small_blob(
        &self,
        what: &'static str,
        digest: Digest,
        limit: u64,
    ) -> Result<Vec<u8>, ImageError> {
        let response = self.get(&format!("blobs/{digest}"), Want::Document(None), &format!("blob {digest}")).await?;
        self.body(what, response, limit).await
    }

    /// A layer, to be read in pieces, with what says whether they come fast enough.
    pub(super) async fn layer(&self, digest: Digest) -> Result<(Response, Pace), ImageError> {
        let response = self.get(&format!("blobs/{digest}"), Want::Layer, &format!("blob {digest}")).await?;
        Ok((response, Pace::new(self.clients.patience)))
    }

    /// A layer that came too slowly.
    pub(super) fn slow(&self, layer: Digest) -> ImageError {
        let Patience { window, least, .. } = self.clients.patience;
        ImageError::Slow { host: self.reference.host.clone(), layer, least, window }
    }

    /// The host that is asked.
    pub(super) fn host(&self) -> &str {
        &self.reference.host
    }

    /// An error of the network in the middle of an answer.
    pub(super) fn broken(&self, source: reqwest::Error) -> ImageError {
        unreachable(&self.reference.host, "", source)
    }

    async fn get(&self, path: &str, want: Want, what: &str) -> Result<Response, ImageError> {
        let url = self.url(path)?;
        let mut response = self.send(&url, want).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            // Once only: either we have not been asked yet, or what we showed has run out.
            self.log_in(&response, what).await?;
            response = self.send(&url, want).await?;
        }
        let (host, what) = (self.reference.host.clone(), what.to_owned());
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.denied(what)),
            StatusCode::NOT_FOUND => Err(ImageError::NotFound { host, what }),
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(ImageError::Busy { host, status: status.as_u16(), what })
            }
            status => Err(ImageError::Answer { host, status: status.as_u16(), what }),
        }
    }

    fn denied(&self, what: String) -> ImageError {
        let why = match self.credential {
            Some(_) => "the credential does not allow it",
            None => "it wants a credential; name one in the job that the agent's configuration has",
        };
        ImageError::Denied { host: self.reference.host.clone(), what, why }
    }

    fn url(&self, path: &str) -> Result<Url, ImageError> {
        let scheme = if self.reference.is_loopback() { "http" } else { "https" };
        // Docker's own registry is not where its name says.
        let (host, library) = match self.reference.host.as_str() {
            "docker.io" if !self.reference.repository.contains('/') => ("registry-1.docker.io", "library/"),
            "docker.io" => ("registry-1.docker.io", ""),
            host => (host, ""),
        };
        let text = format!("{scheme}://{host}/v2/{library}{}/{path}", self.reference.repository);
        Url::parse(&text).map_err(|_| self.login("its host makes no URL"))
    }

    fn shown(&self) -> Option<HeaderValue> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn send(&self, url: &Url, want: Want) -> Result<Response, ImageError> {
        let mut request = self.clients.of(url)?.get(url.clone());
        if let Want::Document(accept) = want {
            request = request.timeout(self.clients.patience.document);
            if let Some(accept) = accept {
                request = request.header(ACCEPT, accept);
            }
        }
        if let Some(shown) = self.shown() {
            request = request.header(AUTHORIZATION, shown);
        }
        let hint = match url.scheme() {
            "https" => " over HTTPS (plain HTTP is spoken to loopback hosts only)",
            _ => "",
        };
        request.send().await.map_err(|source| unreachable(&self.reference.host, hint, source))
    }

    /// Does what the refused answer demands, so that the next request can show it.
    async fn log_in(&self, refused: &Response, what: &str) -> Result<(), ImageError> {
        let shown = match (self.demand(refused)?, &self.credential) {
            (_, Some(Credential::Token(token))) => self.secret(format!("Bearer {token}"))?,
            (Demand::Basic, Some(Credential::Password { user, password })) => self.secret(basic(user, password))?,
            (Demand::Basic, None) => return Err(self.denied(what.to_owned())),
            (Demand::Bearer { realm, service, scope }, _) => self.token(realm, service, scope, what).await?,
        };
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        Ok(())
    }

    fn demand(&self, refused: &Response) -> Result<Demand, ImageError> {
        let headers = refused.headers().get_all(WWW_AUTHENTICATE).iter();
        let texts: Vec<&str> = headers.filter_map(|header| header.to_str().ok()).collect();
        let challenges = texts.iter().filter_map(|text| http_auth::parse_challenges(text).ok()).flatten();
        let mut basic = false;
        for challenge in challenges {
            let param = |name: &str| {
                challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.to_unescaped())
            };
            if challenge.scheme.eq_ignore_ascii_case("bearer") {
                let realm = param("realm").and_then(|realm| Url::parse(&realm).ok());
                let realm = realm.ok_or_else(|| self.login("it names no place where tokens are had"))?;
                if !may_go(refused.url(), &realm) {
                    return Err(self.login("it wants the credential sent over plain HTTP"));
                }
                return Ok(Demand::Bearer { realm, service: param("service"), scope: param("scope") });
            }
            basic |= challenge.scheme.eq_ignore_ascii_case("basic");
        }
        if basic { Ok(Demand::Basic) } else { Err(self.login("it asks for neither a password nor a token")) }
    }

    async fn token(
        &self,
        realm: Url,
        service: Option<String>,
        scope: Option<String>,
        what: &str,
    ) -> Result<HeaderValue, ImageError> {
        let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", self.reference.repository));
        let mut url = realm;
        url.query_pairs_mut().append_pair("scope", &scope);
        if let Some(service) = service {
            url.query_pairs_mut().append_pair("service", &service);
        }
        let mut request = self.clients.of(&url)?.get(url.clone()).timeout(self.clients.patience.document);
        if let Some(Credential::Password { user, password }) = &self.credential {
            request = request.header(AUTHORIZATION, self.secret(basic(user, password))?);
        }
        let response =
            request.send().await.map_err(|source| unreachable(&self.reference.host, "'s token service", source))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(self.denied(what.to_owned())),
            status => {
                let (host, what) = (self.reference.host.clone(), "a request for a token".to_owned());
                return Err(ImageError::Busy { host, status: status.as_u16(), what });
            }
        }
        let body = self.body("token", response, MAX_TOKEN).await?;
        let token: Token = serde_json::from_slice(&body).map_err(|_| self.login("its token cannot be read"))?;
        let token = token.token.or(token.access_token).ok_or_else(|| self.login("it gave no token"))?;
        self.secret(format!("Bearer {token}"))
    }

    /// A header that no log shows.
    fn secret(&self, text: String) -> Result<HeaderValue, ImageError> {
        let mut value =
            HeaderValue::try_from(text).map_err(|_| self.login("the credential has line breaks or the like"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    async fn body(&self, what: &'static str, mut response: Response, limit: u64) -> Result<Vec<u8>, ImageError> {
        let announced = response.content_length().unwrap_or(0);
        manifest::bounded(what, announced, limit)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|source| self.broken(source))? {
            if body.len() as u64 + chunk.len() as u64 > limit {
                let size = Bytes(body.len() as u64 + chunk.len() as u64);
                return Err(ImageError::TooBig { what, size, limit: Bytes(limit) });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn login(&self, why: &'static str) -> ImageError {
        ImageError::Login { host: self.reference.host.clone(), why }
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

/// Without the URL: storage services sign theirs.
fn unreachable(host: &str, hint: &'static str, source: reqwest::Error) -> ImageError {
    ImageError::Unreachable { host: host.to_owned(), hint, source: source.without_url() }
}

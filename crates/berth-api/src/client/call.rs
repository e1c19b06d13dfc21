//! One call: a request with its repetitions, and the reading of the answer.

use std::time::Duration;

use berth_model::IdempotencyKey;
use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;

use super::{ClientError, Target};
use crate::wire::v1 as wire;

/// How long the answer to a call may take, from the request to the end of the body.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the beginning of a stream may take.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may take where there are other servers to ask. A server that waits for an election answers within that, mostly.
const TURN_AFTER: Duration = Duration::from_secs(7);
/// How often a call is made at most.
const ATTEMPTS: u32 = 5;
/// The wait before the first repetition; doubles with each further one.
const RETRY_DELAY: Duration = Duration::from_millis(100);
/// The longest answer that is read whole: a page of large objects.
const ANSWER_BYTES: usize = 64 << 20;

/// A call that is being put together.
pub(super) struct Call<'a> {
    http: &'a reqwest::Client,
    target: &'a Target,
    operation: &'static str,
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    key: Option<String>,
    body: Option<Bytes>,
    accept: &'static str,
    whole: bool,
}

impl<'a> Call<'a> {
    pub(super) fn new(
        http: &'a reqwest::Client,
        target: &'a Target,
        operation: &'static str,
        method: Method,
        path: &str,
    ) -> Self {
        let (path, query, accept) = (path.to_owned(), Vec::new(), "application/json");
        Call { http, target, operation, method, path, query, key: None, body: None, accept, whole: true }
    }

    /// Adds a parameter, if there is one.
    pub(super) fn query(mut self, name: &str, value: Option<String>) -> Self {
        if let Some(value) = value {
            self.query.push((name.to_owned(), value));
        }
        self
    }

    /// Names the command.
    pub(super) fn key(mut self, key: &IdempotencyKey) -> Self {
        self.key = Some(key.0.clone());
        self
    }

    pub(super) fn json(mut self, value: &serde_json::Value) -> Self {
        self.body = Some(value.to_string().into());
        self
    }

    pub(super) fn accept(mut self, accept: &'static str) -> Self {
        self.accept = accept;
        self
    }

    /// The body of the answer may take as long as it likes.
    pub(super) fn streaming(mut self) -> Self {
        self.whole = false;
        self
    }

    /// The answer, understood.
    pub(super) async fn fetch<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let operation = self.operation;
        let (response, server) = self.send_to().await?;
        let body = read_bounded(response, operation, &server).await?;
        serde_json::from_slice(&body).map_err(|source| ClientError::Decode { operation, source })
    }

    /// The answer's head, its body yet to be read. Errors of the server's are read whole.
    pub(super) async fn send(self) -> Result<Response, ClientError> {
        Ok(self.send_to().await?.0)
    }

    /// The same with the server that answered.
    async fn send_to(self) -> Result<(Response, Target), ClientError> {
        let mut delay = RETRY_DELAY;
        for attempt in 1.. {
            let server = self.target.fixed();
            // One that does not answer is not waited for while there are others to ask.
            let patience = if self.target.is_alone() || attempt == ATTEMPTS { HEAD_TIMEOUT } else { TURN_AFTER };
            let answer = tokio::time::timeout(patience, self.attempt(&server)).await;
            let late = |_| Err(ClientError::Timeout { operation: self.operation, addr: server.addr().to_owned() });
            match answer.unwrap_or_else(late) {
                Err(error) if error.is_transient() && attempt < ATTEMPTS => {
                    self.target.turn_from(server.addr());
                    tokio::time::sleep(delay).await;
                    delay *= 2;
                }
                result => return result.map(|response| (response, server)),
            }
        }
        unreachable!("the last attempt returns")
    }

    async fn attempt(&self, server: &Target) -> Result<Response, ClientError> {
        let mut url = url(server, &self.path);
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        let request = self.http.request(self.method.clone(), url).header(ACCEPT, self.accept);
        let request = match &self.key {
            Some(key) => request.header("Idempotency-Key", key),
            None => request,
        };
        let request = match &self.body {
            Some(body) => request.header(CONTENT_TYPE, "application/json").body(body.clone()),
            None => request,
        };
        let request = if self.whole { request.timeout(ANSWER_TIMEOUT) } else { request };
        send_once(request, self.operation, server).await
    }
}

/// Sends one request and takes the answer's head.
pub(super) async fn send_once(
    request: RequestBuilder,
    operation: &'static str,
    target: &Target,
) -> Result<Response, ClientError> {
    let request = match target.token() {
        Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
        None => request,
    };
    let sent = tokio::time::timeout(HEAD_TIMEOUT, request.send()).await;
    let timeout = || ClientError::Timeout { operation, addr: target.addr().to_owned() };
    let response = sent.map_err(|_| timeout())?.map_err(|source| broken(source, operation, target.addr()))?;
    if response.status().is_success() { Ok(response) } else { Err(refusal(response, operation, target).await) }
}

async fn refusal(response: Response, operation: &'static str, target: &Target) -> ClientError {
    let status: StatusCode = response.status();
    let body = match read_bounded(response, operation, target).await {
        Ok(body) => body,
        Err(error) => return error,
    };
    match serde_json::from_slice::<wire::ErrorBody>(&body) {
        Ok(body) => ClientError::Refused { operation, error: Box::new(body.error) },
        Err(_) => ClientError::NotBerth { operation, addr: target.addr().to_owned(), status: status.as_u16() },
    }
}

async fn read_bounded(
    mut response: Response,
    operation: &'static str,
    target: &Target,
) -> Result<Vec<u8>, ClientError> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|source| broken(source, operation, target.addr()))? {
        if body.len() + piece.len() > ANSWER_BYTES {
            return Err(ClientError::TooLong { operation, limit: ANSWER_BYTES });
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// What a failure of the transport means.
pub(super) fn broken(source: reqwest::Error, operation: &'static str, addr: &str) -> ClientError {
    let addr = addr.to_owned();
    if let Some(problem) = distrust(&source) {
        ClientError::Untrusted { addr, problem }
    } else if source.is_connect() {
        ClientError::Unreachable { addr, source: source.without_url() }
    } else if source.is_timeout() {
        ClientError::Timeout { operation, addr }
    } else {
        ClientError::Broken { operation, addr, source: source.without_url() }
    }
}

/// Why the server's certificate is not believed, if that is what is wrong.
fn distrust(error: &reqwest::Error) -> Option<String> {
    match of_tls(error)? {
        rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)) => Some(other.0.to_string()),
        error @ rustls::Error::InvalidCertificate(_) => Some(format!("{error}; {}", super::NAME_AUTHORITIES)),
        rustls::Error::InvalidMessage(_) => {
            Some("it does not speak TLS; does its address begin with http://?".to_owned())
        }
        _ => None,
    }
}

/// What TLS has to say, somewhere in an error.
fn of_tls<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    // What an error of IO wraps is not among its sources.
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(inner) => of_tls(inner),
        None => error.source().and_then(of_tls),
    }
}

pub(super) fn url(target: &Target, path: &str) -> Url {
    Url::parse(&format!("{}{path}", target.addr()))
        .expect("the address is a URL and the path is made of URL characters")
}

/// A text as one segment of a path, with everything but letters, digits, `-`, `_` and `.` escaped.
pub(super) fn path_segment(text: &str) -> String {
    use std::fmt::Write as _;
    let mut segment = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || (byte == b'.' && text.len() > 2) {
            segment.push(char::from(byte));
        } else {
            write!(segment, "%{byte:02X}").expect("writing to a string");
        }
    }
    segment
}

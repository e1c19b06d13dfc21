//! Asks what checks ask, each question beside all other work. Judges nothing but whether the answer is good.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use berth_model::{HttpProbe, Port, Probe, Scheme};
use berth_node::{Event, Question};
use berth_runtime::{ExecOutput, ExecRequest, ExecSession, Runtime};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};

use crate::config::Config;
use crate::error::AgentError;
use crate::link::chain;

/// Questions that are under way at once; more wait for their turn, which is no part of their timeouts.
const AT_ONCE: usize = 128;
/// Bytes that are read of an answer; what follows is not worth a line in `berth status`.
const ANSWER: usize = 1024;

/// What was said, or what is wrong.
type Answer = Result<String, String>;

/// See the module.
#[derive(Clone)]
pub struct Prober {
    /// Where the node's ports are reached.
    address: String,
    http: reqwest::Client,
    runtime: Runtime,
    events: mpsc::Sender<Event>,
    turns: Arc<Semaphore>,
}

impl Prober {
    /// Asks nothing yet; answers go to `events`.
    pub fn new(config: &Config, runtime: Runtime, events: mpsc::Sender<Event>) -> Result<Prober, AgentError> {
        let http = client().build().map_err(AgentError::Prober)?;
        Ok(Prober { address: config.address.clone(), http, runtime, events, turns: Arc::new(Semaphore::new(AT_ONCE)) })
    }

    /// Asks a question, and does not wait for the answer.
    pub fn ask(&self, question: Question) {
        let prober = self.clone();
        tokio::spawn(async move {
            let _turn = prober.turns.acquire().await;
            let timeout = Duration::from_millis(question.timeout.0);
            let late = || Err(format!("no answer within {}", question.timeout));
            let answer = tokio::time::timeout(timeout, prober.answer(&question)).await.unwrap_or_else(|_| late());
            let Question { alloc, task, run, check, .. } = question;
            let answer = answer.map(legible).map_err(legible);
            // The loop is gone only when the agent is ending.
            let _ = prober.events.send(Event::Answered { alloc, task, run, check, answer }).await;
        });
    }

    async fn answer(&self, question: &Question) -> Answer {
        match (&question.probe, question.port) {
            (Probe::Http(probe), Some(port)) => self.by_http(probe, port).await,
            (Probe::Tcp { .. }, Some(port)) => self.by_tcp(port).await,
            (Probe::Http(HttpProbe { port, .. }) | Probe::Tcp { port }, None) => {
                Err(format!("the allocation was given no port `{port}`"))
            }
            (Probe::Exec { command }, _) => self.by_exec(question, command).await,
            (Probe::File { path }, _) => match self.runtime.sees(question.alloc, question.pid, path).await {
                Ok(true) => Ok(format!("{path} is there")),
                Ok(false) => Err(format!("{path} is not there")),
                Err(error) => Err(format!("cannot look for {path}: {error}")),
            },
        }
    }

    async fn by_tcp(&self, port: Port) -> Answer {
        let address = (self.address.as_str(), port.0);
        match TcpStream::connect(address).await {
            Ok(_) => Ok(format!("{}:{port} accepts connections", self.address)),
            Err(error) => Err(format!("cannot connect to {}:{port}: {}", self.address, plain(&error))),
        }
    }

    async fn by_http(&self, probe: &HttpProbe, port: Port) -> Answer {
        let reached = self.http_response(probe, port).await;
        let mut response = reached.map_err(|why| format!("{}:{port}: {why}", self.address))?;
        let status = response.status();
        let mut body = Vec::new();
        while body.len() < ANSWER
            && let Ok(Some(piece)) = response.chunk().await
        {
            body.extend_from_slice(&piece[..piece.len().min(ANSWER - body.len())]);
        }
        let mut said = format!("status {status}");
        let body = String::from_utf8_lossy(&body);
        if !body.trim().is_empty() {
            said = format!("{said}: {}", body.trim());
        }
        if status.is_success() || status.is_redirection() { Ok(said) } else { Err(said) }
    }

    async fn http_response(&self, probe: &HttpProbe, port: Port) -> Result<reqwest::Response, String> {
        let host = if self.address.contains(':') { format!("[{}]", self.address) } else { self.address.clone() };
        let (scheme, http, host) = match &probe.scheme {
            Scheme::Http => ("http", self.http.clone(), host),
            Scheme::Https { server_name: None } => ("https", self.http.clone(), host),
            Scheme::Https { server_name: Some(name) } => ("https", self.client_for(name, port).await?, name.clone()),
        };
        let request = http.get(format!("{scheme}://{host}:{port}{}", probe.path)).headers(headers(probe)?);
        request.send().await.map_err(|error| innermost(&error))
    }

    /// One that reaches this node by another name.
    async fn client_for(&self, name: &str, port: Port) -> Result<reqwest::Client, String> {
        let found = tokio::net::lookup_host((self.address.as_str(), port.0)).await;
        let addresses: Vec<SocketAddr> = found.map_err(|error| plain(&error))?.collect();
        client().resolve_to_addrs(name, &addresses).build().map_err(|error| chain(&error))
    }

    async fn by_exec(&self, question: &Question, command: &[String]) -> Answer {
        let request = ExecRequest { command: command.to_vec(), env: Default::default(), terminal: None };
        let session = self.runtime.exec(question.alloc, &question.task, request).await.map_err(|e| chain(&e))?;
        let ExecSession { input, output, mut control } = session;
        drop(input);
        let said = match output {
            ExecOutput::Pipes { stdout, stderr } => {
                let (stdout, stderr) = tokio::join!(beginning(stdout), beginning(stderr));
                [stdout, stderr].concat()
            }
            ExecOutput::Terminal(terminal) => beginning(terminal).await,
        };
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        let how = control.exit().await.map_err(|e| chain(&e))?;
        let with = if said.is_empty() { String::new() } else { format!(": {said}") };
        match how {
            berth_model::ExitKind::Status(0) => Ok(format!("status 0{with}")),
            berth_model::ExitKind::Status(status) => Err(format!("status {status}{with}")),
            berth_model::ExitKind::Signal(signal) => Err(format!("ended by signal {signal}{with}")),
            berth_model::ExitKind::OutOfMemory => Err(format!("killed for the memory limit of its task{with}")),
            berth_model::ExitKind::Failure(failure) => Err(failure.message),
        }
    }
}

/// A connection for each question: one that was kept would tell nothing of whether new ones are accepted. What the
/// certificate says is not asked: the instance is reached by its address.
fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .no_proxy()
        .http1_only()
        .pool_max_idle_per_host(0)
        .redirect(reqwest::redirect::Policy::none())
        .tls_danger_accept_invalid_certs(true)
        .user_agent(concat!("berth-check/", env!("CARGO_PKG_VERSION")))
}

fn headers(probe: &HttpProbe) -> Result<HeaderMap, String> {
    let pair = |(name, value): (&String, &String)| {
        let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
        Ok((name, HeaderValue::try_from(value).map_err(|error| error.to_string())?))
    };
    probe.headers.iter().map(pair).collect()
}

/// The beginning of what a program writes. The rest is read too: it must not wait for a reader.
async fn beginning(mut from: impl AsyncRead + Unpin) -> Vec<u8> {
    let (mut kept, mut piece) = (Vec::new(), [0; ANSWER]);
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        kept.extend_from_slice(&piece[..read.min(ANSWER - kept.len())]);
    }
    kept
}

/// What a person wants to know of a failed request is at the bottom of its sources.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<io::Error>() {
        Some(error) => plain(error),
        None => innermost.to_string(),
    }
}

/// Without the number, which says the same again.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// One line without anything that a terminal would obey.
fn legible(text: String) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

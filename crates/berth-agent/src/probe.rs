//! Asks what checks ask, each question beside all other work. Judges nothing but whether the answer is good.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use berth_api::wire::v1::legible;
use berth_model::{AllocId, HttpProbe, Port, Probe, Scheme};
use berth_node::{Event, Question};
use berth_runtime::{ExecOutput, ExecRequest, ExecSession, Runtime};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::config::Config;
use crate::error::AgentError;
use crate::link::chain;

/// Questions of one allocation that are under way at once, and of all; more wait for their turn, which is no part of their
/// timeouts.
const AT_ONCE: (usize, usize) = (4, 1024);
/// For how long a question waits for its turn. The core asks again then.
const PATIENCE: Duration = Duration::from_secs(30);
/// For how long the body of an answer is waited for, and what a program wrote before its end: the status tells enough.
const REST: Duration = Duration::from_millis(100);
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

/// The right to ask: one of the allocation's turns and one of the node's.
type Turn = (OwnedSemaphorePermit, OwnedSemaphorePermit);

/// The turns of allocations, so that no one of them takes all.
#[derive(Default)]
pub struct Turns(BTreeMap<AllocId, Arc<Semaphore>>);

impl Turns {
    /// Those of an allocation.
    fn of(&mut self, alloc: AllocId) -> Arc<Semaphore> {
        self.0.entry(alloc).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE.0))).clone()
    }

    /// The allocation is gone.
    pub fn forget(&mut self, alloc: AllocId) {
        self.0.remove(&alloc);
    }
}

impl Prober {
    /// Asks nothing yet; answers go to `events`.
    pub fn new(config: &Config, runtime: Runtime, events: mpsc::Sender<Event>) -> Result<Prober, AgentError> {
        let http = client().build().map_err(AgentError::Prober)?;
        Ok(Prober {
            address: config.address.clone(),
            http,
            runtime,
            events,
            turns: Arc::new(Semaphore::new(AT_ONCE.1)),
        })
    }

    /// Asks a question, and does not wait for the answer.
    pub fn ask(&self, turns: &mut Turns, question: Question) {
        let (prober, own) = (self.clone(), turns.of(question.alloc));
        tokio::spawn(async move {
            // One after the other: who waits for a turn of its allocation takes none of the node's meanwhile.
            let turn =
                async { Some((own.acquire_owned().await.ok()?, prober.turns.clone().acquire_owned().await.ok()?)) };
            let Ok(Some(turn)) = tokio::time::timeout(PATIENCE, turn).await else {
                let Question { alloc, task, check, .. } = question;
                tracing::warn!(%alloc, %task, %check, "a check has waited too long for its turn: those before it hang");
                return;
            };
            let timeout = Duration::from_millis(question.timeout.0);
            let late = || Err(format!("no answer within {}", question.timeout));
            let answer = tokio::time::timeout(timeout, prober.answer(&question, turn)).await.unwrap_or_else(|_| late());
            let Question { alloc, task, run, check, .. } = question;
            let answer = answer.map(|said| legible(&said)).map_err(|said| legible(&said));
            // The loop is gone only when the agent is ending.
            let _ = prober.events.send(Event::Answered { alloc, task, run, check, answer }).await;
        });
    }

    async fn answer(&self, question: &Question, turn: Turn) -> Answer {
        match (&question.probe, question.port) {
            (Probe::Http(probe), Some(port)) => self.by_http(probe, port).await,
            (Probe::Tcp { .. }, Some(port)) => self.by_tcp(port).await,
            (Probe::Http(HttpProbe { port, .. }) | Probe::Tcp { port }, None) => {
                Err(format!("the allocation was given no port `{port}`"))
            }
            (Probe::Exec { command }, _) => self.by_exec(question, command).await,
            (Probe::File { path }, _) => match self.runtime.sees(question.alloc, question.pid, path, turn).await {
                Ok(true) => Ok(format!("{path} is there")),
                Ok(false) => Err(format!("{path} is not there")),
                Err(error) => Err(format!("cannot look for {path}: {error}")),
            },
        }
    }

    async fn by_tcp(&self, port: Port) -> Answer {
        let address = (self.address.as_str(), port.0);
        match TcpStream::connect(address).await {
            // Where nobody listens, a connection may be made from its own end.
            Ok(stream) if stream.local_addr().ok() == stream.peer_addr().ok() => {
                Err(format!("nobody listens at {}:{port}", self.address))
            }
            Ok(_) => Ok(format!("{}:{port} accepts connections", self.address)),
            Err(error) => Err(format!("cannot connect to {}:{port}: {}", self.address, plain(&error))),
        }
    }

    async fn by_http(&self, probe: &HttpProbe, port: Port) -> Answer {
        let reached = self.http_response(probe, port).await;
        let mut response = reached.map_err(|why| format!("{}:{port}: {why}", self.address))?;
        let status = response.status();
        let mut body = Vec::new();
        let read = async {
            while body.len() < ANSWER
                && let Ok(Some(piece)) = response.chunk().await
            {
                body.extend_from_slice(&piece[..piece.len().min(ANSWER - body.len())]);
            }
        };
        // One that never ends has been answered all the same.
        let _ = tokio::time::timeout(REST, read).await;
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
        let mut said = (Vec::new(), Vec::new());
        let how = {
            let mut read = std::pin::pin!(beginnings(output, &mut said));
            tokio::select! {
                // What it left running may hold on to its output.
                how = control.exit() => {
                    let _ = tokio::time::timeout(REST, read).await;
                    how
                }
                () = &mut read => control.exit().await,
            }
        };
        let how = how.map_err(|e| chain(&e))?;
        let said = String::from_utf8_lossy(&[said.0, said.1].concat()).trim().to_owned();
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

/// The beginnings of what a program writes.
async fn beginnings(output: ExecOutput, (out, err): &mut (Vec<u8>, Vec<u8>)) {
    match output {
        ExecOutput::Pipes { stdout, stderr } => _ = tokio::join!(beginning(stdout, out), beginning(stderr, err)),
        ExecOutput::Terminal(terminal) => beginning(terminal, out).await,
    }
}

/// The rest is read too: the program must not wait for a reader.
async fn beginning(mut from: impl AsyncRead + Unpin, kept: &mut Vec<u8>) {
    let mut piece = [0; ANSWER];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        kept.extend_from_slice(&piece[..read.min(ANSWER - kept.len())]);
    }
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

#[cfg(test)]
mod tests {
    use berth_model::PortName;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;

    use super::*;

    /// A prober of this machine, whose answers nobody hears.
    async fn prober(dir: &std::path::Path) -> Prober {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = crate::work::tests::runtime(dir).await;
        let (events, _) = mpsc::channel(1);
        let turns = Arc::new(Semaphore::new(AT_ONCE.1));
        Prober { address: "127.0.0.1".to_owned(), http: client().build().unwrap(), runtime, events, turns }
    }

    fn question(scheme: Scheme) -> HttpProbe {
        let port: PortName = "http".parse().unwrap();
        let headers = [("host".to_owned(), "web.example.org".to_owned())].into();
        HttpProbe { port, path: "/healthz?full=1".to_owned(), scheme, headers }
    }

    /// Answers one request with these bytes, and then holds the connection open. What it was asked.
    async fn answers(listener: TcpListener, with: &'static str) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let asked = asked(&mut stream).await;
        stream.write_all(with.as_bytes()).await.unwrap();
        tokio::spawn(async move { while let Ok(1..) = stream.read(&mut [0; 64]).await {} });
        asked
    }

    async fn asked(stream: &mut (impl AsyncRead + Unpin)) -> String {
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            asked.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(asked).unwrap()
    }

    async fn here() -> (TcpListener, Port) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = Port(listener.local_addr().unwrap().port());
        (listener, port)
    }

    #[tokio::test]
    async fn the_status_decides_and_nobody_waits_for_a_body_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let prober = prober(dir.path()).await;
        let endless = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfine.\r\n";
        let moved = "HTTP/1.1 302 Found\r\nlocation: http://192.0.2.1/\r\ncontent-length: 0\r\n\r\n";
        let busy = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 10\r\n\r\nnot\x1b[2Jnow";
        let busy_said = Err("status 503 Service Unavailable: not\u{1b}[2Jnow".to_owned());
        for (response, said) in [
            (endless, Ok("status 200 OK: fine.".to_owned())),
            (moved, Ok("status 302 Found".to_owned())),
            (busy, busy_said),
        ] {
            let (listener, port) = here().await;
            let (probe, server) = (question(Scheme::Http), answers(listener, response));
            let (answer, asked) = tokio::join!(prober.by_http(&probe, port), server);
            assert_eq!(answer, said);
            let asked = asked.to_lowercase();
            assert!(
                asked.starts_with("get /healthz?full=1 http/1.1\r\n") && asked.contains("host: web.example.org\r\n")
            );
            assert!(asked.contains("user-agent: berth-check/"), "{asked}");
        }
        assert_eq!(legible("not\u{1b}[2J\u{202e} now\n"), "not [2J now");
    }

    #[tokio::test]
    async fn tls_is_spoken_with_whoever_answers_and_the_name_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let prober = prober(dir.path()).await;
        let own = rcgen::generate_simple_self_signed(vec!["somebody.else".to_owned()]).unwrap();
        let key = own.signing_key.serialize_der().try_into().unwrap();
        let config =
            ServerConfig::builder().with_no_client_auth().with_single_cert(vec![own.cert.into()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        for name in [None, Some("web.example.org")] {
            let (listener, port) = here().await;
            let server = async {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = acceptor.accept(stream).await.unwrap();
                asked(&mut stream).await;
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
                stream.get_ref().1.server_name().map(str::to_owned)
            };
            let probe = question(Scheme::Https { server_name: name.map(str::to_owned) });
            let (answer, told) = tokio::join!(prober.by_http(&probe, port), server);
            assert_eq!((answer, told.as_deref()), (Ok("status 204 No Content".to_owned()), name));
        }
    }

    #[tokio::test]
    async fn who_does_not_listen_is_told_in_plain_words() {
        let dir = tempfile::tempdir().unwrap();
        let prober = prober(dir.path()).await;
        let (listener, port) = here().await;
        assert_eq!(prober.by_tcp(port).await, Ok(format!("127.0.0.1:{port} accepts connections")));
        drop(listener);
        let refused = format!("cannot connect to 127.0.0.1:{port}: connection refused");
        assert_eq!(prober.by_tcp(port).await, Err(refused));
        let answer = prober.by_http(&question(Scheme::Http), port).await;
        assert_eq!(answer, Err(format!("127.0.0.1:{port}: connection refused")));
    }
}

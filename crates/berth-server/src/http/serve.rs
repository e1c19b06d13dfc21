//! Connections: accepted up to a bound, served in HTTP/1.1 or HTTP/2, and ended when they are without a request for too
//! long, or when the server stops.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use berth_api::wire::v1::{self as wire, ErrorBody, ErrorInfo, ErrorKind};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::auth::Link;
use super::places::Places;
use super::requests::Requests;
use super::{Api, router};
use crate::ConnectionLimits;

/// Bytes of the headers of a request.
const HEADER_BYTES: usize = 32 << 10;
/// Requests of one HTTP/2 connection at once.
const STREAMS: u32 = 256;
/// How often an idle HTTP/2 connection is probed, and how long the answer may take.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How long requests may go on after the server was told to stop.
const DRAIN: Duration = Duration::from_secs(3);

/// What every connection needs.
struct Serving {
    router: TowerToHyperService<Router>,
    /// None: connections are as they come.
    tls: Option<TlsAcceptor>,
    builder: Builder<TokioExecutor>,
    limits: ConnectionLimits,
    stop: CancellationToken,
}

/// Serves until told to stop.
pub async fn serve(
    listener: TcpListener,
    api: Api,
    tls: Option<rustls::ServerConfig>,
    limits: ConnectionLimits,
    stop: CancellationToken,
) {
    let router = TowerToHyperService::new(router(api));
    let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    let serving = Arc::new(Serving { router, tls, builder: builder(&limits), limits, stop: stop.clone() });
    let places = Places::new(&limits);
    let tasks = TaskTracker::new();
    while let Some((stream, address)) = accept(&listener, &stop).await {
        match stop.run_until_cancelled(places.take(address)).await {
            Some(Some(place)) => {
                let serving = serving.clone();
                tasks.spawn(async move {
                    serving.connection(stream).await;
                    drop(place);
                });
            }
            Some(None) => drop(stream),
            None => break,
        }
    }
    tasks.close();
    if tokio::time::timeout(DRAIN * 2, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "connections were still open");
    }
}

impl Serving {
    async fn connection(&self, stream: TcpStream) {
        let Some(acceptor) = &self.tls else { return self.requests(stream, &Link::Plain).await };
        // Whoever is slow with it has its place for no longer than one who never asks.
        let handshake = tokio::time::timeout(self.limits.first_request, handshake(acceptor, stream));
        match self.stop.run_until_cancelled(handshake).await {
            Some(Ok(Ok(stream))) => {
                let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
                let link = Link::Tls(shown.iter().map(|certificate| certificate.clone().into_owned()).collect());
                self.requests(stream, &link).await;
            }
            Some(Ok(Err(error))) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "no handshake came about");
            }
            Some(Err(_)) | None => {}
        }
    }

    /// Answers what comes over a connection.
    async fn requests(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, link: &Link) {
        let requests = Requests::new();
        let service = hyper::service::service_fn(|mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(link.clone());
            let under_way = requests.begin();
            let answer = hyper::service::Service::call(&self.router, request);
            async move { answer.await.map(|response: Response| response.map(|body| under_way.with(body))) }
        });
        let connection = self.builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let mut ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = requests.quiet(self.limits.first_request, self.limits.idle) => None,
            () = self.stop.cancelled() => None,
        };
        if ended.is_none() {
            connection.as_mut().graceful_shutdown();
            let grace = DRAIN.min(self.limits.first_request);
            ended = tokio::select! {
                ended = connection => Some(ended),
                // A request that came at the last moment is still answered.
                () = requests.quiet(grace, grace) => None,
                () = self.stopped_for(DRAIN) => None,
            };
        }
        if let Some(Err(error)) = ended {
            // Of interest only when somebody looks: clients come and go as they like.
            tracing::debug!(error, "connection ended");
        }
    }

    async fn stopped_for(&self, time: Duration) {
        self.stop.cancelled().await;
        tokio::time::sleep(time).await;
    }
}

/// A connection with TLS. Whoever begins with a request in the clear is told so, in the clear.
async fn handshake(acceptor: &TlsAcceptor, mut stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    /// What a handshake begins with.
    const HANDSHAKE: u8 = 0x16;
    let mut first = [0];
    stream.peek(&mut first).await?;
    if first[0] != HANDSHAKE && first[0].is_ascii_uppercase() {
        let error = ErrorInfo::new(ErrorKind::BadRequest, "this server speaks TLS alone, and the request came without")
            .remedy(
                "use https://, and name the cluster's authorities with BERTH_CA (`ca.pem` in a server's data folder)",
            );
        let body = serde_json::to_string(&ErrorBody { error }).expect("an error is plain data");
        let head = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length";
        stream.write_all(format!("{head}: {}\r\n\r\n{body}", body.len()).as_bytes()).await?;
        // What it sent is read before the end, or the end would be a reset, and the answer lost.
        stream.shutdown().await?;
        let mut sent = (&mut stream).take(HEADER_BYTES as u64);
        tokio::io::copy(&mut sent, &mut tokio::io::sink()).await?;
        return Err(io::Error::other("a request came without TLS"));
    }
    acceptor.accept(stream).await
}

fn builder(limits: &ConnectionLimits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.first_request).max_buf_size(HEADER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_BYTES as u32)
        .initial_stream_window_size(wire::STREAM_WINDOW)
        .initial_connection_window_size(wire::CONNECTION_WINDOW)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    builder
}

/// The next connection. None: the server stops.
async fn accept(listener: &TcpListener, stop: &CancellationToken) -> Option<(TcpStream, IpAddr)> {
    const PAUSE: Duration = Duration::from_millis(100);
    loop {
        match stop.run_until_cancelled(listener.accept()).await? {
            Ok((stream, peer)) => {
                // Orders and frames are small and should not wait for company. A stream that refuses works as well.
                let _ = stream.set_nodelay(true);
                return Some((stream, peer.ip()));
            }
            Err(error) => {
                // Out of files, mostly: connections that end make room.
                tracing::warn!(error = &error as &dyn std::error::Error, "connection not accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

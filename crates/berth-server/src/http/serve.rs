//! Connections: accepted up to a bound, served in HTTP/1.1 or HTTP/2, and ended when the server stops.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Api, router};

/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 4096;
/// How long the headers of a request may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of the headers of a request.
const HEADER_BYTES: usize = 32 << 10;
/// Requests of one HTTP/2 connection at once.
const STREAMS: u32 = 256;
/// How often an idle HTTP/2 connection is probed, and how long the answer may take.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How long requests may go on after the server was told to stop.
const DRAIN: Duration = Duration::from_secs(3);

/// Serves until told to stop.
pub async fn serve(listener: TcpListener, api: Api, stop: CancellationToken) {
    let service = TowerToHyperService::new(router(api));
    let builder = Arc::new(builder());
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let tasks = TaskTracker::new();
    while let Some(stream) = accept(&listener, &stop).await {
        let Some(Ok(place)) = stop.run_until_cancelled(places.clone().acquire_owned()).await else { break };
        let (builder, service, stop) = (builder.clone(), service.clone(), stop.clone());
        tasks.spawn(async move {
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            let served = tokio::select! {
                served = connection.as_mut() => served,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    tokio::time::timeout(DRAIN, connection).await.unwrap_or(Ok(()))
                }
            };
            if let Err(error) = served {
                // Of interest only when somebody looks: clients come and go as they like.
                tracing::debug!(error, "connection ended");
            }
            drop(place);
        });
    }
    tasks.close();
    if tokio::time::timeout(DRAIN * 2, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "connections were still open");
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(HEADER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_BYTES as u32)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    builder
}

/// The next connection. None: the server stops.
async fn accept(listener: &TcpListener, stop: &CancellationToken) -> Option<TcpStream> {
    const PAUSE: Duration = Duration::from_millis(100);
    loop {
        match stop.run_until_cancelled(listener.accept()).await? {
            Ok((stream, _)) => {
                // Orders and frames are small and should not wait for company. A stream that refuses works as well.
                let _ = stream.set_nodelay(true);
                return Some(stream);
            }
            Err(error) => {
                // Out of files, mostly: connections that end make room.
                tracing::warn!(error = &error as &dyn std::error::Error, "connection not accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

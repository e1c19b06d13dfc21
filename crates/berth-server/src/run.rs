//! From a configuration to a running server, and to its end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::driver::{Driver, Inputs, QUEUED_INPUTS, Shared, Standing, StorePlace};
use crate::folder::Folder;
use crate::http::{Api, serve};
use crate::{Config, ServerError, StoreKind};

/// A server that answers.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Where it listens.
    pub addr: SocketAddr,
    /// What opens it.
    pub token: String,
    /// Where that is kept.
    pub token_path: PathBuf,
}

/// Runs a server until `shutdown`. `ready` is told once it answers.
pub async fn run(
    config: Config,
    ready: oneshot::Sender<Ready>,
    shutdown: CancellationToken,
) -> Result<(), ServerError> {
    let folder = Folder::prepare(&config.data_dir)?;
    let bind = |source| ServerError::Bind { addr: config.bind, source };
    let listener = TcpListener::bind(config.bind).await.map_err(bind)?;
    let addr = listener.local_addr().map_err(bind)?;
    let place = match config.store.clone() {
        StoreKind::Memory => StorePlace::Memory,
        StoreKind::Embedded => StorePlace::Embedded(folder.store_path()),
        StoreKind::Etcd(options) => StorePlace::Etcd(options),
    };
    let address = config.advertise.clone().unwrap_or_else(|| format!("http://{addr}"));
    let store = place.open().await.map_err(ServerError::Open)?;
    let shared = Arc::new(Shared::new(&config));
    let standing = Standing::take(&shared, &store).await?;

    let (sender, inputs) = mpsc::channel(QUEUED_INPUTS);
    // Whichever of the two ends takes the other along.
    let stop = shutdown.child_token();
    let driver = Driver::new(shared.clone(), inputs, place, address.clone());
    let driver = driver.run(store, standing, stop.clone());
    let driver = tokio::spawn(with_stop(driver, stop.clone()));
    let api = Api::new(shared, Inputs(sender), &folder.token, address, stop.clone());
    tracing::info!(%addr, data = %config.data_dir.display(), "server ready");
    // Whoever started us may not want to know.
    let _ = ready.send(Ready { addr, token: folder.token.clone(), token_path: folder.token_path() });
    serve(listener, api, config.connections, stop.clone()).await;
    stop.cancel();
    driver.await.map_err(ServerError::Driver)?;
    tracing::info!(%addr, "server stopped");
    Ok(())
}

/// Runs a future and stops the rest when it ends, even by a panic.
async fn with_stop(future: impl Future<Output = ()>, stop: CancellationToken) {
    let _stop = stop.drop_guard();
    future.await;
}

//! From a configuration to a running server, and to its end.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use berth_model::Millis;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::driver::{Driver, Inputs, QUEUED_INPUTS, Shared, Standing, StorePlace};
use crate::folder::Folder;
use crate::http::{Api, Reach, serve};
use crate::trust::{self, Signer};
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
    /// Where the certificates are by which it is believed; none: it listens without TLS.
    pub authorities_path: Option<PathBuf>,
}

/// Runs a server until `shutdown`. `ready` is told once it answers.
pub async fn run(
    config: Config,
    ready: oneshot::Sender<Ready>,
    shutdown: CancellationToken,
) -> Result<(), ServerError> {
    if let Some(tls) = &config.tls {
        trust::join(tls, &config.data_dir, &config.clock).await?;
    }
    let folder = Folder::prepare(&config.data_dir)?;
    let bind = |source| ServerError::Bind { addr: config.bind, source };
    let listener = TcpListener::bind(config.bind).await.map_err(bind)?;
    let addr = listener.local_addr().map_err(bind)?;
    let place = match config.store.clone() {
        StoreKind::Memory => StorePlace::Memory,
        StoreKind::Embedded => StorePlace::Embedded(folder.store_path()),
        StoreKind::Etcd(options) => StorePlace::Etcd(options),
    };
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let address = config.advertise.clone().unwrap_or_else(|| format!("{scheme}://{addr}"));
    let signer = config.tls.clone().map(|tls| {
        let hosts = hosts(&address, addr.ip());
        Arc::new(Signer::new(tls.sealing_key, hosts, folder.authorities_path(), config.clock.clone()))
    });
    let tls = signer.as_ref().map(|signer| signer.server_config()).transpose().map_err(ServerError::Tls)?;
    let store = place.open().await.map_err(ServerError::Open)?;
    let shared = Arc::new(Shared::new(&config));
    let standing = Standing::take(&shared, &store, &address).await?;

    let (sender, inputs) = mpsc::channel(QUEUED_INPUTS);
    // Whichever of the two ends takes the other along.
    let stop = shutdown.child_token();
    let driver = Driver::new(shared.clone(), inputs, place, address.clone());
    let driver = driver.run(store, standing, stop.clone());
    let driver = tokio::spawn(with_stop(driver, stop.clone()));
    let inputs = Inputs(sender);
    let told = Ready {
        addr,
        token: folder.token.clone(),
        token_path: folder.token_path(),
        authorities_path: signer.as_ref().map(|signer| signer.authorities_path().to_owned()),
    };
    tokio::spawn(tell_ready(signer.clone(), ready, told, stop.clone()));
    if let Some(signer) = &signer {
        let keeping = trust::keep(signer.clone(), shared.clone(), inputs.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(keeping));
    }
    let certificate_grace = config.tls.as_ref().map_or(Millis(0), |tls| tls.certificate_grace);
    let reach = Reach { address, signer, certificate_grace };
    let api = Api::new(shared, inputs, &folder.token, reach, stop.clone());
    tracing::info!(%addr, tls = tls.is_some(), data = %config.data_dir.display(), "server ready");
    serve(listener, api, tls, config.connections, stop.clone()).await;
    stop.cancel();
    driver.await.map_err(ServerError::Driver)??;
    tracing::info!(%addr, "server stopped");
    Ok(())
}

/// Tells that the server answers, as soon as it does: with TLS, once it has a certificate.
async fn tell_ready(signer: Option<Arc<Signer>>, ready: oneshot::Sender<Ready>, told: Ready, stop: CancellationToken) {
    if let Some(signer) = signer
        && stop.run_until_cancelled(signer.ready()).await.is_none()
    {
        return;
    }
    // Whoever started us may not want to know.
    let _ = ready.send(told);
}

/// The hosts and addresses at which a server is reached, as far as it knows.
fn hosts(address: &str, bound: IpAddr) -> Vec<String> {
    let advertised = address.parse::<axum::http::Uri>().ok().and_then(|uri| {
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
        Some(host.to_owned())
    });
    let bound = (!bound.is_unspecified()).then(|| bound.to_string());
    let here = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let all: BTreeSet<String> = advertised.into_iter().chain(bound).chain(here).collect();
    all.into_iter().filter(|host| host != "0.0.0.0" && host != "::").collect()
}

/// Runs a future and stops the rest when it ends, even by a panic.
async fn with_stop<T>(future: impl Future<Output = T>, stop: CancellationToken) -> T {
    let _stop = stop.drop_guard();
    future.await
}

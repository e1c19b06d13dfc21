//! The agent: a drive loop around the node core, its ledger, and its link to the server.
//!
//! Decides nothing: what should run is the server's decision, how a node gets there is the node core's,
//! and how a task runs is the runtime's. Ending an agent ends no task.

mod access;
mod clock;
mod config;
mod driver;
mod error;
mod fingerprint;
mod key;
mod ledger;
mod link;
mod meter;
mod probe;
mod tunnel;
mod work;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use berth_model::{AllocId, Found, FoundShim, Remembered};
use berth_node::{Core, Event};
use berth_runtime::images::{Collected, Credential, Store, StoreConfig};
use berth_runtime::{LogLimits, OciRuntime, Runtime, RuntimeConfig, RuntimeEvent};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use crate::config::{Access, Config, Offer, RegistryCredential, Token};
pub use crate::error::AgentError;

use crate::driver::Driver;
use crate::ledger::Ledger;
use crate::link::Link;
use crate::meter::Meter;
use crate::probe::{Prober, Turns};
use crate::work::Workers;

/// Events from workers and shims that wait for the loop.
const EVENTS: usize = 1024;
/// How long a shim may take to answer. Beyond it a shim has stopped for good, however busy the machine.
const SHIM_PATIENCE: Duration = Duration::from_secs(10);
/// How often images that nothing needs are looked for.
const COLLECT: Duration = Duration::from_secs(600);
/// Events from the link that wait for the loop.
const LINK_EVENTS: usize = 16;

/// Runs an agent until `stop`.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), AgentError> {
    make_data_dir(&config.data_dir)?;
    let agent = key::load_or_make(&config.data_dir)?;
    let target = access::target(&config, &stop).await?;
    let mut ledger = Ledger::open(&config.data_dir)?;
    let images = open_images(&config)?;
    let (runtime, shims) = open_runtime(&config, images.clone()).await?;
    let remembered = ledger.read().await?;
    let found = find(remembered.allocs, &runtime).await?;
    tracing::info!(allocs = found.len(), "found what was left on this machine");

    let (events, to_loop) = mpsc::channel(EVENTS);
    tokio::spawn(forward(shims, events.clone()));
    let (link_events, from_link) = mpsc::channel(LINK_EVENTS);
    let meter = Meter::new(&config, runtime.clone(), events.clone());
    let prober = Prober::new(&config, runtime.clone(), events.clone())?;
    let (leader, epoch) = (None, remembered.epoch);
    let link = Link { config, agent, target, leader, runtime: runtime.clone(), events: link_events, epoch };
    let linking = tokio::spawn(link.run());
    let collecting = tokio::spawn(collect_images(images, runtime.clone()));

    let mut first = Vec::new();
    let core = Core::load(remembered.epoch, found, clock::now(), &mut first);
    let workers = Workers::new(runtime.clone(), events);
    let (link, events) = (from_link, to_loop);
    let driver = Driver {
        core,
        ledger,
        workers,
        prober,
        turns: Turns::default(),
        meter,
        link,
        events,
        reports: None,
        sent: BTreeMap::new(),
        last: None,
        wake: None,
    };
    driver.run(first, stop).await;
    linking.abort();
    collecting.abort();
    runtime.tidy();
    Ok(())
}

fn make_data_dir(path: &Path) -> Result<(), AgentError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    // One that is there may be open to others: it holds what tasks may write down, secrets included.
    let closed = made.and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o700)));
    closed.map_err(|source| AgentError::File { operation: "create", path: path.to_owned(), source })
}

fn open_images(config: &Config) -> Result<Store, AgentError> {
    let limits = StoreConfig { keep: config.image_cache, ..StoreConfig::default() };
    Store::open(&config.data_dir.join("images"), limits).map_err(|e| AgentError::Runtime(e.into()))
}

/// Keeps the image cache under its size.
async fn collect_images(images: Store, runtime: Runtime) {
    let mut due = tokio::time::interval(COLLECT);
    loop {
        due.tick().await;
        let (images, runtime) = (images.clone(), runtime.clone());
        let collect = move || -> Result<Collected, Box<dyn std::error::Error + Send + Sync>> {
            Ok(images.collect(&runtime.images_in_use()?)?)
        };
        match tokio::task::spawn_blocking(collect).await {
            Ok(Ok(collected)) if collected.layers + collected.images > 0 => {
                let (count, layers, freed) = (collected.images, collected.layers, collected.freed);
                tracing::info!(images = count, layers, %freed, "collected images that nothing needs");
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(reason = link::chain(&*error), "cannot collect images"),
            Err(error) => tracing::error!(%error, "collecting images panicked"),
        }
    }
}

async fn open_runtime(config: &Config, images: Store) -> Result<(Runtime, mpsc::Receiver<RuntimeEvent>), AgentError> {
    let credentials = config.credentials.iter().map(|(name, credential)| {
        let user = credential.username.clone();
        (name.clone(), Credential::Password { user, password: credential.password.reveal().to_owned() })
    });
    let runtime = RuntimeConfig {
        devices: config.devices.clone(),
        hidden: config.hidden.clone(),
        data_dir: config.data_dir.clone(),
        shim_program: config.shim_program.clone(),
        cgroup_parent: config.cgroup_parent.clone(),
        oci_runtime: config.oci_runtime.clone().map_or(OciRuntime::Builtin, OciRuntime::Program),
        logs: LogLimits::default(),
        credentials: credentials.collect(),
        node_env: BTreeMap::from([
            ("BERTH_NODE_NAME".to_owned(), config.name.to_string()),
            ("BERTH_NODE_ADDRESS".to_owned(), config.address.clone()),
        ]),
        patience: SHIM_PATIENCE,
    };
    Runtime::open(runtime, images).await.map_err(|e| AgentError::Runtime(e.into()))
}

/// What the ledger remembers, with the shims that are there. A folder that the ledger knows nothing of
/// was made for an allocation that was never begun: it is removed.
async fn find(remembered: Vec<Remembered>, runtime: &Runtime) -> Result<Vec<Found>, AgentError> {
    let shims = runtime.find().await.map_err(|e| AgentError::Runtime(e.into()))?;
    let mut shims: BTreeMap<AllocId, FoundShim> = shims.into_iter().collect();
    let found = remembered.into_iter().map(|remembered| {
        let shim = shims.remove(&remembered.desired.id).unwrap_or_else(|| FoundShim::Gone(BTreeMap::new()));
        Found { remembered, shim }
    });
    let found = found.collect();
    for alloc in shims.into_keys() {
        let removed = match runtime.end_orphans(alloc).await {
            Ok(()) => runtime.purge(alloc).await,
            failed => failed,
        };
        if let Err(error) = removed {
            tracing::warn!(%alloc, reason = link::chain(&error), "cannot remove a folder that nobody remembers");
        }
    }
    Ok(found)
}

/// What shims say, as events of the core.
async fn forward(mut shims: mpsc::Receiver<RuntimeEvent>, events: mpsc::Sender<Event>) {
    while let Some(event) = shims.recv().await {
        let event = match event {
            RuntimeEvent::Task { alloc, task, shim } => Event::Task { alloc, task, shim },
            RuntimeEvent::ShimLost { alloc } => Event::ShimLost { alloc },
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_folder_is_closed_to_others_even_if_it_was_open() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path().join("new/data"), dir.path().to_owned()] {
            fs::create_dir_all(dir.path()).unwrap();
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
            make_data_dir(&path).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700);
        }
    }
}

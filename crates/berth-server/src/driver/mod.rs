//! The loop around the control core: events in, effects out, in reigns.
//!
//! A reign begins when the lead is taken and ends when the core steps down or the server does. Between two reigns the
//! store is loaded anew, as if another server had taken over.

mod input;
mod lead;
mod reign;
mod shared;
mod store;
#[cfg(test)]
mod tests;

pub use input::{Input, Inputs, LoopEnded, QUEUED_INPUTS, Reply};
pub use shared::Shared;
pub use store::{AnyStore, StorePlace};

use std::sync::Arc;
use std::time::Duration;

use berth_model::Refusal;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::ServerError;
use reign::{End, Reign};

/// The wait before the lead is taken again; doubles with each failure, up to the longest.
const RETAKE_DELAY: Duration = Duration::from_millis(50);
const LONGEST_RETAKE_DELAY: Duration = Duration::from_secs(5);

/// The loop, which owns the store and the core.
#[derive(Debug)]
pub struct Driver {
    shared: Arc<Shared>,
    inputs: mpsc::Receiver<Input>,
    place: StorePlace,
}

impl Driver {
    /// A driver that takes what comes in through `inputs`.
    pub fn new(shared: Arc<Shared>, inputs: mpsc::Receiver<Input>, place: StorePlace) -> Driver {
        Driver { shared, inputs, place }
    }

    /// Reigns until told to stop, beginning with a lead already taken. What that has loaded is shown at once, and not
    /// only when the loop begins: whoever asks before must not hear that there is nothing.
    pub fn run(self, store: AnyStore, first: lead::Lead, shutdown: CancellationToken) -> impl Future<Output = ()> {
        self.shared.show(&first);
        self.reign(store, first, shutdown)
    }

    async fn reign(mut self, mut store: AnyStore, mut lead: lead::Lead, shutdown: CancellationToken) {
        loop {
            let reign = Reign::begin(self.shared.clone(), &store, lead);
            match reign.run(&mut self.inputs, &shutdown).await {
                End::Shutdown => return,
                End::SteppedDown => {}
            }
            match self.retake(store, &shutdown).await {
                Some((opened, taken)) => (store, lead) = (opened, taken),
                None => return,
            }
            self.shared.show(&lead);
        }
    }

    /// Takes the lead again, for as long as it takes. None: told to stop.
    async fn retake(&mut self, mut store: AnyStore, shutdown: &CancellationToken) -> Option<(AnyStore, lead::Lead)> {
        let mut delay = RETAKE_DELAY;
        let mut refusal = Refusal::NotLeader;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return None,
                () = tokio::time::sleep(delay) => {}
            }
            delay = (delay * 2).min(LONGEST_RETAKE_DELAY);
            // Nobody waits in vain while there is no core to ask.
            while let Ok(input) = self.inputs.try_recv() {
                input.turn_away(&refusal);
            }
            store = match self.place.reopen(store).await {
                Ok(store) => store,
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "store does not open");
                    store = AnyStore::Closed;
                    refusal = Refusal::StoreUnavailable;
                    continue;
                }
            };
            match lead::take(&store).await {
                Ok(lead) => return Some((store, lead)),
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "lead not taken");
                    refusal = Refusal::StoreUnavailable;
                }
            }
        }
    }
}

/// Takes the lead of a store for the first time.
pub async fn take_lead(store: &AnyStore) -> Result<lead::Lead, ServerError> {
    lead::take(store).await
}

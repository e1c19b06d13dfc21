//! The loop around the control core: events in, effects out, in reigns.
//!
//! A reign begins when the lead is taken and ends when the core steps down or the server does. Between two reigns a store of
//! this server's own is loaded anew, as if another server had taken over. Where servers share a store, this one follows
//! whichever leads, and stands for election meanwhile.

mod follow;
mod input;
mod lead;
mod observe;
mod reign;
mod shared;
mod store;
#[cfg(test)]
mod tests;

pub use input::{Input, Inputs, LoopEnded, QUEUED_INPUTS, Reply};
pub use shared::{Role, Shared};
pub use store::{AnyStore, Mandate, StorePlace};

use std::sync::Arc;
use std::time::Duration;

use berth_model::Refusal;
use berth_record::NEWEST;
use berth_store::{Etcd, Server};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::ServerError;
use crate::view::View;
use follow::Follower;
use lead::Lead;
use reign::{End, Reign};

/// The wait before the store is opened anew; doubles with each failure, up to the longest.
const REOPEN_DELAY: Duration = Duration::from_millis(50);
const LONGEST_REOPEN_DELAY: Duration = Duration::from_secs(5);

/// The loop, which owns the store and the core.
#[derive(Debug)]
pub struct Driver {
    shared: Arc<Shared>,
    inputs: mpsc::Receiver<Input>,
    place: StorePlace,
    /// Where others reach this server.
    address: String,
}

/// What a server is to a store that it has just opened. What it has loaded is shown by then.
#[derive(Debug)]
pub enum Standing {
    /// The store is its own: it leads.
    Leads(Box<Lead>),
    /// Others may lead: it follows, and stands for election.
    Follows(Follower),
}

impl Standing {
    /// Takes the lead of a store of its own, or begins to follow in one that it shares.
    /// `address` is where others reach this server.
    pub async fn take(shared: &Shared, store: &AnyStore, address: &str) -> Result<Standing, ServerError> {
        let server = Server { address: address.to_owned(), newest: NEWEST };
        if let AnyStore::Etcd(etcd) = store {
            let failed = |source| ServerError::Store { operation: "meet the other servers", source };
            // Before anything is read: none of them is to raise the format behind the back of one that reads.
            etcd.meet(server, shared.servers().clone()).await.map_err(failed)?;
            return Ok(Standing::Follows(Follower::begin(shared, store).await?));
        }
        let lead = lead::take(store).await?;
        shared.servers().send_replace(vec![server]);
        shared.show(View::load(&lead.snapshot, lead.epoch, lead.revision));
        shared.become_role(Role::Leads);
        Ok(Standing::Leads(Box::new(lead)))
    }
}

impl Driver {
    /// A driver that takes what comes in through `inputs`.
    pub fn new(shared: Arc<Shared>, inputs: mpsc::Receiver<Input>, place: StorePlace, address: String) -> Driver {
        Driver { shared, inputs, place, address }
    }

    /// Follows and reigns in turn until told to stop. Fails where a newer release has written what cannot be read here.
    pub async fn run(
        mut self,
        mut store: AnyStore,
        mut standing: Standing,
        shutdown: CancellationToken,
    ) -> Result<(), ServerError> {
        loop {
            let leading = match standing {
                Standing::Leads(lead) => Some(Ok((*lead, Mandate::Always))),
                Standing::Follows(follower) => self.stand_by(&store, follower, &shutdown).await,
            };
            match leading {
                Some(Ok((lead, mandate))) => match self.reign(&store, lead, mandate, &shutdown).await {
                    End::Shutdown => return Ok(()),
                    End::SteppedDown => {}
                },
                Some(Err(error)) if error.is_of_a_newer_release() => return Err(error),
                Some(Err(error)) => {
                    self.shared.become_role(Role::Leaderless);
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "following ends; the store is opened anew"
                    );
                }
                None => return Ok(()),
            }
            match self.begin_anew(store, &shutdown).await? {
                Some((opened, taken)) => (store, standing) = (opened, taken),
                None => return Ok(()),
            }
        }
    }

    async fn reign(&mut self, store: &AnyStore, lead: Lead, mut mandate: Mandate, shutdown: &CancellationToken) -> End {
        self.shared.become_role(Role::Leads);
        let reign = Reign::begin(self.shared.clone(), store, lead);
        let end = reign.run(&mut self.inputs, &mut mandate, shutdown).await;
        if let Mandate::Elected(_) = mandate {
            self.shared.become_role(Role::Leaderless);
        }
        end
    }

    /// Follows whoever leads until this server does. None: told to stop.
    async fn stand_by(
        &mut self,
        store: &AnyStore,
        mut follower: Follower,
        shutdown: &CancellationToken,
    ) -> Option<Result<(Lead, Mandate), ServerError>> {
        let mandate = {
            let AnyStore::Etcd(etcd) = store else { unreachable!("only a store that is shared has followers") };
            tokio::select! {
                () = shutdown.cancelled() => return None,
                mandate = campaign(etcd, &self.address) => mandate,
                error = follower.run(&self.shared) => Err(error),
                error = observe::leaders(&self.shared, etcd, &self.address) => Err(error),
                () = turn_all_away(&mut self.inputs) => return None,
            }
        };
        Some(match mandate {
            Ok(mandate) => follower.take_over(&self.shared, store).await.map(|lead| (lead, Mandate::Elected(mandate))),
            Err(error) => Err(error),
        })
    }

    /// The store is of no use for now: nobody waits for an election that this server could not see.
    fn storeless(&self) -> Refusal {
        if matches!(self.place, StorePlace::Etcd(_)) {
            self.shared.become_role(Role::Storeless);
        }
        Refusal::StoreUnavailable
    }

    /// Opens the store anew, for as long as it takes. None: told to stop.
    async fn begin_anew(
        &mut self,
        mut store: AnyStore,
        shutdown: &CancellationToken,
    ) -> Result<Option<(AnyStore, Standing)>, ServerError> {
        let mut delay = REOPEN_DELAY;
        let mut refusal = Refusal::NotLeader;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(None),
                () = tokio::time::sleep(delay) => {}
            }
            delay = (delay * 2).min(LONGEST_REOPEN_DELAY);
            // Nobody waits in vain while there is no core to ask.
            while let Ok(input) = self.inputs.try_recv() {
                input.turn_away(&refusal);
            }
            store = match self.place.reopen(store).await {
                Ok(store) => store,
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "store does not open");
                    store = AnyStore::Closed;
                    refusal = self.storeless();
                    continue;
                }
            };
            match Standing::take(&self.shared, &store, &self.address).await {
                Ok(standing) => return Ok(Some((store, standing))),
                Err(error) if error.is_of_a_newer_release() => return Err(error),
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "the store was not loaded");
                    refusal = self.storeless();
                }
            }
        }
    }
}

async fn campaign(etcd: &Etcd, address: &str) -> Result<berth_store::Mandate, ServerError> {
    let failed = |source| ServerError::Store { operation: "stand for election", source };
    etcd.campaign(address).await.map_err(failed)
}

/// Refuses whatever comes in, for as long as something may.
async fn turn_all_away(inputs: &mut mpsc::Receiver<Input>) {
    while let Some(input) = inputs.recv().await {
        input.turn_away(&Refusal::NotLeader);
    }
}

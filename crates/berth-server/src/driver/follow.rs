//! Following the leader: what it stores is shown here too, so that this server can answer, and can take over with what it
//! has.

use std::time::Duration;

use berth_model::{Mutation, Revision};
use berth_record::{EPOCH_KEY, RecordError, decode, decode_epoch, decode_removal, key};
use berth_store::{Change, StoreError, Watch};

use super::lead::{self, Lead, State};
use super::{AnyStore, Shared};
use crate::ServerError;
use crate::view::View;

/// How long it may take to have seen everything that was written before a reign began.
const CATCH_UP: Duration = Duration::from_secs(5);

/// Follows a store in which another server writes.
#[derive(Debug)]
pub struct Follower {
    watch: Watch,
}

impl Follower {
    /// Loads everything, shows it, and follows from there.
    pub async fn begin(shared: &Shared, store: &AnyStore) -> Result<Follower, ServerError> {
        let State { loaded, revision } = lead::load(store).await?;
        let watch = store.watch(b"", Revision(revision.0 + 1)).await;
        let watch = watch.map_err(|source| ServerError::Store { operation: "follow the store", source })?;
        shared.show(View::load(&loaded.snapshot, loaded.epoch.unwrap_or_default(), revision));
        Ok(Follower { watch })
    }

    /// Shows what is written, for as long as it can be followed.
    pub async fn run(&mut self, shared: &Shared) -> ServerError {
        loop {
            if let Err(error) = self.step(shared).await {
                return error;
            }
        }
    }

    async fn step(&mut self, shared: &Shared) -> Result<Revision, ServerError> {
        let news = self.watch.recv().await.unwrap_or(Err(StoreError::Closed));
        let (revision, changes) =
            news.map_err(|source| ServerError::Store { operation: "follow the store", source })?;
        let mutations = changes.iter().filter_map(mutation).collect::<Result<Vec<_>, _>>();
        shared.follow(revision, mutations.map_err(ServerError::Record)?);
        for change in &changes {
            if let Change::Put(row) = change
                && row.key == EPOCH_KEY
            {
                shared.reigned_by(decode_epoch(&row.value).map_err(ServerError::Record)?);
            }
        }
        Ok(revision)
    }

    /// Takes the lead with what is here, once it is everything that was written before.
    pub async fn take_over(&mut self, shared: &Shared, store: &AnyStore) -> Result<Lead, ServerError> {
        let (epoch, began) = lead::begin_reign(store).await?;
        let catching_up = async {
            while self.step(shared).await? < began {}
            Ok::<_, ServerError>(())
        };
        match tokio::time::timeout(CATCH_UP, catching_up).await {
            Ok(done) => done?,
            Err(_) => return Err(ServerError::Behind { seconds: CATCH_UP.as_secs() }),
        }
        let (snapshot, revision) = {
            let view = shared.view();
            (view.snapshot(), view.revision)
        };
        tracing::info!(%epoch, allocs = snapshot.allocs.len(), "lead taken over");
        Ok(Lead { epoch, snapshot, revision })
    }
}

/// What a change means. None: it is no record.
fn mutation(change: &Change) -> Option<Result<Mutation, RecordError>> {
    let is_record = change.key() != EPOCH_KEY && change.key() < key::END;
    is_record.then(|| match change {
        Change::Put(row) => decode(&row.key, &row.value),
        Change::Delete { key, .. } => decode_removal(key),
    })
}

//! Taking the lead: a higher epoch is written under a guard, and everything is loaded. See `berth_record::key`.

use berth_model::{Epoch, Incarnation, Revision, Snapshot};
use berth_record::{EPOCH_KEY, Loaded, META_KEY, RecordError, SnapshotBuilder, decode, decode_epoch, encode_epoch};
use berth_store::{Applied, Guard, Operation, StoreError, Transaction};

use super::AnyStore;
use crate::ServerError;

/// How often the lead is tried for, and a listing begun anew because it changed under us.
const ATTEMPTS: u32 = 16;

/// A lead just taken, with all that the store holds.
#[derive(Debug)]
pub struct Lead {
    /// The reign.
    pub epoch: Epoch,
    /// What the store holds.
    pub snapshot: Snapshot,
    /// The revision that it was loaded at.
    pub revision: Revision,
}

/// What the store holds at a revision.
#[derive(Debug)]
pub struct State {
    /// All of it.
    pub loaded: Loaded,
    /// When.
    pub revision: Revision,
}

/// Takes the lead: from here on no older leader can write.
pub async fn take(store: &AnyStore) -> Result<Lead, ServerError> {
    let (epoch, _) = begin_reign(store).await?;
    let State { loaded, revision } = load(store).await?;
    let snapshot = loaded.snapshot;
    tracing::info!(
        %epoch,
        nodes = snapshot.nodes.len(),
        jobs = snapshot.jobs.len(),
        allocs = snapshot.allocs.len(),
        "lead taken"
    );
    Ok(Lead { epoch, snapshot, revision })
}

/// Writes a higher epoch, and tells the revision that has it. What a newer release has finalised is refused before anything
/// is written.
pub async fn begin_reign(store: &AnyStore) -> Result<(Epoch, Revision), ServerError> {
    let failed = |operation| move |source: StoreError| ServerError::Store { operation, source };
    let (counters, _) = store.get(META_KEY).await.map_err(failed("read the counters"))?;
    if let Some(Err(newer @ RecordError::Newer { .. })) = counters.map(|row| decode(META_KEY, &row.value)) {
        return Err(ServerError::Record(newer));
    }
    for _ in 0..ATTEMPTS {
        let (row, _) = store.get(EPOCH_KEY).await.map_err(failed("read the epoch"))?;
        let (epoch, guard) = match row {
            Some(row) => {
                let last = decode_epoch(&row.value).map_err(ServerError::Epoch)?;
                let next = Epoch { counter: last.counter + 1, ..last };
                (next, Guard::ModifiedAt(EPOCH_KEY.to_vec(), row.modified))
            }
            None => (Epoch { incarnation: Incarnation(1), counter: 1 }, Guard::Absent(EPOCH_KEY.to_vec())),
        };
        let operations = vec![Operation::Put(EPOCH_KEY.to_vec(), encode_epoch(epoch))];
        let applied = store.commit(Transaction { guards: vec![guard], operations }).await;
        match applied.map_err(failed("write the epoch"))? {
            Applied::At(revision) => return Ok((epoch, revision)),
            Applied::Refused => {}
        }
    }
    Err(ServerError::Contended { attempts: ATTEMPTS })
}

/// Everything that the store holds.
pub async fn load(store: &AnyStore) -> Result<State, ServerError> {
    for _ in 0..ATTEMPTS {
        if let Some(state) = load_once(store).await? {
            return Ok(state);
        }
    }
    Err(ServerError::Contended { attempts: ATTEMPTS })
}

/// Everything. None: it changed meanwhile, in a store that knows no other state than the newest.
async fn load_once(store: &AnyStore) -> Result<Option<State>, ServerError> {
    let mut builder = SnapshotBuilder::new();
    match store.read_all(|row| builder.add(&row.key, &row.value)).await {
        Ok(revision) => {
            let loaded = builder.finish().map_err(ServerError::Load)?;
            Ok(Some(State { loaded, revision }))
        }
        Err(StoreError::Compacted { .. }) => Ok(None),
        Err(source) => Err(ServerError::Store { operation: "read the store", source }),
    }
}

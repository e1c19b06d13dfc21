//! Moving the cluster's state from the data folder to an etcd, or back, while no server runs on either.
//!
//! A state without its counters is none: no server begins with it. So they are written last in the new place and removed
//! last from the old one, and a move that was cut short is begun anew.

use std::path::Path;
use std::time::Duration;

use berth_record::{META_KEY, decode, decode_epoch, key};
use berth_store::{Applied, EtcdOptions, Guard, KeyValue, Operation, StoreError, Transaction};

use crate::ServerError;
use crate::driver::{AnyStore, Mandate, StorePlace};
use crate::folder::Folder;

/// How long it is waited for a server that has just been stopped, so that its lease runs out.
const VACANT: Duration = Duration::from_secs(8);
/// Records written at once, and their bytes.
const RECORDS: usize = 100;
const BYTES: usize = 1_000_000;

/// Where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the data folder to the etcd.
    ToEtcd,
    /// From the etcd to the data folder.
    ToFile,
}

/// Moves the state between a data folder and an etcd, and tells how many records it has. `told` hears, from time to time,
/// how many are written.
pub async fn move_state(
    data_dir: &Path,
    etcd: EtcdOptions,
    direction: Direction,
    mut told: impl FnMut(usize),
) -> Result<usize, ServerError> {
    let file = StorePlace::Embedded(Folder::prepare(data_dir)?.store_path());
    let (from, to) = match direction {
        Direction::ToEtcd => (file, StorePlace::Etcd(etcd)),
        Direction::ToFile => (StorePlace::Etcd(etcd), file),
    };
    let (from, _from_mandate) = hold(&from).await?;
    let (to, _to_mandate) = hold(&to).await?;
    if to.get(META_KEY).await.map_err(failed("look into the new place"))?.0.is_some() {
        return Err(ServerError::HasState);
    }
    let mut records = read_all(&from).await?;
    let at = records.iter().position(|row| row.key == META_KEY).ok_or(ServerError::NoState)?;
    let counters = records.swap_remove(at);
    for row in &records {
        let checked = if row.key == key::EPOCH_KEY {
            decode_epoch(&row.value).map(drop)
        } else {
            decode(&row.key, &row.value).map(drop)
        };
        checked.map_err(ServerError::Record)?;
    }
    clear(&to).await?;
    let mut written = 0;
    for part in parts(&records) {
        let operations = part.iter().map(|row| Operation::Put(row.key.clone(), row.value.clone())).collect();
        write(&to, vec![Guard::Absent(META_KEY.to_vec())], operations).await?;
        written += part.len();
        told(written);
    }
    let last = vec![Operation::Put(META_KEY.to_vec(), counters.value)];
    write(&to, vec![Guard::Absent(META_KEY.to_vec())], last).await?;
    let unchanged = vec![Guard::ModifiedAt(META_KEY.to_vec(), counters.modified)];
    let given_up = write(&from, unchanged, vec![Operation::Delete(META_KEY.to_vec())]).await;
    if let Err(error @ ServerError::Interfered) = given_up {
        // What was copied is not what is there: it must not be used.
        write(&to, Vec::new(), vec![Operation::Delete(META_KEY.to_vec())]).await?;
        return Err(error);
    }
    given_up.map(|()| written + 1)
}

/// Opens a store that no server may use meanwhile.
async fn hold(place: &StorePlace) -> Result<(AnyStore, Mandate), ServerError> {
    let store = place.open().await.map_err(ServerError::Open)?;
    let AnyStore::Etcd(etcd) = &store else { return Ok((store, Mandate::Always)) };
    match tokio::time::timeout(VACANT, etcd.campaign("berth store")).await {
        Ok(mandate) => {
            let mandate = mandate.map_err(failed("keep servers away"))?;
            Ok((store, Mandate::Elected(mandate)))
        }
        Err(_) => {
            let leaders = etcd.leaders().await.map_err(failed("see who leads"))?;
            let leader = leaders.borrow().as_ref().map_or_else(String::new, |leader| leader.address.clone());
            Err(ServerError::InUse { leader })
        }
    }
}

fn failed(operation: &'static str) -> impl FnOnce(StoreError) -> ServerError {
    move |source| ServerError::Store { operation, source }
}

async fn read_all(store: &AnyStore) -> Result<Vec<KeyValue>, ServerError> {
    let mut all = Vec::new();
    store.read_all(|row| all.push(row)).await.map_err(failed("read the state"))?;
    Ok(all)
}

/// Removes what a move that was cut short has left.
async fn clear(store: &AnyStore) -> Result<(), ServerError> {
    let left = read_all(store).await?;
    for part in parts(&left) {
        let operations = part.iter().map(|row| Operation::Delete(row.key.clone())).collect();
        write(store, vec![Guard::Absent(META_KEY.to_vec())], operations).await?;
    }
    Ok(())
}

/// Records in parts that a transaction takes.
fn parts(records: &[KeyValue]) -> impl Iterator<Item = &[KeyValue]> {
    let mut rest = records;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |row: &&KeyValue| {
            bytes += row.key.len() + row.value.len();
            bytes <= BYTES
        };
        let count = rest.iter().take(RECORDS).take_while(fits).count().max(1).min(rest.len());
        let (part, left) = rest.split_at(count);
        rest = left;
        (!part.is_empty()).then_some(part)
    })
}

async fn write(store: &AnyStore, guards: Vec<Guard>, operations: Vec<Operation>) -> Result<(), ServerError> {
    match store.commit(Transaction { guards, operations }).await.map_err(failed("write the state"))? {
        Applied::At(_) => Ok(()),
        Applied::Refused => Err(ServerError::Interfered),
    }
}

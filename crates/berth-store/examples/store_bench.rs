//! Commits per second of the embedded store at 1, 8 and 64 in flight, beside the bare engine in the same
//! run on the same disk, and how long it takes to open a filled store.
//!
//! `cargo run --release -p berth-store --example store_bench [FOLDER]`; the folder decides the disk.
//! Prints figures; judges nothing.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use berth_store::{Embedded, Operation, Store, Transaction};
use redb::{Database, TableDefinition};

type Failure = Box<dyn std::error::Error>;

/// What a placement writes, roughly: the counters, an allocation, an entry of the ledger.
const VALUE_BYTES: [usize; 3] = [120, 1_000, 250];
const FOR: Duration = Duration::from_secs(3);
const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");

fn writes(number: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let keys = ["meta".to_owned(), format!("alloc/{number:016x}"), format!("event/{number:016x}")];
    keys.into_iter().zip(VALUE_BYTES).map(|(key, bytes)| (key.into_bytes(), vec![b'x'; bytes])).collect()
}

fn transaction(number: u64) -> Transaction {
    let operations = writes(number).into_iter().map(|(key, value)| Operation::Put(key, value)).collect();
    Transaction { guards: Vec::new(), operations }
}

/// One durable commit of the engine per transaction, one after the other.
fn bare_engine(path: &Path) -> Result<f64, Failure> {
    let database = Database::create(path)?;
    let (begin, mut done) = (Instant::now(), 0);
    while begin.elapsed() < FOR {
        let write = database.begin_write()?;
        {
            let mut rows = write.open_table(ROWS)?;
            for (key, value) in writes(done) {
                rows.insert(key.as_slice(), value.as_slice())?;
            }
        }
        write.commit()?;
        done += 1;
    }
    Ok(done as f64 / begin.elapsed().as_secs_f64())
}

/// Commits per second and the median wait in milliseconds.
async fn store(path: &Path, in_flight: usize) -> Result<(f64, f64), Failure> {
    let store = Embedded::open(path)?;
    let mut under_way = VecDeque::new();
    let mut waits = Vec::new();
    let (begin, mut next) = (Instant::now(), 0);
    while begin.elapsed() < FOR {
        while under_way.len() < in_flight {
            under_way.push_back((Instant::now(), store.commit(transaction(next))));
            next += 1;
        }
        if let Some((sent, commit)) = under_way.pop_front() {
            commit.await?;
            waits.push(sent.elapsed());
        }
    }
    let rate = waits.len() as f64 / begin.elapsed().as_secs_f64();
    for (_, commit) in under_way {
        commit.await?;
    }
    waits.sort_unstable();
    Ok((rate, waits[waits.len() / 2].as_secs_f64() * 1000.0))
}

async fn filled(path: &Path, transactions: u64) -> Result<Duration, Failure> {
    let store = Embedded::open(path)?;
    let mut under_way = VecDeque::new();
    for number in 0..transactions {
        under_way.push_back(store.commit(transaction(number)));
        if under_way.len() == 256 {
            for commit in under_way.drain(..) {
                commit.await?;
            }
        }
    }
    for commit in under_way {
        commit.await?;
    }
    drop(store);
    let begin = Instant::now();
    drop(Embedded::open(path)?);
    Ok(begin.elapsed())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let parent = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(parent)?;
    let bare = bare_engine(&folder.path().join("bare.redb"))?;
    println!("bare engine, one commit each   {bare:>9.0} commits/s");
    for in_flight in [1, 8, 64] {
        let (rate, wait) = store(&folder.path().join(format!("{in_flight}.redb")), in_flight).await?;
        let ratio = rate / bare;
        println!(
            "store, {in_flight:>2} in flight            {rate:>9.0} commits/s  {ratio:>6.2} of bare  median wait {wait:.2} ms"
        );
    }
    let opened = filled(&folder.path().join("filled.redb"), 50_000).await?;
    println!("open 100,001 rows, 63 MB of values, all checked: {:.0} ms", opened.as_secs_f64() * 1000.0);
    Ok(())
}

//! Power loss, simulated below the engine: a disk in memory that forgets, keeps or tears what was not
//! synced, in sectors of 512 bytes, as a seed decides.
//!
//! A failure names its seed; `BERTH_POWER_LOSS_SEED=N` runs that one alone.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};

use berth_model::Revision;
use redb::StorageBackend;

use super::engine::{Engine, SetupError};
use super::open::builder;
use crate::transaction::{Outcome, Row, carry_out};
use crate::{Applied, Embedded, Guard, Operation, Store, StoreError, Transaction};

const SEEDS: u64 = 1_000;
const SECTOR: usize = 512;
/// Power losses in the life of one disk.
const LOSSES: usize = 4;

/// SplitMix64: a seed is all that it needs, and the same everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// A change that was made and not yet synced.
#[derive(Clone, Debug)]
enum Unsynced {
    Write(usize, Vec<u8>),
    Length(usize),
}

/// Whether a sync does what it says.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Syncs {
    Honest,
    Lying,
}

#[derive(Debug)]
struct Platter {
    /// What the machine sees.
    seen: Vec<u8>,
    /// What is safe.
    safe: Vec<u8>,
    unsynced: Vec<Unsynced>,
    /// Changes and syncs until the power goes.
    fuse: usize,
    syncs: Syncs,
}

#[derive(Clone, Debug)]
struct Disk(Arc<Mutex<Platter>>);

impl Disk {
    fn new(content: Vec<u8>, fuse: usize, syncs: Syncs) -> Disk {
        let (safe, seen) = (content.clone(), content);
        Disk(Arc::new(Mutex::new(Platter { seen, safe, unsynced: Vec::new(), fuse, syncs })))
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap()
    }

    /// What is on the disk when the power comes back.
    fn after_power_loss(&self, chance: &mut Chance) -> Vec<u8> {
        let mut platter = self.platter();
        platter.fuse = 0;
        let mut content = platter.safe.clone();
        // Of one disk everything unsynced is lost, of another nothing, of most some.
        let keep_percent = [0, 10, 50, 90, 100][chance.below(5)];
        for change in &platter.unsynced {
            match change {
                Unsynced::Length(length) if chance.below(100) < keep_percent => content.resize(*length, 0),
                Unsynced::Length(_) => {}
                Unsynced::Write(offset, data) => {
                    for (at, sector) in sectors(*offset, data) {
                        if chance.below(100) < keep_percent {
                            put_at(&mut content, at, sector);
                        }
                    }
                }
            }
        }
        content
    }
}

/// The parts of a write that lie in one sector each.
fn sectors(offset: usize, data: &[u8]) -> Vec<(usize, &[u8])> {
    let mut parts = Vec::new();
    let (mut at, mut rest) = (offset, data);
    while !rest.is_empty() {
        let (part, behind) = rest.split_at(rest.len().min(SECTOR - at % SECTOR));
        parts.push((at, part));
        (at, rest) = (at + part.len(), behind);
    }
    parts
}

/// Writes, behind the end too: then the file grows, as files do.
fn put_at(content: &mut Vec<u8>, at: usize, data: &[u8]) {
    if content.len() < at + data.len() {
        content.resize(at + data.len(), 0);
    }
    content[at..at + data.len()].copy_from_slice(data);
}

impl Platter {
    /// Counts the fuse down.
    fn powered(&mut self) -> io::Result<()> {
        self.fuse = self.fuse.checked_sub(1).ok_or_else(|| io::Error::other("the power is off"))?;
        Ok(())
    }

    fn change(&mut self, change: Unsynced) -> io::Result<()> {
        self.powered()?;
        apply(&mut self.seen, &change);
        self.unsynced.push(change);
        Ok(())
    }
}

fn apply(content: &mut Vec<u8>, change: &Unsynced) {
    match change {
        Unsynced::Write(offset, data) => put_at(content, *offset, data),
        Unsynced::Length(length) => content.resize(*length, 0),
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.platter().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.platter();
        let offset = usize::try_from(offset).unwrap();
        let found = platter.seen.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.platter().change(Unsynced::Length(usize::try_from(length).unwrap()))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.platter();
        platter.powered()?;
        if platter.syncs == Syncs::Honest {
            for change in std::mem::take(&mut platter.unsynced) {
                apply(&mut platter.safe, &change);
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.platter().change(Unsynced::Write(usize::try_from(offset).unwrap(), data.to_vec()))
    }
}

/// What the store should hold.
#[derive(Clone, Debug, Default, PartialEq)]
struct Expected {
    rows: BTreeMap<Vec<u8>, Row>,
    revision: u64,
}

impl Expected {
    fn with(&self, batch: &[Transaction]) -> Expected {
        let mut after = self.clone();
        for transaction in batch {
            let Ok(outcome) = carry_out(&mut after.rows, transaction.clone(), Revision(after.revision + 1));
            if matches!(outcome, Outcome::Changed(_)) {
                after.revision += 1;
            }
        }
        after
    }

    fn held_by(engine: &Engine) -> Expected {
        let (rows, revision) = engine.reader().range(b"\0", b"\xff", usize::MAX, None).unwrap();
        let rows = rows.into_iter().map(|row| (row.key, Row { value: row.value, modified: row.modified })).collect();
        Expected { rows, revision: revision.0 }
    }
}

/// Some transactions: puts and deletes among a few keys, now and then a guard that holds or does not.
fn some_batch(chance: &mut Chance, expected: &Expected) -> Vec<Transaction> {
    (0..1 + chance.below(6))
        .map(|_| {
            let first = chance.below(40);
            let operations = (0..1 + chance.below(5)).map(|n| {
                let key = format!("key/{:02}", (first + n) % 40).into_bytes();
                if chance.one_in(4) {
                    return Operation::Delete(key);
                }
                let length = if chance.one_in(8) { chance.below(9_000) } else { chance.below(200) };
                Operation::Put(key, vec![u8::try_from(chance.below(256)).unwrap(); length])
            });
            let operations = operations.collect();
            let guards = match chance.below(4) {
                0 => vec![Guard::Absent(b"key/00".to_vec())],
                1 => expected
                    .rows
                    .iter()
                    .next_back()
                    .map(|(key, row)| Guard::ModifiedAt(key.clone(), row.modified))
                    .into_iter()
                    .collect(),
                _ => vec![],
            };
            Transaction { guards, operations }
        })
        .collect()
}

/// What was seen in the life of a disk, so that the test knows that it tests something.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    acknowledged: usize,
    in_flight_kept: usize,
    in_flight_lost: usize,
    lost_while_opening: usize,
    lost_while_making: usize,
}

enum Session {
    /// The power went before the store was open.
    NotOpened,
    /// The store did not hold what it should.
    Wrong(String),
    /// It is known to hold the first; if there is a second, it may hold that instead.
    Ended(Expected, Option<Expected>),
}

/// Opens the store, compares, and works until the power goes or the work is done.
fn session(disk: &Disk, may_hold: &[Expected], chance: &mut Chance, seen: &mut Seen) -> Session {
    let database = match builder().create_with_backend(disk.clone()) {
        Ok(database) => database,
        Err(_) if disk.platter().fuse == 0 => return Session::NotOpened,
        Err(error) => return Session::Wrong(format!("the engine does not open: {error}")),
    };
    let mut engine = match Engine::open(database) {
        Ok(engine) => engine,
        Err(SetupError::Engine(_)) if disk.platter().fuse == 0 => return Session::NotOpened,
        Err(error) => return Session::Wrong(format!("the tables do not open: {error:?}")),
    };
    let mut expected = Expected::held_by(&engine);
    match may_hold.iter().position(|state| *state == expected) {
        None => return Session::Wrong(format!("revision {} with other rows", expected.revision)),
        Some(0) if may_hold.len() == 2 => seen.in_flight_lost += 1,
        Some(0) => {}
        Some(_) => seen.in_flight_kept += 1,
    }
    for _ in 0..1 + chance.below(8) {
        let batch = some_batch(chance, &expected);
        let after = expected.with(&batch);
        if engine.commit(batch).is_err() {
            assert_eq!(disk.platter().fuse, 0, "a commit failed with the power on");
            return Session::Ended(expected, Some(after));
        }
        seen.acknowledged += 1;
        expected = after;
    }
    if chance.one_in(2) {
        // The power goes while the store is open and idle, not after it was closed in good order.
        disk.platter().fuse = 0;
    }
    Session::Ended(expected, None)
}

/// A disk with an empty store, made as `open.rs` makes one: under another name, synced and then moved into
/// place. When the power goes before that, there is no file under the right name.
fn made(fuse: usize, syncs: Syncs) -> Option<Disk> {
    let disk = Disk::new(Vec::new(), fuse, syncs);
    let database = builder().create_with_backend(disk.clone()).ok()?;
    drop(Engine::open(database).ok()?);
    disk.sync_data().ok()?;
    Some(disk)
}

/// The life of one disk: an error when it did not keep all that it had to.
fn life(seed: u64, syncs: Syncs, seen: &mut Seen) -> Result<(), String> {
    let mut chance = Chance(seed);
    let mut content = None;
    let mut may_hold = vec![Expected::default()];
    for loss in 0..=LOSSES {
        let fuse = if loss == LOSSES { usize::MAX } else { chance.below(120) };
        let Some(disk) = content.map_or_else(|| made(fuse, syncs), |content| Some(Disk::new(content, fuse, syncs)))
        else {
            seen.lost_while_making += 1;
            content = None;
            continue;
        };
        match session(&disk, &may_hold, &mut chance, seen) {
            Session::NotOpened => seen.lost_while_opening += 1,
            Session::Wrong(how) => return Err(format!("seed {seed}, after power loss {loss}: {how}")),
            Session::Ended(known, maybe) => may_hold = [Some(known), maybe].into_iter().flatten().collect(),
        }
        content = Some(disk.after_power_loss(&mut chance));
    }
    Ok(())
}

#[test]
fn no_power_loss_takes_what_was_acknowledged_or_halves_what_was_not() {
    let seeds = match std::env::var("BERTH_POWER_LOSS_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..SEEDS).collect(),
    };
    let mut seen = Seen::default();
    for seed in &seeds {
        life(*seed, Syncs::Honest, &mut seen).unwrap();
    }
    println!("{} seeds, {LOSSES} power losses each: {seen:?}", seeds.len());
    let all =
        [seen.acknowledged, seen.in_flight_kept, seen.in_flight_lost, seen.lost_while_opening, seen.lost_while_making];
    assert!(seeds.len() == 1 || all.iter().all(|count| *count > 0), "something never happened: {seen:?}");
}

#[test]
fn a_disk_that_lies_about_its_syncs_is_found_out() {
    let mut seen = Seen::default();
    let mut found_out = |seed| match catch_unwind(AssertUnwindSafe(|| life(seed, Syncs::Lying, &mut seen))) {
        Ok(kept) => kept.is_err(),
        // The engine asserts what a disk must have kept.
        Err(_) => true,
    };
    let found = (0..50).filter(|seed| found_out(*seed)).count();
    assert!(found > 25, "only {found} of 50 lying disks were found out: this test would not see a lost commit");
}

/// A disk that fails under an open store: everything that waits is told so, nothing else is accepted, and
/// what was acknowledged is still told.
#[tokio::test]
async fn a_failed_commit_fails_what_waits_and_closes_the_store() {
    let disk = made(usize::MAX, Syncs::Honest).unwrap();
    let engine = Engine::open(builder().create_with_backend(disk.clone()).unwrap()).unwrap();
    let store = Embedded::start(engine).unwrap();
    let put = |key: &[u8]| Transaction { guards: vec![], operations: vec![Operation::Put(key.to_vec(), vec![1])] };
    let mut watch = store.watch(b"", Revision(1)).await.unwrap();
    assert_eq!(store.commit(put(b"a")).await.unwrap(), Applied::At(Revision(1)));

    disk.platter().fuse = 0;
    let under_way: Vec<_> = (0..20).map(|n| store.commit(put(&[b'b', n]))).collect();
    let mut named = 0;
    for commit in under_way {
        match commit.await.unwrap_err() {
            StoreError::Engine { .. } => named += 1,
            // It was still in the queue when the writer gave up.
            StoreError::Closed => {}
            error => panic!("{error}"),
        }
    }
    assert!(named > 0);
    assert!(matches!(store.commit(put(b"c")).await, Err(StoreError::Closed)));
    assert_eq!(watch.recv().await.unwrap().unwrap().0, Revision(1));
    assert!(watch.recv().await.is_none(), "the watch ends with the store");
    let (rows, revision) = store.range(b"a", b"z", 100, None).await.unwrap();
    assert_eq!((rows.len(), revision), (1, Revision(1)));
}

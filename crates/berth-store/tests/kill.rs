//! `kill -9` of a writing process, 200 times at random points: no acknowledged transaction is lost, and
//! what was not acknowledged is there wholly or not at all.
//!
//! The writer is this test program itself, started again with `BERTH_STORE_KILLED` naming the store. It
//! tells each acknowledgement on its standard output; the moment of the kill is counted in those.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use berth_store::{Applied, Embedded, Operation, Store, Transaction};

const ROUNDS: u64 = 200;
const STORE: &str = "BERTH_STORE_KILLED";
const FIRST: &str = "BERTH_STORE_KILLED_FIRST";
/// Transactions that the writer has under way at once.
const IN_FLIGHT: usize = 8;
/// Keys of one transaction.
const KEYS: usize = 3;
/// A writer that nobody kills ends by itself.
const WRITES_AT_MOST: u64 = 100_000;

fn writes(number: u64) -> Transaction {
    let put = |n| Operation::Put(format!("{n}/{number:010}").into_bytes(), number.to_be_bytes().repeat(n * 20 + 1));
    Transaction { guards: vec![], operations: (0..KEYS).map(put).collect() }
}

/// The killed process; as a test of its own it does nothing.
#[tokio::test]
async fn writer() {
    let Some(path) = std::env::var_os(STORE) else { return };
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let store = Embedded::open(Path::new(&path)).unwrap();
    let mut under_way = VecDeque::new();
    for number in first..first + WRITES_AT_MOST {
        under_way.push_back((number, store.commit(writes(number))));
        if under_way.len() == IN_FLIGHT {
            let (number, commit) = under_way.pop_front().unwrap();
            let Applied::At(revision) = commit.await.unwrap() else { panic!("{number} was refused") };
            // One write, and so whole lines or none; past the capture of the test harness.
            std::io::stdout().write_all(format!("\nacknowledged {number} {}\n", revision.0).as_bytes()).unwrap();
        }
    }
}

fn start_writer(store: &Path, first: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer", "--nocapture"])
        .env(STORE, store)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Number and revision of an acknowledgement; None for the harness' own lines and for half a line.
fn acknowledgement(line: &str) -> Option<(u64, u64)> {
    let (number, revision) = line.strip_prefix("acknowledged ")?.strip_suffix('\n')?.split_once(' ')?;
    Some((number.parse().unwrap(), revision.parse().unwrap()))
}

/// Starts a writer, kills it after so many acknowledgements, and tells all that it had sent.
fn write_and_kill(store: &Path, first: u64, after: usize) -> Vec<(u64, u64)> {
    let mut child = start_writer(store, first);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut acknowledged = Vec::new();
    let mut line = String::new();
    let mut killed = false;
    while output.read_line(&mut line).unwrap() > 0 {
        acknowledged.extend(acknowledgement(&line));
        line.clear();
        if acknowledged.len() >= after && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    assert!(killed, "the writer ended by itself after {} acknowledgements", acknowledged.len());
    acknowledged
}

/// The transactions in the store with their revisions; each is whole.
async fn held(store: &Embedded) -> BTreeMap<u64, u64> {
    let mut found: BTreeMap<u64, Vec<(u64, Operation)>> = BTreeMap::new();
    for row in store.range(b"0", b"9", usize::MAX, None).await.unwrap().0 {
        let number = str::from_utf8(&row.key[2..]).unwrap().parse().unwrap();
        found.entry(number).or_default().push((row.modified.0, Operation::Put(row.key, row.value)));
    }
    let whole = |(number, rows): (u64, Vec<(u64, Operation)>)| {
        let revision = rows[0].0;
        assert!(rows.iter().all(|(modified, _)| *modified == revision), "{number} is of several revisions");
        let rows: Vec<Operation> = rows.into_iter().map(|(_, row)| row).collect();
        assert_eq!(rows, writes(number).operations, "transaction {number} is not whole");
        (number, revision)
    };
    found.into_iter().map(whole).collect()
}

#[tokio::test]
async fn two_hundred_kills_lose_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let mut acknowledged: BTreeMap<u64, u64> = BTreeMap::new();
    let (mut next, mut chance, mut unacknowledged) = (0, 0x9e37_79b9_7f4a_7c15_u64, 0);
    for round in 0..ROUNDS {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let after = usize::try_from((chance >> 33) % 60).unwrap() + 1;
        acknowledged.extend(write_and_kill(&path, next, after));

        let store = Embedded::open(&path).unwrap();
        let held = held(&store).await;
        for (number, revision) in &acknowledged {
            assert_eq!(held.get(number), Some(revision), "round {round}: acknowledged transaction {number} is lost");
        }
        next = held.last_key_value().map_or(0, |(number, _)| number + 1);
        assert_eq!(held.len() as u64, next, "round {round}: a gap, though transactions are carried out in order");
        unacknowledged = held.len() - acknowledged.len();
        assert_eq!(store.get(b"any").await.unwrap().1.0, next, "round {round}: revisions and commits differ");
    }
    println!("{ROUNDS} kills, {} acknowledged, {unacknowledged} there without acknowledgement", acknowledged.len());
}

//! The conformance suite: every backend runs every case of `berth-model`'s testkit.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use berth_model::Revision;
use berth_model::testkit::store_cases::{Answer, CASES, Case, Check, Seen, Step, Write};
use berth_store::testkit::TestEtcd;
use berth_store::{
    Applied, Change, Embedded, Etcd, Guard, KeyValue, Memory, Operation, Store, StoreError, Transaction, Watch,
};
use tokio::sync::mpsc::error::TryRecvError;

fn transaction(guards: &[Check], writes: &[Write]) -> Transaction {
    let guard = |check: &Check| match *check {
        Check::ModifiedAt(key, revision) => Guard::ModifiedAt(key.into(), Revision(revision)),
        Check::ValueIs(key, value) => Guard::ValueIs(key.into(), value.into()),
        Check::Absent(key) => Guard::Absent(key.into()),
    };
    let operation = |write: &Write| match *write {
        Write::Put(key, value) => Operation::Put(key.into(), value.into()),
        Write::Delete(key) => Operation::Delete(key.into()),
    };
    Transaction { guards: guards.iter().map(guard).collect(), operations: writes.iter().map(operation).collect() }
}

/// A transaction of just this size: its guards hold, its keys differ.
fn sized(guards: usize, puts: usize, bytes: usize) -> Transaction {
    let guards: Vec<Guard> = (0..guards).map(|n| Guard::Absent(format!("no/{n:04}").into_bytes())).collect();
    let mut operations: Vec<Operation> =
        (0..puts).map(|n| Operation::Put(format!("key/{n:04}").into_bytes(), Vec::new())).collect();
    let keys = guards.len() * "no/0000".len() + operations.len() * "key/0000".len();
    if let Some(Operation::Put(_, value)) = operations.first_mut() {
        value.resize(bytes - keys, b'x');
    }
    Transaction { guards, operations }
}

fn answers(result: &Result<Applied, StoreError>, expected: Answer) -> bool {
    match expected {
        Answer::At(revision) => matches!(result, Ok(Applied::At(at)) if at.0 == revision),
        Answer::Refused => matches!(result, Ok(Applied::Refused)),
        Answer::TooLarge => matches!(result, Err(StoreError::TooLarge { .. })),
        Answer::DuplicateKey => matches!(result, Err(StoreError::DuplicateKey)),
        Answer::EmptyKey => matches!(result, Err(StoreError::EmptyKey)),
    }
}

fn is_seen(change: &Change, at: u64, expected: &Seen) -> bool {
    match (change, *expected) {
        (Change::Put(row), Seen::Put(key, value)) => {
            row.key == key.as_bytes() && row.value == value.as_bytes() && row.modified.0 == at
        }
        (Change::Delete { key, revision }, Seen::Delete(expected)) => key == expected.as_bytes() && revision.0 == at,
        (Change::Put(_), Seen::Delete(_)) | (Change::Delete { .. }, Seen::Put(..)) => false,
    }
}

fn keys(rows: Vec<KeyValue>) -> Vec<String> {
    rows.into_iter().map(|row| String::from_utf8(row.key).unwrap()).collect()
}

async fn expect_all_or_too_slow(watch: &mut Watch, newest: u64, place: &str) {
    let mut told = 0;
    while told < newest {
        let news = watch.recv().await.unwrap_or_else(|| panic!("{place}: ended without being told why"));
        match news {
            Ok((revision, _)) => {
                assert_eq!(revision.0, told + 1, "{place}: a gap before the end");
                told = revision.0;
            }
            Err(StoreError::Compacted { .. }) => {
                assert!(watch.recv().await.is_none(), "{place}: goes on after the end");
                return;
            }
            Err(error) => panic!("{place}: {error}"),
        }
    }
}

/// Takes a step. What a step expects to be there is there: every commit before it was awaited.
async fn take(store: &impl Store, watch: &mut Option<Watch>, step: &Step, place: &str) {
    match *step {
        Step::Commit(guards, writes, expected) => {
            let result = store.commit(transaction(guards, writes)).await;
            assert!(answers(&result, expected), "{place}: got {result:?}");
        }
        Step::Repeat(times, key) => {
            // Many at once: that also shows that order and outcomes survive it.
            let mut left = times;
            while left > 0 {
                let some = left.min(500);
                let under_way: Vec<_> = (0..some)
                    .map(|n| store.commit(transaction(&[], &[Write::Put(key, if n % 2 == 0 { "x" } else { "y" })])))
                    .collect();
                for commit in under_way {
                    commit.await.unwrap();
                }
                left -= some;
            }
        }
        Step::Sized { guards, puts, bytes, answer } => {
            let result = store.commit(sized(guards, puts, bytes)).await;
            assert!(answers(&result, answer), "{place}: got {result:?}");
        }
        Step::Holds(key, value, modified) => {
            let row = store.get(key.as_bytes()).await.unwrap().0.unwrap_or_else(|| panic!("{place}: absent"));
            assert_eq!((row.key.as_slice(), row.value.as_slice()), (key.as_bytes(), value.as_bytes()), "{place}");
            assert_eq!(row.modified.0, modified, "{place}");
        }
        Step::Lacks(key) => assert_eq!(store.get(key.as_bytes()).await.unwrap().0, None, "{place}"),
        Step::Revision(revision) => {
            assert_eq!(store.get(b"some key").await.unwrap().1.0, revision, "{place}");
            assert_eq!(store.range(b"a", b"b", 1, None).await.unwrap().1.0, revision, "{place}");
        }
        Step::Range(start, end, limit, expected) => {
            let (rows, _) = store.range(start.as_bytes(), end.as_bytes(), limit, None).await.unwrap();
            assert_eq!(keys(rows), expected, "{place}");
        }
        Step::RangeAt(start, end, at, expected) => {
            match store.range(start.as_bytes(), end.as_bytes(), 9, Some(Revision(at))).await {
                Ok((rows, revision)) => {
                    assert_eq!(keys(rows), expected, "{place}");
                    assert_eq!(revision.0, at, "{place}");
                }
                Err(StoreError::Compacted { oldest }) => assert!(oldest.0 > at, "{place}"),
                Err(error) => panic!("{place}: {error}"),
            }
        }
        Step::Watch(prefix, from) => *watch = Some(store.watch(prefix.as_bytes(), Revision(from)).await.unwrap()),
        Step::WatchCompacted(prefix, from) => {
            let error = store.watch(prefix.as_bytes(), Revision(from)).await.unwrap_err();
            assert!(matches!(error, StoreError::Compacted { oldest } if oldest.0 > from), "{place}: got {error}");
        }
        Step::Sees(revision, expected) => {
            let (at, changes) = watch.as_mut().unwrap().recv().await.unwrap().unwrap();
            assert_eq!(at.0, revision, "{place}");
            assert_eq!(changes.len(), expected.len(), "{place}: got {changes:?}");
            let all = changes.iter().zip(expected).all(|(change, expected)| is_seen(change, revision, expected));
            assert!(all, "{place}: got {changes:?}");
        }
        Step::SeesNothing => {
            // What a commit changed is told before the commit is acknowledged.
            let news = watch.as_mut().unwrap().try_recv();
            assert!(matches!(news, Err(TryRecvError::Empty)), "{place}: got {news:?}");
        }
        Step::SeesAllOrThatItWasTooSlow(newest) => expect_all_or_too_slow(watch.as_mut().unwrap(), newest, place).await,
    }
}

async fn run(case: &Case, store: &impl Store) {
    let mut watch = None;
    for (number, step) in case.steps.iter().enumerate() {
        let place = format!("`{}`, step {}, {step:?}", case.name, number + 1);
        take(store, &mut watch, step, &place).await;
    }
}

#[tokio::test]
async fn memory_passes_every_case() {
    for case in CASES {
        run(case, &Memory::new()).await;
    }
}

#[tokio::test]
async fn embedded_passes_every_case() {
    for case in CASES {
        let folder = tempfile::tempdir().unwrap();
        run(case, &Embedded::open(&folder.path().join("store.redb")).unwrap()).await;
    }
}

#[tokio::test]
async fn etcd_passes_every_case() {
    for case in CASES {
        let etcd = TestEtcd::start(1, &[]);
        run(case, &Etcd::open(etcd.options()).await.unwrap()).await;
    }
}

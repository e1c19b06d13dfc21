//! What only the embedded store promises: its file, its lock, its versions, and coming back.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use berth_model::Revision;
use berth_store::{Applied, Embedded, KeyValue, OpenError, Operation, Store, StoreError, Transaction};
use tempfile::tempdir;

fn put(key: &str, value: &str) -> Transaction {
    Transaction { guards: vec![], operations: vec![Operation::Put(key.into(), value.into())] }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn holds_what_was_committed_after_it_is_opened_again() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = Embedded::open(&path).unwrap();
    assert_eq!(store.commit(put("a", "1")).await.unwrap(), Applied::At(Revision(1)));
    assert_eq!(store.commit(put("b", "2")).await.unwrap(), Applied::At(Revision(2)));
    drop(store);

    let store = Embedded::open(&path).unwrap();
    let (row, now) = store.get(b"a").await.unwrap();
    assert_eq!((row.unwrap().modified, now), (Revision(1), Revision(2)));
    let compacted = store.watch(b"", Revision(2)).await.unwrap_err();
    assert!(matches!(compacted, StoreError::Compacted { oldest: Revision(3) }), "{compacted}");
    let mut watch = store.watch(b"", Revision(3)).await.unwrap();
    assert_eq!(store.commit(put("c", "3")).await.unwrap(), Applied::At(Revision(3)));
    assert_eq!(watch.recv().await.unwrap().unwrap().0, Revision(3));
}

#[test]
fn makes_its_file_and_folder_for_the_owner_alone() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("made/store.redb");
    let _store = Embedded::open(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
}

#[test]
fn a_second_opening_is_refused_while_the_first_lasts() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let first = Embedded::open(&path).unwrap();
    let error = Embedded::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("is in use by another process"), "{error}");
    drop(first);
    Embedded::open(&path).unwrap();
}

/// Every row of the store.
async fn all(store: &Embedded) -> Vec<KeyValue> {
    store.range(b"\0", b"\xff", usize::MAX, None).await.unwrap().0
}

/// Flips bytes of a file that was closed in good order. Whatever is opened must be what was closed.
#[tokio::test]
async fn a_damaged_file_is_an_error_and_never_another_content() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = Embedded::open(&path).unwrap();
    for n in 0..300 {
        store.commit(put(&format!("key/{n:04}"), &format!("{n}").repeat(100))).await.unwrap();
    }
    let content = all(&store).await;
    drop(store);
    let good = std::fs::read(&path).unwrap();

    let (mut refused, mut seed) = (0, 0x2545_f491_4f6c_dd1d_u64);
    for round in 0..150 {
        let mut bytes = good.clone();
        for _ in 0..4 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Every other round within the header and the first pages, where a flip hurts most.
            let bound = if round % 2 == 0 { 320 } else { bytes.len() };
            let at = usize::try_from(seed >> 33).unwrap() % bound;
            bytes[at] ^= 1 << (seed % 8);
        }
        std::fs::write(&path, &bytes).unwrap();
        for attempt in 1..=2 {
            match Embedded::open(&path) {
                Ok(store) => assert_eq!(all(&store).await, content, "round {round}, attempt {attempt}"),
                Err(error) => {
                    refused += 1;
                    assert!(error.to_string().contains("store.redb"), "{error}");
                    let damaged = matches!(error, OpenError::Damaged { .. });
                    assert!(damaged, "round {round}, attempt {attempt}: {error:?}");
                    assert!(error.to_string().contains("put a backup in its place"), "{error}");
                }
            }
        }
    }
    println!("{refused} of 300 openings were refused");
    assert!(refused > 0, "no flip hit anything");
}

const META: redb::TableDefinition<&str, u64> = redb::TableDefinition::new("meta");

#[test]
fn a_newer_format_is_refused_with_a_remedy() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("store.redb");
    drop(Embedded::open(&path).unwrap());
    let database = redb::Database::open(&path).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(META).unwrap().insert("format", 2).unwrap();
    write.commit().unwrap();
    drop(database);

    let error = Embedded::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::NewerFormat { found: 2, known: 1, .. }), "{error}");
    assert!(error.to_string().contains("run the newer program that wrote it"), "{error}");
}

#[test]
fn a_database_of_something_else_is_left_alone() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let database = redb::Database::create(&path).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(redb::TableDefinition::<u64, u64>::new("theirs")).unwrap().insert(1, 2).unwrap();
    write.commit().unwrap();
    drop(database);

    let error = Embedded::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
}

#[test]
fn a_file_of_another_kind_is_an_error_and_left_as_it_was() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("store.redb");
    std::fs::write(&path, "this is not a store\n").unwrap();
    let error = Embedded::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "this is not a store\n");
}

#[test]
fn what_a_cut_off_making_left_behind_is_no_obstacle() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("store.redb");
    std::fs::write(folder.path().join("store.redb.new"), "half of a store").unwrap();
    drop(Embedded::open(&path).unwrap());
    let left: Vec<_> = folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["store.redb"]);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let error = Embedded::open(&folder.path().join("file/store.redb")).unwrap_err();
    assert!(error.to_string().contains("file/store.redb"), "{error}");
}

/// Transactions that are called for one after the other are carried out so, whoever waits for them first.
#[tokio::test]
async fn commits_are_carried_out_in_the_order_of_the_calls() {
    let folder = tempdir().unwrap();
    let store = Embedded::open(&folder.path().join("store.redb")).unwrap();
    let under_way: Vec<_> = (0..200).map(|n| store.commit(put("key", &n.to_string()))).collect();
    let mut revisions = Vec::new();
    for commit in under_way.into_iter().rev() {
        revisions.push(commit.await.unwrap());
    }
    revisions.reverse();
    assert_eq!(revisions, (1..=200).map(|n| Applied::At(Revision(n))).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_full_queue_is_said_to_be_full_and_loses_nothing() {
    let folder = tempdir().unwrap();
    let store = Embedded::open(&folder.path().join("store.redb")).unwrap();
    let under_way: Vec<_> = (0..20_000).map(|n| store.commit(put("key", &n.to_string()))).collect();
    let (mut done, mut busy) = (0, 0);
    for commit in under_way {
        match commit.await {
            Ok(_) => done += 1,
            Err(StoreError::Busy) => busy += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(busy > 0, "20,000 transactions never filled the queue");
    assert_eq!(store.get(b"key").await.unwrap().1, Revision(done));
}

#[test]
fn of_many_that_begin_at_once_one_has_the_store() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("made/store.redb");
    let opened: Vec<_> = std::thread::scope(|scope| {
        let opening: Vec<_> = (0..8).map(|_| scope.spawn(|| Embedded::open(&path))).collect();
        opening.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (open, refused): (Vec<_>, Vec<_>) = opened.into_iter().partition(Result::is_ok);
    assert_eq!(open.len(), 1);
    for error in refused {
        assert!(matches!(error, Err(OpenError::InUse { .. })), "{error:?}");
    }
}

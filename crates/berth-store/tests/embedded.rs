//! What only the embedded store promises: its file, its lock, its versions, and coming back.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use berth_model::Revision;
use berth_store::{Applied, Embedded, OpenError, Operation, Store, StoreError, Transaction};
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

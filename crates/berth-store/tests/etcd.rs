//! The store in real etcds: with members that are killed, that are too slow, too full, or ask who is there.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use berth_model::{Format, Revision};
use berth_store::testkit::{TestEtcd, TestTls};
use berth_store::{
    Applied, Change, Etcd, EtcdOptions, Guard, OpenError, Operation, Server, Store, StoreError, Transaction,
};

fn put(key: &str, value: &str) -> Transaction {
    let operations = vec![Operation::Put(key.into(), value.into())];
    Transaction { guards: Vec::new(), operations }
}

fn guarded(guard: Guard, key: &str, value: &str) -> Transaction {
    Transaction { guards: vec![guard], ..put(key, value) }
}

fn epoch(value: &str) -> Guard {
    Guard::ValueIs("epoch".into(), value.into())
}

/// Opens it, for as long as its members need to elect a leader.
async fn open(options: &EtcdOptions) -> Etcd {
    let mut last = None;
    for _ in 0..100 {
        match Etcd::open(options.clone()).await {
            Ok(store) => return store,
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("etcd did not open: {last:?}");
}

/// Everything that an error has to say.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text += &format!(": {source}");
        next = source.source();
    }
    text
}

#[tokio::test]
async fn transactions_that_wait_with_the_same_guards_share_one_of_etcds() {
    let etcd = TestEtcd::start(1, &[]);
    let store = Etcd::open(etcd.options()).await.unwrap();
    assert_eq!(store.commit(put("epoch", "1")).await.unwrap(), Applied::At(Revision(1)));
    let waiting: Vec<_> = (0..500).map(|n| store.commit(guarded(epoch("1"), &format!("key/{n:03}"), "x"))).collect();
    for commit in waiting {
        assert!(matches!(commit.await.unwrap(), Applied::At(_)));
    }
    let (rows, revision) = store.range(b"key/", b"key0", usize::MAX, None).await.unwrap();
    assert_eq!(rows.len(), 500);
    assert!(revision.0 < 50, "500 transactions took {} revisions", revision.0);

    // What depends on the one before it is not carried out together with it.
    let old = store.commit(guarded(epoch("1"), "a", "1"));
    let change = store.commit(guarded(epoch("1"), "epoch", "2"));
    let late = store.commit(guarded(epoch("1"), "b", "1"));
    let twice = [store.commit(guarded(epoch("2"), "c", "1")), store.commit(guarded(epoch("2"), "c", "2"))];
    let [old, change, late] = [old.await, change.await, late.await].map(Result::unwrap);
    assert!(matches!((old, change), (Applied::At(_), Applied::At(_))));
    assert_eq!(late, Applied::Refused);
    for commit in twice {
        assert!(matches!(commit.await.unwrap(), Applied::At(_)));
    }
    assert_eq!(store.get(b"c").await.unwrap().0.unwrap().value, b"2");
}

#[tokio::test]
async fn clusters_with_different_prefixes_do_not_see_each_other() {
    let etcd = TestEtcd::start(1, &[]);
    let [one, two] = ["one/", "two/"].map(|prefix| EtcdOptions { prefix: prefix.to_owned(), ..etcd.options() });
    let (one, two) = (Etcd::open(one).await.unwrap(), Etcd::open(two).await.unwrap());
    let mut watch = two.watch(b"", Revision(0)).await.unwrap();
    one.commit(put("a", "1")).await.unwrap();
    two.commit(put("b", "2")).await.unwrap();
    let keys = |rows: Vec<berth_store::KeyValue>| rows.into_iter().map(|row| row.key).collect::<Vec<_>>();
    assert_eq!(keys(one.range(b"\0", b"\xff", 9, None).await.unwrap().0), [b"a".to_vec()]);
    assert_eq!(keys(two.range(b"\0", b"\xff", 9, None).await.unwrap().0), [b"b".to_vec()]);
    let (_, changes) = watch.recv().await.unwrap().unwrap();
    assert!(matches!(&changes[..], [Change::Put(row)] if row.key == b"b"), "{changes:?}");
}

#[tokio::test]
async fn a_listing_is_of_one_state_while_others_write() {
    let etcd = TestEtcd::start(1, &[]);
    let store = Etcd::open(etcd.options()).await.unwrap();
    // More than is asked of etcd at once.
    let writes: Vec<_> = (0..700).map(|n| store.commit(put(&format!("key/{n:03}"), "old"))).collect();
    for write in writes {
        write.await.unwrap();
    }
    let (first, at) = store.range(b"key/", b"key0", 100, None).await.unwrap();
    store.commit(put("key/650", "new")).await.unwrap();
    store.commit(put("key/0", "new")).await.unwrap();
    let (rest, then) = store.range(b"key/100", b"key0", usize::MAX, Some(at)).await.unwrap();
    assert_eq!((first.len() + rest.len(), then), (700, at));
    assert!(rest.iter().all(|row| row.value == b"old"));
}

#[tokio::test]
async fn what_was_acknowledged_outlives_the_leader_and_a_watch_goes_on() {
    let mut etcd = TestEtcd::start(3, &[]);
    let options = etcd.options();
    let mut store = open(&options).await;
    // On a connection of its own, as that of another server.
    let watcher = open(&options).await;
    let mut watch = watcher.watch(b"key/", Revision(0)).await.unwrap();
    let (mut acknowledged, mut failed) = (Vec::new(), 0);
    for n in 0..200 {
        if n == 100 {
            etcd.kill(etcd.leader());
        }
        let key = format!("key/{n:03}");
        match store.commit(put(&key, "x")).await {
            Ok(applied) => {
                assert!(matches!(applied, Applied::At(_)));
                acknowledged.push(key.into_bytes());
            }
            // Whether it was carried out is not known. The store is opened anew, as a server does.
            Err(StoreError::Engine { .. } | StoreError::Closed) => {
                failed += 1;
                store = open(&options).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(failed < 20, "{failed} commits failed");
    let (rows, _) = store.range(b"key/", b"key0", usize::MAX, None).await.unwrap();
    let stored: Vec<Vec<u8>> = rows.into_iter().map(|row| row.key).collect();
    assert!(acknowledged.iter().all(|key| stored.contains(key)));
    let mut seen = Vec::new();
    while seen.len() < stored.len() {
        let (_, changes) = watch.recv().await.unwrap().unwrap();
        seen.extend(changes.iter().map(|change| change.key().to_vec()));
    }
    assert_eq!(seen, stored, "each once, in order, without a gap");
}

#[tokio::test]
async fn without_a_majority_commits_fail_in_time_and_what_comes_after_is_refused() {
    let mut etcd = TestEtcd::start(3, &[]);
    let store = open(&etcd.options()).await;
    store.commit(put("a", "1")).await.unwrap();
    let leader = etcd.leader();
    for member in (0..3).filter(|member| *member != leader) {
        etcd.freeze(member, true);
    }
    let commits = [store.commit(put("b", "1")), store.commit(put("c", "1"))];
    for commit in commits {
        let error = commit.await.unwrap_err();
        assert!(matches!(error, StoreError::Engine { .. } | StoreError::Closed), "{error}");
    }
    assert!(matches!(store.commit(put("d", "1")).await, Err(StoreError::Closed)));
    for member in (0..3).filter(|member| *member != leader) {
        etcd.freeze(member, false);
    }
    let store = open(&etcd.options()).await;
    assert!(matches!(store.commit(put("d", "1")).await, Ok(Applied::At(_))));
    etcd.kill(leader);
}

#[tokio::test]
async fn a_transaction_that_writes_nothing_needs_a_majority_too() {
    let mut etcd = TestEtcd::start(3, &[]);
    let leader = etcd.leader();
    // Whatever the others know: it asks the one that can answer by itself.
    let alone = EtcdOptions { endpoints: vec![etcd.endpoints()[leader].clone()], ..etcd.options() };
    let store = open(&alone).await;
    store.commit(put("epoch", "1")).await.unwrap();
    let proof = || Transaction { guards: vec![epoch("1")], operations: Vec::new() };
    assert_eq!(store.commit(proof()).await.unwrap(), Applied::At(store.get(b"epoch").await.unwrap().1));
    for member in (0..3).filter(|member| *member != leader) {
        etcd.freeze(member, true);
    }
    // The leader alone has the key as it was written; that it still leads it cannot know.
    assert!(store.commit(proof()).await.is_err());
    for member in (0..3).filter(|member| *member != leader) {
        etcd.freeze(member, false);
    }
    etcd.kill(leader);
}

#[tokio::test]
async fn a_full_etcd_says_so_and_takes_writes_again_when_room_was_made() {
    let etcd = TestEtcd::start(1, &["--quota-backend-bytes=16777216"]);
    let store = Etcd::open(etcd.options()).await.unwrap();
    let large = "x".repeat(1 << 20);
    let error = loop {
        match store.commit(put("one key", &large)).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(chain(&error).contains("etcd has used up its space"), "{}", chain(&error));
    // It was all history: opening the store makes room.
    let store = Etcd::open(etcd.options()).await.unwrap();
    store.commit(put("two", "x")).await.unwrap();
    assert_eq!(store.get(b"one key").await.unwrap().0.unwrap().value.len(), large.len());

    // And now it is not, for all that can be made.
    let (mut store, mut n) = (store, 0);
    let error = loop {
        while store.commit(put(&format!("key/{n}"), &large)).await.is_ok() {
            n += 1;
        }
        match Etcd::open(etcd.options()).await {
            Ok(opened) => store = opened,
            Err(error) => break error,
        }
    };
    assert!(chain(&error).contains("Raise its --quota-backend-bytes"), "{}", chain(&error));
}

#[tokio::test]
async fn a_watch_of_what_etcd_has_compacted_is_told_so() {
    let etcd = TestEtcd::start(1, &[]);
    let store = Etcd::open(etcd.options()).await.unwrap();
    for _ in 0..20 {
        store.commit(put("a", "x")).await.unwrap();
    }
    let endpoint = &etcd.endpoints()[0];
    let done =
        Command::new("etcdctl").args(["--endpoints", endpoint, "compact", "15"]).env("ETCDCTL_API", "3").output();
    assert!(done.unwrap().status.success());
    let mut watch = store.watch(b"a", Revision(3)).await.unwrap();
    let told = watch.recv().await.unwrap();
    assert!(matches!(told, Err(StoreError::Compacted { oldest }) if oldest > Revision(3)), "{told:?}");
    assert!(watch.recv().await.is_none());
    let past = store.range(b"a", b"b", 9, Some(Revision(3))).await;
    assert!(matches!(past, Err(StoreError::Compacted { .. })), "{past:?}");
}

#[tokio::test]
async fn an_etcd_that_is_not_there_is_named() {
    let mut etcd = TestEtcd::start(1, &[]);
    etcd.kill(0);
    let error = Etcd::open(etcd.options()).await.unwrap_err();
    assert!(matches!(error, OpenError::Etcd { .. }));
    assert!(chain(&error).contains(&etcd.endpoints()[0]), "{}", chain(&error));
    assert!(error.source().is_some());
    let wrong = EtcdOptions { ca: Some(PathBuf::from("/nowhere/ca.pem")), ..etcd.options() };
    let error = Etcd::open(wrong).await.unwrap_err();
    assert!(chain(&error).contains("cannot read /nowhere/ca.pem"), "{}", chain(&error));
}

#[tokio::test]
async fn with_certificates_both_sides_show_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let (tls, client) = certificates(folder.path());
    let etcd = TestEtcd::start_with(1, &[], Some(&tls));
    let options = EtcdOptions { ca: Some(tls.ca.clone()), identity: Some(client), ..etcd.options() };
    let store = open(&options).await;
    store.commit(put("a", "1")).await.unwrap();
    assert_eq!(store.get(b"a").await.unwrap().0.unwrap().value, b"1");
    let nobody = EtcdOptions { identity: None, ..options };
    assert!(Etcd::open(nobody).await.is_err());
}

/// A certificate authority, the members' certificate, and that of a client with its key.
fn certificates(folder: &Path) -> (TestTls, (PathBuf, PathBuf)) {
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_pem = params.self_signed(&ca_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(params, ca_key);
    let issue = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned(), name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        (write(&format!("{name}.pem"), certificate.pem()), write(&format!("{name}.key"), key.serialize_pem()))
    };
    let (certificate, key) = issue("member");
    let client = issue("client");
    (TestTls { ca: write("ca.pem", ca_pem), certificate, key }, client)
}

#[tokio::test]
async fn where_users_are_asked_for_the_password_comes_from_a_file() {
    let etcd = TestEtcd::start(1, &[]);
    let endpoint = etcd.endpoints()[0].clone();
    let ctl = |args: &[&str]| {
        let done = Command::new("etcdctl").args(["--endpoints", &endpoint]).args(args).env("ETCDCTL_API", "3").output();
        assert!(done.unwrap().status.success(), "etcdctl {args:?}");
    };
    ctl(&["user", "add", "root:open sesame"]);
    ctl(&["user", "grant-role", "root", "root"]);
    ctl(&["auth", "enable"]);
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "open sesame\n").unwrap();
    let options = EtcdOptions { user: Some(("root".to_owned(), password.clone())), ..etcd.options() };
    let store = Etcd::open(options.clone()).await.unwrap();
    store.commit(put("a", "1")).await.unwrap();
    assert_eq!(store.get(b"a").await.unwrap().0.unwrap().value, b"1");
    std::fs::write(&password, "wrong").unwrap();
    let told = chain(&Etcd::open(options).await.unwrap_err());
    assert!(told.contains("sign in") && !told.contains("wrong\""), "{told}");
    let told = chain(&Etcd::open(etcd.options()).await.unwrap_err());
    assert!(told.contains("user name is empty"), "{told}");
}

#[tokio::test]
async fn one_leads_and_another_follows_when_it_resigns_is_evicted_or_falls_silent() {
    let etcd = TestEtcd::start(1, &[]);
    let [one, two] = [open(&etcd.options()).await, open(&etcd.options()).await];
    let mut leaders = two.leaders().await.unwrap();
    let address = |leaders: &tokio::sync::watch::Receiver<Option<berth_store::Leader>>| {
        leaders.borrow().as_ref().map(|leader| leader.address.clone())
    };
    let mandate = one.campaign("http://one").await.unwrap();
    leaders.wait_for(Option::is_some).await.unwrap();
    assert_eq!(address(&leaders).as_deref(), Some("http://one"));
    // It goes on leading for longer than a lease lasts without signs of life.
    let too_early = tokio::time::timeout(Duration::from_secs(7), two.campaign("http://two")).await;
    assert!(too_early.is_err(), "two lead at once");
    drop(mandate);
    let mut mandate = two.campaign("http://two").await.unwrap();
    leaders.wait_for(|leader| leader.as_ref().is_some_and(|leader| leader.address == "http://two")).await.unwrap();
    let leader = leaders.borrow().clone().unwrap();
    one.evict(&leader).await;
    mandate.lost().await;
    let _mandate = one.campaign("http://one").await.unwrap();
    // The election's key is no record.
    assert!(one.range(b"\0", b"\xff", 9, None).await.unwrap().0.is_empty());
}

#[tokio::test]
async fn rows_that_are_too_large_together_are_listed_in_smaller_pages() {
    let etcd = TestEtcd::start(1, &[]);
    let store = Etcd::open(etcd.options()).await.unwrap();
    let large = "x".repeat(1_000_000);
    for n in 0..140 {
        store.commit(put(&format!("key/{n:03}"), &large)).await.unwrap();
    }
    let small: Vec<_> = (140..600).map(|n| store.commit(put(&format!("key/{n:03}"), "x"))).collect();
    for commit in small {
        commit.await.unwrap();
    }
    let (rows, _) = store.range(b"key/", b"key0", usize::MAX, None).await.unwrap();
    assert_eq!(rows.len(), 600);
    assert!(rows.windows(2).all(|pair| pair[0].key < pair[1].key));
}

#[tokio::test]
async fn a_watcher_that_is_slow_is_told_everything() {
    let etcd = TestEtcd::start(1, &[]);
    let store = Etcd::open(etcd.options()).await.unwrap();
    let mut watch = store.watch(b"a", Revision(0)).await.unwrap();
    for _ in 0..1_000 {
        store.commit(put("a", "x")).await.unwrap();
    }
    for revision in 1..=1_000 {
        assert_eq!(watch.recv().await.unwrap().unwrap().0, Revision(revision));
    }
}

#[tokio::test]
async fn servers_know_of_each_other_for_as_long_as_they_live() {
    let etcd = TestEtcd::start(1, &[]);
    let [one, two] = [open(&etcd.options()).await, open(&etcd.options()).await];
    let server = |address: &str, newest| Server { address: address.to_owned(), newest: Format(newest) };
    let (tell, mut told) = tokio::sync::watch::channel(Vec::new());
    let (first, second) = (server("http://one", 3), server("http://two", 2));
    one.meet(first.clone(), tell).await.unwrap();
    two.meet(second.clone(), tokio::sync::watch::Sender::default()).await.unwrap();
    told.wait_for(|told| *told == [first.clone(), second.clone()]).await.unwrap();
    // The next life of it under the same address.
    let again = server("http://two", 3);
    let three = open(&etcd.options()).await;
    three.meet(again.clone(), tokio::sync::watch::Sender::default()).await.unwrap();
    drop(two);
    told.wait_for(|told| *told == [first.clone(), again.clone()]).await.unwrap();
    // For longer than a lease lasts without signs of life.
    let gone = tokio::time::timeout(Duration::from_secs(7), told.wait_for(|told| told.len() < 2)).await.is_ok();
    assert!(!gone, "one that lives is told to be gone");
    drop(three);
    told.wait_for(|told| *told == [first.clone()]).await.unwrap();
    assert!(one.range(b"\0", b"\xff", 9, None).await.unwrap().0.is_empty(), "no records");
}

#[tokio::test]
async fn servers_go_on_knowing_of_each_other_whichever_member_is_gone() {
    let mut etcd = TestEtcd::start(3, &[]);
    let [one, two] = [open(&etcd.options()).await, open(&etcd.options()).await];
    let server = |address: &str| Server { address: address.to_owned(), newest: Format(3) };
    let both = [server("http://one"), server("http://two")];
    let (tell, mut told) = tokio::sync::watch::channel(Vec::new());
    one.meet(both[0].clone(), tell).await.unwrap();
    two.meet(both[1].clone(), tokio::sync::watch::Sender::default()).await.unwrap();
    for member in 0..3 {
        told.wait_for(|told| *told == both).await.unwrap();
        etcd.kill(member);
        // For longer than a lease lasts: while nothing is known nobody is told of, but nobody is missed.
        let missed = told.wait_for(|told| !told.is_empty() && *told != both);
        assert!(tokio::time::timeout(Duration::from_secs(9), missed).await.is_err(), "one that lives is missed");
        told.wait_for(|told| *told == both).await.unwrap();
        etcd.restart(member);
    }
}

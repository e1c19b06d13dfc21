//! A server whose state is in an etcd.

use berth_api::client::{AllocFilter, Client, new_key};
use berth_api::wire::v1::{CommandOutcome, ErrorKind};
use berth_server::{Direction, ServerError, StoreKind, move_state, run};
use berth_store::testkit::TestEtcd;
use berth_store::{Etcd, Operation, Store as _, Transaction};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, SOON, web};

#[tokio::test]
async fn what_it_acknowledged_outlives_its_machine() {
    let etcd = TestEtcd::start(1, &[]);
    let cluster = Cluster::start(StoreKind::Etcd(etcd.options())).await;
    let key = new_key();
    let told = cluster.client.run_job(&web(2), &key).await.unwrap();
    let epoch = cluster.client.status().await.unwrap().epoch;
    drop(cluster.stop().await);

    let cluster = Cluster::start(StoreKind::Etcd(etcd.options())).await;
    assert!(cluster.client.status().await.unwrap().epoch > epoch);
    assert_eq!(cluster.client.run_job(&web(2), &key).await.unwrap(), told);
    assert_eq!(cluster.client.allocs(&AllocFilter::default()).await.unwrap().len(), 2);
    cluster.stop().await;
}

/// Runs a job, as a client does that repeats what was not answered.
async fn run_until_it_is_taken(client: &Client, count: u32) -> CommandOutcome {
    let (key, end) = (new_key(), Instant::now() + SOON);
    loop {
        match client.run_job(&web(count), &key).await {
            Ok(outcome) => return outcome,
            Err(error) => {
                let told = error.refusal().unwrap_or_else(|| panic!("{error}"));
                assert_eq!(told.kind, ErrorKind::Unavailable, "{told}");
            }
        }
        assert!(Instant::now() < end, "not taken within {SOON:?}");
    }
}

#[tokio::test]
async fn while_etcd_is_away_commands_are_refused_and_reads_answered_and_then_all_goes_on() {
    let mut etcd = TestEtcd::start(1, &[]);
    let cluster = Cluster::start(StoreKind::Etcd(etcd.options())).await;
    run_until_it_is_taken(&cluster.client, 1).await;
    etcd.kill(0);
    let refused = cluster.client.run_job(&web(2), &new_key()).await.unwrap_err();
    assert_eq!(refused.refusal().unwrap().kind, ErrorKind::Unavailable, "{refused}");
    assert_eq!(cluster.client.allocs(&AllocFilter::default()).await.unwrap().len(), 1);
    let status = cluster.client.status().await.unwrap();
    assert_eq!((status.leader, status.jobs_active), (None, 1));
    etcd.restart(0);
    run_until_it_is_taken(&cluster.client, 3).await;
    assert_eq!(cluster.client.allocs(&AllocFilter::default()).await.unwrap().len(), 3);
    cluster.stop().await;
}

#[tokio::test]
async fn the_state_moves_from_the_folder_to_etcd_and_back() {
    let etcd = TestEtcd::start(1, &[]);
    let in_etcd = StoreKind::Etcd(etcd.options());
    let cluster = Cluster::start(StoreKind::Embedded).await;
    let key = new_key();
    let told = cluster.client.run_job(&web(2), &key).await.unwrap();
    let data = |dir: &tempfile::TempDir| dir.path().join("data");
    let busy = move_state(&data(&cluster.dir), etcd.options(), Direction::ToEtcd, |_| {}).await.unwrap_err();
    assert!(matches!(busy, ServerError::Open(_)), "{busy}");
    let mut epoch = cluster.client.status().await.unwrap().epoch;
    let mut dir = cluster.stop().await;
    for direction in [Direction::ToEtcd, Direction::ToFile, Direction::ToEtcd] {
        assert!(move_state(&data(&dir), etcd.options(), direction, |_| {}).await.unwrap() > 5);
        // Where it was there is nothing that a server would begin with, or that could be moved once more.
        let again = move_state(&data(&dir), etcd.options(), direction, |_| {}).await.unwrap_err();
        assert!(matches!(again, ServerError::HasState), "{again}");
        let (now, before) = match direction {
            Direction::ToEtcd => (in_etcd.clone(), StoreKind::Embedded),
            Direction::ToFile => (StoreKind::Embedded, in_etcd.clone()),
        };
        let (told_ready, _) = tokio::sync::oneshot::channel();
        let refused = run(Cluster::config(&dir, before), told_ready, CancellationToken::new()).await.unwrap_err();
        assert!(matches!(refused, ServerError::Load(_)), "{refused}");
        let cluster = Cluster::start_in(dir, now).await;
        assert_eq!(cluster.client.run_job(&web(2), &key).await.unwrap(), told, "it knows what it was told");
        let later = cluster.client.status().await.unwrap().epoch;
        assert!(later > epoch, "agents would not obey it");
        epoch = later;
        dir = cluster.stop().await;
    }
}

#[tokio::test]
async fn a_move_that_was_cut_short_is_begun_anew_and_one_under_a_leader_refused() {
    let etcd = TestEtcd::start(1, &[]);
    let store = Etcd::open(etcd.options()).await.unwrap();
    let left = vec![Operation::Put(b"alloc/00000001-0000000000000001".to_vec(), b"half".to_vec())];
    store.commit(Transaction { guards: Vec::new(), operations: left }).await.unwrap();
    let cluster = Cluster::start(StoreKind::Embedded).await;
    cluster.client.run_job(&web(2), &new_key()).await.unwrap();
    let dir = cluster.stop().await;
    let in_etcd = StoreKind::Etcd(etcd.options());
    move_state(&dir.path().join("data"), etcd.options(), Direction::ToEtcd, |_| {}).await.unwrap();
    let cluster = Cluster::start_in(dir, in_etcd).await;
    assert_eq!(cluster.client.allocs(&AllocFilter::default()).await.unwrap().len(), 2);
    let other = tempfile::tempdir().unwrap();
    let led = move_state(&other.path().join("data"), etcd.options(), Direction::ToFile, |_| {}).await.unwrap_err();
    assert!(led.to_string().contains(&cluster.url("")), "{led}");
    cluster.stop().await;
}

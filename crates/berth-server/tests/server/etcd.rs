//! A server whose state is in an etcd.

use berth_api::client::{AllocFilter, Client, new_key};
use berth_api::wire::v1::{CommandOutcome, ErrorKind};
use berth_server::StoreKind;
use berth_store::testkit::TestEtcd;
use tokio::time::Instant;

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
    etcd.restart(0);
    run_until_it_is_taken(&cluster.client, 3).await;
    assert_eq!(cluster.client.allocs(&AllocFilter::default()).await.unwrap().len(), 3);
    cluster.stop().await;
}

//! Several servers on one etcd: one leads, all answer, and another takes over.

use std::collections::BTreeSet;

use berth_api::client::{AgentStream, AllocFilter, Client, ClientError, Target, new_key};
use berth_api::wire::v1::{CommandOutcome, ErrorKind, Status};
use berth_model::{Format, testkit};
use berth_record::{META_KEY, NEWEST};
use berth_server::StoreKind;
use berth_store::testkit::TestEtcd;
use berth_store::{Etcd, Operation, Server, Store as _, Transaction};
use tokio::time::Instant;

use crate::cluster::{Cluster, SOON, web};

/// So many servers with the same token.
async fn servers(etcd: &TestEtcd, count: usize) -> Vec<Cluster> {
    let mut servers = Vec::new();
    for _ in 0..count {
        servers.push(server(etcd).await);
    }
    servers
}

async fn server(etcd: &TestEtcd) -> Cluster {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("data")).unwrap();
    std::fs::write(dir.path().join("data/token"), "a token for all of them\n".replace(' ', "-")).unwrap();
    Cluster::start_in(dir, StoreKind::Etcd(etcd.options())).await
}

/// The one of the servers that leads, once all agree.
async fn leader(servers: &[Cluster]) -> usize {
    let end = Instant::now() + SOON;
    loop {
        let mut told = BTreeSet::new();
        let mut here = None;
        for (at, server) in servers.iter().enumerate() {
            let answer = server.client.leader().await.unwrap();
            told.insert(answer.leader);
            if answer.here {
                here = Some(at);
            }
        }
        if let (1, Some(here)) = (told.len(), here)
            && told == BTreeSet::from([Some(servers[here].url(""))])
        {
            return here;
        }
        assert!(Instant::now() < end, "no leader within {SOON:?}: {told:?}");
        // Only the pace of asking.
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn every_server_takes_commands_and_shows_what_they_did() {
    let etcd = TestEtcd::start(1, &[]);
    let servers = servers(&etcd, 3).await;
    let leads = leader(&servers).await;
    for (at, server) in servers.iter().enumerate() {
        // What was done through a server is seen there at once.
        let count = u32::try_from(at).unwrap() + 1;
        server.client.run_job(&web(count), &new_key()).await.unwrap();
        let allocs = server.client.allocs(&AllocFilter::default()).await.unwrap();
        assert_eq!(allocs.len(), usize::try_from(count).unwrap());
    }
    for server in &servers {
        assert_eq!(server.client.status().await.unwrap().leader, Some(servers[leads].url("")));
        let why = server.client.why_job(&web(1).id).await.unwrap();
        assert!(!why.changed_by.is_empty());
    }
    // A wrong command is refused with the leader's words.
    let follower = &servers[(leads + 1) % 3];
    let missing = follower
        .client
        .stop_job(&berth_model::JobId { name: "nothing".parse().unwrap(), ..web(1).id }, &new_key())
        .await
        .unwrap_err();
    assert_eq!(missing.refusal().unwrap().kind, ErrorKind::NotFound);
    for server in servers {
        server.stop().await;
    }
}

#[tokio::test]
async fn when_the_leader_goes_another_takes_over_with_everything_and_repeats_nothing() {
    let etcd = TestEtcd::start(1, &[]);
    let mut servers = servers(&etcd, 3).await;
    let addresses: Vec<String> = servers.iter().map(|server| server.url("")).collect();
    let target = Target::new(&addresses.join(","), &servers[0].ready.token).unwrap();
    let client = Client::new(target).unwrap();
    let mut agreed = Vec::new();
    for round in 1..=2 {
        let leads = leader(&servers).await;
        let key = new_key();
        let told = client.run_job(&web(round), &key).await.unwrap();
        agreed.push((round, key, told));
        let epoch = client.status().await.unwrap().epoch;
        servers.remove(leads).stop().await;
        leader(&servers).await;
        assert!(client.status().await.unwrap().epoch > epoch);
        for (count, key, told) in &agreed {
            assert_eq!(client.run_job(&web(*count), key).await.unwrap(), *told, "done once");
        }
    }
    assert_eq!(client.allocs(&AllocFilter::default()).await.unwrap().len(), 2);
    for server in servers {
        server.stop().await;
    }
}

#[tokio::test]
async fn an_agent_is_told_where_the_leader_is() {
    let etcd = TestEtcd::start(1, &[]);
    let servers = servers(&etcd, 2).await;
    let leads = leader(&servers).await;
    let follower = &servers[1 - leads];
    let hello = testkit::machine("a").hello();
    let refused = AgentStream::connect(follower.client.target(), hello).await.unwrap_err();
    assert!(matches!(refused, ClientError::Refused { .. }), "{refused:?}");
    assert_eq!(refused.leader(), Some(servers[leads].url("").as_str()));
    // What its stream brings is shown everywhere.
    let _agent = servers[leads].agent("a").await;
    let end = Instant::now() + SOON;
    while follower.client.nodes().await.unwrap().is_empty() {
        assert!(Instant::now() < end, "no node within {SOON:?}");
    }
    for server in servers {
        server.stop().await;
    }
}

#[tokio::test]
async fn a_server_that_takes_over_has_what_a_new_one_would_load() {
    let etcd = TestEtcd::start(1, &[]);
    let mut servers = servers(&etcd, 2).await;
    let leads = leader(&servers).await;
    servers[leads].client.run_job(&web(3), &new_key()).await.unwrap();
    let stopped = servers[leads].client.run_job(&web(2), &new_key()).await.unwrap();
    servers.remove(leads).stop().await;
    leader(&servers).await;
    let fresh = server(&etcd).await;
    let all = |server: &Cluster| {
        let client = server.client.clone();
        async move {
            let events = client.events(&berth_api::client::EventFilter::default()).await.unwrap();
            (client.allocs(&AllocFilter::default()).await.unwrap(), client.jobs(None).await.unwrap(), events.items)
        }
    };
    assert_eq!(all(&fresh).await, all(&servers[0]).await, "{stopped:?}");
    servers.push(fresh);
    for server in servers {
        server.stop().await;
    }
}

#[tokio::test]
async fn servers_are_told_of_while_they_are_there_and_nothing_new_is_finalised() {
    let etcd = TestEtcd::start(1, &[]);
    let servers = servers(&etcd, 2).await;
    leader(&servers).await;
    let addresses: BTreeSet<String> = servers.iter().map(|server| server.url("")).collect();
    let told = |status: &Status| status.servers.iter().map(|server| server.address.clone()).collect::<BTreeSet<_>>();
    let client = &servers[0].client;
    until(async || told(&client.status().await.unwrap()) == addresses).await;
    let other = Etcd::open(etcd.options()).await.unwrap();
    let server = Server { address: "http://other".to_owned(), newest: Format(1) };
    other.meet(server, tokio::sync::watch::Sender::default()).await.unwrap();
    for server in &servers {
        until(async || told(&server.client.status().await.unwrap()).contains("http://other")).await;
    }
    drop(other);
    until(async || told(&client.status().await.unwrap()) == addresses).await;
    // A new store has the newest format from the first, and a command without effect leaves nothing behind.
    let before = client.status().await.unwrap();
    let outcome = client.finalise(&new_key()).await.unwrap();
    assert_eq!(outcome, CommandOutcome::Finalised { format: before.format, changed: false });
    assert_eq!(client.status().await.unwrap().events, before.events);
}

#[tokio::test]
async fn one_that_follows_gives_up_when_a_newer_release_has_finalised() {
    let etcd = TestEtcd::start(1, &[]);
    let mut servers = servers(&etcd, 2).await;
    let follower = servers.remove(1 - leader(&servers).await);
    let store = Etcd::open(etcd.options()).await.unwrap();
    let (row, _) = store.get(META_KEY).await.unwrap();
    let newer = Format(NEWEST.0 + 1);
    let value = String::from_utf8(row.unwrap().value).unwrap();
    let value = value.replacen(&format!("\"v\":{NEWEST}"), &format!("\"v\":{newer}"), 1);
    let operations = vec![Operation::Put(META_KEY.to_vec(), value.into_bytes())];
    store.commit(Transaction { guards: Vec::new(), operations }).await.unwrap();
    let told = follower.gives_up().await;
    let why = std::error::Error::source(&told).unwrap().to_string();
    assert!(why.contains(&format!("has version {newer}")) && why.contains("run the newer program"), "{told}: {why}");
}

/// Waits until it is so.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !is_so().await {
        assert!(Instant::now() < end, "not so within {SOON:?}");
        tokio::task::yield_now().await;
    }
}

//! Several servers on an etcd of three members: whichever is killed, what was acknowledged is there, once, another one
//! leads soon, and tasks notice nothing.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::{Duration, Instant};

use berth_api::client::{AllocFilter, Client, new_key};
use berth_api::jobfile;
use berth_api::wire::v1::{AllocState, Number};
use berth_store::testkit::TestEtcd;
use support::servers::Servers;
use support::writers::Writers;
use support::{processes_with, root};

/// How often the leader is killed under load; `BERTH_KILLS` says otherwise.
const KILLS: usize = 8;
/// What nobody else on this machine sleeps for.
const WORK: &str = "100521";

fn kills() -> usize {
    std::env::var("BERTH_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS)
}

/// Kills whoever leads, and tells how long no command was acknowledged.
async fn kill_leader(servers: &mut Servers, writers: &mut Writers, and_then: impl FnOnce()) -> Duration {
    let leads = servers.leader().await;
    for _ in 0..10 {
        writers.acknowledged().await;
    }
    servers.kill(leads);
    and_then();
    let killed = Instant::now();
    writers.forget();
    writers.acknowledged().await;
    let gap = killed.elapsed();
    servers.run(leads);
    gap
}

#[test]
fn kills_of_the_leader_lose_nothing_and_do_nothing_twice() {
    let run = async {
        let mut etcd = TestEtcd::start(3, &[]);
        let mut servers = Servers::start(&etcd, 3);
        servers.leader().await;
        let mut writers = Writers::start(&servers.client(), 4);
        let mut gaps = Vec::new();
        for _ in 0..kills() {
            gaps.push(kill_leader(&mut servers, &mut writers, || {}).await);
        }
        gaps.sort_unstable();
        let etcds = etcd.leader();
        let with_etcd = kill_leader(&mut servers, &mut writers, || etcd.kill(etcds)).await;
        etcd.restart(etcds);
        writers.check().await;
        eprintln!("no command acknowledged for: {gaps:?}; when etcd's leader went too: {with_etcd:?}");
    };
    tokio::runtime::Runtime::new().unwrap().block_on(run);
}

#[test]
fn a_leader_that_was_frozen_writes_nothing_when_it_goes_on() {
    let run = async {
        let etcd = TestEtcd::start(1, &[]);
        let mut servers = Servers::start(&etcd, 3);
        let first = servers.leader().await;
        let mut writers = Writers::start(&servers.client(), 4);
        let mut gaps = Vec::new();
        for _ in 0..2 {
            let leads = servers.leader().await;
            writers.acknowledged().await;
            servers.freeze(leads, true);
            let frozen = Instant::now();
            writers.forget();
            writers.acknowledged().await;
            gaps.push(frozen.elapsed());
            // In the middle of the next one's reign, with whatever it was about to write.
            servers.freeze(leads, false);
            for _ in 0..50 {
                writers.acknowledged().await;
            }
        }
        servers.kill(first);
        writers.check().await;
        eprintln!("no command acknowledged for {gaps:?} after a freeze");
    };
    tokio::runtime::Runtime::new().unwrap().block_on(run);
}

/// Waits until the one allocation of a job is ready, and gives how often its task was started again.
async fn restarts(client: &Client) -> Number {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let allocs = client.allocs(&AllocFilter::default()).await.unwrap_or_default();
        if let Some(alloc) =
            allocs.iter().find(|alloc| matches!(alloc.state, AllocState::Running { ready: Some(_), .. }))
        {
            assert_eq!(allocs.len(), 1, "{allocs:#?}");
            return Number(u64::from(alloc.tasks.values().next().unwrap().restarts));
        }
        assert!(Instant::now() < deadline, "not ready: {allocs:#?}");
        tokio::task::yield_now().await;
    }
}

#[test]
fn tasks_notice_nothing_of_their_servers_deaths() {
    if !root() {
        return;
    }
    let run = async {
        let etcd = TestEtcd::start(1, &[]);
        let mut servers = Servers::start(&etcd, 2);
        servers.start_agent();
        let client = servers.client();
        let text = format!(
            "job: work\nkind: service\ngroups:\n  - name: main\n    update: {{min_ready: 100ms}}\n    tasks:\n      - \
             {{name: sleeper, driver: exec, command: [/bin/sleep, '{WORK}'], kill: {{timeout: 100ms}}}}\n"
        );
        client.run_job(&jobfile::parse("work.yaml", &text).unwrap(), &new_key()).await.unwrap();
        assert_eq!(restarts(&client).await, Number(0));
        let pids = processes_with(&["sleep", WORK]);
        for _ in 0..3 {
            let leads = servers.leader().await;
            servers.kill(leads);
            servers.leader().await;
            servers.run(leads);
            assert_eq!(restarts(&client).await, Number(0));
            // The agent has found the new leader.
            let deadline = Instant::now() + Duration::from_secs(60);
            while client.status().await.is_ok_and(|status| status.agents_connected == 0) {
                assert!(Instant::now() < deadline, "no agent");
            }
            assert_eq!(processes_with(&["sleep", WORK]), pids);
        }
        servers.stop("work");
        assert!(processes_with(&["sleep", WORK]).is_empty());
    };
    tokio::runtime::Runtime::new().unwrap().block_on(run);
}

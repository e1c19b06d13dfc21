//! From a command to running work, and what users see of it.

use std::time::Duration;

use berth_api::client::{AllocFilter, ClientError, EventFilter, FromServer, LogNews, Tunnel, new_key};
use berth_api::wire::v1 as wire;
use berth_model::{AllocId, Goal};
use berth_server::StoreKind;

use crate::cluster::{Agent, Cluster, job, until, web};

/// A cluster of one node with a running service of one allocation.
async fn running() -> (Cluster, Agent, AllocId) {
    let cluster = Cluster::start(StoreKind::Memory).await;
    let mut agent = cluster.agent("n").await;
    cluster.client.run_job(&web(1), &new_key()).await.unwrap();
    let desired = agent.desired(|desired| desired.allocs.len() == 1).await;
    agent.all_run(&desired).await;
    let alloc = desired.allocs[0].id;
    let show = || async { cluster.client.alloc(alloc).await.unwrap() };
    until(show, |alloc| matches!(alloc.state, wire::AllocState::Running { .. })).await;
    (cluster, agent, alloc)
}

#[tokio::test]
async fn a_job_runs_is_shown_explained_and_stopped() {
    let (cluster, mut agent, id) = running().await;
    let client = &cluster.client;
    let spec = web(1);

    let job = client.job(&spec.id).await.unwrap();
    assert_eq!(job.summary.groups[0].allocs.running, 1);
    assert_eq!(berth_api::jobfile::from_json(&job.spec).unwrap(), spec);
    let alloc = client.alloc(id).await.unwrap();
    let placement = alloc.state.placement().unwrap();
    assert_eq!(placement.node.name.as_ref().unwrap().to_string(), "n");
    assert_eq!(placement.explanation.considered, 1);
    assert_eq!(client.allocs(&AllocFilter { node: Some("n".into()), ..Default::default() }).await.unwrap().len(), 1);
    let node = client.node("n").await.unwrap();
    assert_eq!((node.allocs, client.nodes().await.unwrap().len()), (1, 1));
    assert!(node.used.cpu_millis.0 > 0);
    let status = client.status().await.unwrap();
    assert_eq!((status.nodes_ready, status.agents_connected, status.allocs.running), (1, 1, 1));

    let why = client.why_alloc(id).await.unwrap();
    let command = why.made_by.last().unwrap().command.as_ref().expect("the chain ends at the command");
    assert_eq!(command.principal, "operator");
    let told: Vec<String> = why.history.iter().map(|event| event.what.to_string()).collect();
    assert!(told.iter().any(|line| line.contains(&format!("{id} of default/web was placed on n"))), "{told:#?}");

    client.stop_job(&spec.id, &new_key()).await.unwrap();
    let stopping = agent.desired(|desired| desired.allocs.iter().all(|alloc| alloc.goal == Goal::Stop)).await;
    assert_eq!(stopping.allocs[0].id, id);
    agent.report(Vec::new()).await;
    let show = || async { client.alloc(id).await.unwrap() };
    let ended = until(show, |alloc| alloc.state.word() == "stopped").await;
    assert!(matches!(ended.state, wire::AllocState::Ended { outcome: wire::Outcome::Stopped, .. }));
    cluster.stop().await;
}

#[tokio::test]
async fn what_has_failed_names_what_follows_it() {
    let (cluster, mut agent, id) = running().await;
    let client = &cluster.client;
    assert_eq!(client.alloc(id).await.unwrap().followed_by, None);

    agent.report(Vec::new()).await;
    let failed = until(|| async { client.alloc(id).await.unwrap() }, |alloc| alloc.followed_by.is_some()).await;
    assert_eq!(failed.state.word(), "failed");
    let next = failed.followed_by.unwrap().id;
    assert!(next.0 > id);
    assert_eq!(client.why_alloc(id).await.unwrap().alloc.followed_by.unwrap().id, next);

    // When its back-off is over, it is simply there.
    agent.desired(|desired| desired.allocs.iter().any(|alloc| alloc.id == next.0)).await;
    let listed = client.allocs(&AllocFilter { node: Some("n".into()), ..Default::default() }).await.unwrap();
    let told = listed.iter().find(|alloc| alloc.id.0 == id).unwrap().followed_by.clone().unwrap();
    assert_eq!(told.to_string(), format!("{next} took its place"));
    let waiting = wire::Successor { id: next, due: Some(failed.created) };
    assert!(waiting.to_string().ends_with("when its back-off ends"), "{waiting}");
    cluster.stop().await;
}

#[tokio::test]
async fn a_repeated_command_is_answered_and_not_done_again() {
    let cluster = Cluster::start(StoreKind::Memory).await;
    let key = new_key();
    let first = cluster.client.run_job(&web(1), &key).await.unwrap();
    let again = cluster.client.run_job(&web(1), &key).await.unwrap();
    assert_eq!(first, again);
    let error = cluster.client.run_job(&web(2), &key).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().kind, wire::ErrorKind::Conflict);
    assert_eq!(cluster.client.job(&web(1).id).await.unwrap().summary.version, wire::Number(1));
    cluster.stop().await;
}

#[tokio::test]
async fn what_waits_says_why() {
    let cluster = Cluster::start(StoreKind::Memory).await;
    cluster.client.run_job(&web(3), &new_key()).await.unwrap();
    let why = cluster.client.why_job(&web(1).id).await.unwrap();
    assert_eq!(why.waiting.len(), 1);
    assert_eq!((why.waiting[0].allocs, &why.waiting[0].reason), (3, &wire::WaitReason::NoNodes));
    cluster.stop().await;
}

/// What an allocation lacks, as each way of asking tells it.
async fn told_lacks(cluster: &Cluster, id: AllocId, job: &berth_model::JobId) -> [(wire::Dimension, u64, u64); 4] {
    let client = &cluster.client;
    let of_job = AllocFilter { job: Some(job.clone()), ..AllocFilter::default() };
    let [alloc, listed] = [client.alloc(id).await.unwrap(), client.allocs(&of_job).await.unwrap().remove(0)];
    let why = client.why_alloc(id).await.unwrap().alloc;
    let mut groups = client.why_job(job).await.unwrap().waiting;
    assert_eq!(groups.len(), 1, "{groups:?}");
    let reasons = [alloc, listed, why].map(|alloc| match alloc.state {
        wire::AllocState::Waiting { reason, .. } => reason,
        other => panic!("it waits, and is not {other:?}"),
    });
    let [one, two, three] = reasons;
    [one, two, three, groups.remove(0).reason].map(|reason| match reason {
        wire::WaitReason::NoNodeFits { nearest: Some(lack), .. } => (lack.dimension, lack.wanted.0, lack.free.0),
        other => panic!("{other:?} tells of no shortfall"),
    })
}

#[tokio::test]
async fn what_waits_tells_what_it_lacks_now() {
    const MIB: u64 = 1 << 20;
    let cluster = Cluster::start(StoreKind::Memory).await;
    let client = &cluster.client;
    let mut agent = cluster.agent_on(berth_model::testkit::machine("n").memory(1_000)).await;
    for (name, mib) in [("most", 600), ("some", 300)] {
        client.run_job(&sized(name, mib), &new_key()).await.unwrap();
    }
    let desired = agent.desired(|desired| desired.allocs.len() == 2).await;
    agent.all_run(&desired).await;
    let large = sized("large", 900);
    client.run_job(&large, &new_key()).await.unwrap();
    let of_large = AllocFilter { job: Some(large.id.clone()), ..Default::default() };
    let id = until(|| async { client.allocs(&of_large).await.unwrap() }, |allocs| !allocs.is_empty()).await[0].id.0;
    let lacks = |free: u64| [const { wire::Dimension::Memory }; 4].map(|memory| (memory, 900 * MIB, free * MIB));
    assert_eq!(told_lacks(&cluster, id, &large.id).await, lacks(100));

    client.stop_job(&sized("some", 300).id, &new_key()).await.unwrap();
    let stopping = |desired: &berth_model::Desired| desired.allocs.iter().any(|alloc| alloc.goal == Goal::Stop);
    let mut desired = agent.desired(stopping).await;
    desired.allocs.retain(|alloc| alloc.goal == Goal::Run);
    agent.all_run(&desired).await;
    until(|| async { client.status().await.unwrap() }, |status| status.allocs.stopped == 1).await;
    assert_eq!(told_lacks(&cluster, id, &large.id).await, lacks(400), "what ended gives its room back");

    client.run_job(&sized("little", 150), &new_key()).await.unwrap();
    assert_eq!(told_lacks(&cluster, id, &large.id).await, lacks(250), "what was placed takes its room");
    cluster.stop().await;
}

/// A service that asks for this much memory.
fn sized(name: &str, mib: u64) -> berth_model::JobSpec {
    job(&format!(
        "job: {name}\ngroups:\n- name: g\n  tasks:\n  - name: main\n    command: [/bin/sleep, inf]\n    resources: {{memory: {mib}MiB}}\n"
    ))
}

#[tokio::test]
async fn events_are_followed_from_any_point() {
    let cluster = Cluster::start(StoreKind::Memory).await;
    let now = EventFilter { from: wire::EventsFrom::Now, ..Default::default() };
    let mut follower = cluster.client.follow_events(&now).await.unwrap();
    cluster.client.run_job(&web(1), &new_key()).await.unwrap();
    let first = tokio::time::timeout(crate::cluster::SOON, follower.next()).await.unwrap().unwrap();
    assert!(matches!(first.what, wire::Happening::JobVersion { .. }), "{first:?}");
    let second = tokio::time::timeout(crate::cluster::SOON, follower.next()).await.unwrap().unwrap();

    let after = EventFilter { from: wire::EventsFrom::After(first.id), ..Default::default() };
    let page = cluster.client.events(&after).await.unwrap();
    assert_eq!(page.items[0], second);
    let of_another = EventFilter { alloc: Some(AllocId::new(berth_model::Incarnation(1), 999)), ..Default::default() };
    assert!(cluster.client.events(&of_another).await.unwrap().items.is_empty());
    cluster.stop().await;
}

#[tokio::test]
async fn what_is_kept_on_a_lost_node_is_told_to_be_and_until_when() {
    let cluster = Cluster::start(StoreKind::Memory).await;
    let mut agent = cluster.agent("n").await;
    let ways = ["keep", "replace\n  replace_after: 1h"].iter().enumerate().map(|(at, way)| {
        job(&format!(
            "job: j{at}\ngroups:\n- name: g\n  on_partition: {way}\n  tasks:\n  - {{name: main, command: [/bin/sleep, inf]}}\n"
        ))
    });
    for spec in ways {
        cluster.client.run_job(&spec, &new_key()).await.unwrap();
    }
    let desired = agent.desired(|desired| desired.allocs.len() == 2).await;
    agent.all_run(&desired).await;
    let list = || async { cluster.client.allocs(&AllocFilter::default()).await.unwrap() };
    until(list, |allocs| allocs.iter().all(|alloc| alloc.state.word() == "running")).await;
    assert!(list().await.iter().all(|alloc| alloc.unheard.is_none()));
    drop(agent);
    cluster.clock.shift(700_000);
    let told = until(list, |allocs| allocs.iter().all(|alloc| alloc.unheard.is_some())).await;
    let told: Vec<String> = told.into_iter().map(|alloc| alloc.unheard.unwrap().to_string()).collect();
    assert!(told[0].ends_with(": kept until the node is back, or `berth node abandon n`"), "{told:?}");
    assert!(told[1].contains(": given up at ") && told[1].ends_with("unless the node is back before"), "{told:?}");
    // What is said now holds for what runs already.
    let kept = job(
        "job: j1\ngroups:\n- name: g\n  on_partition: keep\n  tasks:\n  - {name: main, command: [/bin/sleep, inf]}\n",
    );
    cluster.client.run_job(&kept, &new_key()).await.unwrap();
    until(list, |allocs| allocs.iter().all(|alloc| alloc.unheard.as_ref().unwrap().then == wire::Fate::Kept)).await;
    let mut agent = cluster.agent("n").await;
    agent.all_run(&desired).await;
    until(list, |allocs| allocs.iter().all(|alloc| alloc.unheard.is_none())).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_silent_agent_is_lost_when_the_clock_says_so() {
    let (cluster, agent, id) = running().await;
    cluster.clock.shift(3_600_000);
    let show = || async { cluster.client.alloc(id).await.unwrap() };
    until(show, |alloc| alloc.state.word() == "lost").await;
    let why = cluster.client.why_alloc(id).await.unwrap();
    let told: Vec<String> =
        why.ended_by.iter().filter_map(|link| link.event.as_ref()).map(|e| e.what.to_string()).collect();
    assert!(told.iter().any(|line| line.starts_with("node n (") && line.ends_with("was lost")), "{told:#?}");
    drop(agent);
    cluster.stop().await;
}

#[tokio::test]
async fn logs_come_through_a_tunnel_of_their_own() {
    let (cluster, mut agent, id) = running().await;
    let request = wire::LogsRequest {
        alloc: id.into(),
        task: "main".parse().unwrap(),
        streams: wire::LogStreams::Stdout,
        from: wire::LogsFrom::Last { lines: 2 },
        follow: true,
    };
    let target = cluster.client.target().clone();
    let wanted = wire::TunnelKind::Logs(request.clone());
    let serving = tokio::spawn(async move {
        let FromServer::OpenTunnel { id, wanted: asked } = agent.next().await else {
            panic!("no tunnel was asked for")
        };
        assert_eq!(asked, wanted);
        let mut logs = Tunnel::open(&target, &id).await.unwrap().into_logs();
        for (number, text) in [(1, "one"), (2, "two")] {
            let (time, number) = (wire::Time(berth_model::Timestamp(5)), wire::Number(number));
            let line = wire::LogLine::new(time, wire::LogStream::Stdout, number, text.as_bytes());
            logs.send(&wire::LogRecord::Line(line)).await.unwrap();
        }
        assert_eq!(logs.news().await, LogNews::ReaderGone);
        agent
    });
    let mut lines = cluster.client.logs(&request).await.unwrap();
    assert_eq!(lines.next().await.unwrap().unwrap().text, "one");
    assert_eq!(lines.next().await.unwrap().unwrap().text, "two");
    drop(lines);
    tokio::time::timeout(crate::cluster::SOON, serving)
        .await
        .expect("the agent is told that the reader has gone")
        .unwrap();
    cluster.stop().await;
}

#[tokio::test]
async fn followed_logs_end_with_the_allocation() {
    let (cluster, mut agent, id) = running().await;
    let target = cluster.client.target().clone();
    let (tell, told) = tokio::sync::oneshot::channel();
    let serving = tokio::spawn(async move {
        let FromServer::OpenTunnel { id, .. } = agent.next().await else { panic!("no tunnel was asked for") };
        let mut logs = Tunnel::open(&target, &id).await.unwrap().into_logs();
        let line = |number: u64, text: &str| {
            let (time, number) = (wire::Time(berth_model::Timestamp(5)), wire::Number(number));
            wire::LogRecord::Line(wire::LogLine::new(time, wire::LogStream::Stdout, number, text.as_bytes()))
        };
        logs.send(&line(1, "while it runs")).await.unwrap();
        told.await.unwrap();
        agent.report(Vec::new()).await;
        assert_eq!(logs.news().await, LogNews::Over);
        logs.send(&line(2, "its last words")).await.unwrap();
        logs.finish().await;
        agent
    });
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let path = cluster.url(&format!("/v1/allocs/{id}/logs?follow=true"));
    let mut response = http.get(path).bearer_auth(&cluster.ready.token).send().await.unwrap();
    let first = response.chunk().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("while it runs"));
    tell.send(()).unwrap();
    let rest = tokio::time::timeout(crate::cluster::SOON, response.bytes()).await.expect("the stream ends").unwrap();
    assert!(String::from_utf8_lossy(&rest).contains("its last words"));
    serving.await.unwrap();
    cluster.stop().await;
}

#[tokio::test]
async fn a_terminal_works_in_both_directions() {
    let (cluster, mut agent, id) = running().await;
    let target = cluster.client.target().clone();
    let serving = tokio::spawn(async move {
        let FromServer::OpenTunnel { id, .. } = agent.next().await else { panic!("no tunnel was asked for") };
        let (sender, mut receiver) = Tunnel::open(&target, &id).await.unwrap().into_frames();
        // Gives back what it is given, until the input ends.
        while let Some(wire::Frame::Stdin(bytes)) = receiver.next().await.unwrap() {
            if bytes.is_empty() {
                break;
            }
            sender.send(&wire::Frame::Stdout(bytes)).await.unwrap();
        }
        sender.send(&wire::Frame::Exit(wire::ExitKind::Status { status: 7 })).await.unwrap();
        sender.finish(receiver).await;
        agent
    });
    let mut session = cluster.client.exec(&cat(id)).await.unwrap();
    for text in ["first", "second"] {
        session.input.send(&wire::Frame::Stdin(text.into())).await.unwrap();
        assert_eq!(session.output.next().await.unwrap(), Some(wire::Frame::Stdout(text.into())));
    }
    session.input.send(&wire::Frame::Stdin("".into())).await.unwrap();
    let exit = wire::Frame::Exit(wire::ExitKind::Status { status: 7 });
    assert_eq!(session.output.next().await.unwrap(), Some(exit));
    assert_eq!(session.output.next().await.unwrap(), None);
    serving.await.unwrap();
    cluster.stop().await;
}

/// A request to run `cat` beside the task.
fn cat(id: AllocId) -> wire::ExecRequest {
    wire::ExecRequest { alloc: id.into(), task: "main".parse().unwrap(), command: vec!["cat".into()], terminal: None }
}

#[tokio::test]
async fn a_slow_reader_of_many_small_pieces_gets_them_all() {
    const PIECES: usize = 30_000;
    let (cluster, mut agent, id) = running().await;
    let target = cluster.client.target().clone();
    let (full, filled) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let FromServer::OpenTunnel { id, .. } = agent.next().await else { panic!("no tunnel was asked for") };
        let (sender, receiver) = Tunnel::open(&target, &id).await.unwrap().into_frames();
        let piece = wire::Frame::Stdout("x".into());
        let mut full = Some(full);
        for _ in 0..PIECES {
            let mut sent = std::pin::pin!(sender.send(&piece));
            // When nothing more is taken, the reader, who waits for that, may begin.
            match tokio::time::timeout(Duration::from_millis(200), &mut sent).await {
                Ok(sent) => sent.unwrap(),
                Err(_) => {
                    drop(full.take());
                    sent.await.unwrap();
                }
            }
        }
        drop(full);
        sender.finish(receiver).await;
        agent
    });
    let mut session = cluster.client.exec(&cat(id)).await.unwrap();
    let _ = filled.await;
    for _ in 0..PIECES {
        assert_eq!(session.output.next().await.unwrap(), Some(wire::Frame::Stdout("x".into())));
    }
    assert_eq!(session.output.next().await.unwrap(), None);
    drop(session);
    serving.await.unwrap();
    cluster.stop().await;
}

#[tokio::test]
async fn an_agent_that_is_away_is_named() {
    let (cluster, agent, id) = running().await;
    drop(agent);
    let status = || async { cluster.client.status().await.unwrap() };
    until(status, |status| status.agents_connected == 0).await;
    let request = wire::ExecRequest {
        alloc: id.into(),
        task: "main".parse().unwrap(),
        command: vec!["true".into()],
        terminal: None,
    };
    let error = cluster.client.exec(&request).await.unwrap_err();
    let told = error.refusal().unwrap();
    assert_eq!(told.kind, wire::ErrorKind::Unavailable);
    assert!(told.message.starts_with("the agent of node n (") && told.message.ends_with("is not connected"), "{told}");
    cluster.stop().await;
}

#[tokio::test]
async fn a_restarted_server_knows_what_it_acknowledged() {
    let cluster = Cluster::start(StoreKind::Embedded).await;
    let key = new_key();
    let told = cluster.client.run_job(&web(2), &key).await.unwrap();
    let epoch = cluster.client.status().await.unwrap().epoch;
    let token = cluster.ready.token.clone();
    let dir = cluster.stop().await;

    let cluster = Cluster::start_in(dir, StoreKind::Embedded).await;
    assert_eq!(cluster.ready.token, token);
    assert!(cluster.client.status().await.unwrap().epoch > epoch);
    assert_eq!(cluster.client.run_job(&web(2), &key).await.unwrap(), told);
    assert_eq!(cluster.client.allocs(&AllocFilter::default()).await.unwrap().len(), 2);
    cluster.stop().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_with_a_remedy() {
    let cluster = Cluster::start(StoreKind::Memory).await;
    let (client, addr) = (cluster.client.clone(), cluster.ready.addr);
    cluster.stop().await;
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    let expected =
        format!("cannot reach the server at http://{addr}: is it running? set BERTH_ADDR if it listens elsewhere");
    assert_eq!(error.to_string(), expected);
}

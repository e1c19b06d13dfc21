//! The lines of the journal: what is written is read as it was, and version 1 stays as it is.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};

use berth_model::control::*;
use berth_model::testkit::{machine, service};
use berth_model::*;
use berth_record::journal::{Line, LineReader, LineWriter, marks};

fn alloc(n: u64) -> AllocId {
    AllocId::new(Incarnation(1), n)
}

fn command(command: Command) -> Event {
    let request = CommandRequest {
        principal: Principal("operator".to_owned()),
        namespace: Namespace::default(),
        key: IdempotencyKey("k-1".to_owned()),
        plan: None,
        command,
    };
    Event::Command { request: RequestId(4), command: Box::new(request) }
}

fn report(serial: u64, conditions: &[NodeCondition]) -> NodeReport {
    let phases = [
        Phase::Preparing(Progress { done: Bytes(1), total: Bytes(2) }),
        Phase::Starting,
        Phase::Running,
        Phase::Stopping,
        Phase::Ended(Ended::Complete),
        Phase::Ended(Ended::Stopped),
        Phase::Ended(Ended::Failed(Failure { kind: FailureKind::Exit, message: "exit status 1".to_owned() })),
    ];
    let status = TaskStatus {
        state: TaskState::Running { pid: 7, started: Timestamp(9) },
        restarts: 1,
        last_exit: None,
        checks: BTreeMap::new(),
    };
    let tasks = BTreeMap::from([("task".parse().unwrap(), status)]);
    let observed = |(n, phase)| ObservedAlloc { id: alloc(n), phase, tasks: tasks.clone() };
    NodeReport {
        serial,
        digest: Digest(u128::MAX - 5),
        conditions: conditions.iter().copied().collect::<BTreeSet<_>>(),
        allocs: (1..).zip(phases).map(observed).collect(),
    }
}

/// One of every kind of event.
fn events() -> Vec<Event> {
    let session = SessionId(3);
    let job = JobId { namespace: Namespace::default(), name: "web".parse().unwrap() };
    vec![
        command(Command::Run(Box::new(service("web").count(2).dynamic_port("http").0))),
        command(Command::Stop(job)),
        command(Command::StopAlloc(alloc(9))),
        Event::AgentConnected { session, hello: machine("a").without("agent.protocol").hello() },
        Event::AgentReport { session, report: report(1, &[NodeCondition::DiskFull]) },
        // The same but for its number, and then not the same.
        Event::AgentReport { session, report: report(2, &[NodeCondition::DiskFull]) },
        Event::AgentReport { session, report: report(3, &[]) },
        Event::AgentDisconnected { session },
        Event::Committed { commit: CommitId(5), revision: Revision(6) },
        Event::CommitFailed { commit: CommitId(6), error: CommitError::Conflict },
        Event::CommitFailed { commit: CommitId(6), error: CommitError::Unavailable },
        Event::Woke,
    ]
}

fn effects() -> Vec<Effect> {
    let node = NodeId::new(Incarnation(1), 2);
    let epoch = Epoch { incarnation: Incarnation(1), counter: 3 };
    let desired = Desired { epoch, digest: Digest(8), allocs: Vec::new() };
    vec![
        Effect::Commit { commit: CommitId(1), mutations: vec![Mutation::DeleteNode(node)] },
        Effect::Reply { request: RequestId(4), result: Ok(CommandOutcome::StoppingAlloc(alloc(9))) },
        Effect::Reply { request: RequestId(5), result: Err(Refusal::Overloaded) },
        Effect::Send { session: SessionId(3), order: Order::Welcome { epoch, node, heartbeat: Millis(1000) } },
        Effect::Send { session: SessionId(3), order: Order::Desired(desired) },
        Effect::Close { session: SessionId(3), reason: "the name is taken".to_owned() },
        Effect::WakeAt(Timestamp(77)),
        Effect::StepDown(StepDown::StoreFailed),
    ]
}

fn beginning() -> Beginning {
    let settings = Settings { policy: BuiltIn::Fragmentation, preempt_max: 3, ..Settings::default() };
    let epoch = Epoch { incarnation: Incarnation(1), counter: 4 };
    let snapshot = Snapshot { meta: Meta { allocs: 3, ..Meta::default() }, ..Snapshot::default() };
    Beginning { settings, snapshot, epoch, now: Timestamp(1_700_000_000_000) }
}

/// Every kind of line, as written today.
fn lines() -> Vec<Vec<u8>> {
    let mut writer = LineWriter::default();
    let mut lines: Vec<Vec<u8>> = LineWriter::begin("0.1.0", &beginning()).collect();
    lines.push(LineWriter::begun(&effects()));
    lines.extend((1..).zip(events()).map(|(n, event)| writer.step(Timestamp(n), &event, &effects()[..1])));
    lines
}

/// The golden file of version 1: a line for each of [`lines`]. Like the records' it is written once, by
/// `BERTH_WRITE_GOLDEN=1 cargo test -p berth-record --test journal`.
fn golden() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/journal-v1.lines");
    if !std::path::Path::new(path).exists() && std::env::var_os("BERTH_WRITE_GOLDEN").is_some() {
        std::fs::write(path, lines().concat()).unwrap();
    }
    std::fs::read(path).unwrap()
}

#[test]
fn version_1_is_written_as_it_always_was() {
    let (written, held) = (lines().concat(), golden());
    let places = written.split(|byte| *byte == b'\n').zip(held.split(|byte| *byte == b'\n'));
    for (place, (written, held)) in (1..).zip(places) {
        let (written, held) = (String::from_utf8_lossy(written), String::from_utf8_lossy(held));
        assert_eq!(written, held, "line {place} changed: that needs a new version of the journal");
    }
    assert_eq!(written.len(), held.len());
}

#[test]
fn version_1_is_read_as_it_was_written() {
    let mut reader = LineReader::default();
    let mut wanted = events().into_iter();
    for line in golden().split_inclusive(|byte| *byte == b'\n') {
        match reader.read("line", line).unwrap() {
            Line::Head { program, settings, epoch, now } => {
                let b = beginning();
                assert_eq!((program.as_str(), settings, epoch, now), ("0.1.0", b.settings, b.epoch, b.now));
            }
            Line::Record(key, _) => assert_eq!(key, b"meta"),
            Line::Begun(told) => assert_eq!(told, marks(&effects())),
            Line::Step { event, effects: told, .. } => {
                assert_eq!(Some(event), wanted.next());
                assert_eq!(told, marks(&effects()[..1]));
            }
        }
    }
    assert_eq!(wanted.next(), None);
}

#[test]
fn leases_and_commits_that_only_prove_have_marks() {
    let lease = |allocs| Effect::Send { session: SessionId(3), order: Order::Lease { serial: 7, allocs } };
    let proof = Effect::Commit { commit: CommitId(2), mutations: Vec::new() };
    let effects = [lease(vec![alloc(9)]), lease(vec![alloc(8)]), proof];
    let line = LineWriter::begun(&effects);
    let Line::Begun(told) = LineReader::default().read("line", &line).unwrap() else { panic!("another line") };
    assert_eq!(told, marks(&effects));
    assert_ne!(told[0], told[1]);
}

#[test]
fn a_change_of_policy_and_a_policy_that_was_set_are_read_as_they_were_written() {
    let pools = BTreeMap::from([("gpu".parse().unwrap(), BuiltIn::Fragmentation.weights())]);
    let spec = PolicySpec {
        name: "mine".parse().unwrap(),
        weights: BuiltIn::Pack.weights(),
        pools,
        balance: BalanceMode::On { at_most: 2 },
    };
    let set = Command::SetPolicy { spec: Box::new(spec.clone()), after: Some(PolicyVersion(4)) };
    let line = LineWriter::default().step(Timestamp(1), &command(set.clone()), &[]);
    let read = LineReader::default().read("line", &line).unwrap();
    assert!(matches!(read, Line::Step { event, .. } if event == command(set)));

    let cause = Cause::Command(CommandId::new(Incarnation(1), 7));
    let policy = Policy { version: PolicyVersion(4), spec };
    let policy = Some(SetPolicy { policy, changed: (Timestamp(1), cause) });
    let snapshot = Snapshot { policy: policy.clone(), ..Snapshot::default() };
    let mut builder = berth_record::SnapshotBuilder::new();
    for line in LineWriter::begin("0.1.0", &Beginning { snapshot, ..beginning() }) {
        if let Line::Record(key, value) = LineReader::default().read("line", &line).unwrap() {
            builder.add(&key, &value);
        }
    }
    assert_eq!(builder.finish().unwrap().snapshot.policy, policy);
}

#[test]
fn commands_about_trust_are_read_as_they_were_written() {
    let (authority, token, key) = (AuthorityId(Sha256([1; 32])), TokenId(Sha256([2; 32])), KeyId(Sha256([3; 32])));
    let new = NewAuthority {
        id: authority,
        after: Some(AuthorityId(Sha256([4; 32]))),
        certificate: vec![0x30; 500],
        cross: Some(vec![0x30; 500]),
        sealed_key: vec![7; 200],
        not_after: Timestamp(2_000_000_000_000),
    };
    let (node, expires) = ("one".parse::<NodeName>().unwrap(), Timestamp(1_700_003_600_000));
    let commands = [
        TrustCommand::AddAuthority(Box::new(new)),
        TrustCommand::RetireAuthority { id: authority, force: true },
        TrustCommand::AddToken { id: token, role: Role::Agent, node: Some(node.clone()), expires },
        TrustCommand::Join { token, role: Role::Server, name: node.clone(), key },
        TrustCommand::Revoke(node),
    ];
    for asked in commands {
        let asked = command(Command::Trust(asked));
        let line = LineWriter::default().step(Timestamp(1), &asked, &[]);
        let read = LineReader::default().read("line", &line).unwrap();
        assert!(matches!(read, Line::Step { event, .. } if event == asked), "{asked:?}");
    }
}

#[test]
fn a_report_that_says_nothing_new_takes_little() {
    let mut writer = LineWriter::default();
    let event = |serial| Event::AgentReport { session: SessionId(1), report: report(serial, &[]) };
    let first = writer.step(Timestamp(1), &event(1), &[]).len();
    let second = writer.step(Timestamp(2), &event(2), &[]).len();
    assert!(first > 800 && second < 100, "{first} bytes, then {second}");
}

#[test]
fn effects_that_differ_have_other_marks() {
    let all = marks(&effects());
    for (n, mark) in all.iter().enumerate() {
        assert!(!all[..n].contains(mark), "{mark:?} is there twice");
    }
    assert_eq!(all, marks(&effects()));
}

#[test]
fn a_line_that_is_none_is_told_by_its_place() {
    let error = LineReader::default().read("line 7", b"{}").unwrap_err();
    assert!(error.to_string().contains("line 7"), "{error}");
}

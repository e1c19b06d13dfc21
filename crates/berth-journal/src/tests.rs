//! Segments written by the writer's own thread and replayed: whole, torn, damaged, and with something planted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use berth_control::{Beginning, Core, Effect, Event, RequestId, SessionId, Settings};
use berth_model::testkit::{machine, service};
use berth_model::{
    AllocId, Bytes, Command, CommandRequest, Digest, Epoch, IdempotencyKey, Incarnation, Namespace, NodeReport,
    ObservedAlloc, Phase, Principal, Revision, Snapshot, Timestamp,
};

use crate::file::{SegmentFile, SegmentReader};
use crate::folder::name;
use crate::{End, Finding, ReadError, Replayed, Scribe, replay, segments_at};

const EPOCH: Epoch = Epoch { incarnation: Incarnation(1), counter: 1 };

/// What a small cluster hears: a node, a job, reports that say nothing new, time that passes.
fn events() -> Vec<(Timestamp, Event)> {
    let session = SessionId(1);
    let command = Box::new(CommandRequest {
        principal: Principal("operator".to_owned()),
        namespace: Namespace::default(),
        key: IdempotencyKey("k".to_owned()),
        plan: None,
        command: Command::Run(Box::new(service("web").count(3).dynamic_port("http").0)),
    });
    let report = |serial| NodeReport {
        serial,
        ..NodeReport { serial: 0, digest: Default::default(), conditions: [].into(), allocs: vec![] }
    };
    let mut events = vec![
        (Timestamp(1_000), Event::AgentConnected { session, hello: machine("a").hello() }),
        (Timestamp(1_010), Event::Command { request: RequestId(1), command }),
    ];
    events.extend((1..50).map(|n| (Timestamp(1_010 + n * 100), Event::AgentReport { session, report: report(n) })));
    events.push((Timestamp(9_000), Event::Woke));
    events.push((Timestamp(9_100), Event::AgentDisconnected { session }));
    events
}

/// Has the events happen, with the store's answers, and writes them down; `plant` may change what is written.
fn write(folder: &std::path::Path, plant: impl Fn(usize, &mut Vec<Effect>)) -> PathBuf {
    let beginning =
        Beginning { settings: Settings::default(), snapshot: Snapshot::default(), epoch: EPOCH, now: Timestamp(500) };
    let mut out = Vec::new();
    let mut core = Core::load(beginning.clone(), &mut out);
    let mut segment = Scribe::begin(folder, Bytes::mib(16), beginning, out.clone());
    let mut steps = 0;
    let mut waiting: Vec<(Timestamp, Event)> = events().into_iter().rev().collect();
    let mut commits: Vec<Event> = committed(&out);
    while let Some((now, event)) = commits.pop().map(|event| (Timestamp(900), event)).or_else(|| waiting.pop()) {
        let mut out = Vec::new();
        core.step(now, event.clone(), &mut out);
        commits.splice(0..0, committed(&out).into_iter().rev());
        steps += 1;
        plant(steps, &mut out);
        segment.step(now, event, &out);
    }
    assert!(segment.is_open(), "the journal keeps up");
    drop(segment);
    folder.join(name(EPOCH))
}

fn committed(effects: &[Effect]) -> Vec<Event> {
    let commits = effects.iter().filter_map(|effect| match effect {
        Effect::Commit { commit, .. } => Some(Event::Committed { commit: *commit, revision: Revision(commit.0) }),
        _ => None,
    });
    commits.collect()
}

/// Replays a whole folder.
fn replay_all(folder: &Path) -> Vec<Replayed> {
    segments_at(folder).unwrap().iter().map(|path| replay(path)).collect()
}

#[test]
fn a_segment_replays_to_the_same_effects() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), |_, _| {});
    let replayed = replay_all(folder.path());
    let [segment] = replayed.as_slice() else { panic!("one segment: {replayed:?}") };
    assert!(matches!(segment.finding, Finding::Same(End::Whole)), "{segment:?}");
    assert!(segment.steps > 53 && segment.effects > 5, "{segment:?}");
    let opening = segment.opening.as_ref().unwrap();
    assert_eq!((opening.from, segment.to), (Timestamp(500), Timestamp(9_100)));
    assert_eq!(opening.program, env!("CARGO_PKG_VERSION"));
}

#[test]
fn what_came_out_otherwise_is_found_with_its_event() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), |step, effects| {
        if step == 3 {
            // As if chance had decided: the same decisions in another order.
            effects.reverse();
            effects.push(Effect::WakeAt(Timestamp(77)));
        }
    });
    let Finding::Differs(difference) = replay(&path).finding else { panic!("it differs") };
    assert_eq!(difference.step, 3);
    assert_ne!(difference.written, difference.now);
    assert!(!difference.event.is_empty());
}

#[test]
fn a_file_that_was_cut_anywhere_replays_up_to_its_last_whole_block() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), |_, _| {});
    let all = replay(&path).steps;
    let cut = folder.path().join("cut.journal");
    // A block for each line, so that there are many to cut.
    let mut file = SegmentFile::create(&cut).unwrap();
    let mut reader = SegmentReader::open(&path).unwrap().unwrap();
    while let Ok((_, block)) = reader.next().unwrap() {
        for line in block.split_inclusive(|byte| *byte == b'\n') {
            file.append(line).unwrap();
        }
    }
    let whole = std::fs::read(&cut).unwrap();
    let mut steps = 0;
    // The header with the first blocks, and the last blocks.
    for length in (0..300).chain(whole.len() - 300..whole.len()) {
        std::fs::write(&cut, &whole[..length]).unwrap();
        let segment = replay(&cut);
        assert!(matches!(segment.finding, Finding::Same(_)), "{length}: {segment:?}");
        assert!(segment.steps >= steps, "{length}: {segment:?}");
        steps = segment.steps;
    }
    assert_eq!(steps, all - 1, "without its last byte it lacks its last step alone");
    assert!(matches!(replay(&cut).finding, Finding::Same(End::Torn(at)) if at > 1_000));
}

#[test]
fn damage_is_told_with_its_place_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), |_, _| {});
    let whole = std::fs::read(&path).unwrap();
    let problem = |path: &Path| match replay(path).finding {
        Finding::Unreadable(error) => error,
        finding => panic!("it cannot be read: {finding:?}"),
    };
    for at in [12, 17, 21, 40] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        let error = problem(&path);
        assert!(matches!(error, ReadError::Damaged { at: 12, .. }), "{at}: {error:?}");
        let told = error.to_string();
        assert!(told.contains("damaged at byte 12") && told.contains("backup"), "{told}");
    }
    let mut newer = whole.clone();
    newer[8] = 2;
    std::fs::write(&path, newer).unwrap();
    assert!(problem(&path).to_string().contains("has version 2"));
    std::fs::write(&path, b"job: web\n").unwrap();
    assert!(problem(&path).to_string().contains("is no journal"));
}

#[test]
fn what_is_before_the_damage_is_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), |_, _| {});
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let segment = replay(&path);
    assert!(matches!(segment.finding, Finding::Unreadable(ReadError::Damaged { .. })), "{segment:?}");
    assert!(segment.opening.is_some(), "what it began with is in a block of its own");
}

#[test]
fn the_oldest_segments_go_when_there_are_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let old = |n: u64| folder.path().join(name(Epoch { counter: n, ..EPOCH }));
    for n in [2, 3, 4] {
        std::fs::write(old(n), vec![0; 3 << 20]).unwrap();
    }
    write(folder.path(), |_, _| {});
    assert!(!old(2).exists() && old(3).exists() && old(4).exists(), "of 16 MiB a half is for the newest");
}

#[test]
fn a_cluster_that_is_too_large_for_the_journal_is_not_begun_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let beginning =
        Beginning { settings: Settings::default(), snapshot: Snapshot::default(), epoch: EPOCH, now: Timestamp(500) };
    let mut out = Vec::new();
    Core::load(beginning.clone(), &mut out);
    drop(Scribe::begin(folder.path(), Bytes(800), beginning, out));
    assert!(!folder.path().join(name(EPOCH)).exists(), "its beginning alone takes more than an eighth");
}

#[test]
fn steps_that_pile_up_end_the_segment_and_never_hold_the_loop() {
    let folder = tempfile::tempdir().unwrap();
    let beginning =
        Beginning { settings: Settings::default(), snapshot: Snapshot::default(), epoch: EPOCH, now: Timestamp(500) };
    let mut scribe = Scribe::begin(folder.path(), Bytes::mib(16), beginning, Vec::new());
    let session = SessionId(1);
    let allocs = (0..200_000).map(|n| ObservedAlloc {
        id: AllocId::new(Incarnation(1), n),
        phase: Phase::Running,
        tasks: BTreeMap::new(),
    });
    let report = NodeReport { serial: 1, digest: Digest(0), conditions: BTreeSet::new(), allocs: allocs.collect() };
    scribe.step(Timestamp(501), Event::AgentReport { session, report }, &[]);
    assert!(!scribe.is_open(), "one step that is larger than all that may wait");
}

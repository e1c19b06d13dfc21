//! Segments written by the writer's own thread and replayed: whole, torn, damaged, and with something planted.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;

use berth_control::{Beginning, Core, Effect, Event, RequestId, SessionId, Settings};
use berth_model::testkit::{machine, service};
use berth_model::{
    Bytes, Command, CommandRequest, Epoch, IdempotencyKey, Incarnation, Namespace, NodeReport, Principal, Revision,
    Snapshot, Timestamp,
};

use super::file::{SegmentFile, SegmentReader};
use super::{End, ReadError, Segment, replay};

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
    let mut segment = Segment::begin(folder, Bytes::mib(16), beginning, out.clone());
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
    folder.join(super::file::name(EPOCH, 0))
}

fn committed(effects: &[Effect]) -> Vec<Event> {
    let commits = effects.iter().filter_map(|effect| match effect {
        Effect::Commit { commit, .. } => Some(Event::Committed { commit: *commit, revision: Revision(commit.0) }),
        _ => None,
    });
    commits.collect()
}

#[test]
fn a_segment_replays_to_the_same_effects() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), |_, _| {});
    let replayed = replay(folder.path()).unwrap();
    let [segment] = replayed.as_slice() else { panic!("one segment: {replayed:?}") };
    assert!(segment.difference.is_none() && segment.end == End::Whole, "{segment:?}");
    assert!(segment.steps > 53 && segment.effects > 5, "{segment:?}");
    assert_eq!(segment.times, Some((Timestamp(900), Timestamp(9_100))));
    assert_eq!(segment.program, env!("CARGO_PKG_VERSION"));
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
    let replayed = replay(&path).unwrap();
    let difference = replayed[0].difference.as_ref().unwrap();
    assert_eq!(difference.step, 3);
    assert_ne!(difference.written, difference.now);
    assert!(!difference.event.is_empty());
}

#[test]
fn a_torn_end_replays_up_to_its_last_whole_block() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), |_, _| {});
    let whole = std::fs::read(&path).unwrap();
    let all = replay(&path).unwrap().remove(0).steps;
    // A second block, which can be torn.
    let torn = folder.path().join("torn.journal");
    for cut in 0..whole.len() {
        std::fs::write(&torn, &whole[..cut]).unwrap();
        for segment in replay(&torn).unwrap() {
            assert!(segment.difference.is_none() && segment.steps <= all, "{cut}: {segment:?}");
            assert!(matches!(segment.end, End::Torn(_)) || segment.steps <= all, "{cut}: {segment:?}");
        }
    }
    let mut file = SegmentFile::create(&torn).unwrap();
    let mut reader = SegmentReader::open(&path).unwrap().unwrap();
    let mut lines = Vec::new();
    while let Ok((_, block)) = reader.next().unwrap() {
        lines.extend(block);
    }
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        file.append(line).unwrap();
    }
    let bytes = std::fs::read(&torn).unwrap();
    std::fs::write(&torn, &bytes[..bytes.len() - 5]).unwrap();
    let segment = replay(&torn).unwrap().remove(0);
    assert!(segment.steps == all - 1 && segment.difference.is_none(), "{segment:?}");
    assert!(matches!(segment.end, End::Torn(at) if at > 1_000), "{segment:?}");
}

#[test]
fn damage_is_told_with_its_place_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), |_, _| {});
    let whole = std::fs::read(&path).unwrap();
    for at in [12, 17, 21, 40, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        let error = replay(&path).unwrap_err();
        assert!(matches!(error, ReadError::Damaged { at: 12, .. }), "{at}: {error:?}");
        let told = error.to_string();
        assert!(told.contains("damaged at byte 12") && told.contains("backup"), "{told}");
    }
    let mut newer = whole.clone();
    newer[8] = 2;
    std::fs::write(&path, newer).unwrap();
    assert!(replay(&path).unwrap_err().to_string().contains("has version 2"));
    std::fs::write(&path, b"job: web\n").unwrap();
    assert!(replay(&path).unwrap_err().to_string().contains("is no journal"));
}

#[test]
fn the_oldest_segments_go_when_there_are_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let old = |n: u64| folder.path().join(super::file::name(Epoch { counter: n, ..EPOCH }, 0));
    for n in [2, 3, 4] {
        std::fs::write(old(n), vec![0; 5 << 20]).unwrap();
    }
    write(folder.path(), |_, _| {});
    assert!(!old(2).exists() && old(3).exists() && old(4).exists(), "of 16 MiB a quarter is for the newest");
}

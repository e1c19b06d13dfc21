//! What simulated servers decided, with everything that can go wrong, is decided again from their journals.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::sync::mpsc::channel;

use berth_journal::{End, Finding, SegmentWriter, replay, segments_at};
use berth_sim::{Decision, Options, run};

/// Simulates a seed and writes the journals of all its servers.
fn journal_of(seed: u64, folder: &std::path::Path) {
    let (sender, decisions) = channel();
    let outcome = run(seed, &Options::default().journal(sender));
    assert!(outcome.is_well(), "{outcome}");
    let mut segments: BTreeMap<u32, SegmentWriter> = BTreeMap::new();
    for decision in decisions.try_iter() {
        match decision {
            Decision::Begun { server, beginning, effects } => {
                // A reign that dies before its first commit leaves its epoch to the next: a folder for each.
                let own = folder.join(server.to_string());
                std::fs::create_dir(&own).unwrap();
                segments.insert(server, SegmentWriter::begin(&own, &beginning, &effects).unwrap());
            }
            Decision::Step { server, now, event, effects } => {
                segments.get_mut(&server).unwrap().step(now, &event, &effects).unwrap();
            }
        }
    }
    assert_eq!(u32::try_from(segments.len()).unwrap(), outcome.servers, "a segment for each reign of seed {seed}");
    for mut segment in segments.into_values() {
        segment.flush().unwrap();
    }
}

#[test]
fn the_journals_of_seeds_replay_to_the_same_bytes() {
    let (mut steps, mut effects) = (0, 0);
    for seed in 1..=5 {
        let folder = tempfile::tempdir().unwrap();
        journal_of(seed, folder.path());
        for own in std::fs::read_dir(folder.path()).unwrap() {
            let segments = segments_at(&own.unwrap().path()).unwrap();
            let [segment] = segments.as_slice() else { panic!("one of each server: {segments:?}") };
            let replayed = replay(segment);
            assert!(matches!(replayed.finding, Finding::Same(End::Whole)), "seed {seed}: {replayed:?}");
            (steps, effects) = (steps + replayed.steps, effects + replayed.effects);
        }
    }
    assert!(steps > 1_000 && effects > 1_000, "too little to tell: {steps} steps, {effects} effects");
}

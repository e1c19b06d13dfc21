//! What a reader meets: damage, newer versions, misplaced records, keys in order, and sizes.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[expect(dead_code, reason = "the samples are shared with the golden tests")]
mod support;

use std::collections::BTreeMap;

use berth_model::*;
use berth_record::{
    EPOCH_KEY, META_KEY, NEWEST, Problem, RecordError, SnapshotBuilder, decode, decode_remembered, encode,
    encode_commit, encode_epoch, key,
};

fn meta() -> (Vec<u8>, Vec<u8>) {
    let write = encode(&Mutation::PutMeta(Meta::default()), Format::FIRST);
    (write.key, write.value.unwrap())
}

#[test]
fn a_newer_version_is_refused_by_its_key_with_a_remedy() {
    let error = decode(META_KEY, br#"{"v":3,"entirely":["other"]}"#).unwrap_err();
    assert_eq!(error, RecordError::Newer { key: "meta".to_owned(), found: Format(3), known: Format(2) });
    assert_eq!(
        error.to_string(),
        "record `meta` has version 3 and this program knows versions up to 2: run the newer program that wrote it"
    );
    let error = decode_remembered("ledger/a1-23", br#"{"v":9}"#).unwrap_err();
    assert!(matches!(&error, RecordError::Newer { key, found: Format(9), .. } if key == "ledger/a1-23"), "{error}");
}

#[test]
fn damage_is_an_error_that_names_the_record() {
    let (key, value) = meta();
    for cut in 0..value.len() {
        let error = decode(&key, &value[..cut]).unwrap_err();
        assert!(matches!(&error, RecordError::Damaged { key, .. } if key == "meta"), "{error}");
    }
    let unknown_field = br#"{"v":1,"record":{"incarnation":0,"counter":1,"colour":2}}"#;
    assert!(berth_record::decode_epoch(unknown_field).is_err());
    let error = decode(META_KEY, br#"{"v":0,"record":{}}"#).unwrap_err();
    assert!(matches!(error, RecordError::Damaged { problem: Problem::NoSuchVersion(Format(0)), .. }), "{error}");
}

#[test]
fn a_bad_name_in_a_record_is_an_error() {
    let alloc =
        support::alloc(AllocState::Waiting { since: Timestamp(1), reason: WaitReason::Queued }, support::by_command());
    let write = encode(&Mutation::PutAlloc(Box::new(alloc)), Format::FIRST);
    let text = String::from_utf8(write.value.unwrap()).unwrap().replace("\"front\"", "\"Front!\"");
    let error = decode(&write.key, text.as_bytes()).unwrap_err();
    assert!(matches!(error, RecordError::Damaged { problem: Problem::Name(_), .. }), "{error}");
}

#[test]
fn a_record_under_the_key_of_another_is_an_error() {
    let (_, sample) = support::samples().into_iter().find(|(name, _)| name == "node-ready").unwrap();
    let value = encode(&sample, Format::FIRST).value.unwrap();
    let error = decode(&key::node(support::node_id(77)), &value).unwrap_err();
    assert!(matches!(error, RecordError::Damaged { problem: Problem::Misplaced(_), .. }), "{error}");
    let error = decode(b"colour/1", &value).unwrap_err();
    assert!(matches!(error, RecordError::UnknownKey { .. }), "{error}");
}

#[test]
fn keys_are_in_order_of_ids() {
    let counters = [0, 1, 9, 10, 255, 256, 1 << 40, u64::MAX];
    let ids: Vec<AllocId> =
        [0, 1, 16, u32::MAX].iter().flat_map(|life| counters.map(|n| AllocId::new(Incarnation(*life), n))).collect();
    assert!(ids.is_sorted());
    assert!(ids.iter().map(|id| key::alloc(*id)).collect::<Vec<_>>().is_sorted());

    let names = ["0", "a", "a-b", "a0", "a-0", "ab", "z"];
    let job =
        |namespace: &str, name: &str| JobId { namespace: namespace.parse().unwrap(), name: name.parse().unwrap() };
    let mut jobs: Vec<JobId> = names.iter().flat_map(|a| names.iter().map(|b| job(a, b))).collect();
    jobs.sort();
    assert!(jobs.iter().map(key::job).collect::<Vec<_>>().is_sorted());
    let versions = |id: &JobId| [1, 2, 300].map(|n| key::job_version(id, JobVersion(n)));
    assert!(jobs.iter().flat_map(versions).collect::<Vec<_>>().is_sorted());
}

#[test]
fn commands_of_different_askers_never_share_a_key() {
    let mut keys = BTreeMap::new();
    for (principal, text) in [("a", "b,c"), ("a,b", "c"), ("a", "b"), ("a%2cb", "c"), ("", "a"), ("A", "b"), ("ä", "b")]
    {
        let key =
            key::command(&Principal(principal.to_owned()), &Namespace::default(), &IdempotencyKey(text.to_owned()));
        assert_eq!(keys.insert(key, (principal, text)), None);
    }
}

#[test]
fn a_snapshot_is_what_was_put() {
    let mut builder = SnapshotBuilder::new();
    let epoch = Epoch { incarnation: Incarnation(1), counter: 4 };
    builder.add(EPOCH_KEY, &encode_epoch(epoch));
    let stored: BTreeMap<Vec<u8>, Vec<u8>> = support::samples()
        .iter()
        .map(|(_, sample)| encode(sample, Format::FIRST))
        .map(|write| (write.key, write.value.unwrap()))
        .collect();
    for (key, value) in stored.iter().rev() {
        builder.add(key, value);
    }
    let loaded = builder.finish().unwrap();
    assert_eq!(loaded.epoch, Some(epoch));
    let snapshot = loaded.snapshot;
    let count = snapshot.nodes.len()
        + snapshot.jobs.len()
        + snapshot.job_versions.len()
        + snapshot.allocs.len()
        + snapshot.commands.len()
        + snapshot.ledger.len()
        + snapshot.policy.iter().len()
        + snapshot.trust.len();
    assert_eq!(count + 1, stored.len(), "each record but the counters is in one of the lists");
    assert_eq!(snapshot.meta.events, u64::MAX);
}

#[test]
fn an_empty_store_is_an_empty_snapshot() {
    let loaded = SnapshotBuilder::new().finish().unwrap();
    assert_eq!(loaded.snapshot, Snapshot::default());
    assert_eq!(loaded.epoch, None);
}

#[test]
fn every_damaged_record_is_counted_and_the_first_are_named() {
    let mut builder = SnapshotBuilder::new();
    let (key, value) = meta();
    builder.add(&key, &value);
    for counter in 1..=40 {
        builder.add(&key::alloc(support::alloc_id(counter)), b"{");
    }
    let error = builder.finish().unwrap_err();
    assert_eq!((error.total, error.first.len()), (40, 16));
    assert!(error.to_string().contains("alloc/00000001-0000000000000001"), "{error}");
    assert!(error.to_string().contains("restore the data folder from a backup"), "{error}");
}

#[test]
fn records_without_counters_are_refused() {
    let mut builder = SnapshotBuilder::new();
    let (_, sample) = support::samples().into_iter().find(|(name, _)| name == "node-ready").unwrap();
    let write = encode(&sample, Format::FIRST);
    builder.add(&write.key, &write.value.unwrap());
    let error = builder.finish().unwrap_err();
    assert!(error.to_string().contains("`meta`"), "{error}");
}

#[test]
fn a_typical_allocation_is_under_two_kilobytes() {
    let mut alloc = support::alloc(
        AllocState::Running { placement: support::placement("spread"), since: Timestamp(1), ready: None },
        support::by_command(),
    );
    let names = ["server", "helper"].map(|name| name.parse::<TaskName>().unwrap());
    let running = TaskState::Running { pid: 12_345, started: Timestamp(1_700_000_000_000) };
    let status = TaskStatus { state: running, restarts: 0, last_exit: None, checks: BTreeMap::new() };
    alloc.tasks = names.into_iter().map(|name| (name, status.clone())).collect();
    let bytes = encode(&Mutation::PutAlloc(Box::new(alloc)), Format::FIRST).value.unwrap().len();
    println!("a running allocation of two tasks, with all eight filters explained: {bytes} bytes");
    assert!(bytes < 2_000, "{bytes} bytes");
}

#[test]
fn a_commit_is_written_in_the_format_of_its_counters() {
    let version = |write: berth_record::Write| {
        let value: serde_json::Value = serde_json::from_slice(&write.value.unwrap()).unwrap();
        value["v"].as_u64().unwrap()
    };
    let (_, node) = support::samples().into_iter().find(|(name, _)| name == "node-ready").unwrap();
    for format in [2, 7] {
        let meta = Meta { format: Format(format), ..Meta::default() };
        let mutations = [Mutation::PutMeta(meta), node.clone()];
        let writes = encode_commit(&mutations).map(version);
        assert_eq!(writes.collect::<Vec<_>>(), [u64::from(format); 2]);
    }
    assert_eq!(encode_commit(&[]).count(), 0);
}

#[test]
fn a_new_store_has_the_newest_format_and_one_from_before_there_were_formats_the_first() {
    let loaded = |records: &[(Vec<u8>, Vec<u8>)]| {
        let mut builder = SnapshotBuilder::new();
        records.iter().for_each(|(key, value)| builder.add(key, value));
        builder.finish().unwrap().snapshot.meta.format
    };
    assert_eq!(loaded(&[]), NEWEST);
    assert_eq!(loaded(&[(EPOCH_KEY.to_vec(), encode_epoch(Epoch::default()))]), NEWEST);
    assert_eq!(loaded(&[meta()]), Format::FIRST);
    let (key, value) = meta();
    let oldest = String::from_utf8(value).unwrap().replacen("\"v\":2", "\"v\":1", 1);
    assert_eq!(loaded(&[(key, oldest.into_bytes())]), Format::FIRST);
}

//! Golden files: what was written once stays readable for ever, and what is written does not change
//! without a new version.
//!
//! A new sample is written by `BERTH_WRITE_GOLDEN=1 cargo test -p berth-record --test golden`, which
//! never touches a file that is there.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use berth_model::{Epoch, Incarnation};
use berth_record::{decode, decode_epoch, decode_remembered, encode, encode_epoch, encode_remembered};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

/// The text of a golden file: its key on the first line, its value on the second.
fn golden(key: &[u8], value: &[u8]) -> String {
    let (key, value) = (str::from_utf8(key).unwrap(), str::from_utf8(value).unwrap());
    format!("{{\"key\":\"{key}\",\"value\":\n{value}\n}}\n")
}

/// The value in a golden file.
fn value_of(text: &str) -> &[u8] {
    text.lines().nth(1).unwrap().as_bytes()
}

/// Every sample with its text, as written today.
fn written_today() -> Vec<(String, String)> {
    let records = support::samples().into_iter().map(|(name, mutation)| {
        let write = encode(&mutation);
        (name, golden(&write.key, &write.value.unwrap()))
    });
    let remembered =
        support::remembered().into_iter().map(|(name, value)| (name, golden(b"", &encode_remembered(&value))));
    let epoch = ("epoch".to_owned(), golden(berth_record::EPOCH_KEY, &encode_epoch(epoch())));
    records.chain(remembered).chain([epoch]).collect()
}

fn epoch() -> Epoch {
    Epoch { incarnation: Incarnation(3), counter: u64::MAX }
}

#[test]
fn what_is_written_is_what_the_golden_files_hold() {
    for (name, text) in written_today() {
        let path = folder().join(format!("{name}.json"));
        if !path.exists() && std::env::var_os("BERTH_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let held = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(text, held, "the encoding of `{name}` changed: that needs a new version beside version 1");
    }
}

#[test]
fn golden_files_read_back_as_the_samples() {
    for (name, sample) in support::samples() {
        let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
        assert_eq!(decode(&encode(&sample).key, value_of(&text)).unwrap(), sample, "{name}");
    }
    for (name, sample) in support::remembered() {
        let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
        assert_eq!(decode_remembered(&name, value_of(&text)).unwrap(), sample, "{name}");
    }
    let text = std::fs::read_to_string(folder().join("epoch.json")).unwrap();
    assert_eq!(decode_epoch(value_of(&text)).unwrap(), epoch());
}

#[test]
fn every_golden_file_has_its_sample() {
    let samples: BTreeSet<String> = written_today().into_iter().map(|(name, _)| format!("{name}.json")).collect();
    let files: BTreeSet<String> =
        folder().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, samples);
}

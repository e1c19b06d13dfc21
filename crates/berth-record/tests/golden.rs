//! Golden files: what was written once stays readable for ever, and what is written does not change
//! without a new version.
//!
//! A new sample is written by `BERTH_WRITE_GOLDEN=1 cargo test -p berth-record --test golden`, which
//! never touches a file that is there.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use berth_model::{Epoch, Format, Incarnation};
use berth_record::{decode, decode_epoch, decode_remembered, encode, encode_epoch, encode_remembered};

/// The versions, of which the last is written.
const VERSIONS: [&str; 2] = ["v1", "v2"];

fn folder(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(version)
}

fn newest() -> PathBuf {
    folder(VERSIONS[VERSIONS.len() - 1])
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
        let write = encode(&mutation, Format::FIRST);
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
        let path = newest().join(format!("{name}.json"));
        if !path.exists() && std::env::var_os("BERTH_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let held = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(text, held, "the encoding of `{name}` changed: that needs a new version");
    }
}

#[test]
fn golden_files_of_every_version_read_back_as_the_samples() {
    for version in VERSIONS {
        let held = |name: &str| std::fs::read_to_string(folder(version).join(format!("{name}.json"))).ok();
        let mut read = 0;
        for (name, sample) in support::samples() {
            let Some(text) = held(&name) else { continue };
            assert_eq!(decode(&encode(&sample, Format::FIRST).key, value_of(&text)).unwrap(), sample, "{name}");
            read += 1;
        }
        for (name, sample) in support::remembered() {
            let Some(text) = held(&name) else { continue };
            assert_eq!(decode_remembered(&name, value_of(&text)).unwrap(), sample, "{name}");
            read += 1;
        }
        assert_eq!(decode_epoch(value_of(&held("epoch").unwrap())).unwrap(), epoch());
        assert_eq!(read + 1, folder(version).read_dir().unwrap().count(), "every file of {version} has its sample");
    }
}

#[test]
fn every_sample_has_its_golden_file() {
    let samples: BTreeSet<String> = written_today().into_iter().map(|(name, _)| format!("{name}.json")).collect();
    let files: BTreeSet<String> =
        newest().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, samples);
}

//! A hundred broken job files, each with the exact message that its writer gets: `broken/NNN-name.yaml`
//! beside `broken/NNN-name.txt`. `BERTH_UPDATE=1` rewrites the messages; read them before committing.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use berth_api::jobfile::{JobFileError, parse};

fn broken_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ext| ext == "yaml"));
    files.sort();
    files
}

/// Every fault names its place, and the caret stands within the line that it shows.
fn check_place(file: &str, text: &str, error: &JobFileError) {
    let (line, column) = (error.line.unwrap(), error.column.unwrap());
    let lines = text.lines().count();
    assert!(line >= 1 && line <= lines + 1, "{file}: line {line} of {lines}");
    let source = error.source_line.as_deref().unwrap();
    assert!(error.caret <= source.chars().count(), "{file}:{line}:{column}: the caret is beyond {source:?}");
}

#[test]
fn each_broken_file_gets_its_message() {
    let update = std::env::var_os("BERTH_UPDATE").is_some();
    let files = broken_files();
    assert!(files.len() >= 100, "{} files", files.len());
    let mut wrong = Vec::new();
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let Err(errors) = parse(name, &text) else {
            wrong.push(format!("{name}: is valid"));
            continue;
        };
        errors.errors.iter().for_each(|error| check_place(name, &text, error));
        let message = format!("{errors}\n");
        let expected = path.with_extension("txt");
        if update {
            fs::write(&expected, &message).unwrap();
        }
        if fs::read_to_string(&expected).ok().as_deref() != Some(message.as_str()) {
            wrong.push(format!("{name}: got\n{message}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_message_belongs_to_a_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert!(path.with_extension("yaml").exists(), "{} has no file", path.display());
    }
}

//! Walks over the files of the workspace and collects what the checks of the other modules find.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::layers::PURE;
use crate::{dependencies, markdown, rust_source, text};

/// Something that should be otherwise, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// Line from 1; 0 for the whole file.
    pub line: usize,
    pub message: String,
}

impl Fault {
    pub fn new(line: usize, message: impl Into<String>) -> Fault {
        Fault { line, message: message.into() }
    }
}

/// All faults of the workspace at `root`.
pub fn run(root: &Path) -> anyhow::Result<Vec<String>> {
    let makefile = fs::read_to_string(root.join("Makefile")).context("cannot read Makefile")?;
    let targets = markdown::make_targets(&makefile);
    let mut all = Vec::new();
    let files = files(root)?;
    for path in &files {
        // What is not text is nobody's style; a file that was deleted but not yet committed is gone.
        let Ok(content) = fs::read_to_string(root.join(path)) else { continue };
        let name = path.to_string_lossy();
        let faults = check_file(root, path, &name, &content, &targets);
        all.extend(faults.into_iter().map(|fault| format!("{name}:{}: {}", fault.line, fault.message)));
    }
    all.extend(check_bans(PURE.map(|name| (name, read(root, name, "clippy.toml"), read(root, name, "src/lib.rs")))));
    all.extend(dependencies::run(root, &files)?);
    Ok(all)
}

fn read(root: &Path, name: &str, file: &str) -> String {
    fs::read_to_string(root.join("crates").join(name).join(file)).unwrap_or_default()
}

/// What a list of bans cannot say, since a number's type may be inferred.
const NO_FLOATS: &str = "#![deny(clippy::float_arithmetic)]";

/// The bans of the pure crates, each with its `clippy.toml` and `lib.rs`, are the same.
fn check_bans<const N: usize>(crates: [(&str, String, String); N]) -> Vec<String> {
    let wanted = crates.first().map(|(_, bans, _)| bans.clone()).unwrap_or_default();
    let mut faults = Vec::new();
    for (name, bans, lib) in crates {
        if bans.is_empty() || bans != wanted {
            faults.push(format!("crates/{name}/clippy.toml:0: a pure crate has the bans that the others have"));
        }
        if !lib.lines().any(|line| line == NO_FLOATS) {
            faults.push(format!("crates/{name}/src/lib.rs:0: a pure crate says {NO_FLOATS}"));
        }
    }
    faults
}

/// Files that git knows or would take.
fn files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let arguments = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"];
    let output = Command::new("git").current_dir(root).args(arguments).output().context("cannot run git")?;
    ensure!(output.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    Ok(text.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect())
}

fn check_file(root: &Path, path: &Path, name: &str, content: &str, targets: &[String]) -> Vec<Fault> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    // Made by machines, or wrong on purpose: inputs of tests.
    let data =
        path.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "golden" | "snapshots")));
    if name == "Cargo.lock" || name == "LICENSE" || extension == "snap" || (data && extension != "rs") {
        return Vec::new();
    }
    let mut faults = text::check(name, content);
    match extension {
        "rs" => faults.extend(rust_source::check(name, content)),
        "md" => faults.extend(markdown::check(root, path, content, targets)),
        "toml" if name.ends_with("clippy.toml") || name == "deny.toml" => faults.extend(text::check_reasons(content)),
        _other => {}
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_crates_have_the_same_bans() {
        let lib = format!("//! Why.\n{NO_FLOATS}\n");
        let faults = |first: &str, second: &str, lib_of_second: &str| {
            let second = ("b", second.to_owned(), lib_of_second.to_owned());
            check_bans([("a", first.to_owned(), lib.clone()), second]).len()
        };
        assert_eq!(faults("bans", "bans", &lib), 0);
        assert_eq!(faults("bans", "bans ", &lib), 1, "one differs");
        assert_eq!(faults("bans", "", &lib), 1, "one has none");
        assert_eq!(faults("bans", "bans", "//! Why.\n"), 1, "one can reckon with floats");
    }
}

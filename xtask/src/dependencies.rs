//! Dependencies that nobody names: they cost time to build, and say that a crate does what it does not.
//!
//! Reads text, not syntax. A name counts where code can name a crate: before `::`, or in a `use` or `extern crate`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use cargo_metadata::{DependencyKind, MetadataCommand};

use crate::rust_source::test_modules;

/// Which code of a crate names something.
#[derive(Debug, Default)]
struct Sources {
    /// What is built for others, and what builds it.
    product: String,
    /// Tests, benchmarks and examples.
    tests: String,
}

/// All faults of the workspace at `root`, whose files are `files`.
pub fn run(root: &Path, files: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let mut command = MetadataCommand::new();
    command.current_dir(root).no_deps().other_options(vec!["--locked".to_owned()]);
    let metadata = command.exec().context("cannot run cargo metadata")?;
    let mut faults = Vec::new();
    let mut used = BTreeSet::new();
    for package in metadata.workspace_packages() {
        let manifest = package.manifest_path.strip_prefix(root).context("a crate lies outside the workspace")?;
        let folder = manifest.parent().map(|folder| folder.as_std_path()).context("a manifest without a folder")?;
        let sources = read(root, folder, files);
        for dependency in package.dependencies.iter().filter(|dependency| dependency.name != package.name.as_str()) {
            used.insert(dependency.name.clone());
            let name = dependency.rename.as_deref().unwrap_or(&dependency.name);
            faults.extend(check(&sources, name, dependency.kind).map(|fault| format!("{manifest}:0: {fault}")));
        }
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml")).context("cannot read Cargo.toml")?;
    let unused = of_workspace(&manifest).filter(|name| !used.contains(*name));
    faults.extend(unused.map(|name| format!("Cargo.toml:0: no crate of the workspace uses {name}")));
    Ok(faults)
}

fn read(root: &Path, folder: &Path, files: &[PathBuf]) -> Sources {
    let mut sources = Sources::default();
    for path in files.iter().filter(|path| path.starts_with(folder) && path.extension().is_some_and(|e| e == "rs")) {
        // A file that was deleted but not yet committed is gone.
        let Ok(content) = fs::read_to_string(root.join(path)) else { continue };
        let is_product = path.starts_with(folder.join("src")) || path.ends_with("build.rs");
        if is_product && !path.ends_with("tests.rs") {
            add_product(&mut sources, &content);
        } else {
            sources.tests += &content;
        }
    }
    sources
}

/// A file of the product may have tests in it.
fn add_product(sources: &mut Sources, content: &str) {
    let lines: Vec<&str> = content.lines().collect();
    let tests = test_modules(&lines);
    for (index, line) in lines.iter().enumerate() {
        let in_tests = tests.iter().any(|range| range.contains(&index));
        let into = if in_tests { &mut sources.tests } else { &mut sources.product };
        *into += line;
        into.push('\n');
    }
}

fn check(sources: &Sources, dependency: &str, kind: DependencyKind) -> Option<String> {
    let name = dependency.replace('-', "_");
    let in_product = names(&sources.product, &name);
    let in_tests = names(&sources.tests, &name);
    match (kind, in_product, in_tests) {
        (_, true, _) | (DependencyKind::Development, _, true) => None,
        (_, false, true) => Some(format!("only tests name {dependency}: it is a dev-dependency")),
        (_, false, false) => Some(format!("nothing names {dependency}")),
    }
}

fn names(code: &str, name: &str) -> bool {
    code.lines().map(str::trim_start).filter(|line| !line.starts_with("//")).any(|line| {
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        line.match_indices(name).any(|(at, _)| {
            let (before, after) = (&line[..at], &line[at + name.len()..]);
            let imported = before.ends_with("use ") || before.ends_with("extern crate ");
            let alone = imported && after.starts_with([';', ' ']);
            !before.ends_with(is_part) && (after.starts_with("::") || alone)
        })
    })
}

/// What `[workspace.dependencies]` offers.
fn of_workspace(manifest: &str) -> impl Iterator<Item = &str> {
    let section = manifest.lines().skip_while(|line| *line != "[workspace.dependencies]").skip(1);
    let lines = section.take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NORMAL: DependencyKind = DependencyKind::Normal;
    const TESTS: DependencyKind = DependencyKind::Development;

    fn sources() -> Sources {
        let mut sources = Sources { tests: "use in_test::x;\n".to_owned(), ..Sources::default() };
        let code = "//! As unnamed::does.\nuse log;\nuse a_b::C;\nlet x = std::time::now();\n#[d::test]\nfn f() {}\n\
                    #[cfg(test)]\nmod tests {\n    use in_module::y;\n}\n";
        add_product(&mut sources, code);
        sources
    }

    #[test]
    fn what_is_named_is_fine() {
        for name in ["log", "a-b", "d"] {
            assert_eq!(check(&sources(), name, NORMAL), None, "{name}");
        }
        for name in ["in-test", "in_module", "a-b"] {
            assert_eq!(check(&sources(), name, TESTS), None, "{name}");
        }
    }

    #[test]
    fn what_nothing_names_is_found() {
        for name in ["unnamed", "time", "b", "C", "x"] {
            for kind in [NORMAL, TESTS] {
                assert_eq!(check(&sources(), name, kind), Some(format!("nothing names {name}")));
            }
        }
    }

    #[test]
    fn what_only_tests_name_is_found() {
        for name in ["in-test", "in_module"] {
            assert!(check(&sources(), name, NORMAL).is_some_and(|fault| fault.contains("dev-dependency")), "{name}");
        }
    }

    #[test]
    fn the_workspace_offers_what_its_section_lists() {
        let manifest = "[workspace]\nmembers = []\n\n[workspace.dependencies]\na = \"1\"\nb-c = { path = \"b\" }\n\n\
                        [profile.dev]\nopt-level = 1\n";
        assert_eq!(of_workspace(manifest).collect::<Vec<_>>(), ["a", "b-c"]);
    }
}

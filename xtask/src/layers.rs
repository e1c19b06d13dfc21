//! Holds the edges between crates against the table in `ARCHITECTURE.md`, and keeps IO out of the pure crates.
//!
//! Says nothing about code inside a crate: that is for the `clippy.toml` of each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::Context;
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

/// The crates that decide, and the words they use.
pub const PURE: [&str; 6] =
    ["berth-model", "berth-flow", "berth-placement", "berth-check", "berth-control", "berth-node"];

/// What must not be linked into a pure crate, however far down, and why.
const IMPURE: [(&str, &str); 19] = [
    ("tokio", "async and IO"),
    ("futures", "async"),
    ("futures-util", "async"),
    ("axum", "IO"),
    ("hyper", "IO"),
    ("reqwest", "IO"),
    ("mio", "IO"),
    ("socket2", "IO"),
    ("redb", "IO"),
    ("libcontainer", "IO"),
    ("rtnetlink", "IO"),
    ("procfs", "IO"),
    ("tempfile", "IO"),
    ("nix", "system calls"),
    ("rustix", "system calls"),
    ("rand", "randomness"),
    ("getrandom", "randomness"),
    ("ahash", "hashes with random keys"),
    ("jiff", "a clock"),
];

/// What the table allows: crate to the crates that it may depend on.
#[derive(Debug, Default)]
struct Table {
    rows: BTreeMap<String, Row>,
}

/// One row of the table.
#[derive(Debug, Default)]
struct Row {
    always: BTreeSet<String>,
    /// Marked `(tests)`: as a dev-dependency only.
    in_tests: BTreeSet<String>,
}

/// A dependency of one of our crates on another of ours.
#[derive(Debug)]
struct Edge {
    from: String,
    to: String,
    for_tests: bool,
}

/// All faults of the workspace at `root`.
pub fn run(root: &Path) -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).context("cannot read ARCHITECTURE.md")?;
    let table = parse(&text);
    // Only this machine's platform: the others' dependencies need not be on the disk.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut command = MetadataCommand::new();
    command.current_dir(root).other_options(vec!["--locked".to_owned(), "--filter-platform".to_owned(), platform]);
    let metadata = command.exec().context("cannot run cargo metadata")?;
    let members: BTreeSet<String> = metadata.workspace_packages().iter().map(|p| p.name.to_string()).collect();
    let mut faults = check_edges(&table, &members, &edges(&metadata, &members));
    for name in PURE {
        faults.extend(check_pure(name, &closure(&metadata, name)?));
    }
    Ok(faults)
}

/// Reads the rows that begin with a crate's name in backticks.
fn parse(text: &str) -> Table {
    let mut table = Table::default();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let (Some(name), Some(allowed)) = (cells.first(), cells.get(2)) else { continue };
        let mut row = Row::default();
        let words: Vec<&str> = allowed.split_whitespace().collect();
        for (index, word) in words.iter().enumerate().filter(|(_, word)| word.starts_with('`')) {
            let set = if words.get(index + 1) == Some(&"(tests)") { &mut row.in_tests } else { &mut row.always };
            set.insert(word.trim_matches('`').to_owned());
        }
        table.rows.insert(name.trim_matches('`').to_owned(), row);
    }
    table
}

fn edges(metadata: &Metadata, members: &BTreeSet<String>) -> Vec<Edge> {
    let mut all = Vec::new();
    for package in metadata.workspace_packages() {
        for dependency in package.dependencies.iter().filter(|dependency| members.contains(&dependency.name)) {
            let for_tests = dependency.kind == DependencyKind::Development;
            all.push(Edge { from: package.name.to_string(), to: dependency.name.clone(), for_tests });
        }
    }
    all
}

fn check_edges(table: &Table, members: &BTreeSet<String>, edges: &[Edge]) -> Vec<String> {
    let mut faults = Vec::new();
    for name in members.iter().filter(|name| !table.rows.contains_key(*name)) {
        faults.push(format!("ARCHITECTURE.md: the table of crates lacks `{name}`"));
    }
    for name in table.rows.keys().filter(|name| !members.contains(*name)) {
        faults.push(format!("ARCHITECTURE.md: the table has `{name}`, which is no crate of the workspace"));
    }
    for edge in edges {
        let Some(row) = table.rows.get(&edge.from) else { continue };
        // A crate may use itself in its tests, with another feature switched on.
        let in_tests = edge.for_tests && (row.in_tests.contains(&edge.to) || edge.from == edge.to);
        if !in_tests && !row.always.contains(&edge.to) {
            let kind = if edge.for_tests { " in its tests" } else { "" };
            faults.push(format!("{} depends on {}{kind}: not in the table of ARCHITECTURE.md", edge.from, edge.to));
        }
    }
    faults
}

/// Names of everything that is linked into a crate, or builds it.
fn closure(metadata: &Metadata, name: &str) -> anyhow::Result<BTreeSet<String>> {
    let resolve = metadata.resolve.as_ref().context("cargo metadata gave no resolved graph")?;
    let nodes: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let start = metadata.packages.iter().find(|package| package.name.as_str() == name);
    let mut open = vec![&start.with_context(|| format!("no package {name}"))?.id];
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let dependencies = nodes.get(id).map(|node| node.deps.as_slice()).unwrap_or_default();
        let linked = dependencies.iter().filter(|d| d.dep_kinds.iter().any(|k| k.kind != DependencyKind::Development));
        open.extend(linked.map(|dependency| &dependency.pkg));
    }
    Ok(seen.into_iter().map(|id| metadata[id].name.to_string()).collect())
}

fn check_pure(name: &str, closure: &BTreeSet<String>) -> Vec<String> {
    let bad = IMPURE.iter().filter(|(dependency, _)| closure.contains(*dependency));
    bad.map(|(dependency, why)| format!("{name} must stay pure, but links {dependency} ({why})")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
| crate | what | may depend on |
|---|---|---|
| `a` | words | |
| `b` | more | `a` |
| `c` | most | `a` `b` (tests) |
";

    fn names(words: &[&str]) -> BTreeSet<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn edge(from: &str, to: &str, for_tests: bool) -> Edge {
        Edge { from: from.to_owned(), to: to.to_owned(), for_tests }
    }

    fn faults(edges: &[Edge]) -> Vec<String> {
        check_edges(&parse(TABLE), &names(&["a", "b", "c"]), edges)
    }

    #[test]
    fn edges_of_the_table_are_fine() {
        let edges = [edge("b", "a", false), edge("c", "a", true), edge("c", "b", true), edge("a", "a", true)];
        assert_eq!(faults(&edges), Vec::<String>::new());
    }

    #[test]
    fn an_edge_that_is_not_in_the_table_is_found() {
        assert_eq!(faults(&[edge("a", "b", false)]).len(), 1);
        assert_eq!(faults(&[edge("a", "b", true)]).len(), 1);
        assert_eq!(faults(&[edge("c", "b", false)]).len(), 1, "allowed in tests only");
    }

    #[test]
    fn a_crate_without_a_row_and_a_row_without_a_crate_are_found() {
        let table = parse(TABLE);
        assert_eq!(check_edges(&table, &names(&["a", "b", "c", "d"]), &[]).len(), 1);
        assert_eq!(check_edges(&table, &names(&["a", "b"]), &[]).len(), 1);
    }

    #[test]
    fn io_below_a_pure_crate_is_found() {
        assert_eq!(check_pure("berth-model", &names(&["serde", "thiserror"])).len(), 0);
        assert_eq!(check_pure("berth-model", &names(&["serde", "tokio"])).len(), 1);
    }
}

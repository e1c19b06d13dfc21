//! `berth solve` as scripts meet it.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

const BERTH: &str = env!("CARGO_BIN_EXE_berth");

/// Two ways from node 1 to node 3; the cheap one is narrow.
const BASE: &str = "p min 3 3\nn 1 5\nn 3 -5\na 1 2 0 3 1\na 2 3 0 -1 1\na 1 3 0 9 4\n";
/// The cheap one is wider, and a node more wants some.
const CHANGED: &str = "p min 4 4\nn 1 6\nn 3 -5\nn 4 -1\na 1 2 0 4 1\na 2 3 0 -1 1\na 1 3 0 9 4\na 3 4 0 1 0\n";

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn run(args: &[&str]) -> Output {
    Command::new(BERTH).arg("solve").args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The JSON of a command that must end with this status, and what it says on standard error.
fn json(status: i32, args: &[&str]) -> (Value, String) {
    let output = run(&[args, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(status), "{args:?}: {}", text(&output.stderr));
    (serde_json::from_slice(&output.stdout).unwrap(), text(&output.stderr))
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn a_problem_is_solved_and_its_flow_is_written() {
    let files = Files::new();
    let (base, flows) = (files.put("base.min", BASE), files.put("flows", ""));
    let (solved, _) = json(0, &[&base, "--flows", &flows]);
    assert_eq!(keys(&solved), ["certified", "cost", "cpu_ms", "status", "steps"]);
    assert_eq!(solved["status"], "optimal");
    assert_eq!(solved["cost"], 14);
    assert_eq!(solved["certified"], true);
    assert!(solved["cpu_ms"].is_f64() && solved["steps"].is_u64());
    assert_eq!(fs::read_to_string(&flows).unwrap(), "s 14\nf 1 2 3\nf 2 3 3\nf 1 3 2\n");

    let told = text(&run(&[&base]).stdout);
    assert!(told.contains("optimal") && told.contains(" 14 ") && told.contains("yes"), "{told}");
}

#[test]
fn a_changed_problem_is_solved_by_repair() {
    let files = Files::new();
    let (base, changed, flows) =
        (files.put("base.min", BASE), files.put("changed.min", CHANGED), files.put("flows", ""));
    let (solved, _) = json(0, &[&base, "--then", &changed, "--flows", &flows]);
    assert_eq!(keys(&solved), ["resolve", "scratch"]);
    assert_eq!(solved["scratch"]["cost"], 14);
    assert_eq!(keys(&solved["resolve"]), ["certified", "changes", "cost", "cpu_ms", "status", "steps"]);
    // A supply, a capacity, a node, an arc.
    assert_eq!(solved["resolve"]["changes"], 4);
    assert_eq!(solved["resolve"]["cost"], 16);
    assert_eq!(solved["resolve"]["certified"], true);
    assert_eq!(fs::read_to_string(&flows).unwrap(), "s 16\nf 1 2 4\nf 2 3 4\nf 1 3 2\nf 3 4 1\n");

    let (solved, _) = json(0, &[&base, "--then", &changed, "--then", &base, "--then", &base]);
    let costs: Vec<&Value> = solved["resolves"].as_array().unwrap().iter().map(|one| &one["cost"]).collect();
    assert_eq!(costs, [16, 14, 14]);
    assert_eq!(solved["resolve"], solved["resolves"][2]);
    assert_eq!(solved["resolve"]["changes"], 0);
}

#[test]
fn a_problem_without_an_optimum_is_told_with_its_proof() {
    let files = Files::new();
    let base = files.put("base.min", BASE);
    let narrow = files.put("narrow.min", &BASE.replace("0 9 4", "0 1 4"));
    let (solved, told) = json(4, &[&narrow]);
    assert_eq!(keys(&solved), ["certified", "cpu_ms", "cut", "status", "steps"]);
    assert_eq!((&solved["status"], &solved["certified"]), (&"infeasible".into(), &true.into()));
    assert!(told.contains("narrow.min: there is no flow: "), "{told}");
    // Each of these cuts is a proof.
    let cuts = ["node 1 supplies 5, and at most 4 can leave it", "node 3 supplies -5, and at least -4 must leave it"];
    let both = "the nodes 1, 2 supply 5 together, and at most 4 can leave them";
    assert!(cuts.iter().chain([&both]).any(|cut| told.contains(cut)), "{told}");
    let lost = files.put("lost.min", &BASE.replace("n 3 -5", "n 3 -6"));
    let (_, told) = json(4, &[&lost]);
    assert!(told.contains("lost.min: there is no flow: all supplies together are -1, and must be 0"), "{told}");

    let endless =
        files.put("endless.min", &BASE.replace("p min 3 3", "p min 3 4").replace("a 1 3", "a 3 2 0 -1 -2\na 1 3"));
    let (solved, told) = json(4, &[&base, "--then", &endless, "--then", &base]);
    let unbounded = &solved["resolves"][0];
    assert_eq!((&unbounded["status"], &unbounded["certified"]), (&"unbounded".into(), &true.into()));
    let mut cycle: Vec<u64> = unbounded["cycle"].as_array().unwrap().iter().map(|arc| arc.as_u64().unwrap()).collect();
    cycle.sort_unstable();
    assert_eq!(cycle, [2, 3], "arcs are told by their places in the file");
    assert!(told.contains("endless.min: there is no least cost: the arcs around the nodes "), "{told}");
    assert!(told.contains("have no capacity and cost -1 together"), "{told}");
    assert_eq!(solved["resolve"]["cost"], 14, "the next file is solved all the same");
}

#[test]
fn a_wrong_file_is_told_with_its_line() {
    let files = Files::new();
    let base = files.put("base.min", BASE);
    let wrong = files.put("wrong.min", &BASE.replace("0 9 4", "0 x 4"));
    let huge = files.put("huge.min", &BASE.replace("n 1 5", "n 1 9223372036854775807"));
    for args in [vec![wrong.as_str()], vec![&base, "--then", &wrong]] {
        let output = run(&args);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()));
        let told = text(&output.stderr);
        assert!(told.starts_with(&format!("berth: cannot read {wrong}: line 6: expected its capacity, ")), "{told}");
    }
    let dear = files.put("dear.min", &BASE.replace("0 9 4", "0 9 9223372036854775807"));
    for (file, line, place) in [(&huge, 2, "node 1"), (&dear, 6, "arc 3 from node 1 to node 3")] {
        let begins = [format!("berth: cannot read {file}: line {line}: "), format!("berth: {file}: {place}: ")];
        for (args, begin) in [vec![file.as_str()], vec![&base, "--then", file]].into_iter().zip(begins) {
            let output = run(&args);
            let told = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{told}");
            assert!(told.starts_with(&begin) && told.contains("exceed"), "{told}");
        }
    }
    let output = run(&["/nowhere/to/be.min"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("berth: cannot read /nowhere/to/be.min: "), "{}", text(&output.stderr));
}

#[test]
fn a_stream_is_taken_where_it_can_be() {
    let files = Files::new();
    let base = files.put("base.min", BASE);
    let piped = |args: &[&str]| {
        let input = fs::File::open(&base).unwrap();
        Command::new(BERTH).arg("solve").args(args).stdin(input).output().unwrap()
    };
    let output = piped(&["-", "--json", "--then", &base]);
    let solved: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&solved["scratch"]["cost"], &solved["resolve"]["cost"]), (&14.into(), &14.into()));
    for (args, wanted) in [
        (vec!["-", "--then", "-"], "berth: standard input (`-`) can be one of the files only; name the others\n"),
        (
            vec!["-", "--flows", "-"],
            "berth: --flows writes a file, since standard output has the figures; name a file\n",
        ),
    ] {
        let output = piped(&args);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(2), wanted.to_owned()));
    }
}

#[test]
fn flows_do_not_overwrite_the_problem() {
    let files = Files::new();
    let base = files.put("base.min", BASE);
    let output = run(&[&base, "--flows", &base]);
    let wanted = format!("berth: --flows {base} would overwrite the problem; name another file\n");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(2), wanted));
    assert_eq!(fs::read_to_string(&base).unwrap(), BASE);
}

#[test]
fn equal_files_give_equal_bytes() {
    let files = Files::new();
    // Many ways of the same cost: what is told is not the only optimum.
    let ways: String = (2..40).map(|node| format!("a 1 {node} 0 2 1\na {node} 40 0 2 1\n")).collect();
    let plateau = files.put("plateau.min", &format!("p min 40 76\nn 1 30\nn 40 -30\n{ways}"));
    let base = files.put("base.min", BASE);
    let told = |name: &str| {
        let flows = files.put(name, "");
        let (mut solved, _) = json(0, &[&base, "--then", &plateau, "--flows", &flows]);
        for solve in ["scratch", "resolve"] {
            solved[solve].as_object_mut().unwrap().remove("cpu_ms");
        }
        (solved, fs::read(flows).unwrap())
    };
    assert_eq!(told("one"), told("other"));
}

//! Simulations from the command line, on small files of our own.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use support::BERTH;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../berth-sim/tests/trace").join(name)
}

fn trace(nodes: &Path, instances: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(BERTH);
    command.args(["sim", "trace", "--nodes"]).arg(nodes).arg("--instances").arg(instances).args(more);
    command.output().unwrap()
}

fn told(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_trace_is_replayed_for_people_and_for_programs() {
    let (nodes, instances) = (fixture("machines.csv"), fixture("instances.csv"));
    let text = told(&trace(&nodes, &instances, &[]));
    assert!(text.contains("instances   11: 8 placed, 3 never"), "{text}");
    assert!(text.contains("nodes with fewer of the service"), "{text}");
    let json: Value = serde_json::from_str(&told(&trace(&nodes, &instances, &["--json"]))).unwrap();
    assert_eq!((json["placed"].as_u64(), json["waited"].as_u64()), (Some(8), Some(4)));
    let reasons: Vec<&str> = json["waits"].as_array().unwrap().iter().map(|w| w["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons.len(), 4);
    let dir = tempfile::tempdir().unwrap();
    let svg = dir.path().join("trace.svg");
    told(&trace(&nodes, &instances, &["--svg", svg.to_str().unwrap()]));
    assert!(fs::read_to_string(&svg).unwrap().contains("11 instances of 4 services on 3 nodes"));
    assert!(reasons.contains(&"per_node") && reasons.contains(&"never"), "{reasons:?}");
}

#[test]
fn a_wrong_trace_is_told_by_file_line_and_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = dir.path().join("wrong.csv");
    let text = fs::read_to_string(fixture("instances.csv")).unwrap();
    fs::write(&wrong, text.replace("5000.0,,", "5000.0,,4000.0")).unwrap();
    let refused = |nodes: &Path, instances: &Path| {
        let output = trace(nodes, instances, &[]);
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let problem = refused(&fixture("machines.csv"), &wrong);
    assert!(problem.contains("wrong.csv, line 10: deleted before it was created: expected a later"), "{problem}");
    let problem = refused(&dir.path().join("none.csv"), &wrong);
    assert!(problem.contains("none.csv: No such file"), "{problem}");
    let problem = refused(&wrong, &wrong);
    assert!(problem.contains("wrong.csv, line 2: missing field `count`"), "{problem}");
}

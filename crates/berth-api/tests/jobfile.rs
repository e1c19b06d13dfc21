//! Job files as their users meet them: examples that are right, texts that are wrong, and the round trip.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use berth_api::jobfile::{MAX_ERRORS, from_json, json_schema, parse, to_json};
use berth_model::{Bytes, CpuMillis, Driver, JobSpec, Millis};
use proptest::prelude::*;

const EXAMPLES: [(&str, &str); 3] = [
    ("hello.yaml", include_str!("../../../examples/hello.yaml")),
    ("web.yaml", include_str!("../../../examples/web.yaml")),
    ("node-metrics.yaml", include_str!("../../../examples/node-metrics.yaml")),
];

fn good(text: &str) -> JobSpec {
    parse("job.yaml", text).unwrap_or_else(|e| panic!("{e}"))
}

fn bad(text: &str) -> String {
    parse("job.yaml", text).expect_err("this text is wrong").to_string()
}

#[test]
fn examples_are_valid_and_survive_the_wire() {
    for (name, text) in EXAMPLES {
        let spec = parse(name, text).unwrap_or_else(|e| panic!("{e}"));
        let json = to_json(&spec);
        assert_eq!(from_json(&json).unwrap_or_else(|e| panic!("{e}\n{json:#}")), spec, "{name} as a value");
        assert_eq!(good(&json.to_string()), spec, "{name} as a file of JSON");
    }
}

#[test]
fn a_short_file_gets_every_default() {
    let spec = good("job: a\ngroups: [{name: g, tasks: [{name: t, command: [/bin/true]}]}]\n");
    let group = &spec.groups[0];
    let task = &group.tasks[0];
    assert_eq!((spec.id.to_string().as_str(), spec.priority.0, group.count), ("default/a", 50, 1));
    assert_eq!((task.resources.cpu, task.resources.memory), (CpuMillis(100), Bytes::mib(64)));
    assert_eq!((task.kill.signal, task.kill.timeout), (15, Millis::from_secs(10)));
    assert_eq!(task.driver, Driver::Exec);
}

#[test]
fn text_stays_as_it_was_written() {
    let spec = good(EXAMPLES[1].1);
    assert_eq!(spec.groups[0].tasks[0].env["VERSION"], "1.10");
    assert_eq!(spec.groups[0].tasks[0].resources.cpu, CpuMillis(500));
}

#[test]
fn several_faults_are_told_at_once_each_with_its_place() {
    let text = "job: Web\nkind: servce\ngroups:\n  - name: g\n    cuont: 3\n    tasks:\n      - name: t\n        image: nginx\n        resources: {memory: 0, cpu: fast}\n        env: {BERTH_X: a}\n";
    insta::assert_snapshot!(bad(text));
}

#[test]
fn clashes_and_contradictions_are_told() {
    let text = "job: a\nkind: system\ngroups:\n  - name: g\n    count: 2\n    tasks:\n      - {name: t, command: [x], resources: {ports: {http: 80}}}\n      - {name: t, command: [x], resources: {ports: {http: 80}}, tmpfs: {tmp: 1MiB}}\n      - {name: u, image: h.io/x:1, tmpfs: {tmp: 1MiB}, kill: {signal: SIGTREM}}\n    constraints: [{attribute: a, operator: in}, {attribute: b}]\n";
    insta::assert_snapshot!(bad(text));
}

#[test]
fn broken_yaml_is_told_with_its_place() {
    for (text, place) in [
        ("", "job.yaml:1:1"),
        ("job: [a\n", "job.yaml:1:6"),
        ("job: a\njob: b\n", "job.yaml:2:1"),
        ("job: a\n---\njob: b\n", "job.yaml:2:1"),
        ("- a\n", "job.yaml:1:1"),
        ("job: *x\n", "job.yaml:1:6"),
    ] {
        let message = bad(text);
        assert!(message.starts_with(place), "{text:?}: {message}");
    }
}

#[test]
fn small_files_cannot_mean_large_jobs() {
    let mut bomb = format!("a0: &a0 {}\n", "x".repeat(1000));
    for i in 1..20 {
        bomb += &format!("a{i}: &a{i} [*a{j}, *a{j}]\n", j = i - 1);
    }
    assert!(bad(&bomb).contains("expand to more"), "{}", bad(&bomb));
    assert!(bad(&"[".repeat(5000)).contains("job.yaml:1:"));
    assert!(bad(&"x".repeat(300 << 10)).contains("too many"));
}

#[test]
fn a_request_gets_paths_instead_of_lines() {
    let error = from_json(&serde_json::json!({"job": "a", "groups": [{"name": "g", "count": "many"}]})).unwrap_err();
    let paths: Vec<&str> = error.errors.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(paths, ["groups[0].count", "groups[0]"]);
    assert!(error.errors.iter().all(|e| e.line.is_none()));
}

#[test]
fn faults_are_bounded() {
    let text: String = (0..50).map(|i| format!("k{i}: 1\n")).collect();
    let error = parse("job.yaml", &text).unwrap_err();
    assert_eq!((error.errors.len(), error.omitted), (MAX_ERRORS, 42));
}

#[test]
fn the_published_schema_is_the_generated_one() {
    let generated = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/job-schema.json");
    if std::env::var_os("BERTH_UPDATE").is_some() {
        std::fs::write(path, &generated).unwrap();
    }
    let published = std::fs::read_to_string(path).unwrap();
    assert!(published == generated, "docs/job-schema.json is old: run this test with BERTH_UPDATE=1");
}

proptest! {
    #[test]
    fn mutated_text_parses_or_fails_without_a_panic(
        example in 0..EXAMPLES.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<char>(), 0..4u8), 1..12),
    ) {
        let mut text: Vec<char> = EXAMPLES[example].1.chars().collect();
        for (index, c, kind) in edits {
            let at = index.index(text.len());
            match kind {
                0 => text[at] = c,
                1 => text.insert(at, c),
                2 if text.len() > 1 => { text.remove(at); }
                _ => { let other = text[(at * 7 + 3) % text.len()]; text[at] = other; }
            }
        }
        let text: String = text.into_iter().collect();
        match parse("job.yaml", &text) {
            Ok(spec) => prop_assert_eq!(from_json(&to_json(&spec)).unwrap(), spec),
            Err(errors) => {
                prop_assert!(!errors.errors.is_empty() && errors.errors.len() <= MAX_ERRORS);
                prop_assert!(errors.errors.iter().all(|e| e.line.is_some() && !e.message.is_empty()));
                let _ = errors.to_string();
            }
        }
    }
}

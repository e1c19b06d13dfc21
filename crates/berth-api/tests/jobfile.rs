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

/// Every file of `examples/`, the demo's with an image in the place of its placeholder.
fn examples() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths.filter(|path| path.extension().is_some_and(|ext| ext == "yaml")).collect();
    files.sort();
    let read =
        |path: &std::path::PathBuf| std::fs::read_to_string(path).unwrap().replace("IMAGE", "oci:/images/demo:latest");
    files.iter().map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), read(path))).collect()
}

fn good(text: &str) -> JobSpec {
    parse("job.yaml", text).unwrap_or_else(|e| panic!("{e}"))
}

fn bad(text: &str) -> String {
    parse("job.yaml", text).expect_err("this text is wrong").to_string()
}

#[test]
fn examples_are_valid_and_survive_the_wire() {
    let examples = examples();
    assert!(examples.len() >= 8, "{} examples", examples.len());
    for (name, text) in examples {
        let spec = parse(&name, &text).unwrap_or_else(|e| panic!("{e}"));
        let json = to_json(&spec);
        assert_eq!(from_json(&json).unwrap_or_else(|e| panic!("{e}\n{json:#}")), spec, "{name} as a value");
        assert_eq!(good(&json.to_string()), spec, "{name} as a file of JSON");
    }
}

#[test]
fn samples_of_the_reference_are_valid() {
    let reference = include_str!("../../../docs/job-file.md");
    let samples: Vec<&str> = reference.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(samples.len() >= 3, "{} samples", samples.len());
    for sample in samples {
        good(sample);
    }
}

/// What is written in the reference and what is checked are the same words.
#[test]
fn the_reference_names_every_field_and_operator() {
    let reference = include_str!("../../../docs/job-file.md");
    let schema = json_schema();
    let defs = schema["$defs"].as_object().unwrap();
    let mut words: Vec<String> = Vec::new();
    for def in defs.values().chain([&schema]) {
        words.extend(def["properties"].as_object().into_iter().flat_map(|p| p.keys().cloned()));
        words.extend(def["enum"].as_array().into_iter().flatten().map(|v| v.as_str().unwrap().to_owned()));
    }
    assert!(words.len() > 40, "{words:?}");
    for word in words {
        assert!(reference.contains(&format!("`{word}`")), "docs/job-file.md does not tell of `{word}`");
    }
}

/// A lab runs this example and compares what comes of it with its plan, so it leaves nothing out.
#[test]
fn an_example_has_every_rule_and_operator() {
    let text = include_str!("../../../examples/every-rule.yaml");
    let schema = json_schema();
    let keys = |def: &str| schema["$defs"][def]["properties"].as_object().unwrap().keys().cloned().collect();
    let mut fields: Vec<String> = keys("GroupFile");
    let others = ["meta", "network", "restart", "on_partition", "replace_after", "lease"];
    fields.retain(|field| !others.contains(&field.as_str()));
    for rule in ["AffinityFile", "AtMostFile", "ConstraintFile", "DeviceFile", "PreferenceFile", "SpreadFile"] {
        fields.extend(keys(rule));
    }
    fields.extend(keys("ResourcesFile"));
    for field in fields {
        assert!(text.contains(&format!("{field}: ")) || text.contains(&format!("{field}:\n")), "`{field}` is not used");
    }
    for operator in schema["$defs"]["OperatorFile"]["enum"].as_array().unwrap() {
        let operator = operator.as_str().unwrap();
        let ways =
            [format!("operator: {operator},"), format!("operator: {operator}}}"), format!("operator: {operator:?},")];
        assert!(ways.iter().any(|way| text.contains(way)), "operator `{operator}` is not used");
    }
}

#[test]
fn a_short_file_gets_every_default() {
    let spec = good("job: a\ngroups: [{name: g, tasks: [{name: t, command: [/bin/true]}]}]\n");
    let group = &spec.groups[0];
    let task = &group.tasks[0];
    assert_eq!((spec.id.to_string().as_str(), spec.priority.0, group.count), ("default/a", 50, 1));
    assert_eq!((task.resources.cpu, task.resources.memory), (CpuMillis(100), Bytes::mib(64)));
    assert_eq!((task.kill.signal, task.kill.timeout), (None, Millis::from_secs(10)));
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
        assert!(message.contains(place), "{text:?}: {message}");
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
fn a_job_that_could_not_be_posted_is_refused_by_the_reader() {
    let mut text = "job: web\ngroups:\n".to_owned();
    for group in 0..64 {
        text += &format!("- name: g{group}\n  tasks:\n");
        text.extend((0..32).map(|task| format!("  - {{name: t{task}, command: [x]}}\n")));
    }
    let error = parse("job.yaml", &text).map(drop).unwrap_err().to_string();
    assert!(error.contains("with its defaults written out"), "{error}");
}

#[test]
fn faults_are_bounded() {
    let text: String = (0..50).map(|i| format!("k{i}: 1\n")).collect();
    let error = parse("job.yaml", &text).unwrap_err();
    assert_eq!((error.errors.len(), error.omitted), (MAX_ERRORS, 42));
}

#[test]
fn the_schema_claims_no_default_that_there_is_not() {
    let text = json_schema().to_string();
    assert!(!text.contains("\"default\":null"), "null is a value that no field takes");
    assert!(!text.contains("\"example\":"), "JSON Schema knows `examples` only");
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

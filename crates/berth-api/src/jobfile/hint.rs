//! What to write instead: for a list where a map belongs, a map where a list belongs, and a key that
//! belongs elsewhere or is another system's word. Hints only: nothing here decides what is valid.

use super::error::{nearest, quoted};
use super::tree::{Node, Value, is_null};

/// What other systems call our keys and words.
const SYNONYMS: [(&str, &str); 47] = [
    ("name", "policy"),
    ("extends", "base"),
    ("terms", "weights"),
    ("==", "="),
    ("<>", "!="),
    ("docker", "container"),
    ("oci", "container"),
    ("process", "exec"),
    ("raw_exec", "exec"),
    ("daemonset", "system"),
    ("global", "system"),
    ("gpu", "devices"),
    ("deployment", "service"),
    ("args", "command"),
    ("annotations", "meta"),
    ("bandwidth", "network"),
    ("capabilities", "cap_add"),
    ("cmd", "command"),
    ("containers", "tasks"),
    ("cpus", "cpu"),
    ("cwd", "working_dir"),
    ("entrypoint", "command"),
    ("environment", "env"),
    ("id", "job"),
    ("kill_signal", "kill"),
    ("kill_timeout", "kill"),
    ("health_check", "checks"),
    ("healthcheck", "checks"),
    ("health", "checks"),
    ("period", "interval"),
    ("success_threshold", "successes"),
    ("failure_threshold", "failures"),
    ("antiaffinity", "anti_affinity"),
    ("affinities", "affinity"),
    ("preferred", "prefer"),
    ("labels", "meta"),
    ("mem", "memory"),
    ("name", "job"),
    ("network_mode", "network"),
    ("op", "operator"),
    ("replicas", "count"),
    ("restart_policy", "restart"),
    ("stop_signal", "kill"),
    ("storage", "disk"),
    ("task", "tasks"),
    ("type", "kind"),
    ("workdir", "working_dir"),
];

/// Where keys belong that stand in one place only.
const HOMES: [(&str, &[&str]); 8] = [
    ("in `resources` of a task", &["cpu", "memory", "disk", "devices", "ports"]),
    ("in an item of `checks` of a task", &["http", "tcp", "exec", "file", "successes", "failures"]),
    ("in `http` of a check", &["path", "scheme", "server_name", "headers"]),
    ("in `kill` of a task", &["signal", "timeout"]),
    ("in `restart` of a group", &["attempts", "interval", "delay", "max_delay"]),
    ("in `update` of a group", &["max_parallel", "min_ready"]),
    (
        "in a task",
        &[
            "driver",
            "image",
            "credential",
            "read_only_root",
            "tmpfs",
            "cap_add",
            "command",
            "env",
            "working_dir",
            "user",
            "resources",
            "pids_limit",
            "checks",
            "kill",
        ],
    ),
    (
        "in a group",
        &[
            "count",
            "network",
            "restart",
            "update",
            "tasks",
            "distinct_hosts",
            "at_most",
            "affinity",
            "anti_affinity",
            "prefer",
            "spread",
            "gang",
            "on_partition",
            "replace_after",
            "lease",
        ],
    ),
];
/// The same of a file with a policy.
const HOMES_OF_POLICY: [(&str, &[&str]); 2] = [
    ("at the top of the file", &["policy", "base", "pools", "balance", "balance_max"]),
    (
        "in `weights`",
        &[
            "utilisation",
            "emptiness",
            "same_group",
            "fragmentation",
            "failed_here",
            "preference",
            "affinity",
            "anti_affinity",
            "spread",
        ],
    ),
];
/// Keys of the job itself.
const TOP: [&str; 6] = ["job", "namespace", "kind", "priority", "preemptible", "groups"];

/// What is wrong with a key that is none of `known`, and the known key that was meant.
pub(super) fn unknown_key(key: &str, known: &[&str]) -> (String, Option<String>) {
    let home =
        |homes: &[(&'static str, &[&str])]| homes.iter().find(|(_, keys)| keys.contains(&key)).map(|(home, _)| *home);
    let home = if known.contains(&"weights") || known.contains(&"utilisation") {
        home(&HOMES_OF_POLICY)
    } else {
        home(&HOMES).or_else(|| TOP.contains(&key).then_some("at the top of the file"))
    };
    if let Some(home) = home {
        return (format!("{} does not belong here: it stands {home}", quoted(key)), None);
    }
    (format!("unknown key {}: expected one of {}", quoted(key), words(known)), meant(key, known))
}

/// The one of `known` that was meant by another word.
pub(super) fn meant(found: &str, known: &[&str]) -> Option<String> {
    let found = found.to_lowercase();
    let synonym = SYNONYMS.iter().find(|(word, ours)| found == *word && known.contains(ours));
    synonym.map(|(_, ours)| (*ours).to_owned()).or_else(|| nearest(&found, known.iter().copied()))
}

/// Words as a message lists them.
pub(super) fn words(valid: &[&str]) -> String {
    valid.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ")
}

/// The key that a path ends with, without a position, and whether it had one.
fn last_key(path: &str) -> (&str, bool) {
    let last = path.rsplit('.').next().unwrap_or(path);
    last.split_once('[').map_or((last, false), |(key, _)| (key, true))
}

/// How to write the list that `node`, at `path`, is not.
pub(super) fn as_list(path: &str, node: &Node) -> String {
    let (key, _) = last_key(path);
    let advice = match (key, &node.value) {
        ("groups" | "tasks", Value::Scalar { text, plain: true }) if is_null(text) => {
            format!("write items such as {} below it", item_of(None))
        }
        (_, Value::Scalar { text, plain: true }) if is_null(text) => {
            "leave the key out, or write the items below it, each after a dash".to_owned()
        }
        ("groups" | "tasks", Value::Map(entries)) if entries.iter().any(|(k, _)| k.text == "name") => {
            format!("put a dash before the first key of each item: {}", item_of(entries_text(node, "name")))
        }
        ("groups" | "tasks", Value::Map(entries)) => match entries.first() {
            Some((first, _)) => {
                let shown: String = first.text.chars().take(40).collect();
                format!("write {} in place of {}", item_of(Some(&shown)), quoted(&format!("{shown}:")))
            }
            None => format!("write items such as {}", item_of(None)),
        },
        ("groups" | "tasks", Value::Scalar { .. } | Value::List(_)) => {
            format!("write items such as {}", item_of(None))
        }
        ("constraints", Value::Map(entries)) => match entries.first() {
            Some((first, value)) if first.text != "attribute" => {
                let value = scalar(value).unwrap_or("linux");
                format!("write {}", quoted(&format!("- {{attribute: {}, value: {value}}}", first.text)))
            }
            Some(_) | None => "put a dash before the first key of each item".to_owned(),
        },
        ("constraints", Value::Scalar { .. } | Value::List(_)) => {
            "write items such as `- {attribute: kernel.name, value: linux}`".to_owned()
        }
        ("command", Value::Scalar { text, .. }) if text.contains(SHELL) => {
            "write `[/bin/sh, -c, \"...\"]` for a line that a shell is to read".to_owned()
        }
        (_, Value::Scalar { text, .. }) => {
            let items: Vec<&str> = text.split([' ', ',', '\n']).filter(|w| !w.is_empty()).collect();
            format!("write {}", quoted(&format!("[{}]", items.join(", "))))
        }
        (_, Value::Map(_) | Value::List(_)) => "write its items in brackets, such as `[a, b]`".to_owned(),
    };
    format!("expected a list, found {}: {advice}", node.describe())
}

/// Characters that mean something to a shell or to YAML.
const SHELL: [char; 20] =
    ['|', '&', ';', '<', '>', '$', '`', '"', '\'', '*', '?', '(', ')', '{', '}', '[', ']', '#', '\n', ':'];

fn item_of(name: Option<&str>) -> String {
    quoted(&format!("- name: {}", name.unwrap_or("web")))
}

fn scalar(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar { text, .. } => Some(text),
        Value::List(_) | Value::Map(_) => None,
    }
}

/// The text of a key's value.
fn entries_text<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    let Value::Map(entries) = &node.value else { return None };
    entries.iter().find(|(k, _)| k.text == key).and_then(|(_, v)| scalar(v))
}

/// How to write the map that `node`, at `path`, is not.
pub(super) fn as_map(path: &str, node: &Node) -> String {
    let advice = match last_key(path) {
        ("", _) => "write the keys `job` and `groups`, each at the start of a line".to_owned(),
        (_, false) if scalar(node).is_some_and(is_null) => {
            "leave the key out, or write its keys below it, further to the right".to_owned()
        }
        ("groups" | "tasks", true) => format!("write {}", item_of(scalar(node).filter(|text| !is_null(text)))),
        ("constraints", true) => "write `- {attribute: kernel.name, value: linux}`".to_owned(),
        ("env" | "meta", _) => entries_advice(node, "KEY: value"),
        ("devices", true) => "write `- {kind: gpu, count: 1}`".to_owned(),
        ("checks", true) => "write `- {http: {port: http, path: /healthz}}`".to_owned(),
        ("http", false) => fields_advice(node, "port: http, path: /healthz"),
        ("tcp", false) => fields_advice(node, "port: http"),
        ("headers", _) => entries_advice(node, "Host: example.org"),
        ("at_most", true) => "write `- {count: 2, per: rack}`".to_owned(),
        ("affinity" | "anti_affinity", true) => "write `- {job: cache, within: rack}`".to_owned(),
        ("spread", true) => "write `- {over: zone}`".to_owned(),
        ("ports", _) => entries_advice(node, "http: dynamic"),
        ("tmpfs", _) => entries_advice(node, "/tmp: 64MiB"),
        ("resources", _) => fields_advice(node, "cpu: 500m, memory: 128MiB"),
        ("weights", _) => fields_advice(node, "utilisation: 1, same_group: 500"),
        ("restart", _) => fields_advice(node, "attempts: 3, delay: 1s"),
        ("update", _) => fields_advice(node, "max_parallel: 1, min_ready: 10s"),
        ("kill", _) => fields_advice(node, "signal: SIGTERM, timeout: 10s"),
        (_, _) => "write keys and values".to_owned(),
    };
    format!("expected a map, found {}: {advice}", node.describe())
}

fn fields_advice(node: &Node, example: &str) -> String {
    let dash = if matches!(node.value, Value::List(_)) { " without a dash" } else { "" };
    format!("write keys and values{dash}, such as `{{{example}}}`")
}

/// How the first item of a list would be an entry of a map.
fn entries_advice(node: &Node, example: &str) -> String {
    let first = match &node.value {
        Value::List(items) => items.first(),
        Value::Scalar { .. } | Value::Map(_) => None,
    };
    let entry = first.and_then(|item| match (&item.value, entries_text(item, "name")) {
        (Value::Scalar { text, .. }, _) => text.split_once('='),
        (Value::Map(_), Some(name)) => entries_text(item, "value").map(|value| (name, value)),
        (Value::Map(entries), None) => entries.first().and_then(|(k, v)| Some((k.text.as_str(), scalar(v)?))),
        (Value::List(_), _) => None,
    });
    let shown = entry.map_or_else(|| example.to_owned(), |(key, value)| format!("{key}: {value}"));
    format!("write entries without a dash, such as {}", quoted(&shown))
}

/// What to write where text belongs and there is nothing.
pub(super) fn no_text(path: &str) -> &'static str {
    if path.contains(".env.") || path.contains("meta.") { ": write `\"\"` for empty text" } else { "" }
}

//! The settings of the roles, and that `docs/configuration.md` tells of each.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The binary under test.
const BERTH: &str = env!("CARGO_BIN_EXE_berth");

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs `berth` in an environment that sets nothing.
fn berth(args: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(BERTH).args(args).env_clear().envs(variables.iter().copied()).output().unwrap()
}

/// What a role prints as its settings: key to value, none for what is not set.
fn settings(role: &str) -> BTreeMap<String, Option<String>> {
    let output = berth(&[role, "--print-config"], &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let setting = |line: &str| match line.split_once(" = ") {
        Some((key, rest)) => (key.to_owned(), Some(rest.split('"').nth(1).unwrap().to_owned())),
        None => (line.strip_prefix("# ").unwrap().split(' ').next().unwrap().to_owned(), None),
    };
    text(&output.stdout).lines().map(setting).collect()
}

/// The rows of the table below a heading: the first cell to the others.
fn documented(heading: &str) -> BTreeMap<String, Vec<String>> {
    let document = fs::read_to_string(project().join("docs/configuration.md")).unwrap();
    let (_, section) = document.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned());
        (cells.next().unwrap(), cells.collect())
    })
    .collect()
}

#[test]
fn every_setting_is_documented_with_its_default_flag_and_variable() {
    for (role, heading) in [("server", "Server"), ("agent", "Agent")] {
        let (known, documented) = (settings(role), documented(heading));
        let names = |keys: &mut dyn Iterator<Item = &String>| keys.cloned().collect::<BTreeSet<_>>();
        assert_eq!(names(&mut known.keys()), names(&mut documented.keys()), "settings of {role}");
        let help = text(&berth(&[role, "--help"], &[]).stdout);
        // Tables of the file, which no flag could hold.
        let tables = ["credentials", "devices"];
        for (key, value) in known.iter().filter(|(key, _)| !tables.contains(&key.as_str())) {
            let flag = format!("--{}", key.replace('_', "-"));
            let variable = format!("BERTH_{}", key.to_uppercase());
            let row = &documented[key];
            assert_eq!((&row[1], &row[2]), (&flag, &variable), "{key} of {role}");
            assert!(help.contains(&format!("{flag} <")), "{role} has no flag {flag}");
            match value {
                // The host's, which differs.
                Some(_) if key == "name" => {}
                Some(value) if !value.is_empty() => assert_eq!(&row[0], value, "default of {key} of {role}"),
                Some(_) | None => assert!(!row[0].is_empty(), "{key} of {role}: what holds when it is not set"),
            }
        }
    }
}

#[test]
fn dev_takes_what_server_and_agent_take() {
    let mut both = settings("server");
    both.extend(settings("agent"));
    for known_anyway in ["server", "token_file", "join_token_file"] {
        both.remove(known_anyway).unwrap();
    }
    both.retain(|setting, _| !["advertise", "join"].contains(&setting.as_str()) && !setting.starts_with("etcd"));
    both.insert("data_dir".to_owned(), Some("/var/lib/berth/dev".to_owned()));
    assert_eq!(settings("dev"), both);
}

#[test]
fn dev_takes_a_file_by_flag_or_variable() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dev.toml");
    fs::write(&file, "heartbeat = '2s'\nlabels = 'disk=ssd'\n").unwrap();
    let file = file.to_str().unwrap();
    let by_flag = berth(&["dev", "--print-config", "--config", file, "--heartbeat", "3s"], &[]);
    let by_variable =
        berth(&["dev", "--print-config"], &[("BERTH_CONFIG", file), ("BERTH_HEARTBEAT", "3s"), ("BERTH_NAME", "")]);
    for (output, source) in [(by_flag, "flag"), (by_variable, "variable BERTH_HEARTBEAT")] {
        let shown = text(&output.stdout);
        assert!(shown.contains(&format!("heartbeat = \"3s\"  # {source}\n")), "{shown}");
        assert!(shown.contains(&format!("labels = \"disk=ssd\"  # file {file}\n")), "{shown}");
    }
}

#[test]
fn wrong_settings_end_a_role_at_once_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("role.toml");
    let path = file.to_str().unwrap();
    for (role, settings, wanted) in [
        ("agent", "memmory = '8GiB'", "ROLE: unknown setting `memmory`; did you mean `memory`?"),
        ("dev", "credentails = 1", "ROLE: unknown setting `credentails`; did you mean `credentials`?"),
        ("agent", "labels = {disk = 'ssd'}", "ROLE: `labels` must be text or a whole number, not table"),
        ("server", "heartbeat = '10ms'", "setting `heartbeat` must be at least 100ms"),
        ("server", "heartbeat = '5s'", "setting `heartbeat_grace` must be longer than `heartbeat`"),
        (
            "server",
            "bind = 'localhost'",
            "setting `bind` (from file ROLE) has the unusable value `localhost`: invalid socket address syntax",
        ),
    ] {
        fs::write(&file, settings).unwrap();
        let output = berth(&[role, "--config", path], &[]);
        let said = text(&output.stderr).replace(path, "ROLE");
        assert_eq!((output.status.code(), said), (Some(2), format!("berth: {wanted}\n")));
    }
    let output = berth(&["version"], &[("BERTH_LOG", "berth=loud")]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).starts_with("berth: BERTH_LOG has the unusable value `berth=loud`"));
}

#[test]
fn the_systemd_units_start_what_is_there() {
    for role in ["server", "agent"] {
        let unit = fs::read_to_string(project().join(format!("dist/systemd/berth-{role}.service"))).unwrap();
        assert!(unit.contains(&format!("EnvironmentFile=-/etc/berth/{role}.env\n")), "{role}");
        let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/berth ")).unwrap();
        let mut args: Vec<&str> = start.split(' ').collect();
        args.push("--print-config");
        let output = berth(&args, &[]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).starts_with(&format!("data_dir = \"/var/lib/berth/{role}\"")), "{role}");
    }
}

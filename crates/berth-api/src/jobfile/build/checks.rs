//! Checks of tasks.

use std::collections::BTreeMap;

use berth_model::{CheckKind, CheckName, CheckSpec, HttpProbe, Millis, PortName, Probe, Scheme, limits};

use super::{
    Field, List, Names, Shared, absolute, checked, in_range, limit, name_of, no_nul, other, quoted, texts, value,
    within, words,
};
use crate::jobfile::error::{Faults, nearest};
use crate::jobfile::schema::{At, CheckFile, CheckKindFile, HttpCheckFile, SchemeFile, TcpCheckFile};

/// Failures in a row that fail a check which does not say how many.
const FAILURES: u32 = 3;
/// The same of a startup check: with the usual interval, a minute.
const FAILURES_AT_START: u32 = 30;
/// What the four questions are called.
const PROBES: &str = "`http`, `tcp`, `exec` or `file`";

pub(super) fn of_task(file: Field<List<CheckFile>>, shared: &mut Shared, faults: &mut Faults) -> Vec<CheckSpec> {
    let place = file.as_ref().map_or(usize::MAX, |f| f.place);
    let items = value(file, Vec::new());
    limit(items.len(), limits::CHECKS, "checks of a task", place, faults);
    let mut names = Names::new();
    items.into_iter().filter_map(|item| Some(check(item.value?, item.place, &mut names, shared, faults))).collect()
}

/// Finds checks that could never pass, since nothing of the group listens where they ask.
pub(super) fn reach(shared: &Shared, faults: &mut Faults) {
    for (port, place) in &shared.asked {
        if !shared.ports.contains_key(port.as_str()) {
            let message = format!(
                "the group has no port `{port}`, so this check could never pass: name one of `resources.ports` of its tasks"
            );
            faults.at_nearest(*place, message, nearest(port.as_str(), shared.ports.keys().map(String::as_str)));
        }
    }
}

fn check(mut file: CheckFile, place: usize, names: &mut Names, shared: &mut Shared, faults: &mut Faults) -> CheckSpec {
    let kind = match value(file.kind.take(), CheckKindFile::Readiness) {
        CheckKindFile::Startup => CheckKind::Startup,
        CheckKindFile::Readiness => CheckKind::Readiness,
        CheckKindFile::Liveness => CheckKind::Liveness,
    };
    let name_place = file.name.as_ref().map_or(place, |name| name.place);
    let by_kind = || kind.to_string().parse().expect("a kind is a name");
    let name: CheckName = file.name.take().map_or_else(by_kind, |name| name_of(name, faults));
    if let Some(first) = names.insert(name.to_string(), name_place) {
        let line = other(first, faults);
        faults
            .at(name_place, format!("a second check named `{name}` in this task{line}: give this one another `name`"));
    }
    let (least, most) = limits::CHECK_TIME;
    let usual = if kind == CheckKind::Startup { FAILURES_AT_START } else { FAILURES };
    let in_a_row = 1..=limits::CHECK_IN_A_ROW;
    CheckSpec {
        name,
        kind,
        interval: within(file.interval.take(), Millis::from_secs(2), least, most, faults),
        timeout: within(file.timeout.take(), Millis::from_secs(1), least, limits::CHECK_TIMEOUT, faults),
        successes: in_range(file.successes.take(), 1, in_a_row.clone(), faults),
        failures: in_range(file.failures.take(), usual, in_a_row, faults),
        probe: probe(file, place, shared, faults),
    }
}

/// The one question of a check.
fn probe(file: CheckFile, place: usize, shared: &mut Shared, faults: &mut Faults) -> Probe {
    let CheckFile { http, tcp, exec, file, .. } = file;
    let places = [
        http.as_ref().map(|f| f.place),
        tcp.as_ref().map(|f| f.place),
        exec.as_ref().map(|f| f.place),
        file.as_ref().map(|f| f.place),
    ];
    let mut given = places.into_iter().flatten();
    match (given.next(), given.next()) {
        (None, _) => {
            faults.at(place, format!("a check asks one question: write {PROBES}, such as `tcp: {{port: http}}`"))
        }
        (Some(_), Some(second)) => faults.at(second, format!("a check asks one question: keep one of {PROBES}")),
        (Some(_), None) => {}
    }
    match (http, tcp, exec, file) {
        (Some(At { value: Some(file), place }), ..) => http_probe(file, place, shared, faults),
        (_, Some(At { value: Some(TcpCheckFile { port: asked }), place }), ..) => {
            Probe::Tcp { port: port(asked, place, shared, faults) }
        }
        (_, _, Some(file), _) => {
            let (place, spoiled) = (file.place, file.value.is_none());
            let command = words(Some(file), "exec", faults);
            if command.is_empty() && !spoiled {
                faults.at(place, "`exec` is empty: name a program and its arguments, such as `[/bin/check, --fast]`");
            }
            Probe::Exec { command }
        }
        (_, _, _, file) => Probe::File { path: checked(file, faults, absolute).unwrap_or_default() },
    }
}

fn http_probe(file: HttpCheckFile, place: usize, shared: &mut Shared, faults: &mut Faults) -> Probe {
    let name_place = file.server_name.as_ref().map(|f| f.place);
    let server_name = checked(file.server_name, faults, host);
    let scheme = match (value(file.scheme, SchemeFile::Http), name_place) {
        (SchemeFile::Https, _) => Scheme::Https { server_name },
        (SchemeFile::Http, None) => Scheme::Http,
        (SchemeFile::Http, Some(place)) => {
            faults.at(place, "`server_name` is for `scheme: https`: leave it out, or write that");
            Scheme::Http
        }
    };
    let headers_place = file.headers.as_ref().map_or(place, |f| f.place);
    let headers = texts(file.headers, faults, header);
    limit(headers.len(), limits::CHECK_HEADERS, "headers", headers_place, faults);
    for (name, _) in headers.iter().filter(|(_, value)| !value.bytes().all(|b| b == b'\t' || (b' '..127).contains(&b)))
    {
        faults.at(headers_place, format!("the header {} has characters that no header may hold", quoted(name)));
    }
    let given = headers.len();
    let headers: BTreeMap<String, String> =
        headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    if headers.len() < given {
        faults.at(headers_place, "a header stands twice here: upper and lower case are the same");
    }
    Probe::Http(HttpProbe {
        port: port(file.port, place, shared, faults),
        path: checked(file.path, faults, path).unwrap_or_else(|| "/".to_owned()),
        scheme,
        headers,
    })
}

/// A port that a check asks. Which the group has is known when all its tasks are read.
fn port(file: Field<String>, place: usize, shared: &mut Shared, faults: &mut Faults) -> PortName {
    let file = file.unwrap_or_else(|| {
        faults.at(place, "`port` is missing: expected the name of a port of the group, such as `port: http`");
        At { value: None, place }
    });
    let (text, place) = (file.value.clone(), file.place);
    let name: PortName = name_of(file, faults);
    // One that is no name has been told of.
    if text.as_deref() == Some(name.as_str()) {
        shared.asked.push((name.clone(), place));
    }
    name
}

fn path(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        return Err(format!("expected a path that begins with `/`, such as `/healthz`, found {}", quoted(text)));
    }
    if text.len() > 2048 || !text.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return Err("a path has at most 2048 characters, all of them ASCII without blanks and `#`".to_owned());
    }
    Ok(())
}

fn host(text: &str) -> Result<(), String> {
    let right = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    let parts = text.split('.').all(|part| !part.is_empty() && part.len() <= 63);
    // What reads as an address would be asked instead of the instance.
    let named = text.rsplit('.').next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_alphabetic()));
    if right && parts && named && text.len() <= 253 {
        Ok(())
    } else {
        Err(format!("expected a host's name such as `web.example.org`, found {}", quoted(text)))
    }
}

fn header(name: &str) -> Result<(), String> {
    no_nul(name)?;
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !name.is_empty() && name.len() <= 128 && name.bytes().all(token) {
        Ok(())
    } else {
        Err(format!("expected the name of a header such as `Host`, found {}", quoted(name)))
    }
}

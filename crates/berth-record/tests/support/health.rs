//! Checks of tasks and what came of them.

use super::{spec, texts, *};

/// A check of every kind, and a probe of every sort.
pub fn group() -> GroupSpec {
    let check = |name: &str, kind, probe| CheckSpec {
        name: name.parse().unwrap(),
        kind,
        probe,
        interval: Millis(2000),
        timeout: Millis(1000),
        successes: 2,
        failures: 3,
    };
    let http = |scheme| {
        Probe::Http(HttpProbe {
            port: "http".parse().unwrap(),
            path: "/healthz?full=1".to_owned(),
            scheme,
            headers: texts(&[("host", "web.example.org")]),
        })
    };
    let named = Some("web.example.org".to_owned());
    let mut group = super::group();
    group.tasks[0].checks = vec![
        check("started", CheckKind::Startup, http(Scheme::Https { server_name: named })),
        check("ready", CheckKind::Readiness, http(Scheme::Http)),
        check("open", CheckKind::Readiness, Probe::Tcp { port: "http".parse().unwrap() }),
        check("tls", CheckKind::Readiness, http(Scheme::Https { server_name: None })),
        check("alive", CheckKind::Liveness, Probe::Exec { command: vec!["/bin/check".to_owned(), "-q".to_owned()] }),
        check("there", CheckKind::Liveness, Probe::File { path: "/run/ready".to_owned() }),
    ];
    group
}

/// A check in every state.
pub fn tasks() -> BTreeMap<TaskName, TaskStatus> {
    let check = |state, failures, output: &str| CheckStatus {
        state,
        since: Timestamp(1_700_000_004_000),
        failures,
        output: output.to_owned(),
    };
    let mut tasks = super::tasks();
    let server = tasks.get_mut(&"b-running".parse().unwrap()).expect("there is one of that name");
    server.checks = BTreeMap::from([
        ("started".parse().unwrap(), check(CheckState::Passing, 0, "status 200 OK")),
        ("ready".parse().unwrap(), check(CheckState::Failing, 4, "status 503 Service Unavailable")),
        ("alive".parse().unwrap(), check(CheckState::Pending, 0, "")),
    ]);
    tasks
}

pub fn job() -> Mutation {
    let spec = JobSpec { groups: vec![group()], ..spec(JobKind::Service) };
    let changed = (Timestamp(1_700_000_000_123), by_command());
    Mutation::PutJob(Box::new(Job { spec, version: JobVersion(4), changed, state: JobState::Active }))
}

pub fn alloc() -> Mutation {
    let state = AllocState::Placed { placement: placement("balanced"), since: Timestamp(1_700_000_002_000) };
    Mutation::PutAlloc(Box::new(Alloc { tasks: tasks(), ..super::alloc(state, by_event()) }))
}

pub fn failing() -> Happening {
    Happening::CheckFailing {
        alloc: alloc_id(23),
        job: job_id(),
        task: "server".parse().unwrap(),
        check: "ready".parse().unwrap(),
        output: "status 503 Service Unavailable".to_owned(),
    }
}

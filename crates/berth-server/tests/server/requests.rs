//! Requests that are not as they should be, each with its status and its exact message.

use berth_api::wire::v1::{ErrorBody, JobSummary, Page};
use berth_server::StoreKind;
use reqwest::{Method, RequestBuilder};

use crate::cluster::Cluster;

/// A request, and the status, message, place and remedy that it gets.
struct Case {
    method: Method,
    path: &'static str,
    with: fn(RequestBuilder) -> RequestBuilder,
    status: u16,
    message: &'static str,
    place: Option<&'static str>,
    remedy: Option<&'static str>,
}

const KEY_REMEDY: &str = "send 1 to 128 printable ASCII characters of your own making, the same again when you repeat";
const SCHEMA_REMEDY: &str = "GET /v1/schema tells what a job file may hold";
const TYPE_REMEDY: &str = "send `Content-Type: application/json` or `application/yaml`";
const HTTP2_REMEDY: &str = "use HTTP/2 with prior knowledge (curl: --http2-prior-knowledge)";

fn json(request: RequestBuilder, body: impl Into<reqwest::Body>) -> RequestBuilder {
    request.header("Idempotency-Key", "k").header("Content-Type", "application/json").body(body)
}

fn cases() -> Vec<Case> {
    let case = |method, path, with, status, message, place, remedy| Case {
        method,
        path,
        with,
        status,
        message,
        place,
        remedy,
    };
    vec![
        case(
            Method::GET,
            "/v1/nothing",
            |r| r,
            404,
            "no such path: /v1/nothing",
            None,
            Some("GET /v1/openapi.json lists the paths"),
        ),
        case(
            Method::PUT,
            "/v1/jobs",
            |r| r,
            405,
            "/v1/jobs does not take PUT",
            None,
            Some("the header Allow of this answer lists what it takes"),
        ),
        case(
            Method::POST,
            "/v1/finalise",
            |r| r,
            400,
            "an idempotency key is needed",
            Some("header Idempotency-Key"),
            Some(KEY_REMEDY),
        ),
        case(
            Method::POST,
            "/v1/jobs",
            |r| r.body("{}"),
            400,
            "an idempotency key is needed",
            Some("header Idempotency-Key"),
            Some(KEY_REMEDY),
        ),
        case(
            Method::POST,
            "/v1/jobs",
            |r| r.header("Idempotency-Key", "a b").body("{}"),
            400,
            "the idempotency key is not 1 to 128 printable ASCII characters",
            Some("header Idempotency-Key"),
            Some(KEY_REMEDY),
        ),
        case(
            Method::POST,
            "/v1/jobs",
            |r| r.header("Idempotency-Key", "k").body("{}"),
            415,
            "the body's type is not told",
            Some("header Content-Type"),
            Some(TYPE_REMEDY),
        ),
        case(
            Method::POST,
            "/v1/jobs",
            |r| r.header("Idempotency-Key", "k").header("Content-Type", "text/html; charset=utf-8").body("{}"),
            415,
            "a job file is not of type text/html",
            Some("header Content-Type"),
            Some(TYPE_REMEDY),
        ),
        case(
            Method::POST,
            "/v1/jobs",
            |r| json(r, "{\"job\": "),
            422,
            "the job file is not JSON: EOF while parsing a value at line 1 column 8",
            Some("body"),
            Some(SCHEMA_REMEDY),
        ),
        case(
            Method::POST,
            "/v1/jobs",
            |r| json(r, vec![0xff, 0xfe]),
            422,
            "the job file is not UTF-8 text",
            Some("body"),
            None,
        ),
        case(
            Method::POST,
            "/v1/jobs",
            |r| json(r, vec![b' '; (256 << 10) + 1]),
            413,
            "the body is over the limit of 262144 bytes",
            Some("body"),
            Some("send less at once; large data belongs outside a job file"),
        ),
        case(
            Method::GET,
            "/v1/jobs/default/web",
            |r| r,
            404,
            "no job default/web",
            None,
            Some("`berth status` lists the jobs; old ones are forgotten after a while"),
        ),
        case(
            Method::DELETE,
            "/v1/jobs/default/web",
            |r| r.header("Idempotency-Key", "k"),
            404,
            "no job default/web",
            None,
            Some("`berth status` lists the jobs; old ones are forgotten after a while"),
        ),
        case(
            Method::GET,
            "/v1/jobs/default/We%20b",
            |r| r,
            400,
            "`We b` is not a job name: expected 1 to 63 of a-z, 0-9 and `-`, beginning and ending with a letter or digit",
            Some("path"),
            None,
        ),
        case(
            Method::GET,
            "/v1/allocs/17",
            |r| r,
            400,
            "`17` is not an allocation id: expected the form a1-23",
            Some("path"),
            None,
        ),
        case(
            Method::GET,
            "/v1/allocs/a1-99",
            |r| r,
            404,
            "no allocation a1-99",
            None,
            Some("`berth status JOB` lists the allocations of a job; old ones are forgotten after a while"),
        ),
        case(
            Method::GET,
            "/v1/allocs?node=far",
            |r| r,
            404,
            "no node `far`",
            None,
            Some("`berth node list` lists the nodes"),
        ),
        case(
            Method::GET,
            "/v1/allocs/a1-99/logs",
            |r| r,
            404,
            "no allocation a1-99",
            None,
            Some("`berth status JOB` lists the allocations of a job; old ones are forgotten after a while"),
        ),
        case(
            Method::GET,
            "/v1/nodes/far",
            |r| r,
            404,
            "no node `far`",
            None,
            Some("`berth node list` lists the nodes"),
        ),
        case(
            Method::POST,
            "/v1/drain",
            |r| json(r, r#"{"nodes": ["far"]}"#),
            404,
            "no node is `far`, is named so, or has node.rack=far",
            Some("body.nodes"),
            Some("`berth node list` lists the nodes, `berth node show NODE` the attributes of one"),
        ),
        case(
            Method::POST,
            "/v1/drain",
            |r| json(r, r#"{"nodes": ["far"], "deadline": "5"}"#),
            400,
            "not a choice of nodes: unknown field `deadline`, expected `nodes` or `deadline_ms` at line 1 column 29",
            Some("body"),
            Some("`DrainRequest` of GET /v1/openapi.json tells what it may hold"),
        ),
        case(
            Method::POST,
            "/v1/abandon",
            |r| json(r, r#"{"nodes": ["far"]}"#),
            404,
            "no node is `far`, is named so, or has node.rack=far",
            Some("body.nodes"),
            Some("`berth node list` lists the nodes, `berth node show NODE` the attributes of one"),
        ),
        case(
            Method::POST,
            "/v1/abandon",
            |r| json(r, r#"{"nodes": ["far"], "force": true}"#),
            400,
            "not a choice of nodes: unknown field `force`, expected `nodes` at line 1 column 26",
            Some("body"),
            Some("`AbandonRequest` of GET /v1/openapi.json tells what it may hold"),
        ),
        case(
            Method::POST,
            "/v1/enable",
            |r| json(r, r#"{"nodes": []}"#),
            400,
            "0 nodes or attributes at once",
            Some("body.nodes"),
            Some("name 1 to 1000; `ATTRIBUTE=VALUE` names all that have it"),
        ),
        case(
            Method::POST,
            "/v1/enable",
            |r| r.header("Idempotency-Key", "k").body(vec![b' '; 512 << 10]),
            413,
            "the body is over the limit of 262144 bytes",
            Some("body"),
            Some("send less at once; large data belongs outside a job file"),
        ),
        case(
            Method::GET,
            "/v1/jobs?limit=0",
            |r| r,
            400,
            "limit 0 is out of range: expected 1 to 1000",
            Some("query"),
            None,
        ),
        case(
            Method::GET,
            "/v1/jobs?colour=red",
            |r| r,
            400,
            "unknown parameter `colour`, expected one of `namespace`, `after`, `limit`",
            Some("query"),
            None,
        ),
        case(
            Method::GET,
            "/v1/jobs?after=default/web&limit=abc",
            |r| r,
            400,
            "the parameter `limit` is `abc`: expected a whole number",
            Some("query"),
            None,
        ),
        case(
            Method::GET,
            "/v1/allocs/a1-1/logs?follow=yes",
            |r| r,
            400,
            "the parameter `follow` is `yes`: expected `true` or `false`",
            Some("query"),
            None,
        ),
        case(
            Method::GET,
            "/v1/events?after=yesterday",
            |r| r,
            400,
            "`yesterday` is not an event id: expected the form e1-23",
            Some("query, after"),
            Some("give an event id or `now`"),
        ),
        case(
            Method::POST,
            "/v1/agent/stream",
            |r| r.body("{}"),
            400,
            "this path works in both directions at once, which HTTP/1.1 cannot",
            None,
            Some(HTTP2_REMEDY),
        ),
        case(
            Method::POST,
            "/v1/allocs/a1-1/exec",
            |r| r.body("x"),
            400,
            "this path works in both directions at once, which HTTP/1.1 cannot",
            None,
            Some(HTTP2_REMEDY),
        ),
    ]
}

fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

#[tokio::test]
async fn wrong_requests_get_their_messages() {
    let cluster = Cluster::start(StoreKind::Memory).await;
    let http = http();
    for case in cases() {
        let request = http.request(case.method.clone(), cluster.url(case.path)).bearer_auth(&cluster.ready.token);
        let response = (case.with)(request).send().await.unwrap();
        let name = format!("{} {}", case.method, case.path);
        assert_eq!(response.status().as_u16(), case.status, "{name}");
        let body: ErrorBody = response.json().await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let error = body.error;
        assert_eq!(error.message, case.message, "{name}");
        assert_eq!(error.place.as_deref(), case.place, "{name}");
        assert_eq!(error.remedy.as_deref(), case.remedy, "{name}");
        assert_eq!(error.kind.status(), case.status, "{name}");
    }
    let jobs: Page<JobSummary> =
        http.get(cluster.url("/v1/jobs")).bearer_auth(&cluster.ready.token).send().await.unwrap().json().await.unwrap();
    assert!(jobs.items.is_empty(), "nothing was half done");
    cluster.stop().await;
}

#[tokio::test]
async fn nothing_but_health_is_told_without_the_token() {
    let cluster = Cluster::start(StoreKind::Memory).await;
    let http = http();
    let other = format!("{}x", &cluster.ready.token[1..]);
    let cases = [
        (None, "a token is needed"),
        (Some("Basic abc".to_owned()), "the header is not of the form `Bearer TOKEN`"),
        (Some(format!("Bearer {other}")), "the token is not this server's"),
        (Some("Bearer ".to_owned()), "the header is not of the form `Bearer TOKEN`"),
    ];
    for path in ["/v1/status", "/v1/jobs", "/v1/openapi.json", "/v1/agent/stream", "/nothing"] {
        for (header, message) in &cases {
            let request = http.get(cluster.url(path));
            let request = header.iter().fold(request, |request, header| request.header("Authorization", header));
            let response = request.send().await.unwrap();
            assert_eq!(response.status().as_u16(), 401, "{path} {header:?}");
            assert_eq!(response.headers()["WWW-Authenticate"], "Bearer");
            assert_eq!(&response.json::<ErrorBody>().await.unwrap().error.message, message);
        }
    }
    let health = http.get(cluster.url("/healthz")).send().await.unwrap();
    assert_eq!((health.status().as_u16(), health.text().await.unwrap().as_str()), (200, "ok\n"));
    cluster.stop().await;
}

#[tokio::test]
async fn faults_of_a_job_file_are_told_with_their_place() {
    let cluster = Cluster::start(StoreKind::Memory).await;
    let request = http().post(cluster.url("/v1/jobs")).bearer_auth(&cluster.ready.token);
    let response = json(request, r#"{"job": "web", "kind": "servise", "groups": []}"#).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 422);
    let error = response.json::<ErrorBody>().await.unwrap().error;
    assert_eq!(error.place.as_deref(), Some("kind"), "{error}");
    assert_eq!(error.remedy.as_deref(), Some("did you mean `service`?"), "{error}");
    cluster.stop().await;
}

/// A job file with one group of one task, and what else is to be in each of them.
fn odd(job: &str, group: &str, task: &str) -> String {
    format!(r#"{{"job":"web"{job},"groups":[{{"name":"g"{group},"tasks":[{{"name":"t","command":["x"]{task}}}]}}]}}"#)
}

/// Lists of so many numbered things.
fn many(count: usize, each: impl Fn(usize) -> String) -> String {
    (0..count).map(each).collect::<Vec<_>>().join(",")
}

#[tokio::test]
async fn a_posted_job_keeps_to_the_limits_of_a_file() {
    let long = "n".repeat(64);
    let tasks = |count| many(count, |n| format!(r#"{{"name":"t{n}","command":["x"]}}"#));
    let group = |name: &str, tasks: &str| format!(r#"{{"name":"{name}","tasks":[{tasks}]}}"#);
    let job = |groups: &str| format!(r#"{{"job":"web","groups":[{groups}]}}"#);
    let cases = [
        (odd(r#","job":"other""#, "", ""), "body", "the key `job` is given twice"),
        (odd("", &format!(r#","count":1,"meta":{}1{}"#, "[".repeat(30), "]".repeat(30)), ""), "body", "nested deeper"),
        (odd("", "", "") + "{}", "body", "trailing characters"),
        (format!(r#"{{"job":"{long}","groups":[{}]}}"#, group("g", &tasks(1))), "job", "1 to 63"),
        (odd(r#","priority":101"#, "", ""), "priority", "0 to 100"),
        (odd("", r#","count":100001"#, ""), "groups[0].count", "0 to 100000"),
        (odd("", r#","count":-1"#, ""), "groups[0].count", "a whole number"),
        (odd("", r#","count":1.5"#, ""), "groups[0].count", "a whole number"),
        (job(&many(65, |n| group(&format!("g{n}"), &tasks(1)))), "groups", "at most 64"),
        (job(&group("g", &tasks(33))), "groups[0].tasks", "at most 32"),
        // Small as it is written, and more than can be kept.
        (job(&many(64, |n| group(&format!("g{n}"), &tasks(32)))), "body", "with its defaults written out"),
        (odd("", "", r#","resources":{"memory":"2000000GiB"}"#), "groups[0].tasks[0].resources.memory", "1B to"),
        (odd("", "", r#","env":{"A\u0000":"x"}"#), "groups[0].tasks[0].env", "NUL"),
        (odd("", "", r#","colour":"red""#), "groups[0].tasks[0]", "unknown key `colour`"),
        (
            odd("", "", &format!(r#","env":{{{}}}"#, many(513, |n| format!(r#""A{n}":"x""#)))),
            "groups[0].tasks[0].env",
            "at most 512",
        ),
    ];
    let cluster = Cluster::start(StoreKind::Memory).await;
    let http = http();
    for (body, place, message) in cases {
        let request = http.post(cluster.url("/v1/jobs")).bearer_auth(&cluster.ready.token);
        let response = json(request, body.clone()).send().await.unwrap();
        let status = response.status().as_u16();
        let name = body.chars().take(120).collect::<String>();
        let error = response.json::<ErrorBody>().await.unwrap_or_else(|error| panic!("{name}: {status} {error}")).error;
        assert_eq!(status, 422, "{name}: {error}");
        assert_eq!(error.place.as_deref(), Some(place), "{name}: {error}");
        assert!(error.message.contains(message), "{name}: {error}");
        assert!(error.remedy.is_some(), "{name}: {error}");
    }
    let keyed = |key: String| {
        http.post(cluster.url("/v1/jobs")).bearer_auth(&cluster.ready.token).header("Idempotency-Key", key)
    };
    let long_key = keyed("k".repeat(129)).body(odd("", "", "")).send().await.unwrap();
    assert_eq!(long_key.status().as_u16(), 400);
    let good = keyed("k".repeat(128)).header("Content-Type", "application/json").body(odd("", "", ""));
    assert_eq!(good.send().await.unwrap().status().as_u16(), 200, "what keeps to the limits is taken");
    cluster.stop().await;
}

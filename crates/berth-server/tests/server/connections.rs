//! Connections that ask for nothing, or that are too many.

use std::time::Duration;

use berth_api::client::{Client, Target, new_key};
use berth_server::{ConnectionLimits, StoreKind};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::cluster::{Cluster, SOON, web};

/// So short that a test need not wait, and so long that a request made at once is in time.
const SHORT: Duration = Duration::from_millis(300);
/// What begins an HTTP/2 connection: the preface and settings that set nothing.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Settings that let nothing be sent back, and a request without a token.
const NO_WINDOW: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0\0\0\x03\x01\x05\0\0\0\x01\x82\x86\x84";

async fn with(limits: ConnectionLimits) -> Cluster {
    Cluster::start_with(tempfile::tempdir().unwrap(), StoreKind::Memory, limits).await
}

async fn connect(cluster: &Cluster) -> TcpStream {
    TcpStream::connect(cluster.ready.addr).await.unwrap()
}

/// Waits until the server has closed a connection.
async fn closed(mut connection: TcpStream) {
    let mut told = Vec::new();
    let read = tokio::time::timeout(SOON, connection.read_to_end(&mut told)).await;
    // A connection that is reset is as closed as one that is ended.
    let _ = read.unwrap_or_else(|_| panic!("the connection is still open after it told {told:?}"));
}

#[tokio::test]
async fn a_connection_that_never_asks_is_closed() {
    let cluster = with(ConnectionLimits { first_request: SHORT, ..ConnectionLimits::default() }).await;
    let all = [&b""[..], b"P", &HTTP2[..20], HTTP2, b"GET / HTTP/1.1\r\nHost:", b"GET /healthz HTTP/1.1\r\n\r\n"];
    futures::future::join_all(all.map(async |said| {
        let mut connection = connect(&cluster).await;
        connection.write_all(said).await.unwrap();
        closed(connection).await;
    }))
    .await;
    cluster.stop().await;
}

#[tokio::test]
async fn an_idle_connection_gives_its_place_to_the_next_and_a_stream_goes_on() {
    let limits = ConnectionLimits { total: 2, idle: SHORT, ..ConnectionLimits::default() };
    let cluster = with(limits).await;
    let mut agent = cluster.agent("n").await;
    // Takes the second place with one request over HTTP/2, and keeps it.
    let keeping = reqwest::Client::builder().no_proxy().tls_certs_only([]).http2_prior_knowledge().build().unwrap();
    keeping.get(cluster.url("/healthz")).send().await.unwrap().bytes().await.unwrap();
    // The third waits for the second to be closed.
    let late = Client::new(Target::new(&cluster.url(""), &cluster.ready.token).unwrap()).unwrap();
    late.run_job(&web(1), &new_key()).await.unwrap();
    // The agent was there before, has sent nothing since, and is told all the same.
    agent.desired(|desired| desired.allocs.len() == 1).await;
    drop(keeping);
    cluster.stop().await;
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_no_more() {
    let cluster = with(ConnectionLimits { per_address: 2, ..ConnectionLimits::default() }).await;
    let (first, second) = (connect(&cluster).await, connect(&cluster).await);
    closed(connect(&cluster).await).await;
    drop(first);
    // Soon the place of the first is free, and the client of HTTP finds one.
    let status = || async { cluster.client.status().await };
    crate::cluster::until(status, Result::is_ok).await.unwrap();
    drop(second);
    cluster.stop().await;
}

#[tokio::test]
async fn one_who_takes_no_answer_loses_its_connection() {
    let cluster = with(ConnectionLimits { first_request: SHORT, idle: SHORT, ..ConnectionLimits::default() }).await;
    let mut connection = connect(&cluster).await;
    connection.write_all(&HTTP2[..HTTP2.len() - 9]).await.unwrap();
    connection.write_all(NO_WINDOW).await.unwrap();
    closed(connection).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_body_that_is_said_to_be_too_large_is_not_waited_for() {
    let cluster = with(ConnectionLimits::default()).await;
    let mut connection = connect(&cluster).await;
    let token = &cluster.ready.token;
    let head = format!(
        "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nIdempotency-Key: k\r\n\
         Content-Type: application/json\r\nContent-Length: 1000000000000\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    // Sooner than a body would have to be there.
    tokio::time::timeout(Duration::from_secs(20), connection.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    cluster.stop().await;
}

/// Heads of requests that would never end: a header of HTTP/1, many of them, and HTTP/2 that always goes on.
pub const ENDLESS: [(&[u8], &[u8]); 3] = [
    (b"GET /v1/status HTTP/1.1\r\nHost: x\r\nX: ", &[b'x'; 4_096]),
    (b"GET /v1/status HTTP/1.1\r\nHost: x\r\n", b"X: y\r\n"),
    // The request of `NO_WINDOW` without its end, and then CONTINUATION frames of a header each.
    (b"\0\0\x03\x01\x01\0\0\0\x01\x82\x86\x84", b"\0\0\x05\x09\0\0\0\0\x01\0\x01a\x01b"),
];

/// Sends up to a gigabyte of a head that never ends, and tells how much went out until the server had enough, and what it
/// answered.
pub async fn head_without_end(stream: impl AsyncRead + AsyncWrite, (begin, more): (&[u8], &[u8])) -> (usize, Vec<u8>) {
    let (mut from, mut to) = tokio::io::split(stream);
    let much = more.repeat((64 << 10) / more.len());
    let sending = async {
        if !begin.starts_with(b"GET") {
            to.write_all(HTTP2).await.unwrap();
        }
        to.write_all(begin).await.unwrap();
        let mut sent = 0;
        while sent < 1 << 30 && to.write_all(&much).await.is_ok() {
            sent += much.len();
        }
        sent
    };
    let mut answer = Vec::new();
    let answering = async { from.read_to_end(&mut answer).await.ok() };
    let (sent, _) = tokio::time::timeout(SOON, async { tokio::join!(sending, answering) }).await.unwrap();
    (sent, answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_of_a_gigabyte_is_cut_off() {
    let cluster = with(ConnectionLimits::default()).await;
    for head in ENDLESS {
        let (sent, answer) = head_without_end(connect(&cluster).await, head).await;
        assert!(sent < 16 << 20, "{sent} bytes were taken: {:?}", String::from_utf8_lossy(&answer));
    }
    cluster.client.status().await.unwrap();
    cluster.stop().await;
}

#[tokio::test]
async fn events_after_the_last_that_can_be_are_waited_for() {
    let cluster = with(ConnectionLimits::default()).await;
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let request = http.get(cluster.url(&format!("/v1/events?after=e1-{}", u64::MAX)));
    let request = request.bearer_auth(&cluster.ready.token).header("Accept", "text/event-stream");
    // So that there is an oldest event to hold it against.
    let _agent = cluster.agent("n").await;
    let mut response = request.send().await.unwrap();
    assert!(response.chunk().await.unwrap().unwrap().starts_with(b"event: begin"));
    let ((), rest) = tokio::join!(async { drop(cluster.stop().await) }, response.text());
    assert_eq!(rest.unwrap(), "");
}

#[test]
fn a_large_cluster_may_connect_with_room_for_its_users() {
    const NODES: usize = 50_000;
    assert!(ConnectionLimits::default().total > NODES + NODES / 10, "an agent keeps one connection");
}

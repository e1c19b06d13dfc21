//! A real registry (Debian's `docker-registry`), and servers that are not what a registry should be.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use berth_model::FailureKind;
use berth_runtime::images::Credential;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Tar, World, contents, run};

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A registry that ends with its value.
struct Registry {
    child: Child,
    port: u16,
}

impl Registry {
    fn start(folder: &Path, auth: &str) -> Registry {
        // Somebody else may take the port in between; then another one is tried.
        for _ in 0..5 {
            let port = free_port();
            let config = format!(
                "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
                 http: {{addr: '127.0.0.1:{port}'}}\n{auth}",
                folder.join("registry").display()
            );
            let path = folder.join("registry.yml");
            std::fs::write(&path, config).unwrap();
            let quiet = || Stdio::null();
            let mut command = Command::new("docker-registry");
            let mut child = command.arg("serve").arg(&path).stdout(quiet()).stderr(quiet()).spawn().unwrap();
            let deadline = Instant::now() + Duration::from_secs(20);
            while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
                if std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                    return Registry { child, port };
                }
                std::thread::yield_now();
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("the registry does not start");
    }

    fn push(&self, world: &World, tag: &str, name: &str, options: &[&str]) {
        let from = format!("oci:{}:{tag}", world.layout().display());
        let to = format!("docker://127.0.0.1:{}/{name}", self.port);
        run("skopeo", &[&["copy", "--dest-tls-verify=false"], options, &[&from, &to]].concat());
    }

    fn image(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn one_file(contents: &[u8]) -> Vec<Vec<u8>> {
    vec![Tar::new().file("a", contents).bytes()]
}

#[tokio::test]
async fn tags_move_and_digests_stay() {
    let world = World::new();
    let registry = Registry::start(world.folder.path(), "");
    world.image("1", one_file(b"old"));
    registry.push(&world, "1", "team/app:1", &[]);
    let old = world.ensure(&registry.image("team/app:1")).await.unwrap();
    assert_eq!(contents(&old.layers[0])["a"], "old");
    let by_digest = registry.image(&format!("team/app@{}", old.digest));
    assert_eq!(world.ensure(&by_digest).await.unwrap().layers, old.layers);

    world.image("1", one_file(b"new"));
    registry.push(&world, "1", "team/app:1", &[]);
    let new = world.ensure(&registry.image("team/app:1")).await.unwrap();
    assert_eq!(contents(&new.layers[0])["a"], "new");
    assert_eq!(world.ensure(&by_digest).await.unwrap().digest, old.digest);

    let result = world.ensure(&registry.image("team/app:2")).await;
    world.expect_failure(result, FailureKind::Image, &["has no team/app with the tag `2`"]);
    let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let result = world.ensure(&registry.image(&format!("team/app@sha256:{nothing}"))).await;
    world.expect_failure(result, FailureKind::Image, &["has no team/app with the digest sha256:e3b0"]);

    // The registry goes; what is here stays.
    let (tag, other) = (registry.image("team/app:1"), registry.image("team/app:3"));
    drop(registry);
    assert_eq!(world.ensure(&tag).await.unwrap().digest, new.digest);
    assert_eq!(world.ensure(&by_digest).await.unwrap().digest, old.digest);
    let result = world.ensure(&other).await;
    world.expect_failure(result, FailureKind::Image, &["cannot reach the registry 127.0.0.1", "refused"]);
}

#[tokio::test]
async fn docker_images_are_read() {
    let world = World::new();
    let registry = Registry::start(world.folder.path(), "");
    world.image("1", one_file(b"docker"));
    registry.push(&world, "1", "docker:1", &["--format", "v2s2"]);
    let image = world.ensure(&registry.image("docker:1")).await.unwrap();
    assert_eq!(contents(&image.layers[0])["a"], "docker");
    assert_eq!(image.config.cmd, ["/bin/sh"]);
}

#[tokio::test]
async fn a_protected_registry_wants_the_right_credential() {
    let world = World::new();
    // `berth:sesame`, as htpasswd -nbB would write it.
    let htpasswd = world.path("htpasswd");
    std::fs::write(&htpasswd, format!("berth:{}\n", BCRYPT_SESAME)).unwrap();
    let auth = format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", htpasswd.display());
    let registry = Registry::start(world.folder.path(), &auth);
    world.image("1", one_file(b"secret"));
    registry.push(&world, "1", "private:1", &["--dest-creds", "berth:sesame"]);
    let image = registry.image("private:1");

    let result = world.ensure(&image).await;
    world.expect_failure(result, FailureKind::Image, &["refused private with the tag `1`: it wants a credential"]);
    let wrong = Credential::Password { user: "berth".into(), password: "hunter2".into() };
    let result = world.ensure_as(&image, Some(&wrong)).await;
    let said = world.expect_failure(result, FailureKind::Image, &["the credential does not allow it"]);
    assert!(!said.contains("hunter2") && !format!("{wrong:?}").contains("hunter2"));
    let right = Credential::Password { user: "berth".into(), password: "sesame".into() };
    world.ensure_as(&image, Some(&right)).await.unwrap();
}

const BCRYPT_SESAME: &str = "$2y$04$abcdefghijklmnopqrstuuinwY/tkBVrn3xrxQI/TgnMHhkvl85RW";

#[tokio::test]
async fn twenty_fetches_at_once_share_each_download() {
    let world = World::new();
    let registry = Registry::start(world.folder.path(), "");
    let layers: Vec<_> = (0..4).map(|n| Tar::new().file("a", &vec![n; 300_000]).bytes()).collect();
    world.image("1", layers);
    registry.push(&world, "1", "many:1", &[]);
    let counted = Forwarder::start(registry.port).await;
    let image = format!("127.0.0.1:{}/many:1", counted.port);
    let all = futures::future::join_all((0..20).map(|_| world.ensure(&image))).await;
    let digests: Vec<_> = all.into_iter().map(|image| image.unwrap().digest).collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]));
    let asked = counted.asked.lock().unwrap().clone();
    let layers = asked.iter().filter(|(path, _)| path.contains("/blobs/")).filter(|(_, n)| **n == 1).count();
    assert!(layers >= 4, "{asked:?}");
    let most = asked.iter().filter(|(path, _)| path.contains("/blobs/")).filter(|(_, n)| **n > 1).count();
    assert!(most <= 1, "only the configuration, which is small, may be fetched twice: {asked:?}");
}

/// Passes connections on, one request each, and counts what is asked for.
struct Forwarder {
    port: u16,
    asked: Arc<std::sync::Mutex<BTreeMap<String, usize>>>,
}

impl Forwarder {
    async fn start(to: u16) -> Forwarder {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<std::sync::Mutex<BTreeMap<String, usize>>> = Arc::default();
        let counted = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    let head = read_head(&mut from).await;
                    let path = head.split(' ').nth(1).unwrap_or("").to_owned();
                    *counted.lock().unwrap().entry(path).or_default() += 1;
                    let mut to = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await.unwrap();
                    let once = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
                    to.write_all(once.as_bytes()).await.unwrap();
                    let _ = tokio::io::copy(&mut to, &mut from).await;
                });
            }
        });
        Forwarder { port, asked }
    }
}

async fn read_head(stream: &mut tokio::net::TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// A server that answers each path with what the test wrote for it, and everything else with 404.
async fn scripted(answers: impl Fn(&str, u16) -> Option<String> + Send + Sync + 'static) -> (u16, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let answers = Arc::new(answers);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answers, counter) = (Arc::clone(&answers), Arc::clone(&counter));
            tokio::spawn(async move {
                let head = read_head(&mut stream).await;
                counter.fetch_add(1, Ordering::Relaxed);
                let answer = answers(&head, port).unwrap_or("HTTP/1.1 404 Not Found\r\n\r\n".to_owned());
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    (port, requests)
}

fn answer(status: &str, headers: &str, body: &str) -> Option<String> {
    Some(format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()))
}

#[tokio::test]
async fn a_bearer_token_is_had_from_the_realm() {
    let world = World::new();
    let (port, _) = scripted(|head, port| {
        let shown = head.lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap_or("");
        if head.starts_with("GET /token?scope=repository%3Aapp%3Apull&service=here ") {
            // berth:sesame
            return if shown == "Basic YmVydGg6c2VzYW1l" {
                answer("200 OK", "", r#"{"token":"t0ken"}"#)
            } else {
                answer("401 Unauthorized", "", "")
            };
        }
        if shown == "Bearer t0ken" {
            return answer("404 Not Found", "", "");
        }
        let challenge =
            format!("WWW-Authenticate: Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"here\"\r\n");
        answer("401 Unauthorized", &challenge, "")
    })
    .await;
    let image = format!("127.0.0.1:{port}/app:1");
    let right = Credential::Password { user: "berth".into(), password: "sesame".into() };
    // Past the token, to an honest no.
    let result = world.ensure_as(&image, Some(&right)).await;
    world.expect_failure(result, FailureKind::Image, &["has no app with the tag `1`"]);
    let result = world.ensure(&image).await;
    world.expect_failure(result, FailureKind::Image, &["it wants a credential"]);
    let token = Credential::Token("t0ken".into());
    let result = world.ensure_as(&image, Some(&token)).await;
    world.expect_failure(result, FailureKind::Image, &["has no app with the tag `1`"]);
}

#[tokio::test]
async fn what_no_registry_should_answer_is_refused() {
    let world = World::new();
    let far = "http://registry.example/elsewhere";
    let cases: Vec<(&str, String, &str)> = vec![
        ("page", answer("200 OK", "", "<html>").unwrap(), "cannot read the image manifest: expected value"),
        ("teapot", answer("418 Teapot", "", "").unwrap(), "answered 418 to teapot with the tag `1`"),
        ("busy", answer("503 Busy", "", "").unwrap(), "answered 503 to busy with the tag `1`; it may answer later"),
        ("basic", answer("401 No", "", "").unwrap(), "it asks for neither a password nor a token"),
        (
            "realm",
            answer("401 No", &format!("WWW-Authenticate: Bearer realm=\"{far}\"\r\n"), "").unwrap(),
            "it wants the credential sent over plain HTTP",
        ),
        (
            "moved",
            answer("302 Found", &format!("Location: {far}\r\n"), "").unwrap(),
            "refused a redirect to plain HTTP",
        ),
        (
            "huge",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_owned(),
            "the image manifest is larger than allowed: 93.1GiB, at most 4MiB",
        ),
        (
            "endless",
            format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", " ".repeat(5 << 20)),
            "the image manifest is larger than allowed",
        ),
        ("v1", answer("200 OK", "", r#"{"schemaVersion":1}"#).unwrap(), "schema version 1"),
    ];
    let answers: BTreeMap<String, String> =
        cases.iter().map(|(name, answer, _)| ((*name).to_owned(), answer.clone())).collect();
    let (port, _) = scripted(move |head, _| answers.get(head.split('/').nth(2)?).cloned()).await;
    for (name, _, words) in cases {
        let result = world.ensure(&format!("127.0.0.1:{port}/{name}:1")).await;
        world.expect_failure(result, FailureKind::Image, &[words]);
    }
}

#[tokio::test]
async fn plain_http_is_for_loopback_hosts_only() {
    let world = World::new();
    let (port, requests) = scripted(|_, _| answer("200 OK", "", "{}")).await;
    // The same server under a name that is not a loopback one: it is spoken to in TLS, or not at all.
    let result = world.ensure(&format!("127.0.0.1.nip.invalid:{port}/app:1")).await;
    world.expect_failure(result, FailureKind::Image, &["over HTTPS (plain HTTP is spoken to loopback hosts only)"]);
    assert_eq!(requests.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_connection_that_breaks_is_no_wrong_digest() {
    let world = World::new();
    let registry = Registry::start(world.folder.path(), "");
    world.image("1", one_file(&vec![7; 3 << 20]));
    registry.push(&world, "1", "cut:1", &[]);
    let cut = Cutter::start(registry.port).await;
    let result = world.ensure(&format!("127.0.0.1:{cut}/cut:1")).await;
    world.expect_failure(result, FailureKind::Image, &["cannot reach the registry 127.0.0.1"]);
    world.ensure(&registry.image("cut:1")).await.unwrap();
}

/// Passes connections on, but layers only for their first kilobyte.
struct Cutter;

impl Cutter {
    async fn start(to: u16) -> u16 {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let head = read_head(&mut from).await;
                    let mut to = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await.unwrap();
                    let once = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
                    to.write_all(once.as_bytes()).await.unwrap();
                    let mut answer = Vec::new();
                    let _ = to.read_to_end(&mut answer).await;
                    let keep = if answer.len() > 2500 { 1500 } else { answer.len() };
                    let _ = from.write_all(&answer[..keep]).await;
                });
            }
        });
        port
    }
}

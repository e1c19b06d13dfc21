//! A real registry (Debian's `docker-registry`), and servers that are not what a registry should be.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use berth_model::{Bytes, FailureKind, Retry};
use berth_runtime::images::{Credential, StoreConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::support::{PATIENCE, Tar, World, contents, names, noise, run};

/// A registry that ends with its value.
pub struct Registry {
    child: Child,
    pub at: SocketAddr,
}

impl Registry {
    pub fn start(folder: &Path, more: &str) -> Registry {
        Registry::start_at(folder, Ipv4Addr::LOCALHOST.into(), "", more)
    }

    /// The registry takes a port that is free, and says in its log which.
    fn start_at(folder: &Path, ip: IpAddr, tls: &str, more: &str) -> Registry {
        let config = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: '{}'{tls}}}\n{more}",
            folder.join("registry").display(),
            SocketAddr::new(ip, 0)
        );
        let (path, log) = (folder.join("registry.yml"), folder.join("registry.log"));
        std::fs::write(&path, config).unwrap();
        let said = std::fs::File::create(&log).unwrap();
        let mut command = Command::new("docker-registry");
        let child = command.arg("serve").arg(&path).stdout(Stdio::null()).stderr(said).spawn().unwrap();
        // From here on dropped, and so ended, whatever happens.
        let mut registry = Registry { child, at: SocketAddr::new(ip, 0) };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = std::fs::read_to_string(&log).unwrap();
            if let Some((_, rest)) = said.split_once("listening on ") {
                let address: String = rest.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
                // Cut short where the line is not written yet to its end.
                if address.len() < rest.len() {
                    registry.at = address.parse().unwrap();
                    return registry;
                }
            }
            assert!(registry.child.try_wait().unwrap().is_none(), "the registry does not start: {said}");
            assert!(Instant::now() < deadline, "the registry does not come: {said}");
            std::thread::yield_now();
        }
    }

    pub fn push(&self, world: &World, tag: &str, name: &str, options: &[&str]) {
        let from = format!("oci:{}:{tag}", world.layout().display());
        let to = format!("docker://{}/{name}", self.at);
        run("skopeo", &[&["copy", "--dest-tls-verify=false"], options, &[&from, &to]].concat());
    }

    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.at)
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
    assert_eq!(world.retry(&registry.image("team/app:2")).await, Retry::Pointless);
    let (tag, other) = (registry.image("team/app:1"), registry.image("team/app:3"));
    drop(registry);
    assert_eq!(world.ensure(&tag).await.unwrap().digest, new.digest);
    assert_eq!(world.ensure(&by_digest).await.unwrap().digest, old.digest);
    let result = world.ensure(&other).await;
    world.expect_failure(result, FailureKind::Image, &["cannot reach the registry 127.0.0.1", "refused"]);
    assert_eq!(world.retry(&other).await, Retry::MayHelp);
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
    let proxy = Proxy::start(registry.at.port(), Layers::Pass).await;
    let image = format!("127.0.0.1:{}/many:1", proxy.port);
    let all = futures::future::join_all((0..20).map(|_| world.ensure(&image))).await;
    let digests: Vec<_> = all.into_iter().map(|image| image.unwrap().digest).collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]));
    // The configuration, which is small, may be fetched more often.
    let config = manifest(&world)["config"]["digest"].as_str().unwrap().to_owned();
    let asked = proxy.asked.lock().unwrap().clone();
    let layers: Vec<_> = asked.iter().filter(|(path, _)| path.contains("/blobs/") && !path.contains(&config)).collect();
    assert!(layers.len() == 4 && layers.iter().all(|(_, times)| **times == 1), "{asked:?}");
}

/// The manifest of the layout's first image.
fn manifest(world: &World) -> serde_json::Value {
    let read = |path: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(world.layout().join(path)).unwrap()).unwrap()
    };
    let index = read("index.json");
    read(&format!("blobs/sha256/{}", index["manifests"][0]["digest"].as_str().unwrap().replace("sha256:", "")))
}

/// What a proxy does to answers with layers in them.
#[derive(Clone)]
pub enum Layers {
    Pass,
    /// Only their first kilobyte.
    Cut,
    /// Each waits for a permit, after its head.
    Hold(Arc<Semaphore>),
    /// A byte now and then.
    Trickle,
}

/// Passes connections on, one request each, and counts what is asked for.
pub struct Proxy {
    pub port: u16,
    asked: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Proxy {
    pub async fn start(to: u16, layers: Layers) -> Proxy {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
        let counted = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                tokio::spawn(pass_on(from, to, layers.clone(), Arc::clone(&counted)));
            }
        });
        Proxy { port, asked }
    }
}

async fn pass_on(mut from: TcpStream, to: u16, layers: Layers, asked: Arc<Mutex<BTreeMap<String, usize>>>) {
    let head = read_head(&mut from).await;
    let path = head.split(' ').nth(1).unwrap_or("").to_owned();
    *asked.lock().unwrap().entry(path).or_default() += 1;
    let mut to = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await.unwrap();
    to.write_all(head.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    to.read_to_end(&mut answer).await.unwrap();
    let (first, rest) = answer.split_at(answer.len().min(1500));
    // The client may have gone.
    let _ = from.write_all(first).await;
    match layers {
        // Documents are smaller than this here.
        Layers::Cut if answer.len() > 2500 => return,
        Layers::Hold(permits) if answer.len() > 2500 => permits.acquire().await.unwrap().forget(),
        Layers::Trickle if answer.len() > 2500 => return trickle(&mut from, rest).await,
        Layers::Pass | Layers::Cut | Layers::Hold(_) | Layers::Trickle => {}
    }
    let _ = from.write_all(rest).await;
}

/// Sends so little at a time that it never ends, until nobody listens.
pub async fn trickle(to: &mut TcpStream, bytes: &[u8]) {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    for byte in bytes.iter().cycle() {
        tick.tick().await;
        if to.write_all(&[*byte]).await.is_err() {
            return;
        }
    }
}

pub async fn read_head(stream: &mut TcpStream) -> String {
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
async fn scripted(answers: impl Fn(&str, u16) -> Option<String> + Send + Sync + 'static) -> u16 {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answers = Arc::new(answers);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answers = Arc::clone(&answers);
            tokio::spawn(async move {
                let head = read_head(&mut stream).await;
                let answer = answers(&head, port).unwrap_or("HTTP/1.1 404 Not Found\r\n\r\n".to_owned());
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    port
}

fn answer(status: &str, headers: &str, body: &str) -> Option<String> {
    Some(format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()))
}

#[tokio::test]
async fn a_bearer_token_is_had_from_the_realm() {
    let world = World::new();
    let port = scripted(|head, port| {
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
    let port = scripted(move |head, _| answers.get(head.split('/').nth(2)?).cloned()).await;
    for (name, _, words) in cases {
        let result = world.ensure(&format!("127.0.0.1:{port}/{name}:1")).await;
        world.expect_failure(result, FailureKind::Image, &[words]);
    }
}

/// An address of this machine that is not loopback, where it has one.
fn other_address() -> Option<SocketAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    // Sends nothing, but finds a route; the address is one that documents use.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok()
}

#[tokio::test]
async fn plain_http_is_for_loopback_hosts_only() {
    let words = ["over HTTPS (plain HTTP is spoken to loopback hosts only)"];
    let world = World::new();
    let result = world.ensure("localhost.invalid:5000/app:1").await;
    world.expect_failure(result, FailureKind::Image, &words);
    let Some(address) = other_address() else { return };
    let listener = tokio::net::TcpListener::bind((address.ip(), 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let first = stream.read_u8().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        first
    });
    let result = world.ensure(&format!("{}:{port}/app:1", address.ip())).await;
    world.expect_failure(result, FailureKind::Image, &words);
    assert_eq!(server.await.unwrap(), 22, "the first byte of a handshake in TLS");
}

#[tokio::test]
async fn other_hosts_are_spoken_to_in_tls() {
    let Some(address) = other_address() else { return };
    let world = World::new();
    let (key, certificate) = (world.path("key.pem"), world.path("certificate.pem"));
    let (key, certificate) = (key.to_str().unwrap(), certificate.to_str().unwrap());
    let name = format!("subjectAltName=IP:{}", address.ip());
    let new = [
        "req",
        "-config",
        "/dev/null",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ];
    let names = [
        "-subj",
        "/CN=registry",
        "-addext",
        &name,
        "-addext",
        "basicConstraints=CA:FALSE",
        "-keyout",
        key,
        "-out",
        certificate,
    ];
    run("openssl", &[&new[..], &names[..]].concat());
    let tls = format!(", tls: {{certificate: {certificate}, key: {key}}}");
    let registry = Registry::start_at(world.folder.path(), address.ip(), &tls, "");
    world.image("1", one_file(b"secure"));
    registry.push(&world, "1", "app:1", &[]);
    let image = registry.image("app:1");

    let result = world.ensure(&image).await;
    world.expect_failure(result, FailureKind::Image, &["cannot reach the registry", "certificate"]);
    // Which certificates count is settled once in a process, so one that trusts ours has to be another.
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "registry::fetches_the_image_of_the_environment"])
        .envs([("SSL_CERT_FILE", certificate), ("BERTH_TEST_IMAGE", &image)])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test]
#[ignore = "one half of other_hosts_are_spoken_to_in_tls, which runs it"]
async fn fetches_the_image_of_the_environment() {
    let world = World::new();
    let image = world.ensure(&std::env::var("BERTH_TEST_IMAGE").unwrap()).await.unwrap();
    assert_eq!(contents(&image.layers[0])["a"], "secure");
}

#[tokio::test]
async fn a_fetch_that_is_given_up_frees_its_place() {
    let world = World::with(StoreConfig { parallel: 1, ..StoreConfig::default() });
    let registry = Registry::start(world.folder.path(), "");
    world.image("1", one_file(&noise()));
    registry.push(&world, "1", "app:1", &[]);
    let proxy = Proxy::start(registry.at.port(), Layers::Hold(Arc::new(Semaphore::new(0)))).await;
    let held = format!("127.0.0.1:{}/app:1", proxy.port);
    {
        let mut waiting = std::pin::pin!(world.ensure(&held));
        while !world.unpacks() {
            assert!(futures::poll!(&mut waiting).is_pending(), "the layer is held");
            tokio::task::yield_now().await;
        }
    }
    world.ensure(&registry.image("app:1")).await.unwrap();
    world.nothing_unfinished();
}

#[tokio::test]
async fn nothing_is_collected_from_under_a_fetch() {
    let world = World::with(StoreConfig { keep: Bytes(0), ..StoreConfig::default() });
    let registry = Registry::start(world.folder.path(), "");
    world.image("1", [one_file(&noise()), one_file(b"small")].concat());
    registry.push(&world, "1", "app:1", &[]);
    let permits = Arc::new(Semaphore::new(0));
    let proxy = Proxy::start(registry.at.port(), Layers::Hold(Arc::clone(&permits))).await;
    let held = format!("127.0.0.1:{}/app:1", proxy.port);
    let mut waiting = std::pin::pin!(world.ensure(&held));
    while names(&world.path("images/layers/sha256")).is_empty() {
        assert!(futures::poll!(&mut waiting).is_pending(), "a layer is held");
        tokio::task::yield_now().await;
    }
    assert_eq!(world.store.collect(&BTreeSet::new()).unwrap().layers, 0);
    permits.add_permits(1);
    let image = waiting.await.unwrap();
    assert!(image.layers.iter().all(|layer| layer.is_dir()));
}

#[tokio::test]
async fn a_connection_that_breaks_is_no_wrong_digest() {
    let world = World::new();
    let registry = Registry::start(world.folder.path(), "");
    world.image("1", one_file(&noise()));
    registry.push(&world, "1", "cut:1", &[]);
    let proxy = Proxy::start(registry.at.port(), Layers::Cut).await;
    let result = world.ensure(&format!("127.0.0.1:{}/cut:1", proxy.port)).await;
    world.expect_failure(result, FailureKind::Image, &["cannot reach the registry 127.0.0.1"]);
    world.ensure(&registry.image("cut:1")).await.unwrap();
}

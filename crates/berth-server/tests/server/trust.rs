//! Who gets in, and who does not: real certificates over real TLS.

use std::sync::Arc;
use std::time::Duration;

use berth_api::client::{AgentStream, Client, ClientError, FromServer, Target, Tls as ClientTls, join, new_key, renew};
use berth_api::wire::v1::{self as wire, CommandOutcome, ErrorKind, NodeState, Number, Role};
use berth_model::{Millis, testkit};
use berth_secrets::{Credentials, Invitation, Trusted, client_config, from_pem};
use berth_server::{Clock, Config, Join, Ready, SealingKeyPlace, ServerError, StoreKind, Tls, run};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, SOON};
use crate::connections::{ENDLESS, head_without_end};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// A server with TLS, and the operator.
struct Secured {
    ready: Ready,
    client: Client,
    clock: Clock,
    dir: tempfile::TempDir,
    stop: CancellationToken,
    server: tokio::task::JoinHandle<Result<(), ServerError>>,
}

impl Secured {
    async fn start() -> Secured {
        let dir = tempfile::tempdir().unwrap();
        let config = Secured::config(&dir);
        Secured::start_with(dir, config).await
    }

    fn config(dir: &tempfile::TempDir) -> Config {
        let config = Cluster::config(dir, StoreKind::Embedded);
        let sealing_key = SealingKeyPlace::Own(config.data_dir.join("sealing.key"));
        let tls = Tls { sealing_key, certificate_grace: Millis(30 * DAY as u64), join: None };
        Config { tls: Some(tls), ..config }
    }

    async fn start_with(dir: tempfile::TempDir, config: Config) -> Secured {
        let clock = config.clock.clone();
        let (told, ready) = oneshot::channel();
        let stop = CancellationToken::new();
        let server = tokio::spawn(run(config, told, stop.clone()));
        let ready = tokio::time::timeout(SOON, ready).await.unwrap().unwrap();
        let client = Client::new(operator(&ready, &clock)).unwrap();
        Secured { ready, client, clock, dir, stop, server }
    }

    async fn stop(self) -> tempfile::TempDir {
        self.stop.cancel();
        tokio::time::timeout(SOON, self.server).await.unwrap().unwrap().unwrap();
        self.dir
    }

    /// The same cluster, stopped and started again so many milliseconds from now.
    async fn later(self, milliseconds: i64) -> Secured {
        let dir = self.stop().await;
        let config = Secured::config(&dir);
        config.clock.shift(milliseconds);
        Secured::start_with(dir, config).await
    }

    fn url(&self) -> String {
        format!("https://{}", self.ready.addr)
    }

    async fn token(&self, role: Role, node: Option<&str>) -> Invitation {
        let node = node.map(|node| node.parse().unwrap());
        let request = wire::TokenRequest { role, node, life_ms: None };
        self.client.make_token(&request, &new_key()).await.unwrap().token.parse().unwrap()
    }

    /// What somebody with this key is to the servers that it trusts.
    fn target(&self, trusted: Trusted, own: &Credentials) -> Target {
        let clock = self.clock.clone();
        let tls = client_config(trusted, Some(own), Arc::new(move || clock.wall())).unwrap();
        Target::certified(&self.url(), ClientTls::new(tls)).unwrap()
    }

    /// The same for one that has joined.
    fn member(&self, own: &Credentials) -> Target {
        self.target(Trusted::authorities(own.authorities().iter().cloned()).unwrap(), own)
    }

    async fn join_as(
        &self,
        own: &Credentials,
        token: &Invitation,
        role: Role,
        name: &str,
    ) -> Result<wire::Certified, ClientError> {
        let request = wire::JoinRequest { token: token.reveal().to_string(), role, name: name.parse().unwrap() };
        join(&self.target(Trusted::Pinned(token.authority), own), &request).await
    }

    /// A new node, with its certificate.
    async fn node(&self, name: &str) -> Credentials {
        let token = self.token(Role::Agent, None).await;
        let own = Credentials::make().unwrap();
        certified(&own, &self.join_as(&own, &token, Role::Agent, name).await.unwrap())
    }
}

/// The operator, as on the server's own machine.
fn operator(ready: &Ready, clock: &Clock) -> Target {
    let authorities = std::fs::read_to_string(ready.authorities_path.as_ref().unwrap()).unwrap();
    let clock = clock.clone();
    let trusted = Trusted::authorities(from_pem(&authorities).unwrap()).unwrap();
    let tls = client_config(trusted, None, Arc::new(move || clock.wall())).unwrap();
    Target::new(&format!("https://{}", ready.addr), &ready.token).unwrap().with_tls(ClientTls::new(tls))
}

fn certified(own: &Credentials, answer: &wire::Certified) -> Credentials {
    own.certified(from_pem(&answer.certificate).unwrap(), from_pem(&answer.authorities).unwrap())
}

async fn connect(target: &Target, name: &str) -> Result<AgentStream, ClientError> {
    AgentStream::connect(target, testkit::machine(name).hello()).await
}

/// What the server says first, which is a welcome.
async fn welcomed(target: &Target, name: &str) -> AgentStream {
    let mut stream = connect(target, name).await.unwrap();
    let first = tokio::time::timeout(SOON, stream.orders.next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(first, FromServer::Order(berth_model::Order::Welcome { .. })), "{first:?}");
    stream
}

/// The kind and the message of a refusal.
fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> (ErrorKind, String) {
    let error = result.unwrap_err();
    let info = error.refusal().unwrap_or_else(|| panic!("a refusal was expected, not {error:?}"));
    (info.kind, info.message.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_with_a_token_and_is_known_by_its_key_from_then_on() {
    let cluster = Secured::start().await;
    let node = cluster.node("one").await;
    let mut stream = welcomed(&cluster.member(&node), "one").await;
    let known = cluster.client.node("one").await.unwrap();
    assert!(matches!(known.state, NodeState::Ready { .. }));
    // What happened is told, with who did it.
    let told = cluster.client.events(&berth_api::client::EventFilter::default()).await.unwrap();
    let told: Vec<String> = told.items.iter().map(|event| event.what.to_string()).collect();
    for wanted in ["certificate authority", "join token for one agent", "node one has joined"] {
        assert!(told.iter().any(|what| what.contains(wanted)), "{wanted}: {told:?}");
    }
    drop(stream.reports);
    assert!(tokio::time::timeout(SOON, stream.orders.next()).await.is_ok());
    // All of it is there after a restart, under the same authority.
    let cluster = cluster.later(0).await;
    welcomed(&cluster.member(&node), "one").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_not_known_is_refused_with_a_reason() {
    let (cluster, other) = (Secured::start().await, Secured::start().await);
    let node = cluster.node("one").await;
    let trusted = || Trusted::authorities(node.authorities().iter().cloned()).unwrap();
    // Without a certificate, though with the operator's token.
    let (kind, told) = refusal(connect(cluster.client.target(), "one").await);
    assert_eq!((kind, told.as_str()), (ErrorKind::Unauthorized, "an agent needs a certificate of this cluster"));
    // With one that nobody has signed, and with another cluster's.
    let (_, told) = refusal(connect(&cluster.target(trusted(), &Credentials::make().unwrap()), "one").await);
    assert!(told.contains("no certificate authority of this cluster"), "{told}");
    let strange = other.node("one").await;
    let (_, told) = refusal(connect(&cluster.target(trusted(), &strange), "one").await);
    assert!(told.contains("no certificate authority of this cluster"), "{told}");
    // With another node's.
    let (kind, told) = refusal(connect(&cluster.member(&node), "two").await);
    assert_eq!(kind, ErrorKind::Forbidden);
    assert_eq!(told, "the agent says it is node two, and its certificate says it is node one");
    // A node is no user.
    let (kind, _) = refusal(Client::new(cluster.member(&node)).unwrap().nodes().await);
    assert_eq!(kind, ErrorKind::Unauthorized);
    // And a server of another cluster is not believed.
    let clock = other.clock.clone();
    let tls = client_config(trusted(), None, Arc::new(move || clock.wall())).unwrap();
    let wrong = Target::new(&other.url(), &other.ready.token).unwrap().with_tls(ClientTls::new(tls));
    let error = Client::new(wrong).unwrap().status().await.unwrap_err();
    assert!(error.to_string().contains("is the address right?"), "{error}");
    // None of it has kept the node from its work.
    welcomed(&cluster.member(&node), "one").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_lets_one_machine_in_of_its_role_for_its_time() {
    let cluster = Secured::start().await;
    let (first, second) = (Credentials::make().unwrap(), Credentials::make().unwrap());
    let token = cluster.token(Role::Agent, None).await;
    let (_, told) = refusal(cluster.join_as(&first, &token, Role::Server, "one").await);
    assert_eq!(told, "the join token is for the role `agent`");
    cluster.join_as(&first, &token, Role::Agent, "one").await.unwrap();
    // The same machine may ask again; another one may not, under whatever name.
    cluster.join_as(&first, &token, Role::Agent, "one").await.unwrap();
    for name in ["one", "two"] {
        let (kind, told) = refusal(cluster.join_as(&second, &token, Role::Agent, name).await);
        assert_eq!(kind, ErrorKind::Forbidden);
        assert!(told.contains("was used by another machine"), "{told}");
    }
    let (_, told) = refusal(cluster.join_as(&first, &token, Role::Agent, "two").await);
    assert!(told.contains("was used for another"), "{told}");
    // Its name is taken, unless a token says otherwise: then the old key is worth nothing any more.
    let fresh = cluster.token(Role::Agent, None).await;
    let (_, told) = refusal(cluster.join_as(&second, &fresh, Role::Agent, "one").await);
    assert!(told.contains("a node of this name is in the cluster"), "{told}");
    let named = cluster.token(Role::Agent, Some("one")).await;
    let (_, told) = refusal(cluster.join_as(&second, &named, Role::Agent, "two").await);
    assert_eq!(told, "the join token is for another node");
    let old = certified(&first, &cluster.join_as(&first, &token, Role::Agent, "one").await.unwrap());
    cluster.join_as(&second, &named, Role::Agent, "one").await.unwrap();
    let (_, told) = refusal(connect(&cluster.member(&old), "one").await);
    assert!(told.contains("has joined with another key since"), "{told}");
    // One that nobody made, and one whose time is over.
    let invented = Invitation::make(berth_model::Role::Agent, token.authority);
    let (_, told) = refusal(cluster.join_as(&second, &invented, Role::Agent, "three").await);
    assert_eq!(told, "the cluster knows no such join token");
    let late = cluster.token(Role::Agent, None).await;
    cluster.clock.shift(2 * HOUR);
    let (_, told) = refusal(cluster.join_as(&second, &late, Role::Agent, "three").await);
    assert!(told.contains("the join token expired at"), "{told}");
    let long = wire::TokenRequest { role: Role::Agent, node: None, life_ms: Some(Number(25 * HOUR as u64)) };
    let (kind, _) = refusal(cluster.client.make_token(&long, &new_key()).await);
    assert_eq!(kind, ErrorKind::Invalid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_shut_out_is_out_at_once_and_comes_back_with_a_token_alone() {
    let cluster = Secured::start().await;
    let node = cluster.node("one").await;
    let mut stream = welcomed(&cluster.member(&node), "one").await;
    let outcome = cluster.client.revoke_node("one", &new_key()).await.unwrap();
    assert_eq!(outcome, CommandOutcome::NodeRevoked { name: "one".parse().unwrap() });
    let closed = loop {
        match tokio::time::timeout(SOON, stream.orders.next()).await.unwrap().unwrap().unwrap() {
            FromServer::Close { reason } => break reason,
            FromServer::Order(_) | FromServer::OpenTunnel { .. } => {}
        }
    };
    assert!(closed.contains("was shut out by command"), "{closed}");
    assert!(matches!(cluster.client.node("one").await.unwrap().state, NodeState::Lost { .. }));
    for refused in [refusal(connect(&cluster.member(&node), "one").await), refusal(renew(&cluster.member(&node)).await)]
    {
        assert!(refused.0 == ErrorKind::Unauthorized && refused.1.contains("was shut out at"), "{refused:?}");
    }
    let (kind, _) = refusal(cluster.client.revoke_node("one", &new_key()).await);
    assert_eq!(kind, ErrorKind::NotFound);
    let again = cluster.node("one").await;
    welcomed(&cluster.member(&again), "one").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_renewed_for_the_same_key_within_the_grace() {
    let cluster = Secured::start().await;
    let node = cluster.node("one").await;
    let renewed = certified(&node, &renew(&cluster.member(&node)).await.unwrap());
    assert_eq!(renewed.key_id(), node.key_id());
    welcomed(&cluster.member(&renewed), "one").await;
    // Back after ten days: what has ended opens nothing but the way to a new one.
    let cluster = cluster.later(10 * DAY).await;
    let (kind, told) = refusal(connect(&cluster.member(&node), "one").await);
    assert!(kind == ErrorKind::Unauthorized && told.contains("the certificate has ended"), "{told}");
    let renewed = certified(&node, &renew(&cluster.member(&node)).await.unwrap());
    welcomed(&cluster.member(&renewed), "one").await;
    // Back after the grace.
    let cluster = cluster.later(50 * DAY).await;
    let (kind, told) = refusal(renew(&cluster.member(&node)).await);
    assert!(kind == ErrorKind::Unauthorized && told.contains("and the grace is"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_authority_and_a_new_one_are_believed_side_by_side() {
    let cluster = Secured::start().await;
    let node = cluster.node("one").await;
    let key = new_key();
    let CommandOutcome::AuthoritySigns { authority } = cluster.client.rotate_authority(&key).await.unwrap() else {
        panic!("an authority signs");
    };
    // Sent again, it is the same one.
    assert_eq!(
        cluster.client.rotate_authority(&key).await.unwrap(),
        CommandOutcome::AuthoritySigns { authority: authority.clone() }
    );
    let known = cluster.client.authorities().await.unwrap().items;
    assert_eq!(known.iter().map(|of| of.signs).collect::<Vec<_>>(), [true, false]);
    assert_eq!(known[0].id, authority);
    // Who knows the old one alone goes on: with its certificate, and to a new one.
    welcomed(&cluster.member(&node), "one").await;
    let renewed = certified(&node, &renew(&cluster.member(&node)).await.unwrap());
    // Neither the one that signs is retired, nor within a week the one before it, unless somebody insists.
    let (kind, told) = refusal(cluster.client.retire_authority(authority.0, true, &new_key()).await);
    assert!(kind == ErrorKind::Invalid && told.contains("the authority signs"), "{told}");
    let (kind, told) = refusal(cluster.client.retire_authority(known[1].id.0, false, &new_key()).await);
    assert!(kind == ErrorKind::Invalid && told.contains("less than a week ago"), "{told}");
    cluster.client.retire_authority(known[1].id.0, true, &new_key()).await.unwrap();
    let told = async {
        loop {
            match connect(&cluster.member(&node), "one").await {
                Err(ClientError::Refused { error, .. }) => break error.message,
                // The server has yet to hear of it, or shows what the node does not know any more.
                Ok(_) => {}
                Err(ClientError::Untrusted { problem, .. }) => break problem,
                Err(error) => panic!("{error:?}"),
            }
        }
    };
    let told = tokio::time::timeout(SOON, told).await.unwrap();
    assert!(
        told.contains("no certificate authority of this cluster") || told.contains("no server of the cluster"),
        "{told}"
    );
    welcomed(&cluster.member(&renewed), "one").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_has_ended_is_replaced_and_nodes_join_anew() {
    let cluster = Secured::start().await;
    let node = cluster.node("one").await;
    // Nobody has started this cluster for eleven years.
    let cluster = cluster.later(11 * 365 * DAY).await;
    let known = cluster.client.authorities().await.unwrap().items;
    assert_eq!(known.iter().map(|of| of.signs).collect::<Vec<_>>(), [true, false]);
    let error = connect(&cluster.member(&node), "one").await.unwrap_err();
    assert!(matches!(error, ClientError::Untrusted { .. }), "{error:?}");
    let token = cluster.token(Role::Agent, Some("one")).await;
    let own = Credentials::make().unwrap();
    let own = certified(&own, &cluster.join_as(&own, &token, Role::Agent, "one").await.unwrap());
    welcomed(&cluster.member(&own), "one").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_clock_was_a_year_ahead_is_believed_again_once_it_is_set_right() {
    let ahead = Secured::start().await.later(365 * DAY).await;
    let token = ahead.token(Role::Agent, None).await;
    // A node whose clock is right believes nothing of it, and is told why.
    let own = Credentials::make().unwrap();
    let tls = client_config(Trusted::Pinned(token.authority), Some(&own), Arc::new(|| Clock::system().wall())).unwrap();
    let target = Target::certified(&ahead.url(), ClientTls::new(tls)).unwrap();
    let request = |token: &Invitation| wire::JoinRequest {
        token: token.reveal().to_string(),
        role: Role::Agent,
        name: "one".parse().unwrap(),
    };
    let error = join(&target, &request(&token)).await.unwrap_err();
    assert!(error.to_string().contains("one of the two clocks is wrong"), "{error}");
    // Its clock is set right, and it is started anew: what it made meanwhile is good.
    let cluster = ahead.later(0).await;
    let node = cluster.node("one").await;
    assert!(node.is_good(Clock::system().wall()));
    welcomed(&cluster.member(&node), "one").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_needs_the_sealing_key_and_gets_it_with_a_token_for_servers() {
    let cluster = Secured::start().await;
    let place = |dir: &tempfile::TempDir| SealingKeyPlace::Own(dir.path().join("data/sealing.key"));
    let second = |dir: &tempfile::TempDir, token: Option<Invitation>| {
        let join = token.map(|token| Join { servers: cluster.url(), token });
        let tls = Tls { sealing_key: place(dir), certificate_grace: Millis(0), join };
        Config { tls: Some(tls), ..Secured::config(dir) }
    };
    let dir = tempfile::tempdir().unwrap();
    let agent_token = cluster.token(Role::Agent, None).await;
    let (told, _) = oneshot::channel();
    let error = run(second(&dir, Some(agent_token)), told, CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, ServerError::Join(_)), "{error:?}");
    let token = cluster.token(Role::Server, None).await;
    let config = second(&dir, Some(token.clone()));
    let joined = Secured::start_with(dir, config).await;
    let key = |dir: &tempfile::TempDir| std::fs::read_to_string(dir.path().join("data/sealing.key")).unwrap();
    assert_eq!(key(&joined.dir), key(&cluster.dir));
    assert_eq!(joined.ready.token, cluster.ready.token);
    drop(joined.stop().await);
    // Once alone.
    let other = tempfile::tempdir().unwrap();
    let (told, _) = oneshot::channel();
    let error = run(second(&other, Some(token)), told, CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, ServerError::Join(_)), "{error:?}");
    // Without the key of what is stored, a server shows nothing, and says what is missing in its log.
    let dir = cluster.stop().await;
    std::fs::remove_file(dir.path().join("data/sealing.key")).unwrap();
    let (told, ready) = oneshot::channel();
    let stop = CancellationToken::new();
    let server = tokio::spawn(run(Secured::config(&dir), told, stop.clone()));
    assert!(tokio::time::timeout(Duration::from_millis(500), ready).await.is_err());
    assert!(!dir.path().join("data/sealing.key").exists(), "a new key would open nothing");
    stop.cancel();
    server.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealing_key_comes_from_a_program_or_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    std::fs::write(&file, "l8Fd1y8nJTYhxaZLzA0vP8R0BXOQFOtLhZL1ElyLxRk=\n").unwrap();
    let command = vec!["/bin/cat".to_owned(), file.to_str().unwrap().to_owned()];
    let start = |dir: tempfile::TempDir, sealing_key: SealingKeyPlace| {
        let tls = Tls { sealing_key, certificate_grace: Millis(0), join: None };
        let config = Config { tls: Some(tls), ..Secured::config(&dir) };
        Secured::start_with(dir, config)
    };
    let cluster = start(tempfile::tempdir().unwrap(), SealingKeyPlace::Command(command)).await;
    let node = cluster.node("one").await;
    // A server does not give away what it has from elsewhere.
    let token = cluster.token(Role::Server, None).await;
    let own = Credentials::make().unwrap();
    let answer = cluster.join_as(&own, &token, Role::Server, "server").await.unwrap();
    assert_eq!(answer.sealing_key, None);
    let cluster = start(cluster.stop().await, SealingKeyPlace::File(file)).await;
    welcomed(&cluster.member(&node), "one").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rubbish_half_a_handshake_and_a_byte_now_and_then_hurt_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Secured::config(&dir);
    config.connections.first_request = Duration::from_millis(300);
    let cluster = Secured::start_with(dir, config).await;
    let node = cluster.node("one").await;
    let hello: &[u8] = &[0x16, 0x03, 0x01, 0x00, 0xc8, 0x01, 0x00, 0x00, 0xc4];
    let attacks: [&[u8]; 5] =
        [b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", &[0xff; 4096], hello, &[0x16, 0x03, 0x01, 0xff, 0xff], b""];
    let mut peers = Vec::new();
    for attack in attacks.iter().cycle().take(50) {
        let mut peer = tokio::net::TcpStream::connect(cluster.ready.addr).await.unwrap();
        // It may have been refused by now.
        let _ = peer.write_all(attack).await;
        peers.push(peer);
    }
    // One byte at a time, for longer than a handshake may take.
    let mut slow = tokio::net::TcpStream::connect(cluster.ready.addr).await.unwrap();
    let dripping = tokio::spawn(async move {
        for byte in hello.iter().cycle() {
            if slow.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    welcomed(&cluster.member(&node), "one").await;
    for mut peer in peers {
        let mut answer = Vec::new();
        // An alert, or nothing; and then the end.
        let ended = tokio::time::timeout(SOON, peer.read_to_end(&mut answer)).await;
        assert!(ended.is_ok() && answer.len() < 1_000, "{} bytes", answer.len());
    }
    tokio::time::timeout(SOON, dripping).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_of_a_gigabyte_is_cut_off_with_tls_too() {
    let cluster = Secured::start().await;
    let node = cluster.node("one").await;
    let clock = cluster.clock.clone();
    let trusted = Trusted::authorities(node.authorities().iter().cloned()).unwrap();
    let tls = client_config(trusted, None, Arc::new(move || clock.wall())).unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
    for head in ENDLESS {
        let stream = tokio::net::TcpStream::connect(cluster.ready.addr).await.unwrap();
        let name = rustls::pki_types::ServerName::from(cluster.ready.addr.ip());
        let stream = connector.connect(name, stream).await.unwrap();
        let (sent, answer) = head_without_end(stream, head).await;
        assert!(sent < 16 << 20, "{sent} bytes were taken: {:?}", String::from_utf8_lossy(&answer));
    }
    welcomed(&cluster.member(&node), "one").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_with_tls_where_there_is_none_or_without_is_told() {
    let (secured, plain) = (Secured::start().await, Cluster::start(StoreKind::Memory).await);
    let without = Target::new(&format!("http://{}", secured.ready.addr), &secured.ready.token).unwrap();
    let (kind, told) = refusal(Client::new(without).unwrap().nodes().await);
    assert!(kind == ErrorKind::BadRequest && told.contains("speaks TLS alone"), "{told}");
    let with = secured.client.target().at(&format!("https://{}", plain.ready.addr)).unwrap();
    let error = Client::new(with).unwrap().nodes().await.unwrap_err();
    assert!(error.to_string().contains("it does not speak TLS"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_tls_lets_nobody_join() {
    let cluster = Cluster::start(StoreKind::Memory).await;
    let request = wire::TokenRequest { role: Role::Agent, node: None, life_ms: None };
    let (kind, told) = refusal(cluster.client.make_token(&request, &new_key()).await);
    assert!(kind == ErrorKind::Conflict && told.contains("listens without TLS"), "{told}");
    assert!(cluster.client.authorities().await.unwrap().items.is_empty());
}

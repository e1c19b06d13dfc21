//! Certificates as machines meet them: handshakes in memory, and what comes of them.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use berth_model::{
    Authority as StoredAuthority, Cause, CommandId, Incarnation, Millis, NewAuthority, Timestamp, limits,
};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConnection, ServerConnection};

use crate::{
    Authority, Credentials, Identity, Peer, PeerError, RENEW_AFTER, SealingKey, ServerTls, Subject, Trusted,
    client_config, key_of, server_config,
};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const YEAR: Millis = Millis(365 * 24 * 3600 * 1000);

fn stored(new: NewAuthority, number: u64) -> StoredAuthority {
    let cause = Cause::Command(CommandId::new(Incarnation(1), 1));
    let NewAuthority { id, after: _, certificate, cross, sealed_key, not_after } = new;
    StoredAuthority { id, number, certificate, cross, sealed_key, not_after, made: (NOW, cause) }
}

/// A cluster with this many authorities, one after the other.
struct Cluster {
    stored: Vec<StoredAuthority>,
    open: Vec<Authority>,
    seal: SealingKey,
}

impl Cluster {
    fn new() -> Cluster {
        let mut cluster = Cluster { stored: Vec::new(), open: Vec::new(), seal: SealingKey::make() };
        cluster.rotate(NOW);
        cluster
    }

    fn rotate(&mut self, now: Timestamp) {
        let made = Authority::make(&self.seal, self.open.last(), now).unwrap();
        let stored = stored(made, self.stored.len() as u64 + 1);
        self.open.push(Authority::open(&stored, &self.seal).unwrap());
        self.stored.push(stored);
    }

    fn certificates(&self) -> Vec<CertificateDer<'static>> {
        let all = self.stored.iter().rev();
        all.flat_map(|of| std::iter::once(of.certificate.clone()).chain(of.cross.clone())).map(Into::into).collect()
    }

    fn roots(&self, which: std::ops::Range<usize>) -> Trusted {
        let certificates = self.stored[which].iter().map(|of| CertificateDer::from(of.certificate.clone()));
        Trusted::authorities(certificates).unwrap()
    }

    fn machine(&self, subject: Subject<'_>, now: Timestamp) -> Credentials {
        let fresh = Credentials::make().unwrap();
        let issued = self.open.last().unwrap().issue(subject, fresh.public_key(), now).unwrap();
        fresh.certified(vec![issued], self.certificates())
    }

    fn server(&self, now: Timestamp) -> Credentials {
        self.machine(Subject::Server(&["10.0.0.1".to_owned(), "one.example".to_owned()]), now)
    }
}

/// A handshake, and what the server sees of the client. The clocks are the client's and the server's.
fn meet(
    server: &Credentials,
    trusted: Trusted,
    client: Option<&Credentials>,
    clocks: (Timestamp, Timestamp),
) -> Result<Vec<CertificateDer<'static>>, String> {
    let tls = Arc::new(ServerTls::default());
    tls.show(server).unwrap();
    let server = server_config(tls, Arc::new(move || clocks.1)).unwrap();
    let client = client_config(trusted, client, Arc::new(move || clocks.0)).unwrap();
    let name = ServerName::try_from("192.0.2.7").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    client.writer().write_all(b"hello").unwrap();
    let mut wire = Vec::new();
    for _ in 0..4 {
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut sent = wire.as_slice();
        while !sent.is_empty() {
            server.read_tls(&mut sent).unwrap();
            server.process_new_packets().map_err(|error| error.to_string())?;
        }
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut sent = wire.as_slice();
        while !sent.is_empty() {
            client.read_tls(&mut sent).unwrap();
            client.process_new_packets().map_err(|error| error.to_string())?;
        }
        wire.clear();
    }
    let mut heard = [0; 5];
    server.reader().read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
    Ok(server.peer_certificates().unwrap_or_default().iter().map(|of| of.clone().into_owned()).collect())
}

#[test]
fn an_agent_is_known_by_its_certificate_and_key() {
    let cluster = Cluster::new();
    let name = "node-1".parse().unwrap();
    let agent = cluster.machine(Subject::Agent(&name), NOW);
    let chain = meet(&cluster.server(NOW), cluster.roots(0..1), Some(&agent), (NOW, NOW)).unwrap();
    let peer = Peer::of(&chain, &cluster.roots(0..1), NOW).unwrap();
    assert_eq!(peer.identity, Identity::Agent(name));
    assert_eq!(peer.key, agent.key_id());
    assert_eq!(peer.not_after, NOW + limits::CERTIFICATE_LIFE);
    // One that has ended still tells who it was.
    assert_eq!(Peer::of(&chain, &cluster.roots(0..1), NOW + YEAR).unwrap(), peer);
    assert!(!agent.is_due(NOW) && agent.is_due(NOW + RENEW_AFTER));
    assert!(agent.is_good(NOW) && !agent.is_good(NOW + limits::CERTIFICATE_LIFE) && !agent.is_good(Timestamp(0)));
}

#[test]
fn a_server_is_one_of_the_cluster_whatever_its_address_and_an_agent_is_none() {
    let (cluster, other) = (Cluster::new(), Cluster::new());
    let chain = meet(&cluster.server(NOW), cluster.roots(0..1), None, (NOW, NOW)).unwrap();
    assert!(chain.is_empty());
    let strange = meet(&other.server(NOW), cluster.roots(0..1), None, (NOW, NOW)).unwrap_err();
    assert!(strange.contains("is the address right?"), "{strange}");
    let name = "node-1".parse().unwrap();
    let agent = cluster.machine(Subject::Agent(&name), NOW);
    meet(&agent, cluster.roots(0..1), None, (NOW, NOW)).unwrap_err();
}

#[test]
fn a_token_tells_whom_to_believe() {
    let (cluster, other) = (Cluster::new(), Cluster::new());
    let pinned = |cluster: &Cluster| Trusted::Pinned(cluster.open[0].id());
    let fresh = Credentials::make().unwrap();
    let chain = meet(&cluster.server(NOW), pinned(&cluster), Some(&fresh), (NOW, NOW)).unwrap();
    assert_eq!(key_of(&chain[0]).unwrap(), (fresh.key_id(), fresh.public_key().to_vec()));
    assert_eq!(Peer::of(&chain, &cluster.roots(0..1), NOW).unwrap_err(), PeerError::Stranger);
    meet(&other.server(NOW), pinned(&cluster), Some(&fresh), (NOW, NOW)).unwrap_err();
    // The authority's certificate is no secret: showing it proves nothing.
    let strange = other.server(NOW);
    let forged = strange.certified(strange.chain().to_vec(), cluster.certificates());
    meet(&forged, pinned(&cluster), None, (NOW, NOW)).unwrap_err();
}

#[test]
fn whoever_knows_an_older_authority_believes_the_newer_ones_and_the_other_way_round() {
    let mut cluster = Cluster::new();
    let name = "node-1".parse().unwrap();
    let agent = cluster.machine(Subject::Agent(&name), NOW);
    cluster.rotate(NOW);
    cluster.rotate(NOW);
    for known in [0..1, 1..2, 2..3, 0..3] {
        meet(&cluster.server(NOW), cluster.roots(known), Some(&agent), (NOW, NOW)).unwrap();
    }
    assert!(Peer::of(agent.chain(), &cluster.roots(0..3), NOW).is_ok());
    assert_eq!(Peer::of(agent.chain(), &cluster.roots(1..3), NOW).unwrap_err(), PeerError::Stranger);
}

#[test]
fn clocks_that_differ_are_told_of() {
    let cluster = Cluster::new();
    let ahead = meet(&cluster.server(NOW), cluster.roots(0..1), None, (NOW + YEAR, NOW)).unwrap_err();
    assert!(ahead.contains("one of the two clocks is wrong"), "{ahead}");
    let behind = meet(&cluster.server(NOW), cluster.roots(0..1), None, (Timestamp(NOW.0 - YEAR.0), NOW)).unwrap_err();
    assert!(behind.contains("good from 2027-01-15T07:00:00Z on"), "{behind}");
    let name = "node-1".parse().unwrap();
    let early = cluster.machine(Subject::Agent(&name), NOW + YEAR);
    assert!(matches!(Peer::of(early.chain(), &cluster.roots(0..1), NOW), Err(PeerError::Early { .. })));
}

#[test]
fn an_authority_that_has_ended_signs_nothing_and_says_what_to_do() {
    let mut cluster = Cluster::new();
    let later = NOW + Millis(11 * YEAR.0);
    let fresh = Credentials::make().unwrap();
    let issue = |cluster: &Cluster| cluster.open.last().unwrap().issue(Subject::Server(&[]), fresh.public_key(), later);
    assert!(issue(&cluster).unwrap_err().to_string().contains("berth ca rotate"));
    // What was made after it knows nobody who believes it: those who knew the old one have to join anew.
    cluster.rotate(later);
    issue(&cluster).unwrap();
    meet(&cluster.server(later), cluster.roots(1..2), None, (later, later)).unwrap();
    meet(&cluster.server(later), cluster.roots(0..1), None, (later, later)).unwrap_err();
}

#[test]
fn no_certificate_outlives_its_authority() {
    let cluster = Cluster::new();
    let late = Timestamp(cluster.stored[0].not_after.0 - 3_600_000);
    let agent = cluster.machine(Subject::Agent(&"node-1".parse().unwrap()), late);
    assert_eq!(agent.not_after(), Some(cluster.stored[0].not_after));
}

#[test]
fn the_key_of_an_authority_opens_with_the_sealing_key_alone() {
    let cluster = Cluster::new();
    let error = Authority::open(&cluster.stored[0], &SealingKey::make()).unwrap_err();
    assert_eq!(error.to_string(), "the key of the cluster's certificate authority cannot be opened");
}

#[test]
fn credentials_are_kept_in_a_folder_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let cluster = Cluster::new();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("tls");
    assert!(Credentials::load(&folder).unwrap().is_none());
    let agent = cluster.machine(Subject::Agent(&"node-1".parse().unwrap()), NOW);
    agent.save(&folder).unwrap();
    let loaded = Credentials::load(&folder).unwrap().unwrap();
    assert_eq!((loaded.chain(), loaded.authorities()), (agent.chain(), agent.authorities()));
    meet(&cluster.server(NOW), cluster.roots(0..1), Some(&loaded), (NOW, NOW)).unwrap();
    for file in std::fs::read_dir(&folder).unwrap() {
        assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    std::fs::write(folder.join("own.pem"), "rubbish").unwrap();
    let told = Credentials::load(&folder).unwrap_err().to_string();
    assert!(told.ends_with("let the machine join anew"), "{told}");
}

#[test]
fn rubbish_is_no_certificate() {
    for bytes in [vec![], vec![0x30], vec![0x30, 0x82, 0xff, 0xff], b"hello".to_vec(), vec![0xff; 10_000]] {
        let certificate = CertificateDer::from(bytes);
        assert_eq!(key_of(&certificate).unwrap_err(), PeerError::Unreadable);
    }
}

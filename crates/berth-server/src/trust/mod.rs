//! This server's part in the cluster's trust: it signs certificates, shows its own, and looks at those of others.
//!
//! What is decided about trust is the core's affair and stored; here are the keys. They are opened from what is stored
//! with the sealing key, which is kept elsewhere, so that any server can sign.

mod join;
mod keep;
mod sealing;

pub use join::join;
pub use keep::keep;
pub use sealing::{SealingKeyError, SealingKeyPlace};

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use berth_model::{Authority as StoredAuthority, AuthorityId, KeyId, NodeName};
use berth_secrets::{
    Authority, AuthorityError, Credentials, CredentialsError, Peer, PeerError, SealingKey, ServerTls, Subject,
    TlsError, Trusted,
};
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;

use crate::Clock;

/// Why this server cannot show or sign a certificate.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// There is no authority yet.
    #[error("the cluster has no certificate authority yet: one is made by the server that leads")]
    NoAuthority,
    /// The sealing key.
    #[error(transparent)]
    SealingKey(#[from] SealingKeyError),
    /// The authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The server's own key.
    #[error("cannot make this server's own certificate")]
    Credentials(#[from] CredentialsError),
    /// TLS.
    #[error("cannot set up TLS")]
    Tls(#[from] TlsError),
    /// The file for clients.
    #[error("cannot write {}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The authority was not stored.
    #[error("the certificate authority was not stored: {0:?}")]
    Refused(berth_model::Refusal),
}

/// Signs, shows and looks.
#[derive(Debug)]
pub struct Signer {
    sealing: SealingKeyPlace,
    /// The hosts and addresses at which this server is reached.
    hosts: Vec<String>,
    /// Where clients of this machine find whom to believe.
    authorities_path: PathBuf,
    clock: Clock,
    tls: Arc<ServerTls>,
    held: RwLock<Option<Arc<Held>>>,
    ready: watch::Sender<bool>,
}

/// The keys as they were opened last.
#[derive(Debug)]
struct Held {
    /// The authorities that are believed, the one that signs first.
    ids: Vec<AuthorityId>,
    authority: Authority,
    trusted: Trusted,
    own: Credentials,
}

impl Signer {
    /// Holds no keys yet.
    pub fn new(sealing: SealingKeyPlace, hosts: Vec<String>, authorities_path: PathBuf, clock: Clock) -> Signer {
        let (tls, held, ready) = (Arc::default(), RwLock::default(), watch::Sender::new(false));
        Signer { sealing, hosts, authorities_path, clock, tls, held, ready }
    }

    /// For the listener.
    pub fn server_config(&self) -> Result<rustls::ServerConfig, TlsError> {
        let clock = self.clock.clone();
        berth_secrets::server_config(self.tls.clone(), Arc::new(move || clock.wall()))
    }

    /// For asking other servers, as one of them.
    pub fn client_config(&self) -> Result<rustls::ClientConfig, TrustError> {
        let held = self.held()?;
        let clock = self.clock.clone();
        Ok(berth_secrets::client_config(held.trusted.clone(), Some(&held.own), Arc::new(move || clock.wall()))?)
    }

    /// Where clients of this machine find whom to believe.
    pub fn authorities_path(&self) -> &Path {
        &self.authorities_path
    }

    /// Waits until this server shows a certificate.
    pub async fn ready(&self) {
        // It does not end before `self` does.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Who shows this chain.
    pub fn peer(&self, chain: &[CertificateDer<'_>]) -> Result<Peer, PeerError> {
        let held = self.held().map_err(|_| PeerError::Stranger)?;
        Peer::of(chain, &held.trusted, self.clock.wall())
    }

    /// Signs that this key (`SubjectPublicKeyInfo`, DER) is the node's.
    pub fn issue(&self, node: &NodeName, key: &[u8]) -> Result<CertificateDer<'static>, TrustError> {
        Ok(self.held()?.authority.issue(Subject::Agent(node), key, self.clock.wall())?)
    }

    /// Whom to believe (PEM), the one that signs first.
    pub fn authorities(&self) -> Result<String, TrustError> {
        Ok(berth_secrets::to_pem(self.held()?.own.authorities()))
    }

    /// The name of this server's own key, which changes with its certificate.
    pub fn key_id(&self) -> Result<KeyId, TrustError> {
        Ok(self.held()?.own.key_id())
    }

    /// The authority that signs.
    pub fn authority(&self) -> Result<AuthorityId, TrustError> {
        Ok(self.held()?.authority.id())
    }

    /// A new authority, believed by whoever believes the one that signs now.
    pub fn succeed(&self) -> Result<berth_model::NewAuthority, TrustError> {
        let seal = self.sealing.read()?;
        Ok(Authority::make(&seal, Some(&self.held()?.authority), self.clock.wall())?)
    }

    /// The sealing key for a server that joins, if it is one that this server made itself.
    pub fn sealing_key(&self) -> Result<Option<SealingKey>, SealingKeyError> {
        match &self.sealing {
            SealingKeyPlace::Own(_) => self.sealing.read().map(Some),
            SealingKeyPlace::File(_) | SealingKeyPlace::Given(_) | SealingKeyPlace::Command(_) => Ok(None),
        }
    }

    fn held(&self) -> Result<Arc<Held>, TrustError> {
        let held = self.held.read().expect("nothing panics while it holds the keys");
        held.clone().ok_or(TrustError::NoAuthority)
    }

    /// Opens what is stored, the authority that signs first, and shows a new certificate of its.
    fn hold(&self, stored: &[Arc<berth_model::Trust>]) -> Result<(), TrustError> {
        let stored: Vec<&StoredAuthority> = authorities(stored).collect();
        let signs = stored.first().ok_or(TrustError::NoAuthority)?;
        let authority = Authority::open(signs, &self.sealing.read()?)?;
        let roots = stored.iter().map(|of| CertificateDer::from(of.certificate.as_slice()));
        let trusted = Trusted::authorities(roots)?;
        let with_crosses = stored.iter().flat_map(|of| std::iter::once(&of.certificate).chain(&of.cross));
        let certificates: Vec<_> = with_crosses.map(|bytes| CertificateDer::from(bytes.clone())).collect();
        let fresh = Credentials::make()?;
        let end = authority.issue(Subject::Server(&self.hosts), fresh.public_key(), self.clock.wall())?;
        let own = fresh.certified(vec![end], certificates);
        self.tls.show(&own)?;
        let written =
            crate::folder::write_file(&self.authorities_path, &berth_secrets::to_pem(own.authorities()), 0o644);
        written.map_err(|source| TrustError::File { path: self.authorities_path.clone(), source })?;
        let ids = stored.iter().map(|of| of.id).collect();
        let held = Held { ids, authority, trusted, own };
        *self.held.write().expect("nothing panics while it holds the keys") = Some(Arc::new(held));
        self.ready.send_replace(true);
        Ok(())
    }
}

/// The authorities among what is stored.
fn authorities(stored: &[Arc<berth_model::Trust>]) -> impl Iterator<Item = &StoredAuthority> {
    stored.iter().filter_map(|trust| match &**trust {
        berth_model::Trust::Authority(authority) => Some(authority),
        berth_model::Trust::Token(_) | berth_model::Trust::Member(_) => None,
    })
}

//! What a machine shows and believes: its key, its certificate, and the cluster's authorities. Kept in a folder.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use berth_model::{KeyId, Timestamp};
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::authority::RENEW_AFTER;
use crate::certificate::{from_pem, to_pem};
use crate::peer::validity;
use crate::{digest, tls};

/// The key and the certificate, in one file: one is of no use without the other.
const OWN_FILE: &str = "own.pem";
const AUTHORITIES_FILE: &str = "ca.pem";

/// What a machine shows and believes. Cheap to clone.
#[derive(Clone)]
pub struct Credentials {
    key: Arc<Zeroizing<Vec<u8>>>,
    /// The public half.
    public: Vec<u8>,
    chain: Vec<CertificateDer<'static>>,
    authorities: Vec<CertificateDer<'static>>,
}

/// What is wrong with a machine's credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file.
    #[error("cannot {operation} {}", .path.display())]
    File {
        /// What was being done.
        operation: &'static str,
        /// With which.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A file holds something else than it should.
    #[error("{} does not hold {what}: remove the folder it is in, and let the machine join anew", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// No key could be made.
    #[error("cannot make a key")]
    Key(#[source] rcgen::Error),
}

impl std::fmt::Debug for Credentials {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("key", &self.key_id()).finish_non_exhaustive()
    }
}

impl Credentials {
    /// A new key, with a certificate that only its own signature is under: enough to show that one has the key.
    pub fn make() -> Result<Credentials, CredentialsError> {
        let key = KeyPair::generate().map_err(CredentialsError::Key)?;
        let own = CertificateParams::default().self_signed(&key).map_err(CredentialsError::Key)?;
        Ok(Credentials {
            public: key.subject_public_key_info(),
            key: Arc::new(Zeroizing::new(key.serialize_der())),
            chain: vec![own.der().clone()],
            authorities: Vec::new(),
        })
    }

    /// The same key with a certificate, and the authorities to be believed.
    pub fn certified(
        &self,
        chain: Vec<CertificateDer<'static>>,
        authorities: Vec<CertificateDer<'static>>,
    ) -> Credentials {
        Credentials { chain, authorities, ..self.clone() }
    }

    /// The public key (`SubjectPublicKeyInfo`, DER).
    pub fn public_key(&self) -> &[u8] {
        &self.public
    }

    /// The name of the key.
    pub fn key_id(&self) -> KeyId {
        KeyId(digest(&self.public))
    }

    /// The certificate, and what is between it and the authorities.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The authorities to be believed, the one that signs first, with what the ones before it have signed of them.
    pub fn authorities(&self) -> &[CertificateDer<'static>] {
        &self.authorities
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        tls::private(&self.key)
    }

    /// Whether it is time for a new certificate.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let end = self.chain.first().and_then(|end| validity(end).ok());
        end.is_none_or(|(from, _)| now >= from + RENEW_AFTER)
    }

    /// Whether the certificate is good at this time: not one that a wrong clock has made.
    pub fn is_good(&self, now: Timestamp) -> bool {
        let end = self.chain.first().and_then(|end| validity(end).ok());
        end.is_some_and(|(from, until)| (from..until).contains(&now))
    }

    /// When the certificate ends.
    pub fn not_after(&self) -> Option<Timestamp> {
        Some(validity(self.chain.first()?).ok()?.1)
    }

    /// What a folder holds. None: nothing.
    pub fn load(folder: &Path) -> Result<Option<Credentials>, CredentialsError> {
        let [own_path, authorities_path] = [OWN_FILE, AUTHORITIES_FILE].map(|name| folder.join(name));
        let Some(own) = read(&own_path)? else { return Ok(None) };
        let authorities = read(&authorities_path)?.unwrap_or_default();
        let wrong = |path: &PathBuf, what| CredentialsError::Content { path: path.clone(), what };
        let no_key = || wrong(&own_path, "a private key and its certificate");
        let key = PrivatePkcs8KeyDer::from_pem_slice(own.as_bytes()).map_err(|_| no_key())?;
        let pair = KeyPair::try_from(&key).map_err(|_| no_key())?;
        Ok(Some(Credentials {
            public: pair.subject_public_key_info(),
            key: Arc::new(Zeroizing::new(key.secret_pkcs8_der().to_vec())),
            chain: from_pem(&own).ok_or_else(no_key)?,
            authorities: from_pem(&authorities).ok_or_else(|| wrong(&authorities_path, "certificates"))?,
        }))
    }

    /// Writes them into a folder, for the owner alone.
    pub fn save(&self, folder: &Path) -> Result<(), CredentialsError> {
        let failed = |source| CredentialsError::File { operation: "make", path: folder.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        write(&folder.join(AUTHORITIES_FILE), &to_pem(&self.authorities))?;
        let own = Zeroizing::new(format!("{}{}", &*key_pem(&self.key), to_pem(&self.chain)));
        write(&folder.join(OWN_FILE), &own)?;
        fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

fn key_pem(key: &[u8]) -> Zeroizing<String> {
    let text = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(key));
    Zeroizing::new(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", &*text))
}

fn read(path: &Path) -> Result<Option<Zeroizing<String>>, CredentialsError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CredentialsError::File { operation: "read", path: path.to_owned(), source }),
    }
}

/// Under another name first: a crash in between leaves the old one.
fn write(path: &Path, text: &str) -> Result<(), CredentialsError> {
    let write = || {
        let draft = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().map_err(|source| CredentialsError::File { operation: "write", path: path.to_owned(), source })
}

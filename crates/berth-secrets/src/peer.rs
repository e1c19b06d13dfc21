//! Who is at the other end of a connection, by the certificate that was shown.

use std::time::Duration;

use berth_model::{KeyId, NodeName, Timestamp};
use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::authority::{AGENT_URI, SERVER_NAME};
use crate::digest;
use crate::tls::{Trusted, shown};

/// Who somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// One of the cluster's servers.
    Server,
    /// The agent of this node.
    Agent(NodeName),
}

/// Who is at the other end of a connection. That it holds the key was shown by the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Who.
    pub identity: Identity,
    /// By which key.
    pub key: KeyId,
    /// When the certificate ends, or has ended.
    pub not_after: Timestamp,
}

/// Why a certificate tells nothing about who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// It cannot be read.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// No authority of this cluster has signed it.
    #[error("no certificate authority of this cluster has signed the certificate")]
    Stranger,
    /// It is not good yet.
    #[error("the certificate is good from {} on, and here it is {}: one of the two clocks is wrong", shown(*.from), shown(*.now))]
    Early {
        /// From when on.
        from: Timestamp,
        /// The time here.
        now: Timestamp,
    },
    /// It is neither a server's nor an agent's.
    #[error("the certificate is neither a server's nor an agent's")]
    Nobody,
}

impl Peer {
    /// Who shows this chain, the end first. A certificate that has ended still tells: see [`Peer::not_after`].
    pub fn of(chain: &[CertificateDer<'_>], trusted: &Trusted, now: Timestamp) -> Result<Peer, PeerError> {
        let (end, rest) = chain.split_first().ok_or(PeerError::Unreadable)?;
        let certificate = parse(end)?;
        let validity = certificate.validity();
        let (from, not_after) = (moment(validity.not_before.timestamp()), moment(validity.not_after.timestamp()));
        if now < from {
            return Err(PeerError::Early { from, now });
        }
        let at = UnixTime::since_unix_epoch(Duration::from_millis(now.min(not_after).0));
        if !trusted.has_signed(end, rest, at) {
            return Err(PeerError::Stranger);
        }
        let identity = identity(&certificate).ok_or(PeerError::Nobody)?;
        Ok(Peer { identity, key: key_id(&certificate), not_after })
    }
}

/// The key of a certificate: its name, and its `SubjectPublicKeyInfo` (DER). Whoever signed it.
pub fn key_of(certificate: &CertificateDer<'_>) -> Result<(KeyId, Vec<u8>), PeerError> {
    let certificate = parse(certificate)?;
    Ok((key_id(&certificate), certificate.public_key().raw.to_vec()))
}

/// From when and until when a certificate is good.
pub(crate) fn validity(certificate: &CertificateDer<'_>) -> Result<(Timestamp, Timestamp), PeerError> {
    let certificate = parse(certificate)?;
    let validity = certificate.validity();
    Ok((moment(validity.not_before.timestamp()), moment(validity.not_after.timestamp())))
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, PeerError> {
    let (rest, certificate) = X509Certificate::from_der(certificate).map_err(|_| PeerError::Unreadable)?;
    if rest.is_empty() { Ok(certificate) } else { Err(PeerError::Unreadable) }
}

fn key_id(certificate: &X509Certificate<'_>) -> KeyId {
    KeyId(digest(certificate.public_key().raw))
}

/// Only what our authorities write.
fn identity(certificate: &X509Certificate<'_>) -> Option<Identity> {
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => Some(Identity::Agent(uri.strip_prefix(AGENT_URI)?.parse().ok()?)),
        GeneralName::DNSName(name) if *name == SERVER_NAME => Some(Identity::Server),
        _ => None,
    })
}

fn moment(seconds: i64) -> Timestamp {
    Timestamp(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
}

//! Certificate authorities: made, sealed, opened, and signing.
//!
//! A newer authority's certificate is also signed by the one before it. A server shows both, so that machines that know
//! only the older one believe the newer one's certificates from the first moment on.

use std::net::IpAddr;

use berth_model::{Authority as StoredAuthority, AuthorityId, Millis, NewAuthority, NodeName, Timestamp, limits};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::sealing::{SealingError, SealingKey};
use crate::{digest, random};

/// The name that every server's certificate carries, and no other.
pub const SERVER_NAME: &str = "server.berth.internal";
/// The age at which a machine gets itself a new one.
pub const RENEW_AFTER: Millis = DAY;
/// How long an authority is good.
const AUTHORITY_LIFE: Millis = Millis(3650 * DAY.0);
/// A certificate is good from a little before it was made on: clocks differ.
const BACKDATED: Millis = Millis(3600 * 1000);
const DAY: Millis = Millis(24 * 3600 * 1000);
/// What an authority's key is sealed for.
const PURPOSE: &str = "berth authority";

/// Why an authority cannot be made, opened, or sign.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its key does not open.
    #[error("the key of the cluster's certificate authority cannot be opened")]
    Sealed(#[source] SealingError),
    /// A certificate or key is not what it should be.
    #[error("cannot {operation}")]
    Certificate {
        /// What was being done.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: rcgen::Error,
    },
    /// Its time is over.
    #[error(
        "the cluster's certificate authority ended at {}: make a new one with `berth ca rotate`", crate::tls::shown(*.at)
    )]
    Expired {
        /// When.
        at: Timestamp,
    },
}

/// Whom a certificate is for.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A server, with the hosts and addresses at which it is reached, for clients that check those.
    Server(&'a [String]),
    /// A node's agent.
    Agent(&'a NodeName),
}

/// An authority that can sign.
pub struct Authority {
    id: AuthorityId,
    issuer: Issuer<'static, KeyPair>,
    not_after: Timestamp,
}

impl std::fmt::Debug for Authority {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Authority {
    /// A new authority, believed by whoever believes the one before it, if there is one.
    pub fn make(seal: &SealingKey, before: Option<&Authority>, now: Timestamp) -> Result<NewAuthority, AuthorityError> {
        let failed = |source| AuthorityError::Certificate { operation: "make a certificate authority", source };
        let key = KeyPair::generate().map_err(failed)?;
        let not_after = now + AUTHORITY_LIFE;
        let params = authority_params(not_after);
        let certificate = params.self_signed(&key).map_err(failed)?;
        let cross = match before {
            Some(before) => {
                let mut cross = params;
                cross.not_after = time_of(not_after.min(before.not_after));
                cross.use_authority_key_identifier_extension = true;
                cross.serial_number = Some(serial());
                Some(cross.signed_by(&key, &before.issuer).map_err(failed)?.der().to_vec())
            }
            None => None,
        };
        let private = Zeroizing::new(key.serialize_der());
        Ok(NewAuthority {
            id: AuthorityId(digest(certificate.der())),
            after: before.map(|before| before.id),
            certificate: certificate.der().to_vec(),
            cross,
            sealed_key: seal.seal(PURPOSE, &private),
            not_after,
        })
    }

    /// Opens a stored authority.
    pub fn open(stored: &StoredAuthority, seal: &SealingKey) -> Result<Authority, AuthorityError> {
        let failed = |source| AuthorityError::Certificate { operation: "read the certificate authority", source };
        let private = seal.open(PURPOSE, &stored.sealed_key).map_err(AuthorityError::Sealed)?;
        let private = PrivatePkcs8KeyDer::from(private.as_slice());
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&private, &PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let certificate = CertificateDer::from(stored.certificate.as_slice());
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(failed)?;
        Ok(Authority { id: stored.id, issuer, not_after: stored.not_after })
    }

    /// Its name.
    pub fn id(&self) -> AuthorityId {
        self.id
    }

    /// Signs that this public key (`SubjectPublicKeyInfo`, DER) is the subject's.
    pub fn issue(
        &self,
        subject: Subject<'_>,
        key: &[u8],
        now: Timestamp,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        let failed = |source| AuthorityError::Certificate { operation: "sign a certificate", source };
        if now >= self.not_after {
            return Err(AuthorityError::Expired { at: self.not_after });
        }
        let key = SubjectPublicKeyInfo::from_der(key).map_err(failed)?;
        let params =
            subject_params(subject, now, self.not_after.min(now + limits::CERTIFICATE_LIFE)).map_err(failed)?;
        Ok(params.signed_by(&key, &self.issuer).map_err(failed)?.der().clone())
    }
}

fn authority_params(not_after: Timestamp) -> CertificateParams {
    let [a, b, c, d] = random();
    let mut params = CertificateParams::default();
    params.distinguished_name = named(&format!("Berth CA {a:02x}{b:02x}{c:02x}{d:02x}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // From before there was Berth: a clock that is wrong when an authority is made must not hurt once it is right.
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = time_of(not_after);
    params.serial_number = Some(serial());
    params
}

fn subject_params(
    subject: Subject<'_>,
    now: Timestamp,
    not_after: Timestamp,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    match subject {
        Subject::Server(hosts) => {
            params.distinguished_name = named("Berth server");
            params.subject_alt_names = vec![SanType::DnsName(SERVER_NAME.try_into()?)];
            for host in hosts {
                params.subject_alt_names.push(match host.parse::<IpAddr>() {
                    Ok(ip) => SanType::IpAddress(ip),
                    Err(_) => SanType::DnsName(host.as_str().try_into()?),
                });
            }
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        }
        Subject::Agent(name) => {
            params.distinguished_name = named(&format!("Berth agent {name}"));
            params.subject_alt_names = vec![SanType::URI(agent_uri(name).try_into()?)];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.not_before = before(now);
    params.not_after = time_of(not_after);
    params.serial_number = Some(serial());
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// The URI that an agent's certificate carries: its SPIFFE id.
pub(crate) fn agent_uri(name: &NodeName) -> String {
    format!("{AGENT_URI}{name}")
}

/// What it begins with.
pub(crate) const AGENT_URI: &str = "spiffe://berth/agent/";

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// At random: a certificate that is renewed with the same key is another certificate.
fn serial() -> SerialNumber {
    let mut bytes: [u8; 16] = random();
    // A positive number without leading zeros.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn before(now: Timestamp) -> OffsetDateTime {
    time_of(Timestamp(now.0.saturating_sub(BACKDATED.0)))
}

fn time_of(time: Timestamp) -> OffsetDateTime {
    // A clock beyond the year 9999 cannot be written into a certificate.
    let seconds = i64::try_from(time.0 / 1000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::PrimitiveDateTime::MAX.assume_utc())
}

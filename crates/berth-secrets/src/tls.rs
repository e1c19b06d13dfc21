//! TLS 1.3 between the machines of a cluster.

use std::fmt;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use berth_model::{AuthorityId, Timestamp};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, OtherError, PeerMisbehaved,
    RootCertStore, ServerConfig, SignatureScheme,
};

use crate::authority::SERVER_NAME;
use crate::credentials::Credentials;
use crate::digest;

/// HTTP/2 before HTTP/1.1.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate of an authority cannot be used.
    #[error("the certificate of an authority cannot be used")]
    Authority(#[source] rustls::Error),
    /// A machine's own certificate or key cannot be used.
    #[error("the machine's own certificate cannot be used")]
    Own(#[source] rustls::Error),
}

/// A clock.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Whose certificates are believed.
#[derive(Clone, Debug)]
pub enum Trusted {
    /// Those that one of these authorities has signed.
    Authorities(Arc<RootCertStore>),
    /// Those of the authority of this name, which a server shows with its own: a join token tells it.
    Pinned(AuthorityId),
}

impl Trusted {
    /// What these authorities have signed.
    pub fn authorities<'a>(certificates: impl IntoIterator<Item = CertificateDer<'a>>) -> Result<Trusted, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate.into_owned()).map_err(TlsError::Authority)?;
        }
        Ok(Trusted::Authorities(Arc::new(roots)))
    }

    fn roots(&self, shown: &[CertificateDer<'_>]) -> Option<Arc<RootCertStore>> {
        match self {
            Trusted::Authorities(roots) => (!roots.is_empty()).then(|| roots.clone()),
            Trusted::Pinned(id) => {
                let pinned = shown.iter().find(|certificate| digest(certificate) == id.0)?;
                let mut roots = RootCertStore::empty();
                roots.add(pinned.clone().into_owned()).ok()?;
                Some(Arc::new(roots))
            }
        }
    }

    /// Whether a certificate for clients comes from one of them.
    pub(crate) fn has_signed(&self, end: &CertificateDer<'_>, rest: &[CertificateDer<'_>], at: UnixTime) -> bool {
        let verifier = self
            .roots(rest)
            .and_then(|roots| WebPkiClientVerifier::builder_with_provider(roots, provider()).build().ok());
        verifier.is_some_and(|verifier| verifier.verify_client_cert(end, rest, at).is_ok())
    }
}

/// What a client of a cluster needs: whom to believe, and who it is, if it is a machine of the cluster.
pub fn client_config(trusted: Trusted, own: Option<&Credentials>, now: Now) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(Ticking(now)));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).map_err(TlsError::Own)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer { trusted }));
    let mut config = match own {
        Some(own) => builder.with_client_auth_cert(own.chain().to_vec(), own.private_key()).map_err(TlsError::Own)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    // Nothing is saved that a machine that was shut out could resume.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// What a server needs. It takes any certificate of a client whose key the client has: what it is worth is looked at
/// with each request, so that one that is refused is told why.
pub fn server_config(own: Arc<ServerTls>, now: Now) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_details(provider(), Arc::new(Ticking(now)));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).map_err(TlsError::Own)?;
    let mut config = builder.with_client_cert_verifier(Arc::new(AnyClient)).with_cert_resolver(own);
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// A server's own certificate, which changes while it serves. Without one every handshake is refused.
#[derive(Default)]
pub struct ServerTls {
    current: RwLock<Option<Arc<CertifiedKey>>>,
}

impl ServerTls {
    /// Shows this certificate from now on.
    pub fn show(&self, own: &Credentials) -> Result<(), TlsError> {
        let mut chain = own.chain().to_vec();
        chain.extend_from_slice(own.authorities());
        let key = CertifiedKey::from_der(chain, own.private_key(), &provider()).map_err(TlsError::Own)?;
        *self.current.write().expect("nothing panics while it holds the certificate") = Some(Arc::new(key));
        Ok(())
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls(…)")
    }
}

impl ResolvesServerCert for ServerTls {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.read().expect("nothing panics while it holds the certificate").clone()
    }
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

pub(crate) fn private(pkcs8: &[u8]) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.to_vec()))
}

/// A time for people.
pub(crate) fn shown(time: Timestamp) -> String {
    let milliseconds = i64::try_from(time.0 / 1000 * 1000).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(milliseconds)
        .map_or_else(|_| "a time far away".to_owned(), |time| time.to_string())
}

struct Ticking(Now);

impl fmt::Debug for Ticking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticking")
    }
}

impl TimeProvider for Ticking {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis((self.0)().0)))
    }
}

/// Why a server is not believed, for the person who has to do something about it.
#[derive(Clone, thiserror::Error)]
enum ServerRefused {
    #[error(
        "its certificate ended at {}, and here it is {}: one of the two clocks is wrong, or the server cannot sign itself a \
         new one (see its log)", shown(*.at), shown(*.now)
    )]
    Expired { at: Timestamp, now: Timestamp },
    #[error(
        "its certificate is good from {} on, and here it is {}: one of the two clocks is wrong", shown(*.from), shown(*.now)
    )]
    Early { from: Timestamp, now: Timestamp },
    #[error(
        "it is no server of the cluster whose certificate authority is known here: is the address right? If the \
         authority was replaced, use the new one's certificate, or let the machine join anew"
    )]
    Stranger,
}

impl fmt::Debug for ServerRefused {
    /// As a sentence: the error that it travels in shows it so.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Believes any server of the cluster, whatever its address.
#[derive(Debug)]
struct AnyServer {
    trusted: Trusted,
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _address: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let roots = self.trusted.roots(rest).ok_or_else(|| refused(ServerRefused::Stranger))?;
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
        let verifier = verifier.map_err(|_| refused(ServerRefused::Stranger))?;
        let name = ServerName::try_from(SERVER_NAME).map_err(|_| CertificateError::BadEncoding)?;
        verifier.verify_server_cert(end, rest, &name, &[], now).map_err(|error| explained(error, now))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerMisbehaved::SelectedUnofferedCipherSuite.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

fn refused(reason: ServerRefused) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(reason))).into()
}

fn explained(error: rustls::Error, now: UnixTime) -> rustls::Error {
    let moment = |time: UnixTime| Timestamp(time.as_secs() * 1000);
    match error {
        rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
            refused(ServerRefused::Expired { at: moment(not_after), now: moment(now) })
        }
        rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }) => {
            refused(ServerRefused::Early { from: moment(not_before), now: moment(now) })
        }
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer
            | CertificateError::NotValidForName
            | CertificateError::NotValidForNameContext { .. },
        ) => refused(ServerRefused::Stranger),
        other => other,
    }
}

/// Takes every certificate, and none as well.
#[derive(Debug)]
struct AnyClient;

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end: &CertificateDer<'_>,
        _rest: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerMisbehaved::SelectedUnofferedCipherSuite.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

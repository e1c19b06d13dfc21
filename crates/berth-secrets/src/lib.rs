//! Who is who in a cluster: its certificate authorities, the certificates of its machines, the tokens with which they join,
//! and the seal under which private keys are stored.
//!
//! A server's certificate carries the name [`SERVER_NAME`], a node's the URI `spiffe://berth/agent/NAME`. Whoever talks to
//! a server checks that it is one of the cluster's, and not which: servers move, stand behind addresses that they do not
//! know, and take over from each other.

mod authority;
mod certificate;
mod credentials;
mod peer;
mod sealing;
#[cfg(test)]
mod tests;
mod tls;
mod token;

pub use authority::{Authority, AuthorityError, RENEW_AFTER, SERVER_NAME, Subject};
pub use certificate::{from_pem, to_pem};
pub use credentials::{Credentials, CredentialsError};
pub use peer::{Identity, Peer, PeerError, key_of};
pub use sealing::{SealingError, SealingKey};
pub use tls::{Now, ServerTls, TlsError, Trusted, client_config, server_config};
pub use token::{Invitation, InvitationError};

use berth_model::Sha256;
use sha2::Digest as _;

/// The SHA-256 of some bytes.
fn digest(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

/// That many bytes of the system's randomness.
fn random<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    let mut filled = 0;
    while filled < BYTES {
        let flags = rustix::rand::GetRandomFlags::empty();
        filled += rustix::rand::getrandom(&mut bytes[filled..], flags).expect("Linux gives randomness once it is up");
    }
    bytes
}

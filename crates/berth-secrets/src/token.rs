//! Join tokens as text: what the token lets in, its secret, and which certificate authority the cluster has, so that a
//! machine that knows nothing yet knows whom it gives the secret to.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use berth_model::{AuthorityId, Role, Sha256, TokenId};
use zeroize::Zeroizing;

use crate::{digest, random};

const SECRET_BYTES: usize = 32;

/// A join token, with its secret. Shown once, to whoever asked for it.
#[derive(Clone)]
pub struct Invitation {
    /// What may join with it.
    pub role: Role,
    /// The authority that signs the servers' certificates.
    pub authority: AuthorityId,
    secret: Zeroizing<[u8; SECRET_BYTES]>,
}

/// A text is no join token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no join token: expected what `berth token create` printed, whole")]
pub struct InvitationError;

impl Invitation {
    /// A new one, for a cluster in which this authority signs.
    pub fn make(role: Role, authority: AuthorityId) -> Invitation {
        Invitation { role, authority, secret: Zeroizing::new(random()) }
    }

    /// The name by which the cluster knows it.
    pub fn id(&self) -> TokenId {
        TokenId(digest(&*self.secret))
    }

    /// The token as text, for the one who asked for it.
    pub fn reveal(&self) -> Zeroizing<String> {
        let [secret, authority] = [&*self.secret, &self.authority.0.0].map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
        Zeroizing::new(format!("berth-{}.{secret}.{authority}", self.role))
    }
}

impl fmt::Debug for Invitation {
    /// Without the secret, which belongs in no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation").field("role", &self.role).field("id", &self.id()).finish_non_exhaustive()
    }
}

impl FromStr for Invitation {
    type Err = InvitationError;
    fn from_str(text: &str) -> Result<Invitation, InvitationError> {
        let parts: Vec<&str> = text.trim().strip_prefix("berth-").ok_or(InvitationError)?.split('.').collect();
        let [role, secret, authority] = parts.as_slice() else { return Err(InvitationError) };
        let bytes = |text: &str| -> Option<[u8; 32]> { URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok() };
        let (secret, authority) = bytes(secret).zip(bytes(authority)).ok_or(InvitationError)?;
        Ok(Invitation {
            role: role.parse().map_err(|_| InvitationError)?,
            authority: AuthorityId(Sha256(authority)),
            secret: Zeroizing::new(secret),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_is_shown_and_shows_its_secret_to_nobody_else() {
        let made = Invitation::make(Role::Agent, AuthorityId(Sha256([3; 32])));
        let text = made.reveal();
        let read: Invitation = format!("{}\n", &*text).parse().unwrap();
        assert_eq!((read.role, read.authority, read.id()), (made.role, made.authority, made.id()));
        let secret = text.split('.').nth(1).unwrap();
        assert!(!format!("{made:?} {}", made.id()).contains(secret));
        for wrong in ["", "berth-agent", "berth-agent.a.b", &text[1..], &text[..text.len() - 1]] {
            assert_eq!(wrong.parse::<Invitation>().unwrap_err(), InvitationError, "{wrong}");
        }
        assert!(text.replace("agent", "pilot").parse::<Invitation>().is_err());
    }
}

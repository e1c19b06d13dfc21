//! Trust: the cluster's certificate authorities, the tokens with which machines join, and the keys by which they are known.
//!
//! What is here is decided about and stored. Keys, signatures and seals themselves are the affair of `berth-secrets`.

use std::fmt;
use std::str::FromStr;

use crate::{Cause, NodeName, ParseError, Timestamp};

/// A SHA-256, shown in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256 {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Sha256, ParseError> {
        let digits = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let wrong = || ParseError::Id {
            text: text.chars().take(80).collect(),
            what: "a SHA-256",
            form: "of 64 lower-case hexadecimal digits",
        };
        if text.len() != 64 || !digits {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Sha256(bytes))
    }
}

macro_rules! fingerprint {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Sha256);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseError;
            fn from_str(text: &str) -> Result<Self, ParseError> {
                text.parse().map(Self)
            }
        }
    };
}

fingerprint!(
    /// Names a certificate authority: the SHA-256 of its certificate.
    AuthorityId
);
fingerprint!(
    /// Names a public key: the SHA-256 of its `SubjectPublicKeyInfo`.
    KeyId
);
fingerprint!(
    /// Names a join token: the SHA-256 of its secret, which is stored nowhere.
    TokenId
);

/// What a machine is in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It decides, or stands by.
    Server,
    /// It runs what is placed on its node.
    Agent,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Server => "server",
            Role::Agent => "agent",
        })
    }
}

impl FromStr for Role {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Role, ParseError> {
        match text {
            "server" => Ok(Role::Server),
            "agent" => Ok(Role::Agent),
            _ => Err(ParseError::Id {
                text: text.chars().take(80).collect(),
                what: "a role",
                form: "`server` or `agent`",
            }),
        }
    }
}

/// A certificate authority of the cluster. The newest one signs, all of them are believed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    /// Its name.
    pub id: AuthorityId,
    /// Its place in the order in which they were made, from 1.
    pub number: u64,
    /// Its certificate, signed by itself (DER).
    pub certificate: Vec<u8>,
    /// The same signed by the one before it, for those who know only that one (DER). None: it is the first.
    pub cross: Option<Vec<u8>>,
    /// Its private key, sealed.
    pub sealed_key: Vec<u8>,
    /// When its certificate ends.
    pub not_after: Timestamp,
    /// When and why it was made.
    pub made: (Timestamp, Cause),
}

/// A certificate authority that somebody has made, and wants to be the cluster's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NewAuthority {
    /// Its name.
    pub id: AuthorityId,
    /// The one that signs until then; none: it is to be the first. Refused where another one does.
    pub after: Option<AuthorityId>,
    /// Its certificate, signed by itself (DER).
    pub certificate: Vec<u8>,
    /// The same signed by the one before it (DER).
    pub cross: Option<Vec<u8>>,
    /// Its private key, sealed.
    pub sealed_key: Vec<u8>,
    /// When its certificate ends.
    pub not_after: Timestamp,
}

/// A join token as the cluster knows it. It is good for one machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JoinToken {
    /// Its name.
    pub id: TokenId,
    /// What may join with it.
    pub role: Role,
    /// The only node that may join with it, also where a node of this name is known already; none: any new one.
    pub node: Option<NodeName>,
    /// Until when.
    pub expires: Timestamp,
    /// When and why it was made.
    pub made: (Timestamp, Cause),
    /// When and for which key it was used.
    pub used: Option<(Timestamp, KeyId)>,
}

/// A node that has joined, and the key by which it is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// The node's name.
    pub node: NodeName,
    /// Its key. Any other is refused.
    pub key: KeyId,
    /// When and why it was let in.
    pub joined: (Timestamp, Cause),
    /// When and why it was shut out; none: it is not.
    pub revoked: Option<(Timestamp, Cause)>,
}

/// Something of which trust consists, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Who signs.
    Authority(Authority),
    /// What lets in.
    Token(JoinToken),
    /// Who is in.
    Member(Member),
}

/// Names something of which trust consists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrustId {
    /// A certificate authority.
    Authority(AuthorityId),
    /// A join token.
    Token(TokenId),
    /// A node that has joined.
    Member(NodeName),
}

impl Trust {
    /// Its name.
    pub fn id(&self) -> TrustId {
        match self {
            Trust::Authority(authority) => TrustId::Authority(authority.id),
            Trust::Token(token) => TrustId::Token(token.id),
            Trust::Member(member) => TrustId::Member(member.node.clone()),
        }
    }
}

/// What can be asked for about trust.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TrustCommand {
    /// Sign with this authority from now on.
    AddAuthority(Box<NewAuthority>),
    /// Believe this authority no more. The one that signs cannot be retired.
    RetireAuthority {
        /// Which.
        id: AuthorityId,
        /// Also while there may be machines that have no certificate of a newer one yet.
        force: bool,
    },
    /// Let a machine in that shows this token.
    AddToken {
        /// The token.
        id: TokenId,
        /// What may join with it.
        role: Role,
        /// The only node that may.
        node: Option<NodeName>,
        /// Until when.
        expires: Timestamp,
    },
    /// A machine shows a token.
    Join {
        /// The token.
        token: TokenId,
        /// As what.
        role: Role,
        /// Under which name: a node's, or a server's.
        name: NodeName,
        /// By which key it will be known.
        key: KeyId,
    },
    /// Shut a node out.
    Revoke(NodeName),
}

/// What came of an accepted command about trust.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TrustOutcome {
    /// The authority signs.
    Signs(AuthorityId),
    /// The authority is believed no more.
    Retired(AuthorityId),
    /// The token lets in.
    Token(TokenId),
    /// The machine is in.
    Joined {
        /// As what.
        role: Role,
        /// Under which name.
        name: NodeName,
        /// Known by which key.
        key: KeyId,
    },
    /// The node is shut out.
    Revoked(NodeName),
}

/// What happened to trust.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrustHappening {
    /// An authority signs from now on.
    AuthorityAdded(AuthorityId),
    /// An authority is believed no more.
    AuthorityRetired(AuthorityId),
    /// A token lets in.
    TokenMade {
        /// What may join with it.
        role: Role,
        /// The only node that may.
        node: Option<NodeName>,
        /// Until when.
        expires: Timestamp,
    },
    /// A machine has joined.
    Joined {
        /// As what.
        role: Role,
        /// Under which name.
        name: NodeName,
    },
    /// A node was shut out.
    Revoked(NodeName),
}

/// Why a machine may not join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JoinRefusal {
    /// The cluster knows no such token, or has forgotten it since.
    UnknownToken,
    /// The token's time is over.
    Expired {
        /// Since when.
        at: Timestamp,
    },
    /// Another machine has joined with it.
    Used {
        /// When.
        at: Timestamp,
    },
    /// It is for another role.
    OtherRole {
        /// For which.
        role: Role,
    },
    /// It is for one node, and not this one.
    OtherNode,
    /// A node of this name is in already, and the token does not name it.
    NameTaken,
}

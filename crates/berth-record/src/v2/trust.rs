//! Whom the cluster trusts, version 2.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::meta::Cause;
use crate::error::Problem;
use crate::stored::{Stored, stored};

stored! {
    enum Trust = Trust { Authority(authority: Authority), Token(token: JoinToken), Member(member: Member) }

    struct Authority = Authority {
        id: String,
        number: u64,
        certificate: Base64,
        cross: Option<Base64>,
        sealed_key: Base64,
        not_after: u64,
        made: (u64, Cause),
    }

    struct NewAuthority = NewAuthority {
        id: String,
        after: Option<String>,
        certificate: Base64,
        cross: Option<Base64>,
        sealed_key: Base64,
        not_after: u64,
    }

    struct JoinToken = JoinToken {
        id: String,
        role: Role,
        node: Option<String>,
        expires: u64,
        made: (u64, Cause),
        used: Option<(u64, String)>,
    }

    struct Member = Member {
        node: String,
        key: String,
        joined: (u64, Cause),
        revoked: Option<(u64, Cause)>,
    }

    enum Role = Role { Server, Agent }

    enum TrustOutcome = TrustOutcome {
        Signs(authority: String),
        Retired(authority: String),
        Token(token: String),
        Joined { role: Role, name: String, key: String },
        Revoked(node: String),
    }

    enum TrustHappening = TrustHappening {
        AuthorityAdded(authority: String),
        AuthorityRetired(authority: String),
        TokenMade { role: Role, node: Option<String>, expires: u64 },
        Joined { role: Role, name: String },
        Revoked(node: String),
    }

    enum JoinRefusal = JoinRefusal {
        UnknownToken,
        Expired { at: u64 },
        Used { at: u64 },
        OtherRole { role: Role },
        OtherNode,
        NameTaken,
    }

    enum TrustCommand = TrustCommand {
        AddAuthority(authority: Box<NewAuthority>),
        RetireAuthority { id: String, force: bool },
        AddToken { id: String, role: Role, node: Option<String>, expires: u64 },
        Join { token: String, role: Role, name: String, key: String },
        Revoke(node: String),
    }
}

/// Bytes, as text.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Base64(String);

impl Stored<Vec<u8>> for Base64 {
    fn store(value: &Vec<u8>) -> Self {
        Base64(STANDARD.encode(value))
    }
    fn load(self) -> Result<Vec<u8>, Problem> {
        STANDARD.decode(self.0).map_err(|error| Problem::Form(error.to_string()))
    }
}

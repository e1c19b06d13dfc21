//! Whom the cluster trusts: authorities that sign, tokens that let machines in, and the nodes that are in.
//!
//! Nothing here knows a secret, signs or verifies. That a machine holds a key was shown before it gets here.

use berth_model::control::Effect;
use berth_model::{
    Authority, AuthorityId, Cause, CommandId, CommandOutcome, Happening, JoinRefusal, JoinToken, KeyId, Member,
    NewAuthority, NodeId, NodeName, Refusal, Role, Timestamp, TokenId, Trust, TrustCommand, TrustHappening, TrustId,
    TrustOutcome, limits,
};

use crate::commands::{Done, invalid};
use crate::core::Core;
use crate::journal::Key;
use crate::pipeline::Held;
use crate::state::State;

/// Tokens that one run of the collector forgets at most.
const TOKENS_PER_RUN: usize = 500;

impl State {
    /// The authority that signs.
    fn signs(&self) -> Option<&Authority> {
        self.authorities().max_by_key(|authority| authority.number)
    }

    fn authorities(&self) -> impl Iterator<Item = &Authority> {
        // They are first in the order of ids, tokens come next.
        self.trust.values().map_while(|trust| match trust {
            Trust::Authority(authority) => Some(authority),
            Trust::Token(_) | Trust::Member(_) => None,
        })
    }

    fn tokens(&self) -> impl Iterator<Item = &JoinToken> {
        let behind = self.trust.values().skip_while(|trust| matches!(trust, Trust::Authority(_)));
        behind.map_while(|trust| match trust {
            Trust::Token(token) => Some(token),
            Trust::Authority(_) | Trust::Member(_) => None,
        })
    }

    fn token(&self, id: TokenId) -> Option<&JoinToken> {
        match self.trust.get(&TrustId::Token(id))? {
            Trust::Token(token) => Some(token),
            Trust::Authority(_) | Trust::Member(_) => None,
        }
    }

    /// A node that has joined, be it shut out by now.
    pub(crate) fn member(&self, node: &NodeName) -> Option<&Member> {
        match self.trust.get(&TrustId::Member(node.clone()))? {
            Trust::Member(member) => Some(member),
            Trust::Authority(_) | Trust::Token(_) => None,
        }
    }

    fn members(&self) -> usize {
        self.trust.keys().rev().take_while(|id| matches!(id, TrustId::Member(_))).count()
    }
}

impl Core {
    /// Changes whom the cluster trusts.
    pub(crate) fn change_trust(&mut self, id: CommandId, command: TrustCommand) -> Result<Done, Refusal> {
        let cause = Cause::Command(id);
        let (outcome, key) = match command {
            TrustCommand::AddAuthority(new) => self.add_authority(*new, cause)?,
            TrustCommand::RetireAuthority { id, force } => self.retire_authority(id, force, cause)?,
            TrustCommand::AddToken { id, role, node, expires } => self.add_token(id, role, node, expires, cause)?,
            TrustCommand::Join { token, role, name, key } => self.join(token, role, name, key, cause)?,
            TrustCommand::Revoke(node) => self.revoke(node, id)?,
        };
        Ok((CommandOutcome::Trust(outcome), key))
    }

    fn add_authority(&mut self, new: NewAuthority, cause: Cause) -> Result<(TrustOutcome, Key), Refusal> {
        let NewAuthority { id, after, certificate, cross, sealed_key, not_after } = new;
        let signs = self.state.signs();
        if signs.map(|authority| authority.id) != after {
            return Err(Refusal::AuthorityChanged { signs: signs.map(|authority| authority.id) });
        }
        if self.state.authorities().count() >= limits::AUTHORITIES {
            let problem = format!("{} certificate authorities are believed already", limits::AUTHORITIES);
            return Err(invalid("authority", problem, "retire one with `berth ca retire`"));
        }
        let longest = [Some(&certificate), cross.as_ref(), Some(&sealed_key)].into_iter().flatten().map(Vec::len).max();
        if longest > Some(limits::CERTIFICATE_BYTES) {
            return Err(invalid("authority", "it is too long".to_owned(), "use at most 8 KiB for each of its parts"));
        }
        let number = signs.map_or(1, |authority| authority.number + 1);
        let made = (self.now, cause.clone());
        let authority = Authority { id, number, certificate, cross, sealed_key, not_after, made };
        let key = self.put_trust(Trust::Authority(authority), cause, TrustHappening::AuthorityAdded(id));
        Ok((TrustOutcome::Signs(id), key))
    }

    fn retire_authority(&mut self, id: AuthorityId, force: bool, cause: Cause) -> Result<(TrustOutcome, Key), Refusal> {
        let name = TrustId::Authority(id);
        if !self.state.trust.contains_key(&name) {
            return Err(Refusal::NoSuchAuthority(id));
        }
        let signs = self.state.signs();
        if signs.is_some_and(|signs| signs.id == id) {
            let problem = "the authority signs: without it nobody could join or renew".to_owned();
            return Err(invalid("authority", problem, "make another one first, with `berth ca rotate`"));
        }
        // By then every machine that is there has a certificate of a newer one, and all others have ended.
        if signs.is_some_and(|signs| signs.made.0 + limits::CERTIFICATE_LIFE > self.now) && !force {
            let problem =
                "it was replaced less than a week ago, and machines may have no newer certificate yet".to_owned();
            let remedy = "wait until it is a week; or, with --force, shut out all that have not renewed theirs since";
            return Err(invalid("authority", problem, remedy));
        }
        self.state.delete_trust(&name);
        let what = Happening::Trust(TrustHappening::AuthorityRetired(id));
        self.state.note(self.now, Key::Trust(name.clone()), cause, what);
        Ok((TrustOutcome::Retired(id), Key::Trust(name)))
    }

    fn add_token(
        &mut self,
        id: TokenId,
        role: Role,
        node: Option<NodeName>,
        expires: Timestamp,
        cause: Cause,
    ) -> Result<(TrustOutcome, Key), Refusal> {
        if self.state.token(id).is_some() {
            return Err(invalid("token", "there is such a token".to_owned(), "make another one"));
        }
        if expires <= self.now || expires.since(self.now) > limits::TOKEN_LIFE {
            let problem = "the token's life is not within a day".to_owned();
            return Err(invalid("token", problem, "use at least a second and at most 24 hours"));
        }
        if role == Role::Server && node.is_some() {
            let problem = "a server is no node".to_owned();
            return Err(invalid("token", problem, "name a node for agents alone"));
        }
        if self.state.tokens().count() >= limits::TOKENS {
            let problem = format!("there are {} join tokens", limits::TOKENS);
            return Err(invalid("token", problem, "wait until some have expired"));
        }
        let what = TrustHappening::TokenMade { role, node: node.clone(), expires };
        let made = (self.now, cause.clone());
        let token = JoinToken { id, role, node, expires, made, used: None };
        let key = self.put_trust(Trust::Token(token), cause, what);
        Ok((TrustOutcome::Token(id), key))
    }

    fn join(
        &mut self,
        token: TokenId,
        role: Role,
        name: NodeName,
        key: KeyId,
        cause: Cause,
    ) -> Result<(TrustOutcome, Key), Refusal> {
        let token = self.admitted(token, role, &name, key).map_err(Refusal::Join)?;
        if role == Role::Agent && self.state.member(&name).is_none() && self.state.members() >= limits::MEMBERS {
            let problem = format!("{} nodes have joined", limits::MEMBERS);
            return Err(invalid("node", problem, "use the names of nodes that were there before"));
        }
        // First of all, so that it is used up whatever part of the rest gets written.
        let token = JoinToken { used: Some((self.now, key)), ..token };
        self.state.put_trust(Trust::Token(token.clone()));
        let what = TrustHappening::Joined { role, name: name.clone() };
        let with = match role {
            Role::Agent => {
                let member = Member { node: name.clone(), key, joined: (self.now, cause.clone()), revoked: None };
                self.put_trust(Trust::Member(member), cause, what)
            }
            Role::Server => self.put_trust(Trust::Token(token), cause, what),
        };
        Ok((TrustOutcome::Joined { role, name, key }, with))
    }

    /// The token, if it lets this machine in.
    fn admitted(&self, token: TokenId, role: Role, name: &NodeName, key: KeyId) -> Result<JoinToken, JoinRefusal> {
        let token = self.state.token(token).ok_or(JoinRefusal::UnknownToken)?;
        if token.role != role {
            return Err(JoinRefusal::OtherRole { role: token.role });
        }
        if token.node.as_ref().is_some_and(|node| node != name) {
            return Err(JoinRefusal::OtherNode);
        }
        if let Some((at, _)) = token.used {
            return Err(JoinRefusal::Used { at });
        }
        if token.expires <= self.now {
            return Err(JoinRefusal::Expired { at: token.expires });
        }
        let member = self.state.member(name).filter(|member| role == Role::Agent && member.revoked.is_none());
        if member.is_some_and(|member| member.key != key) && token.node.is_none() {
            return Err(JoinRefusal::NameTaken);
        }
        Ok(token.clone())
    }

    /// Shuts a node out: its key is worth nothing from now on, its stream ends, and its work goes elsewhere.
    fn revoke(&mut self, node: NodeName, command: CommandId) -> Result<(TrustOutcome, Key), Refusal> {
        let cause = Cause::Command(command);
        let member = self.state.member(&node).filter(|member| member.revoked.is_none()).cloned();
        let Some(member) = member else { return Err(Refusal::NoSuchMember(node)) };
        let revoked = Some((self.now, cause.clone()));
        let what = TrustHappening::Revoked(node.clone());
        let key = self.put_trust(Trust::Member(Member { revoked, ..member }), cause.clone(), what);
        let named: Vec<NodeId> = self.state.index.named.get(&node).into_iter().flatten().copied().collect();
        for id in named {
            if let Some(session) = self.session_of(id) {
                self.disconnected(session);
                let reason = format!("the node {node} was shut out by command {command}");
                self.state.journal.hold_for(key.clone(), Held::Effect(Effect::Close { session, reason }));
            }
            if self.state.nodes.get(&id).is_some_and(berth_model::Node::is_eligible) {
                self.lose(id, cause.clone());
            }
            self.give_up_kept(id, &cause);
        }
        Ok((TrustOutcome::Revoked(node), key))
    }

    fn put_trust(&mut self, trust: Trust, cause: Cause, what: TrustHappening) -> Key {
        let key = Key::Trust(trust.id());
        self.state.put_trust(trust);
        self.state.note(self.now, key.clone(), cause, Happening::Trust(what));
        key
    }

    /// Forgets tokens that let nobody in any more, when nobody will ask any more why.
    pub(crate) fn collect_tokens(&mut self) -> bool {
        let over = self.state.tokens().filter(|token| token.expires + self.settings.keep_commands <= self.now);
        let over: Vec<TrustId> = over.map(|token| TrustId::Token(token.id)).take(TOKENS_PER_RUN).collect();
        for token in &over {
            self.state.delete_trust(token);
        }
        over.len() == TOKENS_PER_RUN
    }
}

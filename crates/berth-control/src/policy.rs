//! Changing the policy while everything runs: what is placed from then on is placed by it, what runs stays where it is.

use berth_model::{
    BalanceMode, BuiltIn, Cause, CommandId, CommandOutcome, Happening, Policy, PolicySpec, PolicyVersion, Refusal,
    SetPolicy, Weights, limits,
};

use crate::commands::{Done, invalid};
use crate::core::Core;
use crate::journal::{Key, Takes};

impl Core {
    pub(crate) fn set_policy(
        &mut self,
        id: CommandId,
        spec: PolicySpec,
        after: Option<PolicyVersion>,
    ) -> Result<Done, Refusal> {
        check(&spec)?;
        let known = &self.state.policy;
        if after.is_some_and(|after| after != known.version) {
            return Err(Refusal::PolicyChanged { version: known.version });
        }
        let name = spec.name.clone();
        if known.spec == spec && self.state.policy_changed.is_some() {
            let version = known.version;
            self.state.journal.touch(Key::Policy, Takes::Nothing);
            return Ok((CommandOutcome::Policy { name, version, changed: false }, Key::Policy));
        }
        let version = PolicyVersion(known.version.0 + 1);
        let cause = Cause::Command(id);
        self.balancing.begin_anew(spec.weights);
        self.state.put_policy(SetPolicy { policy: Policy { version, spec }, changed: (self.now, cause.clone()) });
        self.state.note(self.now, Key::Policy, cause, Happening::PolicyChanged { name: name.clone(), version });
        Ok((CommandOutcome::Policy { name, version, changed: true }, Key::Policy))
    }
}

/// The limits that hold for every policy, whatever made it. Files are checked in more depth before they get here.
fn check(spec: &PolicySpec) -> Result<(), Refusal> {
    let brought = BuiltIn::named(spec.name.as_str());
    if brought.is_some_and(|brought| brought.spec() != *spec) {
        let problem = format!("`{}` is a policy that Berth brings along, and says something else", spec.name);
        return Err(invalid("policy", problem, "give yours a name of its own"));
    }
    if spec.pools.len() > limits::POOLS {
        return Err(invalid("pools", format!("{} pools", spec.pools.len()), "use at most 64"));
    }
    if let BalanceMode::On { at_most } = spec.balance
        && !(1..=limits::BALANCE_MOST).contains(&at_most)
    {
        return Err(invalid("balance_max", format!("{at_most} moves at once"), "use 1 to 1000"));
    }
    check_weights("weights", &spec.weights)?;
    spec.pools.iter().try_for_each(|(pool, weights)| check_weights(&format!("pools.{pool}.weights"), weights))
}

fn check_weights(place: &str, weights: &Weights) -> Result<(), Refusal> {
    if let Some((term, weight)) = weights.terms().find(|(_, weight)| *weight > limits::WEIGHT_MOST) {
        return Err(invalid(place, format!("{weight} is too much for {term:?}"), "use 0 to 1000000000"));
    }
    if weights.terms().next().is_none() {
        let problem = "no term counts: every node would cost the same".to_owned();
        return Err(invalid(place, problem, "give at least one term a weight"));
    }
    Ok(())
}

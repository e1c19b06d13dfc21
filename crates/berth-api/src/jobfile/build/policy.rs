//! Policies: which weights a file means.

use std::collections::BTreeMap;

use berth_model::{BalanceMode, BuiltIn, PolicySpec, Weights, limits};

use super::{in_range, limit, name_of, other, required_name, value};
use crate::jobfile::error::{Faults, quoted};
use crate::jobfile::policy::{BalanceFile, PolicyFile, PoolFile, WeightsFile};
use crate::jobfile::schema::{At, Field, Table};

/// The policy, or everything that is wrong with it.
pub(crate) fn spec(file: At<PolicyFile>, mut faults: Faults) -> Result<PolicySpec, Faults> {
    let spec = file.value.map(|value| top(value, file.place, &mut faults));
    match spec {
        Some(spec) if faults.is_empty() => Ok(spec),
        Some(_) | None => Err(faults),
    }
}

fn top(file: PolicyFile, place: usize, faults: &mut Faults) -> PolicySpec {
    let name_place = file.policy.as_ref().map_or(place, |name| name.place);
    let name = required_name(file.policy, "policy", place, faults);
    let base = file.base.and_then(|base| base.value).map_or(BuiltIn::Balanced, BuiltIn::from);
    let weights = weights(base.weights(), file.weights, place, faults);
    let pools = pools(&weights, file.pools, faults);
    let spec = PolicySpec { name, weights, pools, balance: balance(file.balance, file.balance_max, faults) };
    let brought = BuiltIn::named(spec.name.as_str());
    if brought.is_some_and(|brought| brought.spec() != spec) {
        let message =
            format!("{} is a policy that Berth brings along, and says something else", quoted(spec.name.as_str()));
        faults.at(name_place, format!("{message}: give yours a name of its own"));
    }
    spec
}

fn balance(mode: Field<BalanceFile>, most: Field<u32>, faults: &mut Faults) -> BalanceMode {
    match value(mode, BalanceFile::Off) {
        BalanceFile::On => {
            BalanceMode::On { at_most: in_range(most, BalanceMode::AT_MOST, 1..=limits::BALANCE_MOST, faults) }
        }
        BalanceFile::Off => {
            if let Some(most) = most {
                faults.at(most.place, "counts with `balance: on` alone: write that, or leave this out");
            }
            BalanceMode::Off
        }
    }
}

fn pools(
    usual: &Weights,
    file: Field<Table<PoolFile>>,
    faults: &mut Faults,
) -> BTreeMap<berth_model::PoolName, Weights> {
    let place = file.as_ref().map_or(usize::MAX, |file| file.place);
    let entries = value(file, Table(Vec::new())).0;
    limit(entries.len(), limits::POOLS, "pools", place, faults);
    let mut pools = BTreeMap::new();
    for (name, file) in entries {
        let (name_place, pool_place) = (name.place, file.place);
        let name = name_of(name, faults);
        let Some(file) = file.value else { continue };
        let base = file.base.and_then(|base| base.value).map_or(*usual, |base| BuiltIn::from(base).weights());
        if pools.insert(name, weights(base, file.weights, pool_place, faults)).is_some() {
            let line = other(name_place, faults);
            faults.at(name_place, format!("a second pool of this name{line}"));
        }
    }
    pools
}

fn weights(base: Weights, file: Field<WeightsFile>, place: usize, faults: &mut Faults) -> Weights {
    let place = file.as_ref().map_or(place, |file| file.place);
    let fields = value(file, WeightsFile::default()).fields();
    let weights = fields.into_iter().fold(base, |weights, (term, field)| {
        weights.with(term, in_range(field, base.of(term), 0..=limits::WEIGHT_MOST, faults))
    });
    if weights == Weights::NONE {
        faults.at(place, "no term counts, so every node would cost the same: give at least one a weight");
    }
    weights
}

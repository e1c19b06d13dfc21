//! The cluster's policy, version 2.

use std::collections::BTreeMap;

use berth_model as model;

use super::alloc::Term;
use super::meta::Cause;
use crate::error::Problem;
use crate::stored::{Stored, stored};

stored! {
    struct SetPolicy = SetPolicy { policy: Policy, changed: (u64, Cause) }

    struct Policy = Policy { version: u64, spec: PolicySpec }

    struct PolicySpec = PolicySpec {
        name: String,
        weights: Weights,
        pools: BTreeMap<String, Weights>,
        // Policies were written without it before there was a choice.
        #[serde(default, skip_serializing_if = "BalanceMode::is_off")]
        balance: BalanceMode,
    }

    #[derive(Default)]
    enum BalanceMode = BalanceMode {
        #[default]
        Off,
        On { at_most: u32 },
    }

    enum BuiltIn = BuiltIn { Balanced, Pack, Spread, Fragmentation }
}

impl BalanceMode {
    fn is_off(&self) -> bool {
        matches!(self, BalanceMode::Off)
    }
}

/// The terms that count, each with its weight.
type Weights = Vec<(Term, u32)>;

impl Stored<model::Weights> for Weights {
    fn store(value: &model::Weights) -> Self {
        value.terms().map(|(term, weight)| (Term::store(&term), weight)).collect()
    }
    fn load(self) -> Result<model::Weights, Problem> {
        self.into_iter()
            .try_fold(model::Weights::NONE, |weights, (term, weight)| Ok(weights.with(term.load()?, weight)))
    }
}

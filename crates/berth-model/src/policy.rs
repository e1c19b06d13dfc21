//! Policies: what a node costs, as named terms with weights.

use std::collections::BTreeMap;
use std::fmt;

use crate::{Cause, PolicyName, PoolName, Term, Timestamp};

/// The label of a node that says which pool it is in.
pub const POOL: &str = "label.pool";

/// How much each term counts: a whole number from 0 to [`WEIGHT_MOST`](crate::limits::WEIGHT_MOST), by which the term's value
/// is multiplied. What counts are proportions: a thousand times all weights is the same policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weights([u32; Term::ALL.len()]);

impl Weights {
    /// No term counts.
    pub const NONE: Weights = Weights([0; Term::ALL.len()]);

    /// How much the term counts.
    pub fn of(&self, term: Term) -> u32 {
        self.0[term as usize]
    }

    /// The same, but for one term.
    pub const fn with(mut self, term: Term, weight: u32) -> Weights {
        self.0[term as usize] = weight;
        self
    }

    /// The terms that count.
    pub fn terms(&self) -> impl Iterator<Item = (Term, u32)> {
        Term::ALL.into_iter().map(|term| (term, self.of(term))).filter(|(_, weight)| *weight > 0)
    }

    /// What groups say themselves counts so much.
    const fn with_rules(self, weight: u32) -> Weights {
        self.with(Term::Preference, weight)
            .with(Term::Affinity, weight)
            .with(Term::AntiAffinity, weight)
            .with(Term::Spread, weight)
    }
}

/// The policies that Berth brings along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BuiltIn {
    /// Even load, and the instances of a group on different nodes where that costs less than half a node's fill.
    #[default]
    Balanced,
    /// Full nodes first, so that whole nodes stay free.
    Pack,
    /// The instances of a group on different nodes, whatever that costs; then even load.
    Spread,
    /// Where the room that is left loses least of its worth for what is expected to be asked for. It weighs devices and
    /// what stands beside them; nodes without devices cost nothing.
    Fragmentation,
}

impl BuiltIn {
    /// All of them.
    pub const ALL: [BuiltIn; 4] = [BuiltIn::Balanced, BuiltIn::Pack, BuiltIn::Spread, BuiltIn::Fragmentation];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            BuiltIn::Balanced => "balanced",
            BuiltIn::Pack => "pack",
            BuiltIn::Spread => "spread",
            BuiltIn::Fragmentation => "fragmentation",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<BuiltIn> {
        BuiltIn::ALL.into_iter().find(|known| known.as_str() == name)
    }

    /// Its weights. All but `fragmentation` count in thousandths of a node; that one in millionths of a device, so that
    /// what the others count once, it counts a thousand times. A node where the last instance failed is left unless
    /// everything else is worse than two full nodes.
    pub fn weights(self) -> Weights {
        let usual = Weights::NONE.with(Term::FailedHere, 2_000).with_rules(1);
        match self {
            BuiltIn::Balanced => usual.with(Term::Utilisation, 1).with(Term::SameGroup, 500),
            BuiltIn::Pack => usual.with(Term::Emptiness, 1),
            // More than any difference in load.
            BuiltIn::Spread => usual.with(Term::Utilisation, 1).with(Term::SameGroup, 1_500),
            BuiltIn::Fragmentation => {
                Weights::NONE.with(Term::Fragmentation, 1).with(Term::FailedHere, 2_000_000).with_rules(1_000)
            }
        }
    }

    /// The whole cluster by these weights.
    pub fn spec(self) -> PolicySpec {
        let name = self.as_str().parse().expect("the names of policies are names");
        PolicySpec { name, weights: self.weights(), pools: BTreeMap::new(), balance: BalanceMode::Off }
    }

    /// The same, as it holds where nobody has set a policy.
    pub fn policy(self) -> Policy {
        Policy { version: PolicyVersion(0), spec: self.spec() }
    }
}

impl fmt::Display for BuiltIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What becomes of the moves of running work that the optimiser proposes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BalanceMode {
    /// They are shown, and nothing is moved.
    #[default]
    Off,
    /// They are made, for services.
    On {
        /// How many may be under way at once in the whole cluster: 1 to [`BALANCE_MOST`](crate::limits::BALANCE_MOST).
        at_most: u32,
    },
}

impl BalanceMode {
    /// How many moves may be under way at once where nobody says so.
    pub const AT_MOST: u32 = 4;

    /// How many moves may be under way at once.
    pub fn at_most(self) -> u32 {
        match self {
            BalanceMode::Off => 0,
            BalanceMode::On { at_most } => at_most,
        }
    }

    /// Whether moves are made.
    pub fn is_on(self) -> bool {
        matches!(self, BalanceMode::On { .. })
    }
}

/// A policy as somebody has written it down.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicySpec {
    /// Its name.
    pub name: PolicyName,
    /// How much each term counts.
    pub weights: Weights,
    /// The pools of nodes where other weights hold.
    pub pools: BTreeMap<PoolName, Weights>,
    /// What becomes of proposed moves.
    pub balance: BalanceMode,
}

impl PolicySpec {
    /// The weights that hold on a node with this value of [`POOL`].
    pub fn weights_in(&self, pool: Option<&str>) -> &Weights {
        let Some(pool) = pool else { return &self.weights };
        self.pools.iter().find(|(name, _)| name.as_str() == pool).map_or(&self.weights, |(_, weights)| weights)
    }

    /// Whether a term counts anywhere.
    pub fn counts(&self, term: Term) -> bool {
        std::iter::once(&self.weights).chain(self.pools.values()).any(|weights| weights.of(term) > 0)
    }
}

/// The version of a cluster's policy: one more with each change; 0 where nobody has set one, and the server's setting holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyVersion(pub u64);

impl fmt::Display for PolicyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A policy as it holds in a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Policy {
    /// Its version.
    pub version: PolicyVersion,
    /// What it says.
    pub spec: PolicySpec,
}

impl Default for Policy {
    /// What holds where nobody says anything.
    fn default() -> Policy {
        BuiltIn::default().policy()
    }
}

/// A policy that somebody has set, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetPolicy {
    /// Which.
    pub policy: Policy,
    /// When and why it was set.
    pub changed: (Timestamp, Cause),
}

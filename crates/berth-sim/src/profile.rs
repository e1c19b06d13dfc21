//! What a simulation is like: how many machines, how long, how much fails.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::random::Random;

/// A named kind of simulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProfileName {
    /// Everything fails now and then.
    #[default]
    Faults,
    /// Nothing fails but tasks: what goes wrong here needs no bad luck.
    Calm,
    /// Nothing fails, and from some time on no batch work ends.
    Steady,
    /// Everything fails now and then, and users change the policy.
    Policies,
    /// Everything fails now and then, and users drain nodes and enable them.
    Drains,
    /// Machines are cut off all the time, and much of the work is fenced, kept, or given time.
    Partitions,
    /// Everything fails now and then, and services, at first on few nodes, are moved for the sake of balance.
    Balance,
}

impl ProfileName {
    /// All of them.
    pub const ALL: [ProfileName; 7] = [
        ProfileName::Faults,
        ProfileName::Calm,
        ProfileName::Steady,
        ProfileName::Policies,
        ProfileName::Drains,
        ProfileName::Partitions,
        ProfileName::Balance,
    ];

    fn as_str(self) -> &'static str {
        match self {
            ProfileName::Faults => "faults",
            ProfileName::Calm => "calm",
            ProfileName::Steady => "steady",
            ProfileName::Policies => "policies",
            ProfileName::Drains => "drains",
            ProfileName::Partitions => "partitions",
            ProfileName::Balance => "balance",
        }
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ProfileName {
    type Err = String;
    fn from_str(text: &str) -> Result<ProfileName, String> {
        ProfileName::ALL.into_iter().find(|name| name.as_str() == text).ok_or_else(|| {
            let all: Vec<&str> = ProfileName::ALL.into_iter().map(ProfileName::as_str).collect();
            format!("expected one of {}", all.join(", "))
        })
    }
}

/// The numbers of one simulation. Times are in milliseconds, chances in thousandths.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) machines: usize,
    /// Allocations that users ask for, at least.
    pub(crate) allocs_asked: u32,
    /// Nothing but tasks fails before.
    pub(crate) calm: u64,
    /// Nothing fails after, and no user asks for anything any more.
    pub(crate) faults_until: u64,
    /// The mean time between faults.
    pub(crate) between_faults: u64,
    /// The longest time from the last fault until everything has to be as it should be.
    pub(crate) settle_within: u64,
    /// Chance that a message is lost, and the stream with it.
    pub(crate) loss: u64,
    /// Chance that a message comes twice.
    pub(crate) duplicate: u64,
    /// Chance that a message takes long.
    pub(crate) slow: u64,
    /// Chance that the store fails with an unknown end.
    pub(crate) store_fails: u64,
    /// Chance that a run of a task fails by itself, and that one falls ill for a while: a quarter of it for each question of a check.
    pub(crate) task_fails: u64,
    /// Chance that a preparation fails.
    pub(crate) prepare_fails: u64,
    /// Whether batch work ends also when nothing fails any more.
    pub(crate) batch_ends: bool,
    /// Whether servers forget what has ended within seconds, and not as they do by default.
    pub(crate) forgets: bool,
    /// Chance that a user who acts changes the policy.
    pub(crate) policies: u64,
    /// Chance that a user who acts drains a node, or enables it.
    pub(crate) drains: u64,
    /// How long, at most, a server that has lost the lead may go on without having noticed.
    pub(crate) unaware: u64,
    /// Chance that a group says what becomes of it on a lost node, and that a fault is a partition.
    pub(crate) partitions: u64,
    /// How many moves for the sake of balance may be under way at once, when most has been asked for; 0 for none ever.
    pub(crate) balance_max: u32,
    /// For how long everything has to stay as it should be before a simulation ends.
    pub(crate) stay: u64,
}

/// Longer than what was moved stays where it is: whoever is at rest for as long will not be moved again.
const RESTED: u64 = 11 * 60_000;

/// Longer than any simulation.
const FOREVER: u64 = u64::MAX / 4;

impl Profile {
    pub(crate) fn of(name: ProfileName, random: &mut Random) -> Profile {
        match name {
            ProfileName::Faults => Profile::usual(random),
            ProfileName::Policies => Profile { policies: 150, ..Profile::usual(random) },
            ProfileName::Drains => Profile { drains: 250, ..Profile::usual(random) },
            ProfileName::Balance => {
                let usual = Profile::usual(random);
                let balance_max = 1 + u32::try_from(random.below(4)).expect("small");
                Profile { balance_max, stay: RESTED, settle_within: 8 * RESTED, ..usual }
            }
            // Few allocations, since what counts is how often they are cut off.
            ProfileName::Partitions => Profile {
                allocs_asked: 40,
                faults_until: random.between(150_000, 300_000),
                between_faults: random.between(500, 3000),
                drains: 50,
                unaware: 60_000,
                partitions: 600,
                ..Profile::usual(random)
            },
            ProfileName::Calm => Profile::calm(random),
            ProfileName::Steady => Profile {
                task_fails: 0,
                batch_ends: false,
                forgets: false,
                calm: FOREVER,
                faults_until: FOREVER,
                between_faults: FOREVER,
                ..Profile::calm(random)
            },
        }
    }

    /// Everything fails now and then.
    fn usual(random: &mut Random) -> Profile {
        let (machines, faults_until) = (5 + random.index(4), random.between(50_000, 90_000));
        Profile {
            machines,
            allocs_asked: 220,
            calm: 10_000,
            faults_until,
            between_faults: random.between(1000, 8000),
            settle_within: 30 * 60_000,
            loss: random.below(4),
            duplicate: random.below(15),
            slow: random.below(20),
            store_fails: random.below(3),
            task_fails: random.between(20, 120),
            prepare_fails: random.below(60),
            batch_ends: true,
            forgets: true,
            policies: 0,
            drains: 0,
            unaware: 20_000,
            partitions: 0,
            balance_max: 0,
            stay: 5_000,
        }
    }

    /// Nothing fails but tasks.
    fn calm(random: &mut Random) -> Profile {
        let usual = Profile::usual(random);
        Profile {
            calm: usual.faults_until,
            between_faults: usual.faults_until,
            loss: 0,
            duplicate: 0,
            slow: 0,
            store_fails: 0,
            task_fails: 20,
            prepare_fails: 0,
            ..usual
        }
    }
}

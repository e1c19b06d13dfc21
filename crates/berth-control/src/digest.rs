//! Digests that are the same on every machine and in every run: SipHash with fixed keys.

use std::hash::{Hash, Hasher};

use berth_model::Command;
use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128, SipHasher13 as SipHasher13x128};

/// A digest of 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hash128(pub(crate) u128);

pub(crate) fn digest128(of: &impl Hash) -> Hash128 {
    let mut hasher = SipHasher13x128::new_with_keys(0x6265_7274_6821, 1);
    of.hash(&mut hasher);
    Hash128(hasher.finish128().as_u128())
}

/// What tells a repeated command from another one under the same key.
pub(crate) fn command_digest(command: &Command) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0x6265_7274_6821, 2);
    command.hash(&mut hasher);
    hasher.finish()
}

//! The agent's ledger: one record per allocation. Where it is kept is the agent's affair.

use berth_model::{Format, Remembered};

use crate::codec::{NEWEST, load, seal};
use crate::error::RecordError;
use crate::stored::Stored;
use crate::v2;

/// The format in which agents write: one that the release before reads as well, since no operator finalises a node.
const WRITTEN: Format = if NEWEST.0 > Format::FIRST.0 { Format(NEWEST.0 - 1) } else { Format::FIRST };

/// The bytes of what an agent remembers of an allocation.
pub fn encode_remembered(remembered: &Remembered) -> Vec<u8> {
    seal(WRITTEN, v2::Remembered::store(remembered))
}

/// What an agent remembers of an allocation. `place` names the record in an error: its file.
pub fn decode_remembered(place: &str, bytes: &[u8]) -> Result<Remembered, RecordError> {
    load::<v2::Remembered, _>(place, bytes)
}

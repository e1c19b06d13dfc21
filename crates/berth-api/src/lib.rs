//! What travels over the wire: job files, versioned wire types, the HTTP client, the agent's stream.
//!
//! Conversions between wire and domain types live here; nothing here decides or stores anything.

pub mod client;
pub mod jobfile;
pub mod wire;

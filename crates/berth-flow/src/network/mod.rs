//! Stands in for the engine, for now.

/// To come.
#[derive(Debug, Default)]
pub struct Network;

//! The optimiser's laws, and its answers against oracles.

mod laws;
mod milp;
mod support;

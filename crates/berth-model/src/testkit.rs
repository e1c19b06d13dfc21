//! Builders for tests, and data that several crates must agree on. Only behind the `testkit` feature.

pub mod store_cases;

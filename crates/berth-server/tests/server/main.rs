//! A server as its users and agents meet it: over HTTP, with an agent that speaks the real protocol and runs nothing.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod cluster;
mod connections;
mod document;
mod etcd;
mod liars;
mod policy;
mod requests;
mod retries;
mod several;
mod trust;
mod work;

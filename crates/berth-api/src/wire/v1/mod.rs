//! Version 1 of the wire: JSON for everything but terminals, which travel in small binary frames.
//!
//! - Ids and names travel as their text (`a1-23`, `web`); a job is `NAMESPACE/NAME`.
//! - 64-bit numbers travel as strings of decimal digits, since JSON readers round what is above 2^53.
//! - Points in time are RFC 3339 text in UTC with milliseconds: `2026-11-21T05:35:23.120Z`.
//! - Lengths of time are whole milliseconds, in fields that end in `_ms`; sizes are bytes.
//! - A value that can be of several kinds is an object with a field that names its kind.
//! - Readers ignore fields that they do not know, so that an older program understands a newer one.

mod agent;
mod alloc;
mod balance;
mod command;
mod convert;
mod error;
mod event;
mod explain;
mod frame;
mod job;
mod lines;
mod logs;
mod node;
mod phrase;
mod plan;
mod policy;
mod reason;
mod remedy;
mod spec;
mod status;
mod task;
mod text;
mod trust;
mod tunnel;
mod why;

pub use agent::*;
pub use alloc::*;
pub use balance::*;
pub use command::*;
pub use convert::*;
pub use error::*;
pub use event::*;
pub use explain::*;
pub use frame::*;
pub use job::*;
pub use lines::*;
pub use logs::*;
pub use node::*;
pub use phrase::parts;
pub use plan::*;
pub use policy::*;
pub use reason::*;
pub use remedy::*;
pub use spec::*;
pub use status::*;
pub use task::*;
pub use text::*;
pub use trust::*;
pub use tunnel::*;
pub use why::*;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A page of a list, in order of ids or names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T: ToSchema> {
    /// What is on it.
    pub items: Vec<T>,
    /// Give this as `after` to get the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The most items that a page holds, and how many it holds unless asked.
pub const PAGE_ITEMS: usize = 1000;

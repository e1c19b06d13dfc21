//! Version 1 of every record. What is here is never changed: a change is a new version beside it. Only what leaves every
//! older record as it is may be added: another variant, or a field that is left out where it says nothing.

mod alloc;
mod command;
mod job;
pub(crate) mod journal;
mod ledger;
mod meta;
mod node;
mod remembered;

pub(crate) use alloc::Alloc;
pub(crate) use command::CommandRecord;
pub(crate) use job::{Job, JobVersionRecord};
pub(crate) use ledger::LedgerEntry;
pub(crate) use meta::{Epoch, Meta};
pub(crate) use node::Node;
pub(crate) use remembered::Remembered;

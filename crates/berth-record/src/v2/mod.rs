//! Version 2 of every record. It reads version 1 too: it only added what leaves every record of that as it is, which is
//! fields that are left out where they say nothing, and variants. Once a release has written it, it is never changed: what
//! comes next is a version of its own, or a program would call damaged what it is only too old for.

pub(crate) mod alloc;
pub(crate) mod command;
pub(crate) mod job;
mod ledger;
pub(crate) mod meta;
pub(crate) mod node;
pub(crate) mod policy;
pub(crate) mod remembered;
pub(crate) mod trust;

pub(crate) use alloc::Alloc;
pub(crate) use command::CommandRecord;
pub(crate) use job::{Job, JobVersionRecord};
pub(crate) use ledger::LedgerEntry;
pub(crate) use meta::{Epoch, Meta};
pub(crate) use node::Node;
pub(crate) use policy::SetPolicy;
pub(crate) use remembered::Remembered;
pub(crate) use trust::Trust;

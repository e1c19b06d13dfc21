//! The fences around a commit: whose reign it is of, that counters only grow, that every id was issued.

use berth_model::{Epoch, Meta, Mutation};

use crate::findings::Finding;

/// Writes that a commit may have, the counters among them.
pub const MAX_MUTATIONS: usize = 100;

/// What a commit is measured by.
#[derive(Clone, Copy, Debug)]
pub struct Fence {
    /// The reign.
    pub epoch: Epoch,
    /// The counters of the commit before.
    pub before: Meta,
}

/// Every fault of a commit.
pub fn check_commit(fence: &Fence, mutations: &[Mutation]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if mutations.len() > MAX_MUTATIONS {
        findings.push(Finding::TooManyMutations { count: mutations.len() });
    }
    let metas = mutations.iter().filter(|m| matches!(m, Mutation::PutMeta(_))).count();
    let Some(Mutation::PutMeta(meta)) = mutations.first().filter(|_| metas == 1) else {
        findings.push(Finding::MetaMissing { count: metas });
        return findings;
    };
    if meta.epoch != fence.epoch {
        findings.push(Finding::WrongEpoch { found: meta.epoch, expected: fence.epoch });
    }
    if meta.incarnation == fence.before.incarnation {
        check_counters(&fence.before, meta, &mut findings);
    }
    if meta.format < fence.before.format {
        findings.push(Finding::FormatWentBack { before: fence.before.format, after: meta.format });
    }
    findings.extend(mutations.iter().filter_map(|mutation| not_issued(meta, mutation)));
    findings
}

fn check_counters(before: &Meta, after: &Meta, findings: &mut Vec<Finding>) {
    let counters = [
        ("allocations", before.allocs, after.allocs),
        ("nodes", before.nodes, after.nodes),
        ("commands", before.commands, after.commands),
        ("decisions", before.decisions, after.decisions),
        ("events", before.events, after.events),
    ];
    for (counter, before, after) in counters {
        if after < before {
            findings.push(Finding::CounterWentBack { counter, before, after });
        }
    }
}

fn not_issued(meta: &Meta, mutation: &Mutation) -> Option<Finding> {
    let (incarnation, counter, issued, what) = match mutation {
        Mutation::PutNode(node) => (node.id.incarnation, node.id.counter, meta.nodes, node.id.to_string()),
        Mutation::PutAlloc(alloc) => (alloc.id.incarnation, alloc.id.counter, meta.allocs, alloc.id.to_string()),
        Mutation::PutCommand(record) => {
            (record.id.incarnation, record.id.counter, meta.commands, record.id.to_string())
        }
        Mutation::PutLedger(entry) => (entry.id.incarnation, entry.id.counter, meta.events, entry.id.to_string()),
        Mutation::PutMeta(_)
        | Mutation::DeleteNode(_)
        | Mutation::PutJob(_)
        | Mutation::DeleteJob(_)
        | Mutation::PutJobVersion(..)
        | Mutation::DeleteJobVersion(..)
        | Mutation::DeleteAlloc(_)
        | Mutation::DeleteCommand(..)
        | Mutation::DeleteLedger(_)
        | Mutation::PutPolicy(_)
        | Mutation::PutTrust(_)
        | Mutation::DeleteTrust(_) => return None,
    };
    let wrong = incarnation > meta.incarnation || (incarnation == meta.incarnation && counter > issued);
    wrong.then_some(Finding::NotIssued { what })
}

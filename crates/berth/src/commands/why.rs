//! `berth why`: the reasons for where an allocation is, why it waits, or why it ended.

use berth_api::wire::v1::{
    Advice, AllocState, CauseLink, CostTerm, Event, Explanation, FilterCount, WaitReason, WhyAlloc, WhyJob,
};

use super::status::troubles;
use super::target::{self, Target};
use super::{Context, events};
use crate::exit::{Status, failed};

/// Entries of a history that a person is shown; `--json` has more.
const HISTORY: usize = 20;

/// Answers for an allocation or a job.
pub async fn why(context: &Context, text: &str) -> anyhow::Result<()> {
    match target::read(text, &context.namespace)? {
        Target::Alloc(id) => context.format.show(&context.client.why_alloc(id).await?, alloc),
        Target::Name(id) => context.format.show(&context.client.why_job(&id).await?, job),
        Target::Node(id) => {
            Err(failed(Status::Usage, format!("{id} is a node: `berth why` takes an allocation's id or a job's name")))
        }
    }
}

fn alloc(why: &WhyAlloc) -> String {
    let alloc = &why.alloc;
    let mut text = format!("{} ({}, {}[{}]) ", alloc.id, alloc.job, alloc.group, alloc.index);
    text += &match &alloc.state {
        AllocState::Waiting { reason, since } => format!("waits since {since}: {reason}\n"),
        AllocState::Placed { placement, since } => format!("was placed on {} at {since}\n", placement.node),
        AllocState::Running { placement, since, .. } => format!("runs on {} since {since}\n", placement.node),
        AllocState::Stopping { placement, since, .. } => format!("is stopping on {} since {since}\n", placement.node),
        AllocState::Ended { at, outcome, .. } => format!("ended at {at}: {outcome}\n"),
    };
    if let Some(unheard) = &alloc.unheard {
        text += &format!("It is {unheard}\n");
    }
    if let (AllocState::Running { ready: None, .. }, Some(troubles)) = (&alloc.state, troubles(alloc)) {
        text += &format!("It is not ready: {troubles}\n");
    }
    text += &causes("It was made because of", &why.made_by);
    text += &causes("It ended because of", &why.ended_by);
    for old in &why.replaces {
        let end = match &old.state {
            AllocState::Ended { outcome, .. } => format!(", which ended: {outcome}"),
            AllocState::Waiting { .. }
            | AllocState::Placed { .. }
            | AllocState::Running { .. }
            | AllocState::Stopping { .. } => format!(", which is {}", old.state.word()),
        };
        text += &format!("\nIt takes the place of {}{end}\n", old.id);
    }
    match (&alloc.followed_by, &why.replaced_by) {
        (Some(next), _) => text += &format!("\nWhat follows: {next}\n"),
        (None, Some(new)) => text += &format!("\nIts place was taken by {new}\n"),
        (None, None) => {}
    }
    match (&alloc.state, alloc.state.placement()) {
        (AllocState::Waiting { reason, .. }, _) => {
            text += &waiting(reason);
            text += &why.advice.as_ref().map(advice).unwrap_or_default();
        }
        (_, Some(placement)) => text += &explanation(&placement.node.to_string(), &placement.explanation),
        (_, None) => {}
    }
    text + &history(&why.history)
}

fn causes(heading: &str, links: &[CauseLink]) -> String {
    if links.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{heading}\n");
    for (depth, link) in links.iter().enumerate() {
        let told = match (&link.event, &link.command) {
            (Some(event), _) => format!("{}: {}", link.cause, event.what),
            (None, Some(command)) => format!("{} of {}, accepted at {}", link.cause, command.principal, command.at),
            (None, None) => link.cause.to_string(),
        };
        text += &format!("{:indent$}{told}\n", "", indent = 2 + 2 * depth);
    }
    text
}

fn explanation(node: &str, why: &Explanation) -> String {
    let version = why.policy_version.as_ref().map_or_else(String::new, |version| format!(" version {version}"));
    let mut text = format!("\nWHY {node} (policy {}{version}, {} nodes considered)\n", why.policy, why.considered);
    text += &format!("  chosen     {node}: {}\n", terms(&why.chosen));
    match &why.runner_up {
        Some(other) => text += &format!("  runner-up  {}: {}\n", other.node, terms(&other.terms)),
        None => text += "  runner-up  none: no other node could take it\n",
    }
    text + &filtered(&why.filtered)
}

fn terms(terms: &[CostTerm]) -> String {
    let sum: i64 = terms.iter().map(|term| term.cost.0).sum();
    let each: Vec<String> = terms.iter().map(|term| format!("{} {}", term.term, term.cost)).collect();
    format!("cost {sum} = {}", each.join(" + "))
}

fn filtered(filtered: &[FilterCount]) -> String {
    filtered.iter().map(|count| format!("  filtered   {} x {}\n", count.nodes, count.filter)).collect()
}

fn waiting(reason: &WaitReason) -> String {
    match reason {
        WaitReason::NoNodeFits { filtered: counts, .. } | WaitReason::GangIncomplete { filtered: counts, .. } => {
            format!("\nFILTERED\n{}", filtered(counts))
        }
        WaitReason::Queued | WaitReason::NoNodes | WaitReason::Preempting { .. } | WaitReason::BackOff { .. } => {
            String::new()
        }
    }
}

/// Who holds what is lacking, and what would help.
fn advice(advice: &Advice) -> String {
    let mut text = String::new();
    for held in &advice.held {
        text += &format!("\nHELD on node {}: {}\n", held.node, held.scarce);
        for holder in &held.holders {
            let amount = held.scarce.amount(&holder.amount);
            text += &format!("  {:<8}  {:<24}  {amount}\n", holder.alloc.to_string(), holder.job.to_string());
        }
        if held.more > 0 {
            text += &format!("  and {} more\n", held.more);
        }
    }
    text += match advice.remedies.as_slice() {
        [] => "\nREMEDIES\n  no single act that was tried would make it run\n",
        _ => "\nREMEDIES (each alone, tried on a copy of the cluster)\n",
    };
    for (nth, remedy) in advice.remedies.iter().enumerate() {
        text += &format!("  {}. {remedy}\n", nth + 1);
    }
    text
}

/// The newest entries, oldest first.
fn history(events: &[Event]) -> String {
    let left_out = events.len().saturating_sub(HISTORY);
    let more = match left_out {
        0 => String::new(),
        count => format!("  ({count} older entries; `berth events --of` shows all)\n"),
    };
    format!("\nHISTORY\n{more}{}", events::lines(&events[left_out..]))
}

fn job(why: &WhyJob) -> String {
    let mut text = format!("{} version {} changed at {}\n", why.job.id, why.job.version, why.job.changed);
    text += &causes("It is as it is because of", &why.changed_by);
    for group in &why.waiting {
        text += &format!("\n{} of {} wait, such as {}: {}\n", group.allocs, group.group, group.example, group.reason);
        text += &group.advice.as_ref().map(advice).unwrap_or_default();
    }
    text + &history(&why.history)
}

//! `berth plan`: what a change would do, before it is made.

use std::collections::BTreeMap;

use berth_api::jobfile::{self, policy as policyfile};
use berth_api::wire::v1::{
    BrokenBudget, JobId, NodeRef, Number, Plan, PlanEnd, PlanRequest, PlannedChange, PlannedKind, PlannedWait,
    PortName, Utilisation,
};
use berth_model::{Namespace, Resources};

use super::target::{self, Target};
use super::{Context, policy, run};
use crate::args::{PlanArgs, PlanCommand};
use crate::exit::{Status, failed};
use crate::output::table;

/// `berth plan`
pub async fn plan(context: &Context, args: PlanArgs) -> anyhow::Result<()> {
    let (request, advice) = match (args.of, args.file) {
        (Some(PlanCommand::Stop { target: job }), _) => {
            let request = match target::read(&job, &context.namespace)? {
                Target::Alloc(alloc) => PlanRequest::StopAlloc { alloc: alloc.into() },
                Target::Name(job) => PlanRequest::Stop { job: job.into() },
                Target::Node(id) => {
                    let message =
                        format!("{id} is a node: `berth plan drain {id}` tells what would become of its work");
                    return Err(failed(Status::Usage, message));
                }
            };
            (request, Some(format!("berth stop {job}")))
        }
        (Some(PlanCommand::Drain { nodes }), _) => {
            let advice = format!("berth drain {}", nodes.join(" "));
            (PlanRequest::Drain { nodes }, Some(advice))
        }
        (Some(PlanCommand::Policy { policy: file }), _) => {
            let spec = policy::read(&file)?;
            let request = PlanRequest::Policy { policy: policyfile::to_json(&spec) };
            (request, Some(format!("berth policy set {}", file.display())))
        }
        (Some(PlanCommand::Lose { nodes }), _) => (PlanRequest::Lose { nodes }, None),
        (None, Some(file)) => {
            let spec = run::read(&file)?;
            (PlanRequest::Run { job: jobfile::to_json(&spec) }, Some(format!("berth run {}", file.display())))
        }
        (None, None) => return Err(failed(Status::Usage, "name a job file, or `stop`, `drain`, `lose` or `policy`")),
    };
    let plan = context.client.plan(&request).await?;
    context.format.show(&plan, |plan| text(plan, &context.namespace, advice.as_deref(), &request))
}

fn text(plan: &Plan, namespace: &Namespace, advice: Option<&str>, request: &PlanRequest) -> String {
    let mut text = if plan.changes.is_empty() && plan.waits.is_empty() {
        "nothing would change\n".to_owned()
    } else {
        changes(&plan.changes, namespace)
    };
    if !plan.waits.is_empty() {
        text += "\nleft waiting:\n";
        text.extend(plan.waits.iter().map(|wait| waiting(wait, namespace)));
    }
    if !plan.broken_budgets.is_empty() {
        text += "\nmore missing at once than allowed:\n";
        text.extend(plan.broken_budgets.iter().map(|budget| broken(budget, namespace)));
    }
    text += &format!("\n{}", utilisation(plan));
    if plan.end == PlanEnd::CutShort {
        text += "\nit goes on like this; plans end after so many steps\n";
    }
    text += &format!("\nplan {}, made on event {} of epoch {}\n", plan.id, plan.event, plan.epoch);
    match (advice, request) {
        (Some(advice), PlanRequest::Run { .. }) => {
            text + &format!("just this or nothing: {advice} --plan-id {}\n", plan.id)
        }
        (Some(advice), _) => text + &format!("to do it: {advice}\n"),
        (None, _) => text,
    }
}

fn changes(changes: &[PlannedChange], namespace: &Namespace) -> String {
    let row = |change: &PlannedChange| {
        [
            change.wave.to_string(),
            word(change.kind).to_owned(),
            instance(&change.job, &format!("{}[{}]", change.group, change.index), namespace),
            change.version.to_string(),
            change.alloc.as_ref().map(ToString::to_string).unwrap_or_default(),
            node(change.from.as_ref()),
            node(change.to.as_ref()),
            ports(&change.ports),
        ]
    };
    table(["WAVE", "WHAT", "INSTANCE", "VERSION", "OLD", "FROM", "TO", "PORTS"], changes.iter().map(row))
}

fn word(kind: PlannedKind) -> &'static str {
    match kind {
        PlannedKind::Start => "start",
        PlannedKind::Replace => "replace",
        PlannedKind::Move => "move",
        PlannedKind::Stop => "stop",
    }
}

/// A job's name where it is of the namespace that is meant, and its full name otherwise.
fn instance(job: &JobId, rest: &str, namespace: &Namespace) -> String {
    let job = if job.0.namespace == *namespace { job.0.name.to_string() } else { job.to_string() };
    format!("{job}.{rest}")
}

fn node(node: Option<&NodeRef>) -> String {
    let Some(node) = node else { return String::new() };
    node.name.as_ref().map_or_else(|| node.id.to_string(), ToString::to_string)
}

fn ports(ports: &BTreeMap<PortName, u16>) -> String {
    ports.iter().map(|(name, port)| format!("{name}={port}")).collect::<Vec<_>>().join(" ")
}

fn waiting(wait: &PlannedWait, namespace: &Namespace) -> String {
    let on = wait.bound_to.as_ref().map(|bound| format!(" on {}", node(Some(bound)))).unwrap_or_default();
    let old = wait.alloc.as_ref().map(|old| format!(", in the place of {old}")).unwrap_or_default();
    let name = instance(&wait.job, &format!("{}[{}]", wait.group, wait.index), namespace);
    format!("  {name}{on}{old}: {}\n", wait.reason)
}

fn broken(budget: &BrokenBudget, namespace: &Namespace) -> String {
    let name = instance(&budget.job, budget.group.0.as_str(), namespace);
    format!("  {name}: {} at once, {} allowed\n", budget.missing, budget.allowed)
}

fn utilisation(plan: &Plan) -> String {
    let row = |when: &str, of: &Utilisation, regret: Option<&Number>| {
        let (used, all): (Resources, Resources) = (of.used.clone().into(), of.capacity.clone().into());
        [
            when.to_owned(),
            of.nodes.to_string(),
            format!("{} of {}", used.cpu, all.cpu),
            format!("{} of {}", used.memory, all.memory),
            format!("{} of {}", used.disk, all.disk),
            regret.map_or("not known".to_owned(), |permille| format!("{}.{} %", permille.0 / 10, permille.0 % 10)),
        ]
    };
    let before = row("before", &plan.before, plan.regret_permille_before.as_ref());
    let after = row("after", &plan.after, plan.regret_permille_after.as_ref());
    table(["PROMISED", "NODES", "CPU", "MEMORY", "DISK", "REGRET"], [before, after])
}

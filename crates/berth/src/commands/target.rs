//! What a person names on the command line: an allocation, a node or a job.

use berth_api::client::{AllocFilter, ClientError};
use berth_api::wire::v1::{Alloc, AllocState, ErrorKind};
use berth_model::{AllocId, JobId, JobName, Namespace, NodeId, TaskName};

use super::Context;

use crate::exit::{Status, failed};

/// What a text can mean. Ids cannot be mistaken for one another; a name is a job's or a node's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `a1-7`
    Alloc(AllocId),
    /// `n1-2`
    Node(NodeId),
    /// Anything else that is a name.
    Name(JobId),
}

/// Reads a target. `namespace/name` names a job of another namespace.
pub fn read(text: &str, namespace: &Namespace) -> anyhow::Result<Target> {
    if let Ok(alloc) = text.parse() {
        return Ok(Target::Alloc(alloc));
    }
    if let Ok(node) = text.parse() {
        return Ok(Target::Node(node));
    }
    let (namespace, name) = match text.split_once('/') {
        Some((namespace, name)) => (namespace.parse().map_err(|e| failed(Status::Usage, format!("{e}")))?, name),
        None => (namespace.clone(), text),
    };
    let name: JobName = name.parse().map_err(|error| failed(Status::Usage, format!("{error}")))?;
    Ok(Target::Name(JobId { namespace, name }))
}

/// Whether the cluster said that there is no such object.
pub fn is_not_found(error: &anyhow::Error) -> bool {
    let refusal = error.downcast_ref::<ClientError>().and_then(ClientError::refusal);
    refusal.is_some_and(|refusal| refusal.kind == ErrorKind::NotFound)
}

/// The allocations of a job, in order of ids.
pub async fn job_allocs(context: &Context, job: &JobId) -> anyhow::Result<Vec<Alloc>> {
    Ok(context.client.allocs(&AllocFilter { job: Some(job.clone()), ..AllocFilter::default() }).await?)
}

/// The one allocation that is meant: by its id, or the one that a job has or had last.
pub async fn one_alloc(context: &Context, text: &str) -> anyhow::Result<Alloc> {
    let job = match read(text, &context.namespace)? {
        Target::Alloc(id) => return Ok(context.client.alloc(id).await?),
        Target::Name(job) => job,
        Target::Node(id) => {
            return Err(failed(Status::Usage, format!("{id} is a node: name an allocation or a job")));
        }
    };
    the_one(&job, job_allocs(context, &job).await?)
}

/// The only one that runs; else the only one that has not ended; else, where all have, the newest.
fn the_one(job: &JobId, allocs: Vec<Alloc>) -> anyhow::Result<Alloc> {
    let is_running = |alloc: &Alloc| matches!(alloc.state, AllocState::Running { .. });
    let (mut running, others): (Vec<Alloc>, Vec<Alloc>) = allocs.into_iter().partition(is_running);
    let has_ended = |alloc: &Alloc| matches!(alloc.state, AllocState::Ended { .. });
    let (mut ended, mut live): (Vec<Alloc>, Vec<Alloc>) = others.into_iter().partition(has_ended);
    match (running.len(), live.len()) {
        (1, _) => Ok(running.remove(0)),
        (0, 1) => Ok(live.remove(0)),
        (0, 0) => ended.pop().ok_or_else(|| failed(Status::NotFound, format!("{job} has no allocations"))),
        (_, _) => {
            running.append(&mut live);
            let ids: Vec<String> = running.iter().map(|alloc| alloc.id.to_string()).collect();
            let message = format!("{job} has {} allocations; name one of them: {}", ids.len(), ids.join(", "));
            Err(failed(Status::Usage, message))
        }
    }
}

/// The one task that is meant.
pub fn one_task(alloc: &Alloc, name: Option<&str>) -> anyhow::Result<TaskName> {
    let names: Vec<&TaskName> = alloc.tasks.keys().map(|name| &name.0).collect();
    let listed = || names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    match (name, names.as_slice()) {
        (Some(name), names) => {
            let found = names.iter().find(|task| task.as_str() == name);
            found.map(|task| (*task).clone()).ok_or_else(|| {
                failed(Status::NotFound, format!("{} has no task `{name}`; it has: {}", alloc.id, listed()))
            })
        }
        (None, [only]) => Ok((*only).clone()),
        (None, []) => Err(failed(Status::NotFound, format!("{} has not started any task yet", alloc.id))),
        (None, _) => {
            Err(failed(Status::Usage, format!("{} has several tasks; --task names one: {}", alloc.id, listed())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Allocations of one job, by what they are, with ids that count from 1.
    fn allocs(states: &[&str]) -> Vec<Alloc> {
        let placement = json!({
            "node": {"id": "n1-1"}, "ports": {}, "decision": "d1-1",
            "explanation": {"policy": "spread", "considered": 1, "filtered": [], "chosen": []},
        });
        let cause = json!({"kind": "command", "command": "c1-1"});
        let time = "2026-01-01T00:00:00Z";
        let state = |kind: &str| match kind {
            "waiting" => json!({"kind": kind, "since": time, "reason": {"kind": "queued"}}),
            "ended" => json!({"kind": kind, "at": time, "outcome": {"kind": "stopped"}, "cause": cause}),
            _ => json!({"kind": kind, "since": time, "placement": placement}),
        };
        let alloc = |(n, kind): (usize, &&str)| {
            json!({
                "id": format!("a1-{}", n + 1), "job": "default/web", "version": "1", "group": "g", "index": 0,
                "failures": 0, "created": time, "cause": cause, "state": state(kind), "tasks": {},
            })
        };
        states.iter().enumerate().map(|all| serde_json::from_value(alloc(all)).unwrap()).collect()
    }

    #[test]
    fn the_one_that_runs_is_meant_and_the_ended_are_not_offered() {
        let job = JobId { namespace: Namespace::default(), name: "web".parse().unwrap() };
        let chosen = |states: &[&str]| the_one(&job, allocs(states)).map(|alloc| alloc.id.to_string());
        let cases: [(&[&str], &str); 4] = [
            (&["ended", "running", "ended"], "a1-2"),
            (&["running", "waiting"], "a1-1"),
            (&["ended", "waiting"], "a1-2"),
            (&["ended", "ended"], "a1-2"),
        ];
        for (states, id) in cases {
            assert_eq!(chosen(states).unwrap(), id, "{states:?}");
        }
        let told = chosen(&["ended", "waiting", "running", "running"]).unwrap_err().to_string();
        assert_eq!(told, "default/web has 3 allocations; name one of them: a1-3, a1-4, a1-2");
        assert_eq!(chosen(&[]).unwrap_err().to_string(), "default/web has no allocations");
    }
}

//! A specification inside other messages: it travels as the JSON of a job file, so that there is one form of it.

use berth_model as model;

use crate::jobfile;

/// Why a specification that came over the wire is not one.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// It is not a job file.
    #[error("it is not a job file")]
    JobFile(#[source] jobfile::JobFileErrors),
    /// It has not exactly one group.
    #[error("it has {groups} groups where one is expected")]
    Groups {
        /// How many.
        groups: usize,
    },
}

/// The job file of one group alone.
pub fn group_to_json(job: &model::JobId, kind: model::JobKind, group: &model::GroupSpec) -> serde_json::Value {
    jobfile::to_json(&model::JobSpec {
        id: job.clone(),
        kind,
        priority: model::Priority(50),
        preemptible: model::Preemptible::Yes,
        constraints: Vec::new(),
        groups: vec![group.clone()],
        meta: Default::default(),
    })
}

/// The kind and the only group of a job file.
pub fn group_from_json(spec: serde_json::Value) -> Result<(model::JobKind, model::GroupSpec), SpecError> {
    let mut spec = jobfile::from_json(&spec).map_err(SpecError::JobFile)?;
    match (spec.groups.pop(), spec.groups.len()) {
        (Some(group), 0) => Ok((spec.kind, group)),
        (_, others) => Err(SpecError::Groups { groups: others + 1 }),
    }
}

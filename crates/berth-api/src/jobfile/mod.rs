//! Job files: YAML or JSON text to a complete [`JobSpec`], and back to JSON.
//!
//! There is one schema ([`JobFile`]): people write it as YAML, clients post it as JSON, and the JSON
//! Schema and the OpenAPI document are generated from it. Nothing here knows what a cluster holds: whether
//! a node fits or an image exists is asked elsewhere.

mod build;
mod decode;
mod error;
mod hint;
mod image;
mod json;
pub mod policy;
mod schema;
mod show;
mod tree;
mod values;

use std::cell::RefCell;
use std::rc::Rc;

use berth_model::{JobSpec, limits};
use serde::de::{Deserialize, DeserializeOwned};
use utoipa::{PartialSchema, ToSchema};

pub use error::{JobFileError, JobFileErrors, MAX_ERRORS};
pub use schema::{
    AffinityFile, At, AtMostFile, ConstraintFile, DeviceFile, DriverFile, GroupFile, JobFile, KillFile, KindFile,
    NetworkFile, OnPartitionFile, OperatorFile, PreferenceFile, ResourcesFile, RestartFile, SpreadFile, Table,
    TaskFile, UpdateFile,
};
pub use values::{Bandwidth, Cpu, Duration, PortNumber, Share, Size};

use decode::Reader;
use error::{Fault, Faults, Place};
use tree::Node;

/// What stands for the file's name in the errors of a posted job.
const REQUEST: &str = "job";

/// The job that a YAML or JSON text means, every default filled in, or everything that is wrong with it.
pub fn parse(file_name: &str, text: &str) -> Result<JobSpec, JobFileErrors> {
    let mut faults = Faults::default();
    let root = tree::of_yaml(text, tree::JOB, &mut faults);
    let spec = read(root, faults).and_then(|spec| written_out(spec, Place { line: 1, column: 1, ..Place::default() }));
    spec.map_err(|faults| faults.finish(file_name, Some(text)))
}

/// The job that a JSON text means: the same schema as a file's, with paths instead of lines in its errors.
pub fn parse_json(text: &str) -> Result<JobSpec, JobFileErrors> {
    let spec = read(tree::of_json_text(text, tree::JOB), Faults::default())
        .and_then(|spec| written_out(spec, Place::default()));
    spec.map_err(|faults| faults.finish(REQUEST, None))
}

/// The job that a JSON value means, as [`to_json`] makes it.
pub fn from_json(value: &serde_json::Value) -> Result<JobSpec, JobFileErrors> {
    read(tree::of_json(value), Faults::default()).map_err(|faults| faults.finish(REQUEST, None))
}

/// The job as JSON, with nothing left to defaults; itself a valid job file.
pub fn to_json(spec: &JobSpec) -> serde_json::Value {
    serde_json::to_value(show::job(spec)).expect("the schema's types have text keys only")
}

/// Passes a job that can travel and be kept: with every default written out it is not too large either.
fn written_out(spec: JobSpec, place: Place) -> Result<JobSpec, Faults> {
    let bytes = to_json(&spec).to_string().len();
    if bytes <= limits::JOB_BYTES {
        return Ok(spec);
    }
    let most = limits::JOB_BYTES;
    let message = format!("the job has {bytes} bytes with its defaults written out, of {most}: split it into several");
    let mut faults = Faults::default();
    faults.add(place, Fault { place: None, message, nearest: None });
    Err(faults)
}

fn read(root: Result<Rc<Node>, Fault>, faults: Faults) -> Result<JobSpec, Faults> {
    let (file, faults) = shaped::<JobFile>(root, faults)?;
    build::job(file, faults)
}

/// A tree as a file's types, and what was wrong with it so far.
fn shaped<T: DeserializeOwned>(root: Result<Rc<Node>, Fault>, faults: Faults) -> Result<(At<T>, Faults), Faults> {
    let faults = RefCell::new(faults);
    let file = match root {
        Ok(root) => At::<T>::deserialize(Reader { node: &root, path: String::new(), faults: &faults }),
        Err(fault) => Err(fault),
    };
    let mut faults = faults.into_inner();
    match file {
        Ok(file) => Ok((file, faults)),
        Err(fault) => {
            faults.add(Place::default(), fault);
            Err(faults)
        }
    }
}

/// The JSON Schema (2020-12) of a job file.
pub fn json_schema() -> serde_json::Value {
    let mut parts = Vec::new();
    JobFile::schemas(&mut parts);
    parts.sort_by(|a, b| a.0.cmp(&b.0));
    let defs: serde_json::Map<String, serde_json::Value> =
        parts.into_iter().map(|(name, schema)| (name, plain(schema))).collect();
    let mut root = plain(JobFile::schema());
    let top = root.as_object_mut().expect("a struct's schema is an object");
    top.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
    top.insert("title".to_owned(), "Berth job file".into());
    top.insert("$defs".to_owned(), defs.into());
    root
}

/// A schema as JSON, in the words of JSON Schema where OpenAPI's differ.
fn plain(schema: utoipa::openapi::RefOr<utoipa::openapi::Schema>) -> serde_json::Value {
    let mut value = serde_json::to_value(schema).expect("a schema has text keys only");
    translate(&mut value);
    value
}

/// References point to JSON Schema's place of definitions, an `example` becomes `examples`, and a default of
/// nothing, which is how the derived schema tells of an absent field, goes.
fn translate(value: &mut serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            if map.get("default").is_some_and(Value::is_null) {
                map.remove("default");
            }
            if let Some(example) = map.remove("example") {
                map.insert("examples".to_owned(), Value::Array(vec![example]));
            }
            if let Some(Value::String(target)) = map.get_mut("$ref") {
                *target = target.replace("#/components/schemas/", "#/$defs/");
            }
            map.iter_mut().filter(|(key, _)| *key != "examples").for_each(|(_, below)| translate(below));
        }
        Value::Array(items) => items.iter_mut().for_each(translate),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

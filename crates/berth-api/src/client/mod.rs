//! The HTTP client: typed calls for users, and the streams of agents.
//!
//! Every call that can be repeated safely is, a few times, when the server cannot be reached or is busy; a command
//! carries the caller's idempotency key, so that a repetition is answered and not done again.

mod agent;
mod call;
mod error;
mod follow;
mod session;
mod target;
mod trust;

pub use agent::*;
pub use error::*;
pub use follow::*;
pub use session::*;
pub use target::*;
pub use trust::*;

use berth_model::{AllocId, IdempotencyKey, JobId, JobSpec, Namespace, PlanId, PolicySpec, PolicyVersion};
use call::{Call, path_segment};
use reqwest::Method;

use crate::jobfile;
use crate::wire::v1 as wire;

/// A key for one new command.
pub fn new_key() -> IdempotencyKey {
    IdempotencyKey(uuid::Uuid::new_v4().to_string())
}

/// Which allocations are asked for; what is none does not narrow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllocFilter {
    /// Of this namespace.
    pub namespace: Option<Namespace>,
    /// Of this job.
    pub job: Option<JobId>,
    /// On this node, given by id or name.
    pub node: Option<String>,
}

/// Which events are asked for; what is none does not narrow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// About this job and its allocations.
    pub job: Option<JobId>,
    /// About this allocation.
    pub alloc: Option<AllocId>,
    /// From where on.
    pub from: wire::EventsFrom,
}

/// A client of a cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    target: Target,
    http: reqwest::Client,
}

impl Client {
    /// A client of the servers that `target` names. Nothing is sent yet.
    pub fn new(target: Target) -> Result<Client, ClientError> {
        let http = target.http_client()?;
        Ok(Client { target, http })
    }

    /// The servers.
    pub fn target(&self) -> &Target {
        &self.target
    }

    fn call<'a>(&'a self, operation: &'static str, method: Method, path: &str) -> Call<'a> {
        Call::new(&self.http, &self.target, operation, method, path)
    }

    /// Makes the job be as specified.
    pub async fn run_job(&self, spec: &JobSpec, key: &IdempotencyKey) -> Result<wire::CommandOutcome, ClientError> {
        let call = self.call("run job", Method::POST, "/v1/jobs").key(key);
        call.json(&jobfile::to_json(spec)).fetch().await
    }

    /// The same, if it would do what the plan says, and nothing otherwise.
    pub async fn run_job_as_planned(
        &self,
        spec: &JobSpec,
        plan: PlanId,
        key: &IdempotencyKey,
    ) -> Result<wire::CommandOutcome, ClientError> {
        let call = self.call("run job", Method::POST, "/v1/jobs").key(key).query("plan", Some(plan.to_string()));
        call.json(&jobfile::to_json(spec)).fetch().await
    }

    /// What a change would do.
    pub async fn plan(&self, request: &wire::PlanRequest) -> Result<wire::Plan, ClientError> {
        let body = serde_json::to_value(request).expect("a request for a plan is plain data");
        self.call("plan", Method::POST, "/v1/plan").json(&body).fetch().await
    }

    /// Stops a job.
    pub async fn stop_job(&self, job: &JobId, key: &IdempotencyKey) -> Result<wire::CommandOutcome, ClientError> {
        self.call("stop job", Method::DELETE, &format!("/v1/jobs/{job}")).key(key).fetch().await
    }

    /// Stops one allocation; a service's is replaced.
    pub async fn stop_alloc(&self, alloc: AllocId, key: &IdempotencyKey) -> Result<wire::CommandOutcome, ClientError> {
        self.call("stop allocation", Method::POST, &format!("/v1/allocs/{alloc}/stop")).key(key).fetch().await
    }

    /// Empties nodes.
    pub async fn drain(
        &self,
        request: &wire::DrainRequest,
        key: &IdempotencyKey,
    ) -> Result<wire::CommandOutcome, ClientError> {
        let body = serde_json::to_value(request).expect("a choice of nodes is plain data");
        self.call("drain nodes", Method::POST, "/v1/drain").key(key).json(&body).fetch().await
    }

    /// Lets nodes take work again.
    pub async fn enable(
        &self,
        request: &wire::EnableRequest,
        key: &IdempotencyKey,
    ) -> Result<wire::CommandOutcome, ClientError> {
        let body = serde_json::to_value(request).expect("a choice of nodes is plain data");
        self.call("enable nodes", Method::POST, "/v1/enable").key(key).json(&body).fetch().await
    }

    /// Gives up what is kept on lost nodes.
    pub async fn abandon(
        &self,
        request: &wire::AbandonRequest,
        key: &IdempotencyKey,
    ) -> Result<wire::CommandOutcome, ClientError> {
        let body = serde_json::to_value(request).expect("a choice of nodes is plain data");
        self.call("abandon nodes", Method::POST, "/v1/abandon").key(key).json(&body).fetch().await
    }

    /// Has what is stored be written in the newest format that the leader knows.
    pub async fn finalise(&self, key: &IdempotencyKey) -> Result<wire::CommandOutcome, ClientError> {
        self.call("finalise", Method::POST, "/v1/finalise").key(key).fetch().await
    }

    /// The jobs, of one namespace or of all.
    pub async fn jobs(&self, namespace: Option<&Namespace>) -> Result<Vec<wire::JobSummary>, ClientError> {
        self.pages("list jobs", "/v1/jobs", &[("namespace", namespace.map(Namespace::to_string))]).await
    }

    /// One job.
    pub async fn job(&self, job: &JobId) -> Result<wire::Job, ClientError> {
        self.call("show job", Method::GET, &format!("/v1/jobs/{job}")).fetch().await
    }

    /// Allocations.
    pub async fn allocs(&self, filter: &AllocFilter) -> Result<Vec<wire::Alloc>, ClientError> {
        let query = [
            ("namespace", filter.namespace.as_ref().map(Namespace::to_string)),
            ("job", filter.job.as_ref().map(JobId::to_string)),
            ("node", filter.node.clone()),
        ];
        self.pages("list allocations", "/v1/allocs", &query).await
    }

    /// One allocation.
    pub async fn alloc(&self, alloc: AllocId) -> Result<wire::Alloc, ClientError> {
        self.call("show allocation", Method::GET, &format!("/v1/allocs/{alloc}")).fetch().await
    }

    /// The nodes.
    pub async fn nodes(&self) -> Result<Vec<wire::Node>, ClientError> {
        self.pages("list nodes", "/v1/nodes", &[]).await
    }

    /// One node, by id or name.
    pub async fn node(&self, node: &str) -> Result<wire::Node, ClientError> {
        self.call("show node", Method::GET, &format!("/v1/nodes/{}", path_segment(node))).fetch().await
    }

    /// A page of the ledger, oldest first.
    pub async fn events(&self, filter: &EventFilter) -> Result<wire::Page<wire::Event>, ClientError> {
        event_query(self.call("list events", Method::GET, "/v1/events"), filter).fetch().await
    }

    /// The ledger as it is written, from where `filter` says.
    pub async fn follow_events(&self, filter: &EventFilter) -> Result<EventStream, ClientError> {
        let call = event_query(self.call("follow events", Method::GET, "/v1/events"), filter).streaming();
        EventStream::new(self.clone(), filter.clone(), call.accept("text/event-stream").send().await?)
    }

    /// Why an allocation is where it is.
    pub async fn why_alloc(&self, alloc: AllocId) -> Result<wire::WhyAlloc, ClientError> {
        self.call("ask why", Method::GET, &format!("/v1/why/allocs/{alloc}")).fetch().await
    }

    /// Why a job stands where it stands.
    pub async fn why_job(&self, job: &JobId) -> Result<wire::WhyJob, ClientError> {
        self.call("ask why", Method::GET, &format!("/v1/why/jobs/{job}")).fetch().await
    }

    /// The cluster at a glance.
    pub async fn status(&self) -> Result<wire::Status, ClientError> {
        self.call("show status", Method::GET, "/v1/status").fetch().await
    }

    /// Who leads, as the server that is asked knows.
    pub async fn leader(&self) -> Result<wire::Leader, ClientError> {
        self.call("ask who leads", Method::GET, "/v1/leader").fetch().await
    }

    /// The policy by which is placed.
    pub async fn policy(&self) -> Result<wire::Policy, ClientError> {
        self.call("show policy", Method::GET, "/v1/policy").fetch().await
    }

    /// Has everything be placed by this policy from now on; refused where a version holds that is not `after`.
    pub async fn set_policy(
        &self,
        spec: &PolicySpec,
        after: Option<PolicyVersion>,
        key: &IdempotencyKey,
    ) -> Result<wire::CommandOutcome, ClientError> {
        let call = self.call("set policy", Method::PUT, "/v1/policy").key(key);
        let call = call.query("check_version", after.map(|version| version.to_string()));
        call.json(&jobfile::policy::to_json(spec)).fetch().await
    }

    /// The log lines of a task.
    pub async fn logs(&self, request: &wire::LogsRequest) -> Result<LogLines, ClientError> {
        let call = self.call("read logs", Method::GET, &format!("/v1/allocs/{}/logs", request.alloc));
        let streams = match request.streams {
            wire::LogStreams::Both => None,
            wire::LogStreams::Stdout => Some("stdout".to_owned()),
            wire::LogStreams::Stderr => Some("stderr".to_owned()),
        };
        let last = match request.from {
            wire::LogsFrom::Oldest => None,
            wire::LogsFrom::Last { lines } => Some(lines.to_string()),
        };
        let call = call
            .query("task", Some(request.task.to_string()))
            .query("streams", streams)
            .query("last", last)
            .query("follow", request.follow.then(|| "true".to_owned()));
        Ok(LogLines::new(call.streaming().send().await?, self.target.addr()))
    }

    /// A process beside a task, with its input and output.
    pub async fn exec(&self, request: &wire::ExecRequest) -> Result<Session, ClientError> {
        Session::open(&self.target, request).await
    }

    async fn pages<T>(
        &self,
        operation: &'static str,
        path: &str,
        query: &[(&str, Option<String>)],
    ) -> Result<Vec<T>, ClientError>
    where
        T: serde::de::DeserializeOwned + utoipa::ToSchema,
    {
        let mut items = Vec::new();
        let mut after = None;
        loop {
            let mut call = self.call(operation, Method::GET, path).query("after", after);
            for (name, value) in query {
                call = call.query(name, value.clone());
            }
            let page: wire::Page<T> = call.fetch().await?;
            items.extend(page.items);
            after = page.next;
            if after.is_none() {
                return Ok(items);
            }
        }
    }
}

fn event_query<'a>(call: Call<'a>, filter: &EventFilter) -> Call<'a> {
    let after = match &filter.from {
        wire::EventsFrom::Oldest => None,
        wire::EventsFrom::After(id) => Some(id.to_string()),
        wire::EventsFrom::Now => Some("now".to_owned()),
    };
    call.query("job", filter.job.as_ref().map(JobId::to_string))
        .query("alloc", filter.alloc.map(|alloc| alloc.to_string()))
        .query("after", after)
}

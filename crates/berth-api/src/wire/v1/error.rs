//! Errors as they travel: a kind for programs, a message for people, a place and a remedy where there is one.

use berth_model as model;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorInfo,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorInfo {
    /// The kind, for programs.
    pub kind: ErrorKind,
    /// What happened, for people.
    pub message: String,
    /// Where in what was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Where the server is that leads, where only that one can do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
}

/// The kinds of error. Each has one HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// 400: the request cannot be understood.
    BadRequest,
    /// 401: no token, or a wrong one.
    Unauthorized,
    /// 403: the principal may not do this.
    Forbidden,
    /// 404: no such path or object.
    NotFound,
    /// 405: the path has no such method.
    MethodNotAllowed,
    /// 408: the request did not arrive in time.
    RequestTimeout,
    /// 409: the idempotency key was used for another command, what was to be changed is of another version, or
    /// something in the cluster stands in the way.
    Conflict,
    /// 409: the command would not do any more what its plan says.
    PlanChanged,
    /// 413: the body is too large.
    TooLarge,
    /// 415: the body is of a type that this path does not take.
    UnsupportedMediaType,
    /// 421: only the server that leads can do it, and it is another one: see `leader`.
    NotLeader,
    /// 422: the specification breaks a rule.
    Invalid,
    /// 429: too much at once; ask again later.
    Overloaded,
    /// 500: a fault of the server's.
    Internal,
    /// 503: the server cannot do it now; ask again.
    Unavailable,
    /// 504: an agent did not answer in time.
    AgentTimeout,
}

impl ErrorKind {
    /// Its HTTP status.
    pub fn status(self) -> u16 {
        match self {
            ErrorKind::BadRequest => 400,
            ErrorKind::Unauthorized => 401,
            ErrorKind::Forbidden => 403,
            ErrorKind::NotFound => 404,
            ErrorKind::MethodNotAllowed => 405,
            ErrorKind::RequestTimeout => 408,
            ErrorKind::Conflict | ErrorKind::PlanChanged => 409,
            ErrorKind::TooLarge => 413,
            ErrorKind::UnsupportedMediaType => 415,
            ErrorKind::NotLeader => 421,
            ErrorKind::Invalid => 422,
            ErrorKind::Overloaded => 429,
            ErrorKind::Internal => 500,
            ErrorKind::Unavailable => 503,
            ErrorKind::AgentTimeout => 504,
        }
    }

    /// Whether the same request may succeed later, unchanged.
    pub fn is_transient(self) -> bool {
        match self {
            ErrorKind::RequestTimeout | ErrorKind::NotLeader | ErrorKind::Overloaded | ErrorKind::Unavailable => true,
            ErrorKind::BadRequest
            | ErrorKind::Unauthorized
            | ErrorKind::Forbidden
            | ErrorKind::NotFound
            | ErrorKind::MethodNotAllowed
            | ErrorKind::Conflict
            | ErrorKind::PlanChanged
            | ErrorKind::TooLarge
            | ErrorKind::UnsupportedMediaType
            | ErrorKind::Invalid
            | ErrorKind::Internal
            | ErrorKind::AgentTimeout => false,
        }
    }
}

impl ErrorInfo {
    /// An error without place and remedy.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> ErrorInfo {
        ErrorInfo { kind, message: message.into(), place: None, remedy: None, leader: None }
    }

    /// The same with a place.
    pub fn at(mut self, place: impl Into<String>) -> ErrorInfo {
        self.place = Some(place.into());
        self
    }

    /// The same with a remedy.
    pub fn remedy(mut self, remedy: impl Into<String>) -> ErrorInfo {
        self.remedy = Some(remedy.into());
        self
    }
}

impl std::fmt::Display for ErrorInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

/// Why a machine may not join.
fn join(why: model::JoinRefusal) -> ErrorInfo {
    let anew = "make a token for this machine with `berth token create`";
    let (message, remedy) = match why {
        model::JoinRefusal::UnknownToken => ("the cluster knows no such join token".to_owned(), anew),
        model::JoinRefusal::Expired { at } => (format!("the join token expired at {}", Time(at)), anew),
        model::JoinRefusal::Used { at } => {
            let message = format!("the join token was used by another machine at {}", Time(at));
            (message, "make another one with `berth token create`; if nobody should have used it, see `berth events`")
        }
        model::JoinRefusal::OtherRole { role } => (format!("the join token is for the role `{role}`"), anew),
        model::JoinRefusal::OtherNode => ("the join token is for another node".to_owned(), anew),
        model::JoinRefusal::NameTaken => (
            "a node of this name is in the cluster, with another key".to_owned(),
            "give this one another name; or, if it takes the other one's place, make a token that names it, with \
             `berth token create --node NAME`",
        ),
    };
    ErrorInfo::new(ErrorKind::Forbidden, message).at("body.token").remedy(remedy)
}

impl From<model::Refusal> for ErrorInfo {
    fn from(refusal: model::Refusal) -> ErrorInfo {
        match refusal {
            model::Refusal::NotAuthorized { needed } => {
                ErrorInfo::new(ErrorKind::Forbidden, format!("not allowed: this needs {needed}"))
                    .remedy("ask an operator for a token that may do this")
            }
            model::Refusal::NoSuchJob(job) => ErrorInfo::new(ErrorKind::NotFound, format!("no job {job}"))
                .remedy("`berth status` lists the jobs; old ones are forgotten after a while"),
            model::Refusal::NoSuchAlloc(alloc) => ErrorInfo::new(ErrorKind::NotFound, format!("no allocation {alloc}"))
                .remedy("`berth status JOB` lists the allocations of a job; old ones are forgotten after a while"),
            model::Refusal::NoSuchNode(node) => ErrorInfo::new(ErrorKind::NotFound, format!("no node {node}"))
                .remedy("`berth node list` lists the nodes"),
            model::Refusal::KeyReused { command } => ErrorInfo::new(
                ErrorKind::Conflict,
                format!("the idempotency key was used for another request before, command {command}"),
            )
            .at("header Idempotency-Key")
            .remedy("make a new key for each new request"),
            model::Refusal::Invalid { place, problem, remedy } => {
                ErrorInfo::new(ErrorKind::Invalid, problem).at(place).remedy(remedy)
            }
            model::Refusal::PlanChanged { plan, now } => ErrorInfo::new(
                ErrorKind::PlanChanged,
                format!("the cluster has changed since plan {plan}: the command would now do what plan {now} says"),
            )
            .remedy("look at it again with `berth plan`, and run it under the id of the new plan"),
            model::Refusal::PolicyChanged { version } => {
                ErrorInfo::new(ErrorKind::Conflict, format!("the policy is of version {version}: somebody changed it"))
                    .at("query")
                    .remedy("look at what holds now with `berth policy show`, and name its version")
            }
            model::Refusal::Join(why) => join(why),
            model::Refusal::NoSuchMember(node) => {
                ErrorInfo::new(ErrorKind::NotFound, format!("no node {node} is in the cluster"))
                    .remedy("`berth node list` lists the nodes; one that was shut out is not in any more")
            }
            model::Refusal::NoSuchAuthority(authority) => {
                ErrorInfo::new(ErrorKind::NotFound, format!("no certificate authority {authority}"))
                    .remedy("`berth ca list` lists them")
            }
            model::Refusal::AuthorityChanged { signs } => {
                let signs = signs.map_or_else(|| "none".to_owned(), |signs| signs.to_string());
                ErrorInfo::new(ErrorKind::Conflict, format!("another certificate authority signs by now: {signs}"))
                    .remedy("`berth ca list` lists them; ask again if another one is still wanted")
            }
            model::Refusal::NotLeader => {
                ErrorInfo::new(ErrorKind::Unavailable, "this server does not lead, or has just lost the lead")
                    .remedy("ask again; the same idempotency key is safe")
            }
            model::Refusal::StoreUnavailable => ErrorInfo::new(
                ErrorKind::Unavailable,
                "the store failed; whether the command was carried out is not known",
            )
            .remedy(
                "ask again with the same idempotency key, and it is done once; if it goes on, look at the server's log",
            ),
            model::Refusal::Overloaded => {
                ErrorInfo::new(ErrorKind::Overloaded, "too many commands are waiting for the store")
                    .remedy("ask again later; the same idempotency key is safe")
            }
        }
    }
}

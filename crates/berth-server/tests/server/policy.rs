//! The policy over HTTP: shown, set, refused, and kept.

use berth_api::client::{ClientError, EventFilter, new_key};
use berth_api::jobfile::policy as policyfile;
use berth_api::wire::v1::{self as wire, ErrorBody, ErrorKind};
use berth_model::{BuiltIn, PolicyVersion, Term};
use berth_server::StoreKind;

use crate::cluster::Cluster;

#[tokio::test]
async fn a_policy_is_set_shown_and_refused_where_another_version_holds() {
    let cluster = Cluster::start(StoreKind::Memory).await;
    let client = &cluster.client;
    let shown = client.policy().await.unwrap();
    assert_eq!((shown.name.to_string(), shown.version.0, shown.changed), ("balanced".to_owned(), 0, None));
    assert_eq!(policyfile::parse_json(&shown.spec.to_string()).unwrap(), BuiltIn::Balanced.spec());

    let mut spec = BuiltIn::Balanced.spec();
    spec.name = "mine".parse().unwrap();
    spec.weights = spec.weights.with(Term::SameGroup, 800);
    spec.pools = [("tight".parse().unwrap(), BuiltIn::Pack.weights())].into();
    let key = new_key();
    let outcome = client.set_policy(&spec, Some(PolicyVersion(0)), &key).await.unwrap();
    let name = wire::PolicyName(spec.name.clone());
    assert_eq!(outcome, wire::CommandOutcome::Policy { name, version: wire::Number(1), changed: true });
    assert_eq!(client.set_policy(&spec, Some(PolicyVersion(0)), &key).await.unwrap(), outcome, "sent again");

    let shown = client.policy().await.unwrap();
    assert_eq!((shown.name.to_string(), shown.version.0), ("mine".to_owned(), 1));
    assert!(shown.changed.is_some() && matches!(shown.cause, Some(wire::Cause::Command { .. })));
    assert_eq!(policyfile::parse_json(&shown.spec.to_string()).unwrap(), spec);

    let refused = client.set_policy(&BuiltIn::Pack.spec(), Some(PolicyVersion(0)), &new_key()).await.unwrap_err();
    let ClientError::Refused { error, .. } = refused else { panic!("{refused}") };
    assert_eq!((error.kind, error.place.as_deref()), (ErrorKind::Conflict, Some("query")), "{error}");
    assert!(error.to_string().contains("the policy is of version 1"), "{error}");

    let events = client.events(&EventFilter::default()).await.unwrap().items;
    let told: Vec<String> = events.iter().map(|event| event.what.to_string()).collect();
    assert!(told.iter().any(|line| line == "policy mine holds, as version 1"), "{told:#?}");
    cluster.stop().await;
}

#[tokio::test]
async fn faults_of_a_policy_file_are_told_with_their_place() {
    let cluster = Cluster::start(StoreKind::Memory).await;
    let put = |path: &str, media_type: &str, body: &str| {
        let request = reqwest::Client::new().put(cluster.url(path)).bearer_auth(&cluster.ready.token);
        request.header("Idempotency-Key", "k").header("Content-Type", media_type).body(body.to_owned()).send()
    };
    let (json, yaml) = ("application/json", "application/yaml");
    for (path, media_type, body, status, place, message) in [
        ("/v1/policy", json, r#"{"policy": "mine", "weights": {"spred": 1}}"#, 422, "weights", "unknown key `spred`"),
        ("/v1/policy", yaml, "policy: mine\nbase: tight\n", 422, "line 2, column 7", "expected one of `balanced`"),
        ("/v1/policy", json, "{", 422, "body", "the policy file is not JSON"),
        (
            "/v1/policy",
            "text/plain",
            "policy: mine",
            415,
            "header Content-Type",
            "a policy file is not of type text/plain",
        ),
        ("/v1/policy?check_version=x", json, "{}", 400, "query", "expected a whole number"),
    ] {
        let response = put(path, media_type, body).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{body}");
        let error = response.json::<ErrorBody>().await.unwrap().error;
        assert_eq!(error.place.as_deref(), Some(place), "{error}");
        assert!(error.message.contains(message) && (error.remedy.is_some() || status == 400), "{error}");
    }
    assert_eq!(cluster.client.policy().await.unwrap().version.0, 0);
    cluster.stop().await;
}

//! `berth policy`: by what nodes are chosen.

use std::path::Path;

use berth_api::client::new_key;
use berth_api::jobfile::policy as policyfile;
use berth_api::wire::v1::{CommandOutcome, Policy};
use berth_model::{BuiltIn, IdempotencyKey, PolicySpec, PolicyVersion};
use serde_json::Value;

use super::Context;
use super::run::text_of;
use crate::exit::{Status, failed};
use crate::output::table;

/// `berth policy show`
pub async fn show(context: &Context) -> anyhow::Result<()> {
    let policy = context.client.policy().await?;
    context.format.show(&policy, text)
}

/// `berth policy set`
pub async fn set(context: &Context, policy: &Path, after: Option<u64>, key: Option<String>) -> anyhow::Result<()> {
    let spec = read(policy)?;
    let key = key.map_or_else(new_key, IdempotencyKey);
    let outcome = context.client.set_policy(&spec, after.map(PolicyVersion), &key).await?;
    let CommandOutcome::Policy { name, version, changed } = &outcome else {
        anyhow::bail!("the server answered `policy set` with something else: {outcome:?}");
    };
    context.format.show(&outcome, |_| match changed {
        true => format!("policy {name} holds from now on, as version {version}\n"),
        false => format!("policy {name} holds already, as version {version}; nothing changed\n"),
    })
}

/// The policy of a file, or the one that Berth brings along by this name. A file of such a name is `./NAME`.
pub fn read(policy: &Path) -> anyhow::Result<PolicySpec> {
    if let Some(brought) = policy.to_str().and_then(BuiltIn::named) {
        return Ok(brought.spec());
    }
    let (name, text) = text_of(policy, "policy file")?;
    policyfile::parse(&name, &text).map_err(|errors| failed(Status::Usage, errors.to_string()))
}

fn text(policy: &Policy) -> String {
    let since = match &policy.changed {
        Some(changed) => format!("version {}, since {changed}", policy.version),
        None => "the server's setting".to_owned(),
    };
    let balance = match policy.spec["balance_max"].as_u64() {
        Some(most) => format!("services are moved where that gains, {most} at once at most\n"),
        None => String::new(),
    };
    let mut text = format!("policy {} ({since})\n{balance}\n", policy.name);
    let none = serde_json::Map::new();
    let weights = |of: &Value| of["weights"].as_object().unwrap_or(&none).clone();
    text += &rows(&weights(&policy.spec));
    for (pool, of) in policy.spec["pools"].as_object().unwrap_or(&none) {
        text += &format!("\nin pool {pool}\n\n{}", rows(&weights(of)));
    }
    text
}

fn rows(weights: &serde_json::Map<String, Value>) -> String {
    let counting = weights.iter().filter(|(_, weight)| **weight != 0);
    table(["TERM", "WEIGHT"], counting.map(|(term, weight)| [term.clone(), weight.to_string()]))
}

//! `berth token`, `berth ca`, `berth node revoke`: whom the cluster trusts.

use berth_api::client::new_key;
use berth_api::wire::v1::{CommandOutcome, Number, TokenRequest};
use berth_model::IdempotencyKey;

use super::Context;
use crate::args::{CaCommand, TokenArgs};
use crate::exit::{Status, failed};
use crate::output::{Format, table};

/// `berth token create`
pub async fn create_token(context: &Context, args: TokenArgs) -> anyhow::Result<()> {
    let request = TokenRequest {
        role: args.role.into(),
        node: args
            .node
            .map(|node| node.parse())
            .transpose()
            .map_err(|e| failed(Status::Usage, format!("--node: {e}")))?,
        life_ms: Some(Number(args.life.0.0)),
    };
    let token = context.client.make_token(&request, &new_key()).await?;
    context.format.show(&token, |token| format!("{}\n", token.token))?;
    if context.format == Format::Text {
        let whom = token.node.as_ref().map_or_else(String::new, |node| format!(" of node {node}"));
        eprintln!("good for one {}{whom} until {}; it is a secret", token.role, token.expires);
    }
    Ok(())
}

/// `berth ca …`
pub async fn ca(context: &Context, command: CaCommand) -> anyhow::Result<()> {
    match command {
        CaCommand::List => list(context).await,
        CaCommand::Rotate { idempotency_key } => {
            let key = idempotency_key.map_or_else(new_key, IdempotencyKey);
            let outcome = context.client.rotate_authority(&key).await?;
            show(context, &outcome)
        }
        CaCommand::Retire { authority, force } => {
            let id = authority.parse().map_err(|error| failed(Status::Usage, format!("{error}")))?;
            let outcome = context.client.retire_authority(id, force, &new_key()).await?;
            show(context, &outcome)
        }
    }
}

/// `berth node revoke`
pub async fn revoke(context: &Context, node: &str) -> anyhow::Result<()> {
    let outcome = context.client.revoke_node(node, &new_key()).await?;
    show(context, &outcome)
}

async fn list(context: &Context) -> anyhow::Result<()> {
    let authorities = context.client.authorities().await?;
    context.format.show(&authorities, |authorities| {
        if authorities.items.is_empty() {
            return "no certificate authority: the servers listen without TLS\n".to_owned();
        }
        table(
            ["AUTHORITY", "SIGNS", "UNTIL", "MADE"],
            authorities.items.iter().map(|of| {
                let signs = if of.signs { "yes" } else { "no" };
                [of.id.to_string(), signs.to_owned(), of.not_after.to_string(), format!("{} by {}", of.made, of.cause)]
            }),
        )
    })
}

fn show(context: &Context, outcome: &CommandOutcome) -> anyhow::Result<()> {
    let told = match outcome {
        CommandOutcome::AuthoritySigns { authority } => {
            format!("authority {authority} signs from now on; those before it stay believed until they are retired\n")
        }
        CommandOutcome::AuthorityRetired { authority } => format!("authority {authority} is believed no more\n"),
        CommandOutcome::NodeRevoked { name } => {
            format!(
                "node {name} is shut out, and its work goes elsewhere; what runs on the machine itself is not stopped\n"
            )
        }
        other => anyhow::bail!("the server answered with something else: {other:?}"),
    };
    context.format.show(outcome, |_| told)
}

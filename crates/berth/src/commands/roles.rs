//! The long-running roles: server, agent, and both in one process.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Context as _;
use berth_agent::{Access, Config as AgentConfig, Token};
use berth_api::client::{Client, Target, new_key};
use berth_api::wire::v1::{Role, TokenRequest};
use berth_server::Ready;
use tokio_util::sync::CancellationToken;

use super::believing;
use crate::args::{AgentArgs, DevArgs, ServerArgs};
use crate::config;
use crate::exit::{Status, failed};
use crate::output::print;

/// `berth server`
pub async fn server(args: ServerArgs) -> anyhow::Result<()> {
    let (config, taken) = config::server(&args).map_err(wrong)?;
    if args.config.print_config {
        return print(&taken.to_string());
    }
    // Its log says when it is ready.
    let (ready, _) = tokio::sync::oneshot::channel();
    berth_server::run(config, ready, until_signal()?).await.context("the server ended")
}

/// `berth agent`
pub async fn agent(args: AgentArgs) -> anyhow::Result<()> {
    let (config, taken) = config::agent(&args).map_err(wrong)?;
    if args.config.print_config {
        return print(&taken.to_string());
    }
    need_root("berth agent")?;
    berth_agent::run(config, until_signal()?).await.context("the agent ended")
}

/// An agent makes namespaces, mounts and control groups: without root it would take work and fail all of it.
fn need_root(role: &str) -> anyhow::Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let what = "tasks get namespaces, mounts and control groups of their own";
    Err(failed(Status::NotAllowed, format!("`{role}` needs root: {what}; run it with sudo")))
}

/// `berth dev`
pub async fn dev(args: DevArgs) -> anyhow::Result<()> {
    let (server, agent, taken) = config::dev(&args).map_err(wrong)?;
    if args.config.print_config {
        return print(&taken.to_string());
    }
    need_root("berth dev")?;
    let stop = until_signal()?;
    let (ready, told) = tokio::sync::oneshot::channel();
    let server = berth_server::run(server, ready, stop.clone());
    let agent = async {
        // The server says why it did not become ready.
        let Ok(server) = told.await else { return Ok(()) };
        let url = url_here(&server);
        tell_how_to_use(&url, &server)?;
        let access = access_for(&agent, &url, &server).await.context("the agent cannot join")?;
        let agent = config::reached_at(agent, url, access);
        berth_agent::run(agent, stop.clone()).await.context("the agent ended")
    };
    let (server, agent) = tokio::join!(
        async {
            let result = server.await;
            stop.cancel();
            result.context("the server ended")
        },
        async {
            let result = agent.await;
            if result.is_err() {
                stop.cancel();
            }
            result
        }
    );
    server.and(agent)
}

/// A setting that cannot be used.
pub fn wrong(settings: anyhow::Error) -> anyhow::Error {
    failed(Status::Usage, format!("{settings:#}"))
}

/// Where the server is reached on this machine.
fn url_here(server: &Ready) -> String {
    let scheme = if server.authorities_path.is_some() { "https" } else { "http" };
    let mut addr = server.addr;
    if addr.ip().is_unspecified() {
        addr.set_ip(if addr.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    format!("{scheme}://{addr}")
}

/// How the agent of the same process shows who it is: where there is TLS, it joins like any other.
async fn access_for(agent: &AgentConfig, url: &str, server: &Ready) -> anyhow::Result<Access> {
    let Some(authorities) = &server.authorities_path else {
        return Ok(Access::Token(Token::new(server.token.clone())));
    };
    let client = Client::new(Target::new(url, &server.token)?.with_tls(believing(authorities)?))?;
    // Whoever has the data folder of `berth dev` is the node: also where it was removed and made anew.
    let node = Some(agent.name.clone().into());
    let request = TokenRequest { role: Role::Agent, node, life_ms: None };
    let token = client.make_token(&request, &new_key()).await?;
    Ok(Access::Certificate { join: Some(token.token.parse()?) })
}

fn tell_how_to_use(url: &str, server: &Ready) -> anyhow::Result<()> {
    let authorities = server.authorities_path.as_ref();
    let authorities = authorities.map_or_else(String::new, |path| format!("export BERTH_CA={}\n  ", path.display()));
    let token_file = server.token_path.display();
    print(&format!(
        "berth dev is ready. In another terminal:\n\n  export BERTH_ADDR={url}\n  {authorities}\
         export BERTH_TOKEN=$(cat {token_file})\n  berth status\n\n"
    ))
}

/// Cancelled by the first SIGINT or SIGTERM. Tasks go on: a role's end is no end of theirs.
fn until_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        cancel.cancel();
    });
    Ok(token)
}

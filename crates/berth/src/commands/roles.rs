//! The long-running roles: server, agent, and both in one process.

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

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
        let url = format!("http://{}", server.addr);
        tell_how_to_use(&url, &server.token_path.display().to_string())?;
        let agent = config::reached_at(agent, url, server.token);
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

fn tell_how_to_use(url: &str, token_file: &str) -> anyhow::Result<()> {
    print(&format!(
        "berth dev is ready. In another terminal:\n\n  export BERTH_ADDR={url}\n  \
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

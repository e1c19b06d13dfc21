//! What each command does: asks the cluster through the API and shows what it says.

pub mod capture;
pub mod drain;
pub mod events;
pub mod exec;
mod finalise;
pub mod lab;
pub mod logs;
pub mod node;
pub mod plan;
pub mod policy;
pub mod replay;
pub mod roles;
pub mod run;
pub mod sim;
pub mod solve;
pub mod status;
pub mod stop;
pub mod store;
pub mod target;
pub mod trust;
pub mod why;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use berth_api::client::{Client, Target, Tls};
use berth_model::Namespace;
use berth_secrets::Trusted;
use berth_server::Clock;
use clap::CommandFactory;
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command, NodeCommand, PolicyCommand, SimCommand, TokenCommand};
use crate::exit::{Status, failed};
use crate::output::{Format, print};

/// Where a cluster is when nobody says.
const DEFAULT_ADDR: &str = "http://127.0.0.1:4600";

/// What a command needs to talk to the cluster.
pub struct Context {
    /// The cluster.
    pub client: Client,
    /// The namespace that is meant.
    pub namespace: Namespace,
    /// How to show things.
    pub format: Format,
}

impl Context {
    /// From flags and `BERTH_ADDR`, `BERTH_CA`, `BERTH_TOKEN`, `BERTH_NAMESPACE`.
    pub fn new(cli: &Cli) -> anyhow::Result<Context> {
        let addr = cli.addr.clone().or_else(|| variable("BERTH_ADDR")).unwrap_or_else(|| DEFAULT_ADDR.to_owned());
        let namespace = match cli.namespace.clone().or_else(|| variable("BERTH_NAMESPACE")) {
            Some(name) => name.parse().map_err(|error| failed(Status::Usage, format!("--namespace: {error}")))?,
            None => Namespace::default(),
        };
        let token = match variable("BERTH_TOKEN") {
            Some(token) => token,
            None => token_of_dev(),
        };
        let mut target = Target::new(&addr, &token)?;
        if let Some(file) = cli.ca.clone().or_else(|| variable("BERTH_CA").map(PathBuf::from)) {
            target = target.with_tls(believing(&file)?);
        }
        let client = Client::new(target)?;
        Ok(Context { client, namespace, format: format(cli) })
    }
}

/// A variable of the environment; one without a value counts as not set.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// How to show things.
pub fn format(cli: &Cli) -> Format {
    if cli.json { Format::Json } else { Format::Text }
}

/// Connections to servers that these authorities vouch for.
pub fn believing(authorities: &Path) -> anyhow::Result<Tls> {
    let text = std::fs::read_to_string(authorities);
    let text =
        text.with_context(|| format!("cannot read the authorities' certificates in {}", authorities.display()))?;
    let wrong = || failed(Status::Usage, format!("{} holds no certificates (PEM)", authorities.display()));
    let trusted = Trusted::authorities(berth_secrets::from_pem(&text).ok_or_else(wrong)?)?;
    Ok(Tls::new(berth_secrets::client_config(trusted, None, Arc::new(|| Clock::system().wall()))?))
}

/// The token of a `berth dev` of this machine, for whoever may read it; nothing otherwise.
fn token_of_dev() -> String {
    let path = PathBuf::from(crate::config::DEV_DATA_DIR).join("server/token");
    std::fs::read_to_string(path).map(|token| token.trim().to_owned()).unwrap_or_default()
}

/// Carries out what the command line asks for.
pub fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    // The first thing, since TLS panics without it.
    rustls::crypto::ring::default_provider().install_default().ok();
    start_log(&cli.command)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the async runtime")?;
    runtime.block_on(carry_out(cli))
}

/// Structured lines on standard error for the roles; `BERTH_LOG` chooses what: when unset, `info`
/// for server and agent, `warn` for everything else.
fn start_log(command: &Command) -> anyhow::Result<()> {
    let level = match command {
        Command::Server(_) | Command::Agent(_) => "info",
        // What it has to say of certificates, the error of the command says better.
        _ => "warn,rustls_platform_verifier=off",
    };
    let wanted = variable("BERTH_LOG").unwrap_or_else(|| level.to_owned());
    let filter = EnvFilter::builder().parse(&wanted).map_err(|error| {
        failed(Status::Usage, format!("BERTH_LOG has the unusable value `{wanted}`: {error}; try `info` or `debug`"))
    })?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    Ok(())
}

async fn carry_out(cli: Cli) -> anyhow::Result<ExitCode> {
    let context = || Context::new(&cli);
    let done = Ok(ExitCode::SUCCESS);
    match cli.command.clone() {
        Command::Dev(args) => roles::dev(args).await.and(done),
        Command::Server(args) => roles::server(args).await.and(done),
        Command::Agent(args) => roles::agent(args).await.and(done),
        Command::Store(command) => store::carry_out(command, format(&cli)).await.and(done),
        Command::Lab(command) => lab::carry_out(command, format(&cli)).await,
        Command::Run(args) => run::run(&context()?, args).await.and(done),
        Command::Plan(args) => plan::plan(&context()?, args).await.and(done),
        Command::Stop { target, wait } => stop::stop(&context()?, &target, wait).await.and(done),
        Command::Drain(args) => drain::drain(&context()?, args).await.and(done),
        Command::Enable { nodes } => drain::enable(&context()?, nodes).await.and(done),
        Command::Finalise => finalise::finalise(&context()?).await.and(done),
        Command::Status { target } => status::status(&context()?, target.as_deref()).await.and(done),
        Command::Logs(args) => logs::logs(&context()?, args).await.and(done),
        Command::Exec(args) => exec::exec(&context()?, args).await,
        Command::Events { follow, of } => events::events(&context()?, follow, of.as_deref()).await.and(done),
        Command::Why { target } => why::why(&context()?, &target).await.and(done),
        Command::Node(NodeCommand::List) => node::list(&context()?).await.and(done),
        Command::Node(NodeCommand::Show { node }) => node::show(&context()?, &node).await.and(done),
        Command::Node(NodeCommand::Abandon { nodes }) => drain::abandon(&context()?, nodes).await.and(done),
        Command::Node(NodeCommand::Revoke { node }) => trust::revoke(&context()?, &node).await.and(done),
        Command::Token(TokenCommand::Create(args)) => trust::create_token(&context()?, args).await.and(done),
        Command::Ca(command) => trust::ca(&context()?, command).await.and(done),
        Command::Policy(PolicyCommand::Show) => policy::show(&context()?).await.and(done),
        Command::Policy(PolicyCommand::Set { policy, check_version, idempotency_key }) => {
            policy::set(&context()?, &policy, check_version, idempotency_key).await.and(done)
        }
        Command::Replay { ref journal, ref policy } => replay::replay(journal, policy.as_deref(), format(&cli)),
        Command::Sim(SimCommand::Run { profile, seed, seeds }) => sim::run(profile, seed, seeds, format(&cli)),
        Command::Sim(SimCommand::Cluster(ref args)) => sim::cluster(&args.options(), format(&cli)),
        Command::Sim(SimCommand::Pack(args)) => sim::pack(&args, format(&cli)),
        Command::Sim(SimCommand::Trace(args)) => sim::trace(&args, format(&cli)),
        Command::Solve(args) => solve::solve(&args, format(&cli)),
        Command::Schema => print(&(serde_json::to_string_pretty(&berth_api::jobfile::json_schema())? + "\n")).and(done),
        Command::Version => version(format(&cli)).and(done),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "berth", &mut script);
            print(&String::from_utf8(script).context("the completions are no text")?)?;
            done
        }
        Command::Shim { .. } | Command::LabEntry { .. } => unreachable!("main has taken these"),
    }
}

fn version(format: Format) -> anyhow::Result<()> {
    #[derive(serde::Serialize)]
    struct Version {
        version: &'static str,
    }
    format.show(&Version { version: env!("CARGO_PKG_VERSION") }, |v| format!("berth {}\n", v.version))
}

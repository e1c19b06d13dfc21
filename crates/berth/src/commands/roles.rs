//! The long-running roles: server, agent, and both in one process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use berth_agent::{Config as AgentConfig, Offer, RegistryCredential, Token};
use berth_model::{Bytes, CpuMillis, Millis, NodeName, Policy, Port};
use berth_server::{Clock, Config as ServerConfig, ConnectionLimits, Settings, StoreKind};
use tokio_util::sync::CancellationToken;

use crate::args::{AgentArgs, DevArgs, ServerArgs};
use crate::output::print;
use crate::quantity::Quantity;
use crate::settings::{Layers, Taken};

/// Where `berth dev` keeps everything when nobody says.
pub const DEV_DATA_DIR: &str = "/var/lib/berth/dev";
/// Where a server listens when nobody says.
const DEFAULT_BIND: &str = "127.0.0.1:4600";

/// `berth server`
pub async fn server(args: ServerArgs) -> anyhow::Result<()> {
    let (config, taken) = server_config(&args)?;
    if args.print_config {
        return print(&taken.to_string());
    }
    // Its log says when it is ready.
    let (ready, _) = tokio::sync::oneshot::channel();
    berth_server::run(config, ready, until_signal()?).await.context("the server ended")
}

fn flags<const N: usize>(given: [(&'static str, &Option<String>); N]) -> BTreeMap<&'static str, String> {
    given.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))).collect()
}

fn server_config(args: &ServerArgs) -> anyhow::Result<(ServerConfig, Taken)> {
    let flags = flags([
        ("data_dir", &args.data_dir),
        ("bind", &args.bind),
        ("policy", &args.policy),
        ("heartbeat", &args.heartbeat),
        ("heartbeat_grace", &args.heartbeat_grace),
        ("keep_ended", &args.keep_ended),
    ]);
    let mut layers = Layers::read(args.config.as_deref(), flags)?;
    let config = ServerConfig {
        data_dir: layers.take("data_dir", "/var/lib/berth/server")?,
        bind: layers.take("bind", DEFAULT_BIND)?,
        settings: Settings {
            policy: layers.take::<PolicyName>("policy", "spread")?.0,
            heartbeat: layers.take::<Quantity<Millis>>("heartbeat", "1s")?.0,
            heartbeat_grace: layers.take::<Quantity<Millis>>("heartbeat_grace", "5s")?.0,
            keep_ended: layers.take::<Quantity<Millis>>("keep_ended", "24h")?.0,
            keep_ledger: layers.take("keep_ledger", "20000")?,
            keep_commands: layers.take::<Quantity<Millis>>("keep_commands", "24h")?.0,
        },
        store: StoreKind::Embedded,
        clock: Clock::system(),
        connections: ConnectionLimits::default(),
    };
    Ok((config, layers.finish()?))
}

/// A placement policy by its name.
struct PolicyName(Policy);

impl std::str::FromStr for PolicyName {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<PolicyName, &'static str> {
        match text {
            "spread" => Ok(PolicyName(Policy::Spread)),
            "pack" => Ok(PolicyName(Policy::Pack)),
            _ => Err("expected `spread` or `pack`"),
        }
    }
}

/// `berth agent`
pub async fn agent(args: AgentArgs) -> anyhow::Result<()> {
    let (config, taken) = agent_config(&args)?;
    if args.print_config {
        return print(&taken.to_string());
    }
    berth_agent::run(config, until_signal()?).await.context("the agent ended")
}

fn agent_config(args: &AgentArgs) -> anyhow::Result<(AgentConfig, Taken)> {
    let flags = flags([
        ("data_dir", &args.data_dir),
        ("server", &args.server),
        ("token_file", &args.token_file),
        ("name", &args.name),
        ("address", &args.address),
        ("labels", &args.labels),
        ("cpu", &args.cpu),
        ("memory", &args.memory),
        ("disk", &args.disk),
        ("dynamic_ports", &args.dynamic_ports),
        ("oci_runtime", &args.oci_runtime),
        ("cgroup_parent", &args.cgroup_parent),
        ("image_cache", &args.image_cache),
    ]);
    let mut layers = Layers::read(args.config.as_deref(), flags)?;
    let token_file: PathBuf = layers.take("token_file", "/etc/berth/token")?;
    let table = layers.take_table("credentials")?;
    let password_files = table.values().filter_map(|one| one.get("password_file")?.as_str()).map(PathBuf::from);
    let config = AgentConfig {
        data_dir: layers.take("data_dir", "/var/lib/berth/agent")?,
        server: layers.take("server", "http://127.0.0.1:4600")?,
        token: if args.print_config { Token::new(String::new()) } else { read_secret(&token_file)? },
        hidden: hidden(args.config.iter().cloned().chain([token_file]).chain(password_files)),
        name: layers.take::<NodeName>("name", &host_name())?,
        address: layers.take("address", "127.0.0.1")?,
        labels: layers.take::<Labels>("labels", "")?.0,
        offer: Offer {
            cpu: layers.take_optional::<Quantity<CpuMillis>>("cpu")?.map(|q| q.0),
            memory: layers.take_optional::<Quantity<Bytes>>("memory")?.map(|q| q.0),
            disk: layers.take_optional::<Quantity<Bytes>>("disk")?.map(|q| q.0),
        },
        dynamic_ports: layers.take::<Quantity<(Port, Port)>>("dynamic_ports", "20000-32000")?.0,
        shim_program: own_program()?,
        oci_runtime: layers.take_optional("oci_runtime")?,
        cgroup_parent: layers.take("cgroup_parent", "berth")?,
        credentials: credentials(&table, args.print_config)?,
        image_cache: layers.take::<Quantity<Bytes>>("image_cache", "20GiB")?.0,
    };
    Ok((config, layers.finish()?))
}

/// What no host program may see: Berth's usual folders, where a server or another agent may have theirs,
/// and what was named instead of what is usual.
fn hidden(named: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    ["/var/lib/berth", "/etc/berth"].map(PathBuf::from).into_iter().chain(named).collect()
}

fn own_program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find out where this program is")
}

/// The host's name, made into a name of ours.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "node".to_owned() } else { name.chars().take(63).collect() }
}

/// `KEY=VALUE,…`
struct Labels(BTreeMap<String, String>);

impl std::str::FromStr for Labels {
    type Err = String;
    fn from_str(text: &str) -> Result<Labels, String> {
        let pairs = text.split(',').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').ok_or_else(|| format!("`{pair}` is not KEY=VALUE"))?;
            Ok((key.to_owned(), value.to_owned()))
        });
        pairs.collect::<Result<_, String>>().map(Labels)
    }
}

/// `[credentials.NAME]` with `username` and `password_file`.
fn credentials(table: &toml::Table, only_print: bool) -> anyhow::Result<BTreeMap<String, RegistryCredential>> {
    let mut credentials = BTreeMap::new();
    for (name, value) in table {
        let text = |key: &str| {
            let found = value.get(key).and_then(toml::Value::as_str).map(str::to_owned);
            found.with_context(|| format!("credentials.{name}: `{key}` is missing"))
        };
        let username = text("username")?;
        let file = PathBuf::from(text("password_file")?);
        let password = if only_print { Token::new(String::new()) } else { read_secret(&file)? };
        credentials.insert(name.clone(), RegistryCredential { username, password });
    }
    Ok(credentials)
}

fn read_secret(path: &Path) -> anyhow::Result<Token> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read the secret in {}", path.display()))?;
    Ok(Token::new(text.trim().to_owned()))
}

/// `berth dev`
pub async fn dev(args: DevArgs) -> anyhow::Result<()> {
    let data_dir = args.data_dir.unwrap_or_else(|| PathBuf::from(DEV_DATA_DIR));
    let bind = args.bind.as_deref().unwrap_or(DEFAULT_BIND);
    let stop = until_signal()?;
    let (ready, told) = tokio::sync::oneshot::channel();
    let server = berth_server::run(
        ServerConfig {
            data_dir: data_dir.join("server"),
            bind: bind.parse().with_context(|| format!("--bind {bind} is not ADDRESS:PORT"))?,
            settings: Settings::default(),
            store: StoreKind::Embedded,
            clock: Clock::system(),
            connections: ConnectionLimits::default(),
        },
        ready,
        stop.clone(),
    );
    let agent = async {
        // The server says why it did not become ready.
        let Ok(server) = told.await else { return Ok(()) };
        tell_how_to_use(&server.addr.to_string(), &server.token_path)?;
        let url = format!("http://{}", server.addr);
        let config = dev_agent(&data_dir, url, &server.token_path, args.oci_runtime)?;
        berth_agent::run(config, stop.clone()).await.context("the agent ended")
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

fn dev_agent(
    data_dir: &Path,
    server: String,
    token_file: &Path,
    oci_runtime: Option<PathBuf>,
) -> anyhow::Result<AgentConfig> {
    Ok(AgentConfig {
        data_dir: data_dir.join("agent"),
        hidden: hidden(std::iter::once(data_dir.to_owned())),
        server,
        token: read_secret(token_file)?,
        name: host_name().parse().context("the host's name makes no node name")?,
        address: "127.0.0.1".to_owned(),
        labels: BTreeMap::new(),
        offer: Offer::default(),
        dynamic_ports: (Port(20_000), Port(32_000)),
        shim_program: own_program()?,
        oci_runtime,
        cgroup_parent: "berth".to_owned(),
        credentials: BTreeMap::new(),
        image_cache: Bytes::gib(20),
    })
}

fn tell_how_to_use(addr: &str, token_file: &Path) -> anyhow::Result<()> {
    print(&format!(
        "berth dev is ready. In another terminal:\n\n  export BERTH_ADDR=http://{addr}\n  \
         export BERTH_TOKEN=$(cat {})\n  berth status\n\n",
        token_file.display()
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

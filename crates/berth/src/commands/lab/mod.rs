//! `berth lab`: throw-away clusters of this very binary on one machine.

mod etcd;
mod nodes;

use std::net::Ipv4Addr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use berth_api::client::{Client, Target, new_key};
use berth_api::wire::v1 as wire;
use berth_lab::{DEFAULT_DIR, Down, Lab, LabName, LabsDir, NodeFile, NodeName, NodeSpec, NodeStatus, RoleStatus};
use serde::Serialize;

use self::nodes::NodeSettings;
use super::{believing, capture};
use crate::args::{LabCommand, LabNode};
use crate::exit::{Status, failed};
use crate::output::{Format, Progress, print, table};

/// Where the lab's servers listen.
const PORT: u16 = 4600;
/// The first server's node.
const SERVER: &str = "server-1";
/// What the names of servers' nodes begin with.
const SERVERS: &str = "server-";
/// Where the server writes its token, below `/var/lib/berth`.
const TOKEN: &str = "server/token";
/// Where it writes the certificates by which it is believed.
const AUTHORITIES: &str = "server/ca.pem";
/// Where a node finds what it joins with.
const JOIN_TOKEN: &str = "join-token";
/// How long a node may take to be ready, on a machine that is busy with other nodes.
const READY: Duration = Duration::from_secs(60);
/// How often to ask.
const PACE: Duration = Duration::from_millis(50);

/// Carries out a lab command.
pub async fn carry_out(command: LabCommand, format: Format) -> anyhow::Result<ExitCode> {
    let dir = LabsDir::new(std::env::var_os("BERTH_LAB_DIR").map_or_else(|| PathBuf::from(DEFAULT_DIR), PathBuf::from));
    match command {
        LabCommand::Up { servers, agents, nodes, lab } => {
            let servers = servers_of(servers)?;
            let agents = agents_of(agents)?;
            let told = nodes.map(|path| NodeSettings::read(&path, &agents)).transpose();
            let told = told.map_err(|error| failed(Status::Usage, format!("{error:#}")))?.unwrap_or_default();
            up(&dir, &lab.name, (&servers, &agents), &told, format).await?;
        }
        LabCommand::Status { lab, env: true } => show_env(&open(&dir, &lab.name)?, format)?,
        LabCommand::Status { lab, env: false } => status(&open(&dir, &lab.name)?, format)?,
        LabCommand::Exec { target, command } => {
            let command = open(&dir, &target.lab.name)?.exec(&node_name(&target.node)?, &command)?;
            return exec(command, format).await;
        }
        LabCommand::Kill(target) => on_node(&dir, &target, format, "is powered off", Lab::kill)?,
        LabCommand::Start(target) => on_node(&dir, &target, format, "is powered on", Lab::start)?,
        LabCommand::Restart(target) => on_node(&dir, &target, format, "runs its role again", Lab::restart_role)?,
        LabCommand::Partition(target) => {
            on_node(&dir, &target, format, "is cut off", |lab, node| lab.partition(node))?;
        }
        LabCommand::Heal(target) => on_node(&dir, &target, format, "is connected", |lab, node| lab.heal(node))?,
        LabCommand::Down(lab) => down(&dir, &lab.name, format)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn lab_name(text: &str) -> anyhow::Result<LabName> {
    text.parse().map_err(|error| failed(Status::Usage, format!("{error}")))
}

fn node_name(text: &str) -> anyhow::Result<NodeName> {
    text.parse().map_err(|error| failed(Status::Usage, format!("{error}")))
}

fn open(dir: &LabsDir, name: &str) -> anyhow::Result<Lab> {
    Ok(Lab::open(dir, &lab_name(name)?)?)
}

/// What came of a command on a node.
#[derive(Serialize)]
struct Done<'a> {
    lab: &'a str,
    node: &'a str,
    done: &'static str,
}

fn on_node<F>(dir: &LabsDir, target: &LabNode, format: Format, done: &'static str, act: F) -> anyhow::Result<()>
where
    F: FnOnce(&mut Lab, &NodeName) -> Result<(), berth_lab::LabError>,
{
    act(&mut open(dir, &target.lab.name)?, &node_name(&target.node)?)?;
    let said = Done { lab: &target.lab.name, node: &target.node, done };
    format.show(&said, |said| format!("{} {}\n", said.node, said.done))
}

/// Runs a command on a node and ends as it ended.
async fn exec(command: std::process::Command, format: Format) -> anyhow::Result<ExitCode> {
    let mut command = tokio::process::Command::from(command);
    let status = match format {
        Format::Text => exit_status(command.status().await.context("cannot enter the node")?),
        Format::Json => {
            let command = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
            let mut child = command.spawn().context("cannot enter the node")?;
            let (stdout, stderr) = child.stdout.take().zip(child.stderr.take()).expect("both were asked for above");
            let (stdout, stderr) = tokio::try_join!(capture::read(stdout), capture::read(stderr))?;
            let status = exit_status(child.wait().await.context("cannot wait for the command")?);
            capture::Output::Kept { stdout, stderr }.end(status)?;
            status
        }
    };
    Ok(ExitCode::from(status))
}

/// As a shell tells it: 128 and the signal's number when one ended the command.
fn exit_status(status: ExitStatus) -> u8 {
    let told = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    told.and_then(|told| u8::try_from(told).ok()).unwrap_or(u8::MAX)
}

/// The names of a lab's nodes with servers.
fn servers_of(count: u8) -> anyhow::Result<Vec<NodeName>> {
    (1..=count).map(|number| node_name(&format!("{SERVERS}{number}"))).collect()
}

/// The names of a lab's nodes with agents.
fn agents_of(count: u8) -> anyhow::Result<Vec<NodeName>> {
    (1..=count).map(|number| node_name(&format!("node-{number}"))).collect()
}

async fn up(
    dir: &LabsDir,
    name: &str,
    (servers, agents): (&[NodeName], &[NodeName]),
    told: &NodeSettings,
    format: Format,
) -> anyhow::Result<()> {
    let name = lab_name(name)?;
    let program = std::env::current_exe().context("cannot find out where this program is")?;
    let program = program.to_str().context("the path of this program is not UTF-8")?.to_owned();
    let progress = Progress::start(format);
    let words = if servers.len() == 1 { "the server" } else { "an etcd and the servers" };
    progress.say(format!("lab {name}: starting {words}"));
    let entry = vec![program, "lab-entry".to_owned()];
    let handle = tokio::runtime::Handle::current();
    let made = tokio::task::block_in_place(|| {
        berth_lab::up(dir, &name, entry, |lab| -> anyhow::Result<()> {
            let client = start_servers(lab, servers)?;
            let count = agents.len();
            progress.say(format!("lab {name}: starting {count} agents"));
            start_agents(lab, &client, agents, told)?;
            progress.say(format!("lab {name}: waiting for {count} nodes"));
            handle.block_on(wait_for_nodes(&client, u32::try_from(count)?))
        })
    })?;
    progress.end();
    status(&made, format)?;
    match format {
        Format::Json => Ok(()),
        Format::Text => print(&format!("\nTo use it:  eval \"$(berth lab status --name {name} --env)\"\n")),
    }
}

/// Starts the servers: one that keeps the state itself, or several on an etcd.
fn start_servers(lab: &mut Lab, servers: &[NodeName]) -> anyhow::Result<Client> {
    let etcd = if servers.len() == 1 { None } else { Some(etcd::start(lab)?) };
    let mut first: Option<First> = None;
    for node in servers {
        let join_token = first.as_ref().map(|first| join_token(&first.client, wire::Role::Server, None)).transpose()?;
        lab.add_node(node, |address| {
            let bind = bind(address);
            let mut command = vec!["berth", "server", "--data-dir", "/var/lib/berth/server", "--bind", &bind];
            command.extend(etcd.iter().flat_map(|members| ["--etcd", members.as_str()]));
            let mut files = Vec::new();
            if let Some((first, join_token)) = first.as_ref().zip(join_token) {
                command.extend(["--join", &first.url, "--join-token-file", "/var/lib/berth/join-token"]);
                files.push(NodeFile { path: JOIN_TOKEN.into(), content: join_token });
            }
            NodeSpec { command: words(&command), files, ..NodeSpec::default() }
        })?;
        lab.wait_file(node, Path::new(AUTHORITIES), READY)?;
        lab.wait_port(node, PORT, READY)?;
        if first.is_none() {
            first = Some(First { url: url(lab)?, client: client(lab)? });
        }
    }
    client(lab)
}

/// The first server, by which the others join.
struct First {
    url: String,
    client: Client,
}

/// What a node joins with.
fn join_token(client: &Client, role: wire::Role, node: Option<&NodeName>) -> anyhow::Result<Vec<u8>> {
    let node = node.map(|node| node.as_str().parse()).transpose()?;
    let request = wire::TokenRequest { role, node, life_ms: None };
    let token = tokio::runtime::Handle::current().block_on(client.make_token(&request, &new_key()))?;
    Ok(token.token.into_bytes())
}

fn start_agents(lab: &mut Lab, client: &Client, agents: &[NodeName], told: &NodeSettings) -> anyhow::Result<()> {
    let url = url(lab)?;
    for node in agents {
        let token = join_token(client, wire::Role::Agent, Some(node))?;
        lab.add_node(node, |address| NodeSpec {
            command: words(&[
                "berth",
                "agent",
                "--config",
                "/var/lib/berth/agent.toml",
                "--data-dir",
                "/var/lib/berth/agent",
                "--server",
                &url,
                "--join-token-file",
                "/var/lib/berth/join-token",
                "--name",
                node.as_str(),
                "--address",
                &address.to_string(),
            ]),
            files: vec![
                NodeFile { path: JOIN_TOKEN.into(), content: token },
                NodeFile { path: PathBuf::from("agent.toml"), content: told.of(node).as_bytes().to_vec() },
            ],
            ..NodeSpec::default()
        })?;
    }
    Ok(())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn bind(address: Ipv4Addr) -> String {
    format!("{address}:{PORT}")
}

/// The servers' addresses, as clients and agents take them.
fn url(lab: &Lab) -> anyhow::Result<String> {
    let nodes = lab.status()?.into_iter().filter(|node| node.name.as_str().starts_with(SERVERS));
    Ok(nodes.map(|node| format!("https://{}", bind(node.address))).collect::<Vec<_>>().join(","))
}

fn token(lab: &Lab) -> anyhow::Result<String> {
    let token = lab.read_file(&node_name(SERVER)?, Path::new(TOKEN))?;
    Ok(String::from_utf8(token).context("the server's token is not text")?.trim().to_owned())
}

fn client(lab: &Lab) -> anyhow::Result<Client> {
    let target = Target::new(&url(lab)?, &token(lab)?)?;
    Ok(Client::new(target.with_tls(believing(&authorities(lab)?)?))?)
}

/// The file with the certificates by which the lab's servers are believed.
fn authorities(lab: &Lab) -> anyhow::Result<PathBuf> {
    Ok(lab.node_dir(&node_name(SERVER)?).join("data").join(AUTHORITIES))
}

async fn wait_for_nodes(client: &Client, wanted: u32) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY;
    loop {
        let ready = client.status().await.map(|status| status.nodes_ready);
        match ready {
            Ok(ready) if ready >= wanted => return Ok(()),
            Ok(ready) if Instant::now() > deadline => {
                anyhow::bail!("only {ready} of {wanted} nodes are ready after {} seconds", READY.as_secs());
            }
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Ok(_) | Err(_) => tokio::time::sleep(PACE).await,
        }
    }
}

/// A lab as `--json` shows it.
#[derive(Serialize)]
struct Shown {
    name: String,
    /// For `BERTH_ADDR`.
    addr: String,
    /// For `BERTH_CA`.
    ca_file: PathBuf,
    /// A file with what belongs into `BERTH_TOKEN`.
    token_file: PathBuf,
    nodes: Vec<ShownNode>,
}

#[derive(Serialize)]
struct ShownNode {
    name: String,
    address: Ipv4Addr,
    /// The node's process 1 as this machine sees it; absent while it is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    init_pid: Option<i32>,
    /// The role's process as this machine sees it; absent while it does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    role_pid: Option<i32>,
    role: String,
    log: PathBuf,
}

fn shown(node: NodeStatus) -> ShownNode {
    let role_pid = match &node.role {
        RoleStatus::Running(process) => Some(process.pid),
        RoleStatus::Off
        | RoleStatus::Exited(_)
        | RoleStatus::Killed(_)
        | RoleStatus::Failed(_)
        | RoleStatus::Changing => None,
    };
    ShownNode {
        name: node.name.to_string(),
        address: node.address,
        init_pid: node.init.map(|init| init.pid),
        role_pid,
        role: node.role.to_string(),
        log: node.log,
    }
}

fn status(lab: &Lab, format: Format) -> anyhow::Result<()> {
    let all = Shown {
        name: lab.name().to_string(),
        addr: url(lab)?,
        ca_file: authorities(lab)?,
        token_file: lab.node_dir(&node_name(SERVER)?).join("data").join(TOKEN),
        nodes: lab.status()?.into_iter().map(shown).collect(),
    };
    format.show(&all, |all| {
        let row = |node: &ShownNode| {
            let pid = node.init_pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            [node.name.clone(), node.address.to_string(), pid, node.role.clone(), node.log.display().to_string()]
        };
        table(["NODE", "ADDRESS", "INIT", "ROLE", "LOG"], all.nodes.iter().map(row))
    })
}

/// What a program needs in its environment to talk to a lab's cluster.
#[derive(Serialize)]
struct Env {
    #[serde(rename = "BERTH_ADDR")]
    addr: String,
    #[serde(rename = "BERTH_CA")]
    ca: PathBuf,
    #[serde(rename = "BERTH_TOKEN")]
    token: String,
}

/// As lines that a shell evaluates.
fn show_env(lab: &Lab, format: Format) -> anyhow::Result<()> {
    let env = Env { addr: url(lab)?, ca: authorities(lab)?, token: token(lab)? };
    format.show(&env, |Env { addr, ca, token }| {
        let ca = ca.display();
        format!("export BERTH_ADDR={addr}\nexport BERTH_CA='{ca}'\nexport BERTH_TOKEN={token}\n")
    })
}

/// What came of `lab down`.
#[derive(Serialize)]
struct Gone<'a> {
    lab: &'a str,
    removed: bool,
}

fn down(dir: &LabsDir, name: &str, format: Format) -> anyhow::Result<()> {
    let removed = match berth_lab::down(dir, &lab_name(name)?)? {
        Down::Removed => true,
        Down::NothingThere => false,
    };
    format.show(&Gone { lab: name, removed }, |gone| match gone.removed {
        true => format!("lab {name} is gone\n"),
        false => format!("there is no lab {name}\n"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_ended_the_way_into_a_node_is_told() {
        assert_eq!(exit_status(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(exit_status(ExitStatus::from_raw(15)), 128 + 15);
    }
}

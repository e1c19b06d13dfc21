//! What the roles are told: their settings, taken from the layers into the types of server and agent.
//! `docs/configuration.md` says the same to people; a test compares the two.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use berth_agent::{Access, Config as AgentConfig, Offer, RegistryCredential, Token};
use berth_api::client::Target;
use berth_model::{BuiltIn, Bytes, CpuMillis, Device, DeviceKind, Drift, Mbits, Millis, NodeName, Port, limits};
use berth_secrets::{Invitation, SealingKey};
use berth_server::{
    Clock, Config as ServerConfig, ConnectionLimits, EtcdOptions, Join, SealingKeyPlace, Settings, StoreKind, Tls,
};
use serde::Deserialize;

use crate::args::{AgentArgs, ConfigArgs, DevArgs, ServerArgs};
use crate::commands::variable;
use crate::quantity::Quantity;
use crate::settings::{Layers, Taken};

/// Where `berth dev` keeps everything when nobody says.
pub const DEV_DATA_DIR: &str = "/var/lib/berth/dev";

/// Agents that report more often would keep a server busy with nothing else.
const SHORTEST_HEARTBEAT: Millis = Millis(100);
/// A journal that is smaller would hold next to nothing.
const SMALLEST_JOURNAL: Bytes = Bytes::mib(16);

/// Agents that measure the disk more often would do little else.
const SHORTEST_MEASURE: Millis = Millis(100);

/// What `berth server` is told.
pub fn server(args: &ServerArgs) -> anyhow::Result<(ServerConfig, Taken)> {
    let mut layers = layers(&args.config, args.cluster.given().chain(args.store.given()))?;
    let data_dir = layers.take("data_dir", "/var/lib/berth/server")?;
    let mut config = server_config(&mut layers, data_dir, Secrets::of(&args.config))?;
    let join = join(&mut layers, Secrets::of(&args.config))?;
    match (&mut config.tls, join) {
        (Some(tls), join) => tls.join = join,
        (None, Some(_)) => bail!("setting `join` needs TLS: set `tls` to `on`, or listen beyond loopback"),
        (None, None) => {}
    }
    let advertise = layers.take_optional::<ServerUrl>("advertise")?.map(|url| url.0);
    let store = store_kind(&mut layers)?;
    let is_reached = advertise.is_some() || !config.bind.ip().is_unspecified();
    ensure!(
        store == StoreKind::Embedded || is_reached,
        "setting `bind` names every address: with `etcd`, set `advertise` to the one at which other servers reach this one"
    );
    Ok((ServerConfig { store, advertise, ..config }, layers.finish()?))
}

/// What `berth agent` is told.
pub fn agent(args: &AgentArgs) -> anyhow::Result<(AgentConfig, Taken)> {
    let mut layers = layers(&args.config, args.reach.given().chain(args.node.given()))?;
    let secrets = Secrets::of(&args.config);
    let data_dir = layers.take("data_dir", "/var/lib/berth/agent")?;
    let server = layers.take("server", "http://127.0.0.1:4600")?;
    let token_file: PathBuf = layers.take("token_file", "/etc/berth/token")?;
    let join_token_file: Option<PathBuf> = layers.take_optional("join_token_file")?;
    let mut config = AgentConfig { server, ..agent_config(&mut layers, data_dir, secrets)? };
    config.hidden.push(token_file.clone());
    config.hidden.extend(join_token_file.clone());
    config.hidden.extend(file(&args.config));
    let taken = layers.finish()?;
    // Last, so that a wrong setting is told also where there is no token yet.
    let access = if config.server.contains("https://") {
        // One that has joined needs it no more, and somebody may have removed it.
        let join_token_file = join_token_file.filter(|file| file.exists());
        Access::Certificate { join: join_token_file.map(|file| secrets.invitation(&file)).transpose()?.flatten() }
    } else {
        Access::Token(secrets.read(&token_file)?)
    };
    Ok((AgentConfig { access, ..config }, taken))
}

/// Whether an agent could use what a file says of its node.
pub fn check_node(file: &Path, settings: toml::Table) -> anyhow::Result<()> {
    let mut layers = Layers::of(file, settings);
    agent_config(&mut layers, PathBuf::new(), Secrets::Leave)?;
    layers.finish().map(drop)
}

/// What `berth dev` tells its server and its agent. Where the server listens, and its token, are not known before it
/// is ready: [`reached_at`] completes the agent's.
pub fn dev(args: &DevArgs) -> anyhow::Result<(ServerConfig, AgentConfig, Taken)> {
    let mut layers = layers(&args.config, args.cluster.given().chain(args.node.given()))?;
    let data_dir: PathBuf = layers.take("data_dir", DEV_DATA_DIR)?;
    let server = server_config(&mut layers, data_dir.join("server"), Secrets::of(&args.config))?;
    let mut agent = agent_config(&mut layers, data_dir.join("agent"), Secrets::of(&args.config))?;
    agent.hidden.push(data_dir);
    agent.hidden.extend(file(&args.config));
    Ok((server, agent, layers.finish()?))
}

/// An agent's configuration with the server that it belongs to.
pub fn reached_at(agent: AgentConfig, server: String, access: Access) -> AgentConfig {
    AgentConfig { server, access, ..agent }
}

/// The settings' file.
fn file(args: &ConfigArgs) -> Option<PathBuf> {
    args.config.clone().or_else(|| variable("BERTH_CONFIG").map(PathBuf::from))
}

fn layers(args: &ConfigArgs, flags: impl Iterator<Item = (&'static str, String)>) -> anyhow::Result<Layers> {
    Layers::read(file(args).as_deref(), args.folder.given().chain(flags))
}

fn server_config(layers: &mut Layers, data_dir: PathBuf, secrets: Secrets) -> anyhow::Result<ServerConfig> {
    let bind: SocketAddr = layers.take("bind", "127.0.0.1:4600")?;
    let settings = Settings {
        policy: layers.take::<BuiltInName>("policy", "balanced")?.0,
        preempt_max: layers.take("preempt_max", "10")?,
        heartbeat: layers.take::<Quantity<Millis>>("heartbeat", "1s")?.0,
        heartbeat_grace: layers.take::<Quantity<Millis>>("heartbeat_grace", "5s")?.0,
        clock_drift: Drift(layers.take("clock_drift", "200")?),
        keep_ended: layers.take::<Quantity<Millis>>("keep_ended", "24h")?.0,
        keep_ended_max: layers.take("keep_ended_max", "10000")?,
        keep_ledger: layers.take("keep_ledger", "20000")?,
        keep_commands: layers.take::<Quantity<Millis>>("keep_commands", "24h")?.0,
    };
    ensure!(settings.heartbeat >= SHORTEST_HEARTBEAT, "setting `heartbeat` must be at least {SHORTEST_HEARTBEAT}");
    let (drift, most) = (settings.clock_drift, Drift::MOST.0);
    ensure!(drift <= Drift::MOST, "setting `clock_drift` is in millionths and must be at most {most}");
    let grace = settings.heartbeat_grace;
    ensure!(grace > settings.heartbeat, "setting `heartbeat_grace` must be longer than `heartbeat`");
    let journal_max = layers.take::<Quantity<Bytes>>("journal_max", "1GiB")?.0;
    ensure!(journal_max >= SMALLEST_JOURNAL, "setting `journal_max` must be at least {SMALLEST_JOURNAL}");
    let tls = tls(layers, &data_dir, bind, secrets)?;
    Ok(ServerConfig {
        data_dir,
        bind,
        advertise: None,
        tls,
        settings,
        store: StoreKind::Embedded,
        clock: Clock::system(),
        journal_max,
        connections: ConnectionLimits::default(),
    })
}

/// Whether connections are secured.
enum TlsMode {
    Auto,
    On,
    Off,
}

impl FromStr for TlsMode {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<TlsMode, &'static str> {
        match text {
            "auto" => Ok(TlsMode::Auto),
            "on" => Ok(TlsMode::On),
            "off" => Ok(TlsMode::Off),
            _ => Err("expected `auto`, `on` or `off`"),
        }
    }
}

/// How a server secures its connections.
fn tls(layers: &mut Layers, data_dir: &Path, bind: SocketAddr, secrets: Secrets) -> anyhow::Result<Option<Tls>> {
    let mode: TlsMode = layers.take("tls", "auto")?;
    let file: Option<PathBuf> = layers.take_optional("sealing_key_file")?;
    let command: Option<String> = layers.take_optional("sealing_key_command")?;
    let certificate_grace = layers.take::<Quantity<Millis>>("certificate_grace", "30d")?.0;
    let is_on = match mode {
        TlsMode::Auto => !bind.ip().is_loopback(),
        TlsMode::On => true,
        TlsMode::Off => false,
    };
    // Not a setting: those can be flags, which every process of the machine can read.
    let given = variable("BERTH_SEALING_KEY").filter(|_| secrets == Secrets::Read);
    let sealing_key = match (file, command, given) {
        (None, None, None) => SealingKeyPlace::Own(data_dir.join("sealing.key")),
        (Some(file), None, None) => SealingKeyPlace::File(file),
        (None, Some(command), None) => {
            let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
            ensure!(!words.is_empty(), "setting `sealing_key_command` names no program");
            SealingKeyPlace::Command(words)
        }
        (None, None, Some(text)) => {
            SealingKeyPlace::Given(SealingKey::parse(&text).context("variable BERTH_SEALING_KEY cannot be used")?)
        }
        (_, _, _) => bail!(
            "the sealing key has one place: name it by `sealing_key_file`, by `sealing_key_command` or by BERTH_SEALING_KEY"
        ),
    };
    Ok(is_on.then_some(Tls { sealing_key, certificate_grace, join: None }))
}

/// How a server joins a cluster that is there already.
fn join(layers: &mut Layers, secrets: Secrets) -> anyhow::Result<Option<Join>> {
    let servers: Option<String> = layers.take_optional("join")?;
    let token_file: Option<PathBuf> = layers.take_optional("join_token_file")?;
    let Some((servers, token_file)) = both("join", servers, "join_token_file", token_file)? else { return Ok(None) };
    // One that has joined needs it no more, and somebody may have removed it.
    if !token_file.exists() {
        return Ok(None);
    }
    Ok(secrets.invitation(&token_file)?.map(|token| Join { servers, token }))
}

/// Where a server of its own keeps the cluster's state.
fn store_kind(layers: &mut Layers) -> anyhow::Result<StoreKind> {
    let members: Option<String> = layers.take_optional("etcd")?;
    let prefix: String = layers.take("etcd_prefix", "berth/")?;
    let ca: Option<PathBuf> = layers.take_optional("etcd_ca")?;
    let certificate: Option<PathBuf> = layers.take_optional("etcd_cert")?;
    let key: Option<PathBuf> = layers.take_optional("etcd_key")?;
    let user: Option<String> = layers.take_optional("etcd_user")?;
    let password_file: Option<PathBuf> = layers.take_optional("etcd_password_file")?;
    let Some(members) = members else { return Ok(StoreKind::Embedded) };
    let endpoints: Vec<String> = members.split(',').map(|member| member.trim().to_owned()).collect();
    for endpoint in &endpoints {
        let is_known = endpoint.starts_with("http://") || endpoint.starts_with("https://");
        ensure!(is_known, "setting `etcd` names `{endpoint}`: expected `http://HOST:PORT` or `https://HOST:PORT`");
    }
    let identity = both("etcd_cert", certificate, "etcd_key", key)?;
    let user = both("etcd_user", user, "etcd_password_file", password_file)?;
    Ok(StoreKind::Etcd(EtcdOptions { endpoints, prefix, ca, identity, user }))
}

/// Two settings that mean something together only.
fn both<A, B>(one: &str, a: Option<A>, other: &str, b: Option<B>) -> anyhow::Result<Option<(A, B)>> {
    match (a, b) {
        (Some(a), Some(b)) => Ok(Some((a, b))),
        (None, None) => Ok(None),
        (Some(_), None) => bail!("setting `{one}` needs `{other}` beside it"),
        (None, Some(_)) => bail!("setting `{other}` needs `{one}` beside it"),
    }
}

/// Without a server and its token.
fn agent_config(layers: &mut Layers, data_dir: PathBuf, secrets: Secrets) -> anyhow::Result<AgentConfig> {
    let entries = credential_entries(layers.take_table("credentials")?)?;
    let measure = layers.take::<Quantity<Millis>>("measure", "30s")?.0;
    ensure!(measure >= SHORTEST_MEASURE, "setting `measure` must be at least {SHORTEST_MEASURE}");
    // Berth's usual folders too, where a server or another agent may have theirs.
    let usual = ["/var/lib/berth", "/etc/berth"].map(PathBuf::from);
    Ok(AgentConfig {
        data_dir,
        hidden: usual.into_iter().chain(entries.values().map(|entry| entry.password_file.clone())).collect(),
        server: String::new(),
        access: Access::Token(Token::new(String::new())),
        name: layers.take::<NodeName>("name", &host_name())?,
        address: layers.take("address", "127.0.0.1")?,
        rack: layers.take_optional("rack")?,
        zone: layers.take_optional("zone")?,
        labels: layers.take::<Labels>("labels", "")?.0,
        offer: Offer {
            cpu: layers.take_optional::<Quantity<CpuMillis>>("cpu")?.map(|q| q.0),
            memory: layers.take_optional::<Quantity<Bytes>>("memory")?.map(|q| q.0),
            disk: layers.take_optional::<Quantity<Bytes>>("disk")?.map(|q| q.0),
            network: layers.take_optional::<Quantity<Mbits>>("network")?.map(|q| q.0),
        },
        devices: devices(layers.take_table("devices")?)?,
        dynamic_ports: layers.take::<Quantity<(Port, Port)>>("dynamic_ports", "20000-32000")?.0,
        shim_program: std::env::current_exe().context("cannot find out where this program is")?,
        oci_runtime: layers.take_optional("oci_runtime")?,
        cgroup_parent: layers.take("cgroup_parent", "berth")?,
        image_cache: layers.take::<Quantity<Bytes>>("image_cache", "20GiB")?.0,
        measure,
        disk_reserve: layers.take_optional::<Quantity<Bytes>>("disk_reserve")?.map(|q| q.0),
        credentials: credentials(entries, secrets)?,
    })
}

/// A placement policy that Berth brings along, by its name.
#[derive(Clone, Copy, Debug)]
pub struct BuiltInName(pub BuiltIn);

impl FromStr for BuiltInName {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<BuiltInName, &'static str> {
        BuiltIn::named(text).map(BuiltInName).ok_or("expected `balanced`, `pack`, `spread` or `fragmentation`")
    }
}

/// A server's address, as others reach it.
struct ServerUrl(String);

impl FromStr for ServerUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<ServerUrl, String> {
        let target = Target::new(text, "token").map_err(|error| error.to_string())?;
        if text.contains(',') {
            return Err("expected one address".to_owned());
        }
        Ok(ServerUrl(target.addr().to_owned()))
    }
}

/// The host's name, made into a name of ours.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(63).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "node".to_owned() } else { name.to_owned() }
}

/// `KEY=VALUE,…`
struct Labels(BTreeMap<String, String>);

/// Characters of a label's key: with `label.` before it, a constraint takes 128.
const LABEL_KEY: usize = 128 - "label.".len();

impl FromStr for Labels {
    type Err = String;
    fn from_str(text: &str) -> Result<Labels, String> {
        let mut labels = BTreeMap::new();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(|| format!("`{pair}` is not KEY=VALUE"))?;
            let known = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
            if !(1..=LABEL_KEY).contains(&key.len()) || !key.chars().all(known) {
                return Err(format!("`{key}` is no key: 1 to {LABEL_KEY} of letters, digits, `.`, `_`, `-` and `/`"));
            }
            if labels.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(format!("`{key}` is there twice"));
            }
        }
        Ok(Labels(labels))
    }
}

/// `[devices.ID]` of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceEntry {
    kind: String,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    #[serde(default)]
    paths: Vec<String>,
}

/// In order of id.
fn devices(table: toml::Table) -> anyhow::Result<Vec<Device>> {
    ensure!(table.len() <= limits::NODE_DEVICES, "setting `devices`: a node has at most {}", limits::NODE_DEVICES);
    let device = |(id, value): (String, toml::Value)| -> anyhow::Result<Device> {
        let named = || format!("setting `devices.{id}`");
        let DeviceEntry { kind, attributes, paths } = value.try_into().with_context(named)?;
        let kind: DeviceKind = kind.parse().with_context(named)?;
        ensure!(paths.len() <= limits::DEVICE_PATHS, "{}: at most {} `paths`", named(), limits::DEVICE_PATHS);
        let stray = paths.iter().find(|path| !path.starts_with("/dev/") || path.split('/').any(|part| part == ".."));
        if let Some(path) = stray {
            bail!("{}: `{path}` is not a file below /dev", named());
        }
        Ok(Device { kind, id: id.parse().with_context(named)?, attributes, paths })
    };
    let mut devices: Vec<Device> = table.into_iter().map(device).collect::<Result<_, _>>()?;
    devices.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(devices)
}

/// `[credentials.NAME]` of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CredentialEntry {
    username: String,
    password_file: PathBuf,
}

fn credential_entries(table: toml::Table) -> anyhow::Result<BTreeMap<String, CredentialEntry>> {
    let entry = |(name, value): (String, toml::Value)| {
        let entry = value.try_into().with_context(|| format!("setting `credentials.{name}`"))?;
        Ok((name, entry))
    };
    table.into_iter().map(entry).collect()
}

fn credentials(
    entries: BTreeMap<String, CredentialEntry>,
    secrets: Secrets,
) -> anyhow::Result<BTreeMap<String, RegistryCredential>> {
    let read = |(name, entry): (String, CredentialEntry)| {
        let password = secrets.read(&entry.password_file)?;
        Ok((name, RegistryCredential { username: entry.username, password }))
    };
    entries.into_iter().map(read).collect()
}

/// What to do about files that hold secrets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Secrets {
    /// Read them.
    Read,
    /// Leave them alone: settings are only shown, perhaps to somebody who may not read them.
    Leave,
}

impl Secrets {
    fn of(args: &ConfigArgs) -> Secrets {
        if args.print_config { Secrets::Leave } else { Secrets::Read }
    }

    /// A join token; none where it is left alone.
    fn invitation(self, path: &Path) -> anyhow::Result<Option<Invitation>> {
        let token = self.read(path)?;
        match self {
            Secrets::Leave => Ok(None),
            Secrets::Read => {
                let token = token.reveal().parse().with_context(|| format!("cannot use {}", path.display()))?;
                Ok(Some(token))
            }
        }
    }

    fn read(self, path: &Path) -> anyhow::Result<Token> {
        let text = match self {
            Secrets::Leave => String::new(),
            Secrets::Read => std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the secret in {}", path.display()))?,
        };
        Ok(Token::new(text.trim().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_no_job_could_ask_for_are_refused() {
        let labels: Labels = "disk=ssd,rack=a=b,".parse().unwrap();
        assert_eq!(labels.0, BTreeMap::from([("disk".into(), "ssd".into()), ("rack".into(), "a=b".into())]));
        for (text, wanted) in [("ssd", "not KEY=VALUE"), ("a b=1", "no key"), ("=1", "no key"), ("a=1,a=2", "twice")] {
            assert!(text.parse::<Labels>().is_err_and(|error| error.contains(wanted)), "{text}");
        }
    }

    #[test]
    fn a_device_has_a_kind_and_files_below_dev() {
        let read = |text: &str| devices(text.parse().unwrap());
        let good =
            read("['GPU-1']\nkind = 'gpu'\n['0000:3b:00.0']\nkind = 'gpu'\npaths = ['/dev/dri/card0']\n").unwrap();
        assert_eq!(good.iter().map(|device| device.id.as_str()).collect::<Vec<_>>(), ["0000:3b:00.0", "GPU-1"]);
        for (text, wanted) in [
            ("[g]\npaths = []\n", "missing field `kind`"),
            ("[g]\nkind = 'GPU'\n", "`GPU` is not a kind of device"),
            ("['a b']\nkind = 'gpu'\n", "`a b` is not a device's id"),
            ("[g]\nkind = 'gpu'\npaths = ['/etc/shadow']\n", "`/etc/shadow` is not a file below /dev"),
            ("[g]\nkind = 'gpu'\npaths = ['/dev/../etc/shadow']\n", "is not a file below /dev"),
        ] {
            let error = format!("{:#}", read(text).map(drop).unwrap_err());
            assert!(error.contains("`devices.") && error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn a_credential_has_a_user_and_a_file_and_nothing_else() {
        let read = |text: &str| credential_entries(text.parse().unwrap());
        let good = read("[registry]\nusername = 'u'\npassword_file = '/nonexistent'\n").unwrap();
        assert_eq!(good["registry"].username, "u");
        for (text, wanted) in [
            ("[r]\nusername = 'u'\n", "missing field `password_file`"),
            ("[r]\nusername = 'u'\npassword_file = 'p'\npassword = 'x'\n", "unknown field `password`"),
            ("r = 1\n", "invalid type"),
        ] {
            let error = format!("{:#}", read(text).map(drop).unwrap_err());
            assert!(error.contains("`credentials.r`") && error.contains(wanted), "{error}");
        }
    }
}

//! The etcd of a lab with several servers: three members on nodes of their own.

use std::time::Duration;

use berth_lab::{Lab, NodeName, NodeSpec};

use super::node_name;
use crate::exit::{Status, failed};

/// Members; one may be down.
const MEMBERS: usize = 3;
/// Where they listen for clients and for each other.
const PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;
/// How long a member may take to be there.
const READY: Duration = Duration::from_secs(60);

/// Starts the members and gives their addresses, as a server takes them.
pub fn start(lab: &mut Lab) -> anyhow::Result<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|folder| folder.join("etcd").is_file()) {
        let message =
            "a lab with several servers needs the program `etcd` on this machine: install Debian's etcd-server";
        return Err(failed(Status::Usage, message));
    }
    let names: Vec<NodeName> =
        (1..=MEMBERS).map(|number| node_name(&format!("etcd-{number}"))).collect::<anyhow::Result<_>>()?;
    let addresses = lab.next_addresses(MEMBERS);
    let peers = names.iter().zip(&addresses).map(|(name, address)| format!("{name}=http://{address}:{PEER_PORT}"));
    let peers = peers.collect::<Vec<_>>().join(",");
    for name in &names {
        lab.add_node(name, |address| {
            let (clients, peer) = (format!("http://{address}:{PORT}"), format!("http://{address}:{PEER_PORT}"));
            let flags = [
                ("--name", name.as_str()),
                ("--data-dir", "/var/lib/berth/etcd"),
                ("--listen-client-urls", &clients),
                ("--advertise-client-urls", &clients),
                ("--listen-peer-urls", &peer),
                ("--initial-advertise-peer-urls", &peer),
                ("--initial-cluster", &peers),
            ];
            let flags = flags.into_iter().map(|(flag, value)| format!("{flag}={value}"));
            NodeSpec { command: std::iter::once("etcd".to_owned()).chain(flags).collect(), ..NodeSpec::default() }
        })?;
    }
    for name in &names {
        lab.wait_port(name, PORT, READY)?;
    }
    Ok(addresses.iter().map(|address| format!("http://{address}:{PORT}")).collect::<Vec<_>>().join(","))
}

//! What the nodes of a lab are told about themselves: a TOML file with a table of agent settings for each.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use berth_lab::NodeName;

use crate::config;

/// What an agent of a lab is told by its command, so that no file can.
const TOLD_BY_THE_LAB: [&str; 5] = ["data_dir", "server", "token_file", "name", "address"];

/// The settings of nodes, as texts of their agents' configuration files; checked as an agent would.
#[derive(Default)]
pub struct NodeSettings(BTreeMap<NodeName, String>);

impl NodeSettings {
    /// Reads the file for a lab with these nodes.
    pub fn read(path: &Path, nodes: &[NodeName]) -> anyhow::Result<NodeSettings> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        NodeSettings::parse(path, &text, nodes)
    }

    fn parse(path: &Path, text: &str, nodes: &[NodeName]) -> anyhow::Result<NodeSettings> {
        let tables: BTreeMap<String, toml::Table> = toml::from_str(text)
            .with_context(|| format!("{}: expected a table of settings for each node", path.display()))?;
        let settings = |(name, table): (String, toml::Table)| {
            let node = nodes.iter().find(|node| node.as_str() == name);
            let node = node.with_context(|| {
                format!("{}: there will be no node `{name}`, only {}", path.display(), words(nodes))
            })?;
            check(path, &table).with_context(|| format!("settings of {node}"))?;
            Ok((node.clone(), toml::to_string(&table)?))
        };
        tables.into_iter().map(settings).collect::<anyhow::Result<_>>().map(NodeSettings)
    }

    /// The configuration file of a node's agent.
    pub fn of(&self, node: &NodeName) -> &str {
        self.0.get(node).map_or("", String::as_str)
    }
}

fn words(nodes: &[NodeName]) -> String {
    nodes.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ")
}

fn check(path: &Path, table: &toml::Table) -> anyhow::Result<()> {
    if let Some(key) = TOLD_BY_THE_LAB.iter().find(|key| table.contains_key(**key)) {
        bail!("{}: the lab itself sets `{key}`; leave it out", path.display());
    }
    config::check_node(path, table.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeName {
        name.parse().unwrap()
    }

    fn parse(text: &str) -> anyhow::Result<NodeSettings> {
        NodeSettings::parse(Path::new("nodes.toml"), text, &[node("node-1"), node("node-2")])
    }

    #[test]
    fn a_node_is_told_what_its_table_says_and_no_other_is() {
        let told = parse("[node-2]\nrack = 'r1'\nlabels = 'disk=ssd'\n[node-2.devices.GPU-1]\nkind = 'gpu'\n").unwrap();
        assert_eq!(told.of(&node("node-1")), "");
        let second: toml::Table = told.of(&node("node-2")).parse().unwrap();
        assert_eq!(second["rack"].as_str(), Some("r1"));
        assert_eq!(second["devices"]["GPU-1"]["kind"].as_str(), Some("gpu"));
    }

    #[test]
    fn what_no_agent_of_the_lab_would_take_is_refused() {
        for (text, wanted) in [
            ("rack = 'r1'", "nodes.toml: expected a table of settings for each node"),
            ("[node-3]", "nodes.toml: there will be no node `node-3`, only node-1, node-2"),
            ("[node-1]\nname = 'other'", "settings of node-1: nodes.toml: the lab itself sets `name`; leave it out"),
            ("[node-1]\nmemmory = '1GiB'", "nodes.toml: unknown setting `memmory`; did you mean `memory`?"),
            ("[node-1]\ncpu = 'much'", "settings of node-1: setting `cpu` (from file nodes.toml)"),
            ("[node-1.devices.GPU-1]\nkind = 'GPU'", "`GPU` is not a kind of device"),
        ] {
            let error = format!("{:#}", parse(text).map(drop).unwrap_err());
            assert!(error.contains(wanted), "{error}");
        }
    }
}

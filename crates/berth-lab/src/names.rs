//! Names of labs and nodes: checked once, then safe to use in paths, links and cgroups.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::LabError;

/// A link name has at most 15 bytes, of which `v123-` is ours.
const LAB_NAME_MAX: usize = 10;
/// A host name label may be longer, but nobody wants to read it.
const NODE_NAME_MAX: usize = 32;

/// Name of a lab, unique on a machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LabName(String);

/// Name of a node, unique in its lab.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

impl LabName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The bridge of the lab on the host.
    pub(crate) fn bridge(&self) -> String {
        format!("bl-{}", self.0)
    }

    /// The host's end of the link to the node with this index.
    pub(crate) fn host_link(&self, index: u8) -> String {
        format!("v{index}-{}", self.0)
    }

    /// The folder of the lab below the root of every cgroup hierarchy.
    pub(crate) fn cgroup(&self) -> String {
        format!("berth-lab-{}", self.0)
    }
}

impl NodeName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(what: &'static str, max: usize, name: &str) -> Result<(), LabError> {
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    let fits = name.len() <= max;
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if starts && fits && plain {
        return Ok(());
    }
    Err(LabError::BadName { what, name: name.to_owned(), max })
}

impl TryFrom<String> for LabName {
    type Error = LabError;
    fn try_from(name: String) -> Result<Self, LabError> {
        check("lab", LAB_NAME_MAX, &name)?;
        Ok(LabName(name))
    }
}

impl TryFrom<String> for NodeName {
    type Error = LabError;
    fn try_from(name: String) -> Result<Self, LabError> {
        check("node", NODE_NAME_MAX, &name)?;
        Ok(NodeName(name))
    }
}

impl FromStr for LabName {
    type Err = LabError;
    fn from_str(name: &str) -> Result<Self, LabError> {
        name.to_owned().try_into()
    }
}

impl FromStr for NodeName {
    type Err = LabError;
    fn from_str(name: &str) -> Result<Self, LabError> {
        name.to_owned().try_into()
    }
}

impl From<LabName> for String {
    fn from(name: LabName) -> String {
        name.0
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> String {
        name.0
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_links_or_paths_are_refused() {
        for bad in ["", "-a", "1a", "A", "a/b", "..", "a b", "elevenchars", "ä"] {
            assert!(bad.parse::<LabName>().is_err(), "{bad:?} was taken");
        }
        for good in ["a", "default", "t-12345678"] {
            assert!(good.parse::<LabName>().is_ok(), "{good:?} was refused");
        }
    }

    #[test]
    fn every_link_name_fits_the_kernel() {
        let longest: LabName = "tencharsss".parse().unwrap();
        assert!(longest.bridge().len() <= 15);
        assert!(longest.host_link(u8::MAX).len() <= 15);
    }
}

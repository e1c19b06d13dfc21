//! The ways in which a job names an image. Parsing only: nothing is looked up here.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

use super::digest::{Digest, DigestError};

/// Longest text taken for a reference.
const MAX_LEN: usize = 1024;

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImageReference {
    /// `host[:port]/name[:tag][@digest]`
    Registry(RegistryReference),
    /// `oci:FOLDER[:TAG]`: an OCI layout folder.
    Layout {
        /// The folder, absolute.
        folder: PathBuf,
        /// The tag; None where the layout has one image only.
        tag: Option<String>,
    },
    /// `oci-archive:FILE[:TAG]`: a tar archive of an OCI layout folder.
    Archive {
        /// The file, absolute.
        file: PathBuf,
        /// The tag; None where the archive has one image only.
        tag: Option<String>,
    },
}

/// An image in a registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryReference {
    /// Host, and port where it is not the usual one.
    pub host: String,
    /// Name of the repository.
    pub repository: String,
    /// Which of the repository's images.
    pub version: Version,
}

/// Which image of a repository is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// What the tag points to now.
    Tag(String),
    /// This one, for ever.
    Digest(Digest),
}

/// Why a text is not a reference.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReferenceError {
    /// Empty, or too long.
    #[error("an image reference has 1 to {MAX_LEN} characters, this one has {0}")]
    Length(usize),
    /// A URL.
    #[error(
        "`{0}` is a URL; write the image as host/name:tag, without a scheme (loopback hosts get plain HTTP, all others HTTPS)"
    )]
    Scheme(String),
    /// No host.
    #[error("`{0}` names no registry; write its host first, such as docker.io/library/{0}")]
    NoHost(String),
    /// Something that cannot be a host.
    #[error("`{0}` cannot be the host of a registry; expected host or host:port")]
    Host(String),
    /// Something that cannot be a repository.
    #[error("`{0}` cannot be a repository; expected lower-case letters, digits, and `.`, `_`, `-`, `/` between them")]
    Name(String),
    /// Something that cannot be a tag.
    #[error("`{0}` cannot be a tag; expected up to 128 letters, digits, `_`, `.`, `-`")]
    Tag(String),
    /// Something that cannot be a digest.
    #[error("the part after `@` is wrong")]
    Digest(#[from] DigestError),
    /// A folder or file that depends on where the agent was started.
    #[error("`{0}` is a relative path; an agent needs an absolute one")]
    RelativePath(String),
}

impl ImageReference {
    /// Reads a reference.
    pub fn parse(text: &str) -> Result<ImageReference, ReferenceError> {
        if text.is_empty() || text.len() > MAX_LEN {
            return Err(ReferenceError::Length(text.len()));
        }
        if text.contains("://") {
            return Err(ReferenceError::Scheme(text.to_owned()));
        }
        if let Some(rest) = text.strip_prefix("oci:") {
            let (folder, tag) = path_and_tag(rest)?;
            return Ok(ImageReference::Layout { folder, tag });
        }
        if let Some(rest) = text.strip_prefix("oci-archive:") {
            let (file, tag) = path_and_tag(rest)?;
            return Ok(ImageReference::Archive { file, tag });
        }
        registry(text).map(ImageReference::Registry)
    }
}

impl FromStr for ImageReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<ImageReference, ReferenceError> {
        ImageReference::parse(text)
    }
}

impl RegistryReference {
    /// Whether the host is this machine: the one case in which plain HTTP is spoken.
    pub fn is_loopback(&self) -> bool {
        is_loopback(host_without_port(&self.host))
    }
}

/// Whether `host`, without a port, is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn host_without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some(_) | None => host,
    }
}

/// A tag has no `/`, so a colon before the last `/` belongs to the path.
fn path_and_tag(text: &str) -> Result<(PathBuf, Option<String>), ReferenceError> {
    let (path, tag) = match text.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(checked_tag(tag)?)),
        Some(_) | None => (text, None),
    };
    if !path.starts_with('/') {
        return Err(ReferenceError::RelativePath(path.to_owned()));
    }
    Ok((PathBuf::from(path), tag))
}

fn registry(text: &str) -> Result<RegistryReference, ReferenceError> {
    let (host, rest) = text.split_once('/').ok_or_else(|| ReferenceError::NoHost(text.to_owned()))?;
    if !host.contains(['.', ':']) && host != "localhost" {
        return Err(ReferenceError::NoHost(text.to_owned()));
    }
    if !is_host(host) {
        return Err(ReferenceError::Host(host.to_owned()));
    }
    let (rest, digest) = match rest.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.parse()?)),
        None => (rest, None),
    };
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) => (name, checked_tag(tag)?),
        None => (rest, "latest".to_owned()),
    };
    let repository = checked_name(name)?;
    // With both, the digest decides: it cannot point to two things.
    let version = digest.map_or(Version::Tag(tag), Version::Digest);
    Ok(RegistryReference { host: host.to_owned(), repository, version })
}

fn is_host(host: &str) -> bool {
    let name = host_without_port(host);
    let port = host.get(name.len() + 1..);
    let ok_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let six = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let ok_name = match six {
        Some(six) => six.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.split('.').all(|label| {
            let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
            !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
        }),
    };
    ok_port && ok_name
}

fn checked_tag(text: &str) -> Result<String, ReferenceError> {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    let ok = (1..=128).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with(['.', '-']);
    if ok { Ok(text.to_owned()) } else { Err(ReferenceError::Tag(text.to_owned())) }
}

fn checked_name(text: &str) -> Result<String, ReferenceError> {
    let ok = text.len() <= 255 && text.split('/').all(is_name_part);
    if ok { Ok(text.to_owned()) } else { Err(ReferenceError::Name(text.to_owned())) }
}

fn is_name_part(part: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let inner = |b: u8| alnum(b) || matches!(b, b'.' | b'_' | b'-');
    let ends = part.bytes().next().is_some_and(alnum) && part.bytes().next_back().is_some_and(alnum);
    ends && part.bytes().all(inner) && !part.contains("..")
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, path, tag) = match self {
            ImageReference::Registry(reference) => return reference.fmt(f),
            ImageReference::Layout { folder, tag } => ("oci", folder, tag),
            ImageReference::Archive { file, tag } => ("oci-archive", file, tag),
        };
        write!(f, "{kind}:{}", path.display())?;
        tag.iter().try_for_each(|tag| write!(f, ":{tag}"))
    }
}

impl fmt::Display for RegistryReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        match &self.version {
            Version::Tag(tag) => write!(f, ":{tag}"),
            Version::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn references_are_shown_as_they_are_written() {
        for text in [
            "127.0.0.1:5000/web:1.2",
            "[::1]:5000/web:1.2",
            "localhost/a/b-c/d__e:x",
            "ghcr.io/o/n:v1.0.0-rc.1",
            &format!("registry.example:443/team/app@sha256:{HEX}"),
            "oci:/srv/images/web:1.2",
            "oci:/srv/im:ages/web",
            "oci-archive:/srv/web.tar:latest",
        ] {
            assert_eq!(ImageReference::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_missing_tag_is_latest_and_a_digest_beats_a_tag() {
        assert_eq!(ImageReference::parse("a.b/c").unwrap().to_string(), "a.b/c:latest");
        let both = format!("a.b/c:1@sha256:{HEX}");
        assert_eq!(ImageReference::parse(&both).unwrap().to_string(), format!("a.b/c@sha256:{HEX}"));
    }

    #[test]
    fn wrong_references_say_what_is_wrong() {
        let said = |text: &str| ImageReference::parse(text).unwrap_err().to_string();
        assert!(said("nginx:1.27").contains("docker.io/library/nginx:1.27"));
        assert!(said("team/app").contains("names no registry"));
        assert!(said("http://127.0.0.1/x").contains("without a scheme"));
        assert!(said("a.b/Web").contains("`Web` cannot be a repository"));
        assert!(said("a.b/../etc").contains("cannot be a repository"));
        assert!(said("a.b/c:").contains("`` cannot be a tag"));
        assert!(said("a.b:99999/c").contains("cannot be the host"));
        assert!(said("-a.b/c").contains("cannot be the host"));
        assert!(said("oci:images/web").contains("relative path"));
        assert_eq!(said("a.b/c@sha256:12"), "the part after `@` is wrong");
        assert!(said("").contains("1 to 1024"));
    }

    #[test]
    fn only_this_machine_is_loopback() {
        let loopback = |text: &str| match ImageReference::parse(text).unwrap() {
            ImageReference::Registry(reference) => reference.is_loopback(),
            ImageReference::Layout { .. } | ImageReference::Archive { .. } => false,
        };
        for here in ["localhost/a", "localhost:5000/a", "127.8.9.1:80/a", "[::1]:80/a"] {
            assert!(loopback(here), "{here}");
        }
        for there in ["10.0.0.1:80/a", "localhost.example/a", "127.0.0.1.nip.io/a", "[fe80::1]:80/a"] {
            assert!(!loopback(there), "{there}");
        }
    }
}

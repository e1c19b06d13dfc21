//! The form of an image reference. Whether such an image exists is for the agent to find out.

const LONGEST: usize = 512;

/// Why `text` is not a reference, in words that say what to write instead.
pub(super) fn check(text: &str) -> Result<(), String> {
    if text.len() > LONGEST {
        return Err(format!("an image reference has at most {LONGEST} characters"));
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("an image reference has no blanks or control characters".to_owned());
    }
    for scheme in ["oci:", "oci-archive:"] {
        if let Some(rest) = text.strip_prefix(scheme) {
            return layout(scheme, rest);
        }
    }
    if text.contains("://") {
        return Err("expected an image reference without a scheme, such as `registry.example.org/web:1.2`".to_owned());
    }
    registry(text)
}

fn layout(scheme: &str, rest: &str) -> Result<(), String> {
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (rest, None),
    };
    if !path.starts_with('/') {
        return Err(format!("expected an absolute path after `{scheme}`"));
    }
    tag.map_or(Ok(()), check_tag)
}

fn registry(text: &str) -> Result<(), String> {
    let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
    let (host, path) = name.split_once('/').unwrap_or(("", name));
    let is_host = host.contains('.') || host.contains(':') || host == "localhost";
    if !is_host {
        return Err("expected the registry's host first, such as `docker.io/library/nginx:1.27`".to_owned());
    }
    check_host(host)?;
    let (path, tag) = path.rsplit_once(':').map_or((path, None), |(path, tag)| (path, Some(tag)));
    for part in path.split('/') {
        check_part(part)?;
    }
    tag.map_or(Ok(()), check_tag)?;
    match (tag, digest) {
        (_, Some(digest)) => check_digest(digest),
        (Some(_), None) => Ok(()),
        (None, None) => Err("expected a tag or a digest at the end, such as `:1.27` or `@sha256:…`".to_owned()),
    }
}

fn check_host(host: &str) -> Result<(), String> {
    let (name, port) = host.rsplit_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    let label = |l: &str| {
        !l.is_empty()
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let port_ok = port.is_none_or(|p| p.parse::<u16>().is_ok_and(|n| n > 0));
    if name.split('.').all(label) && port_ok {
        Ok(())
    } else {
        Err("the registry's host must be a name or an IPv4 address, with an optional `:port`".to_owned())
    }
}

fn check_part(part: &str) -> Result<(), String> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let edges = bytes.first().copied().is_some_and(inner) && bytes.last().copied().is_some_and(inner);
    if edges && bytes.iter().all(|b| inner(*b) || b"._-".contains(b)) {
        Ok(())
    } else {
        Err("each part of an image's name must be of a-z, 0-9, `.`, `_` and `-`, beginning and ending with a letter or digit".to_owned())
    }
}

fn check_tag(tag: &str) -> Result<(), String> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let first = tag.bytes().next().is_some_and(word);
    if first && tag.len() <= 128 && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-') {
        Ok(())
    } else {
        Err("a tag must be 1 to 128 letters, digits, `_`, `.` and `-`, not beginning with `.` or `-`".to_owned())
    }
}

fn check_digest(digest: &str) -> Result<(), String> {
    let hex = digest.strip_prefix("sha256:");
    if hex.is_some_and(|h| h.len() == 64 && h.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))) {
        Ok(())
    } else {
        Err("a digest must be `sha256:` and 64 hexadecimal digits in lower case".to_owned())
    }
}

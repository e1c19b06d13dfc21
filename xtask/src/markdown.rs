//! What holds for documents: links to files lead somewhere, and `make` has the targets that are named.

use std::path::Path;

use crate::tidy::Fault;

/// Faults of one document.
pub fn check(root: &Path, path: &Path, content: &str, targets: &[String]) -> Vec<Fault> {
    let folder = root.join(path.parent().unwrap_or(Path::new("")));
    let mut faults = Vec::new();
    for (index, line) in content.lines().enumerate() {
        for link in links(line).filter(|link| !leads_somewhere(&folder, link)) {
            faults.push(Fault::new(index + 1, format!("the link to {link} leads nowhere")));
        }
        for target in made(line).filter(|target| !targets.iter().any(|known| known == target)) {
            faults.push(Fault::new(index + 1, format!("the Makefile has no target {target}")));
        }
    }
    faults
}

/// Targets of `[text](target)`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("](").filter_map(|(at, _)| line[at + 2..].split([')', ' ']).next())
}

fn leads_somewhere(folder: &Path, link: &str) -> bool {
    let elsewhere = link.contains("://") || link.starts_with("mailto:") || link.starts_with('#');
    elsewhere || folder.join(link.split('#').next().unwrap_or_default()).exists()
}

/// Names after `make` in code: at the start of a line, or of a backtick.
fn made(line: &str) -> impl Iterator<Item = &str> {
    let at_start = line.trim_start().trim_start_matches("$ ").strip_prefix("make ");
    let in_ticks = line.match_indices("`make ").map(|(at, found)| &line[at + found.len()..]);
    let names = at_start.into_iter().chain(in_ticks);
    names.filter_map(|rest| rest.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')).next())
}

/// The targets of a Makefile.
pub fn make_targets(makefile: &str) -> Vec<String> {
    let heads = makefile.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    heads.filter_map(|line| line.split_once(':')).map(|(name, _)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(content: &str) -> usize {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        check(dir, Path::new("README.md"), content, &make_targets("test: a ## T\nbuild:\n")).len()
    }

    #[test]
    fn links_must_lead_to_a_file() {
        assert_eq!(faults("[a](Cargo.toml) [b](https://x.org) [c](#d) [e](src/main.rs#L1)\n"), 0);
        assert_eq!(faults("[a](Cargo.tom)\n"), 1);
    }

    #[test]
    fn targets_must_exist() {
        assert_eq!(faults("run `make test`, then\n\n    make build\n"), 0);
        assert_eq!(faults("run `make nothing`\n"), 1);
    }
}

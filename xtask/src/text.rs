//! What holds for every text file.

use crate::tidy::Fault;

/// Notes to oneself: finish it, or open an issue. Taken apart here, or this file would be at fault.
const NOTES: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Folders that exist on a developer's machine only.
const MACHINES: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/ro", "ot/")];

/// Faults of one file.
pub fn check(name: &str, content: &str) -> Vec<Fault> {
    let tabs_are_syntax = name.ends_with("Makefile");
    let mut faults = Vec::new();
    for (index, line) in content.split_terminator('\n').enumerate() {
        let number = index + 1;
        if line.contains('\t') && !tabs_are_syntax {
            faults.push(Fault::new(number, "tab"));
        }
        if line.ends_with([' ', '\t', '\r']) {
            faults.push(Fault::new(number, "blank at the end of the line"));
        }
        for note in NOTES.iter().filter(|note| has_word(line, note)) {
            faults.push(Fault::new(number, format!("{note}: do it now or open an issue")));
        }
        for folder in MACHINES.iter().filter(|folder| starts_a_path(line, folder)) {
            faults.push(Fault::new(number, format!("{folder} is a folder of one machine")));
        }
    }
    if !content.is_empty() && !content.ends_with('\n') {
        faults.push(Fault::new(content.lines().count(), "no line break at the end of the file"));
    }
    faults
}

fn has_word(line: &str, word: &str) -> bool {
    let is_letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word)
        .any(|(at, _)| !is_letter(line[..at].chars().next_back()) && !is_letter(line[at + word.len()..].chars().next()))
}

/// Whether a path begins with the folder: `/x/` does in `"/x/y"`, not in `data/x/y`.
fn starts_a_path(line: &str, folder: &str) -> bool {
    let in_a_path = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '}' | '>' | ')' | '$' | '~');
    line.match_indices(folder).any(|(at, _)| !line[..at].chars().next_back().is_some_and(in_a_path))
}

/// In a list of bans, every entry says why: with `reason = ` or a comment behind it.
pub fn check_reasons(content: &str) -> Vec<Fault> {
    let entry = |line: &str| line.contains("{ path =") || line.contains("{ crate =");
    let bare = |line: &str| !line.contains("reason =") && !line.contains('#');
    let lines = content.lines().enumerate().filter(|(_, line)| entry(line) && bare(line));
    lines.map(|(index, _)| Fault::new(index + 1, "a ban without a reason")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(content: &str) -> usize {
        check("a.txt", content).len()
    }

    #[test]
    fn clean_text_is_fine() {
        assert_eq!(count("a\n\nb data/work/x XXXL\n"), 0);
        assert_eq!(check("Makefile", "a:\n\tb\n"), Vec::new());
    }

    #[test]
    fn each_planted_fault_is_found() {
        for line in ["a\tb", "a ", "a\r"] {
            assert_eq!(count(&format!("{line}\n")), 1, "{line:?}");
        }
        for word in NOTES {
            assert_eq!(count(&format!("// {word}: later\n")), 1);
        }
        for folder in MACHINES {
            assert_eq!(count(&format!("see \"{folder}x\"\n")), 1);
        }
        assert_eq!(count("no break"), 1);
    }

    #[test]
    fn a_ban_without_a_reason_is_found() {
        assert_eq!(check_reasons("x = [\n  { path = \"a::b\", reason = \"c\" },\n]\n").len(), 0);
        assert_eq!(check_reasons("x = [\n  { path = \"a::b\" },\n]\n").len(), 1);
    }
}

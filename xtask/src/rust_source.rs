//! What holds for every Rust file. Reads text, not syntax: rustfmt has made the layout reliable.

use std::ops::Range;

use crate::tidy::Fault;

const FUNCTION_LINES: usize = 70;
const FILE_LINES: usize = 800;
/// The excuse for a long function or file, directly before it.
const EXCUSE: &str = "// long: ";

/// Faults of one file.
pub fn check(name: &str, content: &str) -> Vec<Fault> {
    let lines: Vec<&str> = content.lines().collect();
    let mut faults = Vec::new();
    if !lines.first().is_some_and(|line| line.starts_with("//!")) {
        faults.push(Fault::new(1, "the first line is not a `//!` that says what the file is for"));
    }
    for (index, line) in lines.iter().enumerate() {
        let line = line.trim_start();
        if line.starts_with("#[allow(") || line.starts_with("#![allow(") {
            faults.push(Fault::new(index + 1, "use #[expect(.., reason = \"..\")]"));
        }
    }
    if is_test_file(name) {
        return faults;
    }
    let tests = test_modules(&lines);
    let length = lines.len() - tests.iter().map(ExactSizeIterator::len).sum::<usize>();
    let excused = lines.iter().take_while(|line| line.starts_with("//")).any(|line| line.starts_with(EXCUSE));
    if length > FILE_LINES && !excused {
        faults.push(Fault::new(0, format!("{length} lines without tests; {FILE_LINES} at most, or `{EXCUSE}why`")));
    }
    for function in functions(&lines).into_iter().filter(|f| !tests.iter().any(|range| range.contains(&f.start))) {
        if function.len() > FUNCTION_LINES && !is_excused(&lines, function.start) {
            let message = format!("a function of {} lines; {FUNCTION_LINES} at most, or `{EXCUSE}why`", function.len());
            faults.push(Fault::new(function.start + 1, message));
        }
    }
    faults
}

fn is_test_file(name: &str) -> bool {
    name.contains("/tests/") || name.ends_with("/tests.rs") || name.ends_with("/testkit.rs")
}

/// The lines of modules that are for tests only.
pub fn test_modules(lines: &[&str]) -> Vec<Range<usize>> {
    let starts = lines.iter().enumerate().filter(|(_, line)| line.trim() == "#[cfg(test)]");
    let module = |(index, _): (usize, &&str)| {
        let opens =
            lines.iter().skip(index).position(|line| line.trim_start().starts_with("mod ") && line.ends_with('{'))?;
        (opens < 8).then(|| index..block_end(lines, index + opens))
    };
    starts.filter_map(module).collect()
}

/// The lines of every function that has a body of several lines.
fn functions(lines: &[&str]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate().filter(|(_, line)| is_function(line)) {
        // The header may span lines; it ends with the body's brace, or with `;` in a trait.
        let header = lines.iter().skip(index).position(|l| l.ends_with('{') || l.ends_with('}') || l.ends_with(';'));
        let Some(header) = header.map(|offset| index + offset) else { continue };
        if lines[header].ends_with('{') && indent(lines[header]) == indent(line) {
            found.push(index..block_end(lines, header));
        }
    }
    found
}

fn is_function(line: &str) -> bool {
    let qualifiers = ["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe", "extern", "\"C\"", "default"];
    line.split_whitespace().find(|word| !qualifiers.contains(word)) == Some("fn")
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// One past the line that closes the block opened on line `open`.
fn block_end(lines: &[&str], open: usize) -> usize {
    let depth = indent(lines[open]);
    let close = |line: &&str| indent(line) == depth && line.trim_start().starts_with('}');
    lines.iter().skip(open + 1).position(close).map_or(lines.len(), |offset| open + offset + 2)
}

/// Whether the comments and attributes directly before a line hold an excuse.
fn is_excused(lines: &[&str], start: usize) -> bool {
    let above = lines[..start].iter().rev().map(|line| line.trim_start());
    let mut block = above.take_while(|line| line.starts_with("//") || line.starts_with('#'));
    block.any(|line| line.starts_with(EXCUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(lines: usize) -> String {
        format!("fn f() {{\n{}}}\n", "    x();\n".repeat(lines - 2))
    }

    fn faults(content: &str) -> Vec<Fault> {
        check("crates/a/src/a.rs", content)
    }

    #[test]
    fn a_file_needs_a_purpose() {
        assert_eq!(faults("//! Why.\n"), Vec::new());
        assert_eq!(faults("use std;\n").len(), 1);
        assert_eq!(faults("").len(), 1);
    }

    #[test]
    fn a_bare_allow_is_found() {
        assert_eq!(faults("//! Why.\n#[allow(dead_code)]\nfn f() {}\n").len(), 1);
        assert_eq!(faults("//! Why.\n#![allow(dead_code)]\n").len(), 1);
    }

    #[test]
    fn a_long_function_needs_an_excuse() {
        assert_eq!(faults(&format!("//! Why.\n{}", function(70))), Vec::new());
        assert_eq!(faults(&format!("//! Why.\n{}", function(71))).len(), 1);
        assert_eq!(faults(&format!("//! Why.\n// long: a table\n{}", function(71))), Vec::new());
        let header = format!("//! Why.\npub async fn f(\n    a: u8,\n) {{\n{}}}\n", "    x();\n".repeat(70));
        assert_eq!(faults(&header).len(), 1, "a header of several lines hid the function");
    }

    #[test]
    fn a_long_file_needs_an_excuse_and_tests_do_not_count() {
        let body = "const A: u8 = 0;\n".repeat(800);
        assert_eq!(faults(&format!("//! Why.\n{body}")).len(), 1);
        assert_eq!(faults(&format!("//! Why.\n// long: a table\n{body}")), Vec::new());
        let tests = format!("//! Why.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "    const A: u8 = 0;\n".repeat(900));
        assert_eq!(faults(&tests), Vec::new());
    }
}

//! Keeps a shim small: the program that it is part of is not, and what beginning has touched of it
//! would stay in memory for as long as the task runs.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ptr;

use nix::libc;

/// Unmaps the pages of code and constants that are in memory. Those that are needed again come back from
/// the page cache, a fault each; the rest is most of what a shim would weigh.
pub(super) fn let_go_of_files() {
    let Ok(maps) = File::open("/proc/self/smaps") else { return };
    // A line at a time: the whole text would leave the heap larger than it was.
    let (mut mapping, mut found) = (None, Vec::new());
    for line in BufReader::new(maps).lines().map_while(Result::ok) {
        if let Some(anonymous) = line.strip_prefix("Anonymous:") {
            found.extend(mapping.take().filter(|_| anonymous.trim() == "0 kB"));
        } else if let Some(next) = file(&line) {
            mapping = Some(next);
        }
    }
    // At the end, so that looking brings nothing back.
    for (start, length) in found {
        // SAFETY: a private mapping that cannot be written and has no page of its own holds nothing but
        // the file's bytes, so that what is dropped here is read again unchanged. Constants that the
        // linker has relocated are pages of the process's own.
        unsafe { libc::madvise(ptr::without_provenance_mut(start), length, libc::MADV_DONTNEED) };
    }
}

/// Start and length of a mapping of a file that cannot be written.
fn file(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let is_constant = fields.next().is_some_and(|access| access == "r-xp" || access == "r--p");
    let is_file = fields.nth(3).is_some_and(|path| path.starts_with('/'));
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    (is_constant && is_file).then(|| (start, end - start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_constants_of_files_are_let_go_of() {
        assert_eq!(file("1000-3000 r-xp 00001000 fe:00 12   /usr/bin/berth"), Some((0x1000, 0x2000)));
        assert_eq!(file("1000-3000 r--p 00001000 fe:00 12   /usr/bin/berth"), Some((0x1000, 0x2000)));
        assert_eq!(file("1000-3000 rw-p 00001000 fe:00 12   /usr/bin/berth"), None);
        assert_eq!(file("1000-3000 rw-p 00000000 00:00 0    [heap]"), None);
        assert_eq!(file("1000-3000 r-xp 00000000 00:00 0    [vdso]"), None);
        assert_eq!(file("Rss:                 100 kB"), None);
    }

    #[test]
    fn constants_and_code_are_as_before() {
        let names: Vec<String> = Some("a name").into_iter().map(str::to_uppercase).collect();
        let_go_of_files();
        assert_eq!(names, ["A NAME"]);
    }
}

//! Keeps a shim small: the program that it is part of is not, and what beginning has touched of it
//! would stay in memory for as long as the task runs.

use std::fs;
use std::ptr;

use nix::libc;

/// Unmaps the pages of code that are in memory. Those that are needed again come back from the page
/// cache, a fault each; the rest is most of what a shim would weigh.
pub(super) fn let_go_of_code() {
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return };
    for (start, length) in maps.lines().filter_map(code) {
        // SAFETY: a private mapping of a file that cannot be written holds nothing but the file's own
        // bytes (the linker relocates no code), so that what is dropped here is read again unchanged.
        unsafe { libc::madvise(ptr::without_provenance_mut(start), length, libc::MADV_DONTNEED) };
    }
}

/// Start and length of a mapping of a file's code.
fn code(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let is_code = fields.next() == Some("r-xp") && fields.nth(3).is_some_and(|path| path.starts_with('/'));
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    is_code.then(|| (start, end - start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_files_is_let_go_of() {
        assert_eq!(code("1000-3000 r-xp 00001000 fe:00 12   /usr/bin/berth"), Some((0x1000, 0x2000)));
        assert_eq!(code("1000-3000 r--p 00001000 fe:00 12   /usr/bin/berth"), None);
        assert_eq!(code("1000-3000 rw-p 00000000 00:00 0    [heap]"), None);
        assert_eq!(code("1000-3000 r-xp 00000000 00:00 0    [vdso]"), None);
    }
}

//! Lines and their fields, as bytes where they lie: a file of 20 MB is split without an allocation per line.

use std::io::{self, BufRead};

use crate::dimacs::error::{Field, LineError, ReadError};

/// The most characters of a wrong field that an error repeats.
const SHOWN: usize = 40;

/// The lines of a reader, without their line feeds.
pub(super) struct Lines<R> {
    reader: R,
    limit: usize,
    /// The number of the last one, from 1.
    line: u64,
    /// The beginning of a line whose end the reader's buffer did not hold.
    begun: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// With at most `limit` bytes each.
    pub(super) fn new(reader: R, limit: usize) -> Lines<R> {
        Lines { reader, limit, line: 0, begun: Vec::new() }
    }

    /// The number of the last line.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// What `take` makes of the next line and its number; `None` at the end.
    pub(super) fn next<T>(
        &mut self,
        take: impl FnOnce(u64, &[u8]) -> Result<T, LineError>,
    ) -> Result<Option<T>, ReadError> {
        self.begun.clear();
        loop {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(ReadError::Read { line: self.line, source }),
            };
            let end = buffer.iter().position(|&byte| byte == b'\n');
            let piece = &buffer[..end.unwrap_or(buffer.len())];
            let line = self.line + 1;
            let wrong = |source| ReadError::Line { line, source };
            if self.begun.len() + piece.len() > self.limit {
                return Err(wrong(LineError::TooLong { limit: self.limit }));
            }
            let is_last = buffer.is_empty();
            if is_last && self.begun.is_empty() {
                return Ok(None);
            }
            if end.is_none() && !is_last {
                self.begun.extend_from_slice(piece);
                let used = piece.len();
                self.reader.consume(used);
                continue;
            }
            let taken = if self.begun.is_empty() {
                take(line, piece)
            } else {
                self.begun.extend_from_slice(piece);
                take(line, &self.begun)
            };
            let used = piece.len() + usize::from(end.is_some());
            self.reader.consume(used);
            self.line = line;
            return taken.map(Some).map_err(wrong);
        }
    }
}

/// The fields of a line, one after the other.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn new(line: &'a [u8]) -> Fields<'a> {
        Fields(line)
    }

    /// The next field; `None` at the end.
    pub(super) fn next(&mut self) -> Option<&'a [u8]> {
        let begin = self.0.iter().position(|&byte| !is_space(byte))?;
        let text = &self.0[begin..];
        let end = text.iter().position(|&byte| is_space(byte)).unwrap_or(text.len());
        self.0 = &text[end..];
        Some(&text[..end])
    }

    /// The next field as a number.
    pub(super) fn number(&mut self, field: Field, least: i64, greatest: i64) -> Result<i64, LineError> {
        let text = self.next().ok_or(LineError::FieldMissing { field })?;
        match parse(text) {
            Some(number) if least <= number && number <= greatest => Ok(number),
            _ => Err(LineError::FieldWrong { field, least, greatest, found: shown(text) }),
        }
    }

    /// There must be no further field.
    pub(super) fn end(mut self) -> Result<(), LineError> {
        self.next().map_or(Ok(()), |text| Err(LineError::FieldExtra { found: shown(text) }))
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

/// A whole number in decimal digits, with a minus sign or without.
fn parse(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    // Towards the negative side, which reaches one further.
    let mut number: i64 = 0;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_sub(i64::from(digit))?;
    }
    if negative { Some(number) } else { number.checked_neg() }
}

/// A field as an error shows it: short and printable.
pub(super) fn shown(text: &[u8]) -> String {
    let start = &text[..text.len().min(SHOWN)];
    let dots = if text.len() > SHOWN { "…" } else { "" };
    format!("{}{dots}", start.escape_ascii())
}

//! Lines and their fields, as bytes where they lie: a file of 20 MB is split without an allocation per line.

use std::io::{self, BufRead};

use crate::dimacs::error::{Field, LineError, ReadError};

/// The most characters of a wrong field that an error repeats.
const SHOWN: usize = 40;

/// Hands all lines, without their line feeds, to `take`, with their numbers from 1; returns the last number.
pub(super) fn each_line(
    mut reader: impl BufRead,
    limit: usize,
    mut take: impl FnMut(u64, &[u8]) -> Result<(), LineError>,
) -> Result<u64, ReadError> {
    let mut line = 0;
    // The beginning of a line whose end the buffer does not hold.
    let mut begun: Vec<u8> = Vec::new();
    let mut check = |line: u64, text: &[u8]| {
        let taken = if text.len() > limit { Err(LineError::TooLong { limit }) } else { take(line, text) };
        taken.map_err(|source| ReadError::Line { line, source })
    };
    loop {
        let buffer = match reader.fill_buf() {
            Ok(buffer) => buffer,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(ReadError::Read { line, source }),
        };
        if buffer.is_empty() {
            break;
        }
        let mut rest = buffer;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            line += 1;
            if begun.is_empty() {
                check(line, &rest[..end])?;
            } else {
                begun.extend_from_slice(&rest[..end.min(limit + 1)]);
                check(line, &begun)?;
                begun.clear();
            }
            rest = &rest[end + 1..];
        }
        if begun.len() + rest.len() > limit {
            return Err(ReadError::Line { line: line + 1, source: LineError::TooLong { limit } });
        }
        begun.extend_from_slice(rest);
        let used = buffer.len();
        reader.consume(used);
    }
    if !begun.is_empty() {
        line += 1;
        check(line, &begun)?;
    }
    Ok(line)
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

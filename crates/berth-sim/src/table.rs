//! Reads files of comma-separated values with a header, and tells what is wrong with one and where.

use std::io::Read;

use serde::de::DeserializeOwned;
use thiserror::Error;

/// What is wrong with a file, and where.
#[derive(Debug, Error)]
pub enum TraceError {
    /// A line that is not what was expected.
    #[error("{file}, line {line}: {problem}")]
    Line {
        /// The file, as it was named.
        file: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong, and what was expected.
        problem: String,
    },
    /// A file that is empty where it must not be.
    #[error("{file} has no {what}: expected at least one below the header")]
    Empty {
        /// The file, as it was named.
        file: String,
        /// What is missing.
        what: &'static str,
    },
    /// A file that cannot be read to its end.
    #[error("cannot read {file}: {source}")]
    Read {
        /// The file, as it was named.
        file: String,
        /// Why.
        source: std::io::Error,
    },
}

/// The most rows of a file: more is a wrong file.
pub(crate) const MOST: usize = 1_000_000;

/// The most memory for decompressing: what `xz -9` asks for.
const XZ_MEMORY_KIB: u32 = 66 << 10;

/// What a file says: unpacked with xz where its name ends so.
pub(crate) fn unpacked<'a>(input: impl Read + 'a, file: &str) -> Box<dyn Read + 'a> {
    let several_streams = true;
    if file.ends_with(".xz") {
        Box::new(lzma_rust2::XzReader::new_mem_limit(input, several_streams, XZ_MEMORY_KIB))
    } else {
        Box::new(input)
    }
}

/// The rows of a file with a header, each with its line.
pub(crate) fn rows<T: DeserializeOwned>(
    input: impl Read,
    file: &str,
    what: &'static str,
) -> Result<Vec<(u64, T)>, TraceError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(input);
    let mut rows = Vec::new();
    let headers = reader.headers().map_err(|error| of_csv(error, file, 1))?.clone();
    let mut record = csv::StringRecord::new();
    loop {
        let line = reader.position().line();
        if !reader.read_record(&mut record).map_err(|error| of_csv(error, file, line))? {
            break;
        }
        let line = record.position().map_or(line, csv::Position::line);
        if rows.len() == MOST {
            let problem = format!("more than {MOST} {what}: expected the list of one experiment");
            return Err(TraceError::Line { file: file.to_owned(), line, problem });
        }
        rows.push((line, record.deserialize(Some(&headers)).map_err(|error| of_csv(error, file, line))?));
    }
    if rows.is_empty() {
        return Err(TraceError::Empty { file: file.to_owned(), what });
    }
    Ok(rows)
}

fn of_csv(error: csv::Error, file: &str, line: u64) -> TraceError {
    let line = error.position().map_or(line, csv::Position::line).max(1);
    let problem = match error.into_kind() {
        csv::ErrorKind::Io(source) => return TraceError::Read { file: file.to_owned(), source },
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} fields: expected {expected_len}, as in the header")
        }
        csv::ErrorKind::Utf8 { .. } => "not text: expected UTF-8".to_owned(),
        csv::ErrorKind::Deserialize { err, .. } => err.to_string(),
        other => format!("{other:?}"),
    };
    TraceError::Line { file: file.to_owned(), line, problem }
}

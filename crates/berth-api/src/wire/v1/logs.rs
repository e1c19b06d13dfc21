//! Log lines as they travel: one JSON object a line.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ErrorInfo, Number, Time};

/// The longest log line that travels, as JSON. A task's line of more bytes than a frame holds arrives in parts.
pub const LOG_LINE_BYTES: usize = 256 << 10;

/// What a stream of logs consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LogRecord {
    /// A line, or a part of one.
    Line(LogLine),
    /// The agent cannot go on. Always last.
    Error {
        /// Why.
        error: ErrorInfo,
    },
}

/// A line that a task wrote, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// When it was read, as the node's clock tells.
    pub time: Time,
    /// Where it was written.
    pub stream: LogStream,
    /// Its number within the task's logs; a gap means that lines were lost.
    pub sequence: Number,
    /// Whether the line goes on in the next record of the same stream.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// What it says, without the line's end. Bytes that are not UTF-8 are replaced; `base64` has them as they were.
    pub text: String,
    /// The bytes in base64, where they are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

/// Where a line was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LogLine {
    /// A whole line of these bytes.
    pub fn new(time: Time, stream: LogStream, sequence: Number, bytes: &[u8]) -> LogLine {
        use base64::Engine as _;
        let (text, base64) = match std::str::from_utf8(bytes) {
            Ok(text) => (text.to_owned(), None),
            Err(_) => {
                let exact = base64::engine::general_purpose::STANDARD.encode(bytes);
                (String::from_utf8_lossy(bytes).into_owned(), Some(exact))
            }
        };
        LogLine { time, stream, sequence, partial: false, text, base64 }
    }

    /// The bytes as the task wrote them.
    pub fn bytes(&self) -> Vec<u8> {
        use base64::Engine as _;
        let exact = self.base64.as_ref().and_then(|b| base64::engine::general_purpose::STANDARD.decode(b).ok());
        exact.unwrap_or_else(|| self.text.clone().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_model::Timestamp;

    #[test]
    fn bytes_survive_whatever_they_are() {
        for bytes in [b"plain".as_slice(), b"", b"caf\xc3\xa9", b"\xff\x00broken"] {
            let line = LogLine::new(Time(Timestamp(0)), LogStream::Stdout, Number(1), bytes);
            let text = serde_json::to_string(&LogRecord::Line(line)).unwrap();
            match serde_json::from_str(&text).unwrap() {
                LogRecord::Line(line) => assert_eq!(line.bytes(), bytes),
                LogRecord::Error { error } => panic!("{error}"),
            }
        }
    }
}

//! Lines of JSON that arrive in pieces of any size, each of a bounded length.

use bytes::{Buf, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why a line is not understood.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// Longer than lines may be.
    #[error("line is over the limit of {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// Not what was expected.
    #[error("line {number} is not understood")]
    Json {
        /// Which, from 1.
        number: u64,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The stream ended within a line.
    #[error("stream ended within line {number}")]
    Truncated {
        /// Which, from 1.
        number: u64,
    },
}

/// Puts lines together. It holds at most one line and one piece.
#[derive(Debug)]
pub struct LineDecoder {
    buffer: BytesMut,
    /// How much of the buffer is known to have no line's end, so that a long line is looked at once.
    searched: usize,
    limit: usize,
    number: u64,
}

impl LineDecoder {
    /// A decoder of lines of at most `limit` bytes.
    pub fn new(limit: usize) -> LineDecoder {
        LineDecoder { buffer: BytesMut::new(), searched: 0, limit, number: 0 }
    }

    /// Takes a piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next whole line, understood. None: more is needed. Empty lines are passed over.
    pub fn next_line<T: DeserializeOwned>(&mut self) -> Result<Option<T>, LineError> {
        loop {
            let Some(at) = self.buffer[self.searched..].iter().position(|b| *b == b'\n') else {
                self.searched = self.buffer.len();
                let too_long = self.buffer.len() > self.limit;
                return if too_long { Err(LineError::TooLong { limit: self.limit }) } else { Ok(None) };
            };
            let line = self.buffer.split_to(self.searched + at);
            self.buffer.advance(1);
            self.searched = 0;
            self.number += 1;
            if line.len() > self.limit {
                return Err(LineError::TooLong { limit: self.limit });
            }
            if !line.iter().all(u8::is_ascii_whitespace) {
                let parsed = serde_json::from_slice(&line);
                return parsed.map(Some).map_err(|source| LineError::Json { number: self.number, source });
            }
        }
    }

    /// Says that no more will come.
    pub fn finish(&self) -> Result<(), LineError> {
        if self.buffer.is_empty() { Ok(()) } else { Err(LineError::Truncated { number: self.number + 1 }) }
    }
}

/// A value as a line, its end included.
pub fn encode_line<T: Serialize>(value: &T) -> Bytes {
    let mut line = serde_json::to_vec(value).expect("wire types have text keys and no failing serialisers");
    line.push(b'\n');
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lines_survive_any_cut(values in proptest::collection::vec(".{0,50}", 0..10), piece in 1usize..80) {
            let bytes: Vec<u8> = values.iter().flat_map(|v| encode_line(v).to_vec()).collect();
            let mut decoder = LineDecoder::new(1000);
            let mut seen = Vec::new();
            for piece in bytes.chunks(piece) {
                decoder.push(piece);
                while let Some(value) = decoder.next_line::<String>().unwrap() {
                    seen.push(value);
                }
            }
            prop_assert!(decoder.finish().is_ok());
            prop_assert_eq!(seen, values);
        }
    }

    #[test]
    fn long_broken_and_cut_lines_are_named() {
        let mut decoder = LineDecoder::new(8);
        decoder.push(b"123456789");
        assert_eq!(decoder.next_line::<u64>().unwrap_err().to_string(), "line is over the limit of 8 bytes");
        let mut decoder = LineDecoder::new(8);
        decoder.push(b"1\n\n{\n5");
        assert_eq!(decoder.next_line::<u64>().unwrap(), Some(1));
        assert_eq!(decoder.next_line::<u64>().unwrap_err().to_string(), "line 3 is not understood");
        assert_eq!(decoder.next_line::<u64>().unwrap(), None);
        assert_eq!(decoder.finish().unwrap_err().to_string(), "stream ended within line 4");
    }
}

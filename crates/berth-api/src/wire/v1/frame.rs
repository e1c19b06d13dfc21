//! The frames of a terminal's tunnel, version 1: small, binary, with a bounded length.
//!
//! ```text
//! byte 0      the type
//! bytes 1-4   the payload's length, big-endian, at most 64 KiB
//! then        the payload
//! ```
//!
//! | type | name   | from   | payload |
//! |------|--------|--------|---------|
//! | 1    | open   | user   | an [`ExecRequest`] as JSON; first, and never again; the server consumes it |
//! | 2    | stdin  | user   | bytes; none of them means that the input has ended |
//! | 3    | resize | user   | rows and columns, each two bytes, big-endian |
//! | 4    | stdout | agent  | bytes |
//! | 5    | stderr | agent  | bytes |
//! | 6    | exit   | agent  | how the process ended, an [`ExitKind`] as JSON; last |
//! | 7    | error  | agent, server | why it cannot go on, an [`ErrorInfo`] as JSON; last |

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{ErrorInfo, ExecRequest, ExitKind, TerminalSize};

/// The longest payload.
pub const FRAME_PAYLOAD_BYTES: usize = 64 << 10;
const HEADER: usize = 5;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Which process is wanted.
    Open(ExecRequest),
    /// Input; empty at its end.
    Stdin(Bytes),
    /// The user's terminal has another size.
    Resize(TerminalSize),
    /// Output.
    Stdout(Bytes),
    /// Error output.
    Stderr(Bytes),
    /// The process ended.
    Exit(ExitKind),
    /// It cannot go on.
    Error(ErrorInfo),
}

/// Why bytes are not frames, or a frame cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Of an unknown type.
    #[error("frame of unknown type {0}")]
    UnknownType(u8),
    /// Longer than frames may be.
    #[error("{kind} frame of {length} bytes is over the limit of {FRAME_PAYLOAD_BYTES}")]
    TooLong {
        /// Its type.
        kind: &'static str,
        /// Its length.
        length: usize,
    },
    /// With a payload that does not say what its type says.
    #[error("payload of {kind} frame is not understood")]
    Json {
        /// Its type.
        kind: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// With a payload of the wrong length.
    #[error("{kind} frame has {length} bytes where {expected} are expected")]
    Length {
        /// Its type.
        kind: &'static str,
        /// How many it has.
        length: usize,
        /// How many it should have.
        expected: usize,
    },
    /// The stream ended within a frame.
    #[error("stream ended within a frame")]
    Truncated,
}

impl Frame {
    fn kind(&self) -> (u8, &'static str) {
        match self {
            Frame::Open(_) => (1, "open"),
            Frame::Stdin(_) => (2, "stdin"),
            Frame::Resize(_) => (3, "resize"),
            Frame::Stdout(_) => (4, "stdout"),
            Frame::Stderr(_) => (5, "stderr"),
            Frame::Exit(_) => (6, "exit"),
            Frame::Error(_) => (7, "error"),
        }
    }

    /// The bytes of this frame.
    pub fn encode(&self) -> Result<Bytes, FrameError> {
        let (number, kind) = self.kind();
        let json = |payload: serde_json::Result<Vec<u8>>| {
            payload.map(Bytes::from).map_err(|source| FrameError::Json { kind, source })
        };
        let payload = match self {
            Frame::Open(request) => json(serde_json::to_vec(request))?,
            Frame::Stdin(bytes) | Frame::Stdout(bytes) | Frame::Stderr(bytes) => bytes.clone(),
            Frame::Resize(size) => {
                let mut payload = BytesMut::with_capacity(4);
                payload.put_u16(size.rows);
                payload.put_u16(size.columns);
                payload.freeze()
            }
            Frame::Exit(how) => json(serde_json::to_vec(how))?,
            Frame::Error(error) => json(serde_json::to_vec(error))?,
        };
        if payload.len() > FRAME_PAYLOAD_BYTES {
            return Err(FrameError::TooLong { kind, length: payload.len() });
        }
        let mut frame = BytesMut::with_capacity(HEADER + payload.len());
        frame.put_u8(number);
        frame.put_u32(u32::try_from(payload.len()).expect("checked against the limit above"));
        frame.put(payload);
        Ok(frame.freeze())
    }

    fn decode(number: u8, payload: Bytes) -> Result<Frame, FrameError> {
        fn json<T: serde::de::DeserializeOwned>(kind: &'static str, payload: &[u8]) -> Result<T, FrameError> {
            serde_json::from_slice(payload).map_err(|source| FrameError::Json { kind, source })
        }
        match number {
            1 => Ok(Frame::Open(json("open", &payload)?)),
            2 => Ok(Frame::Stdin(payload)),
            3 => resize(payload),
            4 => Ok(Frame::Stdout(payload)),
            5 => Ok(Frame::Stderr(payload)),
            6 => Ok(Frame::Exit(json("exit", &payload)?)),
            7 => Ok(Frame::Error(json("error", &payload)?)),
            unknown => Err(FrameError::UnknownType(unknown)),
        }
    }
}

fn resize(mut payload: Bytes) -> Result<Frame, FrameError> {
    if payload.len() != 4 {
        return Err(FrameError::Length { kind: "resize", length: payload.len(), expected: 4 });
    }
    Ok(Frame::Resize(TerminalSize { rows: payload.get_u16(), columns: payload.get_u16() }))
}

/// Puts frames together from bytes that arrive in pieces of any size. It holds at most one frame and one piece.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    buffer: BytesMut,
}

impl FrameDecoder {
    /// Takes a piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next whole frame. None: more is needed.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some((header, _)) = self.buffer.split_first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        if length > FRAME_PAYLOAD_BYTES {
            return Err(FrameError::TooLong { kind: "incoming", length });
        }
        let number = header[0];
        if self.buffer.len() < HEADER + length {
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        Frame::decode(number, self.buffer.split_to(length).freeze()).map(Some)
    }

    /// Says that no more will come.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.buffer.is_empty() { Ok(()) } else { Err(FrameError::Truncated) }
    }

    /// What has arrived beyond the last frame taken out.
    pub fn into_rest(self) -> Bytes {
        self.buffer.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::v1::{AllocId, ErrorKind};
    use proptest::prelude::*;

    fn frames() -> impl Strategy<Value = Frame> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..2000).prop_map(Bytes::from);
        prop_oneof![
            bytes().prop_map(Frame::Stdin),
            bytes().prop_map(Frame::Stdout),
            bytes().prop_map(Frame::Stderr),
            any::<(u16, u16)>().prop_map(|(rows, columns)| Frame::Resize(TerminalSize { rows, columns })),
            any::<u8>().prop_map(|status| Frame::Exit(ExitKind::Status { status })),
            ".{0,200}".prop_map(|text| Frame::Error(ErrorInfo::new(ErrorKind::NotFound, text))),
            (1u64.., proptest::collection::vec(".{0,20}", 1..4)).prop_map(|(counter, command)| {
                Frame::Open(ExecRequest {
                    alloc: AllocId(berth_model::AllocId::new(berth_model::Incarnation(1), counter)),
                    task: "main".parse().unwrap(),
                    command,
                    terminal: Some(TerminalSize { rows: 24, columns: 80 }),
                })
            }),
        ]
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut(frames in proptest::collection::vec(frames(), 0..8), piece in 1usize..700) {
            let mut bytes = Vec::new();
            for frame in &frames {
                bytes.extend_from_slice(&frame.encode().unwrap());
            }
            let mut decoder = FrameDecoder::default();
            let mut seen = Vec::new();
            for piece in bytes.chunks(piece) {
                decoder.push(piece);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    seen.push(frame);
                }
            }
            prop_assert!(decoder.finish().is_ok());
            prop_assert_eq!(seen, frames);
        }

        #[test]
        fn any_bytes_are_frames_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut decoder = FrameDecoder::default();
            decoder.push(&bytes);
            for _ in 0..=bytes.len() {
                if !matches!(decoder.next_frame(), Ok(Some(_))) {
                    break;
                }
            }
        }
    }

    #[test]
    fn a_long_frame_is_refused_before_it_arrives() {
        let mut decoder = FrameDecoder::default();
        decoder.push(&[2, 0x7f, 0xff, 0xff, 0xff]);
        let error = decoder.next_frame().unwrap_err();
        assert_eq!(error.to_string(), "incoming frame of 2147483647 bytes is over the limit of 65536");
        let long = Frame::Stdout(Bytes::from(vec![0; FRAME_PAYLOAD_BYTES + 1]));
        assert_eq!(long.encode().unwrap_err().to_string(), "stdout frame of 65537 bytes is over the limit of 65536");
    }

    #[test]
    fn a_cut_within_a_frame_is_noticed() {
        let mut decoder = FrameDecoder::default();
        decoder.push(&[2, 0, 0, 0, 4, b'a']);
        assert!(decoder.next_frame().unwrap().is_none());
        assert_eq!(decoder.finish().unwrap_err().to_string(), "stream ended within a frame");
    }
}

//! A segment's file: a header with magic and version, then blocks of compressed lines, each with its length and its
//! checksums. A file that was being written when its writer died ends in a torn block; what is before it is whole.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use berth_model::Bytes;

/// What every segment begins with.
const MAGIC: &[u8; 8] = b"BERTHJNL";
/// The version of the format: of this framing and of the lines in it.
const VERSION: u32 = 1;
const HEADER: usize = 12;
/// Length, checksum of the payload, checksum of these two.
const BLOCK_HEADER: usize = 12;
/// The most bytes of a block, compressed or not. A longer length is damage.
const LONGEST_BLOCK: usize = 64 << 20;
/// Compression that keeps up with any load.
const LEVEL: i32 = 1;

/// A segment that is being written.
#[derive(Debug)]
pub struct SegmentFile {
    file: File,
    bytes: u64,
}

impl SegmentFile {
    /// A new file; an older one of that name is written over, since it never came to more than its name.
    pub fn create(path: &Path) -> io::Result<SegmentFile> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(MAGIC)?;
        file.write_all(&VERSION.to_le_bytes())?;
        Ok(SegmentFile { file, bytes: HEADER as u64 })
    }

    /// How much was written.
    pub fn size(&self) -> Bytes {
        Bytes(self.bytes)
    }

    /// Appends lines as one block.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let block = block(lines)?;
        self.file.write_all(&block)?;
        self.bytes += block.len() as u64;
        Ok(())
    }
}

fn block(lines: &[u8]) -> io::Result<Vec<u8>> {
    let payload = zstd::bulk::compress(lines, LEVEL)?;
    let length = u32::try_from(payload.len()).map_err(|_| io::Error::other("a block over 4 GiB"))?;
    let mut block = length.to_le_bytes().to_vec();
    block.extend(crc32fast::hash(&payload).to_le_bytes());
    block.extend(crc32fast::hash(&block).to_le_bytes());
    block.extend(payload);
    Ok(block)
}

/// Why a segment cannot be read, or not further.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system refused.
    #[error("cannot read the journal {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is something else.
    #[error("{path} is no journal: name a file `….journal` of a server's folder `journal`, or that folder")]
    NotAJournal {
        /// Which.
        path: PathBuf,
    },
    /// A newer Berth wrote it.
    #[error("{path} has version {found} and this program knows version {VERSION}: use the program that wrote it")]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// It is damaged.
    #[error(
        "{path} is damaged at byte {at}: {problem}; what is behind it cannot be replayed: take the file from a backup, or \
         replay the other segments alone"
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Where.
        at: u64,
        /// What is wrong there.
        problem: String,
    },
}

/// How a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a whole block.
    Whole,
    /// With a part of one, from this byte on: its writer died.
    Torn(u64),
}

/// Reads a segment block by block.
#[derive(Debug)]
pub struct SegmentReader {
    path: PathBuf,
    file: io::BufReader<File>,
    at: u64,
}

impl SegmentReader {
    /// Opens a segment and looks at its header, or finds that its writer died before it had one.
    pub fn open(path: &Path) -> Result<Result<SegmentReader, End>, ReadError> {
        let io = |source| ReadError::Io { path: path.to_owned(), source };
        let mut file = io::BufReader::new(File::open(path).map_err(io)?);
        let mut header = [0; HEADER];
        let length = fill(&mut file, &mut header).map_err(io)?;
        if !MAGIC.starts_with(&header[..length.min(MAGIC.len())]) {
            return Err(ReadError::NotAJournal { path: path.to_owned() });
        }
        if length < HEADER {
            return Ok(Err(End::Torn(0)));
        }
        let found = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        match found {
            VERSION => Ok(Ok(SegmentReader { path: path.to_owned(), file, at: HEADER as u64 })),
            0 => Err(ReadError::Damaged { path: path.to_owned(), at: 8, problem: "there is no version 0".to_owned() }),
            found => Err(ReadError::Newer { path: path.to_owned(), found }),
        }
    }

    /// The lines of the next block, with the place where it begins.
    pub fn next(&mut self) -> Result<Result<(u64, Vec<u8>), End>, ReadError> {
        let at = self.at;
        let mut header = [0; BLOCK_HEADER];
        let length = fill(&mut self.file, &mut header).map_err(|source| self.io(source))?;
        if length == 0 {
            return Ok(Err(End::Whole));
        }
        if length < BLOCK_HEADER {
            return Ok(Err(End::Torn(at)));
        }
        let word =
            |from: usize| u32::from_le_bytes([header[from], header[from + 1], header[from + 2], header[from + 3]]);
        let (length, sum, own) = (word(0) as usize, word(4), word(8));
        if crc32fast::hash(&header[..8]) != own || length > LONGEST_BLOCK {
            return Err(self.damaged(at, "the block's header does not add up"));
        }
        let mut payload = vec![0; length];
        if fill(&mut self.file, &mut payload).map_err(|source| self.io(source))? < length {
            return Ok(Err(End::Torn(at)));
        }
        if crc32fast::hash(&payload) != sum {
            return Err(self.damaged(at, "the block does not add up"));
        }
        self.at += (BLOCK_HEADER + length) as u64;
        match unpacked(&payload) {
            Ok(lines) => Ok(Ok((at, lines))),
            Err(error) => Err(self.damaged(at, &format!("the block does not unpack: {error}"))),
        }
    }

    fn io(&self, source: io::Error) -> ReadError {
        ReadError::Io { path: self.path.clone(), source }
    }

    /// Something at this byte is not as it was written.
    pub fn damaged(&self, at: u64, problem: &str) -> ReadError {
        ReadError::Damaged { path: self.path.clone(), at, problem: problem.to_owned() }
    }
}

fn unpacked(payload: &[u8]) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    zstd::stream::read::Decoder::new(payload)?.take(LONGEST_BLOCK as u64).read_to_end(&mut lines)?;
    Ok(lines)
}

/// Reads until the buffer is full or the file ends; tells how much there was.
fn fill(file: &mut impl io::Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

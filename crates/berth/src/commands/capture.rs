//! `--json` for commands that run a command: one document with what it wrote and how it ended.

use berth_api::wire::v1::LogStream;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::output::Format;

/// Bytes of each stream that a document holds at most.
const LIMIT: usize = 16 << 20;

/// The document. Bytes that are not UTF-8 are replaced.
#[derive(Serialize)]
struct Document<'a> {
    /// The exit status; 128 and the signal's number when one ended it.
    status: u8,
    stdout: &'a str,
    stderr: &'a str,
}

/// Where a command's output goes.
pub enum Output {
    /// To the same stream of this process, as it comes.
    Through,
    /// Into the document.
    Kept {
        /// Standard output.
        stdout: Vec<u8>,
        /// Standard error.
        stderr: Vec<u8>,
    },
}

impl Output {
    /// Where it goes in this format.
    pub fn new(format: Format) -> Output {
        match format {
            Format::Text => Output::Through,
            Format::Json => Output::Kept { stdout: Vec::new(), stderr: Vec::new() },
        }
    }

    /// A piece of output.
    pub async fn write(&mut self, stream: LogStream, bytes: &[u8]) -> anyhow::Result<()> {
        match (self, stream) {
            (Output::Through, LogStream::Stdout) => through(tokio::io::stdout(), bytes).await,
            (Output::Through, LogStream::Stderr) => through(tokio::io::stderr(), bytes).await,
            (Output::Kept { stdout, .. }, LogStream::Stdout) => keep(stdout, bytes),
            (Output::Kept { stderr, .. }, LogStream::Stderr) => keep(stderr, bytes),
        }
    }

    /// The command has ended with this status.
    pub fn end(self, status: u8) -> anyhow::Result<()> {
        let Output::Kept { stdout, stderr } = self else { return Ok(()) };
        let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        let document = Document { status, stdout: &stdout, stderr: &stderr };
        Format::Json.show(&document, |_| String::new())
    }
}

async fn through(mut out: impl AsyncWrite + Unpin, bytes: &[u8]) -> anyhow::Result<()> {
    out.write_all(bytes).await?;
    Ok(out.flush().await?)
}

fn keep(kept: &mut Vec<u8>, bytes: &[u8]) -> anyhow::Result<()> {
    kept.extend_from_slice(bytes);
    anyhow::ensure!(kept.len() <= LIMIT, "the command wrote more than {LIMIT} bytes; without --json there is no limit");
    Ok(())
}

/// All of a stream, for the document.
pub async fn read(stream: impl AsyncRead + Unpin) -> anyhow::Result<Vec<u8>> {
    let mut kept = Vec::new();
    stream.take(LIMIT as u64 + 1).read_to_end(&mut kept).await?;
    keep(&mut kept, &[])?;
    Ok(kept)
}

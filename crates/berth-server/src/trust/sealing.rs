//! Where the sealing key is kept: never in the store that it seals.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use berth_secrets::{SealingError, SealingKey};
use zeroize::Zeroizing;

/// Bytes of what a command for the sealing key may say.
const COMMAND_BYTES: usize = 4 << 10;

/// Where the sealing key is kept.
#[derive(Clone, Debug)]
pub enum SealingKeyPlace {
    /// In a file that the first server makes.
    Own(PathBuf),
    /// In a file of the operator's.
    File(PathBuf),
    /// It was given, by an environment variable.
    Given(SealingKey),
    /// A program tells it, with these arguments: that of a key service.
    Command(Vec<String>),
}

/// Why there is no sealing key.
#[derive(Debug, thiserror::Error)]
pub enum SealingKeyError {
    /// The file cannot be read or written.
    #[error("cannot {operation} the sealing key in {}", .path.display())]
    File {
        /// What was being done.
        operation: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// There is no file, and the cluster has a sealing key.
    #[error(
        "this server does not have the cluster's sealing key: let it join with a token (`join` and `join_token_file`), or \
         name the key with `sealing_key_file`; {} would hold it", .path.display()
    )]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
    /// The command failed.
    #[error("the command for the sealing key, {program}, failed: {problem}")]
    Command {
        /// Which.
        program: String,
        /// How.
        problem: String,
    },
    /// What is there is no key.
    #[error("what {place} holds cannot be used")]
    Content {
        /// Where it was found.
        place: String,
        /// Why not.
        #[source]
        source: SealingError,
    },
}

impl SealingKeyPlace {
    /// The key.
    pub fn read(&self) -> Result<SealingKey, SealingKeyError> {
        match self {
            SealingKeyPlace::Own(path) => {
                read_file(path)?.ok_or_else(|| SealingKeyError::Missing { path: path.clone() })
            }
            SealingKeyPlace::File(path) => read_file(path)?.ok_or_else(|| SealingKeyError::File {
                operation: "read",
                path: path.clone(),
                source: std::io::ErrorKind::NotFound.into(),
            }),
            SealingKeyPlace::Given(key) => Ok(key.clone()),
            SealingKeyPlace::Command(words) => ask(words),
        }
    }

    /// The key, which is made where a cluster begins and this is the place for it.
    pub fn read_or_make(&self) -> Result<SealingKey, SealingKeyError> {
        match self {
            SealingKeyPlace::Own(path) => match read_file(path)? {
                Some(key) => Ok(key),
                None => {
                    let key = SealingKey::make();
                    receive(path, &key)?;
                    tracing::info!(path = %path.display(), "sealing key made; keep a copy of it apart from the store's");
                    Ok(key)
                }
            },
            SealingKeyPlace::File(_) | SealingKeyPlace::Given(_) | SealingKeyPlace::Command(_) => self.read(),
        }
    }
}

/// Keeps the key, for the owner alone.
pub fn receive(path: &Path, key: &SealingKey) -> Result<(), SealingKeyError> {
    let text = Zeroizing::new(format!("{}\n", &*key.reveal()));
    let failed = |source| SealingKeyError::File { operation: "write", path: path.to_owned(), source };
    crate::folder::write_file(path, &text, 0o600).map_err(failed)
}

fn read_file(path: &Path) -> Result<Option<SealingKey>, SealingKeyError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(SealingKeyError::File { operation: "read", path: path.to_owned(), source }),
    };
    let wrong = |source| SealingKeyError::Content { place: path.display().to_string(), source };
    SealingKey::parse(&text).map(Some).map_err(wrong)
}

/// Asks a program, which tells the key on its standard output.
fn ask(words: &[String]) -> Result<SealingKey, SealingKeyError> {
    let program = words.first().cloned().unwrap_or_default();
    let failed = |problem: String| SealingKeyError::Command { program: program.clone(), problem };
    let mut command = Command::new(&program);
    command.args(words.get(1..).unwrap_or_default()).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    let said = Zeroizing::new(output.stdout);
    if !output.status.success() {
        return Err(failed(format!("it ended with {}", output.status)));
    }
    let text = std::str::from_utf8(&said).ok().filter(|text| text.len() <= COMMAND_BYTES);
    let text = text.ok_or_else(|| failed("it said something else than a key".to_owned()))?;
    let place = format!("the output of {program}");
    SealingKey::parse(text).map_err(|source| SealingKeyError::Content { place, source })
}

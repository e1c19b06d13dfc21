//! The data folder: who may look into it, and the token in it.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;

use crate::ServerError;

const TOKEN_FILE: &str = "token";
/// Bytes of randomness in a token.
const TOKEN_BYTES: usize = 32;
const SHORTEST_TOKEN: usize = 16;
const LONGEST_TOKEN: usize = 1024;

/// The folder, ready.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// What opens the server to users and agents.
    pub token: String,
}

impl Folder {
    /// Makes the folder and the token where they are missing.
    pub fn prepare(path: &Path) -> Result<Folder, ServerError> {
        make(path)?;
        let token = token(&path.join(TOKEN_FILE))?;
        Ok(Folder { path: path.to_owned(), token })
    }

    /// Where the token is.
    pub fn token_path(&self) -> PathBuf {
        self.path.join(TOKEN_FILE)
    }

    /// Where clients of this machine find whom to believe.
    pub fn authorities_path(&self) -> PathBuf {
        self.path.join("ca.pem")
    }

    /// Where the store is.
    pub fn store_path(&self) -> PathBuf {
        self.path.join("store.redb")
    }
}

/// Makes the folder where it is missing, for the owner alone.
pub fn make(path: &Path) -> Result<(), ServerError> {
    let failed = |operation, source| ServerError::Folder { operation, path: path.to_owned(), source };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| failed("make folder", source))?;
    let mode = fs::Permissions::from_mode(0o700);
    fs::set_permissions(path, mode).map_err(|source| failed("set the mode of folder", source))
}

/// Keeps the token that other servers have, unless there is one.
pub fn receive_token(folder: &Path, token: &str) -> Result<(), ServerError> {
    let path = folder.join(TOKEN_FILE);
    if path.exists() {
        return Ok(());
    }
    let written = write_file(&path, &format!("{token}\n"), 0o600);
    written.map_err(|source| ServerError::Folder { operation: "write token", path, source })
}

fn token(path: &Path) -> Result<String, ServerError> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let token = text.trim();
            let printable = token.bytes().all(|b| b.is_ascii_graphic());
            if !printable || !(SHORTEST_TOKEN..=LONGEST_TOKEN).contains(&token.len()) {
                return Err(ServerError::Token { path: path.to_owned() });
            }
            Ok(token.to_owned())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => make_token(path),
        Err(source) => Err(ServerError::Folder { operation: "read token", path: path.to_owned(), source }),
    }
}

fn make_token(path: &Path) -> Result<String, ServerError> {
    let token = random_text::<TOKEN_BYTES>();
    let written = write_file(path, &format!("{token}\n"), 0o600);
    written.map_err(|source| ServerError::Folder { operation: "write token", path: path.to_owned(), source })?;
    tracing::info!(path = %path.display(), "token made");
    Ok(token)
}

/// Writes a file under another name first: a crash in between must not leave half of it behind.
pub fn write_file(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

/// That many bytes of the system's randomness, as text for URLs.
pub fn random_text<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    let mut filled = 0;
    while filled < BYTES {
        let flags = rustix::rand::GetRandomFlags::empty();
        filled += rustix::rand::getrandom(&mut bytes[filled..], flags).expect("Linux gives randomness once it is up");
    }
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_for_the_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let first = Folder::prepare(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&first.token_path()), 0o600);
        assert_eq!(first.token.len(), 43);
        assert_eq!(Folder::prepare(&path).unwrap().token, first.token);
    }

    #[test]
    fn an_empty_token_file_is_refused_with_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("token"), "\n").unwrap();
        let error = Folder::prepare(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("remove it and a new one is made"), "{error}");
    }
}

//! The agent's own key: made once, kept in the data folder.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use berth_model::AgentKey;

use crate::AgentError;

/// The key of this data folder; a new one where there is none.
pub fn load_or_make(data_dir: &Path) -> Result<AgentKey, AgentError> {
    let path = data_dir.join("agent-key");
    match fs::read_to_string(&path) {
        Ok(text) if text.len() == 32 => Ok(AgentKey(text)),
        // A torn write of the first start: nothing has been registered under it.
        Ok(_) => make(&path),
        Err(error) if error.kind() == ErrorKind::NotFound => make(&path),
        Err(source) => Err(AgentError::File { operation: "read", path, source }),
    }
}

fn make(path: &Path) -> Result<AgentKey, AgentError> {
    let failed = |source| AgentError::File { operation: "write", path: path.to_owned(), source };
    let mut random = [0u8; 16];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).map_err(|e| failed(e.into()))?;
    let key: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(key.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    Ok(AgentKey(key))
}

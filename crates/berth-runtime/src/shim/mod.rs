//! The shim: a small process per allocation that keeps its tasks when everything else is gone.
//!
//! It starts them, forwards signals, writes their logs, records how they end, and tells whoever is
//! connected. It decides nothing: what to restart and when is the agent's. It has one thread, no async
//! runtime, and leaves work that takes memory to short-lived children.

mod begin;
mod client;
mod exec;
pub(crate) mod lease;
pub(crate) mod lock;
pub(crate) mod maker;
pub(crate) mod protocol;
mod server;
mod slim;
pub(crate) mod state;
mod task;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::process::ExitCode;

/// The entry of `berth shim`: returns in the calling process as soon as the shim, which goes on by
/// itself and is nobody's child, answers on its socket. Must be called before there is a second thread.
pub fn main(alloc_dir: &Path) -> ExitCode {
    match begin::begin(alloc_dir) {
        Ok(begin::Side::Caller(code)) => code,
        Ok(begin::Side::Shim(server)) => {
            let code = match server.serve() {
                Ok(()) => 0,
                Err(error) => {
                    eprintln!("shim: {error}");
                    1
                }
            };
            ExitCode::from(code)
        }
        Err(error) => {
            eprintln!("cannot start the shim of {}: {error}", alloc_dir.display());
            ExitCode::FAILURE
        }
    }
}

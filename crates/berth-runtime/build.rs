//! Links libseccomp into the program, so that nothing has to be installed where it runs.
//!
//! The `libseccomp-sys` crate can do that only when it is told a folder by the environment, which `cargo build` alone
//! does not have. So the linker is given a folder that holds nothing but the archive: it looks there before it looks
//! where the shared library is.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

const ARCHIVE: &str = "libseccomp.a";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it for build scripts"));
    match find().and_then(|archive| offer(&archive, &folder)) {
        Ok(()) => println!("cargo::rustc-link-search=native={}", folder.display()),
        Err(error) => {
            // A file that is not there: the next build looks again, when the archive may have been installed.
            println!("cargo::rerun-if-changed={}", folder.join(ARCHIVE).display());
            println!("cargo::warning=the program will need libseccomp.so.2 where it runs: {ARCHIVE}: {error}")
        }
    }
}

/// Where this system has the archive.
fn find() -> io::Result<PathBuf> {
    let libdir = pkg_config::get_variable("libseccomp", "libdir").map_err(io::Error::other)?;
    let archive = Path::new(&libdir).join(ARCHIVE);
    println!("cargo::rerun-if-changed={}", archive.display());
    fs::metadata(&archive).map(|_| archive)
}

fn offer(archive: &Path, folder: &Path) -> io::Result<()> {
    let link = folder.join(ARCHIVE);
    match fs::remove_file(&link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    symlink(archive, link)
}

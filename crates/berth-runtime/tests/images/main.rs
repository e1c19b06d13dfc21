//! Images with real parts: layouts and archives on disk, a real registry, a real overlay mount. Needs root.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod disk;
mod layout;
mod overlay;
mod patience;
mod registry;
mod sharing;
mod support;
mod unpack;

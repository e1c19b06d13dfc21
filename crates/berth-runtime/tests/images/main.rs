//! Images with real parts: layouts and archives on disk, a real registry, a real overlay mount. Needs root.

mod disk;
mod layout;
mod overlay;
mod registry;
mod sharing;
mod support;
mod unpack;

//! Runs tasks: drivers, shims, images, logs. The seam to containers; knows nothing of why something runs.

pub mod images;
pub mod logs;
pub mod seccomp;
pub mod shim;

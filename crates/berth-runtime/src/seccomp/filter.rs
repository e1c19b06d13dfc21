//! From a profile to a program of the kernel, and into force.
//!
//! Compiling takes longer than all else about a container that ends at once, and comes to the same for
//! every container with the same capabilities: the agent does it once and hands the result to the shims.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use nix::libc;
use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator};
use rustix::fs::MemfdFlags;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes of an instruction, as the kernel lays it out.
const INSTRUCTION: usize = 8;
/// Filters that are kept, one for each set of capabilities.
const MOST_KEPT: usize = 64;

/// A profile that this machine's kernel understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(Arc<[u8]>);

/// Why a profile could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// The library refused it.
    #[error("cannot compile the seccomp profile")]
    Compile(#[from] SeccompError),
    /// What it came to could not be read.
    #[error("cannot read the compiled seccomp profile")]
    Read(#[from] io::Error),
    /// It has what [`super::profile`] never makes.
    #[error("the seccomp profile has a `{0}`, which is not compiled here")]
    Unknown(String),
}

impl Filter {
    /// Compiles a profile.
    pub fn compile(profile: &LinuxSeccomp) -> Result<Self, FilterError> {
        let default = action(profile.default_action(), profile.default_errno_ret())?;
        let mut context = ScmpFilterContext::new(default)?;
        for arch in profile.architectures().iter().flatten() {
            context.add_arch(architecture(*arch)?)?;
        }
        for rule in profile.syscalls().iter().flatten() {
            let action = action(rule.action(), rule.errno_ret())?;
            let args: Vec<_> = rule.args().iter().flatten().map(comparison).collect();
            // A name that the library has not heard of is a call that no rule lets pass.
            for call in rule.names().iter().filter_map(|name| ScmpSyscall::from_name(name).ok()) {
                context.add_rule_conditional(action, call, &args)?;
            }
        }
        // To a file: older libraries know no other way.
        let mut file = File::from(rustix::fs::memfd_create("filter", MemfdFlags::CLOEXEC).map_err(io::Error::from)?);
        context.export_bpf(&file)?;
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        Ok(Self::from_bytes(bytes)?)
    }

    /// The program's bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// A filter from the bytes of another.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> io::Result<Self> {
        let count = bytes.len() / INSTRUCTION;
        if count == 0 || !bytes.len().is_multiple_of(INSTRUCTION) || u16::try_from(count).is_err() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no seccomp filter"));
        }
        Ok(Self(bytes.into()))
    }

    /// Puts it in force for this thread and all that it starts, for ever. The thread must be unable to
    /// gain privileges, or be privileged.
    pub fn load(&self) -> io::Result<()> {
        let mut program: Vec<libc::sock_filter> = self.0.chunks_exact(INSTRUCTION).map(instruction).collect();
        let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
        // SAFETY: the kernel reads the header and the instructions, which live until after the call.
        let loaded = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
        if loaded == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        STANDARD.encode(&self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = STANDARD.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)?;
        Self::from_bytes(bytes).map_err(serde::de::Error::custom)
    }
}

/// The filters that were compiled, by capabilities.
#[derive(Default)]
pub(crate) struct Filters(Mutex<BTreeMap<Vec<String>, Filter>>);

impl Filters {
    /// The filter of a container with these capabilities beyond the usual ones.
    pub fn get(&self, capabilities: &[String]) -> Result<Filter, FilterError> {
        let mut capabilities = capabilities.to_vec();
        capabilities.sort_unstable();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(filter) = kept.get(&capabilities) {
            return Ok(filter.clone());
        }
        let filter = Filter::compile(&super::profile(&capabilities))?;
        if kept.len() >= MOST_KEPT {
            kept.clear();
        }
        kept.insert(capabilities, filter.clone());
        Ok(filter)
    }
}

fn instruction(bytes: &[u8]) -> libc::sock_filter {
    libc::sock_filter {
        code: u16::from_ne_bytes([bytes[0], bytes[1]]),
        jt: bytes[2],
        jf: bytes[3],
        k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    }
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<ScmpAction, FilterError> {
    match action {
        LinuxSeccompAction::ScmpActAllow => Ok(ScmpAction::Allow),
        LinuxSeccompAction::ScmpActErrno => {
            let errno = errno.and_then(|errno| i32::try_from(errno).ok());
            Ok(ScmpAction::Errno(errno.unwrap_or(libc::EPERM)))
        }
        other => Err(FilterError::Unknown(format!("{other:?}"))),
    }
}

fn architecture(arch: Arch) -> Result<ScmpArch, FilterError> {
    match arch {
        Arch::ScmpArchNative => Ok(ScmpArch::Native),
        Arch::ScmpArchX86_64 => Ok(ScmpArch::X8664),
        Arch::ScmpArchX86 => Ok(ScmpArch::X86),
        Arch::ScmpArchX32 => Ok(ScmpArch::X32),
        Arch::ScmpArchAarch64 => Ok(ScmpArch::Aarch64),
        Arch::ScmpArchArm => Ok(ScmpArch::Arm),
        other => Err(FilterError::Unknown(format!("{other:?}"))),
    }
}

fn comparison(arg: &LinuxSeccompArg) -> ScmpArgCompare {
    let index = u32::try_from(arg.index()).expect("a call has six arguments");
    let second = arg.value_two().unwrap_or(0);
    match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => ScmpArgCompare::new(index, ScmpCompareOp::NotEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpLt => ScmpArgCompare::new(index, ScmpCompareOp::Less, arg.value()),
        LinuxSeccompOperator::ScmpCmpLe => ScmpArgCompare::new(index, ScmpCompareOp::LessOrEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpEq => ScmpArgCompare::new(index, ScmpCompareOp::Equal, arg.value()),
        LinuxSeccompOperator::ScmpCmpGe => ScmpArgCompare::new(index, ScmpCompareOp::GreaterEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpGt => ScmpArgCompare::new(index, ScmpCompareOp::Greater, arg.value()),
        // OCI's `value` is the mask, and `valueTwo` what must be left under it.
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            ScmpArgCompare::new(index, ScmpCompareOp::MaskedEqual(arg.value()), second)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_travels_as_text() {
        let filter = Filters::default().get(&["SYS_TIME".to_owned()]).unwrap();
        let text = serde_json::to_string(&filter).unwrap();
        assert_eq!(serde_json::from_str::<Filter>(&text).unwrap(), filter);
        assert!(serde_json::from_str::<Filter>("\"AAAA\"").is_err());
        assert!(serde_json::from_str::<Filter>("\"\"").is_err());
    }

    #[test]
    fn it_is_compiled_once_for_each_set_of_capabilities() {
        let filters = Filters::default();
        let one = filters.get(&["SYS_TIME".to_owned(), "BPF".to_owned()]).unwrap();
        let same = filters.get(&["BPF".to_owned(), "SYS_TIME".to_owned()]).unwrap();
        assert!(Arc::ptr_eq(&one.0, &same.0));
        assert_ne!(filters.get(&[]).unwrap(), one);
    }
}

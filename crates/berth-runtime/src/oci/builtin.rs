//! Containers made by the library that is part of this program.
//!
//! Runs in a short-lived child of the shim: the library forks and changes the working folder, and
//! leaves the container's first process as a child of its caller, from where the shim adopts it.

use std::collections::HashMap;
use std::io::Read;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::path::Path;

use berth_model::{Failure, FailureKind};
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::error::LibcontainerError;
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::syscall::syscall::SyscallType;
use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError};
use nix::errno::Errno;
use rustix::termios::{Winsize, tcsetwinsize};

use super::{Place, Stdio, no_such_command};
use crate::bundle::FILTER;
use crate::error::{failure, io_failure};
use crate::seccomp::Filter;

/// Makes a container and starts its program; gives the pid.
pub(crate) fn run(place: &Place<'_>, stdio: Stdio) -> Result<u32, Failure> {
    with_report(place, |executor| {
        std::fs::create_dir_all(place.state).map_err(LibcontainerError::OtherIO)?;
        let mut container = ContainerBuilder::new(place.id.to_owned(), SyscallType::default())
            .with_executor(executor)
            .with_root_path(place.state)?
            .with_stdin(stdio.stdin)
            .with_stdout(stdio.stdout)
            .with_stderr(stdio.stderr)
            .as_init(place.bundle)
            .with_systemd(false)
            .with_detach(true)
            .build()?;
        container.start()?;
        Ok(container.pid().map(|pid| pid.as_raw()))
    })
}

/// Runs a command in a container that runs.
pub(crate) fn exec(
    place: &Place<'_>,
    process: &Path,
    stdio: Option<Stdio>,
    console: Option<&Path>,
) -> Result<u32, Failure> {
    with_report(place, |executor| {
        let mut builder = ContainerBuilder::new(place.id.to_owned(), SyscallType::default())
            .with_executor(executor)
            .with_root_path(place.state)?
            .with_console_socket(console);
        if let Some(stdio) = stdio {
            builder = builder.with_stdin(stdio.stdin).with_stdout(stdio.stdout).with_stderr(stdio.stderr);
        }
        let pid = builder.as_tenant().with_process(Some(process)).with_detach(true).build()?;
        Ok(Some(pid.as_raw()))
    })
}

/// Calls `make` with an executor, and waits until the program runs or could not be run.
fn with_report(
    place: &Place<'_>,
    make: impl FnOnce(Start) -> Result<Option<i32>, LibcontainerError>,
) -> Result<u32, Failure> {
    let filter = std::fs::read(place.bundle.join(FILTER)).and_then(Filter::from_bytes);
    let filter = filter.map_err(|error| io_failure("read the seccomp filter", &error))?;
    let pipe = |error: std::io::Error| io_failure("make a pipe", &error);
    let (mut said, says) = std::io::pipe().map_err(pipe)?;
    let made = make(Start { report: says.as_raw_fd(), filter });
    drop(says);
    let mut report = String::new();
    said.read_to_string(&mut report).map_err(pipe)?;
    if let Some((errno, program)) = report.split_once(' ') {
        let errno = Errno::from_raw(errno.parse().unwrap_or(0));
        if program.is_empty() {
            return Err(io_failure("put the seccomp filter in force", &errno.into()));
        }
        return Err(no_such_command(program, errno.desc()));
    }
    let pid =
        made.map_err(|error| failure(FailureKind::Runtime, format!("cannot make the container: {}", chain(&error))))?;
    let pid = pid.and_then(|pid| u32::try_from(pid).ok());
    pid.ok_or_else(|| failure(FailureKind::Runtime, "cannot make the container: its pid is not known"))
}

/// An error with its sources, as far as they say something new.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = source.source();
    }
    text
}

/// Puts the filter in force and runs the program, and writes to a pipe if that fails. The pipe closes by
/// itself when it succeeds.
#[derive(Clone)]
struct Start {
    report: RawFd,
    filter: Filter,
}

impl Start {
    /// Tells which error there was, with which program; none when it was about the filter.
    fn report(&self, errno: i32, program: &str) {
        // SAFETY: the descriptor is the pipe's end that `with_report` holds open until the program runs;
        // this process has a copy of it, which nothing here has closed.
        let report = unsafe { BorrowedFd::borrow_raw(self.report) };
        let _ = nix::unistd::write(report, format!("{errno} {program}").as_bytes());
    }
}

impl Executor for Start {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let args = spec.process().as_ref().and_then(|process| process.args().as_ref());
        let args: Vec<std::ffi::CString> = args
            .into_iter()
            .flatten()
            .map(|arg| std::ffi::CString::new(arg.as_bytes()))
            .collect::<Result<_, _>>()
            .map_err(|_| ExecutorError::InvalidArg)?;
        let program = args.first().ok_or(ExecutorError::InvalidArg)?;
        // Here, since whoever holds the other end may come too late for a program that asks at once.
        if let Some(size) = spec.process().as_ref().and_then(|process| process.console_size()) {
            let cells = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
            let (ws_col, ws_row) = (cells(size.width()), cells(size.height()));
            // Without a terminal there is nothing to set.
            let _ = tcsetwinsize(rustix::stdio::stdin(), Winsize { ws_col, ws_row, ws_xpixel: 0, ws_ypixel: 0 });
        }
        if let Err(error) = self.filter.load() {
            self.report(error.raw_os_error().unwrap_or(0), "");
            return Err(ExecutorError::InvalidArg);
        }
        let Err(errno) = nix::unistd::execvp(program, &args);
        self.report(errno as i32, &program.to_string_lossy());
        Err(ExecutorError::InvalidArg)
    }

    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        // What cannot be run is told by the kernel, which knows better than a look at the files.
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "a container's first process has one thread")]
    fn setup_envs(&self, envs: HashMap<String, String>) -> Result<(), libcontainer::workload::ExecutorSetEnvsError> {
        for (name, _) in std::env::vars_os() {
            // SAFETY: this process has one thread.
            unsafe { std::env::remove_var(name) };
        }
        for (name, value) in envs {
            // SAFETY: this process has one thread.
            unsafe { std::env::set_var(name, value) };
        }
        Ok(())
    }
}

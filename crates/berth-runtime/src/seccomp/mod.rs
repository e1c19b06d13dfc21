//! The system calls that a container may make by default.
//!
//! An allow-list: what is not named fails with `EPERM`, as it would without the right capability. The
//! names are data, in groups, and what is left out on purpose stands with its reason in [`DENIED`], so
//! that a call that is in neither list is one that nobody has thought of yet. Naming calls is all this
//! file does; [`Filter`] makes a program of the kernel from them.
//!
//! Arguments are only looked at where a call is harmless in one form and not in another: `clone`,
//! `personality`, `socket`. Debugging is allowed, since the kernel lets a container's process debug only
//! what it might as well have killed.

mod filter;

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};

pub(crate) use filter::Filters;
pub use filter::{Filter, FilterError};

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// Calls that act on what the process already holds, or that the kernel checks by itself.
const ALLOWED: &[(&str, &str)] = &[
    (
        "files: open, read, write, look, change",
        "access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat \
         faccessat2 fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat \
         fcntl fcntl64 fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64 \
         fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd getdents getdents64 getxattr getxattrat \
         ioctl lchown lchown32 lgetxattr link linkat name_to_handle_at listxattr listxattrat llistxattr _llseek \
         lremovexattr lseek lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat newfstatat open openat openat2 \
         pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv removexattr \
         removexattrat rename renameat renameat2 rmdir sendfile sendfile64 setxattr setxattrat splice stat stat64 \
         statfs statfs64 statx symlink symlinkat sync sync_file_range syncfs tee truncate truncate64 umask unlink \
         unlinkat utime utimensat utimensat_time64 utimes vmsplice write writev",
    ),
    ("watching files", "inotify_add_watch inotify_init inotify_init1 inotify_rm_watch fanotify_mark cachestat"),
    (
        "waiting for several things",
        "epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old \
         eventfd eventfd2 _newselect poll ppoll ppoll_time64 pselect6 pselect6_time64 select signalfd signalfd4 \
         timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64",
    ),
    (
        "asynchronous input and output of the old kind; io_uring is left out",
        "io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit",
    ),
    (
        "memory",
        "brk get_mempolicy madvise map_shadow_stack mbind membarrier memfd_create memfd_secret mincore mlock \
         mlock2 mlockall mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free \
         pkey_mprotect process_madvise process_mrelease remap_file_pages set_mempolicy set_mempolicy_home_node",
    ),
    (
        "processes and threads; `clone` has a rule of its own",
        "arch_prctl execve execveat exit exit_group fork futex futex_requeue futex_time64 futex_wait futex_waitv \
         futex_wake get_robust_list get_thread_area getpgid getpgrp getpid getppid getsid gettid getcpu \
         modify_ldt pidfd_open pidfd_send_signal prctl rseq set_robust_list set_thread_area set_tid_address \
         setpgid setsid vfork wait4 waitid waitpid restart_syscall seccomp landlock_add_rule \
         landlock_create_ruleset landlock_restrict_self process_vm_readv process_vm_writev ptrace uretprobe",
    ),
    (
        "users and groups: the kernel asks for the capability",
        "capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid \
         getresgid32 getresuid getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid \
         setgid32 setgroups setgroups32 setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid \
         setreuid32 setuid setuid32 chroot",
    ),
    (
        "signals",
        "alarm getitimer kill pause rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn \
         rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo setitimer sigaction sigaltstack \
         signal sigpending sigprocmask sigreturn sigsuspend tgkill tkill",
    ),
    (
        "time: reading clocks, sleeping, timers",
        "adjtimex clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep \
         clock_nanosleep_time64 gettimeofday nanosleep time timer_create timer_delete timer_getoverrun \
         timer_gettime timer_gettime64 timer_settime timer_settime64 times",
    ),
    (
        "scheduling and limits of its own processes",
        "getpriority getrlimit getrusage ioprio_get ioprio_set prlimit64 sched_get_priority_max \
         sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler \
         sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam \
         sched_setscheduler sched_yield setpriority setrlimit ugetrlimit",
    ),
    (
        "network; `socket` has a rule of its own",
        "accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg \
         recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair",
    ),
    (
        "between processes: pipes, shared memory, semaphores, queues",
        "ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend \
         mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd pipe pipe2 semctl semget semop semtimedop \
         semtimedop_time64 shmat shmctl shmdt shmget",
    ),
    ("what kind of machine this is", "getrandom sysinfo uname"),
];

/// Calls that are left out, why, and for whom not.
#[derive(Clone, Copy, Debug)]
pub struct Denied {
    /// What is bad about them.
    pub why: &'static str,
    /// With one of these capabilities, a container has asked for just that. None: for nobody.
    pub unless: &'static [&'static str],
    /// Their names, with spaces between them.
    pub calls: &'static str,
}

/// All that is left out on purpose.
pub const DENIED: &[Denied] = &[
    Denied {
        why: "changes what is mounted: the root of every escape through paths",
        unless: &["SYS_ADMIN"],
        calls: "fsconfig fsmount fsopen fspick listmount mount mount_setattr move_mount open_tree open_tree_attr \
         pivot_root statmount umount umount2",
    },
    Denied {
        why: "makes or enters namespaces, in which it has every capability over much code of the kernel",
        unless: &["SYS_ADMIN"],
        calls: "setns unshare",
    },
    Denied {
        why: "takes things out of other processes, past what file permissions say",
        unless: &["SYS_PTRACE"],
        calls: "kcmp pidfd_getfd",
    },
    Denied {
        why: "moves the memory of other processes about",
        unless: &["SYS_NICE"],
        calls: "migrate_pages move_pages",
    },
    Denied {
        why: "opens files by number, past the folders that lead to them",
        unless: &["DAC_READ_SEARCH"],
        calls: "open_by_handle_at",
    },
    Denied { why: "puts programs into the kernel", unless: &["SYS_ADMIN", "BPF"], calls: "bpf" },
    Denied {
        why: "measures the kernel and other processes, and has had many holes",
        unless: &["SYS_ADMIN", "PERFMON"],
        calls: "lookup_dcookie perf_event_open",
    },
    Denied {
        why: "puts modules into the kernel",
        unless: &["SYS_MODULE"],
        calls: "create_module delete_module finit_module get_kernel_syms init_module query_module",
    },
    Denied { why: "stops the machine of everybody", unless: &["SYS_BOOT"], calls: "reboot" },
    Denied { why: "replaces the kernel of everybody", unless: &[], calls: "kexec_file_load kexec_load" },
    Denied { why: "keys are not kept apart by namespaces", unless: &[], calls: "add_key keyctl request_key" },
    Denied {
        why: "sets the clock of everybody",
        unless: &["SYS_TIME"],
        calls: "clock_adjtime clock_adjtime64 clock_settime clock_settime64 settimeofday stime",
    },
    Denied {
        why: "sets up the host: swap, quotas, its name",
        unless: &["SYS_ADMIN"],
        calls: "quotactl quotactl_fd setdomainname sethostname swapoff swapon",
    },
    Denied { why: "reads and clears the kernel's log", unless: &["SYS_ADMIN", "SYSLOG"], calls: "syslog" },
    Denied { why: "writes down all that runs on the host", unless: &["SYS_PACCT"], calls: "acct" },
    Denied { why: "hangs up terminals", unless: &["SYS_TTY_CONFIG"], calls: "vhangup" },
    Denied { why: "gives direct access to the machine's ports", unless: &["SYS_RAWIO"], calls: "ioperm iopl" },
    Denied { why: "watches files of the whole host", unless: &["SYS_ADMIN"], calls: "fanotify_init" },
    Denied {
        why: "is a second way to nearly every call, which filters do not see, with a long list of holes",
        unless: &[],
        calls: "io_uring_enter io_uring_register io_uring_setup",
    },
    Denied {
        why: "makes the kernel wait for a program in the middle of a page fault, so that races can be won at leisure",
        unless: &[],
        calls: "userfaultfd",
    },
    Denied { why: "is long dead, or never lived", unless: &[], calls: "_sysctl bdflush nfsservctl sysfs uselib ustat" },
];

/// Flags of `clone` that make namespaces: mount, cgroup, uts, ipc, user, pid, net. A time namespace is
/// not among them: its bit is part of the signal number here, so only `unshare` and `clone3` make one.
const NEW_NAMESPACES: u64 =
    0x0002_0000 | 0x0200_0000 | 0x0400_0000 | 0x0800_0000 | 0x1000_0000 | 0x2000_0000 | 0x4000_0000;

/// Ways of running that programs of other systems ask for: Linux, the same with 32 bits of addresses,
/// both with the old machine name, and the question which it is.
const PERSONALITIES: [u64; 5] = [0x0, 0x0008, 0x0002_0000, 0x0002_0008, 0xffff_ffff];

/// Sockets to the hypervisor and other virtual machines, which network namespaces do not keep apart.
const AF_VSOCK: u64 = 40;

/// The profile of a container that has asked for no capability beyond the usual ones.
pub fn default_profile() -> LinuxSeccomp {
    profile(&[])
}

/// The profile of a container with these capabilities beyond the usual ones (`SYS_TIME`, without `CAP_`).
pub fn profile(capabilities: &[String]) -> LinuxSeccomp {
    let has = |needed: &[&str]| capabilities.iter().any(|capability| needed.contains(&capability.as_str()));
    let names = ALLOWED.iter().flat_map(|(_, calls)| calls.split_whitespace());
    let asked_for =
        DENIED.iter().filter(|denied| has(denied.unless)).flat_map(|denied| denied.calls.split_whitespace());
    let mut rules = vec![allow(names.chain(asked_for), vec![])];
    if has(&["SYS_ADMIN"]) {
        rules.push(allow(["clone", "clone3"], vec![]));
    } else {
        rules.push(allow(["clone"], vec![argument(0, LinuxSeccompOperator::ScmpCmpMaskedEq, NEW_NAMESPACES, Some(0))]));
        // Its flags lie in memory, where no filter sees them. C libraries then take `clone` instead.
        rules.push(missing("clone3"));
    }
    rules.push(allow(["socket"], vec![argument(0, LinuxSeccompOperator::ScmpCmpNe, AF_VSOCK, None)]));
    for personality in PERSONALITIES {
        let same = argument(0, LinuxSeccompOperator::ScmpCmpEq, personality, None);
        rules.push(allow(["personality"], vec![same]));
    }
    LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActErrno)
        .default_errno_ret(EPERM)
        .architectures(architectures())
        .syscalls(rules)
        .build()
        .expect("every field has a default")
}

/// The machine's own calls, and the older sets that its kernel also serves.
fn architectures() -> Vec<Arch> {
    match std::env::consts::ARCH {
        "x86_64" => vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
        "aarch64" => vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm],
        _ => vec![Arch::ScmpArchNative],
    }
}

fn allow<'a>(names: impl IntoIterator<Item = &'a str>, args: Vec<LinuxSeccompArg>) -> LinuxSyscall {
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let rule = LinuxSyscallBuilder::default().names(names).action(LinuxSeccompAction::ScmpActAllow);
    let rule = if args.is_empty() { rule } else { rule.args(args) };
    rule.build().expect("every field has a default")
}

fn missing(name: &str) -> LinuxSyscall {
    LinuxSyscallBuilder::default()
        .names(vec![name.to_owned()])
        .action(LinuxSeccompAction::ScmpActErrno)
        .errno_ret(ENOSYS)
        .build()
        .expect("every field has a default")
}

fn argument(index: usize, op: LinuxSeccompOperator, value: u64, value_two: Option<u64>) -> LinuxSeccompArg {
    let arg = LinuxSeccompArgBuilder::default().index(index).value(value).op(op);
    let arg = if let Some(two) = value_two { arg.value_two(two) } else { arg };
    arg.build().expect("every field has a default")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn allowed(profile: &LinuxSeccomp) -> BTreeSet<&str> {
        let rules = profile.syscalls().iter().flatten();
        let rules = rules.filter(|rule| rule.action() == LinuxSeccompAction::ScmpActAllow);
        rules.flat_map(LinuxSyscall::names).map(String::as_str).collect()
    }

    #[test]
    fn no_call_is_named_twice_or_both_allowed_and_denied() {
        let mut seen = BTreeSet::new();
        let names = ALLOWED.iter().map(|(_, calls)| *calls).chain(DENIED.iter().map(|denied| denied.calls));
        let ruled = ["clone", "clone3", "socket", "personality"];
        for name in names.flat_map(str::split_whitespace).chain(ruled) {
            assert!(seen.insert(name), "{name} is named twice");
        }
    }

    #[test]
    fn what_is_denied_takes_the_capability() {
        let default = default_profile();
        let default = allowed(&default);
        for denied in DENIED {
            assert!(denied.calls.split_whitespace().all(|call| !default.contains(call)), "{}", denied.why);
            for capability in denied.unless {
                let asked_for = profile(&[(*capability).to_owned()]);
                let asked_for = allowed(&asked_for);
                assert!(denied.calls.split_whitespace().all(|call| asked_for.contains(call)), "{}", denied.why);
            }
        }
    }
}

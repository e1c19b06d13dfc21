//! The default seccomp profile, loaded into a real thread and given to a real runtime. Needs root.

use std::process::Command;

use berth_runtime::seccomp;
use nix::errno::Errno;
use nix::libc;

/// Makes a call that the filter is to refuse; were it let through, a child would end at once.
fn call(number: libc::c_long, args: [libc::c_long; 3]) -> Result<libc::c_long, Errno> {
    // SAFETY: The calls below take numbers and null pointers only, and touch none of our memory.
    let result = Errno::result(unsafe { libc::syscall(number, args[0], args[1], args[2], 0, 0) });
    if result == Ok(0) && number == libc::SYS_clone {
        // SAFETY: Ends the child that must not be, without running anything of ours in it.
        unsafe { libc::_exit(1) };
    }
    result
}

#[test]
fn the_filter_refuses_what_it_should_and_lets_programs_run() {
    // A filter holds for its thread and for what that starts, not for the other tests.
    std::thread::spawn(|| {
        seccomp::Filter::compile(&seccomp::default_profile()).unwrap().load().unwrap();
        let newuser = libc::c_long::from(libc::CLONE_NEWUSER | libc::SIGCHLD);
        for (name, number, args, errno) in [
            ("unshare", libc::SYS_unshare, [libc::c_long::from(libc::CLONE_NEWUTS), 0, 0], Errno::EPERM),
            ("clone into a namespace", libc::SYS_clone, [newuser, 0, 0], Errno::EPERM),
            ("clone3", libc::SYS_clone3, [0, 0, 0], Errno::ENOSYS),
            ("mount", libc::SYS_mount, [0, 0, 0], Errno::EPERM),
            ("umount", libc::SYS_umount2, [0, 0, 0], Errno::EPERM),
            ("bpf", libc::SYS_bpf, [0, 0, 0], Errno::EPERM),
            ("keyctl", libc::SYS_keyctl, [0, 0, 0], Errno::EPERM),
            ("kexec_load", libc::SYS_kexec_load, [0, 0, 0], Errno::EPERM),
            ("reboot", libc::SYS_reboot, [0, 0, 0], Errno::EPERM),
            ("io_uring_setup", libc::SYS_io_uring_setup, [0, 0, 0], Errno::EPERM),
            ("personality", libc::SYS_personality, [0x0040_0000, 0, 0], Errno::EPERM),
            ("a vsock", libc::SYS_socket, [40, 1, 0], Errno::EPERM),
        ] {
            assert_eq!(call(number, args), Err(errno), "{name}");
        }
        // Threads, children, files and sockets all the same.
        std::thread::spawn(|| ()).join().unwrap();
        let output = Command::new("sh").args(["-c", "ls /proc/self/fd | (cat; echo done)"]).output().unwrap();
        assert!(output.status.success() && output.stdout.ends_with(b"done\n"), "{output:?}");
        std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    })
    .join()
    .unwrap();
}

#[test]
fn runc_takes_the_profile_as_it_is() {
    let bundle = tempfile::tempdir().unwrap();
    let bin = bundle.path().join("rootfs/bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
    let run = |args: &[&str]| Command::new("runc").current_dir(bundle.path()).args(args).output().unwrap();
    assert!(run(&["spec"]).status.success());
    let path = bundle.path().join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let script = "/bin/busybox true && /bin/busybox echo runs; /bin/busybox unshare -u /bin/busybox echo escaped";
    config["process"]["terminal"] = false.into();
    config["process"]["args"] = serde_json::json!(["/bin/busybox", "sh", "-c", script]);
    config["linux"]["seccomp"] = serde_json::to_value(seccomp::default_profile()).unwrap();
    std::fs::write(&path, serde_json::to_vec(&config).unwrap()).unwrap();
    let name = format!("berth-seccomp-{}", std::process::id());
    let output = run(&["run", &name]);
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(said, "runs\n", "{complained}");
    assert!(complained.contains("unshare"), "{complained}");
}

//! How the process takes memory from the system.

/// Has all threads share one arena. By itself the C library gives each thread one of its own, and what a burst of
/// messages has filled in one of them is of no use to the others, and not given back: with a thousand allocations a
/// third of a server's memory was such leftovers. To be called before there is a second thread.
pub fn share_one_arena() {
    #[cfg(target_env = "gnu")]
    // Needed: the standard library's allocator has no such setting, and the environment is read before `main`.
    // SAFETY: `mallopt` takes two numbers and changes nothing but the allocator's own settings; no other thread is
    // there to allocate meanwhile. A setting that it refuses stays as it was, which costs memory alone.
    unsafe {
        nix::libc::mallopt(nix::libc::M_ARENA_MAX, 1);
    }
}

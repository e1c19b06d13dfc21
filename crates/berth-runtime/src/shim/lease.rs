//! The lease of a fenced allocation, by `CLOCK_BOOTTIME`: no one can set that clock, and it runs while the machine sleeps.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use berth_model::{BootTime, Failure, FailureKind};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};

use crate::error::{failure, io_failure};

/// Until when the tasks may run.
pub(super) struct Lease {
    timer: OwnedFd,
    state: State,
}

/// Where a lease stands. What is over stays so: another instance may run elsewhere by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    None,
    Until(BootTime),
    Over,
}

impl Lease {
    /// None yet: nothing may be started.
    pub fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        Ok(Self { timer, state: State::None })
    }

    /// Readable when the lease has ended.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }

    /// Lasts until then, unless it has ended or lasts longer already.
    pub fn extend(&mut self, until: BootTime) -> Result<(), Failure> {
        if self.has_ended() {
            return Err(ended());
        }
        if !matches!(self.state, State::Until(known) if known >= until) {
            self.set(until).map_err(|error| io_failure("set the timer of the lease", &error))?;
            self.state = State::Until(until);
        }
        Ok(())
    }

    fn set(&self, until: BootTime) -> io::Result<()> {
        // All zeros would mean no timer.
        let at = Timespec {
            tv_sec: i64::try_from(until.0 / 1000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(until.0 % 1000 * 1_000_000).unwrap_or(0).max(1),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: at };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once)?;
        Ok(())
    }

    /// Whether something may be started: the lease has begun and goes on.
    pub fn check(&self) -> Result<(), Failure> {
        match self.state {
            State::None => {
                Err(failure(FailureKind::Fenced, "no lease has begun: no server has answered the agent yet"))
            }
            State::Until(_) if !self.has_ended() => Ok(()),
            State::Until(_) | State::Over => Err(ended()),
        }
    }

    /// Whether it had begun and has ended by the clock.
    fn has_ended(&self) -> bool {
        match self.state {
            State::None => false,
            State::Until(until) => until <= boot_time(),
            State::Over => true,
        }
    }

    /// Ends it for good if its time has come. Says whether it ended just now.
    pub fn end(&mut self) -> bool {
        let ends = self.state != State::Over && self.has_ended();
        if ends {
            self.state = State::Over;
        }
        ends
    }

    /// Whether it has ended for good.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }
}

/// What the end of a lease means for a task.
pub(super) fn ended() -> Failure {
    failure(FailureKind::Fenced, "the lease ended: no server answered the agent for as long as the group allows")
}

/// The moment of this machine.
pub fn boot_time() -> BootTime {
    let now = clock_gettime(ClockId::Boottime);
    let (seconds, nanos) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    BootTime(seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000))
}

#[cfg(test)]
mod tests {
    use berth_model::Millis;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn is_readable(lease: &Lease, within: u16) -> bool {
        let mut fds = [PollFd::new(lease.fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(within)).unwrap() == 1
    }

    #[test]
    fn nothing_starts_before_a_lease_has_begun_nor_after_it_has_ended() {
        let mut lease = Lease::new().unwrap();
        assert_eq!(lease.check().unwrap_err().kind, FailureKind::Fenced);
        lease.extend(boot_time() + Millis::from_secs(60)).unwrap();
        assert!(lease.check().is_ok() && !lease.end() && !is_readable(&lease, 0));
        // A shorter one takes nothing back.
        lease.extend(boot_time()).unwrap();
        assert!(lease.check().is_ok() && !is_readable(&lease, 0));
    }

    #[test]
    fn a_lease_wakes_when_it_ends_and_stays_over() {
        let mut lease = Lease::new().unwrap();
        lease.extend(boot_time() + Millis(30)).unwrap();
        assert!(is_readable(&lease, 60_000), "the timer does not fire");
        assert!(lease.end() && !lease.end() && lease.is_over());
        assert_eq!(lease.extend(boot_time() + Millis::from_secs(60)).unwrap_err().kind, FailureKind::Fenced);
        assert!(lease.check().is_err());
    }

    #[test]
    fn one_that_has_ended_by_the_clock_is_not_extended_although_nobody_has_woken() {
        let mut lease = Lease::new().unwrap();
        lease.extend(BootTime(1)).unwrap();
        assert_eq!(lease.extend(boot_time() + Millis::from_secs(60)).unwrap_err().kind, FailureKind::Fenced);
        assert!(lease.check().is_err() && is_readable(&lease, 60_000) && lease.end());
    }
}

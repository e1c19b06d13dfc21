//! What goes wrong, and when it stops to.

use crate::world::{What, World};

/// How often a simulation looks whether everything has settled.
const LOOK_EVERY: u64 = 1000;

impl World {
    /// Something goes wrong; the next fault is planned.
    pub(crate) fn fault_strikes(&mut self) {
        if !self.faulty {
            return;
        }
        let machine = self.random.index(self.machines.len());
        // Where it makes no difference, nothing is drawn either.
        if self.profile.partitions > 0 && self.random.chance(self.profile.partitions) {
            let length = self.random.between(500, 25_000);
            self.partition(machine, length);
            let delay = self.random.between(1, 2 * self.profile.between_faults);
            return self.after(delay, What::FaultStrikes);
        }
        match self.random.below(100) {
            0..20 => self.agent_dies(machine),
            20..25 => self.disk_fills(machine),
            25..40 => self.shim_dies(machine),
            40..52 => self.power_fails(machine),
            52..72 => {
                let length = if self.random.chance(500) {
                    self.random.between(100, 4000)
                } else {
                    self.random.between(4000, 30_000)
                };
                self.partition(machine, length);
            }
            72..88 => self.server_dies(),
            _ => self.server_steals(),
        }
        let delay = self.random.between(1, 2 * self.profile.between_faults);
        self.after(delay, What::FaultStrikes);
    }

    /// Nothing fails from here on: everything that was off is on again.
    pub(crate) fn faults_stop(&mut self) {
        self.note(format_args!("faults stop"));
        self.faulty = false;
        self.after(0, What::ServerStarts);
        for number in 0..self.machines.len() {
            self.machines[number].cut_off_until = self.now;
            self.machines[number].disk_full_until = self.now;
            self.power_returns(number);
            self.after(10, What::AgentStarts(number));
        }
        self.after(LOOK_EVERY, What::Look);
    }

    /// Looks whether everything is as it should be.
    pub(crate) fn look(&mut self) {
        self.enable_all();
        self.judge();
        self.after(LOOK_EVERY, What::Look);
    }
}

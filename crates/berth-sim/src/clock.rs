//! Clocks of simulated machines: each is off by a bounded amount and drifts by a bounded rate.

use berth_model::Timestamp;

use crate::random::Random;

/// What every clock shows about when the simulation begins.
const BEGIN: i64 = 1_700_000_000_000;

/// A machine's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    offset: i64,
    parts_per_million: i64,
}

impl Clock {
    /// A clock that is off by up to half a second and drifts by up to 200 parts in a million, as unkept
    /// quartz does.
    pub(crate) fn random(random: &mut Random) -> Clock {
        let signed = |value: u64, half: i64| i64::try_from(value).expect("small") - half;
        Clock { offset: signed(random.between(0, 1000), 500), parts_per_million: signed(random.between(0, 400), 200) }
    }

    /// What it shows at `now`, in milliseconds of the simulation.
    pub(crate) fn read(&self, now: u64) -> Timestamp {
        let now = i64::try_from(now).expect("a simulation lasts hours");
        let shown = BEGIN + self.offset + now + now * self.parts_per_million / 1_000_000;
        Timestamp(u64::try_from(shown).expect("clocks begin long after 1970"))
    }

    /// The first moment at or after `now` at which it shows at least `at`.
    pub(crate) fn moment(&self, at: Timestamp, now: u64) -> u64 {
        let mut moment = now + at.since(self.read(now)).0 * 999 / 1000;
        while self.read(moment) < at {
            moment += 1 + at.since(self.read(moment)).0 / 2;
        }
        moment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_never_early() {
        let mut random = Random::new(3);
        for _ in 0..1000 {
            let clock = Clock::random(&mut random);
            let now = random.below(10_000_000);
            let at = Timestamp(clock.read(now).0 + random.below(100_000));
            let moment = clock.moment(at, now);
            assert!(clock.read(moment) >= at && moment >= now);
            assert!(moment <= now + at.since(clock.read(now)).0 + 200);
        }
    }
}

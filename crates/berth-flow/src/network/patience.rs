//! When a solve leaves its way for another one: by counted work alone, so that equal inputs take equal ways.

/// How much work routing path by path is worth.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    /// There is no other way.
    Endless,
    /// Paths from scratch in a network of so many nodes and arcs, as long as all of them are not expected to take longer
    /// than cost scaling.
    Paths { size: u64 },
    /// A repair, as long as what is left of it is expected to be much less than a start from scratch.
    Repair(Prospect),
}

/// What a repair is expected to take yet: what is easy is routed first, so the latest units tell it best.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prospect {
    /// The steps that a start from scratch is expected to take.
    scratch: u64,
    /// The steps and routed units when it was judged last.
    judged: (u64, i64),
}

impl Patience {
    pub(super) fn with_repair(scratch: u64) -> Patience {
        Patience::Repair(Prospect { scratch, judged: (0, 0) })
    }

    /// Whether to give up after so many steps, when so many of all units are routed.
    pub(super) fn is_over(&mut self, steps: u64, routed: i64, units: i64) -> bool {
        match self {
            Patience::Endless => false,
            Patience::Paths { size } => are_slow(*size, steps, routed, units),
            Patience::Repair(prospect) => prospect.is_bad(steps, routed, units),
        }
    }
}

/// Whether paths are expected to take longer than cost scaling, which takes 100 to 500 steps for each node and arc, but
/// cheaper ones. Where some units wait in the end there are long paths just before that, and then short ones again: it is
/// the units routed so far that tell what all of them will take, and not the latest.
fn are_slow(size: u64, steps: u64, routed: i64, units: i64) -> bool {
    const TOO_EARLY: u64 = 4;
    const WORTH: u64 = 192;
    let (routed, units) = (u128::from(routed.unsigned_abs()), u128::from(units.unsigned_abs()));
    steps > TOO_EARLY * size && u128::from(steps) * units > u128::from(WORTH * size) * routed
}

impl Prospect {
    /// A repair is judged whenever it has taken such a part of the steps from scratch.
    const JUDGED: u64 = 48;
    /// What is left of it may take such a part of them. Half: repairs become slow near their end, and to give up late
    /// costs more than to give up.
    const WORTH: u64 = 2;

    /// Whether what is left is expected to take too long.
    fn is_bad(&mut self, steps: u64, routed: i64, units: i64) -> bool {
        let (steps_then, routed_then) = self.judged;
        let latest = steps - steps_then;
        if latest <= self.scratch / Prospect::JUDGED {
            return false;
        }
        self.judged = (steps, routed);
        let (left, done) = ((units - routed).unsigned_abs(), (routed - routed_then).unsigned_abs().max(1));
        u128::from(latest) * u128::from(left) > u128::from(self.scratch / Prospect::WORTH) * u128::from(done)
    }
}

#[cfg(test)]
mod tests {
    use super::Patience;

    #[test]
    fn a_repair_goes_on_while_it_is_expected_to_be_faster() {
        let patience = Patience::with_repair(4800);
        let is_over = |judged: &[(u64, i64)]| {
            let mut patience = patience;
            judged.iter().map(|(steps, routed)| patience.is_over(*steps, *routed, 100)).collect::<Vec<_>>()
        };
        assert_eq!(is_over(&[(100, 0)]), [false], "too early to say");
        assert_eq!(is_over(&[(101, 0)]), [true], "another 100 such are left at least");
        assert_eq!(is_over(&[(101, 5)]), [false], "another 1,919 steps are expected");
        assert_eq!(is_over(&[(101, 4)]), [true], "another 2,424 steps are expected");
        assert_eq!(is_over(&[(101, 20), (202, 22)]), [false, true], "it has become slow, and much is left");
        assert_eq!(is_over(&[(101, 90), (202, 92)]), [false, false], "it has become slow, and little is left");
    }

    #[test]
    fn paths_are_given_up_as_soon_as_scaling_is_expected_to_be_faster() {
        let is_over = |steps, routed| Patience::Paths { size: 10 }.is_over(steps, routed, 1000);
        assert!(!is_over(40, 0), "too early to say");
        assert!(is_over(41, 21), "all 1,000 units are expected to take 1,952 steps");
        assert!(!is_over(41, 22), "all 1,000 units are expected to take 1,864 steps");
        assert!(!is_over(1900, 990), "what is left may be slow");
    }
}

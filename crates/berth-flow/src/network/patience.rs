//! When a solve leaves its way for another one: by counted work alone, so that equal inputs take equal ways.

/// How much work routing path by path is worth.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    /// There is no other way.
    Endless,
    /// So many steps.
    UpTo(u64),
    /// A repair, when a start from scratch is expected to take so many steps.
    Repair(u64),
}

impl Patience {
    /// A repair is judged for the first time after such a part of the steps from scratch.
    const FIRST_LOOK: u64 = 32;
    /// It may take such a part of them, by what it has routed so far, and
    const EXPECTED: u64 = 3;
    /// such a part in any case. To give up then costs little more than to have started again at once: steps from
    /// scratch take longer, because more of them are changes of flow.
    const MOST: u64 = 3;

    /// Whether to give up after so many steps, when so many of all units are routed.
    pub(super) fn is_over(self, steps: u64, routed: i64, units: i64) -> bool {
        match self {
            Patience::Endless => false,
            Patience::UpTo(most) => steps > most,
            Patience::Repair(scratch) => {
                let expected = u128::from(steps) * u128::from(units.unsigned_abs());
                let worth = u128::from(scratch / Patience::EXPECTED) * u128::from(routed.unsigned_abs());
                steps > scratch / Patience::MOST || steps > scratch / Patience::FIRST_LOOK && expected > worth
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Patience;

    #[test]
    fn a_repair_goes_on_while_it_is_expected_to_be_faster() {
        let patience = Patience::Repair(960);
        assert!(!patience.is_over(30, 0, 10), "too early to say");
        assert!(patience.is_over(40, 1, 10), "400 steps are expected");
        assert!(!patience.is_over(40, 2, 10), "200 steps are expected");
        assert!(!patience.is_over(320, 10, 10));
        assert!(patience.is_over(321, 10, 10), "nobody knows how hard the last one is");
    }
}

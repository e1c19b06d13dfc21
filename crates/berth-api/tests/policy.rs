//! Policy files: what they mean, what they are told where they are wrong, and their form as JSON.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use berth_api::jobfile::policy::{parse, parse_json, to_json};
use berth_model::{BalanceMode, BuiltIn, PolicySpec, Term, Weights, limits};
use proptest::prelude::*;

fn read(text: &str) -> PolicySpec {
    parse("policy.yaml", text).unwrap()
}

#[test]
fn what_a_file_does_not_say_is_as_in_its_base() {
    let spec = read("policy: mine\nweights: {same_group: 800}\n");
    assert_eq!((spec.name.as_str(), spec.weights), ("mine", BuiltIn::Balanced.weights().with(Term::SameGroup, 800)));
    let spec = read("policy: mine\nbase: pack\nweights: {failed_here: 0}\n");
    assert_eq!(spec.weights, BuiltIn::Pack.weights().with(Term::FailedHere, 0));
}

#[test]
fn what_a_pool_does_not_say_is_as_in_its_base_or_in_the_cluster() {
    let text = "policy: mine\nweights: {same_group: 800}\npools:\n  gpu: {base: fragmentation}\n  tight: {weights: {emptiness: 9}}\n";
    let spec = read(text);
    assert_eq!(spec.pools.len(), 2);
    assert_eq!(*spec.weights_in(Some("gpu")), BuiltIn::Fragmentation.weights());
    assert_eq!(*spec.weights_in(Some("tight")), spec.weights.with(Term::Emptiness, 9));
    assert_eq!((spec.weights_in(Some("other")), spec.weights_in(None)), (&spec.weights, &spec.weights));
}

#[test]
fn the_policies_that_berth_brings_along_are_files_too() {
    for brought in BuiltIn::ALL {
        assert_eq!(read(&format!("policy: {brought}\nbase: {brought}\n")), brought.spec());
    }
}

#[test]
fn the_example_and_the_sample_of_the_reference_are_valid_and_every_term_is_documented() {
    read(include_str!("../../../examples/policies/quiet-nights.yaml"));
    let reference = include_str!("../../../docs/policy.md");
    let samples: Vec<&str> = reference.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!samples.is_empty());
    samples.into_iter().for_each(|sample| drop(read(sample)));
    let json = to_json(&BuiltIn::Balanced.spec());
    let terms = json["weights"].as_object().unwrap();
    assert_eq!(terms.len(), Term::ALL.len());
    for term in terms.keys() {
        // Two of them are the names of policies too, in a table before.
        let row = reference.lines().rev().find(|line| line.starts_with(&format!("| `{term}` |")));
        let cells = row.unwrap_or_else(|| panic!("docs/policy.md does not tell of `{term}`")).split('|').count();
        assert_eq!(cells, 6, "value, unit with range, and source of `{term}`");
    }
}

#[test]
fn moves_are_made_where_a_file_says_so() {
    assert_eq!(read("policy: mine\n").balance, BalanceMode::Off);
    assert_eq!(read("policy: mine\nbalance: off\n").balance, BalanceMode::Off);
    assert_eq!(read("policy: mine\nbalance: on\n").balance, BalanceMode::On { at_most: BalanceMode::AT_MOST });
    assert_eq!(read("policy: mine\nbalance: on\nbalance_max: 9\n").balance, BalanceMode::On { at_most: 9 });
}

#[test]
fn wrong_files_are_told_where_and_what_to_do() {
    for (text, wanted) in [
        ("", "p:1:1: the file is empty: expected a map with `policy` and `weights`"),
        ("pack\n", "p:1:1: expected a map, found `pack`: write the keys `policy` and `weights`"),
        ("weights: {utilisation: 1}\n", "`policy` is missing: expected a name, such as `policy: web`"),
        ("policy: Mine\n", "p:1:9: policy: `Mine` is not a policy's name"),
        (
            "policy: mine\nbase: packed\n",
            "p:2:7: base: expected one of `balanced`, `pack`, `spread`, `fragmentation`, found `packed`; did you mean `pack`?",
        ),
        ("policy: mine\nweights: {same_grup: 1}\n", "p:2:11: weights: unknown key `same_grup`"),
        ("policy: mine\nweights: {same_grup: 1}\n", "did you mean `same_group`?"),
        ("policy: mine\nspread: 3\n", "`spread` does not belong here: it stands in `weights`"),
        ("policy: mine\nweights: {pools: 3}\n", "`pools` does not belong here: it stands at the top of the file"),
        ("name: mine\n", "did you mean `policy`?"),
        ("policy: mine\nweights: {spread: -1}\n", "weights.spread: expected a whole number, found `-1`"),
        ("policy: mine\nweights: {spread: 0.5}\n", "weights.spread: expected a whole number, found `0.5`"),
        ("policy: mine\nweights: {spread: 2000000000}\n", "weights.spread: expected 0 to 1000000000, found 2000000000"),
        (
            "policy: mine\nweights: 3\n",
            "weights: expected a map, found `3`: write keys and values, such as `{utilisation: 1, same_group: 500}`",
        ),
        (
            "policy: pack\nweights: {spread: 7}\n",
            "`pack` is a policy that Berth brings along, and says something else: give yours a name of its own",
        ),
        ("policy: mine\nbalance: yes\n", "balance: expected one of `on`, `off`, found `yes`"),
        ("policy: mine\nbalance: on\nbalance_max: 0\n", "balance_max: expected 1 to 1000, found 0"),
        (
            "policy: mine\nbalance_max: 2\n",
            "balance_max: counts with `balance: on` alone: write that, or leave this out",
        ),
        (
            "policy: pack\nbase: pack\nbalance: on\n",
            "`pack` is a policy that Berth brings along, and says something else",
        ),
        ("policy: mine\npools: {GPU: {base: pack}}\n", "`GPU` is not a pool's name"),
        ("policy: mine\npools: {gpu: {bse: pack}}\n", "pools.gpu: unknown key `bse`"),
        (
            "policy: mine\nweights: {utilisation: 0, same_group: 0, failed_here: 0, preference: 0, affinity: 0, anti_affinity: 0, spread: 0}\n",
            "no term counts, so every node would cost the same: give at least one a weight",
        ),
        ("policy: a\n---\npolicy: b\n", "a second document begins here: a policy file holds one policy"),
    ] {
        let error = parse("p", text).unwrap_err().to_string();
        assert!(error.contains(wanted), "{text}\n{error}");
    }
    let many: String = (0..=limits::POOLS).map(|n| format!("  p{n}: {{base: pack}}\n")).collect();
    let error = parse("p", &format!("policy: mine\npools:\n{many}")).unwrap_err().to_string();
    assert!(error.contains("65 pools: at most 64 are allowed"), "{error}");
    let error = parse_json("{\"policy\": \"mine\", \"weights\": {\"spread\": \"1\"}}").unwrap_err().to_string();
    assert!(error.contains("weights.spread: expected a whole number, found text: write `1` without quotes"), "{error}");
}

fn weights() -> impl Strategy<Value = Weights> {
    let each = prop::array::uniform9(0..=limits::WEIGHT_MOST);
    let all =
        each.prop_map(|each| Term::ALL.into_iter().zip(each).fold(Weights::NONE, |all, (term, n)| all.with(term, n)));
    all.prop_filter("some term counts", |weights| *weights != Weights::NONE)
}

proptest! {
    /// As JSON a policy is a file that means the same, whatever its base would be.
    #[test]
    fn a_policy_is_read_back(weights in weights(), pools in prop::collection::btree_map("[a-z]{1,8}", weights(), 0..4), most in 0..=limits::BALANCE_MOST) {
        let pools = pools.into_iter().map(|(name, weights)| (name.parse().unwrap(), weights)).collect();
        let balance = if most == 0 { BalanceMode::Off } else { BalanceMode::On { at_most: most } };
        let spec = PolicySpec { name: "x-mine".parse().unwrap(), weights, pools, balance };
        let json = to_json(&spec).to_string();
        prop_assert_eq!(parse_json(&json).unwrap(), spec.clone());
        prop_assert_eq!(parse("p", &json).unwrap(), spec);
    }
}

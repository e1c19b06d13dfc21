//! Whether a constraint holds of a node's attributes.

use std::cmp::Ordering as Order;
use std::collections::BTreeMap;

use berth_model::{Constraint, Operator, Ordering};

/// Whether `constraint` holds. A missing attribute satisfies only `IsNot`, `NotIn` and `Unset`.
pub fn holds(constraint: &Constraint, attributes: &BTreeMap<String, String>) -> bool {
    suits(&constraint.operator, attributes.get(&constraint.attribute).map(String::as_str))
}

/// Whether a value of the attribute that an operator is asked about suits it.
pub(crate) fn suits(operator: &Operator, value: Option<&str>) -> bool {
    match operator {
        Operator::Is(wanted) => value == Some(wanted),
        Operator::IsNot(unwanted) => value != Some(unwanted),
        Operator::In(wanted) => value.is_some_and(|v| wanted.iter().any(|one| one == v)),
        Operator::NotIn(unwanted) => value.is_none_or(|v| unwanted.iter().all(|one| one != v)),
        Operator::Set => value.is_some(),
        Operator::Unset => value.is_none(),
        Operator::Compare(ordering, bound) => {
            value.and_then(|v| compare(v, bound)).is_some_and(|found| satisfies(found, *ordering))
        }
        Operator::Glob(pattern) => value.is_some_and(|v| glob(pattern, v)),
    }
}

fn satisfies(found: Order, wanted: Ordering) -> bool {
    match wanted {
        Ordering::Less => found == Order::Less,
        Ordering::AtMost => found != Order::Greater,
        Ordering::Greater => found == Order::Greater,
        Ordering::AtLeast => found != Order::Less,
    }
}

/// As integers where both are; else as version numbers where both begin with one; else not at all.
fn compare(left: &str, right: &str) -> Option<Order> {
    if let (Ok(left), Ok(right)) = (left.parse::<i128>(), right.parse::<i128>()) {
        return Some(left.cmp(&right));
    }
    let (left, right) = (version(left)?, version(right)?);
    let parts = left.len().max(right.len());
    let part = |of: &[&str], at: usize| -> String { of.get(at).copied().unwrap_or("").to_owned() };
    let numeric = |a: String, b: String| a.len().cmp(&b.len()).then_with(|| a.cmp(&b));
    Some((0..parts).fold(Order::Equal, |so_far, at| so_far.then_with(|| numeric(part(&left, at), part(&right, at)))))
}

/// The numeric parts that a text begins with, without leading zeros: `v6.1.0-13-amd64` is 6, 1 and nothing.
/// Whatever follows the last numeric part is a build's own business and does not count.
fn version(text: &str) -> Option<Vec<&str>> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let numeric = text[..end].trim_end_matches('.');
    if !numeric.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some(numeric.split('.').map(|part| part.trim_start_matches('0')).collect())
}

/// `*` is any run of characters, `?` any one. On a mismatch the last star takes one character more, so that no
/// pattern costs more than its length times the text's.
fn glob(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((star_at, taken)) = star {
            star = Some((star_at, taken + 1));
            p = star_at + 1;
            t = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(operator: Operator, value: Option<&str>) -> bool {
        let attributes = value.map(|v| ("k".to_owned(), v.to_owned())).into_iter().collect();
        holds(&Constraint { attribute: "k".to_owned(), operator }, &attributes)
    }

    #[test]
    fn a_missing_attribute_satisfies_only_the_negative_operators() {
        let s = || "x".to_owned();
        assert!(check(Operator::IsNot(s()), None));
        assert!(check(Operator::NotIn(vec![s()]), None));
        assert!(check(Operator::Unset, None));
        assert!(!check(Operator::Is(s()), None));
        assert!(!check(Operator::In(vec![s()]), None));
        assert!(!check(Operator::Set, None));
        assert!(!check(Operator::Compare(Ordering::AtMost, "1".to_owned()), None));
        assert!(!check(Operator::Glob("*".to_owned()), None));
    }

    #[test]
    fn comparisons_know_integers_and_versions() {
        let cmp =
            |value: &str, ordering, bound: &str| check(Operator::Compare(ordering, bound.to_owned()), Some(value));
        assert!(cmp("9", Ordering::Less, "10"));
        assert!(cmp("-3", Ordering::Less, "-2"));
        assert!(cmp("6.10.0", Ordering::Greater, "6.9"));
        assert!(cmp("6.1.0-13-amd64", Ordering::AtLeast, "6.1"));
        assert!(cmp("v1.2", Ordering::AtMost, "1.2.0"));
        assert!(!cmp("1.2", Ordering::Less, "1.2.0"));
        assert!(!cmp("abc", Ordering::Less, "1"), "no number is in no order");
        assert!(!cmp("1", Ordering::Less, "abc"));
        assert!(cmp("99999999999999999999999999999999999999999.1", Ordering::Greater, "2.0"));
    }

    #[test]
    fn globs_match_whole_texts() {
        let glob = |pattern: &str, text: &str| check(Operator::Glob(pattern.to_owned()), Some(text));
        assert!(glob("a*c", "abbc"));
        assert!(glob("a?c", "aéc"));
        assert!(glob("*", ""));
        assert!(glob("*a*b*", "xxaxxbxx"));
        assert!(!glob("a*c", "abcd"));
        assert!(!glob("?", ""));
        assert!(!glob("", "a"));
        let (pattern, text) = ("*a".repeat(60) + "b", "a".repeat(5_000));
        assert!(!glob(&pattern, &text), "and in a time that does not grow with the number of stars");
    }
}

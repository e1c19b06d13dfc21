//! Whether a constraint holds, worked out from its documentation alone.

use std::collections::BTreeMap;

use berth_model::{Constraint, Operator, Ordering};

pub(crate) fn is_met(constraint: &Constraint, attributes: &BTreeMap<String, String>) -> bool {
    let Some(value) = attributes.get(&constraint.attribute) else {
        return matches!(constraint.operator, Operator::IsNot(_) | Operator::NotIn(_) | Operator::Unset);
    };
    match &constraint.operator {
        Operator::Set => true,
        Operator::Unset => false,
        Operator::Is(text) => value == text,
        Operator::IsNot(text) => value != text,
        Operator::In(texts) => texts.iter().any(|text| text == value),
        Operator::NotIn(texts) => texts.iter().all(|text| text != value),
        Operator::Compare(ordering, bound) => is_ordered(value, *ordering, bound),
        Operator::Glob(pattern) => matches_glob(pattern, value),
    }
}

fn is_ordered(value: &str, ordering: Ordering, bound: &str) -> bool {
    let (less, greater) = match (value.parse::<i128>(), bound.parse::<i128>()) {
        (Ok(value), Ok(bound)) => (value < bound, value > bound),
        (Ok(_) | Err(_), _) => match (parts(value), parts(bound)) {
            (Some(value), Some(bound)) => (before(&value, &bound), before(&bound, &value)),
            (None | Some(_), _) => return false,
        },
    };
    match ordering {
        Ordering::Less => less,
        Ordering::AtMost => !greater,
        Ordering::Greater => greater,
        Ordering::AtLeast => !less,
    }
}

/// The numbers of a dotted version up to the first thing that is none, each as digits without leading zeros.
fn parts(text: &str) -> Option<Vec<String>> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts: Vec<String> = vec![String::new()];
    let mut digits = 0;
    for c in text.chars() {
        match c {
            '.' if digits == 0 => return None,
            '.' => parts.push(String::new()),
            '0'..='9' => {
                digits += 1;
                let part = parts.last_mut().expect("there is always a last part");
                if !(c == '0' && part.is_empty()) {
                    part.push(c);
                }
            }
            _ => break,
        }
    }
    (digits > 0).then_some(parts)
}

/// Whether the version is the smaller one; what is missing at an end counts as zero.
fn before(left: &[String], right: &[String]) -> bool {
    for at in 0..left.len().max(right.len()) {
        let l = left.get(at).map_or("", String::as_str);
        let r = right.get(at).map_or("", String::as_str);
        if l != r {
            return (l.len(), l) < (r.len(), r);
        }
    }
    false
}

/// By a table: row by row of the pattern, which prefixes of the text it matches so far.
fn matches_glob(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let mut matched = vec![false; text.len() + 1];
    matched[0] = true;
    for p in pattern.chars() {
        let mut next = vec![false; text.len() + 1];
        for at in 0..=text.len() {
            next[at] = match p {
                '*' => matched[at] || (at > 0 && next[at - 1]),
                '?' => at > 0 && matched[at - 1],
                c => at > 0 && matched[at - 1] && text[at - 1] == c,
            };
        }
        matched = next;
    }
    matched[text.len()]
}

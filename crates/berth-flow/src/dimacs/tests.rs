//! What a file says, what it must not say, and that what is written is read again.

use std::error::Error as _;
use std::io::{self, BufRead, BufReader, Read};

use proptest::prelude::*;

use super::*;
use crate::problem::{Arc, Instance, NodeId, UNLIMITED};

/// A reader whose pieces are of this size: every line is cut somewhere.
fn in_pieces(text: &[u8], size: usize) -> impl BufRead {
    BufReader::with_capacity(size, text)
}

fn arc(tail: u32, head: u32, lower: i64, capacity: i64, cost: i64) -> Arc {
    Arc { tail: NodeId(tail), head: NodeId(head), lower, capacity, cost }
}

/// The error with its cause, as a program prints it.
fn told(error: &ReadError) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

#[test]
fn a_file_is_read() {
    let text = "c a comment\n\ncomment\np min 4 3\nn 1 5\nn 4\t-5\r\n\r\n  a 1 2 0 4 -3\na 2 4 -2 9 0\nc\na 2 4 1 -1 7";
    let arcs = vec![arc(0, 1, 0, 4, -3), arc(1, 3, -2, 9, 0), arc(1, 3, 1, UNLIMITED, 7)];
    let wanted = Instance { supplies: vec![5, 0, 0, -5], arcs };
    for size in [1, 2, 7, 1000] {
        assert_eq!(read(in_pieces(text.as_bytes(), size)).unwrap(), wanted);
    }
    assert_eq!(read(&b"p min 0 0"[..]).unwrap(), Instance::default());
}

#[test]
fn numbers_reach_to_the_ends_of_64_bits() {
    let (least, most) = (i64::MIN, i64::MAX);
    let text =
        format!("p min 2 3\nn 1 {least}\nn 2 {most}\na 1 2 {least} {most} {least}\na 1 2 -1 -1 0\na 2 2 -5 -1 {most}");
    let arcs = vec![arc(0, 1, least, UNLIMITED, least), arc(0, 1, -1, -1, 0), arc(1, 1, -5, -1, most)];
    assert_eq!(read(text.as_bytes()).unwrap(), Instance { supplies: vec![least, most], arcs });
}

#[test]
fn each_fault_is_told_with_its_line_and_what_was_expected() {
    let cases: &[(&str, &str)] = &[
        ("", "expected a line `p min NODES ARCS`, found the end of the file after line 0"),
        ("c\nc", "expected a line `p min NODES ARCS`, found the end of the file after line 2"),
        ("x 1", "line 1: expected a line that begins with `c`, `p`, `n` or `a`, found `x`"),
        ("ab 1", "line 1: expected a line that begins with `c`, `p`, `n` or `a`, found `ab`"),
        ("\u{7f}\u{e9}", "line 1: expected a line that begins with `c`, `p`, `n` or `a`, found `\\x7f\\xc3\\xa9`"),
        ("p max 1 1", "line 1: expected the kind of problem `min`, found `max`"),
        ("p", "line 1: expected the kind of problem, found the end of the line"),
        ("p min", "line 1: expected the number of nodes, found the end of the line"),
        ("p min 1", "line 1: expected the number of arcs, found the end of the line"),
        ("p min -1 0", "line 1: expected the number of nodes, a whole number from 0 to 67108864, found `-1`"),
        (
            "p min 67108865 0",
            "line 1: expected the number of nodes, a whole number from 0 to 67108864, found `67108865`",
        ),
        (
            "p min 1 2147483649",
            "line 1: expected the number of arcs, a whole number from 0 to 2147483648, found `2147483649`",
        ),
        ("p min 1 0 0", "line 1: expected the end of the line, found `0`"),
        ("p min 1 0\np min 1 0", "line 2: expected one `p` line, found another after that of line 1"),
        ("n 1 1", "line 1: expected a line `p min NODES ARCS` first, found a line `n`"),
        ("a 1 1 1 1 1", "line 1: expected a line `p min NODES ARCS` first, found a line `a`"),
        ("p min 1 0\nn", "line 2: expected a node, found the end of the line"),
        ("p min 1 0\nn 1", "line 2: expected its supply, found the end of the line"),
        ("p min 1 0\nn 0 1", "line 2: expected a node, a whole number from 1 to 1, found `0`"),
        ("p min 1 0\nn 2 1", "line 2: expected a node, a whole number from 1 to 1, found `2`"),
        (
            "p min 1 0\nn 1 1.5",
            "line 2: expected its supply, a whole number from -9223372036854775808 to 9223372036854775807, found `1.5`",
        ),
        ("p min 1 0\nn 1 1 1", "line 2: expected the end of the line, found `1`"),
        ("p min 1 0\nn 1 0\nn 1 0", "line 3: expected one `n` line for each node, found another for node 1"),
        ("p min 1 1\na", "line 2: expected the arc's tail, found the end of the line"),
        ("p min 1 1\na 1", "line 2: expected the arc's head, found the end of the line"),
        ("p min 1 1\na 1 1", "line 2: expected its lower bound, found the end of the line"),
        ("p min 1 1\na 1 1 0", "line 2: expected its capacity, found the end of the line"),
        ("p min 1 1\na 1 1 0 1", "line 2: expected its cost, found the end of the line"),
        ("p min 1 1\na 1 1 0 1 1 1", "line 2: expected the end of the line, found `1`"),
        ("p min 1 1\na 1 2 0 1 1", "line 2: expected the arc's head, a whole number from 1 to 1, found `2`"),
        (
            "p min 1 1\na 1 1 - 1 1",
            "line 2: expected its lower bound, a whole number from -9223372036854775808 to 9223372036854775807, found `-`",
        ),
        (
            "p min 1 1\na 1 1 0 9223372036854775808 1",
            "line 2: expected its capacity, a whole number from -9223372036854775808 to 9223372036854775807, found `9223372036854775808`",
        ),
        (
            "p min 1 1\na 1 1 0 1 -9223372036854775809",
            "line 2: expected its cost, a whole number from -9223372036854775808 to 9223372036854775807, found `-9223372036854775809`",
        ),
        (
            "p min 1 1\na 1 1 3 2 1",
            "line 2: expected a capacity of at least the lower bound 3, found 2; for an arc without a limit write -1",
        ),
        (
            "p min 1 1\na 1 1 0 -2 1",
            "line 2: expected a capacity of at least the lower bound 0, found -2; for an arc without a limit write -1",
        ),
        (
            "p min 1 1\na 1 1 -1 -2 1",
            "line 2: expected a capacity of at least the lower bound -1, found -2; for an arc without a limit write 9223372036854775807",
        ),
        ("p min 1 1\na 1 1 0 1 1\na 1 1 0 1 1", "line 3: expected 1 arcs as the `p` line says, found one more"),
        (
            "p min 1 2\na 1 1 0 1 1\n",
            "expected 2 arcs as the `p` line says, found 1 before the end of the file after line 2",
        ),
    ];
    for (text, wanted) in cases {
        for size in [1, 1000] {
            let error = read(in_pieces(text.as_bytes(), size)).unwrap_err();
            assert_eq!(told(&error), *wanted, "for {text:?}");
        }
    }
}

#[test]
fn a_long_line_is_refused_before_it_is_kept() {
    let longest = format!("c{}\np min 0 0", " ".repeat(MAX_LINE_BYTES - 1));
    let longer = format!("c{}\np min 0 0", " ".repeat(MAX_LINE_BYTES));
    for size in [100, 1 << 20] {
        assert!(read(in_pieces(longest.as_bytes(), size)).is_ok());
        let wanted = "line 1: expected a line end within 65536 bytes, found none";
        assert_eq!(told(&read(in_pieces(longer.as_bytes(), size)).unwrap_err()), wanted);
    }
    // A file without an end.
    let endless = BufReader::new(io::repeat(b'c'));
    assert!(matches!(read(endless), Err(ReadError::Line { line: 1, source: LineError::TooLong { .. } })));
}

#[test]
fn a_long_field_is_cut_where_it_is_told() {
    let text = format!("p min 1 0\nn {} 1", "9".repeat(1000));
    let told = told(&read(text.as_bytes()).unwrap_err());
    assert!(told.ends_with(&format!("found `{}…`", "9".repeat(40))), "{told}");
}

#[test]
fn a_reader_that_fails_is_told_with_its_place() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let text = &b"p min 1 0\nn 1 1\n"[..];
    let error = read(BufReader::new(text.chain(Fails))).unwrap_err();
    assert_eq!(told(&error), "cannot read on after line 2: the disk is gone");
}

#[test]
fn memory_is_taken_for_arcs_that_are_there() {
    let arcs = 10_000;
    let honest = format!("p min 1 {arcs}\n{}", "a 1 1 0 1 1\n".repeat(arcs));
    let instance = read(honest.as_bytes()).unwrap();
    assert_eq!((instance.arcs.len(), instance.arcs.capacity()), (arcs, arcs));
    assert_eq!(size_of::<Arc>(), 32);
    // This would not fit.
    let error = read(&b"p min 67108864 2147483648\n"[..]).unwrap_err();
    assert!(matches!(error, ReadError::ArcsMissing { declared: 2_147_483_648, found: 0, line: 1 }));
}

#[test]
fn a_flow_is_written_arc_by_arc() {
    let instance = Instance { supplies: vec![2, -2], arcs: vec![arc(0, 1, 0, 1, 5), arc(0, 1, 0, 9, 6)] };
    let mut out = Vec::new();
    write_flow(instance.arcs.iter().copied(), [1, 1], 11, &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "s 11\nf 1 2 1\nf 1 2 1\n");
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), Just(-1), Just(i64::MIN), Just(i64::MAX), -9_i64..9, any::<i64>()]
}

fn instance() -> impl Strategy<Value = Instance> {
    let nodes = prop::collection::vec(number(), 1..9);
    nodes.prop_flat_map(|supplies| {
        let node = 0..supplies.len() as u32;
        let arc = (node.clone(), node, number(), number(), number()).prop_map(|(tail, head, a, b, cost)| {
            // A limit of -1 with a lower bound of -1 is a limit.
            arc(tail, head, a.min(b), a.max(b), cost)
        });
        let arcs = prop::collection::vec(arc, 0..20);
        arcs.prop_map(move |arcs| Instance { supplies: supplies.clone(), arcs })
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(instance in instance(), size in 1_usize..100) {
        let mut out = Vec::new();
        write(&instance, &mut out).unwrap();
        prop_assert_eq!(read(in_pieces(&out, size)).unwrap(), instance);
    }

    #[test]
    fn any_bytes_are_a_problem_or_an_error(text in "([cpna0-9 -]|min|\n|p min 3 2\n|a 1 2 0 1 1\n|n 1 1\n|\\PC){0,40}") {
        if let Ok(instance) = read(text.as_bytes()) {
            let mut out = Vec::new();
            write(&instance, &mut out).unwrap();
            prop_assert_eq!(read(&out[..]).unwrap(), instance);
        }
    }

    #[test]
    fn a_damaged_file_is_a_problem_or_an_error(
        instance in instance(), damages in prop::collection::vec(any_damage(), 1..6), size in 1_usize..100,
    ) {
        let mut text = Vec::new();
        write(&instance, &mut text).unwrap();
        damages.iter().for_each(|damage| damage.apply(&mut text));
        let (whole, cut) = (read(&text[..]), read(in_pieces(&text, size)));
        match (whole, cut) {
            // Comparing and writing millions of nodes takes long.
            (Ok(instance), Ok(_)) if instance.supplies.len() > 1000 => {}
            (Ok(instance), Ok(other)) => {
                prop_assert_eq!(&instance, &other);
                let mut out = Vec::new();
                write(&instance, &mut out).unwrap();
                prop_assert_eq!(read(&out[..]).unwrap(), instance);
            }
            (Err(error), Err(other)) => prop_assert_eq!(told(&error), told(&other)),
            (whole, cut) => prop_assert!(false, "{whole:?} in one piece, {cut:?} in pieces of {size}"),
        }
    }
}

/// What can happen to a file.
#[derive(Clone, Debug)]
enum Damage {
    Byte(prop::sample::Index, u8),
    Gone(prop::sample::Index, usize),
    Twice(prop::sample::Index, usize),
    Put(prop::sample::Index, &'static str),
}

fn any_damage() -> impl Strategy<Value = Damage> {
    const WORDS: [&str; 12] = [
        "\n",
        "\r\n",
        " ",
        "\t",
        "-",
        "0",
        "9",
        "c",
        "p min 1 1\n",
        "a 1 1 0 1 1\n",
        "n 1 1\n",
        "18446744073709551616",
    ];
    let place = any::<prop::sample::Index>;
    prop_oneof![
        (place(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        (place(), 1_usize..30).prop_map(|(at, length)| Damage::Gone(at, length)),
        (place(), 1_usize..30).prop_map(|(at, length)| Damage::Twice(at, length)),
        (place(), prop::sample::select(&WORDS[..])).prop_map(|(at, word)| Damage::Put(at, word)),
    ]
}

impl Damage {
    fn apply(&self, text: &mut Vec<u8>) {
        let at = |place: &prop::sample::Index| place.index(text.len() + 1);
        match self {
            Damage::Byte(place, byte) => {
                let at = at(place);
                text.splice(at..(at + 1).min(text.len()), [*byte]);
            }
            Damage::Gone(place, length) => {
                let at = at(place);
                text.drain(at..(at + length).min(text.len()));
            }
            Damage::Twice(place, length) => {
                let at = at(place);
                let part = text[at..(at + length).min(text.len())].to_vec();
                text.splice(at..at, part);
            }
            Damage::Put(place, word) => {
                let at = at(place);
                text.splice(at..at, word.bytes());
            }
        }
    }
}

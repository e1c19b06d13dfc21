//! Quantities as an operator writes them in settings: durations, sizes, processor time.

use std::str::FromStr;

use berth_model::{Bytes, CpuMillis, Mbits, Millis, Port};

/// A quantity in its own notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity<T>(pub T);

fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn scaled(text: &str, units: &[(&str, u64)], expected: &str) -> Result<u64, String> {
    let (digits, unit) = split(text);
    let number: u64 = digits.parse().map_err(|_| expected.to_owned())?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit).ok_or(expected)?;
    number.checked_mul(*factor).ok_or_else(|| expected.to_owned())
}

impl FromStr for Quantity<Millis> {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        scaled(text, &units, "expected a whole number with ms, s, m, h or d, such as 5s").map(|ms| Quantity(Millis(ms)))
    }
}

impl FromStr for Quantity<Bytes> {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let units = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
        scaled(text, &units, "expected a whole number with B, KiB, MiB, GiB or TiB, such as 8GiB")
            .map(|bytes| Quantity(Bytes(bytes)))
    }
}

impl FromStr for Quantity<CpuMillis> {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        scaled(text, &[("m", 1), ("", 1000)], "expected cores or thousandths of one, such as 4 or 3500m")
            .map(|millis| Quantity(CpuMillis(millis)))
    }
}

impl FromStr for Quantity<Mbits> {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        scaled(text, &[("Mbit", 1), ("Gbit", 1000)], "expected a whole number with Mbit or Gbit, such as 10Gbit")
            .map(|mbits| Quantity(Mbits(mbits)))
    }
}

impl FromStr for Quantity<(Port, Port)> {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let range = text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
        match range {
            Some((first, last)) if 0 < first && first <= last => Ok(Quantity((Port(first), Port(last)))),
            _ => Err("expected the first and the last port, such as 20000-32000".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_with_their_units() {
        assert_eq!("1500ms".parse(), Ok(Quantity(Millis(1500))));
        assert_eq!("2m".parse(), Ok(Quantity(Millis(120_000))));
        assert_eq!("8GiB".parse(), Ok(Quantity(Bytes::gib(8))));
        assert_eq!("4".parse(), Ok(Quantity(CpuMillis(4000))));
        assert_eq!("3500m".parse(), Ok(Quantity(CpuMillis(3500))));
        assert_eq!("10Gbit".parse(), Ok(Quantity(Mbits(10_000))));
        assert_eq!("20-30".parse(), Ok(Quantity((Port(20), Port(30)))));
    }

    #[test]
    fn what_is_no_quantity_says_what_was_expected() {
        for text in ["", "5", "s", "5 s", "-5s", "5S", "99999999999999999999s"] {
            assert!(text.parse::<Quantity<Millis>>().is_err_and(|e| e.contains("such as 5s")), "{text}");
        }
        for text in ["0-5", "5-4", "1-70000", "7"] {
            assert!(text.parse::<Quantity<(Port, Port)>>().is_err(), "{text}");
        }
    }
}

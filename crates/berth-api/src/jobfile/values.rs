//! Values that are written as text with a unit, read and written exactly.

use berth_model::{Bytes, CpuMillis, Mbits, Millis, Port, Thousandths, limits};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use super::error::quoted;

macro_rules! text_value {
    ($(#[doc = $doc:literal])* $name:ident, $inner:ty, $parse:ident, $show:ident, $types:expr, $pattern:literal, [$($example:literal),+]) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(pub(super) $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                $parse(text.trim()).map($name).map_err(serde::de::Error::custom)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&$show(self.0))
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let doc = concat!($($doc),*);
                ObjectBuilder::new()
                    .schema_type($types)
                    .description(Some(doc.trim()))
                    .pattern(Some($pattern))
                    .examples([$(serde_json::json!($example)),+])
                    .into()
            }
        }

        impl ToSchema for $name {}
    };
}

fn text_or(number: Type) -> SchemaType {
    SchemaType::from_iter([Type::String, number])
}

text_value!(
    /// Processor time: thousandths of a core with `m`, or cores with at most three decimals; up to 1024 cores.
    Cpu, CpuMillis, cpu, show_cpu, text_or(Type::Number), r"^([0-9]+m|[0-9]+(\.[0-9]{1,3})?)$", ["500m", "0.5", "2"]
);
text_value!(
    /// An amount of bytes: a whole number with B, KiB, MiB, GiB or TiB (powers of 1024), or kB, MB, GB or TB (of 1000).
    Size, Bytes, size, show_size, text_or(Type::Integer), r"^[0-9]+ ?(B|[KMGT]iB|[kMGT]B)?$", ["128MiB", "1GiB"]
);
text_value!(
    /// Network bandwidth: a whole number with Mbit or Gbit (a second); up to 1000Gbit.
    Bandwidth, Mbits, bandwidth, show_bandwidth, SchemaType::from(Type::String), r"^[0-9]+ ?[MG]bit$", ["100Mbit", "2Gbit"]
);
text_value!(
    /// A part of one device: less than 1, with at most three decimals.
    Share, Thousandths, share, show_share, text_or(Type::Number), r"^0\.[0-9]{1,3}$", ["0.25", "0.5"]
);
text_value!(
    /// A length of time: a whole number with ms, s, m or h; up to 720h.
    Duration, Millis, duration, show_duration, SchemaType::from(Type::String), r"^[0-9]+(ms|s|m|h)$", ["10s", "500ms", "2m"]
);
text_value!(
    /// A port: `dynamic` for any free one, or a number from 1 to 65535.
    PortNumber, Option<Port>, port, show_port, text_or(Type::Integer), r"^(dynamic|[0-9]{1,5})$", ["dynamic", "8080"]
);

/// How the schema tells of free text: YAML may take `1.10` or `no` for something else, the reader does not.
pub(super) struct Text;

impl PartialSchema for Text {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Number, Type::Boolean]))
            .description(Some("Text. A number or a truth value is taken as it is written: `1.10` stays `1.10`."))
            .into()
    }
}

impl ToSchema for Text {}

/// A whole number in digits only; none where it is something else or does not fit.
fn digits(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

fn cpu(text: &str) -> Result<CpuMillis, String> {
    let millis = match text.strip_suffix('m') {
        Some(millis) => digits(millis),
        None => {
            let (cores, part) = text.split_once('.').unwrap_or((text, "0"));
            let part = if part.len() <= 3 { digits(&format!("{part:0<3}")) } else { None };
            digits(cores).and_then(|c| c.checked_mul(1000)).zip(part).and_then(|(c, p)| c.checked_add(p))
        }
    };
    millis.map(CpuMillis).ok_or_else(|| {
        format!(
            "expected processor time such as `500m` or `0.5` (cores, at most three decimals), found {}{}",
            quoted(text),
            instead(cpu_meant(text))
        )
    })
}

fn show_cpu(cpu: CpuMillis) -> String {
    cpu.to_string()
}

const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

fn size(text: &str) -> Result<Bytes, String> {
    let (number, factor) = SIZES
        .iter()
        .find_map(|(unit, factor)| text.strip_suffix(unit).map(|number| (number.trim_end(), *factor)))
        .unwrap_or((text, 1));
    if digits(number).is_some_and(|n| n.checked_mul(factor).is_none()) {
        return Err(format!("expected 1B to {}, found {}", limits::SPACE, quoted(text)));
    }
    digits(number).and_then(|n| n.checked_mul(factor)).map(Bytes).ok_or_else(|| {
        format!(
            "expected an amount such as `128MiB` (a whole number of B, KiB, MiB, GiB, TiB, kB, MB, GB or TB), found {}{}",
            quoted(text),
            instead(size_meant(text))
        )
    })
}

/// `text` cut after its leading digits, the rest without blanks.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    digits(&text[..end]).map(|number| (number, text[end..].trim()))
}

fn instead(meant: Option<String>) -> String {
    meant.map_or_else(String::new, |meant| format!("; write `{meant}`"))
}

/// The amount that a unit in other letters, or Kubernetes' `Mi`, means.
fn size_meant(text: &str) -> Option<String> {
    let (number, unit) = number_and_unit(text)?;
    let same = |unit: &str| SIZES.iter().find(|(known, _)| known.eq_ignore_ascii_case(unit));
    same(unit).or_else(|| same(&format!("{unit}B"))).map(|(known, _)| format!("{number}{known}"))
}

/// The time that a bare number, or a unit by another name, means.
fn duration_meant(text: &str) -> Option<String> {
    let (number, unit) = number_and_unit(text)?;
    match unit.to_ascii_lowercase().trim_end_matches('s') {
        "" | "sec" | "second" => Some(format!("{number}s")),
        "min" | "minute" | "m" => Some(format!("{number}m")),
        "hour" | "hr" | "h" => Some(format!("{number}h")),
        "d" | "day" => Some(format!("{}h", number.checked_mul(24)?)),
        _ => None,
    }
}

/// The processor time that a number with a word for cores means.
fn cpu_meant(text: &str) -> Option<String> {
    let (number, unit) = number_and_unit(text)?;
    match unit.to_ascii_lowercase().as_str() {
        "core" | "cores" | "cpu" | "cpus" => Some(number.to_string()),
        "milli" | "millicores" | "mcpu" => Some(format!("{number}m")),
        "%" => Some(format!("{}m", number.checked_mul(10)?)),
        _ => None,
    }
}

fn show_size(bytes: Bytes) -> String {
    let binary = SIZES[..4].iter().find(|(_, factor)| bytes.0 > 0 && bytes.0.is_multiple_of(*factor));
    binary.map_or_else(|| format!("{}B", bytes.0), |(unit, factor)| format!("{}{unit}", bytes.0 / factor))
}

fn bandwidth(text: &str) -> Result<Mbits, String> {
    let units = [("Gbit", 1000), ("Mbit", 1)];
    let found = units.iter().find_map(|(unit, factor)| Some((digits(text.strip_suffix(unit)?.trim_end())?, *factor)));
    found.and_then(|(n, factor): (u64, u64)| n.checked_mul(factor)).map(Mbits).ok_or_else(|| {
        format!(
            "expected a bandwidth such as `100Mbit` (a whole number of Mbit or Gbit a second), found {}{}",
            quoted(text),
            instead(bandwidth_meant(text))
        )
    })
}

/// The bandwidth that a unit in other words means.
fn bandwidth_meant(text: &str) -> Option<String> {
    let (number, unit) = number_and_unit(text)?;
    match unit.to_lowercase().as_str() {
        "" | "m" | "mb" | "mbit" | "mbits" | "mbps" | "mbit/s" | "mb/s" => Some(format!("{number}Mbit")),
        "g" | "gb" | "gbit" | "gbits" | "gbps" | "gbit/s" | "gb/s" => Some(format!("{number}Gbit")),
        _ => None,
    }
}

fn show_bandwidth(network: Mbits) -> String {
    format!("{}Mbit", network.0)
}

/// What it may be is looked at where it is known what it is of: here, anything up to some thousands passes.
fn share(text: &str) -> Result<Thousandths, String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let part = if part.len() <= 3 { digits(&format!("{part:0<3}")) } else { None };
    let thousandths = digits(whole).and_then(|n| n.checked_mul(1000)).zip(part).and_then(|(n, p)| n.checked_add(p));
    thousandths.and_then(|n| u16::try_from(n).ok()).map(Thousandths).ok_or_else(|| {
        let meant = number_and_unit(text).filter(|(n, unit)| *unit == "%" && *n < 100);
        let meant = meant.map(|(n, _)| format!("0.{n:02}"));
        format!("expected a share such as `0.25` (at most three decimals), found {}{}", quoted(text), instead(meant))
    })
}

fn show_share(share: Thousandths) -> String {
    let text = format!("{}.{:03}", share.0 / 1000, share.0 % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn duration(text: &str) -> Result<Millis, String> {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
    let found = units.iter().find_map(|(unit, factor)| digits(text.strip_suffix(unit)?).map(|n| (n, *factor)));
    found.and_then(|(n, factor): (u64, u64)| n.checked_mul(factor)).map(Millis).ok_or_else(|| {
        format!(
            "expected a length of time such as `10s` (a whole number of ms, s, m or h), found {}{}",
            quoted(text),
            instead(duration_meant(text))
        )
    })
}

fn show_duration(time: Millis) -> String {
    match time.0 {
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

/// A time as a message tells it: in the largest unit that leaves a whole number.
pub(super) fn told(time: Millis) -> String {
    let unit = [("h", 3_600_000), ("m", 60_000)].into_iter().find(|(_, ms)| time.0 > 0 && time.0.is_multiple_of(*ms));
    unit.map_or_else(|| show_duration(time), |(unit, ms)| format!("{}{unit}", time.0 / ms))
}

fn port(text: &str) -> Result<Option<Port>, String> {
    if text == "dynamic" {
        return Ok(None);
    }
    let number = digits(text).and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0);
    number
        .map(|n| Some(Port(n)))
        .ok_or_else(|| format!("expected `dynamic` or a number from 1 to 65535, found {}", quoted(text)))
}

fn show_port(port: Option<Port>) -> String {
    port.map_or_else(|| "dynamic".to_owned(), |p| p.to_string())
}

/// Linux's signals that have a name, as they are numbered on the usual architectures.
const SIGNALS: [(&str, u8); 31] = [
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGILL", 4),
    ("SIGTRAP", 5),
    ("SIGABRT", 6),
    ("SIGBUS", 7),
    ("SIGFPE", 8),
    ("SIGKILL", 9),
    ("SIGUSR1", 10),
    ("SIGSEGV", 11),
    ("SIGUSR2", 12),
    ("SIGPIPE", 13),
    ("SIGALRM", 14),
    ("SIGTERM", 15),
    ("SIGSTKFLT", 16),
    ("SIGCHLD", 17),
    ("SIGCONT", 18),
    ("SIGSTOP", 19),
    ("SIGTSTP", 20),
    ("SIGTTIN", 21),
    ("SIGTTOU", 22),
    ("SIGURG", 23),
    ("SIGXCPU", 24),
    ("SIGXFSZ", 25),
    ("SIGVTALRM", 26),
    ("SIGPROF", 27),
    ("SIGWINCH", 28),
    ("SIGIO", 29),
    ("SIGPWR", 30),
    ("SIGSYS", 31),
];

/// The number of a signal by name (with or without `SIG`) or number.
pub(super) fn signal(text: &str) -> Option<u8> {
    let number = digits(text).and_then(|n| u8::try_from(n).ok()).filter(|n| (1..=64).contains(n));
    number.or_else(|| {
        SIGNALS.iter().find(|(name, _)| text == *name || Some(text) == name.strip_prefix("SIG")).map(|s| s.1)
    })
}

/// The name of a signal, or its number where it has none.
pub(super) fn show_signal(number: u8) -> String {
    SIGNALS.iter().find(|s| s.1 == number).map_or_else(|| number.to_string(), |s| s.0.to_owned())
}

/// The names that a signal can have.
pub(super) fn signal_names() -> impl Iterator<Item = &'static str> {
    SIGNALS.iter().map(|s| s.0)
}

/// Linux's capabilities.
pub(super) const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

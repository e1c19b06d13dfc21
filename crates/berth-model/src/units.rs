//! Units: time, cpu, bytes, bandwidth, ports. Integers all of them, so that decisions are the same everywhere.

use std::fmt;
use std::ops::{Add, Sub};

/// A point in time: milliseconds since the Unix epoch, as told to a core by its driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The time from `earlier` to `self`; zero when `earlier` is the later one.
    pub fn since(self, earlier: Timestamp) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Millis> for Timestamp {
    type Output = Timestamp;
    fn add(self, rhs: Millis) -> Timestamp {
        Timestamp(self.0.saturating_add(rhs.0))
    }
}

/// A moment of one machine: milliseconds of its `CLOCK_BOOTTIME`, which runs while it sleeps and is never set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootTime(pub u64);

impl Add<Millis> for BootTime {
    type Output = BootTime;
    fn add(self, rhs: Millis) -> BootTime {
        BootTime(self.0.saturating_add(rhs.0))
    }
}

/// How fast a clock may be wrong at most, in parts in a million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Drift(pub u32);

impl Drift {
    /// The most that can be asked for: a tenth.
    pub const MOST: Drift = Drift(100_000);

    /// How long one has to wait by one clock until `length` has passed by another for sure, where both drift by as much,
    /// in opposite ways.
    pub fn outlast(self, length: Millis) -> Millis {
        let (fast, slow) = (1_000_000 + u128::from(self.0), 1_000_000 - u128::from(self.0.min(Drift::MOST.0)));
        let waited = (u128::from(length.0) * fast).div_ceil(slow);
        Millis(u64::try_from(waited).unwrap_or(u64::MAX))
    }
}

/// A length of time in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// `seconds` as milliseconds.
    pub const fn from_secs(seconds: u64) -> Millis {
        Millis(seconds * 1000)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms < 1000 => write!(f, "{ms}ms"),
            ms if ms % 1000 == 0 => write!(f, "{}s", ms / 1000),
            ms => write!(f, "{}.{:03}s", ms / 1000, ms % 1000),
        }
    }
}

/// Processor time in thousandths of a core, Kubernetes' unit: it means the same on every machine of
/// a cluster to a person who reads it, and divides a core finely enough for small helpers. MHz, the
/// other unit in use, promises a comparability between processors that clock rates no longer give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuMillis(pub u64);

impl fmt::Display for CpuMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}m", self.0)
    }
}

/// An amount of memory or disk in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

impl Bytes {
    /// `n` mebibytes.
    pub const fn mib(n: u64) -> Bytes {
        Bytes(n << 20)
    }
    /// `n` gibibytes.
    pub const fn gib(n: u64) -> Bytes {
        Bytes(n << 30)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
        let mut unit = 0;
        let mut whole = self.0;
        let mut tenths = 0;
        while whole >= 1024 && unit + 1 < UNITS.len() {
            tenths = (whole % 1024) * 10 / 1024;
            whole /= 1024;
            unit += 1;
        }
        if tenths == 0 { write!(f, "{whole}{}", UNITS[unit]) } else { write!(f, "{whole}.{tenths}{}", UNITS[unit]) }
    }
}

/// Network bandwidth in megabits (a million bits) a second, the unit in which links are sold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mbits(pub u64);

impl Mbits {
    /// Of a node whose link has no speed that anybody knows: never exhausted.
    pub const UNLIMITED: Mbits = Mbits(u64::MAX);
}

impl fmt::Display for Mbits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Mbits::UNLIMITED => f.write_str("unlimited"),
            Mbits(n) if n > 0 && n.is_multiple_of(1000) => write!(f, "{}Gbit", n / 1000),
            Mbits(n) => write!(f, "{n}Mbit"),
        }
    }
}

/// A part of one thing in thousandths of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Thousandths(pub u16);

impl Thousandths {
    /// The whole of it.
    pub const WHOLE: Thousandths = Thousandths(1000);
}

/// A vector of what a task, a group or a node has or wants, ports and devices apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Resources {
    /// Processor time.
    pub cpu: CpuMillis,
    /// Memory.
    pub memory: Bytes,
    /// Disk; of a task: what it may hold, logs apart. Zero is no limit.
    pub disk: Bytes,
    /// Network bandwidth. It is counted when work is placed, and not enforced.
    pub network: Mbits,
}

impl Resources {
    /// Whether `self` fits into `free` in every dimension.
    pub fn fits_in(&self, free: &Resources) -> bool {
        self.cpu <= free.cpu && self.memory <= free.memory && self.disk <= free.disk && self.network <= free.network
    }

    /// The numbers alone, in the order of the fields.
    pub fn dimensions(&self) -> [u64; 4] {
        [self.cpu.0, self.memory.0, self.disk.0, self.network.0]
    }

    /// Of each dimension the larger.
    #[must_use]
    pub fn max_of_each(self, other: Resources) -> Resources {
        Resources {
            cpu: self.cpu.max(other.cpu),
            memory: self.memory.max(other.memory),
            disk: self.disk.max(other.disk),
            network: self.network.max(other.network),
        }
    }
}

impl Add for Resources {
    type Output = Resources;
    fn add(self, rhs: Resources) -> Resources {
        Resources {
            cpu: CpuMillis(self.cpu.0.saturating_add(rhs.cpu.0)),
            memory: Bytes(self.memory.0.saturating_add(rhs.memory.0)),
            disk: Bytes(self.disk.0.saturating_add(rhs.disk.0)),
            network: Mbits(self.network.0.saturating_add(rhs.network.0)),
        }
    }
}

impl Sub for Resources {
    type Output = Resources;
    /// Subtraction that stops at zero, dimension by dimension.
    fn sub(self, rhs: Resources) -> Resources {
        Resources {
            cpu: CpuMillis(self.cpu.0.saturating_sub(rhs.cpu.0)),
            memory: Bytes(self.memory.0.saturating_sub(rhs.memory.0)),
            disk: Bytes(self.disk.0.saturating_sub(rhs.disk.0)),
            network: Mbits(self.network.0.saturating_sub(rhs.network.0)),
        }
    }
}

impl std::iter::Sum for Resources {
    fn sum<I: Iterator<Item = Resources>>(iter: I) -> Resources {
        iter.fold(Resources::default(), Add::add)
    }
}

/// A TCP and UDP port number of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(pub u16);

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

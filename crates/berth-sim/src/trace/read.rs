//! Reads a trace of services: the instances with their times, and the machines that they run on.
//!
//! The columns of instances are those of Alibaba's trace of 2025 (disaggregated serving of recommendation models); the
//! trace has no list of machines, so that one is a table of kinds in the same units.

use std::collections::BTreeMap;
use std::io::Read;

use berth_model::limits;
use serde::Deserialize;

use crate::table::{TraceError, rows, unpacked};

/// The most bytes of a file, unpacked.
const FILE_BYTES: u64 = 1 << 30;
/// The most instances: as many as one group may have, so that no service can ask for more.
const INSTANCES_MOST: usize = limits::COUNT as usize;
/// The most GPUs of a node, as with real machines.
const GPUS_MOST: u64 = 64;
/// The longest trace, in seconds: a year.
const SECONDS_MOST: f64 = 365.0 * 24.0 * 3_600.0;
/// The longest role, in characters.
const ROLE_MOST: usize = 40;

/// What an instance asks for, and what a machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amounts {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Whole GPUs.
    pub gpus: u64,
    /// Percent of an RDMA network card.
    pub rdma_pct: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Disk in MiB.
    pub disk_mib: u64,
}

/// Machines that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machines {
    /// Which instances they take.
    pub role: String,
    /// How many.
    pub count: u32,
    /// What each of them has.
    pub each: Amounts,
}

/// Instances of one service that are alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alike {
    /// The service.
    pub service: String,
    /// The role of the machines that they need.
    pub role: String,
    /// What each of them asks for.
    pub each: Amounts,
    /// How many of them one machine may have.
    pub per_node: Option<u32>,
}

/// What happens to instances at one moment, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Happens {
    /// They are deleted.
    Gone,
    /// They are created.
    Come,
    /// They are deleted in the moment in which they were created.
    GoneAtOnce,
}

/// How many instances of which kind.
pub(crate) type Counts = BTreeMap<usize, u32>;

/// The instances of a trace.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The kinds of instances.
    pub(crate) alike: Vec<Alike>,
    /// What happens when, in milliseconds.
    pub(crate) moments: BTreeMap<(u64, Happens), Counts>,
    /// How many instances there are.
    pub(crate) instances: usize,
}

impl Trace {
    /// How many steps a replay has.
    pub fn steps(&self) -> usize {
        self.moments.len()
    }
}

/// A line of the list of machines.
#[derive(Deserialize)]
struct MachinesRow {
    role: String,
    count: u32,
    cpu: f64,
    gpu: f64,
    rdma: f64,
    memory: f64,
    disk: f64,
}

/// A line of the list of instances. Limits are not looked at: a request is what is kept free.
#[derive(Deserialize)]
struct InstanceRow {
    role: String,
    app_name: String,
    cpu_request: f64,
    gpu_request: f64,
    rdma_request: f64,
    memory_request: f64,
    disk_request: f64,
    max_instance_per_node: i64,
    creation_time: Option<f64>,
    deletion_time: Option<f64>,
}

/// Reads the list of machines.
pub fn read_machines(input: impl Read, file: &str) -> Result<Vec<Machines>, TraceError> {
    let mut machines = Vec::new();
    let mut total = 0_usize;
    for (line, row) in rows::<MachinesRow>(unpacked(input, file).take(FILE_BYTES), file, "machines")? {
        let kind = row.machines().and_then(|kind| {
            total += kind.count as usize;
            if kind.count == 0 || total > limits::NODES {
                return Err(format!(
                    "{total} machines up to here: expected 1 to {} in all, 1 or more a line",
                    limits::NODES
                ));
            }
            Ok(kind)
        });
        machines.push(kind.map_err(|problem| TraceError::Line { file: file.to_owned(), line, problem })?);
    }
    Ok(machines)
}

/// Reads the list of instances, plain or compressed with xz.
pub fn read_instances(input: impl Read, file: &str) -> Result<Trace, TraceError> {
    let mut trace = Trace::default();
    let mut numbers = BTreeMap::new();
    for (line, row) in rows::<InstanceRow>(unpacked(input, file).take(FILE_BYTES), file, "instances")? {
        let wrong = |problem| TraceError::Line { file: file.to_owned(), line, problem };
        trace.instances += 1;
        if trace.instances > INSTANCES_MOST {
            return Err(wrong(format!("more than {INSTANCES_MOST} instances: expected the list of one cluster")));
        }
        let (come, gone) = row.times().map_err(wrong)?;
        let alike = row.alike().map_err(wrong)?;
        let kind = *numbers.entry(alike).or_insert_with_key(|alike| {
            trace.alike.push(alike.clone());
            trace.alike.len() - 1
        });
        let mut note = |at, what| *trace.moments.entry((at, what)).or_default().entry(kind).or_default() += 1;
        note(come, Happens::Come);
        if let Some(gone) = gone {
            note(gone, if gone == come { Happens::GoneAtOnce } else { Happens::Gone });
        }
    }
    Ok(trace)
}

impl MachinesRow {
    fn machines(self) -> Result<Machines, String> {
        let MachinesRow { role, count, cpu, gpu, rdma, memory, disk } = self;
        Ok(Machines { role: checked_role(role)?, count, each: amounts([cpu, gpu, rdma, memory, disk])? })
    }
}

impl InstanceRow {
    fn alike(self) -> Result<Alike, String> {
        let InstanceRow { cpu_request, gpu_request, rdma_request, memory_request, disk_request, .. } = self;
        let each = amounts([cpu_request, gpu_request, rdma_request, memory_request, disk_request])?;
        if each.memory_mib == 0 {
            return Err("an instance without memory: expected a memory_request of 1 MiB (0.001) or more".to_owned());
        }
        let per_node = match self.max_instance_per_node {
            -1 => None,
            most => match u32::try_from(most) {
                Ok(most @ 1..) => Some(most),
                _ => return Err(format!("max_instance_per_node is {most}: expected 1 or more, or -1 for no limit")),
            },
        };
        Ok(Alike { service: self.app_name, role: checked_role(self.role)?, each, per_node })
    }

    /// When it comes and when it goes, in milliseconds: one that was there before the trace begins comes first, and one
    /// that outlives it never goes.
    fn times(&self) -> Result<(u64, Option<u64>), String> {
        let millis = |name: &str, seconds: f64| match seconds {
            0.0..=SECONDS_MOST => Ok(1 + (seconds * 1_000.0).round() as u64),
            _ => Err(format!("{name} is {seconds}: expected seconds, 0 to {SECONDS_MOST} (a year), or nothing")),
        };
        let come = self.creation_time.map_or(Ok(0), |seconds| millis("creation_time", seconds))?;
        let gone = self.deletion_time.map(|seconds| millis("deletion_time", seconds)).transpose()?;
        match gone {
            Some(gone) if gone < come => {
                Err("deleted before it was created: expected a later deletion_time".to_owned())
            }
            _ => Ok((come, gone)),
        }
    }
}

fn checked_role(role: String) -> Result<String, String> {
    if (1..=ROLE_MOST).contains(&role.chars().count()) {
        return Ok(role);
    }
    Err(format!("a role of {} characters: expected 1 to {ROLE_MOST}, such as CN", role.chars().count()))
}

/// Cores, GPUs, percent of a network card, GiB of memory and of disk.
fn amounts([cpu, gpu, rdma, memory, disk]: [f64; 5]) -> Result<Amounts, String> {
    let within = |name: &str, value: f64, most: u64| {
        if value.is_finite() && value >= 0.0 && value <= most as f64 {
            return Ok(value);
        }
        Err(format!("{name} is {value}: expected 0 to {most}"))
    };
    let thousandths = |value: f64, of: f64| (value * of).round() as u64;
    let gpus = within("gpu", gpu, GPUS_MOST)?;
    let rdma = within("rdma", rdma, limits::NETWORK.0)?;
    for (name, value) in [("gpu", gpus), ("rdma", rdma)] {
        if value.fract() != 0.0 {
            return Err(format!("{name} is {value}: expected a whole number"));
        }
    }
    Ok(Amounts {
        cpu_milli: thousandths(within("cpu", cpu, limits::CPU.0 / 1_000)?, 1_000.0),
        gpus: gpus as u64,
        rdma_pct: rdma as u64,
        memory_mib: thousandths(within("memory", memory, limits::SPACE.0 >> 30)?, 1_024.0),
        disk_mib: thousandths(within("disk", disk, limits::SPACE.0 >> 30)?, 1_024.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "instance_sn,role,app_name,cpu_request,cpu_limit,gpu_request,gpu_limit,rdma_request,rdma_limit,\
        memory_request,memory_limit,disk_request,disk_limit,max_instance_per_node,creation_time,scheduled_time,\
        deletion_time\n";

    /// One instance with these last three columns before the times, and these times.
    fn line(per_node: &str, come: &str, gone: &str) -> String {
        format!("i,HN,a,12,12,1,1,25,25,120.0,120.0,640.0,800.0,{per_node},{come},,{gone}\n")
    }

    fn read(lines: &str) -> Result<Trace, TraceError> {
        read_instances(format!("{HEAD}{lines}").as_bytes(), "i.csv")
    }

    fn problem(lines: &str) -> String {
        read(lines).unwrap_err().to_string()
    }

    #[test]
    fn instances_that_are_alike_are_told_together() {
        let trace = read(&[line("2", "", "5"), line("2", "", ""), line("-1", "5", "5")].concat()).unwrap();
        let kinds: Vec<_> = trace.alike.iter().map(|alike| alike.per_node).collect();
        assert_eq!(kinds, [Some(2), None]);
        let wanted = BTreeMap::from([
            ((0, Happens::Come), Counts::from([(0, 2)])),
            ((5_001, Happens::Gone), Counts::from([(0, 1)])),
            ((5_001, Happens::Come), Counts::from([(1, 1)])),
            ((5_001, Happens::GoneAtOnce), Counts::from([(1, 1)])),
        ]);
        assert_eq!(trace.moments, wanted);
    }

    #[test]
    fn a_wrong_instance_is_told_by_line_and_what_was_expected() {
        let good = line("8", "1", "2");
        assert!(
            problem(&(good.clone() + &line("0", "", "")))
                .starts_with("i.csv, line 3: max_instance_per_node is 0: expected 1 or more, or -1 for no limit")
        );
        assert!(problem(&line("8", "2", "1")).contains("line 2: deleted before it was created: expected a later"));
        assert!(problem(&line("8", "-3", "")).contains("creation_time is -3: expected seconds, 0 to 31536000"));
        assert!(problem(&line("8", "NaN", "")).contains("creation_time is NaN"));
        assert!(problem(&good.replace(",1,1,", ",0.5,1,")).contains("gpu is 0.5: expected a whole number"));
        assert!(problem(&good.replace("12,12", "-1,12")).contains("cpu is -1: expected 0 to 1024"));
        assert!(problem(&good.replace("120.0,", "0.0,")).contains("an instance without memory: expected"));
        assert!(problem(&good.replace("HN", "")).contains("a role of 0 characters: expected 1 to 40"));
        assert_eq!(problem(""), "i.csv has no instances: expected at least one below the header");
    }

    #[test]
    fn machines_are_told_by_kind() {
        let read =
            |lines: &str| read_machines(format!("role,count,cpu,gpu,rdma,memory,disk\n{lines}").as_bytes(), "m.csv");
        let machines = read("CN,3,96,0,100,768.5,4000\n").unwrap();
        let each = Amounts { cpu_milli: 96_000, gpus: 0, rdma_pct: 100, memory_mib: 786_944, disk_mib: 4_096_000 };
        assert_eq!(machines, [Machines { role: "CN".to_owned(), count: 3, each }]);
        let problem = |lines: &str| read(lines).unwrap_err().to_string();
        assert!(problem("CN,0,1,0,0,1,1\n").starts_with("m.csv, line 2: 0 machines up to here: expected 1 to 100000"));
        assert!(problem("CN,1,1,65,0,1,1\n").contains("gpu is 65: expected 0 to 64"));
        assert!(problem("CN,x,1,65,0,1,1\n").starts_with("m.csv, line 2: "));
    }
}

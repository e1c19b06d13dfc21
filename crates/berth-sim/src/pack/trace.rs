//! Reads the files of a packing experiment: nodes, pods, and the order in which pods arrive.
//!
//! The columns are those of the openb trace (Alibaba, 2023); columns that say nothing of packing are ignored.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};

use serde::Deserialize;

use crate::table::{MOST, TraceError, rows, unpacked};

/// The most bytes of an order.
const ORDER_BYTES: u64 = 64 << 20;

/// The most GPUs of a node, as with real machines.
const GPUS_MOST: u16 = 64;

/// A machine of the trace.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TraceNode {
    /// Its name.
    #[serde(rename = "sn")]
    pub name: String,
    /// Millicores.
    pub cpu_milli: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// How many GPUs it has.
    #[serde(rename = "gpu")]
    pub gpus: u16,
    /// The model of its GPUs.
    pub model: String,
}

/// A pod of the trace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TracePod {
    /// Millicores.
    pub cpu_milli: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// What it asks of GPUs.
    pub gpus: Gpus,
    /// The models that will do; any where there are none.
    pub models: Vec<String>,
}

/// What a pod asks of GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gpus {
    /// None.
    None,
    /// Thousandths of one, 1 to 999.
    Share(u16),
    /// So many whole ones.
    Whole(u16),
}

impl TracePod {
    /// Thousandths of GPUs in all.
    pub fn gpu_milli(&self) -> u64 {
        match self.gpus {
            Gpus::None => 0,
            Gpus::Share(milli) => u64::from(milli),
            Gpus::Whole(count) => u64::from(count) * 1_000,
        }
    }
}

/// A line of the list of pods.
#[derive(Deserialize)]
struct PodRow {
    name: String,
    cpu_milli: u64,
    memory_mib: u64,
    num_gpu: u16,
    gpu_milli: Option<u16>,
    gpu_spec: String,
}

impl PodRow {
    /// Shares above a whole GPU are a whole GPU, as the protocol says.
    fn gpus(&self) -> Result<Gpus, String> {
        match (self.num_gpu, self.gpu_milli.unwrap_or(0).min(1_000)) {
            (0, _) => Ok(Gpus::None),
            (1, milli @ 1..1_000) => Ok(Gpus::Share(milli)),
            (count @ 1..=GPUS_MOST, 1_000) => Ok(Gpus::Whole(count)),
            (count, milli) => Err(format!(
                "{count} GPUs of {milli} thousandths: expected a share of one GPU (1 to 999 thousandths), or 1 to \
                 {GPUS_MOST} whole ones (gpu_milli 1000)"
            )),
        }
    }
}

/// The pods of a file, by their numbers.
#[derive(Clone, Debug, Default)]
pub struct TracePods {
    pods: Vec<TracePod>,
    numbers: BTreeMap<String, usize>,
}

impl TracePods {
    /// Every pod, in the order of the file.
    pub fn all(&self) -> &[TracePod] {
        &self.pods
    }
}

/// Reads a list of nodes.
pub fn read_nodes(input: impl Read, file: &str) -> Result<Vec<TraceNode>, TraceError> {
    let nodes: Vec<(u64, TraceNode)> = rows(input, file, "nodes")?;
    for (line, node) in &nodes {
        if node.gpus > GPUS_MOST {
            let problem = format!("{} GPUs on one node: expected 0 to {GPUS_MOST}", node.gpus);
            return Err(TraceError::Line { file: file.to_owned(), line: *line, problem });
        }
    }
    Ok(nodes.into_iter().map(|(_, node)| node).collect())
}

/// Reads a list of pods.
pub fn read_pods(input: impl Read, file: &str) -> Result<TracePods, TraceError> {
    let wrong = |line, problem| TraceError::Line { file: file.to_owned(), line, problem };
    let mut read = TracePods::default();
    for (line, row) in rows::<PodRow>(input, file, "pods")? {
        let gpus = row.gpus().map_err(|problem| wrong(line, problem))?;
        let models = row.gpu_spec.split('|').filter(|model| !model.is_empty()).map(str::to_owned).collect();
        let number = row.name.rsplit('-').next().unwrap_or(&row.name).to_owned();
        if read.numbers.insert(number.clone(), read.pods.len()).is_some() {
            return Err(wrong(line, format!("a second pod with the number `{number}`: expected each once")));
        }
        read.pods.push(TracePod { cpu_milli: row.cpu_milli, memory_mib: row.memory_mib, gpus, models });
    }
    Ok(read)
}

/// Reads an order of arrivals, plain or compressed with xz: which of the pods comes when, as indices into
/// [`TracePods::all`]. A line is a pod's number, with a `t` behind it where the arrival is a copy of that pod.
pub fn read_order(input: impl Read, file: &str, pods: &TracePods) -> Result<Vec<usize>, TraceError> {
    let mut order = Vec::new();
    for (line, text) in (1..).zip(BufReader::new(unpacked(input, file).take(ORDER_BYTES)).lines()) {
        let text = text.map_err(|source| TraceError::Read { file: file.to_owned(), source })?;
        let number = text.trim();
        let wrong = |problem| TraceError::Line { file: file.to_owned(), line, problem };
        if number.is_empty() {
            continue;
        }
        if order.len() == MOST {
            return Err(wrong(format!("more than {MOST} arrivals: expected the order of one experiment")));
        }
        let pod = pods.numbers.get(number.strip_suffix('t').unwrap_or(number)).ok_or_else(|| {
            let shown: String = number.chars().take(40).collect();
            wrong(format!(
                "no pod has the number `{shown}`: expected the end of a name in the list of pods, such as `0255`"
            ))
        })?;
        order.push(*pod);
    }
    if order.is_empty() {
        return Err(TraceError::Empty { file: file.to_owned(), what: "arrivals" });
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PODS: &str = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos\n\
                        pod-00,4000,8192,1,470,,LS\npod-01,8000,8192,8,1000,A|B,LS\npod-02,100,64,0,0,,BE\n";

    fn pods() -> TracePods {
        read_pods(PODS.as_bytes(), "pods.csv").unwrap()
    }

    fn problem<T: std::fmt::Debug>(result: Result<T, TraceError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn pods_ask_for_shares_or_whole_gpus() {
        let pods = pods();
        assert_eq!(
            pods.all().iter().map(|pod| pod.gpus).collect::<Vec<_>>(),
            [Gpus::Share(470), Gpus::Whole(8), Gpus::None]
        );
        assert_eq!(pods.all()[1].models, ["A", "B"]);
        assert_eq!(pods.all()[1].gpu_milli(), 8_000);
    }

    #[test]
    fn shares_above_a_whole_gpu_are_a_whole_one() {
        let text = PODS.replace("1,470", "1,1500");
        assert_eq!(read_pods(text.as_bytes(), "pods.csv").unwrap().all()[0].gpus, Gpus::Whole(1));
    }

    #[test]
    fn an_order_names_pods_and_copies_of_them() {
        assert_eq!(read_order(&b"02\n00t\n00\n"[..], "order.txt", &pods()).unwrap(), [2, 0, 0]);
    }

    #[test]
    fn a_wrong_file_is_told_by_file_line_and_what_was_expected() {
        let nodes = |text: &str| problem(read_nodes(text.as_bytes(), "n.csv"));
        assert_eq!(
            nodes("sn,cpu_milli,memory_mib,gpu,model\n"),
            "n.csv has no nodes: expected at least one below the header"
        );
        assert_eq!(nodes("sn,cpu_milli,gpu,model\na,1,2,G\n"), "n.csv, line 2: missing field `memory_mib`");
        assert!(nodes("sn,cpu_milli,memory_mib,gpu,model\na,1,2,8,G\nb,x,2,8,G\n").starts_with("n.csv, line 3: "));
        assert_eq!(
            nodes("sn,cpu_milli,memory_mib,gpu,model\na,1\n"),
            "n.csv, line 2: 2 fields: expected 5, as in the header"
        );
        let order = |text: &str| problem(read_order(text.as_bytes(), "o.txt", &pods()));
        assert!(order("02\n77\n").starts_with("o.txt, line 2: no pod has the number `77`: expected"));
        assert_eq!(order("\n"), "o.txt has no arrivals: expected at least one below the header");
        let pods = |text: &str| problem(read_pods(text.as_bytes(), "p.csv"));
        assert!(
            pods(&PODS.replace("8,1000", "8,500")).starts_with("p.csv, line 3: 8 GPUs of 500 thousandths: expected")
        );
        assert!(pods(&PODS.replace("pod-02", "pod-00")).contains("line 4: a second pod with the number `00`"));
        assert!(problem(read_order(&b"not xz"[..], "o.txt.xz", &self::pods())).starts_with("cannot read o.txt.xz: "));
    }
}

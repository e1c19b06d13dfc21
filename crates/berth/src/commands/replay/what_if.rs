//! What another policy would have decided, as it is shown.

use berth_api::wire::v1::{Number, PolicyName};
use berth_journal::Elsewhere;
use berth_model::Millis;
use serde::Serialize;

use crate::output::table;

/// Placements that a table shows.
const SHOWN: usize = 20;

#[derive(Serialize)]
pub struct WhatIf {
    policy: PolicyName,
    then: Measures,
    instead: Measures,
    placements: Placements,
    assumed: Number,
}

#[derive(Serialize)]
struct Measures {
    placed: Number,
    waited_ms: Number,
    longest_wait_ms: Number,
    waiting: Number,
    cpu_permille: Number,
    memory_permille: Number,
    #[serde(skip_serializing_if = "Option::is_none")]
    devices_permille: Option<Number>,
    nodes_in_use_thousandths: Number,
}

#[derive(Serialize)]
struct Placements {
    same: Number,
    other: Number,
    first: Vec<Placement>,
}

#[derive(Serialize)]
struct Placement {
    job: String,
    group: String,
    index: u32,
    number: Number,
    #[serde(skip_serializing_if = "Option::is_none")]
    then: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instead: Option<String>,
}

impl WhatIf {
    /// For people.
    pub fn text(&self) -> String {
        let WhatIf { policy, then, instead, placements, assumed } = self;
        let row = |what: &str, tell: fn(&Measures) -> String| [what.to_owned(), tell(then), tell(instead)];
        let rows = [
            row("placed", |of| of.placed.to_string()),
            row("waited, in all", |of| Millis(of.waited_ms.0).to_string()),
            row("longest wait", |of| Millis(of.longest_wait_ms.0).to_string()),
            row("waiting at the end", |of| of.waiting.to_string()),
            row("cpu given out", |of| percent(&of.cpu_permille)),
            row("memory given out", |of| percent(&of.memory_permille)),
            row("devices given out", |of| of.devices_permille.as_ref().map_or_else(|| "-".to_owned(), percent)),
            row("nodes in use", |of| decimal(of.nodes_in_use_thousandths.0, 1000)),
        ];
        let mut text = format!(
            "\nwith policy {policy}: {} placements on the same node, {} otherwise\n",
            placements.same, placements.other
        );
        text += &table(["", "THEN", "INSTEAD"], rows);
        if !placements.first.is_empty() {
            text += "\n";
            let shown = placements.first.iter().take(SHOWN).map(Placement::row);
            text += &table(["JOB", "GROUP", "INDEX", "THEN", "INSTEAD"], shown);
        }
        if placements.other.0 > SHOWN as u64 {
            text += &format!("and {} more\n", placements.other.0 - SHOWN as u64);
        }
        if assumed.0 > 0 {
            text += &format!(
                "how {assumed} allocations would have fared is not in the journal: as others of their group did, or on and on\n"
            );
        }
        text
    }
}

impl Placement {
    fn row(&self) -> [String; 5] {
        let node = |node: &Option<String>| node.clone().unwrap_or_else(|| "-".to_owned());
        let Placement { job, group, index, then, instead, .. } = self;
        [job.clone(), group.clone(), index.to_string(), node(then), node(instead)]
    }
}

fn percent(permille: &Number) -> String {
    format!("{} %", decimal(permille.0, 10))
}

/// A number of parts with one digit behind the point.
fn decimal(parts: u64, whole: u64) -> String {
    format!("{}.{}", parts / whole, parts % whole * 10 / whole)
}

impl From<berth_journal::WhatIf> for WhatIf {
    fn from(what_if: berth_journal::WhatIf) -> WhatIf {
        let berth_journal::WhatIf { policy, then, instead, placements, assumed } = what_if;
        WhatIf {
            policy: policy.into(),
            then: then.into(),
            instead: instead.into(),
            placements: Placements {
                same: Number(placements.same),
                other: Number(placements.other),
                first: placements.first.into_iter().map(Placement::from).collect(),
            },
            assumed: Number(assumed),
        }
    }
}

impl From<berth_journal::Measures> for Measures {
    fn from(measures: berth_journal::Measures) -> Measures {
        Measures {
            placed: Number(measures.placed),
            waited_ms: Number(measures.waited.0),
            longest_wait_ms: Number(measures.longest_wait.0),
            waiting: Number(measures.waiting),
            cpu_permille: Number(measures.cpu),
            memory_permille: Number(measures.memory),
            devices_permille: measures.devices.map(Number),
            nodes_in_use_thousandths: Number(measures.nodes_in_use),
        }
    }
}

impl From<Elsewhere> for Placement {
    fn from(elsewhere: Elsewhere) -> Placement {
        let Elsewhere { slot, number, then, instead } = elsewhere;
        Placement {
            job: slot.job.to_string(),
            group: slot.group.to_string(),
            index: slot.index,
            number: Number(number as u64),
            then: then.map(|node| node.to_string()),
            instead: instead.map(|node| node.to_string()),
        }
    }
}

//! The plans that were made of late, so that a command can name one and be told what has changed since.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use berth_model::{Millis, Plan, PlanId, Planned, PlannedChange, Timestamp};

use crate::view::View;
use berth_api::wire::v1::NodeNames as _;

/// Plans that are kept.
const KEPT: usize = 64;
/// Changes and waits of all of them together that are kept; one plan alone may have more.
const KEPT_ITEMS: usize = 200_000;
/// For how long they are.
const KEPT_FOR: Millis = Millis::from_secs(3600);

/// The plans, the newest last.
#[derive(Debug, Default)]
pub struct Plans(Mutex<VecDeque<(Timestamp, Arc<Plan>)>>);

impl Plans {
    /// Keeps a plan, and forgets those that are too many or too old.
    pub fn keep(&self, now: Timestamp, plan: Arc<Plan>) {
        let mut kept = self.lock();
        kept.retain(|(at, old)| old.id != plan.id && now.since(*at) < KEPT_FOR);
        kept.push_back((now, plan));
        while kept.len() > 1 && (kept.len() > KEPT || kept.iter().map(|(_, p)| items(p)).sum::<usize>() > KEPT_ITEMS) {
            kept.pop_front();
        }
    }

    /// The plan of that id.
    pub fn get(&self, now: Timestamp, id: PlanId) -> Option<Arc<Plan>> {
        let kept = self.lock();
        let found = kept.iter().find(|(at, plan)| plan.id == id && now.since(*at) < KEPT_FOR);
        found.map(|(_, plan)| plan.clone())
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Timestamp, Arc<Plan>)>> {
        self.0.lock().expect("nothing panics while it holds the plans")
    }
}

fn items(plan: &Plan) -> usize {
    plan.changes.len() + plan.waits.len()
}

/// The first thing that would now be otherwise than planned, in words.
pub fn difference(planned: &Plan, now: &Plan, view: &View) -> String {
    let pairs = planned.changes.iter().zip(&now.changes);
    let first = pairs.take_while(|(then, now)| alike(then, now)).count();
    match (planned.changes.get(first), now.changes.get(first)) {
        (Some(then), Some(now)) => format!("planned was: {}; now: {}", told(then, view), told(now, view)),
        (Some(then), None) => format!("planned was: {}; now that would not be done", told(then, view)),
        (None, Some(now)) => format!("now also: {}", told(now, view)),
        (None, None) => "other allocations would be left waiting, or for other reasons".to_owned(),
    }
}

fn alike(a: &PlannedChange, b: &PlannedChange) -> bool {
    (a.wave, &a.job, &a.group, a.index, a.version) == (b.wave, &b.job, &b.group, b.index, b.version)
        && told_places(&a.what) == told_places(&b.what)
}

type Places<'a> = (Option<berth_model::NodeId>, Option<&'a berth_model::Target>);

fn told_places(what: &Planned) -> Places<'_> {
    match what {
        Planned::Start(target) => (None, Some(target)),
        Planned::Replace(source, target) | Planned::Move(source, target) => (Some(source.node), Some(target)),
        Planned::Stop(source) => (Some(source.node), None),
    }
}

fn told(change: &PlannedChange, view: &View) -> String {
    let name = |node| view.node_name(node).map_or_else(|| format!("{node}"), |name| name.to_string());
    let what = match told_places(&change.what) {
        (None, None) => unreachable!("every change has a place"),
        (None, Some(target)) => format!("start on {}", name(target.node)),
        (Some(source), Some(target)) => format!("from {} to {}", name(source), name(target.node)),
        (Some(source), None) => format!("stop on {}", name(source)),
    };
    let ports = match told_places(&change.what).1 {
        Some(target) if !target.ports.is_empty() => {
            let ports = target.ports.iter().map(|(name, port)| format!("{name}={port}"));
            format!(" with {}", ports.collect::<Vec<_>>().join(" "))
        }
        Some(_) | None => String::new(),
    };
    format!("{}.{}[{}] {what}{ports} in wave {}", change.job.name, change.group, change.index, change.wave)
}

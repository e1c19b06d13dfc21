//! What another policy would have decided.
//!
//! The journal is gone through twice. The first time tells how every allocation fared, by the time since its agent was
//! told to run it, and what the decisions came to. The second time another core, with the other policy, hears the same
//! commands, but those that change the policy, and the same agents coming, going and reporting at the same times; what they report is what became of the
//! same instances, wherever they are now. Its commits are durable at once.
//!
//! What this cannot know it assumes: an instance that did not come to run fares as the others of its group did, and
//! runs on where there are none. How often that was so is told.

mod lives;
mod slot;
mod tally;
mod world;

use std::path::Path;

use berth_control::{Beginning, Core};
use berth_model::{Cause, CommandId, Policy, PolicyName, PolicySpec, PolicyVersion, SetPolicy, Snapshot, Timestamp};

use crate::file::ReadError;
use crate::reader::{Happened, Reader};
use lives::Lives;
pub use slot::Slot;
pub use tally::{Elsewhere, Measures, Placements};
use tally::{Placed, Tally};
use world::World;

/// What another policy would have come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhatIf {
    /// The policy.
    pub policy: PolicyName,
    /// What came of it then.
    pub then: Measures,
    /// What would have come of it.
    pub instead: Measures,
    /// Where things went, held against each other.
    pub placements: Placements,
    /// Allocations of which the journal does not tell how they fared.
    pub assumed: u64,
}

/// What came of a segment.
struct Then {
    lives: Lives,
    measures: Measures,
    placed: Placed,
    core: Core,
    until: Timestamp,
}

/// What another policy would have decided in this segment, up to where it can be read; `None` where there is nothing to
/// replay.
pub fn what_if(path: &Path, policy: &PolicySpec) -> Result<Option<WhatIf>, ReadError> {
    let Ok(mut reader) = Reader::open(path)? else { return Ok(None) };
    let then = then(&mut reader);
    let Ok(mut reader) = Reader::open(path)? else { return Ok(None) };
    let mut world = World::begin(with_policy(&reader.beginning, policy), &then.lives);
    while let Ok(Ok(happened)) = reader.next() {
        world.hear(happened);
    }
    let (instead, placed, assumed) = world.finish(then.until);
    let placements = Placements::compare(&then.placed, &placed, &then.core);
    let policy = policy.name.clone();
    Ok(Some(WhatIf { policy, then: then.measures, instead, placements, assumed }))
}

/// The one thing that is otherwise. No command has set it.
fn with_policy(beginning: &Beginning, spec: &PolicySpec) -> Beginning {
    let Beginning { settings, snapshot, epoch, now } = beginning.clone();
    let nobody = Cause::Command(CommandId::new(epoch.incarnation, 0));
    let policy = Policy { version: PolicyVersion(0), spec: spec.clone() };
    let snapshot = Snapshot { policy: Some(SetPolicy { policy, changed: (now, nobody) }), ..snapshot };
    Beginning { settings, snapshot, epoch, now }
}

fn then(reader: &mut Reader) -> Then {
    let mut effects = Vec::new();
    let mut until = reader.beginning.now;
    let mut core = Core::load(reader.beginning.clone(), &mut effects);
    let mut lives = Lives::default();
    let mut tally = Tally::of(&core, until);
    tally.step(until, &effects, &core);
    while let Ok(Ok(Happened { now, event, .. })) = reader.next() {
        effects.clear();
        lives.before(&event, &core);
        core.step(now, event.clone(), &mut effects);
        lives.after(now, &event, &effects, &core);
        tally.step(now, &effects, &core);
        until = until.max(now);
    }
    let (measures, placed) = tally.finish(until, &core);
    Then { lives, measures, placed, core, until }
}

//! Remedies that concern other jobs to which rules relate: one that is missing, one that wants nobody near.

use berth_model::{
    Act, AllocId, Change, GroupChange, GroupSpec, Incarnation, JobId, JobState, NodeId, Relation, Remedy, Resources,
    Sense, Strength,
};
use berth_placement::remedy::{Case, Demand, Offer, Trial};
use berth_placement::{Class, Hold};

use super::advice::change_of;
use crate::core::Core;

impl Core {
    /// A job that has to be near and is nowhere is run.
    pub(super) fn deploy(&self, trial: &mut Trial, case: Case<'_>) -> Option<Offer> {
        let Class { job, group } = case.class;
        group.rules.relations.iter().find_map(|relation| {
            let peer = relation.of(&job.id.namespace);
            let sought = relation.sense == Sense::Near && relation.strength == Strength::Required;
            let own = relation.to.is(&job.id.name, &group.name);
            if !sought || own || self.is_somewhere(&peer, relation) {
                return None;
            }
            let node = self.with_peer(trial, case, &peer, relation);
            trial.undo();
            let act = Act::Deploy { job: peer, group: relation.to.group.clone() };
            Some(Offer { demand: Demand::MENDED, remedy: Remedy { act, node: Some(node?), preempts: Vec::new() } })
        })
    }

    /// Whether there is one that is placed or waits for a place: then it is not missing, or has to be asked about itself.
    fn is_somewhere(&self, peer: &JobId, relation: &Relation) -> bool {
        let mut live = self.state.index.of_job(peer).map(|id| self.alloc(id)).filter(|alloc| !alloc.is_ended());
        live.any(|alloc| relation.to.is(&peer.name, &alloc.group))
    }

    /// Where the class is placed if one of the peer is where the class would go without that relation. Of a peer that nobody
    /// knows anything of one is imagined that needs no room.
    fn with_peer(&self, trial: &mut Trial, case: Case<'_>, peer: &JobId, relation: &Relation) -> Option<NodeId> {
        let mut job = case.class.job.clone();
        let change = GroupChange::DropRelation(relation.clone());
        Change::Group { group: case.class.group.name.clone(), change }.apply(&mut job);
        let group = job.group(&case.class.group.name)?;
        let node = trial.place(Class { job: &job, group }, case.wants)?;
        trial.undo();
        let known = self.state.jobs.get(peer).filter(|job| job.state != JobState::Active).map(|job| &job.spec);
        let known = known.and_then(|spec| spec.groups.iter().find(|group| relation.to.is(&peer.name, &group.name)));
        let hold = Hold {
            node,
            job: peer.clone(),
            group: known.map_or_else(|| case.class.group.name.clone(), |group| group.name.clone()),
            resources: known.map_or_else(Resources::default, GroupSpec::resources),
            ports: Vec::new(),
            devices: Vec::new(),
            shuns: Vec::new(),
            standing: None,
        };
        let hold = Hold { group: relation.to.group.clone().unwrap_or(hold.group), ..hold };
        trial.hold(AllocId::new(Incarnation(u32::MAX), u64::MAX), hold);
        trial.place_after_others(case, case.class)
    }

    /// A job that wants none of the class near wants that no more.
    pub(super) fn appease(&self, trial: &mut Trial, case: Case<'_>) -> Option<Offer> {
        let Class { job, group } = case.class;
        let shunning = self.state.index.named_by(&job.id)?;
        shunning.filter_map(|by| self.state.jobs.get(by)).find_map(|by| {
            let rules =
                by.spec.groups.iter().flat_map(|other| other.rules.relations.iter().map(move |rule| (other, rule)));
            let mut shuns = rules.filter(|(_, rule)| {
                let required = rule.sense == Sense::Apart && rule.strength == Strength::Required;
                required && rule.to.is(&job.id.name, &group.name)
            });
            let (other, relation) = shuns.next().filter(|_| by.spec.id != job.id && shuns.next().is_none())?;
            trial.appease(&by.spec.id, case.class);
            let node = trial.place_after_others(case, case.class);
            trial.undo();
            let change = GroupChange::DropRelation(relation.clone());
            let act = change_of(&by.spec.id, &other.name, change);
            Some(Offer { demand: Demand::DROPPED, remedy: Remedy { act, node: Some(node?), preempts: Vec::new() } })
        })
    }
}

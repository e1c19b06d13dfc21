//! A copy of a board on which acts are tried, one after the other, and undone.

use berth_model::{AllocId, DecisionId, Fingerprint, Gang, Incarnation, JobId, NodeId, Policy, Term};

use super::{Ahead, Case, LOOKS, Others, TRIALS};
use crate::board::{Board, Eligibility, Hold};
use crate::field::{Field, enough_for};
use crate::filter::Class;
use crate::place::{Want, take};

/// A copy of a board, with what has to be undone to make it equal to the board again.
#[derive(Debug)]
pub struct Trial<'p> {
    board: Board,
    policy: &'p Policy,
    undo: Vec<Undo>,
    /// How often all nodes may still be looked at.
    left: usize,
}

#[derive(Debug)]
enum Undo {
    /// It held this, or nothing.
    Hold(AllocId, Option<Box<Hold>>),
    /// It was this.
    Node(NodeId, Eligibility),
    /// It was not there.
    Remove(NodeId),
}

/// The life of ids that no cluster issues.
const IMAGINED: Incarnation = Incarnation(u32::MAX);

/// The id of an allocation or node that is only imagined.
pub(super) fn imagined_node(nth: u32) -> NodeId {
    NodeId::new(IMAGINED, u64::from(nth))
}

impl<'p> Trial<'p> {
    /// A copy of the board.
    pub fn new(board: &Board, policy: &'p Policy) -> Trial<'p> {
        let left = (LOOKS / board.seats().len().max(1)).max(TRIALS);
        let mut board = board.clone();
        if policy.spec.counts(Term::Fragmentation) {
            board.follow();
        }
        Trial { board, policy, undo: Vec::new(), left }
    }

    /// The board as it is with what was done.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// One look at all nodes is due. Says whether it may be taken.
    fn look(&mut self) -> bool {
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }

    /// How the nodes look to a class of which so many are to be placed. None: nodes were looked at often enough.
    pub(super) fn field<'a>(&mut self, class: Class<'a>, most: usize) -> Option<Field<'a>>
    where
        'p: 'a,
    {
        self.look().then(|| Field::evaluate(&self.board, class, self.policy, most))
    }

    /// Places as many of them as fit, in their order, and tells where each is.
    pub(super) fn place_some(&mut self, class: Class<'_>, wants: &[Want]) -> Vec<(AllocId, NodeId)> {
        let mut placed = Vec::new();
        let Some(mut field) = self.field(class, enough_for(wants)) else { return placed };
        let decision = DecisionId::new(IMAGINED, 0);
        for want in wants {
            let Some((node, explanation)) = field.choose(&self.board, want) else { continue };
            self.note_hold(want.alloc);
            take(&mut self.board, &mut field, class, want, node, explanation, decision);
            placed.push((want.alloc, node));
        }
        placed
    }

    /// Places all of them. None, and nothing is placed, where not all fit; else the node of the last.
    pub fn place(&mut self, class: Class<'_>, wants: &[Want]) -> Option<NodeId> {
        let before = self.undo.len();
        let placed = self.place_some(class, wants);
        if placed.len() < wants.len() {
            self.undo_to(before);
            return None;
        }
        placed.last().map(|(_, node)| *node)
    }

    /// Places those who come first, as far as they fit, and then all of the case's class in the form that is given.
    pub fn place_after_others(&mut self, case: Case<'_>, class: Class<'_>) -> Option<NodeId> {
        for Ahead { class, wants } in case.ahead? {
            match class.group.rules.gang {
                Gang::Whole => drop(self.place(*class, wants)),
                Gang::Free => drop(self.place_some(*class, wants)),
            }
        }
        self.place(class, case.wants)
    }

    /// The allocation holds this.
    pub fn hold(&mut self, alloc: AllocId, hold: Hold) {
        self.note_hold(alloc);
        self.board.hold(alloc, hold);
    }

    /// The allocation holds nothing.
    pub fn release(&mut self, alloc: AllocId) {
        self.note_hold(alloc);
        self.board.release(alloc);
    }

    /// They stop. What is made in their places looks for one before they have gone.
    pub fn leave(&mut self, victims: &[AllocId], others: &impl Others) {
        for (nth, victim) in (0..).zip(victims) {
            let Some((class, only)) = others.successor(*victim) else { continue };
            let want = Want { alloc: AllocId::new(IMAGINED, nth), only, avoid: Vec::new(), leaving: None };
            self.place_some(class, &[want]);
        }
        victims.iter().for_each(|victim| self.release(*victim));
    }

    fn note_hold(&mut self, alloc: AllocId) {
        self.undo.push(Undo::Hold(alloc, self.board.held(alloc).cloned().map(Box::new)));
    }

    /// The node takes work.
    pub(super) fn repair(&mut self, node: NodeId) {
        let Some(seat) = self.board.seats().get(&node) else { return };
        let (fingerprint, eligibility) = (seat.fingerprint.clone(), seat.eligibility);
        self.undo.push(Undo::Node(node, eligibility));
        self.board.put_node(node, &fingerprint, Eligibility::Ready);
    }

    /// There is one node more.
    pub(super) fn add(&mut self, node: NodeId, fingerprint: &Fingerprint) {
        self.undo.push(Undo::Remove(node));
        self.board.put_node(node, fingerprint, Eligibility::Ready);
    }

    /// Those of a job do not want the class away from them any more.
    pub fn appease(&mut self, by: &JobId, class: Class<'_>) {
        let shuns_class = |hold: &Hold| hold.job == *by && hold.shuns_any(&class.job.id, &class.group.name);
        let holds = self.board.holds().filter(|(_, hold)| shuns_class(hold));
        let holds: Vec<(AllocId, Hold)> = holds.map(|(alloc, hold)| (alloc, hold.clone())).collect();
        for (alloc, mut hold) in holds {
            hold.shuns.retain(|(peer, _)| !peer.is(&class.job.id.name, &class.group.name));
            self.hold(alloc, hold);
        }
    }

    /// Everything is as on the board that was copied.
    pub fn undo(&mut self) {
        self.undo_to(0);
    }

    fn undo_to(&mut self, length: usize) {
        for undo in self.undo.drain(length..).rev() {
            match undo {
                Undo::Hold(alloc, Some(hold)) => self.board.hold(alloc, *hold),
                Undo::Hold(alloc, None) => drop(self.board.release(alloc)),
                Undo::Node(node, eligibility) => {
                    let known = self.board.seats().get(&node).map(|seat| seat.fingerprint.clone());
                    let fingerprint = known.expect("a node that was repaired is still there");
                    self.board.put_node(node, &fingerprint, eligibility);
                }
                Undo::Remove(node) => self.board.remove_node(node),
            }
        }
    }
}

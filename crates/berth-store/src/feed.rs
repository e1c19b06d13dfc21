//! The bounded history of changes and its watchers, for every backend.
//!
//! The history is in memory only: after a restart the first watch of an older revision is told
//! `Compacted` and lists anew, which is what a new leader does anyhow.

use std::collections::VecDeque;

use berth_model::Revision;
use tokio::sync::mpsc;

use crate::{Change, Changes, StoreError, Watch};

/// Revisions that are kept for watchers.
pub const HISTORY_REVISIONS: usize = 10_000;
/// Bytes of keys and values that are kept for watchers.
pub const HISTORY_BYTES: usize = 16 << 20;
/// Batches that a watcher may be behind, beyond the history it asked for.
pub const WATCHER_BACKLOG: usize = 256;
/// Watchers at once.
pub const WATCHERS: usize = 1_024;

/// The newest changes, and who wants to hear of more.
#[derive(Debug)]
pub(crate) struct Feed {
    /// The newest revision told.
    newest: Revision,
    kept: VecDeque<Changes>,
    kept_bytes: usize,
    watchers: Vec<Watcher>,
}

#[derive(Debug)]
struct Watcher {
    prefix: Vec<u8>,
    from: Revision,
    /// One place more than may be used, kept free for the news that the watcher is too slow.
    sender: mpsc::Sender<Result<Changes, StoreError>>,
}

impl Feed {
    /// An empty history of a store at this revision.
    pub fn new(newest: Revision) -> Feed {
        Feed { newest, kept: VecDeque::new(), kept_bytes: 0, watchers: Vec::new() }
    }

    /// The oldest revision that can be watched from.
    fn oldest(&self) -> Revision {
        self.kept.front().map_or(Revision(self.newest.0 + 1), |(revision, _)| *revision)
    }

    /// Tells every watcher and keeps the changes for later ones.
    pub fn publish(&mut self, revision: Revision, changes: Vec<Change>) {
        assert_eq!(revision.0, self.newest.0 + 1, "revisions are published one by one");
        self.newest = revision;
        self.kept_bytes += bytes(&changes);
        self.kept.push_back((revision, changes));
        while self.kept.len() > HISTORY_REVISIONS || self.kept_bytes > HISTORY_BYTES {
            let (_, dropped) = self.kept.pop_front().expect("a history over its bounds is not empty");
            self.kept_bytes -= bytes(&dropped);
        }
        // The newest batch alone is never over the bounds: a transaction has at most `MAX_BYTES`.
        let (_, changes) = self.kept.back().expect("just pushed");
        let oldest = self.oldest();
        self.watchers.retain(|watcher| watcher.tell(revision, changes, oldest));
    }

    /// A watcher of changes from `from` on.
    pub fn watch(&mut self, prefix: &[u8], from: Revision) -> Result<Watch, StoreError> {
        let oldest = self.oldest();
        if from.max(Revision(1)) < oldest {
            return Err(StoreError::Compacted { oldest });
        }
        self.watchers.retain(|watcher| !watcher.sender.is_closed());
        if self.watchers.len() >= WATCHERS {
            return Err(StoreError::TooManyWatchers);
        }
        let past: Vec<Changes> = self
            .kept
            .iter()
            .filter(|(revision, _)| *revision >= from)
            .filter_map(|(revision, changes)| Some((*revision, matching(changes, prefix)?)))
            .collect();
        let (sender, receiver) = mpsc::channel(past.len() + WATCHER_BACKLOG + 1);
        for changes in past {
            sender.try_send(Ok(changes)).expect("the channel was made large enough for the past");
        }
        self.watchers.push(Watcher { prefix: prefix.to_vec(), from, sender });
        Ok(receiver)
    }

    /// Ends every watch.
    pub fn close(&mut self) {
        self.watchers.clear();
    }
}

impl Watcher {
    /// Tells this watcher; false when it is gone, or too slow and has been told so.
    fn tell(&self, revision: Revision, changes: &[Change], oldest: Revision) -> bool {
        if self.sender.is_closed() {
            return false;
        }
        if revision < self.from {
            return true;
        }
        let Some(changes) = matching(changes, &self.prefix) else { return true };
        let news =
            if self.sender.capacity() > 1 { Ok((revision, changes)) } else { Err(StoreError::Compacted { oldest }) };
        let stays = news.is_ok();
        // An error here means that the receiver was dropped since: the next round forgets it.
        let _ = self.sender.try_send(news);
        stays
    }
}

/// The changes under a prefix, when there are any.
fn matching(changes: &[Change], prefix: &[u8]) -> Option<Vec<Change>> {
    let found: Vec<Change> = changes.iter().filter(|change| change.key().starts_with(prefix)).cloned().collect();
    if found.is_empty() { None } else { Some(found) }
}

fn bytes(changes: &[Change]) -> usize {
    changes
        .iter()
        .map(|change| match change {
            Change::Put(row) => row.key.len() + row.value.len(),
            Change::Delete { key, .. } => key.len(),
        })
        .sum()
}

//! Telling changes: a watch of etcd for each watcher, taken up again where it ended when its connection breaks. One that is
//! slow is waited for: etcd reads from its history what it has not told yet, and has nothing else to do with it.

use std::time::Duration;

use berth_model::Revision;
use etcd_client::{Event, EventType, WatchOptions, WatchResponse, WatchStream};
use tokio::sync::mpsc::{self, Sender};

use super::{ANSWER_BYTES, EtcdError, EtcdOptions, Link, ours, theirs, within};
use crate::{Change, Changes, HISTORY_REVISIONS, StoreError, WATCHER_BACKLOG, Watch};

/// The wait before a watch that has ended is taken up again; doubles with each failure, up to the longest.
const RESUME_DELAY: Duration = Duration::from_millis(50);
const LONGEST_RESUME_DELAY: Duration = Duration::from_secs(2);

/// A watch of the changes from `from` on, and what tells them.
pub(super) async fn begin(
    options: &EtcdOptions,
    link: &Link,
    prefix: &[u8],
    from: Revision,
) -> Result<(Watch, impl Future<Output = ()> + Send + use<>), StoreError> {
    let failed = |error: EtcdError| error.of_store("watch", from);
    let present = link.revision().await.map_err(failed)?;
    let from = from.max(Revision(1));
    let history = u64::try_from(HISTORY_REVISIONS).unwrap_or(u64::MAX);
    let oldest = Revision((present.0 + 1).saturating_sub(history));
    if from < oldest {
        return Err(StoreError::Compacted { oldest });
    }
    let stream = open(link, prefix, from).await.map_err(failed)?;
    let (sender, watch) = mpsc::channel(WATCHER_BACKLOG);
    let teller = Teller { options: options.clone(), link: link.clone(), prefix: prefix.to_vec(), next: from, sender };
    Ok((watch, teller.run(stream)))
}

async fn open(link: &Link, prefix: &[u8], from: Revision) -> Result<WatchStream, EtcdError> {
    let mut client = link.client.watch_client().max_decoding_message_size(ANSWER_BYTES);
    let options = WatchOptions::new().with_prefix().with_start_revision(theirs(from));
    within("watch", client.watch(link.full(prefix), Some(options))).await
}

/// What tells one watcher.
struct Teller {
    options: EtcdOptions,
    link: Link,
    prefix: Vec<u8>,
    /// The first revision that is not yet told.
    next: Revision,
    sender: Sender<Result<Changes, StoreError>>,
}

/// Why a stream of etcd's ended.
enum Ended {
    /// Its connection broke, or its member has no leader.
    Broken,
    /// The watcher is gone, or has been told that it is over.
    Over,
}

impl Teller {
    async fn run(mut self, mut stream: WatchStream) {
        let sender = self.sender.clone();
        let telling = async {
            loop {
                match self.tell_all(&mut stream).await {
                    Ended::Over => return,
                    Ended::Broken => stream = self.resume().await,
                }
            }
        };
        tokio::select! {
            () = telling => {}
            () = sender.closed() => {}
        }
    }

    /// Watches anew from where it was, by whichever member answers, for as long as it takes.
    async fn resume(&mut self) -> WatchStream {
        let mut delay = RESUME_DELAY;
        loop {
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(LONGEST_RESUME_DELAY);
            let resumed = async {
                self.link.client = self.options.connect().await?;
                open(&self.link, &self.prefix, self.next).await
            };
            match resumed.await {
                Ok(stream) => return stream,
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "a watch does not go on yet"),
            }
        }
    }

    async fn tell_all(&mut self, stream: &mut WatchStream) -> Ended {
        loop {
            match stream.message().await {
                Ok(Some(message)) if message.canceled() => return self.cancelled(&message).await,
                Ok(Some(message)) => {
                    for changes in by_revision(&self.link, message.events()) {
                        if !self.tell(changes).await {
                            return Ended::Over;
                        }
                    }
                }
                Ok(None) | Err(_) => return Ended::Broken,
            }
        }
    }

    async fn cancelled(&self, message: &WatchResponse) -> Ended {
        if message.compact_revision() == 0 {
            return Ended::Broken;
        }
        // An error here means that the watcher is gone.
        let _ = self.sender.send(Err(StoreError::Compacted { oldest: ours(message.compact_revision()) })).await;
        Ended::Over
    }

    /// Tells the changes of one revision; false when the watcher is gone.
    async fn tell(&mut self, changes: Changes) -> bool {
        let revision = changes.0;
        if revision < self.next {
            return true;
        }
        self.next = Revision(revision.0 + 1);
        self.sender.send(Ok(changes)).await.is_ok()
    }
}

/// The events of a message, revision by revision, in order of keys.
fn by_revision(link: &Link, events: &[Event]) -> Vec<Changes> {
    let mut all: Vec<Changes> = Vec::new();
    for change in events.iter().filter_map(|event| change(link, event)) {
        let revision = match &change {
            Change::Put(row) => row.modified,
            Change::Delete { revision, .. } => *revision,
        };
        match all.last_mut() {
            Some((last, changes)) if *last == revision => changes.push(change),
            Some(_) | None => all.push((revision, vec![change])),
        }
    }
    for (_, changes) in &mut all {
        changes.sort_unstable_by(|a, b| a.key().cmp(b.key()));
    }
    all
}

fn change(link: &Link, event: &Event) -> Option<Change> {
    let row = link.row(event.kv()?);
    Some(match event.event_type() {
        EventType::Put => Change::Put(row),
        EventType::Delete => Change::Delete { key: row.key, revision: row.modified },
    })
}

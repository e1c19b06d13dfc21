//! What every store must do, as data: `berth-store`'s backends and any store of a test run these cases.
//!
//! A case begins with an empty store at revision 0 and takes its steps in order. The types are this
//! module's own, so that a store that shares nothing with `berth-store` can run them; keys and values are
//! texts for readability.

/// A case.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What it shows, as a sentence.
    pub name: &'static str,
    /// Taken in order.
    pub steps: &'static [Step],
}

/// One step of a case.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Commit these writes under these guards.
    Commit(&'static [Check], &'static [Write], Answer),
    /// Commit this many transactions one by one, each of which sets the key to some value.
    Repeat(u64, &'static str),
    /// Commit this many puts of different keys after this many guards that hold, with values of this many
    /// bytes in all, keys not counted.
    Sized {
        /// Guards that hold.
        guards: usize,
        /// Puts.
        puts: usize,
        /// Bytes of the values, keys and guards: the whole of what the limit is on.
        bytes: usize,
        /// What comes of it.
        answer: Answer,
    },
    /// The key holds this value, written at this revision.
    Holds(&'static str, &'static str, u64),
    /// There is no such key.
    Lacks(&'static str),
    /// The store is at this revision.
    Revision(u64),
    /// The keys from the first up to but not including the second, at most so many.
    Range(&'static str, &'static str, usize, &'static [&'static str]),
    /// The same as it was at a revision; a store that keeps no past may say so instead.
    RangeAt(&'static str, &'static str, u64, &'static [&'static str]),
    /// Watch keys with the prefix from the revision on; the watch is the newest from here on.
    Watch(&'static str, u64),
    /// Such a watch is refused as compacted.
    WatchCompacted(&'static str, u64),
    /// The newest watch tells these changes of this revision next.
    Sees(u64, &'static [Seen]),
    /// The newest watch has nothing to tell.
    SeesNothing,
    /// The newest watch tells revisions in order, up to this one; or some of them, and then that it was too slow, and ends.
    SeesAllOrThatItWasTooSlow(u64),
}

/// A guard.
#[derive(Clone, Copy, Debug)]
pub enum Check {
    /// The key was last written at this revision.
    ModifiedAt(&'static str, u64),
    /// The key has this value.
    ValueIs(&'static str, &'static str),
    /// There is no such key.
    Absent(&'static str),
}

/// A write.
#[derive(Clone, Copy, Debug)]
pub enum Write {
    /// Set the key.
    Put(&'static str, &'static str),
    /// Remove the key.
    Delete(&'static str),
}

/// What comes of a transaction.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// It is carried out, at this revision.
    At(u64),
    /// A guard does not hold.
    Refused,
    /// It is over a limit.
    TooLarge,
    /// It writes a key twice.
    DuplicateKey,
    /// It names an empty key.
    EmptyKey,
}

/// A change that a watch tells.
#[derive(Clone, Copy, Debug)]
pub enum Seen {
    /// The key was set to the value.
    Put(&'static str, &'static str),
    /// The key was removed.
    Delete(&'static str),
}

use Answer::{At, DuplicateKey, EmptyKey, Refused, TooLarge};
use Check::{Absent, ModifiedAt, ValueIs};
use Step::{
    Commit, Holds, Lacks, Range, RangeAt, Repeat, Revision, Sees, SeesAllOrThatItWasTooSlow, SeesNothing, Sized, Watch,
    WatchCompacted,
};
use Write::{Delete, Put};

/// More revisions than any store keeps for watchers.
const BEYOND_HISTORY: u64 = 10_050;
/// More batches than a watcher may be behind.
const BEYOND_BACKLOG: u64 = 300;

/// Every case.
pub const CASES: &[Case] = &[
    Case { name: "an empty store is at revision 0", steps: &[Revision(0), Lacks("a"), Range("", "z", 9, &[])] },
    Case {
        name: "a commit takes one revision and all of its puts have it",
        steps: &[
            Commit(&[], &[Put("b", "1"), Put("a", "2")], At(1)),
            Holds("a", "2", 1),
            Holds("b", "1", 1),
            Commit(&[], &[Put("a", "3")], At(2)),
            Holds("a", "3", 2),
            Holds("b", "1", 1),
            Revision(2),
        ],
    },
    Case {
        name: "the same value written again is a change",
        steps: &[Commit(&[], &[Put("a", "1")], At(1)), Commit(&[], &[Put("a", "1")], At(2)), Holds("a", "1", 2)],
    },
    Case {
        name: "a delete removes, and a key may come back",
        steps: &[
            Commit(&[], &[Put("a", "1"), Put("b", "1")], At(1)),
            Commit(&[], &[Delete("a"), Put("b", "2")], At(2)),
            Lacks("a"),
            Holds("b", "2", 2),
            Commit(&[], &[Put("a", "3")], At(3)),
            Holds("a", "3", 3),
        ],
    },
    Case {
        name: "a commit that changes nothing takes no revision",
        steps: &[
            Commit(&[], &[], At(0)),
            Commit(&[], &[Delete("a")], At(0)),
            Commit(&[], &[Put("b", "1")], At(1)),
            Commit(&[ValueIs("b", "1")], &[], At(1)),
            Commit(&[], &[Delete("a"), Delete("c")], At(1)),
            Revision(1),
            Commit(&[], &[Put("b", "2")], At(2)),
        ],
    },
    Case {
        name: "a refused commit changes nothing and takes no revision",
        steps: &[
            Commit(&[], &[Put("a", "1")], At(1)),
            Commit(&[Absent("a")], &[Delete("a"), Put("b", "2")], Refused),
            Holds("a", "1", 1),
            Lacks("b"),
            Revision(1),
        ],
    },
    Case {
        name: "modified_at holds at the revision of the last write only",
        steps: &[
            Commit(&[ModifiedAt("a", 0)], &[Put("a", "0")], Refused),
            Commit(&[], &[Put("a", "1")], At(1)),
            Commit(&[ModifiedAt("a", 0)], &[Put("a", "2")], Refused),
            Commit(&[ModifiedAt("a", 1)], &[Put("a", "2")], At(2)),
            Commit(&[ModifiedAt("a", 1)], &[Put("a", "3")], Refused),
            Commit(&[], &[Put("b", "1")], At(3)),
            Commit(&[ModifiedAt("a", 3)], &[Put("a", "3")], Refused),
            Commit(&[ModifiedAt("a", 2)], &[Delete("a")], At(4)),
            Commit(&[ModifiedAt("a", 4)], &[Put("a", "4")], Refused),
        ],
    },
    Case {
        name: "value_is holds of the whole value only",
        steps: &[
            Commit(&[ValueIs("a", "")], &[Put("a", "1")], Refused),
            Commit(&[], &[Put("a", "one")], At(1)),
            Commit(&[ValueIs("a", "on")], &[Put("a", "2")], Refused),
            Commit(&[ValueIs("a", "ones")], &[Put("a", "2")], Refused),
            Commit(&[ValueIs("a", "one")], &[Put("b", "2")], At(2)),
            Commit(&[ValueIs("a", "one"), ValueIs("b", "2")], &[Put("c", "3")], At(3)),
            Commit(&[], &[Put("empty", "")], At(4)),
            Commit(&[ValueIs("empty", "")], &[Delete("empty")], At(5)),
        ],
    },
    Case {
        name: "absent holds before the first write and after a delete",
        steps: &[
            Commit(&[Absent("a")], &[Put("a", "1")], At(1)),
            Commit(&[Absent("a")], &[Put("a", "2")], Refused),
            Commit(&[], &[Delete("a")], At(2)),
            Commit(&[Absent("a")], &[Put("a", "3")], At(3)),
        ],
    },
    Case {
        name: "all guards must hold",
        steps: &[
            Commit(&[], &[Put("a", "1")], At(1)),
            Commit(&[Absent("b"), ValueIs("a", "2")], &[Put("c", "1")], Refused),
            Commit(&[ValueIs("a", "1"), Absent("a")], &[Put("c", "1")], Refused),
            Commit(&[ValueIs("a", "1"), ModifiedAt("a", 1), Absent("b")], &[Put("c", "1")], At(2)),
        ],
    },
    Case {
        name: "a new epoch fences the commits of the old one",
        steps: &[
            Commit(&[Absent("epoch")], &[Put("epoch", "1")], At(1)),
            Commit(&[ValueIs("epoch", "1")], &[Put("meta", "x")], At(2)),
            Commit(&[ValueIs("epoch", "1")], &[Put("meta", "y")], At(3)),
            Commit(&[ModifiedAt("epoch", 1)], &[Put("epoch", "2")], At(4)),
            Commit(&[ModifiedAt("epoch", 1)], &[Put("epoch", "3")], Refused),
            Commit(&[ValueIs("epoch", "1")], &[Put("meta", "z")], Refused),
            Commit(&[ValueIs("epoch", "2")], &[Put("meta", "z")], At(5)),
        ],
    },
    Case {
        name: "a key is written at most once by a transaction",
        steps: &[
            Commit(&[], &[Put("a", "1"), Put("a", "2")], DuplicateKey),
            Commit(&[], &[Put("a", "1"), Delete("a")], DuplicateKey),
            Lacks("a"),
            Revision(0),
        ],
    },
    Case {
        name: "an empty key is refused",
        steps: &[
            Commit(&[], &[Put("", "1")], EmptyKey),
            Commit(&[], &[Delete("")], EmptyKey),
            Commit(&[Absent("")], &[Put("a", "1")], EmptyKey),
            Revision(0),
        ],
    },
    Case {
        name: "128 operations pass and 129 do not, guards counted",
        steps: &[
            Sized { guards: 0, puts: 128, bytes: 100_000, answer: At(1) },
            Sized { guards: 0, puts: 129, bytes: 100_000, answer: TooLarge },
            Sized { guards: 28, puts: 100, bytes: 100_000, answer: At(2) },
            Sized { guards: 29, puts: 100, bytes: 100_000, answer: TooLarge },
            Sized { guards: 129, puts: 0, bytes: 100_000, answer: TooLarge },
            Revision(2),
        ],
    },
    Case {
        name: "1.5 MB pass and one byte more does not",
        steps: &[
            Sized { guards: 0, puts: 3, bytes: 1_500_000, answer: At(1) },
            Sized { guards: 0, puts: 3, bytes: 1_500_001, answer: TooLarge },
            Sized { guards: 2, puts: 1, bytes: 1_500_000, answer: At(2) },
            Sized { guards: 2, puts: 1, bytes: 1_500_001, answer: TooLarge },
            Revision(2),
        ],
    },
    Case {
        name: "a range is in order, from its start on, without its end, and bounded",
        steps: &[
            Commit(&[], &[Put("b", "1"), Put("a/2", "1"), Put("a/10", "1"), Put("a/", "1"), Put("a", "1")], At(1)),
            Range("a", "b", 9, &["a", "a/", "a/10", "a/2"]),
            Range("a/", "a0", 9, &["a/", "a/10", "a/2"]),
            Range("a/", "a0", 2, &["a/", "a/10"]),
            Range("a/10\0", "a0", 2, &["a/2"]),
            Range("a", "c", 0, &[]),
            Range("b", "a", 9, &[]),
            Range("b", "b", 9, &[]),
            Range("", "~", 9, &["a", "a/", "a/10", "a/2", "b"]),
        ],
    },
    Case {
        name: "a listing goes on as it began, or is told that it cannot",
        steps: &[
            Commit(&[], &[Put("a", "1"), Put("b", "1")], At(1)),
            RangeAt("a", "z", 1, &["a", "b"]),
            Commit(&[], &[Delete("a"), Put("c", "1")], At(2)),
            RangeAt("a", "z", 1, &["a", "b"]),
            RangeAt("a", "z", 2, &["b", "c"]),
        ],
    },
    Case {
        name: "a watch tells the changes under its prefix, one revision at a time, in order of keys",
        steps: &[
            Watch("a/", 1),
            Commit(&[], &[Put("a/2", "x"), Put("b", "x"), Put("a/1", "y")], At(1)),
            Commit(&[], &[Put("b", "z")], At(2)),
            Commit(&[], &[Delete("a/2"), Delete("a/9"), Put("a/3", "z")], At(3)),
            Sees(1, &[Seen::Put("a/1", "y"), Seen::Put("a/2", "x")]),
            Sees(3, &[Seen::Delete("a/2"), Seen::Put("a/3", "z")]),
            SeesNothing,
        ],
    },
    Case {
        name: "a watch from the past tells it before the present",
        steps: &[
            Commit(&[], &[Put("a", "1")], At(1)),
            Commit(&[], &[Put("a", "2")], At(2)),
            Commit(&[], &[Put("a", "3")], At(3)),
            Watch("", 2),
            Commit(&[], &[Put("b", "4")], At(4)),
            Sees(2, &[Seen::Put("a", "2")]),
            Sees(3, &[Seen::Put("a", "3")]),
            Sees(4, &[Seen::Put("b", "4")]),
            SeesNothing,
            Watch("", 0),
            Sees(1, &[Seen::Put("a", "1")]),
        ],
    },
    Case {
        name: "a watch from a revision to come tells nothing older",
        steps: &[
            Commit(&[], &[Put("a", "1")], At(1)),
            Watch("a", 3),
            Commit(&[], &[Put("a", "2")], At(2)),
            SeesNothing,
            Commit(&[], &[Put("a", "3")], At(3)),
            Sees(3, &[Seen::Put("a", "3")]),
        ],
    },
    Case {
        name: "what was refused or changed nothing is not told",
        steps: &[
            Watch("", 1),
            Commit(&[ValueIs("a", "9")], &[Put("a", "1")], Refused),
            Commit(&[], &[Delete("a")], At(0)),
            SeesNothing,
            Commit(&[], &[Put("a", "1")], At(1)),
            Sees(1, &[Seen::Put("a", "1")]),
            SeesNothing,
        ],
    },
    Case {
        name: "history is bounded, and an older watch is told that it is compacted",
        steps: &[
            Repeat(BEYOND_HISTORY, "a"),
            WatchCompacted("", 1),
            WatchCompacted("nothing/", 0),
            Watch("a", BEYOND_HISTORY + 1),
            Commit(&[], &[Put("a", "new")], At(BEYOND_HISTORY + 1)),
            Sees(BEYOND_HISTORY + 1, &[Seen::Put("a", "new")]),
        ],
    },
    Case {
        name: "a slow watcher is told everything, or that it was too slow, and lists anew",
        steps: &[
            Watch("a", 1),
            Repeat(BEYOND_BACKLOG, "a"),
            SeesAllOrThatItWasTooSlow(BEYOND_BACKLOG),
            Watch("a", BEYOND_BACKLOG),
            Repeat(1, "a"),
            Watch("b", BEYOND_BACKLOG + 2),
            Repeat(BEYOND_BACKLOG, "a"),
            SeesNothing,
        ],
    },
];

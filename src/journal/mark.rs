//! What a mark and an owed row say.

use crate::path::RelPath;
use serde::{Deserialize, Serialize};

/// How far below a path a mark reaches. It only widens until it is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Scope {
    /// This name, not what is below it.
    Entry = 0,
    /// And the names directly in it, deletions included.
    Children = 1,
    /// And everything below, deletions included.
    Tree = 2,
}

impl Scope {
    pub(super) fn from_db(value: i64) -> Scope {
        match value {
            0 => Scope::Entry,
            1 => Scope::Children,
            // Wider is always right.
            _ => Scope::Tree,
        }
    }
}

/// What happened to a path since it was last settled: a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events(pub u32);

impl Events {
    /// Content was written.
    pub const WRITE: Events = Events(1);
    /// Mode, owner or times were changed.
    pub const ATTRIB: Events = Events(2);
    /// The name was made.
    pub const CREATE: Events = Events(4);
    /// The name was removed.
    pub const DELETE: Events = Events(8);
    /// The name was moved here or away.
    pub const MOVE: Events = Events(16);
    /// It is or was a directory.
    pub const DIR: Events = Events(32);
    /// A scan found it.
    pub const SCAN: Events = Events(64);
    /// A reconcile found it.
    pub const RECONCILE: Events = Events(128);
    /// A push of it ended unseen: an old receiver may still be at work, so it is pushed once more later (rule 2).
    pub const AGAIN: Events = Events(256);
    /// It is settled, and this is that later push.
    pub const ECHO: Events = Events(512);
    /// A large file that waits for a push of its own.
    pub const LARGE: Events = Events(1024);
    /// Its content was compared and differs, though size and time agree: they prove nothing.
    pub const CONTENT: Events = Events(2048);
    /// A comparison of everything found it: one of perhaps very many, which go in lanes of their own.
    pub const BULK: Events = Events(4096);

    /// True when all bits of `other` are set.
    pub fn has(self, other: Events) -> bool {
        self.0 & other.0 == other.0
    }

    /// True when at least one bit of `other` is set.
    pub fn any(self, other: Events) -> bool {
        self.0 & other.0 != 0
    }

    /// These bits less those of `other`.
    pub fn without(self, other: Events) -> Events {
        Events(self.0 & !other.0)
    }
}

impl std::ops::BitOr for Events {
    type Output = Events;
    fn bitor(self, other: Events) -> Events {
        Events(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for Events {
    fn bitor_assign(&mut self, other: Events) {
        self.0 |= other.0;
    }
}

/// This path may differ on every remote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What may differ.
    pub path: RelPath,
    /// How far below it.
    pub scope: Scope,
    /// What happened.
    pub events: Events,
    /// Where it was moved from, when that is known.
    pub origin: Option<RelPath>,
}

impl Mark {
    /// A mark of this name alone.
    pub fn entry(path: RelPath, events: Events) -> Self {
        Self { path, scope: Scope::Entry, events, origin: None }
    }
    /// A mark with the given scope.
    pub fn new(path: RelPath, scope: Scope, events: Events) -> Self {
        Self { path, scope, events, origin: None }
    }
}

/// A row of `change` as a pusher reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// What may differ.
    pub path: RelPath,
    /// The number of its last mark.
    pub seq: i64,
    /// How far below it.
    pub scope: Scope,
    /// What happened.
    pub events: Events,
    /// When it was last marked, in milliseconds since 1970.
    pub marked_at_ms: i64,
}

/// A row of `owed` as a pusher reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// What the remote lacks.
    pub path: RelPath,
    /// How far below it.
    pub scope: Scope,
    /// What happened.
    pub events: Events,
    /// rsync's words, when a push failed on it.
    pub error: Option<String>,
    /// Failed pushes so far.
    pub attempts: u32,
    /// When it entered, in milliseconds since 1970.
    pub since_ms: i64,
    /// The number of this version of the row.
    pub generation: i64,
}

/// A row to be written into `owed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owe {
    /// What the remote lacks.
    pub path: RelPath,
    /// How far below it.
    pub scope: Scope,
    /// What happened.
    pub events: Events,
    /// rsync's words, when a push failed on it.
    pub error: Option<String>,
    /// Failed pushes so far.
    pub attempts: u32,
    /// When it is pushed again, in milliseconds since 1970.
    pub next_try_ms: i64,
    /// Since when it is owed, in milliseconds since 1970.
    pub since_ms: i64,
}

//! The contents of a mark and of an owed row.

use crate::path::RelPath;
use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlResult, ToSqlOutput, ValueRef};
use serde::{Deserialize, Serialize};

/// How far below a path a mark reaches. The scope only widens until the mark is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Scope {
    /// This name, without anything below it.
    Entry = 0,
    /// Also the names directly in it, deletions included.
    Children = 1,
    /// Also everything below it, deletions included.
    Tree = 2,
}

impl Scope {
    pub(super) fn from_db(value: i64) -> Scope {
        match value {
            0 => Scope::Entry,
            1 => Scope::Children,
            // A wider scope is always correct.
            _ => Scope::Tree,
        }
    }
}

bitflags::bitflags! {
    /// The events of a path since it was last settled. The journal stores the bits.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Events: u32 {
        /// Content was written.
        const WRITE = 1 << 0;
        /// Mode, owner or times were changed.
        const ATTRIB = 1 << 1;
        /// The name was created.
        const CREATE = 1 << 2;
        /// The name was removed.
        const DELETE = 1 << 3;
        /// The name was moved into the localpath or out of it.
        const MOVE = 1 << 4;
        /// It is or was a directory.
        const DIR = 1 << 5;
        /// A scan found it.
        const SCAN = 1 << 6;
        /// A reconcile found it.
        const RECONCILE = 1 << 7;
        /// The end of its push was not seen. An old receiver may still be running, so the path is pushed once more
        /// later (rule 2).
        const AGAIN = 1 << 8;
        /// It is settled, and this row is that later push.
        const ECHO = 1 << 9;
        /// A large file that needs a push of its own.
        const LARGE = 1 << 10;
        /// Size and time prove nothing for it: its content was compared and differs although they agree, or it changed
        /// shortly before a power cut.
        const CONTENT = 1 << 11;
        /// It is pushed in a portion, in lanes of their own: a reconcile found it, and there may be very many such paths,
        /// or a push of marks would have taken too long with it.
        const BULK = 1 << 12;
        /// A directory that the remote lacked with everything below it. In a portion it is pushed whole: by rsync's own
        /// recursion instead of name by name. Outside of portions it is compared.
        const WHOLE = 1 << 13;
        /// It was pushed or compared while everything was being pushed, which may have replaced it with what it was before.
        /// It waits for the end of that push, and is then pushed or compared once more.
        const BESIDE = 1 << 14;
        /// It is pushed whole and must then be compared: it was marked with what is below it.
        const COMPARE = 1 << 15;
    }
}

/// What was found by something else than a live event. The delete guard applies to it.
pub const NOT_LIVE: Events = Events::SCAN.union(Events::WHOLE);

impl Events {
    /// As SQL: an `event` has at least one of these bits.
    pub(super) fn any_in_sql(self) -> String {
        format!("event & {} != 0", self.bits())
    }

    /// As SQL: an `event` has none of these bits.
    pub(super) fn none_in_sql(self) -> String {
        format!("event & {} = 0", self.bits())
    }
}

impl ToSql for Events {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.bits().into())
    }
}

impl FromSql for Events {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        u32::column_result(value).map(Events::from_bits_retain)
    }
}

/// This path may differ on every remote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The path that may differ.
    pub path: RelPath,
    /// How far the mark reaches.
    pub scope: Scope,
    /// The events.
    pub events: Events,
    /// The path it was moved from, if that is known.
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
    /// The path that may differ.
    pub path: RelPath,
    /// The number of its last mark.
    pub seq: i64,
    /// How far the mark reaches.
    pub scope: Scope,
    /// The events.
    pub events: Events,
    /// The path it was moved from, if that is known.
    pub origin: Option<RelPath>,
    /// The time of its last mark, in milliseconds since 1970.
    pub marked_at_ms: i64,
}

/// A row of `owed` as a pusher reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// What the remote lacks.
    pub path: RelPath,
    /// How far the row reaches.
    pub scope: Scope,
    /// The events.
    pub events: Events,
    /// rsync's error message, if a push of it failed.
    pub error: Option<String>,
    /// Failed pushes so far.
    pub attempts: u32,
    /// The time at which it was first owed, in milliseconds since 1970.
    pub since_ms: i64,
    /// The number of this version of the row.
    pub generation: i64,
}

/// A row to write into `owed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owe {
    /// What the remote lacks.
    pub path: RelPath,
    /// How far the row reaches.
    pub scope: Scope,
    /// The events.
    pub events: Events,
    /// rsync's error message, if a push of it failed.
    pub error: Option<String>,
    /// Failed pushes so far.
    pub attempts: u32,
    /// The time of the next push, in milliseconds since 1970.
    pub next_try_ms: i64,
    /// The time since which it is owed, in milliseconds since 1970.
    pub since_ms: i64,
}

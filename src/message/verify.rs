//! What `syncsup verify` asks of a pusher, and what it answers.

use crate::path::RelPath;
pub use crate::rsync::differ::Why;
use serde::{Deserialize, Serialize};

/// A comparison for `syncsup verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyJob {
    /// Only what is at or below it.
    pub below: RelPath,
    /// Compare content.
    pub checksum: bool,
    /// Owe what differs.
    pub repair: bool,
    /// Say how far it is while it compares.
    #[serde(default)]
    pub progress: bool,
}

/// Some of what differs, and at the end how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyPart {
    /// In the order in which rsync found them.
    pub differences: Vec<Difference>,
    /// Nothing comes after it.
    pub end: Option<VerifyEnd>,
    /// How far the comparison is; such a part holds nothing else.
    #[serde(default)]
    pub progress: Option<VerifyAt>,
}

/// How far a comparison is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyAt {
    /// Entries compared.
    pub entries: u64,
    /// Bytes read here.
    pub bytes: u64,
}

/// One path that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The path.
    pub path: RelPath,
    /// It is a directory: here, or, where it is extra, there.
    pub dir: bool,
    /// In what; never empty.
    pub why: Vec<Why>,
    /// It is on its way: marked, owed, or pushed while it was compared.
    pub pending: bool,
}

/// How a comparison ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyEnd {
    /// Everything was compared.
    Done {
        /// How many entries there are here.
        entries: u64,
    },
    /// Not everything could be compared: why.
    Incomplete(String),
    /// Nothing could be compared: why.
    Failed(String),
}

/// How far the rolling comparison is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VerifyProgress {
    /// When the next run begins, in milliseconds since 1970; none while one is under way.
    pub next_ms: Option<i64>,
    /// The run under way.
    pub run: Option<VerifyRun>,
    /// The last one that came to its end.
    pub last: Option<VerifyRun>,
}

/// One run of the rolling comparison through the tree.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VerifyRun {
    /// When it began, in milliseconds since 1970.
    pub began_ms: i64,
    /// When it ended, in milliseconds since 1970; none while it is under way.
    pub ended_ms: Option<i64>,
    /// The path that was compared last; none at the beginning and at the end.
    pub at: Option<RelPath>,
    /// Parts compared.
    pub parts: u64,
    /// Entries here that were compared.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Paths that differed and were not on their way: pushed again.
    pub repaired: u64,
    /// Parts that could not be compared, or not all of them.
    pub incomplete: u64,
}

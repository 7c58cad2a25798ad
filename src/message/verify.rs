//! The requests of `syncsup verify` to a pusher, and the answers.

use crate::path::RelPath;
pub use crate::rsync::differ::Why;
use serde::{Deserialize, Serialize};

/// A comparison for `syncsup verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyJob {
    /// Only paths at or below this one.
    pub below: RelPath,
    /// Compare content.
    pub checksum: bool,
    /// Differing paths become owed.
    pub repair: bool,
    /// Report the progress of the comparison.
    #[serde(default)]
    pub progress: bool,
}

/// A part of the differences, and at the end the result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyPart {
    /// The differences in the order in which rsync found them.
    pub differences: Vec<Difference>,
    /// The result; no part follows.
    pub end: Option<VerifyEnd>,
    /// The progress of the comparison. Such a part contains nothing else.
    #[serde(default)]
    pub progress: Option<VerifyAt>,
}

/// The progress of a comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyAt {
    /// Entries compared.
    pub entries: u64,
    /// Bytes read locally.
    pub bytes: u64,
}

/// One path that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The path.
    pub path: RelPath,
    /// It is a local directory, or, if it is extra, a directory on the remote.
    pub dir: bool,
    /// What differs; never empty.
    pub why: Vec<Why>,
    /// A push of it is pending: it is marked, owed, or was pushed during the comparison.
    pub pending: bool,
}

/// How a comparison ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyEnd {
    /// Everything was compared.
    Done {
        /// The number of local entries.
        entries: u64,
    },
    /// Some entries could not be compared, and why.
    Incomplete(String),
    /// Nothing could be compared, and why.
    Failed(String),
}

/// The progress of the rolling comparison.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VerifyProgress {
    /// The start of the next run, in milliseconds since 1970; none during a run.
    pub next_ms: Option<i64>,
    /// The current run.
    pub run: Option<VerifyRun>,
    /// The last completed run.
    pub last: Option<VerifyRun>,
}

/// One run of the rolling comparison through the tree.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VerifyRun {
    /// The start of the run, in milliseconds since 1970.
    pub began_ms: i64,
    /// The end of the run, in milliseconds since 1970; none during the run.
    pub ended_ms: Option<i64>,
    /// The path that was compared last; none at the beginning and at the end.
    pub at: Option<RelPath>,
    /// Parts compared.
    pub parts: u64,
    /// Local entries that were compared.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Paths that differed although no push of them was pending: pushed again.
    pub repaired: u64,
    /// Parts that could not be compared, or only partly.
    pub incomplete: u64,
}

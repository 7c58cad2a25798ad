//! What `syncsup verify` asks of a pusher, and what it answers.

use crate::path::RelPath;
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
}

/// Some of what differs, and at the end how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyPart {
    /// In the order in which rsync found them.
    pub differences: Vec<Difference>,
    /// Nothing comes after it.
    pub end: Option<VerifyEnd>,
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

/// In what a path differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Not there, or something of another type stands in its place.
    Missing,
    /// There and not here.
    Extra,
    /// A directory stands in its place.
    Type,
    /// Its content, compared by checksum; or a device's number.
    Content,
    /// Its size.
    Size,
    /// Where a symbolic link leads.
    Target,
    /// Its modification time.
    Time,
    /// Its permissions.
    Mode,
    /// Its owner.
    Owner,
    /// Its group.
    Group,
    /// Its access control list.
    Acl,
    /// Its extended attributes.
    Xattr,
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

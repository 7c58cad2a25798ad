//! The lanes of pushes. Pure.

/// One of the pushes that may run at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Marks, and owed names.
    Small,
    /// One large file: the one that has waited longest.
    Large,
    /// Another large file: the smallest one that waits, so that small ones need not wait for the largest.
    Large2,
    /// A portion of what a reconcile found. There are two such lanes, so that one portion is prepared, and its rsync
    /// started, while the other is being pushed.
    Bulk,
    /// The other portion.
    Bulk2,
}

impl Lane {
    /// All lanes, in the order in which they start.
    pub const ALL: [Lane; 5] = [Lane::Small, Lane::Large, Lane::Large2, Lane::Bulk, Lane::Bulk2];
    /// The lanes of large files.
    pub const LARGE: [Lane; 2] = [Lane::Large, Lane::Large2];
    /// The lanes of portions.
    pub const BULK: [Lane; 2] = [Lane::Bulk, Lane::Bulk2];
}

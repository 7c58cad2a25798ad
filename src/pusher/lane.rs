//! Which paths a push takes. Pure.

/// One of the pushes that go side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// What is marked, and single names that are owed.
    Small,
    /// One large file: that which has waited longest.
    Large,
    /// Another one: the smallest of those that wait, so that the largest hold up no other.
    Large2,
    /// A portion of what a comparison of everything found. There are two such lanes: one portion is prepared, and its rsync started,
    /// while the other goes.
    Bulk,
    /// The other one.
    Bulk2,
}

impl Lane {
    /// In the order in which they start.
    pub const ALL: [Lane; 5] = [Lane::Small, Lane::Large, Lane::Large2, Lane::Bulk, Lane::Bulk2];
    /// Those of large files.
    pub const LARGE: [Lane; 2] = [Lane::Large, Lane::Large2];
    /// Those of portions.
    pub const BULK: [Lane; 2] = [Lane::Bulk, Lane::Bulk2];
}

//! A localpath and one of its remotes, which `syncsup verify` compares.

use crate::path::{OsBytes, RelPath};

/// One remote that is compared.
pub struct Pair {
    /// The localpath.
    pub watch: OsBytes,
    /// The part of the localpath that is compared.
    pub below: RelPath,
    /// The remote's name.
    pub remote: String,
}

/// The compared paths that could not be pushed.
#[derive(Debug, Default)]
pub struct Failing {
    /// The number of paths.
    pub count: u64,
    /// The first path, with its error.
    pub first: Option<String>,
}

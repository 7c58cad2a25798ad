//! A localpath and one of its remotes, which `syncsup verify` compares.

use crate::path::{OsBytes, RelPath};

/// One remote that is compared.
pub struct Pair {
    /// The localpath.
    pub watch: OsBytes,
    /// What of it is compared.
    pub below: RelPath,
    /// The remote's name.
    pub remote: String,
}

/// What could not be pushed of what is compared.
#[derive(Debug, Default)]
pub struct Failing {
    /// How many paths.
    pub count: u64,
    /// The first, with its error.
    pub first: Option<String>,
}

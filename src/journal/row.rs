//! Columns of rows, as values.

use super::{JournalError, Result};
use crate::path::RelPath;
use rusqlite::Row;

/// A path that a table keeps as bytes.
pub(super) fn path_at(row: &Row<'_>, column: usize) -> Result<RelPath> {
    let bytes: Vec<u8> = row.get(column)?;
    RelPath::new(bytes).ok_or_else(|| JournalError::Damaged("a path that is not relative".into()))
}

//! Columns of rows, as values.

use super::{JournalError, Result};
use crate::path::RelPath;
use crate::reconcile_reason::ReconcileReason;
use rusqlite::types::{FromSql, FromSqlResult, ToSqlOutput, ValueRef};
use rusqlite::{Row, ToSql};

/// A path that a table keeps as bytes.
pub(super) fn path_at(row: &Row<'_>, column: usize) -> Result<RelPath> {
    let bytes: Vec<u8> = row.get(column)?;
    RelPath::new(bytes).ok_or_else(|| JournalError::Damaged("a path that is not relative".into()))
}

/// The same where the column may be null.
pub(super) fn some_path_at(row: &Row<'_>, column: usize) -> Result<Option<RelPath>> {
    let null = matches!(row.get_ref(column)?, ValueRef::Null);
    if null { Ok(None) } else { path_at(row, column).map(Some) }
}

impl ToSql for ReconcileReason {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.to_string().into())
    }
}

impl FromSql for ReconcileReason {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        String::column_result(value).map(ReconcileReason::from)
    }
}

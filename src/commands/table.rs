//! Columns for people.

use crate::path::as_written;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

pub use crate::figures::{bytes, count, span};

/// Formats rows as aligned columns with two spaces between them and no trailing spaces.
pub fn columns(rows: &[Vec<String>]) -> String {
    let shown = |row: &Vec<String>| row.iter().map(|cell| as_written(cell.as_bytes())).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(shown).collect();
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|n| rows.iter().filter_map(|r| r.get(n)).map(|c| width(c)).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, wide) in row.iter().zip(&widths) {
            line.push_str(&padded(cell, wide + 2));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// The number of terminal columns of a text. A Chinese character takes two.
pub fn width(text: &str) -> usize {
    text.width()
}

/// A text padded with spaces to `columns`.
pub fn padded(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// The beginning of a line, at most `columns` wide.
pub fn cut(line: &str, columns: usize) -> String {
    let mut left = columns;
    let fits = |c: &char| {
        let rest = left.checked_sub(c.width().unwrap_or(0));
        left = rest.unwrap_or(0);
        rest.is_some()
    };
    line.chars().take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        assert_eq!(columns(&[row("a", "bb"), row("ccc", "")]), "a    bb\nccc\n");
        // Text from a remote must not control the terminal.
        assert_eq!(
            columns(&[row("\u{1b}[2J", "x\u{202e}\ny")]),
            "\\x1b[2J  x\\xe2\\x80\\xae\\x0ay\n"
        );
    }

    #[test]
    fn chinese_characters_take_two_columns() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        assert_eq!(columns(&[row("目录", "x"), row("abcde", "y")]), "目录   x\nabcde  y\n");
        assert_eq!((padded("目", 3), padded("abc", 2)), ("目 ".into(), "abc".into()));
        assert_eq!(
            (cut("目录x", 3), cut("目录x", 4), cut("ab", 9)),
            ("目".into(), "目录".into(), "ab".into())
        );
    }
}

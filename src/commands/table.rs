//! Columns for people.

use crate::path::as_written;

pub use crate::figures::{bytes, count, span};

/// Rows as aligned columns, two spaces between them, without trailing spaces.
pub fn columns(rows: &[Vec<String>]) -> String {
    let shown = |row: &Vec<String>| row.iter().map(|cell| as_written(cell.as_bytes())).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(shown).collect();
    let width = |text: &str| text.chars().count();
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|n| rows.iter().filter_map(|r| r.get(n)).map(|c| width(c)).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, wide) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', wide + 2 - width(cell)));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        assert_eq!(columns(&[row("a", "bb"), row("ccc", "")]), "a    bb\nccc\n");
        // What a remote says cannot draw on the terminal.
        assert_eq!(
            columns(&[row("\u{1b}[2J", "x\u{202e}\ny")]),
            "\\x1b[2J  x\\xe2\\x80\\xae\\x0ay\n"
        );
    }
}

//! Columns for people.

use crate::path::as_written;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

pub use crate::figures::bytes;

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

/// The lines of a text, wrapped if there is a width.
pub fn within(text: &str, columns: Option<usize>) -> String {
    let Some(columns) = columns else { return text.to_owned() };
    text.lines().flat_map(|line| wrapped(line, columns)).map(|line| line + "\n").collect()
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

/// A line in pieces that are at most `columns` wide. It is broken at blanks where that is possible.
pub fn wrapped(line: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(2);
    let indent = line.len() - line.trim_start_matches(' ').len();
    // On a very narrow screen, text matters more than its place.
    let first = if indent * 2 > columns { 0 } else { indent };
    let next = if (indent + 2) * 2 > columns { 0 } else { indent + 2 };
    let mut lines = Vec::new();
    let mut now = " ".repeat(first);
    let mut has_word = false;
    for word in line[indent..].split(' ') {
        let blank = usize::from(has_word);
        if width(&now) + blank + width(word) <= columns {
            now += &" ".repeat(blank);
            now += word;
            has_word = true;
            continue;
        }
        if word.is_empty() {
            // One of several blanks at the end of a line.
            continue;
        }
        // A word that is wider than a line begins where it stands, and is broken anywhere.
        if next + width(word) <= columns || width(&now) + blank + 2 > columns {
            lines.push(std::mem::replace(&mut now, " ".repeat(next)));
        } else {
            now += &" ".repeat(blank);
        }
        for c in word.chars() {
            if width(&now) + c.width().unwrap_or(0) > columns {
                lines.push(std::mem::replace(&mut now, " ".repeat(next)));
            }
            now.push(c);
        }
        has_word = true;
    }
    lines.push(now);
    lines.iter_mut().for_each(|line| line.truncate(line.trim_end().len()));
    lines
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

    #[test]
    fn lines_wrap_at_blanks_by_width() {
        for (text, columns, wanted) in [
            ("  one two three", 20, &["  one two three"][..]),
            ("  one two three", 11, &["  one two", "    three"]),
            // A word that is too wide for any line.
            ("  abcdefghijklmnop x", 10, &["  abcdefgh", "    ijklmn", "    op x"]),
            ("  远端没有应答", 10, &["  远端没有", "    应答"]),
            ("一二三", 3, &["一", "二", "三"]),
            ("a  b", 9, &["a  b"]),
            ("", 9, &[""]),
        ] {
            assert_eq!(wrapped(text, columns), wanted, "{text}");
        }
    }

    #[test]
    fn a_text_is_wrapped_only_to_a_width() {
        assert_eq!(within("a bc\nd\n", Some(3)), "a\nbc\nd\n");
        assert_eq!(within("a bc\nd\n", None), "a bc\nd\n");
    }

    #[test]
    fn wrapped_text_is_complete_and_never_too_wide() {
        for columns in 2..60 {
            let text = "    since 2026: rsync: [sender] failed to connect to 主机名很长的一台机器 (10.0.0.2)";
            let lines = wrapped(text, columns);
            assert!(lines.iter().all(|l| width(l) <= columns), "{columns}: {lines:?}");
            let squeezed = |s: &str| s.replace(' ', "");
            assert_eq!(squeezed(&lines.concat()), squeezed(text));
        }
    }
}

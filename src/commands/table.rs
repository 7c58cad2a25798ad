//! Columns for people.

/// Rows as aligned columns, two spaces between them, without trailing spaces.
pub fn columns(rows: &[Vec<String>]) -> String {
    let width = |text: &str| text.chars().count();
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|n| rows.iter().filter_map(|r| r.get(n)).map(|c| width(c)).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    for row in rows {
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

/// `1 file`, `2 files`.
pub fn count(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// Bytes as `12 B`, `3.4 MB`.
pub fn bytes(n: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    if n < 1000 {
        return format!("{n} B");
    }
    let mut value = n as f64;
    let mut unit = "B";
    for u in units {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1000.0, u);
    }
    format!("{value:.1} {unit}")
}

/// Milliseconds as `12 ms`, `3.4 s`, `5 min`, `2 h`, `3 d`.
pub fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        60_000..3_600_000 => format!("{} min", ms / 60_000),
        3_600_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} d", ms / 86_400_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        assert_eq!(columns(&[row("a", "bb"), row("ccc", "")]), "a    bb\nccc\n");
    }

    #[test]
    fn units() {
        assert_eq!([bytes(999), bytes(3_400_000)], ["999 B", "3.4 MB"]);
        assert_eq!([span(7), span(3_450), span(90_000)], ["7 ms", "3.4 s", "1 min"]);
        assert_eq!([span(7_200_000), span(864_000_000)], ["2 h", "10 d"]);
    }
}
